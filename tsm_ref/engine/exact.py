"""Quantised layers by the functions of the reference, as the attributes of a node ask for them.

For the oracle, and for engines that have nothing quicker: every engine gives these bits. A kernel
of a ``QLinearConv`` has to compute, for every output channel c and place:

1. ``acc = bias[c] + sum of (x - x_zero_point) * weight`` in int32, which wraps; in any order, in
   any tiling, with any instruction that neither saturates nor rounds. Places in the padding, and
   those that a shift fills, are x_zero_point: they add nothing. (``sum of x * weight`` with
   ``bias - x_zero_point * sum of weight`` instead of the bias is the same number, where padding is
   filled with x_zero_point.)
2. ``v = float32(acc) * factor[c]``, with ``factor_of``: a conversion that rounds to nearest, and a
   product in float32. Nothing is fused with what follows. Where ``dtype`` is float32 this is the
   result.
3. ``v`` is clamped to ``low - y_zero_point .. high - y_zero_point`` (within the limits of the
   type), rounded to the nearest whole number, halves to even, and y_zero_point is added.

A ``QLinearAdd`` behind it may be computed at once, from the 8-bit result of step 3: two products
and a sum of float32, each rounded by itself (`tsm_ref.reference.quantised.qlinear_add`), then
step 3 again. That is two roundings to 8 bits; leaving one out is another network. A ``rule`` of
LiteRT replaces all of that (`tsm_ref.reference.litert`).
"""

from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray

from tsm_ref.graph import Node
from tsm_ref.reference import dynamic, litert, quantised

__all__ = ["FORMULAS", "factor_of"]

Array = NDArray[Any]
Formula = Callable[..., Array]


def factor_of(node: Node, scale: Array) -> Array:
    """The combined scale of a layer whose weights have these scales; see `combined_scale`."""
    real = node.attr("dtype") == "float32"
    return quantised.combined_scale(
        node.attr("x_scale"), scale, None if real else node.attr("y_scale")
    )


def _finished(node: Node, acc: Array, scale: Array) -> Array:
    """Sums as the values of a layer; those that are real are not rounded."""
    v = quantised.scaled(acc, factor_of(node, scale))
    return v if node.attr("dtype") == "float32" else _requantized(node, v)


def _requantized(node: Node, v: Array) -> Array:
    zero, dtype, low, high = (node.attr(n) for n in ("y_zero_point", "dtype", "low", "high"))
    return quantised.requantize(v, zero, dtype, low, high)


def _with_zero(node: Node, v: Array) -> Array:
    """As `_requantized`, of what has its zero point already (`tsm_ref.reference.litert`)."""
    dtype, low, high = (node.attr(n) for n in ("dtype", "low", "high"))
    return quantised.requantize(v, 0, dtype, low, high)


def _steps(node: Node, role: str) -> tuple[float, int]:
    """Scale and zero point of an operand."""
    return node.attr(f"{role}_scale"), node.attr(f"{role}_zero_point")


def pads_by_axis(node: Node) -> tuple[tuple[int, int], ...]:
    """ONNX's begins and ends as one (before, after) pair per axis."""
    pads = node.attr("pads")
    return tuple(zip(pads[:3], pads[3:], strict=True))


def _conv(node: Node, x: Array, weight: Array, scale: Array, bias: Array) -> Array:
    stride, dilation, groups = (node.attr(n) for n in ("strides", "dilations", "group"))
    how = (stride, pads_by_axis(node), dilation, groups)
    acc = quantised.conv_integer(x, weight, bias, node.attr("x_zero_point"), *how)
    return _finished(node, acc, scale)


def _matmul(node: Node, x: Array, weight: Array, scale: Array, bias: Array) -> Array:
    acc = quantised.matmul_integer(x, weight, bias, node.attr("x_zero_point"))
    return _finished(node, acc, scale)


def _pair(function: Formula) -> Formula:
    def apply(node: Node, x: Array, other: Array) -> Array:
        how = (_steps(node, "x"), _steps(node, "other"), node.attr("y_scale"))
        return _requantized(node, function(x, other, *how))

    return apply


_by_onnxruntime = _pair(quantised.qlinear_add)


def _add(node: Node, x: Array, other: Array) -> Array:
    if node.attr("rule") != "xnnpack":
        return _by_onnxruntime(node, x, other)
    steps = (_steps(node, role) for role in ("x", "other", "y"))
    return _with_zero(node, litert.xnnpack_add(x, other, *steps))


def _average_pool(node: Node, x: Array) -> Array:
    kernel, stride, ceil_mode = (node.attr(n) for n in ("kernel_shape", "strides", "ceil_mode"))
    how = (kernel, stride, pads_by_axis(node), ceil_mode, node.attr("count_include_pad"))
    return _mean(node, x, *how)


def _global_average_pool(node: Node, x: Array) -> Array:
    return _mean(node, x, (1, *x.shape[3:]))


def _mean(node: Node, x: Array, kernel: Any, *how: Any) -> Array:
    """The means of windows by the rule that the node says."""
    rule, steps = node.attr("rule"), _steps(node, "x")
    if rule == "xnnpack":
        v = litert.xnnpack_mean(x, steps, _steps(node, "y"), kernel, *how[:1])
        return _with_zero(node, v)
    if rule == "tflite":
        return _with_zero(node, litert.tflite_mean(x, kernel, *how[:3]))
    v = quantised.qlinear_average(x, steps, node.attr("y_scale"), kernel, *how)
    return _requantized(node, v)


def _dynamic_conv(
    node: Node, x: Array, weight: Array, scale: Array, bias: Array | None = None
) -> Array:
    stride, dilation, groups = (node.attr(n) for n in ("strides", "dilations", "group"))
    how = (stride, pads_by_axis(node), dilation, groups)
    return dynamic.dynamic_conv(x, weight, scale, bias, *how)


def _dynamic_matmul(
    node: Node, x: Array, weight: Array, scale: Array, bias: Array | None = None
) -> Array:
    return dynamic.dynamic_linear(x, weight, scale, bias)


FORMULAS: Mapping[str, Formula] = {
    "QuantizeLinear": lambda node, x: quantised.quantize_linear(
        x, *_steps(node, "y"), node.attr("dtype")
    ),
    "DequantizeLinear": lambda node, x: quantised.dequantize_linear(x, *_steps(node, "x")),
    "QLinearConv": _conv,
    "QLinearMatMul": _matmul,
    "QLinearAdd": _add,
    "QLinearMul": _pair(quantised.qlinear_mul),
    "QLinearAveragePool": _average_pool,
    "QLinearGlobalAveragePool": _global_average_pool,
    "DynamicQuantizeConv": _dynamic_conv,
    "DynamicQuantizeMatMul": _dynamic_matmul,
    "LookUp": lambda node, x, table: quantised.look_up(x, table),
}
"""What every quantised op is: (node, operands with a batch axis) -> value."""
