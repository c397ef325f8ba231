"""Max, average and global average pooling with the edge rules of PyTorch and ONNX.

Windows slide over every axis behind the channels; `ceil_mode` rounds their number up, but a
window never starts beyond the input and its leading padding. The dtype rules are those of `ops`.
"""

import numpy as np
from numpy.typing import ArrayLike

from tsm_ref.reference._arrays import Array, floats, like, working
from tsm_ref.reference._windows import Padding, Size, Windows, windows


def max_pool(
    x: ArrayLike,
    kernel: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
) -> Array:
    """The largest value of every window; padding never wins, NaN always does.

    y[n, c, p] = max over k of x[n, c, p * stride + k * dilation - before].

    Shapes: x (N, C, ...); `kernel`, `stride` (the kernel unless given), `dilation` an integer or
    one per axis behind the channels; `padding` too, or (before, after) per axis
    -> (N, C, ...) with out = (size + before + after - reach) / stride + 1, rounded down or up.
    Errors: ValueError for integers, or if a window would hold nothing but padding.
    Source: PyTorch `MaxPool2d`, ONNX MaxPool.

    >>> max_pool(np.array([[[1.0, 5.0, 2.0, 4.0, 3.0]]]), 3, stride=2, padding=1)
    array([[[5., 5., 4.]]])
    """
    x = floats(x, rank=3)
    where = _windows(x, kernel, stride, padding, dilation, ceil_mode)
    y = np.full((*x.shape[:2], *where.out), -np.inf, x.dtype)
    for _, read in where.taps(where.pad(x, -np.inf)):
        y = np.maximum(y, read)
    return like(y, x)


def avg_pool(
    x: ArrayLike,
    kernel: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Array:
    """The mean of every window.

    y[n, c, p] = (sum of the input in the window) / divisor. The divisor is the number of places
    of the window that lie in the input - or, with `count_include_pad`, in the input and its
    padding; what `ceil_mode` makes overhang beyond the padding is never counted.

    Shapes: as `max_pool`. Errors: as `max_pool`.
    Source: PyTorch `AvgPool2d` (default count_include_pad=True), ONNX AveragePool (default 0).

    >>> x = np.array([[[1.0, 5.0, 3.0, 4.0]]])
    >>> avg_pool(x, 3, stride=2, padding=1, ceil_mode=True)
    array([[[2., 4., 2.]]])
    >>> avg_pool(x, 3, stride=2, padding=1, ceil_mode=True, count_include_pad=False)
    array([[[3., 4., 4.]]])
    """
    x = floats(x, rank=3)
    where = _windows(x, kernel, stride, padding, 1, ceil_mode)
    y = np.zeros((*x.shape[:2], *where.out), working(x).dtype)
    for _, read in where.taps(where.pad(working(x), 0)):
        y += read
    return like(y / divisor(where, count_include_pad).astype(y.dtype), x)


def global_avg_pool(
    x: ArrayLike, axes: tuple[int, ...] = (-2, -1), keepdims: bool = False
) -> Array:
    """The mean over the picture, frame by frame.

    y[n, c, t] = 1 / (H W) * sum over h, w of x[n, c, t, h, w].

    Shapes: x (N, C, T, H, W) -> (N, C, T), or (N, C, T, 1, 1) with `keepdims`; other `axes` on
    request. Errors: ValueError for integers, axes that x does not have, or nothing to average.
    Source: He et al. 2016 (ResNet), section 3.3.

    >>> global_avg_pool(np.arange(8.0).reshape(1, 1, 2, 2, 2))
    array([[[1.5, 5.5]]])
    """
    x = floats(x)
    if any(not -x.ndim <= axis < x.ndim for axis in axes) or any(x.shape[a] == 0 for a in axes):
        raise ValueError(f"`axes` (={axes}) must exist and be non-empty in `x` of shape {x.shape}")
    return like(working(x).mean(axis=axes, keepdims=keepdims), x)


def divisor(where: Windows, count_include_pad: bool) -> Array:
    """How many places every window of an average counts, as float64 of shape `where.out`.

    >>> divisor(windows((4,), 3, 2, 1, 1, ceil_mode=True), count_include_pad=True)
    array([3., 3., 2.])
    """
    counts = np.ones(())
    for axis, (n, k, s, out) in enumerate(
        zip(where.size, where.kernel, where.stride, where.out, strict=True)
    ):
        before, after = where.padding[axis]
        low, high = (-before, n + after) if count_include_pad else (0, n)
        start = np.arange(out) * s - before
        inside = np.minimum(start + k, high) - np.maximum(start, low)
        counts = counts[..., None] * inside.astype(np.float64)
    return counts


def _windows(
    x: Array, kernel: Size, stride: Size | None, padding: Padding, dilation: Size, ceil_mode: bool
) -> Windows:
    where = windows(
        x.shape[2:], kernel, kernel if stride is None else stride, padding, dilation, ceil_mode
    )
    for k, d, (before, after) in zip(where.kernel, where.dilation, where.padding, strict=True):
        if max(before, after) > d * (k - 1):
            raise ValueError(
                f"`padding` (={where.padding}) must be smaller than the window "
                f"(={where.kernel}, dilation {where.dilation}), which would be empty"
            )
    return where
