"""Which of the windows of several lengths speaks for each moment of a video."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.recognition.windows import INSTANT, Ladder

__all__ = ["Verdict"]

Array = NDArray[Any]

SURE, CERTAIN = 0.7, 0.9
"""The probabilities from which on a window is believed, and from which on it overrules longer ones.

Measured on virtual moves over frozen pictures: a lower `SURE` takes noise for a slow motion, a
higher one misses the slowest; a lower `CERTAIN` cuts holes into slow moves, a higher one smears
fast ones over the rest beside them.
"""


class Verdict:
    """Which window of a ladder speaks for each moment, found while the windows are run.

    A moment is a window of the first rung; asked are the windows of every length whose centre is
    nearest to it. In this order:

    1. without a class ``no_event`` every moment speaks for itself, and so does one whose own window
       shows nothing: all classes are equally probable there;
    2. a longer window has no word in what lies beside the moment: where the moment's own is certain
       that nothing happens, and another short one within the longer is certain of an event;
    3. nor may it say that nothing happens where a short one within it is certain of an event: a
       camera that turns back ends where it began;
    4. the shortest of the others speaks that is sure of an event. The classes ``aimless`` are none:
       a hand may shake while the camera turns;
    5. where none is sure, the most certain of those with the finest frames speaks: rest in these is
       rest in all, and a motion that the others took for rest shows in them.
    """

    def __init__(self, made: Ladder, no_event: int | None, aimless: Collection[int] = ()) -> None:
        self._windows, self._rung, self._no_event = made.windows, made.rung, no_event
        self._scale = made.scale
        self._rest = {no_event, *aimless}
        count = len(made.rung)
        self._known = np.zeros(count, bool)
        self._certain, self._leading = np.zeros(count), np.zeros(count, np.int64)
        self._empty = np.zeros(count, bool)
        rungs = [np.flatnonzero(made.rung == k) for k in range(int(made.rung.max()) + 1)]
        middle = made.windows.start + made.windows.end
        self._moments = rungs[0]
        self._near = np.stack([rungs[0], *(_nearest(middle, rungs[0], r) for r in rungs[1:])], 1)

    def hear(self, row: int, chances: Array) -> None:
        """What a window says: the probabilities (K,)."""
        self._known[row] = True
        self._certain[row], self._leading[row] = chances.max(), chances.argmax()
        self._empty[row] = chances.min() == chances.max()

    def needs(self, row: int) -> bool:
        """Whether this window may still speak: for a moment that no shorter one has spoken for."""
        rung = int(self._rung[row])
        if rung == 0 or self._no_event is None:
            return rung == 0
        moments = np.flatnonzero(self._near[:, rung] == row)
        return any(self._settling(near[:rung]) is None for near in self._near[moments].tolist())

    def speaking(self) -> NDArray[np.int64]:
        """The rows (M,) of the windows that speak, when all that were needed are heard."""
        if self._no_event is None:
            return self._moments
        return np.array([self._speaks(near) for near in self._near.tolist()])

    def _speaks(self, near: Sequence[int]) -> int:
        """The window that speaks by rules 1 to 5."""
        settling = self._settling(near)
        if settling is not None:
            return settling
        return max(self._allowed(near), key=lambda row: (self._scale[row], self._certain[row]))

    def _settling(self, near: Sequence[int]) -> int | None:
        """The window that speaks by rule 1 or 4, if it is heard."""
        if self._empty[near[0]]:
            return near[0]
        for row in self._allowed(near):
            if self._known[row] and self._move(row) and self._certain[row] >= SURE:
                return row
        return None

    def _allowed(self, near: Sequence[int]) -> list[int]:
        """The windows near a moment, its own first, without those that rules 2 and 3 exclude."""
        own = near[0]
        rests = self._certain[own] >= CERTAIN and not self._move(own)
        return [
            own,
            *(row for row in near[1:] if (self._move(row) and not rests) or not self._beside(row)),
        ]

    def _move(self, row: int) -> bool:
        """Whether this window leads with an event that has a direction."""
        return int(self._leading[row]) not in self._rest

    def _beside(self, row: int) -> bool:
        """Whether a short window within this one is certain of an event."""
        start, end, short = self._windows.start, self._windows.end, self._moments
        short = short[self._certain[short] >= CERTAIN]
        within = (start[short] >= start[row] - INSTANT) & (end[short] <= end[row] + INSTANT)
        return any(map(self._move, short[within]))


def _nearest(middle: Array, moments: Array, rows: Array) -> NDArray[np.int64]:
    """The row whose middle is nearest to that of each moment, the first of equals."""
    return np.array([rows[np.abs(middle[rows] - middle[moment]).argmin()] for moment in moments])
