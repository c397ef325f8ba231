"""Depthwise convolution on the blocked layout: one filter for each channel, 16 at a time.

The sums of neighbouring pixels stay in registers while a row of the filters passes over them. Where
the input rows of an output row lie is a table, so they may be rows of a padded plane or of a ring
of rows. Behind a temporal shift another table says by how much the plane of a frame is elsewhere.
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
    integer_at,
    real,
)

SIZES = (1, 3, 5, 7)
"""Heights and widths of the filters that there are kernels for."""

STRIDES = (1, 2)

DEPTHWISE = np.dtype(
    [
        ("x", np.int64),  # addresses
        ("y", np.int64),
        ("x_block", np.int64),  # bytes between blocks of channels
        ("y_block", np.int64),
        ("blocks", np.int64),  # blocks of channels; of one chunk in a fused block
        ("rows", np.int64),  # address of the table of output rows, see `depthwise_rows`
        ("row_count", np.int64),
        ("moves", np.int64),  # 0, or the address of what is added to x by [frame][block]
        ("frame_rows", np.int64),  # rows of a frame
        ("width", np.int64),  # pixels of an output row
        ("size", np.int64),  # one of `SIZES`
        ("stride", np.int64),  # one of `STRIDES`
        ("weights", np.int64),  # address of what `pack_depthwise` returns
        ("bias", np.int64),
        ("low", np.float32),
        ("high", np.float32),
    ],
    align=True,
)
"""A planned depthwise convolution, for `run_depthwise`."""

_ACROSS = 7  # output pixels whose sums are held in registers together


def pack_depthwise(weights: NDArray[Any]) -> NDArray[np.float32]:
    """Return (C, 1, 1, K, K) as [block][tap][channel], the last block filled up with zeros."""
    channels, taps = len(weights), weights[0].size
    blocks = -(-channels // BLOCK)
    padded = np.zeros((blocks * BLOCK, taps), np.float32)
    padded[:channels] = weights.reshape(channels, taps)
    packed = aligned(blocks * taps * PIXEL).view(np.float32)
    packed[:] = padded.reshape(blocks, BLOCK, taps).transpose(0, 2, 1).ravel()
    return packed


def depthwise_rows(
    x: Layout, y: Layout, stride: int = 1, size: int = 3, pads: tuple[int, int] = (1, 1)
) -> NDArray[np.int64]:
    """Return the rows of every frame of `y`, from an `x` with a border of zeros.

    One of them holds the byte offsets of the first pixels read in `size` input rows, and of the
    first pixel of the output row; `pads` are those above and to the left.

    >>> x = Layout(frames=1, channels=16, height=4, width=4, before=1, after=1)
    >>> depthwise_rows(x, Layout(1, 16, 2, 2), stride=2).tolist()
    [[0, 384, 768, 0], [768, 1152, 1536, 128]]
    """
    frame, row = (i.ravel() for i in np.indices((y.frames, y.height)))
    x_start, y_start = (np.array([z.start(f) for f in range(y.frames)]) for z in (x, y))
    first = x_start[frame] + x.at(y=-pads[0], x=-pads[1]) + row * stride * x.row
    out = y_start[frame] + y.at() + row * y.row
    return np.stack([*(first + i * x.row for i in range(size)), out], axis=1)


def plan_depthwise(
    x: Layout,
    y: Layout,
    weights: NDArray[np.float32],
    bias: NDArray[np.float32],
    size: int = 3,
    stride: int = 1,
    pads: tuple[int, int] = (1, 1),
    planes: NDArray[np.int64] | None = None,
    /,
    **fields: Any,
) -> Plan:
    """Plan a depthwise convolution of an `x` that has a border of zeros as wide as its `pads`.

    ``planes[frame, block]`` are the offsets of the planes that an output frame reads, where they
    are not its own.
    """
    rows = depthwise_rows(x, y, stride, size, pads)
    if planes is not None:
        fields["moves"] = x.moves(planes)
    return planned(
        DEPTHWISE,
        **{"low": -np.inf, "high": np.inf, **fields},
        x_block=x.block,
        y_block=y.block,
        blocks=y.blocks,
        rows=rows,
        row_count=len(rows),
        frame_rows=y.height,
        width=y.width,
        size=size,
        stride=stride,
        weights=weights,
        bias=bias,
    )


def _write_rows(size: int, stride: int) -> Any:
    @generated(address, count, address, address, address, address, count, real, real)
    def rows(
        emit: Emitter, table: Value, row_count: Value, x: Value, y: Value, weights: Value,
        bias: Value, width: Value, low: Value, high: Value,
    ) -> None:  # fmt: skip
        """Write all rows of one block of channels."""
        lower, upper = emit.splat(low), emit.splat(high)
        whole, rest = emit.divide(width, _ACROSS)
        source, target = emit.bytes_at(x), emit.bytes_at(y)
        for part in range(0, PIXEL, emit.bytes):
            start = emit.load(emit.bytes_at(bias), part)
            filters = emit.bytes_at(emit.add(weights, part))
            with emit.loop(row_count) as over:
                row = emit.move(emit.bytes_at(table), emit.times(over.index, 8 * (size + 1)))
                out = emit.move(target, emit.add(emit.load(row, 8 * size, INT), part))
                here = emit.move(source, emit.integer(part))

                def pixels(across: int, at: Value, row: Value = row, out: Value = out,
                           here: Value = here, start: Value = start,
                           filters: Value = filters) -> None:  # fmt: skip
                    sums = _sums(emit, size, stride, here, row, filters, [start] * across, at)
                    for i, total in enumerate(sums):
                        emit.store(emit.clamp(total, lower, upper), emit.move(out, at), i * PIXEL)

                with emit.when(emit.nonzero(whole)), emit.loop(whole) as over_tiles:
                    pixels(_ACROSS, emit.times(over_tiles.index, _ACROSS * PIXEL))
                done = emit.times(whole, _ACROSS * PIXEL)
                with emit.when(emit.nonzero(rest)), emit.loop(rest) as over_pixels:
                    pixels(1, emit.add(done, emit.times(over_pixels.index, PIXEL)))

    return rows


def _sums(
    emit: Emitter, size: int, stride: int, x: Value, row: Value, weights: Value,
    start: Sequence[Value], at: Value,
) -> Sequence[Value]:  # fmt: skip
    """Return the sums of neighbouring pixels over a window, one of its rows after the other."""
    with emit.loop(emit.integer(size), *start) as over:
        offset = emit.load(emit.move(row, emit.times(over.index, 8)), 0, INT)
        line = emit.move(x, emit.add(offset, emit.times(at, stride)))
        taps = emit.move(weights, emit.times(over.index, size * PIXEL))
        factors = [emit.load(taps, u * PIXEL) for u in range(size)]
        sums = list(over.state)
        for column in range((len(sums) - 1) * stride + size):
            value = emit.load(line, column * PIXEL)
            for u, factor in enumerate(factors):
                i, outside = divmod(column - u, stride)
                if not outside and 0 <= i < len(sums):
                    sums[i] = emit.fma(value, factor, sums[i])
        over.next = sums
    return over.next


_rows_1_1, _rows_1_2 = _write_rows(1, 1), _write_rows(1, 2)
_rows_3_1, _rows_3_2 = _write_rows(3, 1), _write_rows(3, 2)
_rows_5_1, _rows_5_2 = _write_rows(5, 1), _write_rows(5, 2)
_rows_7_1, _rows_7_2 = _write_rows(7, 1), _write_rows(7, 2)


def _plane(layer: Any, x: int, y: int, block: int, first: int, last: int) -> None:
    """Compute rows of one block of channels, with the weights of `block`."""
    rows = layer.rows + first * 8 * (layer.size + 1)
    weights = layer.weights + block * layer.size * layer.size * PIXEL
    bias, n, width = layer.bias + block * PIXEL, last - first, layer.width
    low, high = layer.low, layer.high
    if layer.size == 3:
        if layer.stride == 1:
            _rows_3_1(rows, n, x, y, weights, bias, width, low, high)
        else:
            _rows_3_2(rows, n, x, y, weights, bias, width, low, high)
    elif layer.size == 5:
        if layer.stride == 1:
            _rows_5_1(rows, n, x, y, weights, bias, width, low, high)
        else:
            _rows_5_2(rows, n, x, y, weights, bias, width, low, high)
    elif layer.size == 7:
        if layer.stride == 1:
            _rows_7_1(rows, n, x, y, weights, bias, width, low, high)
        else:
            _rows_7_2(rows, n, x, y, weights, bias, width, low, high)
    elif layer.stride == 1:
        _rows_1_1(rows, n, x, y, weights, bias, width, low, high)
    else:
        _rows_1_2(rows, n, x, y, weights, bias, width, low, high)


def depthwise(layer: Any, x: int, y: int, block: int, first: int, last: int) -> None:
    """Compute rows ``first .. last - 1`` of a `DEPTHWISE`, with the weights from `block` on."""
    for i in range(layer.blocks):
        _plane(layer, x + i * layer.x_block, y + i * layer.y_block, block + i, first, last)


def run_depthwise(layers: NDArray[Any], index: int, first: int, last: int) -> None:
    """Compute rows ``first .. last - 1`` of a planned `DEPTHWISE`."""
    layer = layers[index]
    if layer.moves == 0:
        if first < last:
            depthwise(layer, layer.x, layer.y, 0, first, last)
        return
    while first < last:
        frame = first // layer.frame_rows
        end = min(last, (frame + 1) * layer.frame_rows)
        for i in range(layer.blocks):
            move = integer_at(layer.moves + 8 * (frame * layer.blocks + i))
            x = layer.x + i * layer.x_block + move
            _plane(layer, x, layer.y + i * layer.y_block, i, first, end)
        first = end


_plane = compiled()(_plane)
depthwise = compiled()(depthwise)
run_depthwise = compiled()(run_depthwise)
