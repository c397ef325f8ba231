"""Dynamic quantisation in an ONNX file: values that are rounded by the range that they have.

``DynamicQuantizeLinear`` gives three values: whole numbers, their scale and their zero point. A
``ConvInteger`` or ``MatMulInteger`` of the first and the last makes sums, which a product with the
scale, and that of the weight, turns into reals: all of that is one layer of our graph,
``DynamicQuantizeConv`` or ``DynamicQuantizeMatMul`` (`tsm_ref.reference.dynamic`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.checkpoint.contents import shown
from tsm_ref.checkpoint.onnx_in import heads, windows
from tsm_ref.checkpoint.onnx_in.budget import Broken, NotUnderstood
from tsm_ref.checkpoint.onnx_in.guard import OnnxNode
from tsm_ref.checkpoint.onnx_in.reading import Reading, Value
from tsm_ref.checkpoint.onnx_in.values import View
from tsm_ref.graph import Graph, Node
from tsm_ref.ops_table import DYNAMIC

__all__ = ["LAYERS", "DrawnScale", "Sums", "multiplied", "said"]

Array = NDArray[Any]

MADE = {"ConvInteger": ("Conv", *DYNAMIC[:1]), "MatMulInteger": ("MatMul", *DYNAMIC[1:])}
"""The ops that sum whole numbers, what they are of reals, and what they become."""

OP_OF = {"Conv": DYNAMIC[0], "Linear": DYNAMIC[1]}
"""What a layer of reals is with steps chosen at run time."""


@dataclass(frozen=True)
class Drawn:
    """The whole numbers of a value that is rounded by its range."""

    of: View

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape in the file."""
        return self.of.shape


@dataclass(frozen=True)
class DrawnScale:
    """The scale of such whole numbers, times a constant for all or for each output channel."""

    of: View
    factor: Array | None = None
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class DrawnZero:
    """The zero point of such whole numbers."""

    of: View
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Sums:
    """Sums of such whole numbers, whose scale comes only later; ``node`` is the layer so far."""

    of: View
    view: View
    node: str

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape in the file."""
        return self.view.shape


def quantize(reading: Reading, node: OnnxNode) -> list[Value]:
    """DynamicQuantizeLinear."""
    view = reading.data(node, 0)
    return [Drawn(view), DrawnScale(view), DrawnZero(view)]


def summed(reading: Reading, node: OnnxNode) -> list[Value]:
    """ConvInteger and MatMulInteger: first as a layer of reals that has the weight's numbers."""
    x = reading.values[node.inputs[0]]
    zero = reading.values.get(node.inputs[2]) if len(node.inputs) > 2 else None
    if not isinstance(x, Drawn) or zero != DrawnZero(x.of):
        raise Broken(
            f"the node {node} reads {shown(node.inputs[0])}, which no DynamicQuantizeLinear has "
            "rounded, or with another zero point"
        )
    weight = reading.constant(node, 1)
    if weight is None or str(weight.dtype) not in ("int8", "uint8"):
        raise Broken(f"the node {node} has no weight of int8 or uint8")
    names = tuple(f"{node.outputs[0]}/{role}" for role in ("x", "weight"))
    reading.values[names[0]] = x.of
    reading.values[names[1]] = _centred(reading, node, weight)
    plain = OnnxNode(node.name, MADE[node.op][0], names, node.outputs, node.attrs)
    before = len(reading.nodes)
    layer = windows.conv if node.op == "ConvInteger" else heads.matmul
    (view,) = layer(reading, plain)
    made = [n for n in reading.nodes[before:] if n.op != "Flatten"]
    if len(made) != 1 or made[0].op not in OP_OF or not isinstance(view, View):
        raise NotUnderstood(f"the node {node} is no layer that could be rounded at run time")
    return [Sums(x.of, view, made[0].name)]


def _centred(reading: Reading, node: OnnxNode, weight: Array) -> Array:
    """A weight less its zero point: one for all of it, or one for each output channel."""
    zero = reading.constant(node, 3)
    if zero is None:
        return weight.astype(np.float32)
    if zero.dtype != weight.dtype:
        raise Broken(f"the node {node} has a zero point of {zero.dtype} for {weight.dtype}")
    if zero.size == 1:
        zero = zero.reshape(())
    elif node.op == "ConvInteger" and zero.shape == weight.shape[:1]:
        zero = zero.reshape(-1, *[1] * (weight.ndim - 1))
    elif node.op == "ConvInteger" or zero.shape != weight.shape[-1:]:
        raise Broken(f"the node {node} has {zero.size} zero points for {weight.shape}")
    return weight.astype(np.float32) - zero.astype(np.float32)


def multiplied(reading: Reading, node: OnnxNode) -> list[Value]:
    """A Mul of a scale and a constant, or of sums and their scale, which makes a layer of them."""
    a, b = (reading.values[name] for name in node.inputs)
    if isinstance(b, Sums) or (isinstance(b, DrawnScale) and not isinstance(a, Sums)):
        a, b = b, a
    if isinstance(a, DrawnScale) and isinstance(b, np.ndarray) and a.factor is None:
        if not (np.isfinite(b) & (b > 0)).all() or b.dtype.kind != "f":
            raise Broken(f"the node {node} has a scale that is not positive and finite")
        return [DrawnScale(a.of, b.astype(np.float32), b.shape)]
    if isinstance(a, Sums) and isinstance(b, DrawnScale) and a.of == b.of:
        return [_layer(reading, node, a, b)]
    raise NotUnderstood(f"the node {node} multiplies sums or scales, but not with each other")


def _layer(reading: Reading, node: OnnxNode, sums: Sums, scale: DrawnScale) -> View:
    """The layer of our graph, in the place of the one of reals that was made for it."""
    place = next(i for i, n in enumerate(reading.nodes) if n.name == sums.node)
    made = reading.nodes[place]
    weight = reading.parameters[made.inputs[1]]
    factor = np.ones(1, np.float32) if scale.factor is None else scale.factor.reshape(-1)
    if factor.size not in (1, len(weight)) or not _per_channel(sums, scale):
        raise NotUnderstood(f"the node {node} has {factor.size} scales for {len(weight)} channels")
    narrow = weight.min(initial=0) >= -128 and weight.max(initial=0) <= 127
    whole = weight.astype(np.int8 if narrow else np.int16)
    names = [
        reading.parameter(f"{made.inputs[1]}.whole", whole),
        reading.parameter(f"{made.inputs[1]}.scale", np.broadcast_to(factor, (len(weight),))),
    ]
    inputs = (made.inputs[0], *names)
    reading.nodes[place] = Node(made.name, OP_OF[made.op], inputs, made.attrs)
    return sums.view


def _per_channel(sums: Sums, scale: DrawnScale) -> bool:
    """True where several scales lie along the channels of the sums."""
    size = prod(scale.shape)
    if size == 1:
        return True
    axis = len(sums.shape) - len(scale.shape) + scale.shape.index(size)
    return axis >= 0 and sums.view.letters(axis) == ("C",)


def said(graph: Graph) -> tuple[str, ...]:
    """What is told of a network that chooses steps at run time."""
    count = sum(node.op in DYNAMIC for node in graph.nodes)
    if not count:
        return ()
    return (
        f"{count} layers round what they read by its range at run time: of each clip by itself, "
        "where a runtime that is given several at once takes one range for all; it does not stream",
    )


LAYERS: Mapping[str, Any] = {
    "DynamicQuantizeLinear": quantize,
    "ConvInteger": summed,
    "MatMulInteger": summed,
}
"""The ops of dynamic quantisation."""
