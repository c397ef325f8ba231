"""A network as a picture: python examples/draw.py resnet50 network.svg."""

import sys
from pathlib import Path

import tsm_ref
from tsm_ref.show import graph_svg

model = tsm_ref.build(sys.argv[1])
Path(sys.argv[2]).write_text(graph_svg(model.graph, model.input_shapes()), encoding="utf-8")
print(model.summary().splitlines()[-1])
