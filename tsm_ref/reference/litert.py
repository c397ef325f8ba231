"""How LiteRT rounds sums, means and functions of one value to 8 bits, where not as ONNX Runtime.

A network of a TensorFlow Lite file was trained, calibrated and measured with LiteRT, whose kernels
are those of XNNPACK and, for what XNNPACK leaves to it, its own. Its convolutions, matrix products
and products follow the rule of `tsm_ref.reference.quantised`; additions and means, and what is done
to one value alone, do not. Where a node says so (the attribute ``rule``), these are computed.

Every function gives numbers of the result's type before they are clamped: whole ones, or, of
`xnnpack_mean`, real ones that are rounded once more, halves to even. The zero point is in them.

Sources: XNNPACK, ``src/qs8-vadd``, ``qs8-vcvt``, ``qs8-vlrelu``, ``operators/reduce-nd.c`` and
``microparams-init.c``; TensorFlow Lite, ``kernels/internal/reference``: ``integer_ops/pooling.h``,
``hardswish.h``, and ``common.h``.
"""

import numpy as np
from numpy.typing import ArrayLike

from tsm_ref.reference._arrays import Array
from tsm_ref.reference._windows import Padding, Size
from tsm_ref.reference.quantised import F32, window_sums

Steps = tuple[float, int]
"""Scale and zero point."""

MULTIPLIER_BITS = 20
"""The larger factor of an addition is a whole number of one bit more."""


def adds(a_scale: float, b_scale: float, y_scale: float) -> bool:
    """True where XNNPACK adds values of these scales: their ratios are in 2^-10 .. 2^8.

    >>> adds(0.5, 0.25, 1.0), adds(300.0, 1.0, 1.0)
    (True, False)
    """
    return all(2.0**-10 <= _ratio(scale, y_scale) < 2.0**8 for scale in (a_scale, b_scale))


def converts(x_scale: float, y_scale: float, slope: float = 1.0) -> bool:
    """True where XNNPACK takes values from steps to steps: the ratio is in 2^-8 .. 2^7.

    >>> converts(1.0, 2.0), converts(1.0, 2.0, slope=0.001)
    (True, False)
    """
    ratio = _ratio(x_scale, y_scale)
    return all(2.0**-8 <= abs(float(value)) <= 2.0**7 for value in (ratio, ratio * F32(slope)))


def add_factors(a_scale: float, b_scale: float, y_scale: float) -> tuple[int, int, int]:
    """The factors of an addition as whole numbers, and by how many bits they are too large.

    >>> add_factors(0.5, 0.25, 1.0)
    (1048576, 524288, 21)
    """
    ratios = [float(_ratio(scale, y_scale)) for scale in (a_scale, b_scale)]
    shift = MULTIPLIER_BITS + 1 - int(np.frexp(max(ratios))[1])
    a, b = (int(np.rint(np.ldexp(ratio, shift))) for ratio in ratios)
    return a, b, shift


def xnnpack_add(
    a: ArrayLike, b: ArrayLike, a_steps: Steps, b_steps: Steps, y_steps: Steps
) -> Array:
    """The sum of two quantised values as XNNPACK rounds it: to nearest, halves up.

    y = y_zero + floor(((a - a_zero) m_a + (b - b_zero) m_b) / 2^s + 1/2), where m = rint(2^s times
    the ratio of a scale to y_scale), and s is such that the larger m has 21 bits (`add_factors`).

    Shapes: a and b broadcast.

    >>> xnnpack_add(np.array([1, 3], np.int8), np.zeros(2, np.int8), (0.5, 0), (0.5, 0), (1.0, 10))
    array([11, 12])
    """
    left, right, shift = add_factors(a_steps[0], b_steps[0], y_steps[0])
    acc = (_wide(a) - a_steps[1]) * left + (_wide(b) - b_steps[1]) * right
    return np.asarray(((acc + (1 << (shift - 1))) >> shift) + y_steps[1])


def mean_terms(count: Array, x_steps: Steps, y_steps: Steps) -> tuple[Array, Array]:
    """The factor and the offset of a mean of so many values, in float32.

    factor = (x_scale / y_scale) * (1 / count); offset = y_zero - (count x_zero) * factor.

    >>> factor, offset = mean_terms(np.array([4]), (0.5, 2), (1.0, 10))
    >>> factor.item(), offset.item()
    (0.125, 9.0)
    """
    n = np.asarray(count)
    factor = _ratio(x_steps[0], y_steps[0]) * (F32(1) / n.astype(F32))
    offset = F32(y_steps[1]) - (n * x_steps[1]).astype(F32) * factor
    return factor.astype(F32), offset.astype(F32)


def xnnpack_mean(
    x: ArrayLike, x_steps: Steps, y_steps: Steps, kernel: Size, stride: Size = 1
) -> Array:
    """The mean of every window as XNNPACK sums it up, the zero point in what is rounded.

    v = float32(sum of x) * factor + offset (`mean_terms`): product and sum rounded to float32.

    Shapes: x (N, C, ...) -> (N, C, ...), as `avg_pool` without padding.

    >>> x = np.array([[[1, 2, 6]]], np.uint8)
    >>> xnnpack_mean(x, (0.5, 1), (0.25, 3), kernel=3)
    array([[[7.]]], dtype=float32)
    """
    acc, count = window_sums(x, 0, kernel, stride)
    factor, offset = mean_terms(count, x_steps, y_steps)
    return np.asarray(acc.astype(F32) * factor + offset)


