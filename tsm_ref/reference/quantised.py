"""Quantised layers: whole numbers of 8 bits that stand for real ones, and sums that are exact.

A quantised value is ``real = scale * (q - zero_point)`` with `q` of uint8 or int8 (ONNX
QuantizeLinear; Jacob et al. 2018, equation 1). Activations have one scale and one zero point,
weights have a scale for each output channel and the zero point 0. Zero is a number without error,
so padding and the fill of a temporal shift are the zero point.

Every layer is three steps, and no step leaves room for another result:

1. ``acc = bias + sum of (x - x_zero_point) * weight`` in whole numbers, modulo 2^32. The order of
   a sum of whole numbers does not matter.
2. ``v = float32(acc) * scale``: one rounding to float32 (none below 2^24), one product in float32.
3. `requantize`: `v` is rounded to the nearest whole number, halves to the even one, the zero point
   is added, and what then lies outside ``low .. high`` is moved to that end.

Step 2 and 3 are what ONNX Runtime's QLinearConv does on a processor, with the same combined scale
(see `combined_scale`), so both give the same bits where its own sums do not saturate (they do in
pairs of 16 bits on processors without VNNI). Against the float definition, dequantize - convolve -
quantize, an output may differ by one step: only where the exact value in steps lies within
``(n + 4) 2^-24 |v|`` of a half, n being the length of the float sum. `qlinear_add`, `qlinear_mul`
round more often (see there), and may differ by one step near a half from the float definition and
from ONNX Runtime, which computes them with fused multiply-adds.

Weights of int16 are for files whose weights have a zero point of their own, which is taken off.
"""

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tsm_ref.reference._arrays import Array, floats, integer, one_of, per_channel, working
from tsm_ref.reference._windows import Padding, Size, windows

TYPES = ("uint8", "int8")
"""The types of quantised values."""

F32 = np.float32


def quantize_linear(
    x: ArrayLike,
    scale: ArrayLike,
    zero_point: ArrayLike = 0,
    dtype: str = "uint8",
    axis: int = 1,
) -> Array:
    """Round reals to quantised values: saturate(round(x / scale) + zero_point).

    The quotient is of the dtype of x, halves go to the even number. NaN becomes the lowest value.

    Shapes: x any; scale and zero_point () for all, or (x.shape[axis],) along an axis -> like x.
    Errors: ValueError for integers, a scale that is not positive and finite or does not fit, a zero
    point that `dtype` does not have. Source: ONNX QuantizeLinear.

    >>> quantize_linear(np.array([-9.0, 0.25, 0.75, 1.25, 999.0]), 0.5, 3)
    array([  0,   3,   5,   5, 255], dtype=uint8)
    """
    x = working(floats(x, rank=0))
    s, z = _along(x, scale, zero_point, one_of(dtype, "dtype", TYPES), axis)
    least, most = limits(dtype)
    with np.errstate(over="ignore"):
        steps = x / s.astype(x.dtype)
    within = np.fmin(np.fmax(steps, (least - z).astype(x.dtype)), (most - z).astype(x.dtype))
    return np.asarray(np.rint(within) + z).astype(dtype)


def dequantize_linear(
    q: ArrayLike, scale: ArrayLike, zero_point: ArrayLike = 0, axis: int = 1, to: Any = F32
) -> Array:
    """The reals that quantised values stand for: (q - zero_point) * scale, in the dtype `to`.

    Shapes: as `quantize_linear`. Errors: ValueError for another type than uint8, int8, int16 and
    int32, and as `quantize_linear`. Source: ONNX DequantizeLinear.

    >>> dequantize_linear(np.array([0, 3, 255], np.uint8), 0.5, 3)
    array([ -1.5,   0. , 126. ], dtype=float32)
    """
    q = np.asarray(q)
    one_of(str(q.dtype), "dtype", (*TYPES, "int16", "int32"))
    s, z = _along(q, scale, zero_point, str(q.dtype), axis)
    return np.asarray((q.astype(np.int64) - z).astype(to) * s.astype(to))


