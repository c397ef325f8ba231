"""What a video shows: python examples/recognise.py clip.mp4."""

import sys

import tsm_ref

model = tsm_ref.load("camera-motion")
result = model.recognize(sys.argv[1])
for prediction in result.predictions:
    print(f"{prediction.probability:6.1%}  {prediction.label}")
for segment in result.segments:
    print(f"{segment.start:6.2f} s to {segment.end:6.2f} s  {segment.label}")
