"""Parts of a value that a file reads: channels in another order, a window of pixels, one frame."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tsm_ref.checkpoint.onnx_in.values import ZERO, Base, Codes, layouts
from tsm_ref.checkpoint.views import Groups


class Selection(NamedTuple):
    """The places of a value that are read along each of its axes, and the layout in the file."""

    groups: Groups
    places: dict[str, tuple[int, ...]]

    def whole(self, base: Base, letter: str) -> bool:
        """True where an axis is read from its begin to its end, in order."""
        return self.places[letter] == tuple(range(base.size[letter]))

    def span(self, letter: str) -> tuple[int, int] | None:
        """The first place and the one behind the last; None where there are holes between."""
        places = self.places[letter]
        start, stop = places[0], places[-1] + 1
        return (start, stop) if places == tuple(range(start, stop)) else None


def selection(codes: Codes, base: Base) -> Selection | None:
    """The part of a value that has exactly these numbers; None where there is none.

    Channels may come in any order, all else in its own.

    >>> base = Base("x", (1, 3, 2, 4, 4), 0, "NCTHW")
    >>> flipped = base.codes()[:, ::-1].transpose(0, 2, 1, 3, 4)
    >>> selection(flipped, base).places["C"]
    (2, 1, 0)
    """
    numbers = codes - base.start
    if numbers.min() < 0 or numbers.max() >= np.prod(base.shape):
        return None
    found = np.unravel_index(numbers, base.shape)
    kept = [np.unique(places) for places in found]
    if np.prod([len(places) for places in kept]) != codes.size:
        return None
    part = Base(base.name, tuple(len(places) for places in kept), 0, base.axes)
    for groups in layouts(codes.shape, part):
        order = [letter for group in groups for letter in group]
        rest = [letter for letter in base.axes if letter not in order]
        full = numbers.reshape([part.size[letter] for letter in order + rest])
        full = full.transpose([(order + rest).index(letter) for letter in base.axes])
        first = full.reshape(*full.shape[:2], -1)[0, :, 0]
        kept[1] = np.unravel_index(first, base.shape)[1]
        if np.array_equal(base.codes()[np.ix_(*kept)] - base.start, full):
            places = (tuple(int(v) for v in axis) for axis in kept)
            return Selection(groups, dict(zip(base.axes, places, strict=True)))
    return None


def pieces(codes: Codes, starts: Sequence[int]) -> tuple[int, list[Codes]]:
    """The numbers of an array, cut along one axis where they begin to be of another value.

    ``starts`` are the first numbers of all values. The axis, and the pieces: none where no axis
    tells them apart.
    """
    owners = np.searchsorted(np.sort(starts), codes, side="right")
    owners[codes == ZERO] = 0
    for axis in range(codes.ndim):
        rows = np.moveaxis(owners, axis, 0).reshape(codes.shape[axis], -1)
        owner = rows.max(1, initial=0)
        if owner.all() and ((rows == owner[:, None]) | (rows == 0)).all():
            cuts = np.flatnonzero(np.diff(owner)) + 1
            return axis, list(np.split(codes, cuts, axis)) if len(cuts) else []
    return 0, []
