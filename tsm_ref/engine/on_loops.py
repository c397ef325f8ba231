"""The engine of loops: a graph run on the plain loops of `tsm_ref.kernels`, and on nothing else.

It is for reading, and for a second opinion: every op of an optimised graph is one loop that says
what the op is, scalar by scalar. Its arena, its plans and its streams are those of the NumPy
engine; only the table from op to computation is another one.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.engine.exact import factor_of
from tsm_ref.engine.on_numpy.bfloat16 import rounded
from tsm_ref.engine.on_numpy.engine import NumpyEngine
from tsm_ref.engine.on_numpy.ops import Step, StepMaker
from tsm_ref.graph import Node
from tsm_ref.kernels import loops, loops_of_values
from tsm_ref.kernels.integer import loops as loops_of_integers
from tsm_ref.kernels.loops import CIRCULAR, REPLICATE, ZERO
from tsm_ref.ops_table import OPS, PARAMETER_ROLES
from tsm_ref.reference.dynamic import F32, dynamic_steps
from tsm_ref.reference.litert import add_factors, mean_terms
from tsm_ref.reference.quantised import combined_scale, limits

__all__ = ["LOOPS", "TABLE", "LoopsEngine"]

Array = NDArray[Any]
Loop = Callable[..., Array]

_FILLS = {"zero": ZERO, "replicate": REPLICATE, "circular": CIRCULAR}


class LoopsEngine(NumpyEngine):
    """Runs a graph scalar by scalar, in float32 or the dtype that is asked for.

    >>> from tsm_ref.models import build_mobilenet_v2, random_weights
    >>> graph = build_mobilenet_v2(num_classes=3, width=0.35)
    >>> engine = LoopsEngine(graph, random_weights(graph))
    >>> clip = np.zeros((1, 3, 2, 32, 32), np.float32)
    >>> engine.run({"x": clip})["consensus"].shape
    (1, 3)
    """

    name = "loops"

    @property
    def table(self) -> Mapping[str, StepMaker]:
        """One maker of steps per op."""
        return TABLE


def _shift(node: Node, x: Array) -> Array:
    """Shift each segment of frames by itself; a convolution without a shift moves nothing."""
    d, length = np.array(node.attr("d"), np.int64), node.attr("segment") or x.shape[2]
    if not len(d):
        return x
    fill, zero = _FILLS[node.attr("fill")], node.attr("x_zero_point") if _whole(x) else 0
    wide = x.astype(np.int16) - np.int16(zero) if zero else x
    cuts = [np.ascontiguousarray(wide[:, :, t : t + length]) for t in range(0, x.shape[2], length)]
    found = np.concatenate([loops.temporal_shift(cut, d, fill) for cut in cuts], axis=2)
    return (found + np.int16(zero)).astype(x.dtype) if zero else found


def _spatial_shift(node: Node, y: Array, x: Array) -> Array:
    dh, dw = (np.array(node.attrs[name], np.int64) for name in ("dh", "dw"))
    zero = node.attr("x_zero_point") if _whole(x) else 0
    wide = x.astype(np.int16) - np.int16(zero) if zero else x
    found = loops.spatial_shift(wide, dh, dw, _FILLS[node.attr("fill")])
    return (found + np.int16(zero)).astype(x.dtype) if zero else found


def _whole(x: Array) -> bool:
    return x.dtype.kind in "iu"


def _fused_conv(node: Node, y: Array, x: Array, weight: Array, bias: Array, *more: Array) -> Array:
    how = (node.attr(name) for name in ("strides", "pads", "dilations", "group"))
    x = rounded(x) if node.attr("precision") == "bfloat16" else x
    found = loops.conv(_shift(node, x), weight, bias, *how)
    for residual in more:
        found = loops_of_values.add(found, residual)
    activation = node.attr("activation")
    return _ACTIVATIONS[activation](node, found) if activation else found


def _batch_norm(
    node: Node, y: Array, x: Array, scale: Array, bias: Array, mean: Array, variance: Array
) -> Array:
    five = x.reshape(*x.shape, *[1] * (5 - x.ndim))
    return loops.batch_norm(five, mean, variance, scale, bias, node.attr("epsilon"))


def _max_pool(node: Node, y: Array, x: Array) -> Array:
    kernel, strides, pads = (node.attr(name) for name in ("kernel_shape", "strides", "pads"))
    real = x.astype(np.float32) if _whole(x) else x
    found = loops.max_pool(real, kernel, strides, pads, node.attr("dilations"), _sizes(y))
    return found.astype(x.dtype, copy=False)


def _average_pool(node: Node, y: Array, x: Array) -> Array:
    kernel, strides, pads = (node.attr(name) for name in ("kernel_shape", "strides", "pads"))
    return loops.average_pool(x, kernel, strides, pads, node.attr("count_include_pad"), _sizes(y))


def _sizes(y: Array) -> tuple[int, int, int]:
    _, frames, height, width = y.shape
    return frames, height, width


def _linear(node: Node, y: Array, x: Array, weight: Array, *bias: Array) -> Array:
    return loops.linear(x, weight, bias[0] if bias else np.zeros(len(weight), x.dtype))


def _softmax(node: Node, y: Array, x: Array) -> Array:
    last = np.moveaxis(x, node.attr("axis"), -1)
    rows = np.ascontiguousarray(last).reshape(-1, last.shape[-1])
    logarithm = node.op == "LogSoftmax"
    loop = loops_of_values.log_softmax if logarithm else loops_of_values.softmax
    return np.moveaxis(loop(rows).reshape(last.shape), -1, node.attr("axis"))


def _binary(loop: Loop) -> Loop:
    def apply(node: Node, y: Array, a: Array, b: Array) -> Array:
        wide = (np.ascontiguousarray(np.broadcast_to(v, (1, *y.shape))) for v in (a, b))
        return loop(*wide)

    return apply


def _non_local(node: Node, y: Array, theta: Array, phi: Array, g: Array) -> Array:
    theta, phi, g = (v.reshape(*v.shape[:2], -1) for v in (theta, phi, g))
    return loops_of_values.non_local(theta, phi, g, node.attr("mode") == "dot_product")


def _finish(node: Node, sums: Array, scale: Array, dims: Sequence[int]) -> Array:
    """Steps 2 and 3 of a quantised layer; what is real has no third."""
    v = loops_of_integers.scale_sums(sums, factor_of(node, scale)).reshape(dims)
    return v if node.attr("dtype") == "float32" else _requantize(node, v)


def _requantize(node: Node, v: Array, zero: int | None = None) -> Array:
    """Step 3; the zero point is that of the node, unless what is rounded has it already."""
    zero, dtype = node.attr("y_zero_point") if zero is None else zero, node.attrs["dtype"]
    least, most = limits(dtype)
    low, high = max(least, node.attrs.get("low", least)), min(most, node.attrs.get("high", most))
    return loops_of_integers.requantize(v, zero, low, high).astype(dtype)


def _qlinear_conv(
    node: Node, y: Array, x: Array, weight: Array, scale: Array, bias: Array
) -> Array:
    how = (node.attr(name) for name in ("strides", "pads", "dilations", "group"))
    sums = loops_of_integers.conv(_shift(node, x), node.attr("x_zero_point"), weight, bias, *how)
    return _finish(node, sums, scale, sums.shape)


def _qlinear_matmul(
    node: Node, y: Array, x: Array, weight: Array, scale: Array, bias: Array
) -> Array:
    one, none = (1, 1, 1), (0,) * 6
    row, kernel = x[..., None, None], weight[..., None, None, None]
    sums = loops_of_integers.conv(row, node.attr("x_zero_point"), kernel, bias, one, none, one, 1)
    return _finish(node, sums, scale, (*x.shape[:1], len(weight), *x.shape[2:]))


def _dynamic_conv(
    node: Node, y: Array, x: Array, weight: Array, scale: Array, *bias: Array
) -> Array:
    how = (node.attr(name) for name in ("strides", "pads", "dilations", "group"))
    return _dynamic(x, weight, scale, bias, *how)


def _dynamic_matmul(
    node: Node, y: Array, x: Array, weight: Array, scale: Array, *bias: Array
) -> Array:
    one, none = (1, 1, 1), (0,) * 6
    row, kernel = x[..., None, None], weight[..., None, None, None]
    found = _dynamic(row, kernel, scale, bias, one, none, one, 1)
    return found.reshape(*x.shape[:1], len(weight), *x.shape[2:])


def _dynamic(x: Array, weight: Array, scale: Array, bias: Sequence[Array], *how: Any) -> Array:
    """A layer whose steps are those of the range of what it reads."""
    step, zero = dynamic_steps(x)
    if np.isnan(step):
        x = np.zeros_like(x)
    whole = loops_of_integers.quantize(x, F32(1) if np.isnan(step) else step)
    q = loops_of_integers.requantize(whole, zero, 0, 255).astype(np.uint8)
    sums = loops_of_integers.conv(q, zero, weight, np.zeros(len(weight), np.int32), *how)
    made = loops_of_integers.scale_sums(sums, step * scale).reshape(sums.shape)
    return made + bias[0].reshape(-1, 1, 1, 1) if bias else made


def _operands(y: Array, x: Array, other: Array) -> list[Array]:
    return [np.ascontiguousarray(np.broadcast_to(v, (1, *y.shape))) for v in (x, other)]


def _qlinear_add(node: Node, y: Array, x: Array, other: Array) -> Array:
    x, other = _operands(y, x, other)
    if node.attr("rule") == "xnnpack":
        return _xnnpack_add(node, x, other)
    scale = node.attr("y_scale")
    gains = [combined_scale(node.attr(f"{role}_scale"), 1.0, scale)[()] for role in ("x", "other")]
    zeros = (node.attr("x_zero_point"), node.attr("other_zero_point"))
    v = loops_of_integers.add(x, zeros[0], gains[0], other, zeros[1], gains[1])
    return _requantize(node, v)


def _xnnpack_add(node: Node, x: Array, other: Array) -> Array:
    factors = add_factors(*(node.attr(f"{role}_scale") for role in ("x", "other", "y")))
    zeros = (node.attr("x_zero_point"), node.attr("other_zero_point"))
    steps = loops_of_integers.add_by_shift(x, zeros[0], other, zeros[1], *factors)
    return _requantize(node, steps)


def _qlinear_mul(node: Node, y: Array, x: Array, other: Array) -> Array:
    x, other = _operands(y, x, other)
    scales = (node.attr(f"{role}_scale") for role in ("x", "other", "y"))
    zeros = (node.attr("x_zero_point"), node.attr("other_zero_point"))
    gain = combined_scale(*scales)[()]
    return _requantize(node, loops_of_integers.multiply(x, zeros[0], other, zeros[1], gain))


def _qlinear_average(node: Node, y: Array, x: Array) -> Array:
    if node.op == "QLinearGlobalAveragePool":
        how = ((1, *x.shape[3:]), (1, 1, 1), (0,) * 6, False)
    else:
        names = ("kernel_shape", "strides", "pads", "count_include_pad")
        how = tuple(node.attr(name) for name in names)
    rule = node.attr("rule")
    zero = node.attr("x_zero_point") if rule == "onnxruntime" else 0
    sums, counts = loops_of_integers.average(x, zero, *how, _sizes(y))
    if rule == "tflite":
        return _requantize(node, loops_of_integers.divide(sums, counts), zero=0)
    if rule == "xnnpack":
        return _xnnpack_mean(node, sums, counts)
    share = np.float32(node.attr("y_scale")) * counts.astype(np.float32)
    factors = np.broadcast_to(np.float32(node.attr("x_scale")) / share, sums.shape)
    # One mean per place, so every place is a channel of its own.
    v = loops_of_integers.scale_sums(sums.reshape(1, -1, 1), factors.reshape(-1))
    return _requantize(node, v.reshape(sums.shape))


def _xnnpack_mean(node: Node, sums: Array, counts: Array) -> Array:
    steps = ((node.attr(f"{role}_scale"), node.attr(f"{role}_zero_point")) for role in ("x", "y"))
    factors, offsets = (np.broadcast_to(v, sums.shape) for v in mean_terms(counts, *steps))
    v = loops_of_integers.scale_sums(sums.reshape(1, -1, 1), factors.reshape(-1))
    moved = loops_of_integers.add_offsets(v, offsets.reshape(1, -1, 1))
    return _requantize(node, moved.reshape(sums.shape), zero=0)


def _quantize(node: Node, y: Array, x: Array) -> Array:
    return _requantize(node, loops_of_integers.quantize(x, x.dtype.type(node.attr("y_scale"))))


def _dequantize(node: Node, y: Array, x: Array) -> Array:
    scale = np.float32(node.attr("x_scale"))
    return loops_of_integers.dequantize(x, node.attr("x_zero_point"), scale)


def _look_up(node: Node, y: Array, x: Array, table: Array) -> Array:
    return loops_of_integers.look_up(x, table, limits(str(x.dtype))[0])


def _leaky_relu(node: Node, x: Array) -> Array:
    return loops_of_values.leaky_relu(x, node.attr("alpha"))


_ACTIVATIONS: Mapping[str, Callable[[Node, Array], Array]] = {
    "Relu": lambda node, x: loops_of_values.clamp(x, 0.0, np.inf),
    "Clip": lambda node, x: loops_of_values.clamp(x, node.attr("min"), node.attr("max")),
    "LeakyRelu": _leaky_relu,
    "HardSwish": lambda node, x: loops_of_values.hard_swish(x),
    "HardSigmoid": lambda node, x: loops_of_values.hard_sigmoid(x),
    "Tanh": lambda node, x: loops_of_values.tanh(x),
    "Sigmoid": lambda node, x: loops_of_values.sigmoid(x),
}


def _activation(op: str) -> Loop:
    return lambda node, y, x: _ACTIVATIONS[op](node, x)


LOOPS: Mapping[str, Loop] = {
    "FusedConv": _fused_conv,
    "BatchNormalization": _batch_norm,
    "Softmax": _softmax,
    "LogSoftmax": _softmax,
    "Add": _binary(loops_of_values.add),
    "Mul": _binary(loops_of_values.multiply),
    "Concat": lambda node, y, a, b: loops.concatenate(a, b).reshape(1, *y.shape),
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": lambda node, y, x: loops.global_average_pool(x),
    "Flatten": lambda node, y, x: loops.flatten(x, node.attr("order") != "CHW"),
    "Squeeze": lambda node, y, x: x,
    "Linear": _linear,
    "TemporalShift": lambda node, y, x: _shift(node, x),
    "SpatialShift": _spatial_shift,
    "FrameTuple": lambda node, y, x: loops.frame_tuple(x, np.array(node.attrs["frames"])),
    "Consensus": lambda node, y, x: loops.consensus(x),
    "AttentionMask": lambda node, y, x: loops_of_values.attention_mask(x),
    "NonLocal": _non_local,
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
    "DynamicQuantizeConv": _dynamic_conv,
    "DynamicQuantizeMatMul": _dynamic_matmul,
    "QLinearConv": _qlinear_conv,
    "QLinearMatMul": _qlinear_matmul,
    "QLinearAdd": _qlinear_add,
    "QLinearMul": _qlinear_mul,
    "QLinearAveragePool": _qlinear_average,
    "QLinearGlobalAveragePool": _qlinear_average,
    "LookUp": _look_up,
    **{op: _activation(op) for op in _ACTIVATIONS},
}
"""The loop of every op of an optimised graph: (node, y, operands) -> values, with a batch axis.

The operands have a batch axis too, and `y` is where the values will go, for its shape alone.
"""


def _step(loop: Loop) -> StepMaker:
    """A step that puts what a loop gives into an array without a batch axis."""

    def make(node: Node, inputs: Sequence[Array], y: Array) -> Step:
        roles = [role.removesuffix("?") for role in OPS[node.op].inputs]
        operands = [
            value if role in PARAMETER_ROLES or (role in ("a", "b") and value.ndim > y.ndim)
            else value[None]
            for role, value in zip(roles, inputs, strict=False)
        ]  # fmt: skip
        return lambda: np.copyto(y, loop(node, y, *operands).reshape(y.shape))

    return make


TABLE: Mapping[str, StepMaker] = {op: _step(loop) for op, loop in LOOPS.items()}
"""One maker of steps per op, as `tsm_ref.engine.on_numpy.ops.STEPS`."""
