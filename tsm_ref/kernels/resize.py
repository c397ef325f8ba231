"""Resizing 8-bit pictures in fixed point: the passes of `tsm_ref.video.resize`, compiled.

The weights are given; these loops sum them in integers, so the result is that of NumPy bit for bit.
Nothing is checked here: shapes are the caller's duty.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from tsm_ref.kernels.cache import compiled
from tsm_ref.kernels.vector import BYTE, INT32, Emitter, Value, address, count, generated

Pixels = NDArray[np.uint8]
Weights = NDArray[np.int32]
Starts = NDArray[np.int64]

GROUP = 8
"""Neighbouring pixels that `across_rgb` weighs at once: its weights come in such groups."""

_ROWS = 4
"""Rows that share the weights in registers."""
_EIGHT, _BYTES = ir.VectorType(INT32, GROUP), ir.VectorType(BYTE, GROUP)


@compiled()
def across(pixels: Pixels, first: Starts, weights: Weights, bits: int, y: Pixels) -> None:
    """Weighted sums along the rows: `pixels` (H, W, C) to `y` (H, n, C).

    Column i of `y` sums the columns from ``first[i]`` on with ``weights[i]`` (n, taps), in units of
    ``2**-bits``, rounds and cuts off at 255. Taps beyond the last column weigh nothing.

    >>> y = np.zeros((1, 1, 1), np.uint8)
    >>> pair = np.array([[[10], [20]]], np.uint8)
    >>> across(pair, np.zeros(1, int), np.ones((1, 2), np.int32), 1, y)
    >>> y.item()
    15
    """
    height, width, depth = pixels.shape
    count, taps = weights.shape
    plane = np.zeros(width + taps, np.int32)  # one colour at a time: neighbours in memory
    half = np.int32(1) << np.int32(bits - 1)
    for row in range(height):
        line, result = pixels[row], y[row]
        for c in range(depth):
            for x in range(width):
                plane[x] = line[x, c]
            for i in range(count):
                part, weight = plane[first[i] : first[i] + taps], weights[i]
                total = np.int32(0)
                for k in range(taps):
                    total = np.int32(total + np.int32(part[k] * weight[k]))
                result[i, c] = min(max((total + half) >> bits, 0), 255)


@compiled()
def across_rgb(pixels: Pixels, first: Starts, weights: Weights, bits: int, y: Pixels) -> None:
    """As `across`, of three colours, with weights (n, taps) whose taps are a multiple of `GROUP`.

    >>> y = np.zeros((1, 1, 3), np.uint8)
    >>> pair = np.array([[[10, 20, 30], [20, 30, 255]]], np.uint8)
    >>> across_rgb(pair, np.zeros(1, int), np.ones((1, 8), np.int32), 1, y)
    >>> y.tolist()
    [[[15, 25, 143]]]
    """
    height, width, depth = pixels.shape
    outputs, taps = weights.shape
    reach = depth * (first[-1] + taps)  # bytes from the begin of a row that its last output reads
    row = 0
    while row + _ROWS <= height and depth * width * (row + _ROWS - 1) + reach <= pixels.size:
        _across_rows(pixels[row : row + _ROWS], first, weights, bits, y[row : row + _ROWS])
        row += _ROWS
    rest = np.zeros((_ROWS, width + taps, depth), np.uint8)
    result = np.empty((_ROWS, outputs, depth), np.uint8)
    while row < height:
        some = min(_ROWS, height - row)
        rest[:some, :width] = pixels[row : row + some]
        _across_rows(rest, first, weights, bits, result)
        y[row : row + some] = result[:some]
        row += some


@compiled()
def _across_rows(pixels: Pixels, first: Starts, weights: Weights, bits: int, y: Pixels) -> None:
    x, w, out = pixels.ctypes.data, weights.ctypes.data, y.ctypes.data
    groups = weights.shape[1] // GROUP
    for i in range(len(first)):
        begin = x + first[i] * pixels.strides[1]
        row = w + i * weights.strides[0]
        place = out + i * y.strides[1]
        _weigh(begin, pixels.strides[0], row, groups, bits, place, y.strides[0])


@generated(address, count, address, count, count, address, count)
def _weigh(
    emit: Emitter, x: Value, x_step: Value, weights: Value, groups: Value, bits: Value, y: Value,
    y_step: Value,
) -> None:  # fmt: skip
    """One output pixel of `_ROWS` rows, which lie `x_step` bytes apart in `x`, `y_step` in `y`.

    A group of pixels is three vectors of bytes; byte k of it is colour k % 3 of pixel k // 3.
    """
    builder = emit.builder
    undefined = ir.Constant(_EIGHT, ir.Undefined)
    rows = [emit.move(emit.bytes_at(x), emit.times(x_step, r)) for r in range(_ROWS)]
    with emit.loop(groups, *[ir.Constant(_EIGHT, None)] * (3 * _ROWS)) as loop:
        begin = emit.times(loop.index, 3 * GROUP)
        some = emit.load(emit.bytes_at(weights), emit.times(loop.index, 4 * GROUP), _EIGHT)
        for part in range(3):
            lanes = _lanes((GROUP * part + k) // 3 for k in range(GROUP))
            each = builder.shuffle_vector(some, undefined, lanes)
            for r, row in enumerate(rows):
                place = emit.pointer(row, emit.add(begin, GROUP * part), _BYTES)
                wide = builder.zext(builder.load(place, align=1), _EIGHT)
                total = loop.state[3 * r + part]
                loop.next[3 * r + part] = builder.add(total, builder.mul(wide, each))
    for r in range(_ROWS):
        place = emit.move(emit.bytes_at(y), emit.times(y_step, r))
        for colour in range(3):
            total = _sum_of(builder, loop.next[3 * r : 3 * r + 3], colour)
            builder.store(_rounded(builder, total, bits), emit.pointer(place, colour, BYTE))


def _sum_of(builder: Any, parts: Sequence[Value], colour: int) -> Value:
    """The sum of the eight lanes of three vectors that belong to a colour."""
    where = [range((colour - GROUP * part) % 3, GROUP, 3) for part in range(3)]
    pair = [*where[0], *(GROUP + k for k in where[1])]
    both = builder.shuffle_vector(parts[0], parts[1], _lanes([*pair, *[0] * (GROUP - len(pair))]))
    all_ = [*range(len(pair)), *(GROUP + k for k in where[2])]
    total = builder.shuffle_vector(both, parts[2], _lanes(all_))
    for half in (4, 2, 1):
        undefined = ir.Constant(total.type, ir.Undefined)
        low, high = (
            builder.shuffle_vector(total, undefined, _lanes(range(begin, begin + half)))
            for begin in (0, half)
        )
        total = builder.add(low, high)
    return builder.extract_element(total, ir.Constant(INT32, 0))


def _rounded(builder: Any, total: Value, bits: Value) -> Value:
    """A sum in units of ``2**-bits`` as a byte, cut off at 255."""
    shift, most = builder.trunc(bits, INT32), ir.Constant(INT32, 255)
    half = builder.shl(ir.Constant(INT32, 1), builder.sub(shift, ir.Constant(INT32, 1)))
    value = builder.lshr(builder.add(total, half), shift)
    value = builder.select(builder.icmp_unsigned(">", value, most), most, value)
    return builder.trunc(value, BYTE)


def _lanes(numbers: Iterable[int]) -> Value:
    """The constant that names the lanes of a shuffle."""
    chosen = list(numbers)
    return ir.Constant(ir.VectorType(INT32, len(chosen)), chosen)


@compiled()
def down(pixels: Pixels, first: Starts, weights: Weights, bits: int, y: Pixels) -> None:
    """Weighted sums along the columns: `pixels` (H, W, C) to `y` (n, W, C), as `across`.

    >>> y = np.zeros((1, 1, 1), np.uint8)
    >>> pair = np.array([[[10]], [[20]]], np.uint8)
    >>> down(pair, np.zeros(1, int), np.ones((1, 2), np.int32), 1, y)
    >>> y.item()
    15
    """
    height, width, depth = pixels.shape
    count, taps = weights.shape
    totals = np.empty(width * depth, np.int32)
    source, result = pixels.reshape(height, width * depth), y.reshape(count, width * depth)
    for i in range(count):
        totals[:] = np.int32(1) << np.int32(bits - 1)
        for k in range(min(taps, height - first[i])):
            weight, line = weights[i, k], source[first[i] + k]
            for x in range(width * depth):
                totals[x] = np.int32(totals[x] + np.int32(np.int32(line[x]) * weight))
        for x in range(width * depth):
            result[i, x] = min(max(totals[x] >> bits, 0), 255)


@compiled()
def mix(pixels: Pixels, columns: Any, rows: Any, y: Pixels) -> None:
    """OpenCV's mix of four neighbours: `pixels` (H, W, C) to `y` (m, n, C).

    `columns` and `rows` are both neighbours of each output column and row, and their weights out of
    2048: four arrays (n,) and four (m,).
    """
    left, right, a, b = columns
    upper, lower, above, below = rows
    depth, count = pixels.shape[2], len(left)
    mixed = np.empty((2, count * depth), np.int32)  # the rows u and u + 1, at u % 2
    held = np.array([-1, -1])
    for j in range(len(upper)):
        for row in (upper[j], lower[j]):
            if held[row % 2] != row:
                held[row % 2] = row
                line = mixed[row % 2]
                for i in range(count):
                    for c in range(depth):
                        low, high = pixels[row, left[i], c], pixels[row, right[i], c]
                        line[i * depth + c] = (low * a[i] + high * b[i]) >> 4
        top, bottom = mixed[upper[j] % 2], mixed[lower[j] % 2]
        for i in range(count):
            for c in range(depth):
                x = i * depth + c
                total = ((top[x] * above[j]) >> 16) + ((bottom[x] * below[j]) >> 16) + 2
                y[j, i, c] = total >> 2
