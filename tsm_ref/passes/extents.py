"""Sizes as formulas of the input's named dimensions: do two values always have the same shape?

A graph binds ``"H"`` only when it is called, but a pass that runs before must know whether an
addition is one of equals or spreads one value over the other.
"""

from collections.abc import Sequence
from typing import Any

from tsm_ref.graph import Graph, Node
from tsm_ref.op_rules import window_sizes

Extent = tuple[Any, ...]


def extents(graph: Graph) -> dict[str, Extent]:
    """The shape of every value as numbers and formulas; equal extents are equal shapes at any call.

    A size is a number, or a pair ``(base, offset)`` whose base is the name of a dimension or what a
    stride made of one. Where nothing is known, a size is equal to no other.

    >>> from tsm_ref.models import RESNETS, build_resnet
    >>> known = extents(build_resnet(RESNETS["resnet18"], num_classes=5))
    >>> known["layer2.0.bn2"] == known["layer2.0.downsample.1"] != known["layer1.1.bn2"]
    True
    """
    known: dict[str, Extent] = dict(graph.parameters)
    for entry in graph.inputs:
        known[entry.name] = tuple(d if isinstance(d, int) else (d, 0) for d in entry.shape)
    for node in graph.nodes:
        unknown = tuple((node.name, axis) for axis in range(5))
        try:
            known[node.name] = _extent(node, [known[name] for name in node.inputs], unknown)
        except (ValueError, IndexError):  # Graph.shapes says so, with the sizes of the call
            known[node.name] = unknown
    return known


def _extent(node: Node, inputs: Sequence[Extent], unknown: Extent) -> Extent:
    x = inputs[0]
    if node.rule.keeps_shape:
        return x
    if node.op in ("Add", "Mul", "QLinearAdd", "QLinearMul") and len(x) == len(inputs[1]):
        return tuple(map(_spread, x, inputs[1], unknown))
    if node.op == "Concat" and len(x) == len(inputs[1]):
        first, last = x[1], inputs[1][1]
        both = type(first) is int and type(last) is int
        return (x[0], first + last if both else unknown[1], *x[2:])
    if node.op in ("Conv", "QLinearConv", "DynamicQuantizeConv"):
        return (x[0], inputs[1][0], *_windows(node, x, inputs[1][2:]))
    if node.op in ("MaxPool", "AveragePool", "QLinearAveragePool"):
        return (*x[:2], *_windows(node, x, node.attrs["kernel_shape"]))
    if node.op in ("GlobalAveragePool", "QLinearGlobalAveragePool"):
        return (*x[:3], 1, 1)
    if node.op == "NonLocal":
        return (x[0], inputs[2][1], *x[2:])
    if node.op == "History":
        return (*x[:2], _longer(x[2], node.attr("before")), *x[3:])
    return unknown


def _spread(a: Any, b: Any, unknown: Any) -> Any:
    """One size of two values that are combined: a 1 is spread over the other."""
    if a in (b, 1):
        return b
    return a if b == 1 else unknown


def _longer(size: Any, by: int) -> Any:
    return size + by if isinstance(size, int) else (size[0], size[1] + by)


def _windows(node: Node, x: Extent, kernel: Extent) -> Extent:
    """``floor((size + slack) / stride) + 1`` per axis; the slack is the padding less the reach."""
    strides, pads = (node.attr(name) for name in ("strides", "pads"))
    dilations = node.attrs.get("dilations", (1, 1, 1))
    ceil = node.attrs.get("ceil_mode", False)
    result: list[Any] = []
    for i, size in enumerate(x[2:]):
        ends = (pads[i], pads[i + 3])
        if isinstance(size, int):
            result += window_sizes([size], [kernel[i]], [strides[i]], ends, [dilations[i]], ceil)
            continue
        base, offset = size
        slack = offset + sum(ends) - dilations[i] * (kernel[i] - 1) - 1
        unit = strides[i] == 1
        rounding = ends if ceil else ()
        if ceil and not ends[1] and kernel[i] >= strides[i] and dilations[i] == 1:
            # No window is left out here, so that rounding up is rounding down a larger number.
            slack, rounding = slack + strides[i] - 1, ()
        result.append((base, slack + 1) if unit else ((base, slack, strides[i], rounding), 1))
    return tuple(result)