def limits(dtype: str) -> tuple[int, int]:
    """The least and the largest whole number of a type.

    >>> limits("uint8"), limits("int8")
    ((0, 255), (-128, 127))
    """
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def combined_scale(x_scale: float, weight_scale: ArrayLike, y_scale: float | None = None) -> Array:
    """The factor of step 2, per output channel: ``x_scale * weight_scale / y_scale`` in float32.

    The product is rounded first and then the quotient, as ONNX Runtime does. Without `y_scale` the
    result of the layer is real, and the factor ``x_scale * weight_scale``.

    Errors: ValueError where a factor is not a normal number of float32: it would be infinite, or
    lose bits.

    >>> combined_scale(0.5, [0.25, 0.5], 2.0)
    array([0.0625, 0.125 ], dtype=float32)
    """
    with np.errstate(over="ignore", under="ignore"):
        factor = np.multiply(F32(x_scale), np.asarray(weight_scale, F32), dtype=F32)
        if y_scale is not None:
            factor = np.divide(factor, F32(y_scale), dtype=F32)
    if not ((factor >= np.finfo(F32).tiny) & np.isfinite(factor)).all():
        raise ValueError(
            f"the scales {x_scale:g}, {np.ravel(weight_scale)[0]:g}, ... and {y_scale} combine to "
            "no normal number of float32"
        )
    return np.asarray(factor)


def requantize(
    v: ArrayLike, zero_point: int, dtype: str, low: int = -128, high: int = 255
) -> Array:
    """Steps to quantised values: round to the nearest, halves to even, add, and clamp.

    `v` are float32 numbers, in steps of the result. An activation that is a clamp is part of this:
    ``low`` and ``high`` are its ends, quantised as the result is.

    Shapes: any -> the same.

    >>> requantize(np.array([-0.5, 0.5, 1.5, 300.0], np.float32), 10, "uint8", low=10)
    array([ 10,  10,  12, 255], dtype=uint8)
    """
    least, most = limits(dtype)
    bottom, top = max(low, least) - zero_point, min(high, most) - zero_point
    within = np.fmin(np.fmax(np.asarray(v, F32), F32(bottom)), F32(top))
    return np.asarray(np.rint(within) + F32(zero_point)).astype(dtype)


