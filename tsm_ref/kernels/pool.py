"""Spatial pooling on the blocked layout: the largest or the mean of every window of pixels."""

from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.kernels.blocked import PIXEL, Layout
from tsm_ref.kernels.cache import compiled
from tsm_ref.kernels.plans import Plan, planned
from tsm_ref.kernels.vector import Emitter, Value, address, count, generated, real

MAXIMUM, MEAN, MEAN_WITH_PADDING = 0, 1, 2

POOL = np.dtype(
    [
        ("kind", np.int64),  # MAXIMUM, MEAN of the values inside, or MEAN_WITH_PADDING
        ("x", np.int64),  # addresses of pixel (0, 0) of the first plane
        ("y", np.int64),
        ("planes", np.int64),  # frames times blocks of channels
        ("blocks", np.int64),
        ("x_slots", np.int64),  # frames that there is memory for
        ("y_slots", np.int64),
        ("x_frame", np.int64),  # strides in bytes
        ("x_block", np.int64),
        ("x_row", np.int64),
        ("y_frame", np.int64),
        ("y_block", np.int64),
        ("y_row", np.int64),
        ("height", np.int64),  # of the input
        ("width", np.int64),
        ("y_height", np.int64),
        ("y_width", np.int64),
        ("kernel_height", np.int64),
        ("kernel_width", np.int64),
        ("stride_height", np.int64),
        ("stride_width", np.int64),
        ("pad_top", np.int64),
        ("pad_left", np.int64),
        ("pad_bottom", np.int64),
        ("pad_right", np.int64),
    ],
    align=True,
)
"""A planned pooling, for `run_pool`. A global average is a mean with one window."""


def plan_pool(
    x: Layout,
    y: Layout,
    kind: int,
    kernel: tuple[int, int],
    strides: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] = (0, 0, 0, 0),
    /,
    **addresses: Any,
) -> Plan:
    """Plan a pooling; `pads` are top, left, bottom, right; `addresses` those of `x` and `y`."""
    names = ("pad_top", "pad_left", "pad_bottom", "pad_right")
    plan = planned(
        POOL,
        **addresses,
        **dict(zip(names, pads, strict=True)),
        kind=kind,
        planes=y.frames * y.blocks,
        blocks=y.blocks,
        **x.steps("x"),
        **y.steps("y"),
        height=x.height,
        width=x.width,
        y_height=y.height,
        y_width=y.width,
        kernel_height=kernel[0],
        kernel_width=kernel[1],
        stride_height=strides[0],
        stride_width=strides[1],
    )
    plan.record["x"] += x.at()
    plan.record["y"] += y.at()
    return plan


def _write_window(emit: Emitter, x: Value, row: Value, rows: Value, columns: Value, y: Value,
                  scale: Value, largest: bool) -> None:  # fmt: skip
    """Write the reduction of a window of at least one pixel."""
    for part in range(0, PIXEL, emit.bytes):
        start = emit.constant(float("-inf") if largest else 0.0)
        with emit.loop(rows, emit.bytes_at(x), start) as over_rows:
            line, result = over_rows.state
            with emit.loop(columns, result) as over_columns:
                value = emit.load(line, emit.add(emit.times(over_columns.index, PIXEL), part))
                combine = emit.largest if largest else emit.plus
                over_columns.next = [combine(over_columns.state[0], value)]
            over_rows.next = [emit.move(line, row), *over_columns.next]
        result = over_rows.next[1]
        if not largest:
            result = emit.product(result, emit.splat(scale))
        emit.store(result, emit.bytes_at(y), part)


@generated(address, count, count, count, address)
def _largest(emit: Emitter, x: Value, row: Value, rows: Value, columns: Value, y: Value) -> None:
    _write_window(emit, x, row, rows, columns, y, None, largest=True)


@generated(address, count, count, count, address, real)
def _mean(
    emit: Emitter, x: Value, row: Value, rows: Value, columns: Value, y: Value, scale: Value
) -> None:
    _write_window(emit, x, row, rows, columns, y, scale, largest=False)


@generated(address, count, address)
def _largest_of_nine(emit: Emitter, x: Value, row: Value, y: Value) -> None:
    """Write the largest value of a 3x3 window, without loops: the window after most stems."""
    lines = [emit.move(emit.bytes_at(x), emit.times(row, i)) for i in range(3)]
    for part in range(0, PIXEL, emit.bytes):
        values = [emit.load(line, i * PIXEL + part) for line in lines for i in range(3)]
        emit.store(reduce(emit.largest, values), emit.bytes_at(y), part)


def run_pool(layers: NDArray[Any], index: int, first: int, last: int) -> None:
    """Compute planes ``first .. last - 1`` of a planned `POOL`: of every frame, every block."""
    layer = layers[index]
    three = layer.kind == MAXIMUM and layer.kernel_height == 3 and layer.kernel_width == 3
    for plane in range(first, last):
        frame, block = plane // layer.blocks, plane % layer.blocks
        x = layer.x + frame % layer.x_slots * layer.x_frame + block * layer.x_block
        y = layer.y + frame % layer.y_slots * layer.y_frame + block * layer.y_block
        for h in range(layer.y_height):
            top = h * layer.stride_height - layer.pad_top
            inside = three and top >= 0 and top + 3 <= layer.height
            for w in range(layer.y_width):
                left = w * layer.stride_width - layer.pad_left
                to = y + h * layer.y_row + w * PIXEL
                if inside and left >= 0 and left + 3 <= layer.width:
                    _largest_of_nine(x + top * layer.x_row + left * PIXEL, layer.x_row, to)
                else:
                    _pool_window(layer, x, to, h, w)


def _pool_window(layer: Any, x: int, y: int, h: int, w: int) -> None:
    top = h * layer.stride_height - layer.pad_top
    left = w * layer.stride_width - layer.pad_left
    bottom, right = top + layer.kernel_height, left + layer.kernel_width
    first_row, first_column = max(top, 0), max(left, 0)
    rows = min(bottom, layer.height) - first_row
    columns = min(right, layer.width) - first_column
    start = x + first_row * layer.x_row + first_column * PIXEL
    if layer.kind == MAXIMUM:
        _largest(start, layer.x_row, rows, columns, y)
    else:
        counted = rows * columns
        if layer.kind == MEAN_WITH_PADDING:
            padded_rows = min(bottom, layer.height + layer.pad_bottom) - top
            counted = padded_rows * (min(right, layer.width + layer.pad_right) - left)
        _mean(start, layer.x_row, rows, columns, y, np.float32(1.0) / np.float32(counted))


_pool_window = compiled()(_pool_window)
run_pool = compiled()(run_pool)
