"""ONNX ops that compute, one small function each: they become nodes of our graph."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tsm_ref.checkpoint.finish import Step
from tsm_ref.checkpoint.onnx_in import arithmetic, dynamic, heads, quantised, windows
from tsm_ref.checkpoint.onnx_in.budget import Broken, NotUnderstood
from tsm_ref.checkpoint.onnx_in.guard import OnnxNode
from tsm_ref.checkpoint.onnx_in.moves import picks
from tsm_ref.checkpoint.onnx_in.reading import Reading, Scores, Value
from tsm_ref.checkpoint.onnx_in.scaling import affine
from tsm_ref.checkpoint.onnx_in.tensors import type_name
from tsm_ref.checkpoint.onnx_in.values import Finishing, LookedUp, View, Whole
from tsm_ref.ops_table import OPS

Layer = Callable[[Reading, OnnxNode], list[Value]]

HALF_TYPES = (1, 10, 11, 16)
INDEX_TYPES = (6, 7)

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
        view = arithmetic.combined(reading, node, "Add", view, reading.data(node, 3))
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
    **arithmetic.LAYERS,
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
    "Cast": _cast,
    "CastLike": _cast_like,
    "Dropout": _dropout,
    **{op: _unary(op) for op in ("Relu", "HardSwish", "Tanh") if op in OPS},
}
"""The ops that compute."""
