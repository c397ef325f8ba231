"""Moving values without changing them, into the blocked layout and out of it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.kernels.blocked import PIXEL
from tsm_ref.kernels.cache import compiled
from tsm_ref.kernels.vector import FLOAT, FLOAT_BYTES, Emitter, Value, address, generated

COPY = np.dtype(
    [
        ("x", np.int64),  # addresses
        ("y", np.int64),
        ("count", np.int64),  # rows
        ("x_step", np.int64),  # bytes from one row to the next
        ("y_step", np.int64),
        ("pieces", np.int64),  # of a row
        ("x_piece", np.int64),  # bytes from one piece to the next
        ("y_piece", np.int64),
        ("size", np.int64),  # bytes of a piece, a multiple of 4
    ],
    align=True,
)
"""A planned copy of equally spaced rows of equally spaced pieces, for `run_copy`."""


@generated(address, address)
def _copy_pixel(emit: Emitter, x: Value, y: Value) -> None:
    for part in range(0, PIXEL, emit.bytes):
        emit.store(emit.load(emit.bytes_at(x), part), emit.bytes_at(y), part)


@generated(address, address)
def _copy_float(emit: Emitter, x: Value, y: Value) -> None:
    value = emit.load(emit.bytes_at(x), 0, FLOAT)
    emit.builder.store(value, emit.pointer(emit.bytes_at(y), 0, FLOAT), align=FLOAT_BYTES)


def run_copy(layers: NDArray[Any], index: int, first: int, last: int) -> None:
    """Copy rows ``first .. last - 1`` of a planned `COPY`."""
    layer = layers[index]
    whole = layer.size - layer.size % PIXEL
    for row in range(first, last):
        x, y = layer.x + row * layer.x_step, layer.y + row * layer.y_step
        for _ in range(layer.pieces):
            for offset in range(0, whole, PIXEL):
                _copy_pixel(x + offset, y + offset)
            for offset in range(whole, layer.size, FLOAT_BYTES):
                _copy_float(x + offset, y + offset)
            x += layer.x_piece
            y += layer.y_piece


def fill_blocked(x: NDArray[Any], blocked: NDArray[Any], border: int) -> None:
    """Write (N, C, T, H, W) into a blocked array, inside the border (above and left) of a width.

    >>> blocked = np.zeros((1, 1, 3, 3, 16))
    >>> fill_blocked(np.full((1, 1, 1, 1, 1), 5.0), blocked, 1)
    >>> float(blocked[0, 0, 1, 1, 0]), float(blocked.sum())
    (5.0, 5.0)
    """
    batch, channels, frames, height, width = x.shape
    lanes = blocked.shape[4]
    for n in range(batch):
        for t in range(frames):
            for h in range(height):
                if channels == 3 and lanes == 3:
                    line = blocked[n * frames + t, 0, border + h, border : border + width]
                    red, green, blue = x[n, 0, t, h], x[n, 1, t, h], x[n, 2, t, h]
                    for w in range(width):
                        line[w, 0], line[w, 1], line[w, 2] = red[w], green[w], blue[w]
                    continue
                for c in range(channels):
                    block, lane = c // lanes, c % lanes
                    for w in range(width):
                        blocked[n * frames + t, block, border + h, border + w, lane] = x[
                            n, c, t, h, w
                        ]


def read_blocked(blocked: NDArray[Any], border: int, x: NDArray[Any]) -> None:
    """Read (N, C, T, H, W) from the inside of a blocked array: the inverse of `fill_blocked`."""
    batch, channels, frames, height, width = x.shape
    lanes = blocked.shape[4]
    for n in range(batch):
        for t in range(frames):
            for c in range(channels):
                block, lane = c // lanes, c % lanes
                for h in range(height):
                    for w in range(width):
                        x[n, c, t, h, w] = blocked[
                            n * frames + t, block, border + h, border + w, lane
                        ]


run_copy = compiled()(run_copy)
fill_blocked = compiled()(fill_blocked)
read_blocked = compiled()(read_blocked)
