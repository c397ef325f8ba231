"""The temporal shift, its adjoint, its three other faces (convolutions) and its online form.

A shift is one integer per channel and a rule for the frames that do not exist::

    out[n, c, t] = x[n, c, t - d[c]]

`d[c] = +1` reads the past, `-1` the future, `0` leaves the channel alone. Every array is
(N, C, T, ...): clips, channels, time, and any number of axes behind them.
Source of all of it: Lin, Gan, Han, "TSM: Temporal Shift Module for Efficient Video
Understanding", ICCV 2019, sections 3.1 (shift = convolution), 4.1 and 4.2.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from tsm_ref.reference._arrays import Array, floats, like, one_of, parameter, working
from tsm_ref.reference.folds import Shifts
from tsm_ref.reference.ops import conv

Fill = Literal["zero", "replicate", "circular"]
FILLS = ("zero", "replicate", "circular")
LIMIT = 2**31 - 1


def temporal_shift(x: ArrayLike, d: ArrayLike, fill: Fill = "zero") -> Array:
    """Move every channel along time by its own number of frames.

    out[n, c, t] = x[n, c, t - d[c]]; where t - d[c] is outside 0..T-1 the value is 0 ("zero"),
    the nearest frame ("replicate"), or the frame modulo T ("circular"). Bits are moved, never
    computed with: any dtype, NaN payloads and negative zeros survive.

    Shapes: x (N, C, T, ...), d (C,) integers of any size -> a new array like x; x is unchanged.
    Errors: ValueError for an x of fewer than 3 axes, a d that is not C integers, another fill.
    Source: Lin et al. 2019, section 3.1.

    >>> x = np.array([[[1, 2, 3], [4, 5, 6], [7, 8, 9]]])
    >>> temporal_shift(x, [-1, 1, 0])
    array([[[2, 3, 0],
            [0, 4, 5],
            [7, 8, 9]]])
    >>> temporal_shift(x, [-1, 1, 0], fill="replicate")[0, :2]
    array([[2, 3, 3],
           [4, 4, 5]])
    >>> temporal_shift(x, [-1, 1, 0], fill="circular")[0, :2]
    array([[2, 3, 1],
           [6, 4, 5]])
    """
    x = _clip(x)
    d = shifts(d, x.shape[1])
    source, inside = _source(d, x.shape[2], fill)
    out = x[:, np.arange(len(d))[:, None], source]
    out[:, ~inside] = np.zeros((), x.dtype)
    return out


def temporal_shift_adjoint(y: ArrayLike, d: ArrayLike, fill: Fill = "zero") -> Array:
    """The transpose of the shift, which is also its gradient: <shift(x), y> = <x, adjoint(y)>.

    out[n, c, s] = sum of y[n, c, t] over all t whose shifted frame was read from s. For "zero"
    and "circular" that is the shift by -d; for "replicate" the edge frames collect every
    output that was a copy of them.

    Shapes, errors: as `temporal_shift`. Source: definition of the adjoint.

    >>> y = np.array([[[1.0, 2.0, 4.0]]])
    >>> temporal_shift_adjoint(y, [1])
    array([[[2., 4., 0.]]])
    >>> temporal_shift_adjoint(y, [1], fill="replicate")
    array([[[3., 4., 0.]]])
    """
    y = _clip(y, "y")
    d = shifts(d, y.shape[1])
    if one_of(fill, "fill", FILLS) != "replicate":
        return temporal_shift(y, -d, fill)
    source, _ = _source(d, y.shape[2], fill)
    out = np.zeros_like(y)
    read_from: Any = (slice(None), np.arange(len(d))[:, None], source)
    np.add.at(out, read_from, y)
    return out


def shift_as_depthwise_kernel(d: ArrayLike, dtype: DTypeLike = np.float64) -> Array:
    """The shift as the kernel of a depthwise temporal convolution: one-hot rows.

    kernel[c, k] = 1 where k = r - d[c], else 0, with r = max ``|d|``. As a cross-correlation with r
    zeros before and after, tap k reads frame t + k - r = t - d[c].

    Shapes: d (C,) -> (C, 2r + 1). Errors: ValueError if d is not a vector of integers.
    Source: Lin et al. 2019, section 3.1.

    >>> shift_as_depthwise_kernel([-1, 1, 0])
    array([[0., 0., 1.],
           [1., 0., 0.],
           [0., 1., 0.]])
    """
    d = shifts(d)
    r = _radius(d)
    kernel = np.zeros((len(d), 2 * r + 1), dtype)
    kernel[np.arange(len(d)), r - d] = 1
    return kernel


def temporal_shift_by_convolution(x: ArrayLike, d: ArrayLike) -> Array:
    """The zero-filled shift computed as a depthwise temporal convolution, with no data movement.

    Equal to `temporal_shift(x, d)` for finite x: a product 0 * NaN would be NaN.

    Shapes: x (N, C, T, ...) floats, d (C,) -> like x.
    Errors: ValueError as `temporal_shift`, and for an x of integers.
    Source: Lin et al. 2019, section 3.1.

    >>> x = np.array([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]])
    >>> temporal_shift_by_convolution(x, [1, -1])
    array([[[0., 1., 2.],
            [5., 6., 0.]]])
    """
    x = _clip(floats(x))
    d = shifts(d, x.shape[1])
    kernel = shift_as_depthwise_kernel(d, x.dtype)
    behind = x.ndim - 3
    return conv(
        x,
        kernel.reshape(*kernel.shape[:1], 1, *kernel.shape[1:], *[1] * behind),
        padding=(_radius(d), *[0] * behind),
        groups=len(d),
    )


def temporal_shift_by_multiply_accumulate(x: ArrayLike, kernel: ArrayLike) -> Array:
    """Any depthwise temporal convolution as shifts of the whole clip and multiply-accumulates.

    Y = w1 X(-1) + w2 X(0) + w3 X(+1), where X(i)[t] = x[t + i] and w1, w2, w3 are the columns of
    the kernel; in general the sum over k of kernel[:, k] X(k - r). With the one-hot kernel of
    `shift_as_depthwise_kernel(d)` it is the shift by d.

    Shapes: x (N, C, T, ...) floats, kernel (C, 2r + 1) -> like x.
    Errors: ValueError for integers, or a kernel that is not C rows of odd length.
    Source: Lin et al. 2019, section 3.1, the equations of the two steps.

    >>> x = np.array([[[1.0, 2.0, 3.0]]])
    >>> temporal_shift_by_multiply_accumulate(x, [[100.0, 10.0, 1.0]])
    array([[[ 12., 123., 230.]]])
    """
    x = _clip(floats(x))
    channels, taps = x.shape[1], np.shape(kernel)[-1:]
    if np.ndim(kernel) != 2 or taps[0] % 2 == 0:
        raise ValueError(
            f"`kernel` has shape {np.shape(kernel)}; ({channels}, odd number of taps) is needed"
        )
    kernel = parameter(kernel, "kernel", x.dtype, (channels, *taps))
    r = taps[0] // 2
    y = np.zeros_like(working(x))
    for k in range(2 * r + 1):
        moved = temporal_shift(x, np.full(channels, r - k))
        y += kernel[:, k].reshape(-1, *[1] * (x.ndim - 2)) * moved
    return like(y, x)


def shift_into_conv3d_weight(weight: ArrayLike, d: ArrayLike, groups: int = 1) -> Array:
    """A frame-wise convolution of a zero-filled shift as one convolution over time and space.

    out[o, c, k] = weight[o, c, 0] at tap k = r - d[c], else 0, with r = max ``|d|``, so that
    conv(x, out, padding=(r, ...)) = conv(temporal_shift(x, d), weight, padding=(0, ...)).

    Shapes: weight (O, C / groups, 1, ...), d (C,) -> (O, C / groups, 2r + 1, ...).
    Errors: ValueError if the temporal kernel is not 1, or groups and channels do not match.
    Source: Lin et al. 2019, section 3.1, merged with the convolution that follows.

    >>> weight = np.array([5.0, 7.0]).reshape(1, 2, 1, 1, 1)
    >>> shift_into_conv3d_weight(weight, [1, -1])[0, :, :, 0, 0]
    array([[5., 0., 0.],
           [0., 0., 7.]])
    """
    weight = np.asarray(weight)
    if weight.ndim < 3 or weight.shape[2] != 1:
        raise ValueError(f"`weight` has shape {weight.shape}; (O, C / groups, 1, ...) is needed")
    outputs, width = weight.shape[:2]
    if groups < 1 or outputs % groups:
        raise ValueError(f"`groups` (={groups}) must divide the {outputs} output channels")
    d = shifts(d, width * groups)
    r = _radius(d)
    group = np.arange(outputs) // (outputs // groups) if outputs else np.arange(0)
    tap = r - d.reshape(groups, width)[group]
    out = np.zeros((outputs, width, 2 * r + 1, *weight.shape[3:]), weight.dtype)
    out[np.arange(outputs)[:, None], np.arange(width), tap] = weight[:, :, 0]
    return out


def is_causal(d: ArrayLike) -> bool:
    """Whether a shift reads no future frame, and so can run on a stream: every d[c] >= 0.

    Errors: ValueError if d is not a vector of integers. Source: Lin et al. 2019, section 4.2.

    >>> is_causal([1, 2, 0]), is_causal([1, -1, 0])
    (True, False)
    """
    return bool((shifts(d) >= 0).all())


def initial_cache(
    frame_shape: tuple[int, ...], d: ArrayLike, dtype: DTypeLike = np.float32
) -> Array:
    """The cache before the first frame: zeros, the frames that a zero-filled shift would read.

    Shapes: frame_shape (N, C, ...), d (C,) -> (N, S, D, ...) where S is the number of channels
    with d[c] > 0, in their order, and D = max(d); the oldest frame first.
    Errors: ValueError as `temporal_shift_step`. Source: Lin et al. 2019, section 4.2.

    >>> initial_cache((2, 4, 5, 6), [1, 0, 2, 0]).shape
    (2, 2, 2, 5, 6)
    """
    if len(frame_shape) < 2:
        raise ValueError(f"`frame_shape` (={frame_shape}) must be (N, C, ...)")
    d = _causal(d, frame_shape[1])
    n, _, *behind = frame_shape
    return np.zeros((n, np.count_nonzero(d), max(d, default=0), *behind), dtype)


def temporal_shift_step(frame: ArrayLike, cache: ArrayLike, d: ArrayLike) -> tuple[Array, Array]:
    """One frame of a causal shift: what the shift gives for it, and the cache for the next one.

    out[n, c] = the frame of d[c] steps ago, taken from the cache; out[n, c] = frame[n, c] where
    d[c] = 0. The cache holds the last max(d) frames of the shifted channels, *before* the shift.
    A pure function: neither argument is modified, so states can be kept, copied and interleaved.
    From `initial_cache` on, the outputs are those of `temporal_shift` with zero fill, bit for bit.

    Shapes: frame (N, C, ...), cache as `initial_cache`, d (C,) -> (like frame, like cache).
    Errors: ValueError for a d that reads the future, or a cache of another shape or dtype.
    Source: Lin et al. 2019, section 4.2 (online TSM).

    >>> cache = initial_cache((1, 2), [1, 0], dtype=np.int64)
    >>> out, cache = temporal_shift_step([[1, 10]], cache, [1, 0]); out
    array([[ 0, 10]])
    >>> out, cache = temporal_shift_step([[2, 20]], cache, [1, 0]); out
    array([[ 1, 20]])
    """
    frame, cache = np.asarray(frame), np.asarray(cache)
    expected = initial_cache(frame.shape, d, frame.dtype)
    if (cache.shape, cache.dtype) != (expected.shape, expected.dtype):
        raise ValueError(
            f"`cache` is {cache.dtype} of shape {cache.shape}; "
            f"{expected.dtype} of shape {expected.shape} is needed"
        )
    d = _causal(d, frame.shape[1])
    shifted = np.flatnonzero(d)
    out = frame.copy()
    out[:, shifted] = cache[:, np.arange(len(shifted)), cache.shape[2] - d[shifted]]
    cache = np.concatenate([cache, frame[:, shifted, None]], axis=2)[:, :, 1:]
    return out, cache


def shifts(d: ArrayLike, channels: int | None = None) -> Shifts:
    """`d` as a checked vector of int64, one per channel.

    Errors: ValueError if it is not a vector of integers, or not one of `channels` entries.

    >>> shifts([1, -1, 0], channels=3)
    array([ 1, -1,  0])
    """
    array = np.asarray(d)
    if array.size == 0:
        array = array.astype(np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(
            f"`d` is {array.dtype} of shape {array.shape}; one integer per channel is needed"
        )
    if ((array < -LIMIT) | (array > LIMIT)).any():
        raise ValueError(f"`d` has entries beyond the limit of {LIMIT} frames")
    if channels is not None and len(array) != channels:
        raise ValueError(f"`d` has {len(array)} entries for {channels} channels")
    return array.astype(np.int64)


def _source(d: Shifts, frames: int, fill: str) -> tuple[Shifts, np.ndarray[Any, Any]]:
    """For every (c, t): the frame that is read, and whether there is anything to read."""
    if one_of(fill, "fill", FILLS) == "circular":
        d = d % max(frames, 1)
        source = (np.arange(frames) - d[:, None]) % max(frames, 1)
        return source, np.ones(source.shape, bool)
    # A shift of T frames empties the channel as surely as a longer one, and cannot overflow.
    source = np.arange(frames) - np.clip(d, -frames, frames)[:, None]
    inside = (source >= 0) & (source < frames)
    return np.clip(source, 0, frames - 1), inside if fill == "zero" else np.ones_like(inside)


def _clip(x: ArrayLike, name: str = "x") -> Array:
    array = np.asarray(x)
    if array.ndim < 3:
        raise ValueError(f"`{name}` has shape {array.shape}; (N, C, T, ...) is needed")
    return array


def _causal(d: ArrayLike, channels: int) -> Shifts:
    d = shifts(d, channels)
    for channel in np.flatnonzero(d < 0)[:1]:
        raise ValueError(
            f"`d` (={d[channel]} at channel {channel}) reads the future; a stream needs d >= 0"
        )
    return d


def _radius(d: Shifts) -> int:
    return int(np.abs(d).max(initial=0))
