"""The inverted residual block in whole numbers, in one pass: expand, depthwise, project, add.

The wide hidden layer is never written out: it is made in *bands* (some output rows of one frame),
block by block of sixteen channels (`tsm_ref.kernels.integer_blocks`)::

    for each band
        gather what the new hidden rows depend on
        for each block of hidden channels
            expand the new rows             behind those that the band before has left
            depthwise over these rows       into the band's own pixels
        project all hidden blocks, write planes (and add the residual)

Around the hidden rows lie pixels that hold the zero point. Every value between the layers is
rounded to 8 bits as it would be by itself, so the bits are those of the separate layers.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tsm_ref.kernels.cache import compiled
from tsm_ref.kernels.integer_blocks import (
    CHANNELS,
    OUTPUTS,
    PIXEL,
    PIXELS,
    gather_apart,
    gather_near,
    products,
    products_to_bytes,
    scatter,
    scatter_sum,
    taps_apart,
    taps_near,
)
from tsm_ref.kernels.integer_pack import copy_byte

Array = NDArray[Any]

_CACHE = 256 * 1024  # bytes of hidden values that should stay in the second-level cache


class Finish(NamedTuple):
    """How the sums of a layer become bytes without a sign."""

    bias: NDArray[np.int32]  # `ordered`; the zero point of the inputs is taken off
    factor: NDArray[np.float32]  # `ordered`
    zero: int
    low: int
    high: int


class Sum(NamedTuple):
    """What is added to the result of a block, as `integer_values.combine` adds it."""

    place: int  # address of the planes of the other value
    row: int  # bytes from channel to channel
    x_zero: int
    x_factor: np.float32
    other_zero: int
    other_factor: np.float32
    flip: int
    zero: int
    low: np.float32
    high: np.float32


class IntegerInverted(NamedTuple):
    """A block, ready to run: what `run_integer_inverted` reads."""

    inputs: NDArray[np.int64]  # addresses of every k for each frame: (frames, a multiple of 16)
    input_row: int  # bytes of an input row between two hidden rows; 0 where planes are one row
    input_stride: int  # bytes between the inputs of two hidden pixels
    flip: int  # 128 where the inputs are signed
    k: int  # inputs that a hidden value depends on
    hidden: tuple[int, int, int]  # channels, height, width
    stride: int
    sides: tuple[int, int]  # pixels above and to the left of the hidden layer
    padding: int  # 8 bytes of them
    expand: Array  # weights, see `pack_products`, `pack_taps`
    expand_finish: Finish
    taps: NDArray[np.int16]
    taps_finish: Finish
    project: Array
    project_finish: Finish
    y: int  # address of the planes
    size: tuple[int, int, int, int]  # of the planes: channels, frames, height, width
    y_flip: int
    adds: bool
    sum: Sum
    rows: int  # of a band
    strips: int  # independent parts of a frame, for as many threads
    places: NDArray[np.int64]  # of the tiles of `expand`: offsets in x, then in y
    flat: NDArray[np.int64]  # of the tiles of `project`
    buffer: tuple[int, int]  # rows of hidden pixels that a block keeps, and pixels of a row

    @property
    def panels(self) -> int:
        """The pieces that threads share: strips of frames."""
        return self.size[1] * self.strips


def choose_rows(
    hidden: tuple[int, int, int], size: tuple[int, int], stride: int, strips: int
) -> int:
    """The output rows of a band, so that hidden values stay in the second-level cache."""
    blocks, width = -(-hidden[0] // CHANNELS), hidden[2] + 2
    height = -(-size[0] // strips)

    def fits(rows: int) -> bool:
        kept = 1 if rows >= height else blocks
        pixels = kept * (rows * stride + 2) * width + blocks * rows * size[1]
        return pixels * PIXEL <= _CACHE

    most = max(rows for rows in range(1, height + 1) if rows == 1 or fits(rows))
    return -(-height // -(-height // most))


def buffer_of(hidden: tuple[int, int, int], width: int, left: int, stride: int, rows: int
              ) -> tuple[int, int]:  # fmt: skip
    """The rows and the pixels of a row of the hidden values of one block.

    Tiles write up to `PIXELS` pixels too many, which lie behind the rows that are read.
    """
    spilled = PIXELS // hidden[2] + 1
    wide = max(left + hidden[2], (width - 1) * stride + 3)
    return (rows - 1) * stride + 3 + spilled, wide


def tiles_of(pixels: int, blocks: int, width: int, y_row: int, y_pixel: int) -> NDArray[np.int64]:
    """The offsets of tiles over pixels of some blocks that follow each other in x, but not in y.

    There they lie in rows of `width` pixels.
    """
    count = -(-pixels // PIXELS)
    at = np.arange(count * PIXELS).reshape(count, PIXELS)
    y = at // width * y_row + at % width * y_pixel
    return np.ascontiguousarray(np.concatenate([at * blocks * PIXEL, y], axis=1))


@compiled()
def _fill(start: int, pixels: int, x: NDArray[np.int64], value: int) -> None:
    """Set pixels of a buffer, from a byte on, to a value."""
    for i in range(start // 8, start // 8 + pixels * PIXEL // 8):
        x[i] = value


@compiled()
def _gather(layer: IntegerInverted, t: int, start: int, stop: int, x: int) -> None:
    """Make blocks of what hidden rows ``start .. stop - 1`` of a frame depend on."""
    width = layer.hidden[2]
    blocks = (layer.k + CHANNELS - 1) // CHANNELS
    pixel = blocks * PIXEL
    for block in range(blocks):
        places = layer.inputs[t, block * CHANNELS :].ctypes.data
        y = x + block * PIXEL
        if layer.input_row == 0:
            turns = ((stop - start) * width + CHANNELS - 1) // CHANNELS
            gather_near(places, start * width, layer.flip, y, pixel, turns)
            continue
        turns = (width + CHANNELS - 1) // CHANNELS
        for row in range(start, stop):
            offset = row * layer.input_row
            if layer.input_stride == 1:
                gather_near(places, offset, layer.flip, y, pixel, turns)
            else:
                gather_apart(places, offset, layer.flip, y, pixel, turns)
            y += width * pixel


@compiled()
def _middle(layer: IntegerInverted, block: int, hidden: int, rows: int, y: int) -> None:
    """The depthwise convolution of one block: some rows from the hidden ones at an address."""
    finish, width = layer.taps_finish, layer.size[3]
    row_bytes = layer.buffer[1] * PIXEL
    pixel = len(layer.taps) * PIXEL
    weights = layer.taps[block].ctypes.data
    bias, factor = finish.bias[block].ctypes.data, finish.factor[block].ctypes.data
    turns = (width + OUTPUTS - 1) // OUTPUTS
    for row in range(rows):
        x = hidden + row * layer.stride * row_bytes
        if layer.stride == 1:
            taps_near(x, row_bytes, weights, bias, factor, y, pixel, turns, finish.zero,
                      finish.low, finish.high)  # fmt: skip
        else:
            taps_apart(x, row_bytes, weights, bias, factor, y, pixel, turns, finish.zero,
                       finish.low, finish.high)  # fmt: skip
        y += width * pixel


@compiled()
def _planes(layer: IntegerInverted, t: int, row: int, rows: int, x: int, x_block: int,
            edge: NDArray[np.uint8]) -> None:  # fmt: skip
    """Write the rows of a band from blocks of bytes to planes."""
    channels, frames, height, width = layer.size
    pixels, plane = rows * width, frames * height * width
    for channel in range(0, channels, CHANNELS):
        count = min(CHANNELS, channels - channel)
        at = t * height * width + row * width
        y = layer.y + channel * plane + at
        other = layer.sum.place + channel * layer.sum.row + at
        block = x + channel // CHANNELS * x_block
        for start in range(0, pixels, CHANNELS):
            first = max(0, min(start, pixels - CHANNELS))  # the last ones once more
            place, to, to_row = block + first * CHANNELS, y + first, plane
            if pixels < CHANNELS:
                to, to_row = edge.ctypes.data, CHANNELS
            if layer.adds:
                how = layer.sum
                scatter_sum(
                    place, to, to_row, count, other + first, how.row, how.x_zero, how.x_factor,
                    how.other_zero, how.other_factor, how.flip, how.zero, how.low, how.high,
                )  # fmt: skip
            else:
                scatter(place, to, to_row, count, layer.y_flip)
            if pixels < CHANNELS:
                _copy(edge, count, pixels, y, plane)


@compiled()
def _copy(edge: NDArray[np.uint8], channels: int, pixels: int, y: int, plane: int) -> None:
    """Copy the first pixels of rows of sixteen to planes."""
    for channel in range(channels):
        for i in range(pixels):
            copy_byte(edge[channel * CHANNELS + i :].ctypes.data, y + channel * plane + i)


class _Work(NamedTuple):
    """The working memory of a thread."""

    x: NDArray[np.uint8]  # what a band depends on: pixels of all blocks
    hidden: NDArray[np.int64]  # blocks of pixels
    hidden_block: int  # bytes from block to block; 0 where no band needs what another left
    middle: NDArray[np.uint8]  # results of the depthwise convolution: pixels of all blocks
    y: NDArray[np.uint8]  # results as bytes: blocks of pixels
    y_block: int
    edge: NDArray[np.uint8]


@compiled()
def _band(layer: IntegerInverted, work: _Work, t: int, row: int, rows: int, fresh: bool) -> None:
    """Compute some rows of a frame; unless `fresh`, the band before left its last hidden rows."""
    _, height, width = layer.hidden
    stride, wide = layer.stride, layer.buffer[1]
    needed = (rows - 1) * stride + 3
    base = row * stride - layer.sides[0]  # the hidden row that the buffer begins with
    start = max(base + (0 if fresh else 3 - stride), 0)
    stop = min(base + needed, height)
    x, finish = work.x.ctypes.data, layer.expand_finish
    _gather(layer, t, start, stop, x)
    tiles = ((stop - start) * width + PIXELS - 1) // PIXELS
    row_bytes = wide * PIXEL
    for block in range(len(layer.expand)):
        first = block * work.hidden_block
        hidden = work.hidden.ctypes.data + first
        products(
            x, layer.expand.shape[1], layer.expand[block].ctypes.data,
            finish.bias[block].ctypes.data, finish.factor[block].ctypes.data,
            hidden + (start - base) * row_bytes + layer.sides[1] * PIXEL,
            layer.places.ctypes.data, tiles, finish.zero, finish.low, finish.high,
        )  # fmt: skip
        if fresh and start > base:
            _fill(first, (start - base) * wide, work.hidden, layer.padding)
        if stop < base + needed:
            _fill(first + (stop - base) * row_bytes, (base + needed - stop) * wide, work.hidden,
                  layer.padding)  # fmt: skip
        _middle(layer, block, hidden, rows, work.middle.ctypes.data + block * PIXEL)
        if work.hidden_block:  # the rows that the next band begins with
            words = row_bytes // 8
            source, target = first // 8 + rows * stride * words, first // 8
            for i in range((3 - stride) * words):
                work.hidden[target + i] = work.hidden[source + i]
    _project(layer, work, rows)
    _planes(layer, t, row, rows, work.y.ctypes.data, work.y_block, work.edge)


@compiled()
def _project(layer: IntegerInverted, work: _Work, rows: int) -> None:
    """Project the pixels of a band to blocks of bytes."""
    finish = layer.project_finish
    tiles = (rows * layer.size[3] + PIXELS - 1) // PIXELS
    for block in range(len(layer.project)):
        products_to_bytes(
            work.middle.ctypes.data, layer.project.shape[1], layer.project[block].ctypes.data,
            finish.bias[block].ctypes.data, finish.factor[block].ctypes.data,
            work.y.ctypes.data + block * work.y_block, layer.flat.ctypes.data, tiles,
            finish.zero, finish.low, finish.high,
        )  # fmt: skip


@compiled()
def _working_memory(layer: IntegerInverted) -> _Work:
    """Memory for one thread; the pixels around the hidden rows hold the zero point."""
    blocks, outputs = len(layer.expand), len(layer.project)
    inputs = (layer.k + CHANNELS - 1) // CHANNELS
    kept, wide = layer.buffer
    made = layer.rows * layer.size[3] + OUTPUTS + PIXELS
    read = min(kept, layer.hidden[1]) * layer.hidden[2] + CHANNELS + PIXELS
    y_block = (made + CHANNELS) * CHANNELS
    height = (layer.size[2] + layer.strips - 1) // layer.strips
    whole = layer.rows >= height
    hidden_block = (kept + 1) * wide * PIXEL
    rings = 1 if whole else blocks
    hidden = np.empty(rings * hidden_block // 8, np.int64)
    _fill(0, rings * (kept + 1) * wide, hidden, layer.padding)
    return _Work(
        np.empty(inputs * read * PIXEL, np.uint8), hidden, 0 if whole else hidden_block,
        np.empty(blocks * made * PIXEL, np.uint8), np.empty(outputs * y_block, np.uint8), y_block,
        np.empty(CHANNELS * CHANNELS, np.uint8),
    )  # fmt: skip


@compiled()
def run_integer_inverted(layer: IntegerInverted, first: int, last: int) -> None:
    """Compute strips ``first .. last - 1`` of a block."""
    work = _working_memory(layer)
    height = layer.size[2]
    for piece in range(first, last):
        t, strip = piece // layer.strips, piece % layer.strips
        begin, end = height * strip // layer.strips, height * (strip + 1) // layer.strips
        for row in range(begin, end, layer.rows):
            _band(layer, work, t, row, min(layer.rows, end - row), row == begin)
