"""Sums, differences, products and quotients: of two values, or of one and a constant."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tsm_ref.checkpoint.onnx_in import dynamic
from tsm_ref.checkpoint.onnx_in.budget import NotUnderstood
from tsm_ref.checkpoint.onnx_in.guard import OnnxNode
from tsm_ref.checkpoint.onnx_in.reading import Array, Reading, Scores, Value
from tsm_ref.checkpoint.onnx_in.scaling import affine, scaled
from tsm_ref.checkpoint.onnx_in.values import Moved, View
from tsm_ref.graph import Node
from tsm_ref.ops_table import DYNAMIC

TAKES_BIAS = {"Conv": 2, "Linear": 2, **dict.fromkeys(DYNAMIC, 3)}
"""The layers that an addition behind them gives a bias, and how many operands they have without."""


def per_channel(view: View, values: Array) -> Array | None:
    """A constant beside a value: a number, or one per channel; None where it varies otherwise."""
    if values.ndim > len(view.groups):
        return None
    values = values.reshape((1,) * (len(view.groups) - values.ndim) + values.shape)
    if values.size == 1:
        return np.asarray(values.reshape(()))
    axes = [axis for axis, size in enumerate(values.shape) if size > 1]
    if len(axes) == 1 and view.letters(axes[0]) == ("C",) and values.size == view.base.shape[1]:
        return values.reshape(-1)
    if np.ptp(values) == 0 and np.broadcast_shapes(values.shape, view.shape) == view.shape:
        return np.asarray(values.reshape(-1)[0])
    return None


def per_frame(view: View, values: Array) -> Array | None:
    """A constant beside a value, one number per frame: along T of our axes; None otherwise."""
    if values.ndim > len(view.groups):
        return None
    values = values.reshape((1,) * (len(view.groups) - values.ndim) + values.shape)
    axes = [axis for axis, size in enumerate(values.shape) if size > 1]
    if [view.letters(axis) for axis in axes] != [("T",)] or values.size != view.base.size["T"]:
        return None
    return values.reshape([-1 if letter == "T" else 1 for letter in view.base.axes])


def _constant_operand(
    reading: Reading, node: OnnxNode, *, frames: bool = False
) -> tuple[View | Scores, Array, int] | None:
    """The value and the constant of a node that has one of each, and the place of the constant.

    The constant is a number, or one per channel; where ``frames`` are meant too, one per frame has
    all our axes.
    """
    for place in (0, 1):
        values = reading.values[node.inputs[place]]
        if isinstance(values, np.ndarray):
            other = reading.values[node.inputs[1 - place]]
            if isinstance(other, Scores):
                return other, values, place
            view = reading.data(node, 1 - place)
            aligned = per_channel(view, values)
            if aligned is None and frames:
                aligned = per_frame(view, values)
            if aligned is None:
                raise NotUnderstood(f"the node {node} has a constant that varies along T, H or W")
            return view, aligned, place
    return None


def _add(reading: Reading, node: OnnxNode) -> list[Value]:
    found = _constant_operand(reading, node, frames=True)
    if found is None:
        return [combined(reading, node, "Add", reading.data(node, 0), reading.data(node, 1))]
    view, values, place = found
    if not isinstance(view, View):
        raise NotUnderstood(f"the node {node} adds to the attention of a non-local block")
    if not np.any(values):
        return [view]
    if values.ndim > 1:
        return [_with_frames(reading, node, "Add", view, values, node.inputs[place])]
    biased = _with_bias(reading, node, view, values, node.inputs[place])
    return [biased or affine(reading, node.outputs[0], view, 1.0, values)]


def _with_frames(
    reading: Reading, node: OnnxNode, op: str, view: View, values: Array, name: str
) -> View:
    """A value and a constant of one number per frame."""
    inputs = [view.base.name, reading.parameter(name, values)]
    return View(reading.emit(op, node.outputs[0], inputs, view.base.axes), view.groups)


def _with_bias(
    reading: Reading, node: OnnxNode, view: View, values: Array, name: str
) -> View | None:
    """The convolution or linear layer just made, with this bias; None where there is none."""
    last = reading.nodes[-1] if reading.nodes else None
    fits = last is not None and last.name == view.base.name and last.op in TAKES_BIAS
    if last is None or not fits or len(last.inputs) > TAKES_BIAS[last.op]:
        return None
    if not any(reading.only_reader(tensor) for tensor in node.inputs if tensor != name):
        return None
    bias = reading.parameter(name, np.broadcast_to(values, (view.base.shape[1],)))
    made = Node(node.outputs[0], last.op, (*last.inputs, bias), last.attrs)
    return View(reading.replace_last(view.base, made), view.groups)


def _sub(reading: Reading, node: OnnxNode) -> list[Value]:
    a, b = (reading.values[name] for name in node.inputs)
    if node.inputs[0] == node.inputs[1] or (
        isinstance(a, Moved) and isinstance(b, Moved) and np.array_equal(a.codes, b.codes)
    ):
        return [np.broadcast_to(np.float32(0), a.shape)]
    found = _constant_operand(reading, node)
    name = node.outputs[0]
    if found is None:
        minus = affine(reading, f"{name}.minus", reading.data(node, 1), -1.0, 0.0)
        return [combined(reading, node, "Add", reading.data(node, 0), minus)]
    view, values, place = found
    if not isinstance(view, View):
        raise NotUnderstood(f"the node {node} subtracts from the attention of a non-local block")
    return [affine(reading, name, view, *((1.0, -values) if place else (-1.0, values)))]


def _mul(reading: Reading, node: OnnxNode) -> list[Value]:
    operands = [reading.values[name] for name in node.inputs]
    if any(isinstance(operand, dynamic.Sums | dynamic.DrawnScale) for operand in operands):
        return dynamic.multiplied(reading, node)
    if any(isinstance(operand, np.ndarray) and not np.any(operand) for operand in operands):
        shape = np.broadcast_shapes(*(operand.shape for operand in operands))
        return [np.broadcast_to(np.float32(0), shape)]
    found = _constant_operand(reading, node, frames=True)
    if found is None:
        return [combined(reading, node, "Mul", reading.data(node, 0), reading.data(node, 1))]
    value, values, place = found
    if isinstance(value, View) and values.ndim > 1:
        return [_with_frames(reading, node, "Mul", value, values, node.inputs[place])]
    return [_times(reading, node, value, values)]


def _times(reading: Reading, node: OnnxNode, value: View | Scores, factor: Array) -> Value:
    if isinstance(value, Scores):
        places = value.shape[2]
        if value.mode or factor.size != 1 or not math.isclose(factor * places, 1, rel_tol=1e-6):
            raise NotUnderstood(f"the node {node} scales the attention of a non-local block")
        return Scores(value.theta, value.phi, "dot_product")
    if np.size(factor) == 1:
        return scaled(reading, node.outputs[0], value, float(factor))
    return affine(reading, node.outputs[0], value, factor, 0.0)


def _div(reading: Reading, node: OnnxNode) -> list[Value]:
    found = _constant_operand(reading, node)
    if found is None:
        return [_over_its_mean(reading, node)]
    value, values, place = found
    if place == 0 or not np.all(values):
        raise NotUnderstood(f"the node {node} divides a constant, or by zero")
    return [_times(reading, node, value, np.asarray(1.0 / values.astype(np.float64)))]


def _over_its_mean(reading: Reading, node: OnnxNode) -> View:
    """``x / (factor * mean_hw(x))``, the attention mask of TS-CAN but for a factor."""
    x, y = reading.data(node, 0), reading.data(node, 1)
    source, factor = reading.scales.get(y.base.name, (y, 1.0))
    whole, times = reading.scales.get(x.base.name, (x, 1.0))
    mean = next((n for n in reading.nodes if n.name == source.base.name), None)
    if mean is None or mean.op != "GlobalAveragePool" or mean.inputs[0] != whole.base.name:
        raise NotUnderstood(f"the node {node} divides by data that is not the mean of a frame")
    mask = reading.emit("AttentionMask", f"{node.outputs[0]}.mask", [whole.base.name])
    return scaled(reading, node.outputs[0], View(mask, x.groups), 2.0 * times / factor)


def combined(reading: Reading, node: OnnxNode, op: str, a: View, b: View) -> View:
    """An addition or multiplication of two values whose layouts agree where neither has size 1."""
    rank = max(len(a.groups), len(b.groups))
    left, right = (((),) * (rank - len(v.groups)) + v.groups for v in (a, b))
    sizes = [(v.base.size, (1,) * (rank - len(v.groups)) + v.shape) for v in (a, b)]
    groups = []
    for axis in range(rank):
        p, q = (
            tuple(letter for letter in side[axis] if size[letter] > 1)
            for side, (size, _) in zip((left, right), sizes, strict=True)
        )
        if p and q and p != q:
            raise NotUnderstood(
                f"the node {node} combines the axes {'*'.join(p)} and {'*'.join(q)}"
            )
        groups.append(left[axis] if p or not q else right[axis])
    if a.base.axes != b.base.axes:
        raise NotUnderstood(f"the node {node} combines {a.base.axes} with {b.base.axes}")
    letters = [letter for group in groups for letter in group]
    if len(set(letters)) != len(letters):
        raise NotUnderstood(f"the node {node} combines two layouts of the same axes")
    base = reading.emit(op, node.outputs[0], [a.base.name, b.base.name], a.base.axes)
    return View(base, tuple(groups))


LAYERS: Mapping[str, Any] = {"Add": _add, "Sub": _sub, "Mul": _mul, "Div": _div}
"""The ops of two operands."""
