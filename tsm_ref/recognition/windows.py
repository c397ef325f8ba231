"""Sliding windows of a long video, of one length or of several, and the timeline they give.

A motion shows only in a window that is long enough for it, and a fast one only in a window that is
short enough. So windows of several lengths are run, a `Ladder`, and `verdict` finds which of them
speaks when. What is too slow for the longest may show when these are looked at more finely, with
larger frames.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.errors import VideoError
from tsm_ref.profile import Sampling
from tsm_ref.video import Survey, Windows, sliding_windows

__all__ = [
    "Ladder",
    "Segment",
    "check_moves",
    "grown",
    "ladder",
    "timeline",
]

Array = NDArray[Any]

NONE = "none"
"""What is said where several labels may hold and none does."""
UNSURE = "unsure"
"""What is said where no label is probable enough to be said."""

INSTANT = 1e-6
"""Seconds: times that differ by less are the same."""

_ROUNDING = 1e-3
"""Eight frames may last so much longer than their window: a rate by a clock of ticks is rounded."""


@dataclass(frozen=True)
class Segment:
    """A stretch of a long clip, in seconds, in which one label leads.

    ``probability`` is that of the label, averaged over the windows of the stretch. Where several
    labels may hold, ``label`` lists those that do, the most probable first, and "none" where none
    does. It is "unsure" where no class is probable enough to be said. ``index`` is the most
    probable class.
    """

    start: float
    end: float
    label: str
    index: int
    probability: float


def grown(sampling: Sampling, known: Survey) -> Sampling:
    """The same sampling, its windows longer where one would hold too few frames of this video.

    A network that sees one picture eight times sees no motion. So a window is at least as long as
    T = `segments` frames last at the rate of the video, and the stride grows with it: at few frames
    a second the network's step in time is that from picture to picture, as it is in a stream.
    """
    rate = known.info.frame_rate or 0.0
    longer = sampling.segments / (rate * sampling.window) if rate and sampling.window else 1.0
    if longer <= 1 + _ROUNDING:
        return sampling
    return replace(sampling, window=sampling.window * longer, stride=sampling.stride * longer)


@dataclass(frozen=True)
class Ladder:
    """Windows of several lengths, in the order in which they end, of those that end together the
    shorter first; ``rung`` (W,) is 0 for the shortest, 1 for those of the next length, and so on.

    Where a profile asks for ``finer`` frames, the last rung has the windows of the one before it
    again: ``scale`` (W,) says how many times as large the frames of a window are.
    """

    windows: Windows
    rung: NDArray[np.int64]
    scale: NDArray[np.int64]

    def shortest(self) -> Windows:
        """The windows of the first rung: one for every moment."""
        w, first = self.windows, self.rung == 0
        return Windows(w.start[first], w.end[first], w.indices[first])

    def alike(self) -> NDArray[np.int64]:
        """For each window the first one (W,) that shows the same frames at the same scale."""
        shows = np.column_stack([self.scale, self.windows.indices])
        _, first, which = np.unique(shows, axis=0, return_index=True, return_inverse=True)
        return np.asarray(first[which.ravel()], np.int64)

    def slowest(self, times: Array, needed: float) -> NDArray[np.float64]:
        """The slowest motion (W,) that shows in each window, in widths of the frame a second.

        `times` are the seconds (N,) of the frames; `needed` widths of an ordinary frame must lie
        between two that the network sees. Infinite where a window has one picture alone.
        """
        seen = times[self.windows.indices]
        step = (seen[:, -1] - seen[:, 0]) / max(seen.shape[1] - 1, 1)
        with np.errstate(divide="ignore"):
            return np.asarray(needed / self.scale / step)


def ladder(times: Array, sampling: Sampling, clip_end: float | None = None) -> Ladder:
    """The windows that a profile asks for: of ``window`` seconds, twice that, up to ``longest``.

    `times` are the seconds (N,) at which the frames are shown, `clip_end` is when the last one
    goes. The last of these is one window over the whole clip where the clip is shorter than
    ``longest``; it stands there twice where the profile asks for ``finer`` frames of it. Raises
    ValueError as `sliding_windows`.

    >>> from tsm_ref.video import frame_times
    >>> made = ladder(frame_times(150, 25.0), Sampling("windows", 8, 1.0, 0.5, longest=8.0))
    >>> sorted(set((made.windows.end - made.windows.start).round(3).tolist()))
    [1.0, 2.0, 4.0, 6.0]
    """
    rungs: list[Windows] = []
    length = sampling.window
    while not rungs or (length < sampling.longest * 2 and len(rungs[-1]) > 1):
        length = min(length, max(sampling.longest, sampling.window))
        overlap = sampling.stride / sampling.window
        stride = length * (min(overlap, 0.5) if rungs else overlap)  # a moment lies in one of each
        rungs.append(
            sliding_windows(times, sampling.segments, window=length, stride=stride, end=clip_end)
        )
        length *= 2
    scales = [1] * len(rungs)
    if sampling.finer > 1:
        rungs, scales = [*rungs, rungs[-1]], [*scales, sampling.finer]
    start, end, indices = (
        np.concatenate([getattr(rung, name) for rung in rungs])
        for name in ("start", "end", "indices")
    )
    rung = np.repeat(np.arange(len(rungs)), [len(r) for r in rungs])
    order = np.lexsort((start, rung, np.round(end / INSTANT)))
    windows = Windows(start[order], end[order], indices[order])
    return Ladder(windows, rung[order], np.array(scales)[rung[order]])


def check_moves(made: Ladder, times: Array, sampling: Sampling) -> None:
    """Raise `VideoError` for a video of several frames (N,) where each window holds but one.

    >>> from tsm_ref.video import frame_times
    >>> short, times = Sampling("windows", 8, 0.001, 0.001), frame_times(50, 25.0)
    >>> check_moves(ladder(times, short), times, short)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    tsm_ref.errors.VideoError: a window of 0.001 s holds one frame of this video, which are ...
    """
    indices = made.windows.indices
    if len(times) > 1 and (indices[:, 0] == indices[:, -1]).all():
        step = float(np.median(np.diff(times)))
        raise VideoError(
            f"a window of {sampling.window:g} s holds one frame of this video, which are "
            f"{step:.3g} s apart: give one of {sampling.segments * step:.3g} s or more, or none"
        )


def timeline(
    windows: Windows,
    probabilities: Sequence[Array],
    label_of: Callable[[int], str],
    least: float | None = None,
    sure: float = 0.0,
) -> tuple[Segment, ...]:
    """Stretches of one label, from the probabilities (K,) of each window.

    Two windows meet half-way between their centres. With ``least``, several labels hold that are
    as probable, and a stretch is one in which these are the same. Without it the best class is said
    where it is as probable as ``sure``.

    >>> two = Windows(np.array([0.0, 1.0]), np.array([1.0, 2.0]), np.zeros((2, 8), int))
    >>> chances = [np.array([0.9, 0.6]), np.array([0.9, 0.2])]
    >>> [(s.start, s.label) for s in timeline(two, chances, ("walk", "talk").__getitem__, 0.5)]
    [(0.0, 'walk, talk'), (1.0, 'walk')]
    """
    centres = (windows.start + windows.end) / 2
    cuts = [windows.start[0], *((centres[1:] + centres[:-1]) / 2), windows.end[-1]]
    holding = [_holding(chances, least, sure) for chances in probabilities]
    nothing = UNSURE if least is None else NONE
    segments = []
    for held, stretch in groupby(range(len(holding)), key=holding.__getitem__):
        rows = list(stretch)
        means = np.mean([probabilities[w] for w in rows], axis=0)
        order = sorted(held, key=lambda k: -means[k])
        best = order[0] if order else int(means.argmax())
        label = ", ".join(label_of(k) for k in order) or nothing
        begin, end = float(cuts[rows[0]]), float(cuts[rows[-1] + 1])
        segments.append(Segment(begin, end, label, best, float(means[best])))
    return tuple(segments)


def _holding(chances: Array, least: float | None, sure: float) -> tuple[int, ...]:
    """The classes that hold in a window: the most probable one, or all from a probability on."""
    if least is None:
        return (int(chances.argmax()),) if chances.max() >= sure else ()
    return tuple(np.flatnonzero(chances >= least).tolist())
