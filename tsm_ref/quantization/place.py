"""Puts a quantised network together: where values are rounded, and the weights between.

A layer with weights reads whole numbers unless it is to stay float. Additions, products and means
are taken of whole numbers where a quantised layer reads the result. Weights have a scale for each
output channel and lie symmetrically about zero, within -127 .. 127. What rounding the weights does
to the mean of an output is taken off its bias (Nagel et al. 2019, section 4.2).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.graph import Graph, Node, ValueType
from tsm_ref.op_attributes import ACTIVATIONS
from tsm_ref.passes.whole_numbers import (
    CLAMPS,
    MEANS,
    MOVES,
    PAIRS,
    SHIFTS,
    WITH_WEIGHTS,
    whole_numbers,
)
from tsm_ref.quantization.ranges import Seen
from tsm_ref.reference.quantised import combined_scale

__all__ = ["WITH_WEIGHTS", "layers_of", "placed", "rounded_layer", "rounded_values", "source"]

Array = NDArray[Any]
Weights = Mapping[str, Array]

BIAS = 2**30
"""The largest bias in steps: its scale is as coarse as that asks for."""


def layers_of(graph: Graph) -> list[Node]:
    """The layers that can be quantised: those with weights."""
    return [node for node in graph.nodes if node.op in WITH_WEIGHTS]


def source(graph: Graph, value: str) -> str:
    """The value whose elements a value gives, perhaps moved about: it has the same steps."""
    while (node := graph.node.get(value)) is not None and node.op in MOVES:
        value = node.inputs[0]
    return value


def rounded_values(graph: Graph, floats: Collection[str] = ()) -> set[str]:
    """The values that become whole numbers where the layers in `floats` stay float."""
    found: set[str] = set()
    for node in reversed(graph.nodes):
        values = [name for name in node.inputs if name not in graph.parameters]
        if node.op in WITH_WEIGHTS:
            reads = node.name not in floats
        elif node.op in {**PAIRS, **MEANS}:
            whole = len(values) == len(node.inputs)
            reads = whole and _ends_rounded(graph, node.name, found)
        else:
            table = node.op in ACTIVATIONS and node.op not in CLAMPS and node.name in found
            reads = table and _computed(graph, node.inputs[0], floats)
        if reads:
            found.update(source(graph, name) for name in values)
    return found


def _ends_rounded(graph: Graph, value: str, found: set[str]) -> bool:
    """True where a value, or what a clamp alone makes of it, is rounded."""
    if value in found:
        return True
    readers = graph.consumers.get(value, ())
    alone = len(readers) == 1 and readers[0].op in CLAMPS
    return alone and _ends_rounded(graph, readers[0].name, found)


def _computed(graph: Graph, value: str, floats: Collection[str]) -> bool:
    node = graph.node.get(source(graph, value))
    made = {**WITH_WEIGHTS, **PAIRS, **MEANS}
    return node is not None and node.op in made and node.name not in floats


def rounded_layer(
    node: Node, weights: Weights, x: ValueType, mean: Array | None = None
) -> dict[str, Array]:
    """The weight, scale and bias of a layer in whole numbers, by role.

    ``mean`` are the means of the channels that it reads (C,); its bias is corrected by them.
    """
    weight = weights[node.inputs[1]].astype(np.float64)
    given = len(node.inputs) > 2
    bias = weights[node.inputs[2]].astype(np.float64) if given else np.zeros(len(weight))
    flat = weight.reshape(len(weight), -1)
    largest = np.abs(flat).max(axis=1, initial=0)
    scale = np.maximum(largest / 127, np.abs(bias) / (x.scale * BIAS))
    scale = np.where(scale > 0, scale, 1.0).astype(np.float32)
    column = scale.astype(np.float64).reshape(-1, *[1] * (weight.ndim - 1))
    whole = np.clip(np.rint(weight / column), -127, 127)
    if mean is not None:
        lost = (whole * column - weight).reshape(*weight.shape[:2], -1).sum(axis=2)
        bias = bias - _response(lost, mean)
    steps = bias / combined_scale(x.scale, scale).astype(np.float64)
    limit = 2**31 - 1
    return {
        "weight": whole.astype(np.int8),
        "scale": scale,
        "bias": np.clip(np.rint(steps), -limit, limit).astype(np.int32),
    }


def _response(weight: Array, mean: Array) -> Array:
    """What weights (Cout, C / groups) make of channels (C,) that are constant."""
    outputs, width = weight.shape
    groups = len(mean) // width
    by_group = weight.reshape(groups, outputs // groups, width)
    return np.asarray(np.einsum("gow,gw->go", by_group, mean.reshape(groups, width)).reshape(-1))


def placed(
    graph: Graph,
    weights: Weights,
    steps: Mapping[str, ValueType],
    seen: Mapping[str, Seen],
    floats: Collection[str] = (),
    correct: bool = True,
) -> tuple[Graph, dict[str, Array]]:
    """The quantised network.

    ``steps`` are those of `rounded_values`; ``seen`` knows the means of what layers read. Values
    keep their names; outputs, and the logits behind them, stay real.
    """
    work = _Placing(graph, dict(weights), steps, seen, floats, correct)
    for node in graph.nodes:
        work.node(node)
    shapes = {name: value.shape for name, value in work.weights.items()}
    made = graph.with_nodes(work.nodes, shapes)
    return whole_numbers(made, {name: work.weights[name] for name in made.parameters})


@dataclass
class _Placing:
    """Goes through the nodes once; `whole` knows the whole numbers behind a value."""

    graph: Graph
    weights: dict[str, Array]
    steps: Mapping[str, ValueType]
    seen: Mapping[str, Seen]
    floats: Collection[str]
    correct: bool
    nodes: list[Node] = field(default_factory=list)
    whole: dict[str, tuple[str, ValueType]] = field(default_factory=dict)
    real: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        scores = self.graph.scores
        kept = {*self.graph.outputs, scores.logits, scores.frames, self.graph.frame_logits}
        self.kept = kept - {None}
        for entry in self.graph.inputs:
            if entry.name in self.steps:
                self._round(entry.name, entry.name, f"{entry.name}.quantised")

    def node(self, node: Node) -> None:
        """Take the next node."""
        if node.op in MOVES and node.inputs[0] in self.whole:
            self._moved(node)
            return
        if node.op in WITH_WEIGHTS and node.name not in self.floats:
            made = self._layer(node)
        else:
            made = replace(node, inputs=tuple(map(self._as_real, node.inputs)))
        if node.name not in self.steps:
            self.nodes.append(made)
        elif node.name in self.kept:
            self.nodes.append(made)
            self._round(node.name, node.name, f"{node.name}.quantised")
        else:
            self.nodes.append(replace(made, name=f"{node.name}.real"))
            self._round(node.name, f"{node.name}.real", node.name)

    def _round(self, value: str, real: str, name: str) -> None:
        """Round a real value; whoever reads it from here on reads the whole numbers."""
        steps = self.steps[value]
        attrs = {"dtype": steps.dtype, "y_scale": steps.scale, "y_zero_point": steps.zero_point}
        self.nodes.append(Node(name, "QuantizeLinear", (real,), attrs))
        self.whole[value] = (name, steps)

    def _as_real(self, value: str) -> str:
        """The real numbers that a value stands for."""
        if value not in self.whole:
            return value
        if value not in self.real:
            name, steps = self.whole[value]
            attrs = {"x_scale": steps.scale, "x_zero_point": steps.zero_point}
            self.real[value] = f"{value}.back"
            self.nodes.append(Node(self.real[value], "DequantizeLinear", (name,), attrs))
        return self.real[value]

    def _moved(self, node: Node) -> None:
        name, steps = self.whole[node.inputs[0]]
        attrs = dict(node.attrs)
        if node.op in SHIFTS:
            attrs["x_zero_point"] = steps.zero_point
        made = node.name
        if made in self.kept:
            self.nodes.append(replace(node, inputs=(self._as_real(node.inputs[0]),)))
            made = f"{made}.quantised"
        self.nodes.append(Node(made, node.op, (name,), attrs))
        self.whole[node.name] = (made, steps)

    def _layer(self, node: Node) -> Node:
        """A layer of whole numbers with a real result, which `whole_numbers` goes on with."""
        name, x = self.whole[node.inputs[0]]
        mean = self.seen[node.inputs[0]].mean if self.correct else None
        inputs = [name]
        for role, values in rounded_layer(node, self.weights, x, mean).items():
            key = f"{node.inputs[1]}.int8" if role == "weight" else f"{node.name}.{role}"
            while key in self.weights:  # one tensor that several layers read, or another's name
                key += "_"
            self.weights[key] = values
            inputs.append(key)
        steps = {"dtype": "float32", "x_scale": x.scale, "x_zero_point": x.zero_point}
        return Node(node.name, WITH_WEIGHTS[node.op], tuple(inputs), {**node.attrs, **steps})
