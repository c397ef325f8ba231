"""Resizing 8-bit pictures in fixed point: the passes of `tsm_ref.video.resize`, compiled.

The weights are given; these loops sum them in integers, so the result is that of NumPy bit for bit.
Nothing is checked here: shapes are the caller's duty.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.kernels.cache import compiled

Pixels = NDArray[np.uint8]
Weights = NDArray[np.int32]
Starts = NDArray[np.int64]


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
