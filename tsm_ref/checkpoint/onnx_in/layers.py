"""ONNX ops that compute, one small function each: they become nodes of our graph."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tsm_ref.checkpoint.finish import Step
from tsm_ref.checkpoint.onnx_in import dynamic, heads, quantised, windows
from tsm_ref.checkpoint.onnx_in.budget import Broken, NotUnderstood
from tsm_ref.checkpoint.onnx_in.guard import OnnxNode
from tsm_ref.checkpoint.onnx_in.moves import picks
from tsm_ref.checkpoint.onnx_in.reading import Array, Reading, Scores, Value
from tsm_ref.checkpoint.onnx_in.scaling import affine, scaled
from tsm_ref.checkpoint.onnx_in.tensors import type_name
from tsm_ref.checkpoint.onnx_in.values import Finishing, LookedUp, Moved, View, Whole
from tsm_ref.graph import Node
from tsm_ref.ops_table import DYNAMIC, OPS

Layer = Callable[[Reading, OnnxNode], list[Value]]

HALF_TYPES = (1, 10, 11, 16)
INDEX_TYPES = (6, 7)

TAKES_BIAS = {"Conv": 2, "Linear": 2, **dict.fromkeys(DYNAMIC, 3)}
"""The layers that an addition behind them gives a bias, and how many operands they have without."""

TRAINING = (
    "the node {node} {does}: the file was exported in training mode; call model.eval() and export "
    "it again"
)


def _unary(op: str, **fixed: Any) -> Layer:
    def layer(reading: Reading, node: OnnxNode) -> list[Value]:
        return [activated(reading, node, reading.data(node, 0), op, **fixed)]

    return layer


def activated(reading: Reading, node: OnnxNode, view: View, op: str, **attrs: Any) -> View:
    """A node that keeps shape and layout."""
    base = reading.emit(op, node.outputs[0], [view.base.name], view.base.axes, **attrs)
    return View(base, view.groups)


def _clip(reading: Reading, node: OnnxNode) -> list[Value]:
    view = reading.data(node, 0)
    limits = []
    for place, name in ((1, "min"), (2, "max")):
        given = reading.constant(node, place)
        number = node.attrs.get(name) if given is None else float(given.reshape(-1)[0])
        limits.append(number)
    low, high = limits
    if low == 0 and (high is None or high == math.inf):
        return [activated(reading, node, view, "Relu")]
    largest = float(np.finfo(np.float32).max)
    low = -largest if low is None else max(low, -largest)
    high = largest if high is None else min(high, largest)
    return [activated(reading, node, view, "Clip", min=low, max=high)]


def _leaky_relu(reading: Reading, node: OnnxNode) -> list[Value]:
    alpha = _short(node.attrs.get("alpha", 0.01))
    return [activated(reading, node, reading.data(node, 0), "LeakyRelu", alpha=alpha)]


def _p_relu(reading: Reading, node: OnnxNode) -> list[Value]:
    slope = reading.constant(node, 1)
    if slope is None or np.ptp(slope) != 0:
        raise NotUnderstood(f"the node {node} has another slope for every channel")
    view = reading.data(node, 0)
    return [activated(reading, node, view, "LeakyRelu", alpha=float(slope.reshape(-1)[0]))]


def _hard_sigmoid(reading: Reading, node: OnnxNode) -> list[Value]:
    alpha, beta = node.attrs.get("alpha", 0.2), node.attrs.get("beta", 0.5)
    view = reading.data(node, 0)
    if math.isclose(alpha, 1 / 6, rel_tol=1e-6) and beta == 0.5:
        return [activated(reading, node, view, "HardSigmoid")]
    line = affine(reading, f"{node.outputs[0]}.line", view, alpha, beta)
    return [activated(reading, node, line, "Clip", min=0.0, max=1.0)]


def _softmax(reading: Reading, node: OnnxNode) -> list[Value]:
    value = reading.values[node.inputs[0]]
    rank = len(value.shape)
    axis = node.attrs.get("axis", -1 if reading.model.opset >= 13 else 1) % rank
    if isinstance(value, Finishing):
        return [value.then(Step(node.op, axis))]
    folded = reading.model.opset < 13 and any(size > 1 for size in value.shape[axis + 1 :])
    if isinstance(value, Scores):
        if axis != 2 or value.mode or node.op != "Softmax":
            raise NotUnderstood(f"the node {node} is no attention over places")
        return [Scores(value.theta, value.phi, "embedded_gaussian")]
    view = reading.data(node, 0)
    if folded or view.letters(axis) != ("C",):
        raise NotUnderstood(f"the node {node} is not along the channels or classes")
    return [activated(reading, node, view, node.op, axis=1)]


def _sigmoid(reading: Reading, node: OnnxNode) -> list[Value]:
    value = reading.values[node.inputs[0]]
    if isinstance(value, Finishing):
        return [value.then(Step("Sigmoid"))]
    return [activated(reading, node, reading.data(node, 0), "Sigmoid")]


def _pick(reading: Reading, node: OnnxNode) -> list[Value]:
    """ArgMax, ArgMin and TopK along the classes, behind the network."""
    value = reading.values[node.inputs[0]]
    if not isinstance(value, Finishing):
        value = Finishing(reading.data(node, 0), ())
    given = [np.zeros(()), *(v for v in [reading.constant(node, 1)] if v is not None)]
    steps = picks(reading.call(node), given, value.shape)
    if not value.steps and value.view.letters(steps[0].axis) != ("C",):
        raise NotUnderstood(f"the node {node} picks along no axis of classes")
    return [value.then(step) for step in steps]


def _batch_norm(reading: Reading, node: OnnxNode) -> list[Value]:
    view = reading.data(node, 0)
    if node.attrs.get("training_mode") or any(node.outputs[1:]):
        raise Broken(TRAINING.format(node=node, does="takes the statistics of the clip itself"))
    if view.letters(1) not in (("C",), ()):
        raise NotUnderstood(f"the node {node} does not normalise the channels")
    names = [view.base.name]
    for place in range(1, 5):
        values = reading.constant(node, place)
        if values is None:
            raise NotUnderstood(f"the node {node} lacks its operand {place}")
        names.append(reading.parameter(node.inputs[place], values))
    epsilon = _short(node.attrs.get("epsilon", 1e-5))
    base = reading.emit(
        "BatchNormalization", node.outputs[0], names, view.base.axes, epsilon=epsilon
    )
    return [View(base, view.groups)]


def _short(value: float) -> float:
    """A float32 of the file as the decimal number that its writer meant.

    >>> _short(float(np.float32(1e-5)))
    1e-05
    """
    return float(str(np.float32(value)))


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


def _dropout(reading: Reading, node: OnnxNode) -> list[Value]:
    """Nothing at inference."""
    training = reading.constant(node, 2)
    if training is not None and np.any(training):
        raise Broken(TRAINING.format(node=node, does="drops values at random"))
    return [reading.values[node.inputs[0]]]


def _cast(reading: Reading, node: OnnxNode) -> list[Value]:
    value = reading.values[node.inputs[0]]
    if isinstance(value, dynamic.Sums) and node.attrs.get("to") == 1:
        return [value]
    if isinstance(value, Whole) and node.attrs.get("to") in INDEX_TYPES:
        return [LookedUp(value)]
    picked = isinstance(value, Finishing) and node.attrs.get("to") in INDEX_TYPES
    if node.attrs.get("to") not in HALF_TYPES and not picked:
        kind = type_name(node.attrs.get("to"))
        raise NotUnderstood(f"the node {node} turns data into the type {kind}")
    return [value]


def _cast_like(reading: Reading, node: OnnxNode) -> list[Value]:
    """To the type of another value, which is one of floats: there are no others here."""
    value, like = (reading.values[name] for name in node.inputs)
    if isinstance(like, np.ndarray) and like.dtype.kind != "f":
        raise NotUnderstood(f"the node {node} turns data into integers")
    return [value.astype(np.float32) if isinstance(value, np.ndarray) else value]


def _fused_conv(reading: Reading, node: OnnxNode) -> list[Value]:
    """A convolution or linear layer with an activation, as onnxruntime's optimiser writes them."""
    kind = "Conv" if node.op == "FusedConv" else "Gemm"
    plain = node.attrs.get("activation", "") == "" and len(node.inputs) < 4
    name = node.outputs[0] if plain else f"{node.outputs[0]}.{kind.lower()}"
    made = replace(node, op=kind, inputs=node.inputs[:3], outputs=(name,))
    (view,) = LAYERS[kind](reading, made)
    if len(node.inputs) > 3 and node.inputs[3]:
        view = combined(reading, node, "Add", view, reading.data(node, 3))
    return [view if plain else _fused_activation(reading, node, view)]


