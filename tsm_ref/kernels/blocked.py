"""The layout inside the Numba engine: blocks of 16 channels, one cache line for each pixel.

``x[frame][block][row][column][channel % 16]`` in float32. A frame is contiguous, so the frames of
all clips of a batch lie one behind the other, and a frame of a stream is like any other. A border
of zeros around every plane makes the padding of a convolution ordinary memory.
"""

import mmap
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.kernels.machine import BLOCK

FLOAT_BYTES = 4
PIXEL = BLOCK * FLOAT_BYTES
"""Bytes of one pixel of one block."""


_LARGE = 1 << 18  # bytes from which on memory is taken from the system directly
_PRIVATE: dict[str, Any] = {}
if hasattr(mmap, "MAP_PRIVATE"):  # Windows has no such flags, and needs none
    _PRIVATE["flags"] = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS


@dataclass(frozen=True)
class Layout:
    """Where the values of one array lie, in bytes from its beginning.

    `before` and `after` are the widths of the zero border above/left and below/right. `lanes` is
    the number of channels of a block; a picture of 3 interleaved colours has one block of 3.
    With `slots` there is memory for that many frames only, which the frames take in turn.

    >>> layout = Layout(frames=8, channels=20, height=14, width=14, before=1, after=1)
    >>> layout.blocks, layout.row, layout.size
    (2, 1024, 262144)
    >>> layout.at(frame=1, y=-1, x=-1) == layout.frame
    True
    """

    frames: int
    channels: int
    height: int
    width: int
    before: int = 0
    after: int = 0
    lanes: int = BLOCK
    slots: int = 0

    @property
    def pixel(self) -> int:
        """Bytes from one pixel of a block to the next."""
        return self.lanes * FLOAT_BYTES

    @property
    def blocks(self) -> int:
        """Blocks of channels; the last one is filled up with zeros."""
        return -(-self.channels // self.lanes)

    @property
    def row(self) -> int:
        """Bytes from one row to the next."""
        return (self.before + self.width + self.after) * self.pixel

    @property
    def block(self) -> int:
        """Bytes from one block of channels to the next."""
        return (self.before + self.height + self.after) * self.row

    @property
    def frame(self) -> int:
        """Bytes from one frame to the next."""
        return self.blocks * self.block

    @property
    def size(self) -> int:
        """Bytes of the whole array."""
        return (self.slots or self.frames) * self.frame

    def start(self, frame: int) -> int:
        """Return the offset of a frame."""
        return (frame % self.slots if self.slots else frame) * self.frame

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """The shape of the array (frames, blocks, rows, columns, 16), border included."""
        border = self.before + self.after
        frames = self.slots or self.frames
        return (frames, self.blocks, self.height + border, self.width + border, self.lanes)

    def at(self, frame: int = 0, block: int = 0, y: int = 0, x: int = 0) -> int:
        """Return the offset of a pixel; row and column -1 lie in the border."""
        inside = (y + self.before) * self.row + (x + self.before) * self.pixel
        return self.start(frame) + block * self.block + inside

    def steps(self, name: str) -> dict[str, int]:
        """Return the fields of a plan that say how to walk through planes of the array `name`.

        >>> Layout(frames=2, channels=20, height=3, width=4).steps("x")
        {'x_slots': 2, 'x_frame': 1536, 'x_block': 768, 'x_row': 256}
        """
        slots = self.slots or self.frames
        steps = {"slots": slots, "frame": self.frame, "block": self.block, "row": self.row}
        return {f"{name}_{field}": step for field, step in steps.items()}

    def moves(self, planes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how far planes at given offsets, [frame][block], are from where they lie here."""
        starts = [self.start(frame) for frame in range(len(planes))]
        own = np.array(starts, np.int64)[:, None] + np.arange(self.blocks) * self.block
        far: NDArray[np.int64] = planes - own
        return far

    def inside(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return the view of a blocked `array` without its border."""
        rows = slice(self.before, self.before + self.height)
        columns = slice(self.before, self.before + self.width)
        return array[:, :, rows, columns]


def aligned(size: int) -> NDArray[np.uint8]:
    """Return `size` zero bytes that begin on a cache line; large ones go back when they die.

    (The C library may keep what it has once given out, and a network's weights come and go.)

    >>> aligned(100).ctypes.data % 64, len(aligned(100))
    (0, 100)
    """
    if size >= _LARGE:
        return np.frombuffer(mmap.mmap(-1, size, **_PRIVATE), np.uint8)
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size]


def empty_blocked(layout: Layout) -> NDArray[np.float32]:
    """Return an array of zeros in the blocked layout, aligned to cache lines."""
    return aligned(layout.size).view(np.float32).reshape(layout.shape)


def to_blocked(x: NDArray[Any], before: int = 0, after: int = 0) -> NDArray[np.float32]:
    """Return (N, C, T, H, W) in the blocked layout: (N T, ceil(C / 16), H + border, ..., 16).

    >>> to_blocked(np.ones((2, 3, 5, 7, 9)), before=1, after=1).shape
    (10, 1, 9, 11, 16)
    """
    n, c, t, h, w = x.shape
    layout = Layout(n * t, c, h, w, before, after)
    result = empty_blocked(layout)
    inside = layout.inside(result)
    frames = x.transpose(0, 2, 1, 3, 4).reshape(n * t, c, h, w)
    for block in range(layout.blocks):
        channels = frames[:, block * BLOCK : (block + 1) * BLOCK]
        inside[:, block, :, :, : channels.shape[1]] = channels.transpose(0, 2, 3, 1)
    return result


def from_blocked(
    blocked: NDArray[Any], channels: int, clips: int = 1, before: int = 0, after: int = 0
) -> NDArray[np.float32]:
    """Return a blocked array as (N, C, T, H, W), the inverse of `to_blocked`.

    >>> x = np.arange(2 * 3 * 4 * 5 * 6, dtype=np.float32).reshape(2, 3, 4, 5, 6)
    >>> bool((from_blocked(to_blocked(x, 1, 2), 3, 2, 1, 2) == x).all())
    True
    """
    frames, blocks, rows, columns, _ = blocked.shape
    h, w = rows - before - after, columns - before - after
    inside = Layout(frames, channels, h, w, before, after).inside(blocked)
    planes = inside.transpose(0, 1, 4, 2, 3).reshape(frames, blocks * BLOCK, h, w)[:, :channels]
    clip = planes.reshape(clips, frames // clips, channels, h, w)
    return np.ascontiguousarray(clip.transpose(0, 2, 1, 3, 4))
