"""Evaluation of an ONNX model whose weights may be inputs, as ONNX's own tests have them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from tsm_ref.checkpoint.onnx_in.guard import OnnxModel
from tsm_ref.checkpoint.onnx_in.layers import LAYERS
from tsm_ref.checkpoint.onnx_in.load import imported
from tsm_ref.checkpoint.onnx_in.moves import FOLDS, MOVES, REPORTS
from tsm_ref.checkpoint.onnx_in.reading import Array, Reading
from tsm_ref.errors import CheckpointError
from tsm_ref.graph import Graph

Run = Callable[[Graph, Mapping[str, Array], Mapping[str, Array]], Mapping[str, Array]]

BOTH = ("Add", "Sub", "Mul")
"""Ops that compute with two values."""

ELEMENTWISE = (
    *("Clip", "Dropout", "HardSigmoid", "HardSwish", "LeakyRelu", "Relu", "Sigmoid", "Tanh"),
)
"""Ops to which no axis means anything."""


def evaluate(model: OnnxModel, given: Mapping[str, Array], run: Run) -> Sequence[Array]:
    """The outputs of a model; `run` is the engine.

    An input with which a layer computes is data, every other one a constant. What cannot be a
    layer, but can be folded, is folded.

    Raises `CheckpointError` for a model that is not understood.
    """
    data = _data_inputs(model, given)
    foldable = all(node.op in FOLDS or node.op in (*MOVES, *REPORTS) for node in model.nodes)
    if data:
        try:
            return _computed(model, given, data, run)
        except CheckpointError:
            if not foldable:
                raise
    return _folded(model, given)


def _data_inputs(model: OnnxModel, given: Mapping[str, Array]) -> list[str]:
    found: list[str] = []
    for node in model.nodes:
        if node.op in LAYERS:
            places = (0, 1) if node.op in BOTH else (0,)
            found += [node.inputs[i] for i in places if node.inputs[i] in given]
    filled = {name for name, value in given.items() if value.dtype.kind == "f" and value.size}
    return [name for name in dict.fromkeys(found) if name in filled]


def _computed(
    model: OnnxModel, given: Mapping[str, Array], data: Sequence[str], run: Run
) -> list[Array]:
    flat = all(node.op in ELEMENTWISE for node in model.nodes)
    if flat:  # of any rank
        given = {**given, **{name: given[name].reshape(1, -1) for name in data}}
    fixed = {name: value for name, value in given.items() if name not in data}
    shapes = tuple((name, given[name].shape) for name in data)
    bound = replace(model, inputs=shapes, constants={**model.constants, **fixed})
    net = imported(bound)
    clips = {view.value: view.to_graph(given[view.name]) for view in net.inputs}
    made = run(net.graph, net.weights, clips)
    found = {view.name: view.to_file(made[view.value]) for view in net.outputs}
    if flat:
        shape = dict(model.inputs)[data[0]]
        found = {name: value.reshape(shape) for name, value in found.items()}  # type: ignore[arg-type]
    return [found[name] for name in model.outputs]


def _folded(model: OnnxModel, given: Mapping[str, Array]) -> list[Array]:
    fixed = replace(model, inputs=(), constants={**model.constants, **given})
    made = Reading(fixed, LAYERS).run().outputs
    return [np.asarray(made[name]) for name in model.outputs]
