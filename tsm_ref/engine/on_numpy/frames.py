"""Reading frames through a shift: which source frame each channel reads, as few slice copies."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Fold:
    """Neighbouring channels ``[start, stop)`` that are shifted by the same `d` frames."""

    start: int
    stop: int
    d: int


def folds(d: Sequence[int], channels: int) -> list[Fold]:
    """Cut the channels into folds; an empty `d` shifts nothing.

    >>> folds((-1, -1, 1, 0, 0), 5)
    [Fold(start=0, stop=2, d=-1), Fold(start=2, stop=3, d=1), Fold(start=3, stop=5, d=0)]
    """
    if not len(d):
        return [Fold(0, channels, 0)]
    result = []
    start = 0
    for shift, group in groupby(d):
        stop = start + len(list(group))
        result.append(Fold(start, stop, int(shift)))
        start = stop
    return result


@dataclass(frozen=True)
class ShiftedFrames:
    """The frames of `x` (C, T, ...) as a shift presents them, to be copied block by block."""

    x: Array
    d: Sequence[int] = ()
    fill: str = "zero"
    segment: int = 0

    @property
    def shifted(self) -> bool:
        """True where at least one channel reads another frame."""
        return any(self.d)

    def source(self, t: int, d: int) -> int:
        """The frame that is read at time `t`; -1 where the fill is zero.

        Times outside the clip (the temporal padding of a convolution) read zeros.
        """
        frames = self.x.shape[1]
        if not 0 <= t < frames:
            return -1
        length = self.segment or frames
        begin = t // length * length
        s = t - begin - d
        if not 0 <= s < length:
            if self.fill == "zero":
                return -1
            s = min(max(s, 0), length - 1) if self.fill == "replicate" else s % length
        return begin + s

    def copies(self, start: int, stop: int) -> list[tuple[slice, slice, slice | None]]:
        """What fills frames ``[start, stop)``: (channels, target frames, source frames or zero)."""
        result: list[tuple[slice, slice, slice | None]] = []
        for fold in folds(self.d, self.x.shape[0]):
            first = 0
            for i in range(1, stop - start + 1):
                a, b = self.source(start + i - 1, fold.d), None
                if i < stop - start:
                    b = self.source(start + i, fold.d)
                if b is not None and (b == a == -1 or (a >= 0 and b == a + 1)):
                    continue
                begin = self.source(start + first, fold.d)
                frames = None if begin < 0 else slice(begin, a + 1)
                result.append((slice(fold.start, fold.stop), slice(first, i), frames))
                first = i
        return result


def copy_frames(
    target: Array, x: Array, copies: Sequence[tuple[slice, slice, slice | None]], zero: int = 0
) -> None:
    """Carry out `copies` from ``x`` (C, T, ...) into ``target`` (C, t, ...); `zero` is the fill."""
    for channels, frames, source in copies:
        if source is None:
            target[channels, frames] = zero
        else:
            np.copyto(target[channels, frames], x[channels, source])
