"""The frames of sliding windows, cut out of a video while it is decoded."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.video import Windows

__all__ = ["WindowCutter"]

Array = NDArray[Any]

Shown = Iterable[tuple[int, float, Callable[[], Array]]]
"""Index and seconds of each frame, and what makes its pixels before the next is taken."""


class WindowCutter:
    """Windows as they are decoded: the row of each, and what makes its frames (T, V, h, w, 3).

    The windows stand in the order in which they end. Only frames that a coming window needs are
    held. Those whose windows are all `unsure` wait as they were decoded, up to `most` of them, for
    pixels that can be made that late: their windows may not be wanted after all. The frames of
    windows that are `fine` are made by `closer`, and wait for that, too.
    """

    def __init__(
        self,
        shown: Shown,
        windows: Windows,
        convert: Callable[[Array], Array],
        unsure: Array | None = None,
        most: int = 0,
        closer: Callable[[Array], Array] | None = None,
        fine: Array | None = None,
    ):
        self._shown, self._indices = shown, windows.indices
        none = np.zeros(len(windows), bool)
        self._fine = none if fine is None else fine
        self._convert = {False: convert, True: closer or convert}
        sure = windows.indices[~(none if unsure is None else unsure)]
        self._sure, self._most, self._one = set(sure.ravel().tolist()), most, threading.Lock()
        self.decoded = 0

    def __iter__(self) -> Iterator[tuple[int, Callable[[], Array]]]:
        wanted = {
            fine: set(np.unique(self._indices[self._fine == fine]).tolist())
            for fine in self._convert
        }
        rows = deque(enumerate(self._indices.tolist()))
        needed = deque(np.minimum.accumulate(self._indices[::-1, 0])[::-1].tolist())
        kept: dict[int, _Frame] = {}
        waiting: deque[int] = deque()
        for index, _, pixels in self._shown:
            self.decoded = index + 1
            sizes = {fine: self._convert[fine] for fine in wanted if index in wanted[fine]}
            if sizes:
                kept[index] = frame = _Frame(pixels, sizes, self._one)
                if index in self._sure:
                    frame.pixels(False)
                if frame.waits:
                    waiting.append(index)
                if len(waiting) > self._most:
                    kept[waiting.popleft()].settle()
            while rows and index >= rows[0][1][-1]:
                row, shows = rows.popleft()
                yield row, partial(_stacked, [kept[i] for i in shows], bool(self._fine[row]))
                needed.popleft()
                oldest = needed[0] if needed else index
                kept = {i: image for i, image in kept.items() if i >= oldest}
                while waiting and waiting[0] < oldest:
                    waiting.popleft()


class _Frame:
    """A frame that is made small once in every size, when it is first asked for."""

    def __init__(
        self,
        pixels: Callable[[], Array],
        sizes: Mapping[bool, Callable[[Array], Array]],
        one: threading.Lock,
    ) -> None:
        self._whole: Callable[[], Array] | None = pixels
        self._sizes, self._one = dict(sizes), one
        self._small: dict[bool, Array] = {}

    @property
    def waits(self) -> bool:
        """Whether it is held as it was decoded."""
        return self._whole is not None

    def pixels(self, fine: bool) -> Array:
        """The frame in one of its sizes."""
        with self._one:  # what makes pixels serves one thread at a time
            if fine not in self._small:
                assert self._whole is not None
                self._small[fine] = self._sizes.pop(fine)(self._whole())
                if not self._sizes:
                    self._whole = None
            return self._small[fine]

    def settle(self) -> None:
        """Make all sizes, and let go of what was decoded."""
        for fine in tuple(self._sizes):
            self.pixels(fine)


def _stacked(frames: Sequence[_Frame], fine: bool) -> Array:
    return np.stack([frame.pixels(fine) for frame in frames])
