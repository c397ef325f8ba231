"""Sliding windows of a long video: cut while it is decoded, and joined to a timeline of labels."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.video import VideoFile, Windows

__all__ = ["Segment", "WindowCutter", "timeline"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Segment:
    """A stretch of a long clip, in seconds, in which one label leads.

    ``probability`` is that of the label, averaged over the windows of the stretch.
    """

    start: float
    end: float
    label: str
    index: int
    probability: float


class WindowCutter:
    """The preprocessed frames (T, V, h, w, 3) of window after window, as they are decoded.

    Only frames that a coming window needs are held. Where fewer frames decode than were promised,
    the windows that have begun show the last one again and the others are left out.
    """

    def __init__(self, source: VideoFile, windows: Windows, convert: Callable[[Array], Array]):
        self._source, self._indices, self._convert = source, windows.indices, convert
        self.decoded = 0

    def __iter__(self) -> Iterator[Array]:
        wanted = set(np.unique(self._indices).tolist())
        rows = deque(self._indices.tolist())
        kept: dict[int, Array] = {}
        for index, _, pixels in self._source.shown():
            self.decoded = index + 1
            if index in wanted:
                kept[index] = self._convert(pixels())
            while rows and index == rows[0][-1]:
                yield np.stack([kept[i] for i in rows.popleft()])
                oldest = rows[0][0] if rows else index
                kept = {i: image for i, image in kept.items() if i >= oldest}
        while rows and kept and rows[0][0] <= (newest := max(kept)):
            yield np.stack([kept[min(i, newest)] for i in rows.popleft()])


def timeline(
    windows: Windows, probabilities: Sequence[Array], label_of: Callable[[int], str]
) -> tuple[Segment, ...]:
    """Stretches of one label, from the probabilities (K,) of each window.

    Two windows meet half-way between their centres.
    """
    centres = (windows.start + windows.end) / 2
    cuts = [windows.start[0], *((centres[1:] + centres[:-1]) / 2), windows.end[-1]]
    leading = [int(p.argmax()) for p in probabilities]
    segments = []
    for k, stretch in groupby(range(len(leading)), key=leading.__getitem__):
        rows = list(stretch)
        probability = float(np.mean([probabilities[w][k] for w in rows]))
        begin, end = float(cuts[rows[0]]), float(cuts[rows[-1] + 1])
        segments.append(Segment(begin, end, label_of(k), k, probability))
    return tuple(segments)
