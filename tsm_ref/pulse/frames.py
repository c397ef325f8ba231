"""Frames of a face at the size of a network, and at even times: `shrunk`, `Track`."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["Track", "shrunk"]

Pixels = NDArray[np.uint8]
Float32 = NDArray[np.float32]


def shrunk(pixels: Pixels, size: int) -> Pixels:
    """A picture (H, W, 3) as (size, size, 3): the mean over the area of each new pixel.

    As ``cv2.resize(..., INTER_AREA)``, up to a rounding: so do all published codes. Where the
    picture is smaller than the result, that mixes the two pixels at the edge of which a new one
    lies, as here.

    >>> shrunk(np.arange(48, dtype=np.uint8).reshape(4, 4, 3), 2)[..., 0]
    array([[ 8, 14],
           [32, 38]], dtype=uint8)
    """
    height, width = pixels.shape[:2]
    over = height >= size and width >= size
    rows, columns = _weights(height, size, over), _weights(width, size, over)
    once = np.tensordot(rows, pixels.astype(np.float32), 1)
    found = np.tensordot(columns, once, (1, 1)).swapaxes(0, 1)
    return np.clip(np.rint(found), 0, 255).astype(np.uint8)


@lru_cache(maxsize=8)
def _weights(size: int, wanted: int, over: bool) -> Float32:
    """What each old pixel gives to each new one, (wanted, size)."""
    scale = size / wanted
    old, new = np.arange(size), np.arange(wanted)[:, None]
    if over:
        begin, end = np.maximum(old, new * scale), np.minimum(old + 1, (new + 1) * scale)
        return np.asarray(np.maximum(end - begin, 0) / scale, np.float32)
    first = np.floor(new * scale)
    share = (new + 1) - (first + 1) / scale
    share = np.where(share <= 0, 0, share - np.floor(share))
    second = np.minimum(first + 1, size - 1)
    return np.asarray((old == first) * (1 - share) + (old == second) * share, np.float32)


class Track:
    """Frames of one size with their times, and between them frames at even times.

    The even frames come `rate` times a second from the first one on; each is mixed of the two that
    it lies between, by their distance in time. A `plain` track has even times already: its frames
    are taken as they are.

    >>> track = Track(rate=2.0)
    >>> for time, value in ((0.0, 10), (1.0, 30)):
    ...     track.append(time, np.full((1, 1, 3), value, np.uint8))
    >>> len(track), track.take(0, 3)[:, 0, 0, 0]
    (3, array([10., 20., 30.], dtype=float32))
    """

    def __init__(self, rate: float, *, plain: bool = False) -> None:
        self.rate = rate
        self._plain = plain
        self._times: list[float] = []
        self._frames: list[Pixels] = []
        self._start = 0.0
        self._dropped = 0

    def append(self, time: float, frame: Pixels) -> None:
        """The next frame, (H, W, 3), at its second."""
        if not self._times:
            self._start = time
        self._times.append(time)
        self._frames.append(frame)

    @property
    def start(self) -> float:
        """The second of the first even frame."""
        return self._start

    def __len__(self) -> int:
        """How many even frames there are so far, those that were dropped included."""
        if self._plain or not self._times:
            return self._dropped + len(self._times)
        return int((self._times[-1] - self._start) * self.rate + 1e-6) + 1

    def take(self, begin: int, end: int) -> Float32:
        """The even frames from `begin` to before `end`, (T, H, W, 3), values of 0 to 255."""
        if self._plain:
            rows = self._frames[begin - self._dropped : end - self._dropped]
            return np.stack(rows).astype(np.float32)
        times = np.array(self._times)
        wanted = self._start + np.arange(begin, end) / self.rate
        before = np.searchsorted(times, wanted + 1e-9, side="right") - 1
        before = np.clip(before, 0, max(0, len(times) - 2))
        after = np.minimum(before + 1, len(times) - 1)
        span = np.where(after > before, times[after] - times[before], 1.0)
        share = np.clip((wanted - times[before]) / span, 0, 1).astype(np.float32)
        share = share[:, None, None, None]
        first, second = (np.stack([self._frames[i] for i in rows]) for rows in (before, after))
        return np.asarray(first * (1 - share) + second * share)

    def drop(self, before: int) -> None:
        """Forget what only even frames before this one are made of."""
        if self._plain:
            count = max(0, before - self._dropped)
        else:
            time = self._start + before / self.rate
            count = max(0, int(np.searchsorted(np.array(self._times), time, side="right")) - 1)
        del self._times[:count], self._frames[:count]
        self._dropped += count
