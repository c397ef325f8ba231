"""Between planes and blocks of sixteen channels, and what only moves blocks.

`gather_near` and `gather_apart` make a block from planes, `scatter` writes planes again, and
`scatter_sum` with what lies in other planes added; see `tsm_ref.kernels.integer.blocks`.
"""

from collections.abc import Sequence
from typing import Any

from tsm_ref.kernels.integer.blocks import (
    BYTES,
    CHANNELS,
    GROUP,
    LANES,
    PARTS,
    PIXEL,
    SHORTS,
    SUMS,
    VALUES,
    kernel,
    read,
    store,
)
from tsm_ref.kernels.integer.pack import read_bytes
from tsm_ref.kernels.integer.tile import picked, rounded, splat
from tsm_ref.kernels.vector import INT, Emitter, Value, address, count, real


@kernel(address, count, count)
def fill(emit: Emitter, x: Value, pixels: Value, value: Value) -> None:
    """Set pixels of a block that follow each other, at least one, to one value."""
    x, same = emit.bytes_at(x), splat(emit, value, VALUES)
    with emit.loop(pixels) as turn:
        store(emit, same, x, emit.times(turn.index, PIXEL))


@kernel(address, address, count)
def copy(emit: Emitter, x: Value, y: Value, pixels: Value) -> None:
    """Copy pixels of a block that follow each other, at least one."""
    x, y = emit.bytes_at(x), emit.bytes_at(y)
    with emit.loop(pixels) as turn:
        at = emit.times(turn.index, PIXEL)
        store(emit, read(emit, VALUES, x, at), y, at)


def _transposed(emit: Emitter, rows: Sequence[Value]) -> list[Value]:
    """Sixteen rows of sixteen bytes, turned."""
    found = list(rows)
    for _ in range(4):
        turned: list[Value] = []
        for a, b in zip(found[:8], found[8:], strict=True):
            for half in (0, 8):
                lanes = [side + lane for lane in range(half, half + 8) for side in (0, 16)]
                turned.append(picked(emit, a, b, lanes))
        found = turned
    return found


def _gather(stride: int) -> Any:
    def write(
        emit: Emitter,
        places: Value,
        offset: Value,
        flip: Value,
        y: Value,
        pixel: Value,
        turns: Value,
    ) -> None:
        places = emit.bytes_at(places)
        with emit.loop(turns, offset, emit.bytes_at(y)) as turn:
            at, out = turn.state
            rows = [
                read_bytes(emit, emit.add(emit.load(places, 8 * k, INT), at), stride)
                for k in range(CHANNELS)
            ]
            for i, value in enumerate(_transposed(emit, rows)):
                plain = emit.builder.xor(value, splat(emit, flip, BYTES))
                if GROUP == 2:
                    plain = emit.builder.zext(plain, SHORTS)
                store(emit, plain, out, emit.times(pixel, i))
            turn.next = [emit.add(at, CHANNELS * stride),
                         emit.move(out, emit.times(pixel, CHANNELS))]  # fmt: skip

    return kernel(address, count, count, address, count, count)(write)


gather_near, gather_apart = _gather(1), _gather(2)
"""``gather_near(places, offset, flip, y, pixel, turns)``: one block of `turns` times sixteen
pixels, `pixel` bytes apart in y, from the sixteen addresses at `places` plus an offset; the bytes
of a row are 1 or 2 apart."""


@kernel(address, address, count, count, count)
def scatter(emit: Emitter, x: Value, y: Value, row: Value, rows: Value, flip: Value) -> None:
    """Write sixteen pixels of a block of bytes to the first `rows` planes, `row` bytes apart."""
    y = emit.bytes_at(y)
    for i, value in enumerate(_planes(emit, x)):
        with emit.when(emit.less(emit.integer(i), rows)):
            plain = emit.builder.xor(value, splat(emit, flip, BYTES))
            store(emit, plain, y, emit.times(row, i))


@kernel(
    address, address, count, count, address, count, *[count, real] * 2, count, count, real, real
)
def scatter_sum(
    emit: Emitter, x: Value, y: Value, row: Value, rows: Value, other: Value, other_row: Value,
    x_zero: Value, x_factor: Value, other_zero: Value, other_factor: Value, flip: Value,
    *ends: Value,
) -> None:  # fmt: skip
    """As `scatter`, with what lies in other planes added; see `values.combine`."""
    y, other = emit.bytes_at(y), emit.bytes_at(other)
    left, right = emit.splat(x_factor), emit.splat(other_factor)
    for i, value in enumerate(_planes(emit, x)):
        with emit.when(emit.less(emit.integer(i), rows)):
            more = read(emit, BYTES, other, emit.times(other_row, i))
            more = emit.builder.xor(more, splat(emit, flip, BYTES))
            sums = [
                emit.plus(emit.product(p, left), emit.product(q, right))
                for p, q in zip(
                    _reals(emit, value, x_zero), _reals(emit, more, other_zero), strict=True
                )
            ]
            store(emit, rounded(emit, sums, *ends), y, emit.times(row, i))


def _planes(emit: Emitter, x: Value) -> list[Value]:
    x = emit.bytes_at(x)
    return _transposed(emit, [read(emit, BYTES, x, i * CHANNELS) for i in range(CHANNELS)])


def _reals(emit: Emitter, values: Value, zero: Value) -> list[Value]:
    """Bytes as vectors of float32, less the zero point."""
    found = []
    for part in range(PARTS):
        own = picked(emit, values, values, range(part * LANES, (part + 1) * LANES))
        wide = emit.builder.zext(own, SUMS)
        found.append(emit.builder.sitofp(emit.builder.sub(wide, splat(emit, zero, SUMS)),
                                         emit.vector))  # fmt: skip
    return found