def _fused_activation(reading: Reading, node: OnnxNode, view: View) -> View:
    op = str(node.attrs.get("activation", ""))
    given = list(node.attrs.get("activation_params") or ())
    given += [node.attrs[k] for k in ("activation_alpha", "activation_beta") if k in node.attrs]
    names = {"LeakyRelu": ("alpha",), "Clip": ("min", "max"), "HardSigmoid": ("alpha", "beta")}
    if op == "":
        return view
    if op not in ("Relu", "Tanh", "Sigmoid", *names):
        raise NotUnderstood(f"the node {node} has the activation {op!r}, which is not known")
    attrs = dict(zip(names.get(op, ()), given, strict=False))
    reading.values[view.base.name] = view
    act = OnnxNode(node.name, op, (view.base.name,), node.outputs, attrs)
    return LAYERS[op](reading, act)[0]  # type: ignore[no-any-return]


LAYERS: Mapping[str, Layer] = {
    **dynamic.LAYERS,
    **quantised.LAYERS,
    "Conv": quantised.tracked(windows.conv),
    "MaxPool": quantised.max_pool(windows.max_pool),
    "AveragePool": windows.average_pool,
    "GlobalAveragePool": heads.global_average_pool,
    "ReduceMean": heads.reduce_mean,
    "ReduceSum": heads.reduce_sum,
    "Gemm": quantised.tracked(heads.gemm),
    "MatMul": quantised.tracked(heads.matmul),
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "LeakyRelu": _leaky_relu,
    "PRelu": _p_relu,
    "HardSigmoid": _hard_sigmoid,
    "Softmax": _softmax,
    "LogSoftmax": _softmax,
    "Sigmoid": _sigmoid,
    **dict.fromkeys(("ArgMax", "ArgMin", "TopK"), _pick),
    "GlobalMaxPool": heads.global_max_pool,
    "ReduceMax": heads.reduce_max,
    "FusedConv": _fused_conv,
    "FusedGemm": _fused_conv,
    "Add": _add,
    "Sub": _sub,
    "Mul": _mul,
    "Div": _div,
    "Cast": _cast,
    "CastLike": _cast_like,
    "Dropout": _dropout,
    **{op: _unary(op) for op in ("Relu", "HardSwish", "Tanh") if op in OPS},
}
"""The ops that compute."""
