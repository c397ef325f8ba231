"""Which frames of a clip a network sees: pure functions from a number of frames to indices.

Every function returns 0-based indices, int64, of shape (clips, segments). N is the number of
frames of the clip and T the number of segments. The floating-point steps are those of the
published implementations, because ``int(tick / 2 + tick * k)`` falls on the next frame when it is
computed in another order.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Indices = NDArray[np.int64]
Sampler = Callable[[int, int], Indices]

DENSE_SPAN = 64
"""The frames that one clip of dense sampling spreads over."""

MAX_WINDOWS = 1 << 18
"""The most windows of one clip: 36 hours at two a second."""

_SIMULTANEOUS = 1e-6  # seconds: timestamps are at best exact to the microsecond


def uniform(num_frames: int, segments: int) -> Indices:
    """The middle frame of each of T equal parts: ``int(tick/2 + tick*k)``, ``tick = N/T``.

    Shape (1, T); a clip shorter than T repeats frames. Raises ValueError unless both are at
    least 1. Source: MIT's TSM, uniform sampling in test mode.

    >>> uniform(10, 8)
    array([[0, 1, 3, 4, 5, 6, 8, 9]])
    """
    tick = _tick(num_frames, segments)
    return _row(int(tick / 2 + tick * k) for k in range(segments))


def twice(num_frames: int, segments: int) -> Indices:
    """Two clips: that of `uniform`, then the first frame of each part, ``int(tick*k)``.

    Shape (2, T). Raises ValueError as `uniform`. Source: MIT's TSM, twice sampling.

    >>> twice(37, 8)[1]
    array([ 0,  4,  9, 13, 18, 23, 27, 32])
    """
    tick = _tick(num_frames, segments)
    starts = _row(int(tick * k) for k in range(segments))
    return np.concatenate([uniform(num_frames, segments), starts])


def val(num_frames: int, segments: int) -> Indices:
    """The rule of validation during training: `uniform` if N > T, else the first frame T times.

    Shape (1, T). Raises ValueError as `uniform`. Source: MIT's TSM, validation indices.

    >>> val(8, 8)
    array([[0, 0, 0, 0, 0, 0, 0, 0]])
    """
    if num_frames > segments:
        return uniform(num_frames, segments)
    _tick(num_frames, segments)
    return np.zeros((1, segments), np.int64)


def dense(num_frames: int, segments: int, clips: int = 10) -> Indices:
    """Clips of 64 consecutive frames, thinned to T, that start evenly over the video.

    ``(start + k*s) % N`` with ``s = 64 // T`` and `clips` starts from 0 to ``max(1, N-63) - 1``,
    evenly spaced and truncated. Shape (clips, T). Raises ValueError if T > 64 or any number is
    below 1. Source: the paper's dense evaluation as in MIT's TSM (10 clips).

    >>> dense(300, 8)[:, 0]
    array([  0,  26,  52,  78, 104, 131, 157, 183, 209, 236])
    """
    _tick(num_frames, segments)
    if clips < 1:
        raise ValueError(f"`clips` (={clips}) must be at least 1")
    if segments > DENSE_SPAN:
        raise ValueError(
            f"`segments` (={segments}) must be at most {DENSE_SPAN} when sampled densely"
        )
    positions = max(1, 1 + num_frames - DENSE_SPAN)
    starts = np.linspace(0, positions - 1, num=clips, dtype=np.int64)
    steps = np.arange(segments, dtype=np.int64) * (DENSE_SPAN // segments)
    return np.asarray((starts[:, None] + steps) % num_frames)


def mmaction2_uniform(num_frames: int, segments: int) -> Indices:
    """MMAction2's test clips of one frame: ``trunc((k*a + a/2) mod N)``, ``a = N/T``.

    Shape (1, T). Raises ValueError as `uniform`. Source: MMAction2, SampleFrames in test mode.

    >>> mmaction2_uniform(4, 8)
    array([[0, 0, 1, 1, 2, 2, 3, 3]])
    """
    average = _tick(num_frames, segments)
    offsets = np.arange(segments) * average + average / 2.0
    wrapped: Indices = np.mod(offsets, num_frames).astype(np.int64)
    return wrapped[None]


def paddle_uniform(num_frames: int, segments: int) -> Indices:
    """PaddleVideo's centre of each part of whole length: ``(a-1)//2 + k*a``, ``a = N // T``.

    A clip shorter than T (a = 0) is walked through and started over: ``k % N``. Shape (1, T).
    Raises ValueError as `uniform`. Source: PaddleVideo, Sampler in validation mode, seg_len 1.

    >>> paddle_uniform(37, 8)
    array([[ 1,  5,  9, 13, 17, 21, 25, 29]])
    """
    average = int(_tick(num_frames, segments))
    if average == 0:
        return _row(k % num_frames for k in range(segments))
    return _row((average - 1) // 2 + k * average for k in range(segments))


SAMPLERS: dict[str, Sampler] = {
    "uniform": uniform,
    "twice": twice,
    "val": val,
    "dense": dense,
    "mmaction2": mmaction2_uniform,
    "paddle": paddle_uniform,
}
"""The sampling policies by the name that a profile gives."""


@dataclass(frozen=True)
class Windows:
    """Windows over a long clip: `start` and `end` seconds (W,), `indices` (W, T)."""

    start: NDArray[np.float64]
    end: NDArray[np.float64]
    indices: Indices

    def __len__(self) -> int:
        return len(self.start)

    @property
    def gaps(self) -> float:
        """The seconds between windows that are in none, where each begins later than the last."""
        return float(np.maximum(self.start[1:] - self.end[:-1], 0).sum())


def frame_times(num_frames: int, frame_rate: float) -> NDArray[np.float64]:
    """Timestamps ``n / rate`` in seconds (N,) of a clip of constant frame rate.

    Raises ValueError unless there is a frame and the rate is a positive number.

    >>> frame_times(3, 4.0)
    array([0.  , 0.25, 0.5 ])
    """
    _tick(num_frames, 1)
    if not 0 < frame_rate < np.inf:
        raise ValueError(f"`frame_rate` (={frame_rate}) must be a positive number per second")
    return np.arange(num_frames) / float(frame_rate)


def sliding_windows(
    times: ArrayLike,
    segments: int,
    *,
    window: float,
    stride: float | None = None,
    end: float | None = None,
) -> Windows:
    """Windows of `window` seconds every `stride` seconds, T frames sampled uniformly from each.

    `times` are the seconds (N,) at which the frames are shown, non-decreasing, constant rate or
    not (`frame_times` makes them for a constant rate); `stride` is `window` unless given. Window
    w begins at ``times[0] + w*stride`` and holds the frames in ``[start, start + window)``. The
    clip ends at `end`, or one median interval after its last frame; the last window is moved back
    to end there, so that all are equally long; a clip shorter than a window is one window, cut to
    the clip. A window in which no frame begins shows the frame that stands on the screen.

    Raises ValueError if `times` is empty or descends, if `window` or `stride` is not positive, and
    for more than `MAX_WINDOWS` windows.

    >>> w = sliding_windows(frame_times(50, 10.0), 4, window=2.0, stride=2.0)
    >>> w.start, w.end
    (array([0., 2., 3.]), array([2., 4., 5.]))
    >>> w.indices[-1]
    array([32, 37, 42, 47])
    """
    shown = _checked_times(times)
    stride = window if stride is None else stride
    for name, value in (("window", window), ("stride", stride)):
        if not 0 < value < np.inf:
            raise ValueError(f"`{name}` (={value}) must be a positive number of seconds")
    starts, ends = _spans(shown, window, stride, end)
    first = np.searchsorted(shown, starts - _SIMULTANEOUS)
    after = np.searchsorted(shown, ends - _SIMULTANEOUS)
    rows = []
    for low, high in zip(first.tolist(), after.tolist(), strict=True):
        begin = low if high > low else max(low - 1, 0)
        rows.append(begin + uniform(max(high - low, 1), segments)[0])
    return Windows(starts, ends, np.stack(rows))


def _spans(
    shown: NDArray[np.float64], window: float, stride: float, end: float | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    interval = float(np.median(np.diff(shown))) if len(shown) > 1 else 0.0
    begin = float(shown[0])
    end = max(float(shown[-1]), float(shown[-1]) + interval if end is None else end)
    if end - begin <= window + _SIMULTANEOUS:
        return np.array([begin]), np.array([max(end, begin)])
    steps = (end - begin - window) / stride
    if steps >= MAX_WINDOWS:
        raise ValueError(
            f"a stride of {stride:g} s makes more than {MAX_WINDOWS} windows of {end - begin:g} s"
        )
    count = int(np.ceil(steps - _SIMULTANEOUS)) + 1
    starts = np.minimum(begin + np.arange(count) * stride, end - window)
    return starts, starts + window


def _checked_times(times: ArrayLike) -> NDArray[np.float64]:
    shown = np.asarray(times, np.float64)
    if shown.ndim != 1 or shown.size == 0:
        raise ValueError(f"`times` (shape {shown.shape}) must be one row of at least one time")
    if not np.isfinite(shown).all() or (np.diff(shown) < 0).any():
        raise ValueError("`times` must be finite and must not descend")
    return shown


def _tick(num_frames: int, segments: int) -> float:
    """The length N/T of one part, once both numbers are known to be possible."""
    if num_frames < 1:
        raise ValueError(f"`num_frames` (={num_frames}) must be at least 1")
    if segments < 1:
        raise ValueError(f"`segments` (={segments}) must be at least 1")
    return num_frames / float(segments)


def _row(indices: Iterable[int]) -> Indices:
    return np.array([list(indices)], np.int64)
