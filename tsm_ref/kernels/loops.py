"""Every layer as plain loops over (N, C, T, H, W) arrays: the kernels to read first.

Each function says what the operation is, one scalar at a time, for any shape and any float type.
Sums run in the order of the loops. The engine "loops" runs networks on these alone, and tests hold
the fast paths against it; where no fast path fits, the Numba engine takes NumPy, which is quicker
than one scalar at a time. They are bound to Numba at the end of the file; with
``NUMBA_DISABLE_JIT=1`` they run as the Python that is written here. Activations and attention are
in `loops_of_values`.

Sizes, strides, dilations are (T, H, W); `pads` lists the three begins, then the three ends, as in
`tsm_ref.ops_table`. Nothing is checked here: shapes are the caller's duty.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.kernels.cache import compiled

Array = NDArray[Any]
Sizes = tuple[int, int, int]
Pads = tuple[int, int, int, int, int, int]


def window_count(
    size: int, before: int, after: int, kernel: int, stride: int, dilation: int
) -> int:
    """Return how many windows fit along one axis, rounding down.

    >>> window_count(224, 3, 3, 7, 2, 1)
    112
    """
    return (size + before + after - dilation * (kernel - 1) - 1) // stride + 1


def conv(
    x: Array,
    weight: Array,
    bias: Array,
    strides: Sizes = (1, 1, 1),
    pads: Pads = (0, 0, 0, 0, 0, 0),
    dilations: Sizes = (1, 1, 1),
    groups: int = 1,
) -> Array:
    """Cross-correlate `x` (N, C, T, H, W) with `weight` (Cout, C / groups, kT, kH, kW).

    ``y[n, o, p] = bias[o] + sum over c, k of weight[o, c, k] x[n, c', p']`` with
    ``p' = p * stride + k * dilation - pad``, where ``c'`` is channel `c` of the group that output
    `o` belongs to, and x is zero outside.

    >>> x = np.arange(4.0).reshape(1, 1, 1, 2, 2)
    >>> conv(x, np.ones((1, 1, 1, 2, 2)), np.ones(1)).item()
    7.0
    """
    batch, _, T, H, W = x.shape
    channels, depth, kT, kH, kW = weight.shape
    Ty = window_count(T, pads[0], pads[3], kT, strides[0], dilations[0])
    Hy = window_count(H, pads[1], pads[4], kH, strides[1], dilations[1])
    Wy = window_count(W, pads[2], pads[5], kW, strides[2], dilations[2])
    y = np.empty((batch, channels, Ty, Hy, Wy), x.dtype)
    for n in range(batch):
        for o in range(channels):
            first = o // (channels // groups) * depth
            for t in range(Ty):
                for h in range(Hy):
                    for w in range(Wy):
                        total = bias[o]
                        for c in range(depth):
                            for i in range(kT):
                                ti = t * strides[0] + i * dilations[0] - pads[0]
                                if ti < 0 or ti >= T:
                                    continue
                                for j in range(kH):
                                    hj = h * strides[1] + j * dilations[1] - pads[1]
                                    if hj < 0 or hj >= H:
                                        continue
                                    for k in range(kW):
                                        wk = w * strides[2] + k * dilations[2] - pads[2]
                                        if wk < 0 or wk >= W:
                                            continue
                                        total += x[n, first + c, ti, hj, wk] * weight[o, c, i, j, k]
                        y[n, o, t, h, w] = total
    return y


def batch_norm(
    x: Array, mean: Array, variance: Array, scale: Array, shift: Array, epsilon: float
) -> Array:
    """Normalise every channel with stored statistics.

    ``y[n, c] = (x[n, c] - mean[c]) / sqrt(variance[c] + epsilon) * scale[c] + shift[c]``

    >>> x, one = np.full((1, 1, 1, 1, 1), 5.0), np.ones(1)
    >>> batch_norm(x, one, 4 * one, 3 * one, one, 0.0).item()
    7.0
    """
    y = np.empty_like(x)
    for n in range(x.shape[0]):
        for c in range(x.shape[1]):
            deviation = math.sqrt(variance[c] + epsilon)
            for t in range(x.shape[2]):
                for h in range(x.shape[3]):
                    for w in range(x.shape[4]):
                        centred = x[n, c, t, h, w] - mean[c]
                        y[n, c, t, h, w] = centred / deviation * scale[c] + shift[c]
    return y


ZERO, REPLICATE, CIRCULAR = 0, 1, 2
"""What a shifted channel reads beyond the ends of the clip."""


def source_frame(t: int, frames: int, fill: int) -> int:
    """Return the frame that is read for index `t`; -1 means a frame of zeros.

    >>> source_frame(-2, 8, REPLICATE), source_frame(-2, 8, CIRCULAR), source_frame(-2, 8, ZERO)
    (0, 6, -1)
    """
    if 0 <= t < frames:
        return t
    if fill == REPLICATE:
        return min(max(t, 0), frames - 1)
    if fill == CIRCULAR:
        return t % frames
    return -1


def temporal_shift(x: Array, d: Array, fill: int = ZERO) -> Array:
    """Shift every channel `c` by ``d[c]`` frames: ``y[n, c, t] = x[n, c, t - d[c]]``.

    >>> x = np.arange(1.0, 7).reshape(1, 2, 3, 1, 1)
    >>> temporal_shift(x, np.array([1, -1])).reshape(2, 3)
    array([[0., 1., 2.],
           [5., 6., 0.]])
    """
    y = np.zeros_like(x)
    frames = x.shape[2]
    for n in range(x.shape[0]):
        for c in range(x.shape[1]):
            for t in range(frames):
                source = source_frame(t - d[c], frames, fill)
                if source >= 0:
                    for h in range(x.shape[3]):
                        for w in range(x.shape[4]):
                            y[n, c, t, h, w] = x[n, c, source, h, w]
    return y


def spatial_shift(x: Array, dh: Array, dw: Array, fill: int = ZERO) -> Array:
    """Shift along height and width: ``y[n, c, t, h, w] = x[n, c, t, h - dh[c], w - dw[c]]``.

    >>> x = np.arange(1.0, 5).reshape(1, 1, 1, 2, 2)
    >>> spatial_shift(x, np.array([1]), np.array([0])).reshape(2, 2)
    array([[0., 0.],
           [1., 2.]])
    """
    y = np.zeros_like(x)
    for n in range(x.shape[0]):
        for c in range(x.shape[1]):
            for t in range(x.shape[2]):
                for h in range(x.shape[3]):
                    row = source_frame(h - dh[c], x.shape[3], fill)
                    for w in range(x.shape[4]):
                        column = source_frame(w - dw[c], x.shape[4], fill)
                        if row >= 0 and column >= 0:
                            y[n, c, t, h, w] = x[n, c, t, row, column]
    return y


def max_pool(
    x: Array, kernel: Sizes, strides: Sizes, pads: Pads, dilations: Sizes, sizes: Sizes
) -> Array:
    """Take the largest value of every window; padding never wins, NaN always does.

    `sizes` are the output's T, H, W (see `tsm_ref.op_rules.window_sizes`).

    >>> x = np.array([3.0, 1.0, 2.0, 5.0]).reshape(1, 1, 1, 1, 4)
    >>> max_pool(x, (1, 1, 2), (1, 1, 2), (0,) * 6, (1, 1, 1), (1, 1, 2)).ravel()
    array([3., 5.])
    """
    T, H, W = x.shape[2:]
    y = np.empty((x.shape[0], x.shape[1], sizes[0], sizes[1], sizes[2]), x.dtype)
    for n in range(x.shape[0]):
        for c in range(x.shape[1]):
            for t in range(sizes[0]):
                for h in range(sizes[1]):
                    for w in range(sizes[2]):
                        best = -np.inf
                        for i in range(kernel[0]):
                            ti = t * strides[0] + i * dilations[0] - pads[0]
                            for j in range(kernel[1]):
                                hj = h * strides[1] + j * dilations[1] - pads[1]
                                for k in range(kernel[2]):
                                    wk = w * strides[2] + k * dilations[2] - pads[2]
                                    if 0 <= ti < T and 0 <= hj < H and 0 <= wk < W:
                                        value = x[n, c, ti, hj, wk]
                                        if not value <= best:  # larger, or NaN
                                            best = value
                        y[n, c, t, h, w] = best
    return y


def average_pool(
    x: Array, kernel: Sizes, strides: Sizes, pads: Pads, count_padding: bool, sizes: Sizes
) -> Array:
    """Take the mean of every window, over its values or over its whole padded size.

    Where windows are rounded up in number, the part behind the padding never counts.

    >>> x = np.array([3.0, 1.0, 2.0, 4.0]).reshape(1, 1, 1, 1, 4)
    >>> average_pool(x, (1, 1, 2), (1, 1, 2), (0,) * 6, False, (1, 1, 2)).ravel()
    array([2., 3.])
    """
    T, H, W = x.shape[2:]
    y = np.empty((x.shape[0], x.shape[1], sizes[0], sizes[1], sizes[2]), x.dtype)
    for n in range(x.shape[0]):
        for c in range(x.shape[1]):
            for t in range(sizes[0]):
                for h in range(sizes[1]):
                    for w in range(sizes[2]):
                        total = x.dtype.type(0)
                        count = 0
                        for i in range(kernel[0]):
                            ti = t * strides[0] + i - pads[0]
                            for j in range(kernel[1]):
                                hj = h * strides[1] + j - pads[1]
                                for k in range(kernel[2]):
                                    wk = w * strides[2] + k - pads[2]
                                    if 0 <= ti < T and 0 <= hj < H and 0 <= wk < W:
                                        total += x[n, c, ti, hj, wk]
                                        count += 1
                                    elif (
                                        count_padding
                                        and ti < T + pads[3]
                                        and hj < H + pads[4]
                                        and wk < W + pads[5]
                                    ):
                                        count += 1
                        y[n, c, t, h, w] = total / count
    return y


def global_average_pool(x: Array) -> Array:
    """Take the mean over H and W of every frame: (N, C, T, H, W) -> (N, C, T).

    >>> global_average_pool(np.array([1.0, 3.0]).reshape(1, 1, 1, 1, 2)).item()
    2.0
    """
    y = np.empty(x.shape[:3], x.dtype)
    for n in range(x.shape[0]):
        for c in range(x.shape[1]):
            for t in range(x.shape[2]):
                total = x.dtype.type(0)
                for h in range(x.shape[3]):
                    for w in range(x.shape[4]):
                        total += x[n, c, t, h, w]
                y[n, c, t] = total / (x.shape[3] * x.shape[4])
    return y


def linear(x: Array, weight: Array, bias: Array) -> Array:
    """Apply a fully connected layer to every frame: x (N, C, T), weight (K, C) -> (N, K, T).

    >>> linear(np.ones((1, 2, 1)), np.array([[1.0, 2.0]]), np.array([0.5])).item()
    3.5
    """
    y = np.empty((x.shape[0], weight.shape[0], x.shape[2]), x.dtype)
    for n in range(x.shape[0]):
        for k in range(weight.shape[0]):
            for t in range(x.shape[2]):
                total = bias[k]
                for c in range(x.shape[1]):
                    total += weight[k, c] * x[n, c, t]
                y[n, k, t] = total
    return y


def flatten(x: Array, channels_last: bool) -> Array:
    """Give every frame as one column: (N, C, T, H, W) -> (N, C * H * W, T).

    Inside a column the order is C, H, W, or H, W, C where `channels_last`.

    >>> flatten(np.arange(4.0).reshape(1, 2, 1, 1, 2), True).ravel()
    array([0., 2., 1., 3.])
    """
    N, C, T, H, W = x.shape
    y = np.empty((N, C * H * W, T), x.dtype)
    for n in range(N):
        for c in range(C):
            for t in range(T):
                for h in range(H):
                    for w in range(W):
                        k = (h * W + w) * C + c if channels_last else (c * H + h) * W + w
                        y[n, k, t] = x[n, c, t, h, w]
    return y


def frame_tuple(x: Array, frames: NDArray[np.int64]) -> Array:
    """Put the features of chosen frames behind each other: (N, C, T) -> (N, k * C, 1).

    >>> frame_tuple(np.arange(6.0).reshape(1, 2, 3), np.array([2, 0])).ravel()
    array([2., 5., 0., 3.])
    """
    N, C, k = x.shape[0], x.shape[1], len(frames)
    y = np.empty((N, k * C, 1), x.dtype)
    for n in range(N):
        for i in range(k):
            for c in range(C):
                y[n, i * C + c, 0] = x[n, c, frames[i]]
    return y


def concatenate(a: Array, b: Array) -> Array:
    """Put channels behind others: (N, A, ...) and (N, B, ...) -> (N, A + B, places).

    >>> concatenate(np.zeros((1, 1, 2)), np.ones((1, 1, 2))).ravel()
    array([0., 0., 1., 1.])
    """
    N, A, B = a.shape[0], a.shape[1], b.shape[1]
    first = np.ascontiguousarray(a).reshape(N, A, -1)
    last = np.ascontiguousarray(b).reshape(N, B, -1)
    y = np.empty((N, A + B, first.shape[2]), a.dtype)
    for n in range(N):
        for i in range(first.shape[2]):
            for c in range(A):
                y[n, c, i] = first[n, c, i]
            for c in range(B):
                y[n, A + c, i] = last[n, c, i]
    return y


def consensus(x: Array) -> Array:
    """Take the mean over the frames: (N, K, T) -> (N, K).

    >>> consensus(np.array([[[1.0, 3.0]]])).item()
    2.0
    """
    y = np.empty(x.shape[:2], x.dtype)
    for n in range(x.shape[0]):
        for k in range(x.shape[1]):
            total = x.dtype.type(0)
            for t in range(x.shape[2]):
                total += x[n, k, t]
            y[n, k] = total / x.shape[2]
    return y


window_count = compiled()(window_count)
source_frame = compiled()(source_frame)
conv = compiled()(conv)
batch_norm = compiled()(batch_norm)
temporal_shift = compiled()(temporal_shift)
spatial_shift = compiled()(spatial_shift)
max_pool = compiled()(max_pool)
average_pool = compiled()(average_pool)
global_average_pool = compiled()(global_average_pool)
linear = compiled()(linear)
flatten = compiled()(flatten)
concatenate = compiled()(concatenate)
frame_tuple = compiled()(frame_tuple)
consensus = compiled()(consensus)