def conv_integer(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    x_zero_point: int = 0,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Array:
    """The convolution of step 1: whole numbers, summed modulo 2^32, padded with the zero point.

    acc[n, o, p] = bias[o] + sum over c, k of weight[o, c, k] (x[n, c', p'] - x_zero_point), with c'
    and p' as in `conv`, and x = x_zero_point outside.

    Shapes: as `conv`; x uint8 or int8, weight int8 (or int16), bias int32 -> int32.
    Errors: ValueError for other types, or shapes that do not match. Source: ONNX ConvInteger.

    >>> x = np.array([[[130, 128, 127]]], np.uint8)
    >>> conv_integer(x, np.array([[[1, 10]]], np.int8), x_zero_point=128, padding=1)
    array([[[ 20,   2, -10,  -1]]], dtype=int32)
    """
    x, weight = _whole(x, "x", TYPES), _whole(weight, "weight", ("int8", "int16"))
    groups = integer(groups, "groups", 1)
    n, channels, *size = x.shape
    outputs, width, *kernel = weight.shape
    if width * groups != channels or outputs % groups or len(kernel) != len(size):
        raise ValueError(f"`weight` {weight.shape} in {groups} group(s) cannot read `x` {x.shape}")
    where = windows(tuple(size), kernel, stride, padding, dilation)
    by_group = weight.astype(np.int64).reshape(groups, outputs // groups, width, *kernel)
    centred = x.astype(np.int64) - x_zero_point
    acc = np.zeros((n, groups, outputs // groups, prod(where.out)), np.int64)
    for tap, read in where.taps(where.pad(centred, 0)):
        at_tap: Any = (..., *tap)
        acc += by_group[at_tap] @ read.reshape(n, groups, width, prod(where.out))
    acc = acc.reshape(n, outputs, *where.out)
    if bias is not None:
        acc += per_channel(_whole(bias, "bias", ("int32",)).astype(np.int64), acc)
    return acc.astype(np.int32)


def matmul_integer(
    x: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None, x_zero_point: int = 0
) -> Array:
    """The fully connected layer of step 1, the same for every frame and place.

    acc[n, k, ...] = bias[k] + sum over c of weight[k, c] (x[n, c, ...] - x_zero_point).

    Shapes: x (N, C, ...) uint8 or int8, weight (K, C) int8 (or int16), bias (K,) int32 ->
    (N, K, ...) int32. Errors: as `conv_integer`.

    >>> matmul_integer(np.array([[4, 5]], np.uint8), np.array([[1, -2]], np.int8), x_zero_point=4)
    array([[-2]], dtype=int32)
    """
    x, weight = _whole(x, "x", TYPES), _whole(weight, "weight", ("int8", "int16"))
    row = x.reshape(*x.shape[:2], prod(x.shape[2:]))
    acc = conv_integer(row, weight[..., None], bias, x_zero_point)
    return acc.reshape(x.shape[0], weight.shape[0], *x.shape[2:])


def scaled(acc: ArrayLike, scale: ArrayLike) -> Array:
    """Step 2: ``float32(acc) * scale``, with a scale for all or one per channel of axis 1.

    >>> scaled(np.array([[2**24 + 1], [4]], np.int32).T, np.array([1.0, 0.5], np.float32))
    array([[1.6777216e+07, 2.0000000e+00]], dtype=float32)
    """
    acc, scale = np.asarray(acc), np.asarray(scale, F32)
    with np.errstate(over="ignore"):
        return np.asarray(acc.astype(F32) * (per_channel(scale, acc) if scale.ndim else scale))


def qlinear_add(
    a: ArrayLike, b: ArrayLike, a_steps: tuple[float, int], b_steps: tuple[float, int],
    y_scale: float,
) -> Array:  # fmt: skip
    """The sum of two quantised values in steps of the result, for `requantize`.

    v = float32(a - a_zero) * (a_scale / y_scale) + float32(b - b_zero) * (b_scale / y_scale): two
    quotients, two products and a sum, each rounded to float32, none of them fused.

    Shapes: a and b broadcast; `a_steps` and `b_steps` are (scale, zero point).
    Source: QLinearAdd of ONNX Runtime (com.microsoft), which fuses the multiply-adds.

    >>> a, b = np.array([4], np.uint8), np.array([-2], np.int8)
    >>> qlinear_add(a, b, (0.5, 0), (1.0, 0), 0.25)
    array([0.], dtype=float32)
    """
    (a_scale, a_zero), (b_scale, b_zero) = a_steps, b_steps
    left = _centred(a, a_zero) * combined_scale(a_scale, 1.0, y_scale)
    right = _centred(b, b_zero) * combined_scale(b_scale, 1.0, y_scale)
    return np.asarray(left + right)


def qlinear_mul(
    a: ArrayLike, b: ArrayLike, a_steps: tuple[float, int], b_steps: tuple[float, int],
    y_scale: float,
) -> Array:  # fmt: skip
    """The product of two quantised values in steps of the result, for `requantize`.

    v = float32((a - a_zero) (b - b_zero)) * (a_scale b_scale / y_scale); see `combined_scale`.

    Shapes: as `qlinear_add`. Source: QLinearMul of ONNX Runtime (com.microsoft).

    >>> a, b = np.array([4], np.uint8), np.array([-2], np.int8)
    >>> qlinear_mul(a, b, (0.5, 0), (1.0, 0), 0.25)
    array([-16.], dtype=float32)
    """
    (a_scale, a_zero), (b_scale, b_zero) = a_steps, b_steps
    product = _centred(a, a_zero) * _centred(b, b_zero)
    return np.asarray(product * combined_scale(a_scale, b_scale, y_scale))


def qlinear_average(
    x: ArrayLike,
    x_steps: tuple[float, int],
    y_scale: float,
    kernel: Size,
    stride: Size = 1,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = False,
) -> Array:
    """The mean of every window in steps of the result, for `requantize`.

    acc = sum of (x - x_zero) over the places of a window inside x; v = float32(acc) *
    (x_scale / (y_scale * count)), the product before the quotient, both rounded to float32.
    ``count`` are these places, with those in the padding if `count_include_pad`.

    Shapes: x (N, C, ...) -> (N, C, ...), as `avg_pool`.
    Source: QLinearAveragePool, QLinearGlobalAveragePool of ONNX Runtime (com.microsoft).

    >>> x = np.array([[[1, 2, 6]]], np.uint8)
    >>> qlinear_average(x, (0.5, 1), 0.25, kernel=3)
    array([[[4.]]], dtype=float32)
    """
    x_scale, x_zero = x_steps
    how = (kernel, stride, padding, ceil_mode, count_include_pad)
    acc, count = window_sums(x, x_zero, *how)
    return np.asarray(acc.astype(F32) * (F32(x_scale) / (F32(y_scale) * count.astype(F32))))


def window_sums(
    x: ArrayLike,
    zero_point: int,
    kernel: Size,
    stride: Size = 1,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = False,
) -> tuple[Array, Array]:
    """The sums of ``x - zero_point`` over every window, and of how many places they are.

    Shapes: x (N, C, ...) -> (N, C, ...) and (1, 1, ...), as `qlinear_average`.

    >>> sums, counts = window_sums(np.array([[[1, 2, 6]]], np.uint8), 1, kernel=2, padding=1)
    >>> sums.tolist(), counts.tolist()
    ([[[0, 1, 6, 5]]], [[[1, 2, 2, 1]]])
    """
    x = _whole(x, "x", TYPES)
    where = windows(x.shape[2:], kernel, stride, padding, 1, ceil_mode)
    acc = np.zeros((*x.shape[:2], *where.out), np.int64)
    for _, read in where.taps(where.pad(x.astype(np.int64) - zero_point, 0)):
        acc += read
    inside = where.pad(np.ones((1, 1, *x.shape[2:]), np.int64), 0)
    if count_include_pad:
        ends = (n + sum(sides) for n, sides in zip(where.size, where.padding, strict=True))
        counted: Any = (..., *map(slice, ends))
        inside[counted] = 1
    count = np.zeros((1, 1, *where.out), np.int64)
    for _, read in where.taps(inside):
        count += read
    return acc, count


def look_up(x: ArrayLike, table: ArrayLike) -> Array:
    """A function of one quantised value by its table: table[x - least value of the type of x].

    Shapes: x any, table (256,) -> like x, of the type of the table.

    >>> look_up(np.array([-128, 127], np.int8), np.arange(256).astype(np.uint8))
    array([  0, 255], dtype=uint8)
    """
    x = _whole(x, "x", TYPES)
    return np.asarray(np.asarray(table)[x.astype(np.int64) - limits(str(x.dtype))[0]])


def on_reals(function: Callable[[Array], Array], x: ArrayLike, zero_point: int = 0) -> Array:
    """A function that only moves or compares values, or fills with zeros, on quantised ones.

    >>> on_reals(lambda v: np.pad(v, 1), np.array([7, 8], np.uint8), 5)
    array([5, 7, 8, 5], dtype=uint8)
    """
    x = _whole(x, "x", TYPES)
    return np.asarray(function(x.astype(np.float64) - zero_point) + zero_point).astype(x.dtype)


def _centred(x: ArrayLike, zero_point: int) -> Array:
    """`x` less its zero point: whole numbers in float32, without rounding."""
    return _whole(x, "x", TYPES).astype(F32) - F32(zero_point)


def _whole(x: ArrayLike, name: str, allowed: tuple[str, ...]) -> Array:
    array = np.asarray(x)
    if str(array.dtype) not in allowed:
        raise ValueError(f"`{name}` is {array.dtype}; {' or '.join(allowed)} is needed")
    return array


def _along(
    x: Array, scale: ArrayLike, zero_point: ArrayLike, dtype: str, axis: int
) -> tuple[Array, Array]:
    """Scale and zero point as they broadcast against x, after every check."""
    s, z = np.asarray(scale), np.asarray(zero_point)
    if s.ndim and not -x.ndim <= axis < x.ndim:
        raise ValueError(f"`axis` (={axis}) does not exist in an array of shape {x.shape}")
    if s.shape not in ((), x.shape[axis : axis + 1 or None]) or z.shape not in ((), s.shape):
        raise ValueError(
            f"`scale` {s.shape} and `zero_point` {z.shape} do not fit axis {axis} of {x.shape}"
        )
    if not (np.isfinite(s) & (s > 0)).all():
        raise ValueError(f"`scale` (={s}) must be positive and finite")
    least, most = limits(dtype)
    if z.dtype.kind not in "iu" or not ((z >= least) & (z <= most)).all():
        raise ValueError(f"`zero_point` (={z}) must be a whole number of {dtype}")
    z = z.astype(np.int64)
    if not s.ndim:
        return s, z
    shape = [-1 if i == axis % x.ndim else 1 for i in range(x.ndim)]
    return s.reshape(shape), z.reshape(shape) if z.ndim else z
