"""The inverted residual block in whole numbers, in one pass: expand, depthwise, project, add.

The wide hidden layer is never written out: it is made in *bands* (some output rows of one frame),
block by block of sixteen channels (`tsm_ref.kernels.integer.blocks`)::

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
from tsm_ref.kernels.integer.blocks import (
    CHANNELS,
    HALF,
    OUTPUTS,
    PIXEL,
    PIXELS,
    half_products_to_bytes,
    products,
    products_to_bytes,
    rectified_products,
    rectified_taps_apart,
    rectified_taps_near,
    taps_apart,
    taps_near,
)
from tsm_ref.kernels.integer.pack import copy_byte
from tsm_ref.kernels.integer.planes import (
    copy,
    fill,
    gather_apart,
    gather_near,
    scatter,
    scatter_sum,
)

Array = NDArray[Any]

_LINE = 64  # bytes of a line of the cache
_CACHE = 448 * 1024  # bytes of hidden values that should stay in the second-level cache


class Layer(NamedTuple):
    """One of the three convolutions: addresses, and how sums become bytes without a sign."""

    weights: int  # see `pack_products`, `pack_taps`
    block: int  # bytes of the weights of a block
    steps: int  # groups of k
    bias: int  # `ordered`; the zero point of the inputs is taken off
    factor: int  # `ordered`
    zero: int
    low: int
    high: int


class Sum(NamedTuple):
    """What is added to the result of a block, as `values.combine` adds it."""

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
    """A block, ready to run: what `run_integer_inverted` reads; whole numbers, and addresses."""

    inputs: int  # int64 addresses of every k for each frame: (frames, a multiple of 16)
    input_blocks: int
    input_row: int  # bytes of an input row between two hidden rows; 0 where planes are one row
    input_stride: int  # bytes between the inputs of two hidden pixels
    flip: int  # 128 where the inputs are signed
    expand: Layer
    taps: Layer
    project: Layer
    blocks: int  # of the hidden layer
    hidden: tuple[int, int]  # its height and width
    stride: int
    sides: tuple[int, int]  # pixels above and to the left of the hidden layer
    padding: int  # their value
    y: int  # the planes
    size: tuple[int, int, int, int]  # of the planes: channels, frames, height, width
    y_flip: int
    adds: bool
    sum: Sum
    rows: int  # of a band
    strips: int  # independent parts of a frame, for as many threads
    places: int  # of the tiles of `expand`: offsets in x, then in y
    flat: int  # of the tiles of `project`
    buffer: tuple[int, int]  # rows of hidden pixels that a block keeps, and pixels of a row

    @property
    def panels(self) -> int:
        """The pieces that threads share: strips of frames."""
        return self.size[1] * self.strips


def choose_rows(
    blocks: int, hidden: tuple[int, int], size: tuple[int, int], stride: int, strips: int
) -> int:
    """The output rows of a band, so that hidden values stay in the second-level cache."""
    width = hidden[1] + 2
    height = -(-size[0] // strips)

    def fits(rows: int) -> bool:
        kept = 1 if rows >= height else blocks
        pixels = kept * (rows * stride + 2) * width + blocks * rows * size[1]
        return pixels * PIXEL <= _CACHE

    most = max(rows for rows in range(1, height + 1) if rows == 1 or fits(rows))
    return -(-height // -(-height // most))


def buffer_of(hidden: tuple[int, int], width: int, left: int, stride: int, rows: int
              ) -> tuple[int, int]:  # fmt: skip
    """The rows and the pixels of a row of the hidden values of one block.

    Tiles write up to `PIXELS` pixels too many, which lie behind the rows that are read.
    """
    spilled = PIXELS // hidden[1] + 2
    wide = max(left + hidden[1], (width - 1) * stride + 3)
    return (rows - 1) * stride + 3 + spilled, wide


def tiles_of(pixels: int, blocks: int, width: int, row: int, pixel: int) -> NDArray[np.int64]:
    """The offsets of tiles over pixels of some blocks that follow each other in x, but not in y.

    There they are `pixel` bytes apart, and rows of `width` of them `row` bytes.
    """
    count = -(-pixels // PIXELS)
    at = np.arange(count * PIXELS).reshape(count, PIXELS)
    y = at // width * row + at % width * pixel
    return np.ascontiguousarray(np.concatenate([at * blocks * PIXEL, y], axis=1))


class _Memory(NamedTuple):
    """Addresses in the working memory of a thread."""

    x: int  # what a band depends on: pixels of all blocks
    hidden: int  # blocks of pixels
    hidden_block: int  # bytes from block to block; 0 where no band needs what another left
    middle: int  # results of the depthwise convolution: pixels of all blocks
    y: int  # results as bytes: blocks of pixels
    y_block: int
    edge: int
    end: int


@compiled()
def _aligned(place: int) -> int:
    return (place + _LINE - 1) // _LINE * _LINE


@compiled()
def _divided(layer: IntegerInverted, start: int) -> _Memory:
    """Where everything lies in working memory that begins at an address."""
    kept, wide = layer.buffer
    whole = layer.rows >= (layer.size[2] + layer.strips - 1) // layer.strips
    outputs = (layer.size[0] + CHANNELS - 1) // CHANNELS
    read = min(kept, layer.hidden[0]) * layer.hidden[1] + CHANNELS + PIXELS
    made = layer.rows * layer.size[3] + CHANNELS + PIXELS
    block = kept * wide * PIXEL
    hidden = _aligned(start + read * layer.input_blocks * PIXEL)
    middle = _aligned(hidden + block * (1 if whole else layer.blocks))
    y = _aligned(middle + made * layer.blocks * PIXEL)
    edge = y + made * outputs * CHANNELS
    return _Memory(
        start, hidden, 0 if whole else block, middle, y, made * CHANNELS, edge,
        edge + CHANNELS * CHANNELS,
    )  # fmt: skip


@compiled()
def _gather(layer: IntegerInverted, t: int, start: int, stop: int, x: int) -> None:
    """Make blocks of what hidden rows ``start .. stop - 1`` of a frame depend on."""
    width, blocks = layer.hidden[1], layer.input_blocks
    pixel = blocks * PIXEL
    for block in range(blocks):
        places = layer.inputs + 8 * CHANNELS * (t * blocks + block)
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
def _expand(layer: IntegerInverted, block: int, x: int, rows: int, y: int) -> None:
    """Expand some hidden rows of one block to an address."""
    own, weights = layer.expand, layer.expand.weights + block * layer.expand.block
    bias, factor = own.bias + block * 4 * CHANNELS, own.factor + block * 4 * CHANNELS
    tiles = (rows * layer.hidden[1] + PIXELS - 1) // PIXELS
    if own.zero == own.low == 0:
        rectified_products(x, own.steps, weights, bias, factor, y, layer.places, tiles, own.zero,
                           own.low, own.high)  # fmt: skip
    else:
        products(x, own.steps, weights, bias, factor, y, layer.places, tiles, own.zero, own.low,
                 own.high)  # fmt: skip


@compiled()
def _middle(layer: IntegerInverted, block: int, hidden: int, rows: int, y: int) -> None:
    """The depthwise convolution of one block: some rows from the hidden ones at an address."""
    own, width = layer.taps, layer.size[3]
    row_bytes, pixel = layer.buffer[1] * PIXEL, layer.blocks * PIXEL
    weights = own.weights + block * own.block
    bias, factor = own.bias + block * 4 * CHANNELS, own.factor + block * 4 * CHANNELS
    turns = (width + OUTPUTS - 1) // OUTPUTS
    for row in range(rows):
        x = hidden + row * layer.stride * row_bytes
        if own.zero == own.low == 0:
            if layer.stride == 1:
                rectified_taps_near(x, row_bytes, weights, bias, factor, y, pixel, turns, own.zero,
                                    own.low, own.high)  # fmt: skip
            else:
                rectified_taps_apart(x, row_bytes, weights, bias, factor, y, pixel, turns,
                                     own.zero, own.low, own.high)  # fmt: skip
        elif layer.stride == 1:
            taps_near(x, row_bytes, weights, bias, factor, y, pixel, turns, own.zero, own.low,
                      own.high)  # fmt: skip
        else:
            taps_apart(x, row_bytes, weights, bias, factor, y, pixel, turns, own.zero, own.low,
                       own.high)  # fmt: skip
        y += width * pixel


@compiled()
def _project(layer: IntegerInverted, memory: _Memory, rows: int) -> None:
    """Project the pixels of a band to blocks of bytes."""
    own = layer.project
    tiles = (rows * layer.size[3] + PIXELS - 1) // PIXELS
    for block in range((layer.size[0] + CHANNELS - 1) // CHANNELS):
        weights, y = own.weights + block * own.block, memory.y + block * memory.y_block
        bias, factor = own.bias + block * 4 * CHANNELS, own.factor + block * 4 * CHANNELS
        if layer.size[0] - block * CHANNELS > HALF:
            products_to_bytes(memory.middle, own.steps, weights, bias, factor, y, layer.flat, tiles,
                              own.zero, own.low, own.high)  # fmt: skip
        else:
            half_products_to_bytes(memory.middle, own.steps, weights, bias, factor, y, layer.flat,
                                   tiles, own.zero, own.low, own.high)  # fmt: skip


@compiled()
def _planes(layer: IntegerInverted, memory: _Memory, t: int, row: int, rows: int) -> None:
    """Write the rows of a band from blocks of bytes to planes."""
    channels, frames, height, width = layer.size
    pixels, plane = rows * width, frames * height * width
    for channel in range(0, channels, CHANNELS):
        count = min(CHANNELS, channels - channel)
        at = t * height * width + row * width
        y = layer.y + channel * plane + at
        other = layer.sum.place + channel * layer.sum.row + at
        block = memory.y + channel // CHANNELS * memory.y_block
        for start in range(0, pixels, CHANNELS):
            first = max(0, min(start, pixels - CHANNELS))  # the last ones once more
            place, to, to_row = block + first * CHANNELS, y + first, plane
            if pixels < CHANNELS:
                to, to_row = memory.edge, CHANNELS
            if layer.adds:
                how = layer.sum
                scatter_sum(
                    place, to, to_row, count, other + first, how.row, how.x_zero, how.x_factor,
                    how.other_zero, how.other_factor, how.flip, how.zero, how.low, how.high,
                )  # fmt: skip
            else:
                scatter(place, to, to_row, count, layer.y_flip)
            if pixels < CHANNELS:
                for i in range(count * pixels):
                    channel_of, pixel = i // pixels, i % pixels
                    copy_byte(to + channel_of * CHANNELS + pixel, y + channel_of * plane + pixel)


@compiled()
def _band(layer: IntegerInverted, memory: _Memory, t: int, row: int, rows: int, fresh: bool
          ) -> None:  # fmt: skip
    """Compute some rows of a frame; unless `fresh`, the band before left its last hidden rows."""
    height, stride, wide = layer.hidden[0], layer.stride, layer.buffer[1]
    needed, row_bytes = (rows - 1) * stride + 3, wide * PIXEL
    base = row * stride - layer.sides[0]  # the hidden row that the buffer begins with
    start = max(base + (0 if fresh else 3 - stride), 0)
    stop = min(base + needed, height)
    if start < stop:
        _gather(layer, t, start, stop, memory.x)
    for block in range(layer.blocks):
        hidden = memory.hidden + block * memory.hidden_block
        if start < stop:
            place = hidden + (start - base) * row_bytes + layer.sides[1] * PIXEL
            _expand(layer, block, memory.x, stop - start, place)
        if fresh and start > base:
            fill(hidden, (start - base) * wide, layer.padding)
        if stop < base + needed:
            after = max(stop, start) - base
            fill(hidden + after * row_bytes, (needed - after) * wide, layer.padding)
        _middle(layer, block, hidden, rows, memory.middle + block * PIXEL)
        if memory.hidden_block:  # the rows that the next band begins with
            copy(hidden + rows * stride * row_bytes, hidden, (3 - stride) * wide)
    _project(layer, memory, rows)
    _planes(layer, memory, t, row, rows)


@compiled()
def run_integer_inverted(layer: IntegerInverted, first: int, last: int) -> None:
    """Compute strips ``first .. last - 1`` of a block."""
    room = np.empty(_divided(layer, 0).end + 2 * _LINE, np.uint8)
    memory = _divided(layer, (room.ctypes.data // _LINE + 2) * _LINE)
    pixels = layer.buffer[0] * layer.buffer[1] * (layer.blocks if memory.hidden_block else 1)
    fill(memory.hidden, pixels, layer.padding)  # also what lies beside the hidden rows
    height = layer.size[2]
    for piece in range(first, last):
        t, strip = piece // layer.strips, piece % layer.strips
        begin, end = height * strip // layer.strips, height * (strip + 1) // layer.strips
        for row in range(begin, end, layer.rows):
            _band(layer, memory, t, row, min(layer.rows, end - row), row == begin)
    room[0] = 0  # it must not be freed before; this byte is nobody's
