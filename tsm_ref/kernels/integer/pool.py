"""The largest quantised value of every window: rows first, then columns, `CHUNK` at a time."""

from typing import Any

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from tsm_ref.kernels.cache import compiled
from tsm_ref.kernels.integer.pack import CHUNK, read_bytes
from tsm_ref.kernels.integer.tile import splat
from tsm_ref.kernels.vector import BYTE, Emitter, Value, address, count, generated

Array = NDArray[Any]

_BYTES = ir.VectorType(BYTE, CHUNK)
_LEAST = ir.Constant(_BYTES, [0] * CHUNK)


def _larger(emit: Emitter, a: Value, b: Value) -> Value:
    return emit.builder.select(emit.builder.icmp_unsigned(">", a, b), a, b)


def _store(emit: Emitter, value: Value, y: Value) -> None:
    emit.builder.store(value, emit.pointer(emit.bytes_at(y), 0, _BYTES), align=1)


@generated(address, count, count, address, count)
def _highest(emit: Emitter, x: Value, row_bytes: Value, rows: Value, y: Value, flip: Value) -> None:
    """The largest of some rows, as numbers without a sign."""
    flips = splat(emit, flip, _BYTES)
    with emit.loop(rows, x, _LEAST) as row:
        place, best = row.state
        values = emit.builder.xor(read_bytes(emit, place, 1), flips)
        row.next = [emit.add(place, row_bytes), _larger(emit, best, values)]
    _store(emit, row.next[1], y)


def _across(stride: int) -> Any:
    def write(emit: Emitter, x: Value, columns: Value, y: Value, flip: Value) -> None:
        """The largest of some columns, with their sign again."""
        with emit.loop(columns, _LEAST) as column:
            values = read_bytes(emit, emit.add(x, column.index), stride)
            column.next = [_larger(emit, column.state[0], values)]
        _store(emit, emit.builder.xor(column.next[0], splat(emit, flip, _BYTES)), y)

    return generated(address, count, address, count)(write)


_near, _apart = _across(1), _across(2)


@compiled()
def max_pool(
    x: Array, y: Array, kernel: tuple[int, int], strides: tuple[int, int], pads: tuple[int, int],
    flip: int, first: int, last: int,
) -> None:  # fmt: skip
    """The largest value of every window of planes (n, H, W) of bytes; the padding has none.

    Windows are 1 or 2 columns apart; `flip` is 128 for signed bytes. Behind a narrow plane a chunk
    may be read, and is not used.
    """
    height, width = x.shape[1:]
    # No byte is less than 0 without a sign: what is never written is the padding.
    rows = np.zeros(width + 2 * kernel[1] + 6 * CHUNK, np.uint8)
    results = np.empty(y.shape[2] + CHUNK, np.uint8)
    start, out = rows.ctypes.data, results.ctypes.data
    for n in range(first, last):
        for row in range(y.shape[1]):
            top = row * strides[0] - pads[0]
            low, high = max(top, 0), min(top + kernel[0], height)
            source = x[n, low].ctypes.data
            for chunk in range(0, width, CHUNK):
                column = max(min(chunk, width - CHUNK), 0)
                place = start + pads[1] + column
                _highest(source + column, width, high - low, place, flip)
            rows[pads[1] + width : pads[1] + CHUNK] = 0
            for column in range(0, y.shape[2], CHUNK):
                if strides[1] == 1:
                    _near(start + column, kernel[1], out + column, flip)
                else:
                    _apart(start + 2 * column, kernel[1], out + column, flip)
            y[n, row] = results[: y.shape[2]]
