"""A checkpoint of your own, its classes, and one file of all: python examples/checkpoint.py

As arguments: the checkpoint, a list of its classes (one a line), and the file to write.
"""

import sys

import tsm_ref

checkpoint, classes, target = sys.argv[1:]
model = tsm_ref.load(checkpoint, labels=classes, segments=8)
print(model, *model.warnings, sep="\n")
tsm_ref.save(model, target, storage="float16")
