"""Fuses what surrounds a convolution into it: the shift it reads, a residual, an activation.

The result, `FusedConv`, computes ``activation(conv(shift(x)) + bias + residual)``. An engine then
meets the whole of a residual branch's last step, and the shift, at no cost of their own. A
`QLinearConv` takes in the shift it reads.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.graph import Graph, Node
from tsm_ref.op_attributes import ACTIVATIONS
from tsm_ref.ops_table import OPS
from tsm_ref.passes.extents import Extent, extents

Weights = Mapping[str, NDArray[Any]]


@dataclass
class _Fusion:
    """One convolution and the nodes that it takes in; `last` is the node whose value it makes."""

    conv: Node
    last: Node
    shift: Node | None = None
    residual: str | None = None
    activation: Node | None = None
    absorbed: set[str] = field(default_factory=set)


def fuse(graph: Graph, weights: Weights) -> tuple[Graph, dict[str, NDArray[Any]]]:
    """Replace every convolution by a `FusedConv` that takes in as much as it can.

    A shift is taken in when all its readers are convolutions with temporal kernel 1 and no padding
    in time; an addition when nothing else reads the convolution and the other operand has the same
    shape.
    """
    sizes = extents(graph)
    shifts = {node.name for node in graph.select("TemporalShift") if _absorbable(graph, node)}
    fusions: dict[str, _Fusion] = {}
    taken: set[str] = set()
    # Of two convolutions that are added, the one with the shorter sums takes the other in (or the
    # later one): an engine may hold a short sum in registers from its first term to the addition.
    lengths = {n: math.prod(shape[1:]) for n, shape in graph.parameters.items()}
    convs = [node for node in graph.nodes[::-1] if node.op == "Conv"]
    by_length = sorted(convs, key=lambda conv: lengths.get(conv.inputs[1], 0))
    for conv in by_length:
        fusion = _grow(graph, conv, taken, sizes)
        if conv.inputs[0] in shifts:
            fusion.shift = graph.node[conv.inputs[0]]
        taken |= fusion.absorbed
        fusions[fusion.last.name] = fusion
    made = dict(weights)
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.name in fusions:
            nodes.append(_fused(fusions[node.name], made))
        elif node.op == "QLinearConv" and node.inputs[0] in shifts:
            nodes.append(_shifted(node, graph.node[node.inputs[0]]))
        elif node.name not in taken | shifts:
            nodes.append(node)
    shapes = {name: value.shape for name, value in made.items()}
    result = graph.with_nodes(nodes, shapes)
    return result, {name: made[name] for name in result.parameters}


def _absorbable(graph: Graph, shift: Node) -> bool:
    readers = graph.consumers.get(shift.name, ())
    return shift.name not in graph.outputs and all(
        reader.op in ("Conv", "QLinearConv")
        and not any(reader.attrs.get("d", ()))
        and graph.parameters.get(reader.inputs[1], (0,) * 5)[2] == 1
        and not any(reader.attr("pads")[::3])
        for reader in readers
    )


def _grow(graph: Graph, conv: Node, taken: set[str], sizes: Mapping[str, Extent]) -> _Fusion:
    """Follow the value of a convolution through an addition and an activation."""
    fusion = _Fusion(conv, conv)
    reader = graph.only_reader(conv.name)
    if reader is not None and reader.op == "Add" and reader.name not in taken:
        other = reader.inputs[reader.inputs[0] == conv.name]
        equal = sizes[other] == sizes[conv.name]
        if equal and other not in graph.parameters and other != conv.name:
            fusion.residual = other
            _absorb(fusion, reader)
            reader = graph.only_reader(reader.name)
    if reader is not None and reader.op in ACTIVATIONS and reader.name not in taken:
        fusion.activation = reader
        _absorb(fusion, reader)
    return fusion


def _absorb(fusion: _Fusion, node: Node) -> None:
    fusion.absorbed.add(fusion.last.name)
    fusion.last = node
    fusion.absorbed.add(node.name)


def _shifted(conv: Node, shift: Node) -> Node:
    """A quantised convolution with the shift in front of it."""
    attrs = {name: shift.attr(name) for name in _SHIFT_ATTRS}
    inputs = (shift.inputs[0], *conv.inputs[1:])
    return replace(conv, inputs=inputs, attrs={**conv.attrs, **attrs})


def _fused(fusion: _Fusion, weights: dict[str, NDArray[Any]]) -> Node:
    conv, shift, activation = fusion.conv, fusion.shift, fusion.activation
    inputs = list(conv.inputs)
    if len(inputs) == 2:
        weight = weights[inputs[1]]
        inputs.append(f"{conv.name}.zero_bias")
        weights[inputs[2]] = np.zeros(weight.shape[0], weight.dtype)
    attrs = dict(conv.attrs)
    if shift is not None:
        inputs[0] = shift.inputs[0]
        attrs |= {name: OPS["TemporalShift"].value(shift.attrs, name) for name in _SHIFT_ATTRS}
    if activation is not None:
        attrs |= {"activation": activation.op, **_limits(activation)}
    if fusion.residual is not None:
        inputs.append(fusion.residual)
    return Node(fusion.last.name, "FusedConv", tuple(inputs), attrs)


_SHIFT_ATTRS = ("d", "fill", "segment")


def _limits(activation: Node) -> dict[str, Any]:
    """The attributes of an activation, defaults included."""
    return {
        name: OPS[activation.op].value(activation.attrs, name) for name in activation.rule.attrs
    }
