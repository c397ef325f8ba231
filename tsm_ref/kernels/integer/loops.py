"""Quantised layers as plain loops, to be read after `loops`: sums of whole numbers, then one step.

Sums are int32 and wrap, whatever comes up; what is real is float32, rounded after every operation.
What the numbers mean: `tsm_ref.reference.quantised`. Nothing is checked here.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.kernels.cache import compiled
from tsm_ref.kernels.loops import Pads, Sizes, window_count

Array = NDArray[Any]


def conv(
    x: Array, zero: int, weight: Array, bias: Array, strides: Sizes, pads: Pads, dilations: Sizes,
    groups: int,
) -> Array:  # fmt: skip
    """Sum the products of a convolution: ``bias + sum of weight * (x - zero)``, int32.

    x is (N, C, T, H, W) and `zero` outside, the rest as in `loops.conv`.

    >>> x = np.full((1, 1, 1, 1, 2), 7, np.uint8)
    >>> one = (1, 1, 1)
    >>> conv(x, 5, np.ones((1, 1, 1, 1, 1), np.int8), np.ones(1, np.int32), one, (0,) * 6, one, 1)
    array([[[[[3, 3]]]]], dtype=int32)
    """
    batch, _, T, H, W = x.shape
    channels, depth, kT, kH, kW = weight.shape
    Ty = window_count(T, pads[0], pads[3], kT, strides[0], dilations[0])
    Hy = window_count(H, pads[1], pads[4], kH, strides[1], dilations[1])
    Wy = window_count(W, pads[2], pads[5], kW, strides[2], dilations[2])
    y = np.empty((batch, channels, Ty, Hy, Wy), np.int32)
    for n in range(batch):
        for o in range(channels):
            first = o // (channels // groups) * depth
            for t in range(Ty):
                for h in range(Hy):
                    for w in range(Wy):
                        total = np.int64(bias[o])
                        for c in range(depth):
                            for i in range(kT):
                                s = t * strides[0] + i * dilations[0] - pads[0]
                                for j in range(kH):
                                    u = h * strides[1] + j * dilations[1] - pads[1]
                                    for k in range(kW):
                                        v = w * strides[2] + k * dilations[2] - pads[2]
                                        inside = 0 <= s < T and 0 <= u < H and 0 <= v < W
                                        if inside:
                                            centred = np.int64(x[n, first + c, s, u, v]) - zero
                                            total += centred * np.int64(weight[o, c, i, j, k])
                        y[n, o, t, h, w] = wrapped(total)
    return y


def wrapped(total: Any) -> Any:
    """Keep the 32 bits of a sum.

    >>> int(wrapped(2**31))
    -2147483648
    """
    return (total + 2147483648) % 4294967296 - 2147483648


def average(
    x: Array, zero: int, kernel: Sizes, strides: Sizes, pads: Pads, with_padding: bool,
    sizes: Sizes,
) -> tuple[Array, Array]:  # fmt: skip
    """Sum ``x - zero`` over every window: the sums (N, C, *sizes), and over how many places.

    Places in the padding count if `with_padding`; the rest is as in `loops.average_pool`.

    >>> x = np.full((1, 1, 1, 1, 2), 7, np.uint8)
    >>> sums, counts = average(x, 5, (1, 1, 2), (1, 1, 1), (0,) * 6, False, (1, 1, 1))
    >>> sums.item(), counts.item()
    (4, 2)
    """
    batch, channels, T, H, W = x.shape
    y = np.zeros((batch, channels, sizes[0], sizes[1], sizes[2]), np.int32)
    counts = np.zeros((sizes[0], sizes[1], sizes[2]), np.int32)
    for t in range(sizes[0]):
        for h in range(sizes[1]):
            for w in range(sizes[2]):
                for i in range(kernel[0]):
                    s = t * strides[0] + i - pads[0]
                    for j in range(kernel[1]):
                        u = h * strides[1] + j - pads[1]
                        for k in range(kernel[2]):
                            v = w * strides[2] + k - pads[2]
                            inside = 0 <= s < T and 0 <= u < H and 0 <= v < W
                            padding = s < T + pads[3] and u < H + pads[4] and v < W + pads[5]
                            if inside or (with_padding and padding):
                                counts[t, h, w] += 1
                            if inside:
                                for n in range(batch):
                                    for c in range(channels):
                                        y[n, c, t, h, w] += np.int32(x[n, c, s, u, v]) - zero
    return y, counts


def scale_sums(sums: Array, factors: Array) -> Array:
    """Make sums (N, C, ...) real: ``float32(sum) * factors[c]``, (N, C, places).

    >>> scale_sums(np.array([[[3]]], np.int32), np.array([0.5], np.float32)).item()
    1.5
    """
    flat = sums.reshape(sums.shape[0], sums.shape[1], -1)
    y = np.empty(flat.shape, np.float32)
    for n in range(flat.shape[0]):
        for c in range(flat.shape[1]):
            for p in range(flat.shape[2]):
                y[n, c, p] = np.float32(flat[n, c, p]) * factors[c]
    return y


def add_offsets(v: Array, offsets: Array) -> Array:
    """Add an offset to each value of the same shape.

    >>> add_offsets(np.ones(1, np.float32), np.full(1, 2, np.float32)).item()
    3.0
    """
    y = np.empty(v.shape, np.float32)
    for i in range(v.size):
        y.flat[i] = v.flat[i] + offsets.flat[i]
    return y


def divide(sums: Array, counts: Array) -> Array:
    """Divide sums (N, C, *sizes) by counts (*sizes), halves away from zero.

    >>> divide(np.full((1, 1, 1), -3, np.int32), np.full(1, 2, np.int32)).item()
    -2.0
    """
    y = np.empty(sums.shape, np.float32)
    for i in range(sums.size):
        count = counts.flat[i % counts.size]
        size = (abs(sums.flat[i]) + count // 2) // count
        y.flat[i] = size if sums.flat[i] > 0 else -size
    return y


def add(x: Array, zero: int, gain: Any, other: Array, other_zero: int, other_gain: Any) -> Array:
    """Add two values of equal shape in steps of the result: products and sum each rounded.

    >>> x = np.array([3], np.uint8)
    >>> add(x, 1, np.float32(0.5), x, 0, np.float32(2)).item()
    7.0
    """
    y = np.empty(x.shape, np.float32)
    for i in range(x.size):
        left = np.float32(np.int32(x.flat[i]) - zero) * gain
        right = np.float32(np.int32(other.flat[i]) - other_zero) * other_gain
        y.flat[i] = np.float32(left) + np.float32(right)
    return y


def add_by_shift(
    x: Array, zero: int, other: Array, other_zero: int, factor: int, other_factor: int, shift: int
) -> Array:
    """Add two values of equal shape as whole numbers, ``factor / 2^shift`` each, halves up.

    >>> x = np.array([3], np.uint8)
    >>> add_by_shift(x, 0, x, 0, 1, 2, 1).item()
    5.0
    """
    y = np.empty(x.shape, np.float32)
    for i in range(x.size):
        left = (np.int64(x.flat[i]) - zero) * factor
        right = (np.int64(other.flat[i]) - other_zero) * other_factor
        y.flat[i] = (left + right + (1 << (shift - 1))) >> shift
    return y


def multiply(x: Array, zero: int, other: Array, other_zero: int, gain: Any) -> Array:
    """Multiply two values of equal shape, in steps of the result.

    >>> x = np.array([3], np.uint8)
    >>> multiply(x, 1, x, 0, np.float32(0.5)).item()
    3.0
    """
    y = np.empty(x.shape, np.float32)
    for i in range(x.size):
        product = (np.int32(x.flat[i]) - zero) * (np.int32(other.flat[i]) - other_zero)
        y.flat[i] = np.float32(product) * gain
    return y


def requantize(v: Array, zero: int, low: int, high: int) -> Array:
    """Round steps to whole numbers, halves to even, add the zero point and clamp; as int16.

    >>> requantize(np.array([-0.5, 0.5, 1.5, 300.0], np.float32), 10, 10, 255)
    array([ 10,  10,  12, 255], dtype=int16)
    """
    y = np.empty(v.shape, np.int16)
    for i in range(v.size):
        value = v.flat[i]
        if not value > low - zero:
            y.flat[i] = low
        elif value >= high - zero:
            y.flat[i] = high
        else:
            y.flat[i] = to_even(value) + zero
    return y


def to_even(value: Any) -> int:
    """Round to the nearest whole number, a half to the even one.

    >>> to_even(2.5), to_even(-1.5)
    (2, -2)
    """
    below = math.floor(value)
    part = value - below
    if part > 0.5 or (part == 0.5 and below % 2 == 1):
        return int(below) + 1
    return int(below)


def quantize(x: Array, scale: Any) -> Array:
    """Divide reals by the scale: steps of the result.

    >>> quantize(np.array([1.0]), 0.5)
    array([2.])
    """
    y = np.empty_like(x)
    for i in range(x.size):
        y.flat[i] = x.flat[i] / scale
    return y


def dequantize(x: Array, zero: int, scale: Any) -> Array:
    """Take the reals that quantised values stand for, in float32.

    >>> dequantize(np.array([3], np.uint8), 1, np.float32(0.5)).item()
    1.0
    """
    y = np.empty(x.shape, np.float32)
    for i in range(x.size):
        y.flat[i] = np.float32(np.int32(x.flat[i]) - zero) * scale
    return y


def look_up(x: Array, table: Array, least: int) -> Array:
    """Take the entry of a table for every value, the first for the value `least`.

    >>> look_up(np.array([-128], np.int8), np.arange(256).astype(np.uint8), -128).item()
    0
    """
    y = np.empty(x.shape, table.dtype)
    for i in range(x.size):
        y.flat[i] = table[np.int64(x.flat[i]) - least]
    return y


wrapped = compiled()(wrapped)
to_even = compiled()(to_even)
conv = compiled()(conv)
average = compiled()(average)
scale_sums = compiled()(scale_sums)
add_offsets = compiled()(add_offsets)
divide = compiled()(divide)
add = compiled()(add)
add_by_shift = compiled()(add_by_shift)
multiply = compiled()(multiply)
requantize = compiled()(requantize)
quantize = compiled()(quantize)
dequantize = compiled()(dequantize)
look_up = compiled()(look_up)
