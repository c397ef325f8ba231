"""A few pictures of a long video: which of its packets must be decoded for them.

A key picture needs no other, and what follows it in the order of display needs nothing before it.
So a picture takes the packets from the last key picture that is shown no later than itself.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["LONG", "Marks", "runs"]

LONG = 1000
"""Pictures from which on a video is long: a shorter one is decoded to its end, and so checked."""


@dataclass(frozen=True)
class Marks:
    """What the packets of a file say, in the order of the file.

    ``stamps`` (P,) are their timestamps, ``keys`` (P,) whether each is a key picture, and ``shown``
    (P,) whether it is shown at all.
    """

    stamps: NDArray[np.int64]
    keys: NDArray[np.bool_]
    shown: NDArray[np.bool_]

    @property
    def order(self) -> NDArray[np.int64]:
        """The timestamps (N,) of the pictures in the order of display."""
        return np.sort(self.stamps[self.shown])


def runs(marks: Marks, wanted: NDArray[np.int64]) -> list[tuple[int, int]] | None:
    """The packets to be decoded for the pictures of these timestamps: (first, last) of each run.

    None where that is half of all packets or more, or where the packets do not tell.

    >>> keys = np.arange(12) % 4 == 0
    >>> marks = Marks(np.arange(12), keys, np.ones(12, bool))
    >>> runs(marks, np.array([1, 5])), runs(marks, np.array([1, 5, 11]))
    ([(0, 1), (4, 5)], None)
    """
    if not np.diff(marks.order).all():
        return None
    found: list[tuple[int, int]] = []
    for stamp in wanted.tolist():
        last = int(np.flatnonzero(marks.shown & (marks.stamps == stamp))[0])
        before = np.flatnonzero(marks.keys[: last + 1] & (marks.stamps[: last + 1] <= stamp))
        if not len(before):
            return None
        found.append((int(before[-1]), last))
    joined = _joined(sorted(found))
    needed = sum(last + 1 - first for first, last in joined)
    return joined if 2 * needed < len(marks.stamps) else None


def _joined(found: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Runs that touch no other, of such as may; in order."""
    made = found[:1]
    for first, last in found[1:]:
        if first <= made[-1][1]:
            made[-1] = made[-1][0], max(made[-1][1], last)
        else:
            made.append((first, last))
    return made