def tflite_mean(
    x: ArrayLike, kernel: Size, stride: Size = 1, padding: Padding = 0, ceil_mode: bool = False
) -> Array:
    """The mean of the whole numbers of every window, halves away from zero.

    y = (s + count / 2) / count for s > 0, (s - count / 2) / count otherwise: quotients of whole
    numbers, cut towards zero. ``count`` are the places inside x; the result has the steps of x.

    Shapes: as `avg_pool`.

    >>> tflite_mean(np.array([[[1, 2, -1, -2]]], np.int8), kernel=2, stride=2)
    array([[[ 2, -2]]])
    """
    acc, count = window_sums(x, 0, kernel, stride, padding, ceil_mode)
    return np.asarray(np.sign(acc) * ((np.abs(acc) + count // 2) // count))


def xnnpack_convert(x: ArrayLike, x_steps: Steps, y_steps: Steps) -> Array:
    """Quantised values in other steps, of which 1/256 is the finest difference XNNPACK knows.

    y = floor((256 y_zero + (x - x_zero) m + 128) / 256), m = rint(256 x_scale / y_scale).

    >>> xnnpack_convert(np.array([1, 100], np.int8), (1.0, 0), (3.0, 0))
    array([ 0, 33])
    """
    return xnnpack_leaky_relu(x, x_steps, y_steps, 1.0)


def xnnpack_leaky_relu(x: ArrayLike, x_steps: Steps, y_steps: Steps, alpha: float) -> Array:
    """As `xnnpack_convert`, with m = rint(256 alpha x_scale / y_scale) for what is below zero.

    >>> xnnpack_leaky_relu(np.array([-100, 100], np.int8), (1.0, 0), (1.0, 0), 0.1)
    array([-10, 100])
    """
    ratio = _ratio(x_steps[0], y_steps[0])
    above, below = (int(np.rint(F32(256) * scale)) for scale in (ratio, ratio * F32(alpha)))
    centred = _wide(x) - x_steps[1]
    return np.asarray((256 * y_steps[1] + 128 + centred * np.where(centred < 0, below, above)) >> 8)


def tflite_rescale(x: ArrayLike, x_steps: Steps, y_steps: Steps) -> Array:
    """Quantised values in other steps, by a whole number of 31 bits and a shift.

    >>> tflite_rescale(np.array([-1, 1, 100], np.int8), (1.0, 0), (2.0, 0))
    array([ 0,  1, 50])
    """
    factor, exponent = _fixed(float(_ratio(x_steps[0], y_steps[0])), 31)
    centred = (_wide(x) - x_steps[1]) << max(exponent, 0)
    return np.asarray(_shifted(_high(centred, factor, 31), max(-exponent, 0)) + y_steps[1])


def tflite_hard_swish(x: ArrayLike, x_steps: Steps, y_steps: Steps) -> Array:
    """The hard swish, x relu6(x + 3) / 6, in whole numbers of 16 bits.

    >>> tflite_hard_swish(np.array([-60, 0, 60], np.int8), (0.05, 0), (0.05, 0))
    array([ 0,  0, 60])
    """
    fine = float(F32(x_steps[0]) * F32(1 / 128))
    out, out_exponent = _narrow(fine / float(F32(y_steps[0])))
    gate, gate_exponent = _narrow(fine / float(F32(3 / 32768)))
    wide = _within((_wide(x) - x_steps[1]) << 7)
    share = _within(wide << max(gate_exponent - 1, 0))
    share = _high(share, gate, 15)
    if gate_exponent > 0:
        share = _within(share << 1)
    share = (_shifted(share, max(-gate_exponent, 0)) + (1 << 15)) >> 1
    product = share * _high(wide, out, 15)
    whole = np.sign(product) * (np.abs(product) >> 15)  # cut towards zero
    return np.asarray((_shifted(whole, max(-out_exponent, 0)) << max(out_exponent, 0)) + y_steps[1])


def _ratio(x_scale: float, y_scale: float) -> np.float32:
    with np.errstate(over="ignore", under="ignore"):
        return np.float32(F32(x_scale) / F32(y_scale))


def _wide(x: ArrayLike) -> Array:
    return np.asarray(x).astype(np.int64)


def _within(x: Array) -> Array:
    """Saturate to 16 bits."""
    return np.clip(x, -(2**15), 2**15 - 1)


def _fixed(real: float, bits: int) -> tuple[int, int]:
    """A positive real as a whole number of so many bits, times a power of two."""
    fraction, exponent = np.frexp(real)
    whole = int(np.rint(fraction * 2**bits))
    return (whole // 2, int(exponent) + 1) if whole == 2**bits else (whole, int(exponent))


def _narrow(real: float) -> tuple[int, int]:
    """As `_fixed` in 15 bits, made of that in 31."""
    whole, exponent = _fixed(real, 31)
    return min((whole + (1 << 15)) >> 16, 2**15 - 1), exponent


def _high(x: Array, factor: int, bits: int) -> Array:
    """``x * factor / 2^bits``, rounded to the nearest, halves up."""
    product = x * factor
    nudged = product + np.where(product >= 0, 1 << (bits - 1), 1 - (1 << (bits - 1)))
    return np.asarray(np.sign(nudged) * (np.abs(nudged) >> bits))


def _shifted(x: Array, bits: int) -> Array:
    """``x / 2^bits``, halves away from zero."""
    rest, half = x & ((1 << bits) - 1), ((1 << bits) - 1) >> 1
    return np.asarray((x >> bits) + (rest > half + (x < 0)))
