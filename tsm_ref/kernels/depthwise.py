"""Depthwise 3x3 convolution on the blocked layout: one filter for each channel, 16 at a time.

The nine weights of a block of channels stay in registers while the kernel passes over rows of
output pixels. Where the three input rows of an output row lie is a table, so they may be rows of
a padded plane or of a ring of rows.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.kernels.blocked import PIXEL, Layout, aligned
from tsm_ref.kernels.cache import compiled
from tsm_ref.kernels.machine import BLOCK
from tsm_ref.kernels.plans import Plan, planned
from tsm_ref.kernels.vector import (
    INT,
    Emitter,
    Value,
    address,
    count,
    generated,
    real,
)

ROW_FIELDS = ("above", "middle", "below", "y")
"""A row of the table of output rows: byte offsets of the first pixels read in three input rows, and
of the first pixel of the output row."""

DEPTHWISE = np.dtype(
    [
        ("x", np.int64),  # addresses
        ("y", np.int64),
        ("x_block", np.int64),  # bytes between blocks of channels
        ("y_block", np.int64),
        ("blocks", np.int64),  # blocks of channels; of one chunk in a fused block
        ("rows", np.int64),  # address of the table of output rows
        ("row_count", np.int64),
        ("width", np.int64),  # pixels of an output row
        ("stride", np.int64),  # 1 or 2
        ("weights", np.int64),  # address of what `pack_depthwise` returns
        ("bias", np.int64),
        ("low", np.float32),
        ("high", np.float32),
    ],
    align=True,
)
"""A planned depthwise 3x3 convolution, for `run_depthwise`."""

_ROW_BYTES = 8 * len(ROW_FIELDS)
_TAPS_BYTES = 9 * PIXEL
_ACROSS = 7  # output pixels whose sums are held in registers together


def pack_depthwise(weights: NDArray[Any]) -> NDArray[np.float32]:
    """Return (C, 1, 1, 3, 3) as [block][tap][channel], the last block filled up with zeros."""
    channels = len(weights)
    blocks = -(-channels // BLOCK)
    padded = np.zeros((blocks * BLOCK, 9), np.float32)
    padded[:channels] = weights.reshape(channels, 9)
    packed = aligned(blocks * _TAPS_BYTES).view(np.float32)
    packed[:] = padded.reshape(blocks, BLOCK, 9).transpose(0, 2, 1).ravel()
    return packed


def depthwise_rows(x: Layout, y: Layout, stride: int = 1) -> NDArray[np.int64]:
    """Return the rows of every frame of `y`, from an `x` with a border of zeros.

    >>> x = Layout(frames=1, channels=16, height=4, width=4, before=1, after=1)
    >>> depthwise_rows(x, Layout(1, 16, 2, 2), stride=2).tolist()
    [[0, 384, 768, 0], [768, 1152, 1536, 128]]
    """
    frame, row = (i.ravel() for i in np.indices((y.frames, y.height)))
    x_start, y_start = (np.array([z.start(f) for f in range(y.frames)]) for z in (x, y))
    first = x_start[frame] + x.at(y=-1, x=-1) + row * stride * x.row
    out = y_start[frame] + y.at() + row * y.row
    return np.stack([first, first + x.row, first + 2 * x.row, out], axis=1)


def plan_depthwise(
    x: Layout,
    y: Layout,
    stride: int,
    weights: NDArray[np.float32],
    bias: NDArray[np.float32],
    /,
    **fields: Any,
) -> Plan:
    """Plan a depthwise convolution with padding 1 of an `x` that has a border of zeros."""
    rows = depthwise_rows(x, y, stride)
    return planned(
        DEPTHWISE,
        **{"low": -np.inf, "high": np.inf, **fields},
        x_block=x.block,
        y_block=y.block,
        blocks=y.blocks,
        rows=rows,
        row_count=len(rows),
        width=y.width,
        stride=stride,
        weights=weights,
        bias=bias,
    )


def _write_rows(stride: int) -> Any:
    @generated(address, count, address, address, address, address, count, real, real)
    def rows(
        emit: Emitter, table: Value, row_count: Value, x: Value, y: Value, weights: Value,
        bias: Value, width: Value, low: Value, high: Value,
    ) -> None:  # fmt: skip
        """Write all rows of one block of channels; its weights stay in registers."""
        lower, upper = emit.splat(low), emit.splat(high)
        whole, rest = emit.divide(width, _ACROSS)
        for part in range(0, PIXEL, emit.bytes):
            start = emit.load(emit.bytes_at(bias), part)
            taps = [emit.load(emit.bytes_at(weights), tap * PIXEL + part) for tap in range(9)]

            def pixels(across: int, inputs: Sequence[Value], out: Value, part: int = part,
                       taps: Sequence[Value] = taps, start: Value = start) -> None:  # fmt: skip
                sums = [start] * across
                for v, line in enumerate(inputs):
                    for column in range((across - 1) * stride + 3):
                        value = emit.load(line, column * PIXEL + part)
                        for u in range(3):
                            i, outside = divmod(column - u, stride)
                            if not outside and 0 <= i < across:
                                sums[i] = emit.fma(value, taps[3 * v + u], sums[i])
                for i, total in enumerate(sums):
                    emit.store(emit.clamp(total, lower, upper), out, i * PIXEL + part)

            with emit.loop(row_count) as over:
                row = emit.move(emit.bytes_at(table), emit.times(over.index, _ROW_BYTES))
                offsets = [emit.load(row, 8 * i, INT) for i in range(4)]
                lines = [emit.move(emit.bytes_at(x), offset) for offset in offsets[:3]]
                out = emit.move(emit.bytes_at(y), offsets[3])
                with emit.when(emit.nonzero(whole)), emit.loop(whole) as over_tiles:
                    i = emit.times(over_tiles.index, _ACROSS * PIXEL)
                    pixels(_ACROSS, _moved(emit, lines, i, stride), emit.move(out, i))
                done = emit.times(whole, _ACROSS * PIXEL)
                with emit.when(emit.nonzero(rest)), emit.loop(rest) as over_pixels:
                    i = emit.add(done, emit.times(over_pixels.index, PIXEL))
                    pixels(1, _moved(emit, lines, i, stride), emit.move(out, i))

    return rows


def _moved(emit: Emitter, lines: Sequence[Value], offset: Value, stride: int) -> list[Value]:
    return [emit.move(line, emit.times(offset, stride)) for line in lines]


_rows_1 = _write_rows(1)
_rows_2 = _write_rows(2)


def depthwise(layer: Any, x: int, y: int, block: int, first: int, last: int) -> None:
    """Compute rows ``first .. last - 1`` of a `DEPTHWISE`, with the weights from `block` on."""
    rows = layer.rows + first * _ROW_BYTES
    for i in range(layer.blocks):
        weights = layer.weights + (block + i) * _TAPS_BYTES
        bias = layer.bias + (block + i) * PIXEL
        x_i, y_i = x + i * layer.x_block, y + i * layer.y_block
        if layer.stride == 1:
            _rows_1(rows, last - first, x_i, y_i, weights, bias, layer.width, layer.low, layer.high)
        else:
            _rows_2(rows, last - first, x_i, y_i, weights, bias, layer.width, layer.low, layer.high)


def run_depthwise(layers: NDArray[Any], index: int, first: int, last: int) -> None:
    """Compute rows ``first .. last - 1`` of a planned `DEPTHWISE`."""
    layer = layers[index]
    if first < last:
        depthwise(layer, layer.x, layer.y, 0, first, last)


depthwise = compiled()(depthwise)
run_depthwise = compiled()(run_depthwise)
