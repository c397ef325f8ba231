"""Lays out what the tiles of a quantised layer read: panels of neighbouring outputs.

The outputs of a layer are numbered through time, rows and columns; `COLUMNS` neighbours are a
panel. Of every input that an output depends on (a channel at a tap: *k*), a panel holds the values
of its outputs side by side, groups of k interleaved as `tsm_ref.kernels.integer.tile` reads them.

The outputs of a panel come in *runs*: pieces of one output row, whose inputs are equally spaced in
one input row. A run is written `CHUNK` outputs at a time; what is written too much belongs to
outputs that are written next, or to nobody. So inputs and panels have `SLACK` bytes behind them.

Where an input lies is told by a table of addresses: [frame of outputs][k]. A shift, or padding in
time, is another address; a frame that is not there is a plane that holds the zero point.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from tsm_ref.kernels.cache import compiled
from tsm_ref.kernels.integer.tile import SHORT, picked, splat
from tsm_ref.kernels.integer.units import UNIT
from tsm_ref.kernels.vector import BYTE, INT, Emitter, Value, address, count, generated

CHUNK = 16
"""Outputs of a run that are written at once."""

SLACK = 5 * CHUNK
"""Bytes behind an input that may be read, and are not used."""

COLUMNS, GROUP = UNIT.columns, UNIT.group
STEP_BYTES = 4 * COLUMNS
"""Bytes of one group of k in a panel."""
PANEL_SLACK = 4 * CHUNK
"""Bytes behind a panel that may be written."""

_BYTES = ir.VectorType(BYTE, CHUNK)
_SHORTS = ir.VectorType(SHORT, CHUNK)

Places = NDArray[np.int64]

RUN_FIELDS = ("column", "time", "offset")
"""A row of the table of runs: its first column in the panel, its frame, and the byte of a plane
from which its first output reads its first tap. The frame is that of the outputs where it finds
addresses of inputs, as here; else the first one that is read."""


def read_bytes(emit: Emitter, place: Value, stride: int) -> Value:
    """Return `CHUNK` bytes that are `stride` (1 or 2) apart."""
    if stride == 1:
        return emit.builder.load(emit.pointer(emit.bytes_at(place), 0, _BYTES), align=1)
    twice = ir.VectorType(BYTE, 2 * CHUNK)
    pair = emit.builder.load(emit.pointer(emit.bytes_at(place), 0, twice), align=1)
    return picked(emit, pair, pair, range(0, 2 * CHUNK, 2))


def interleaved(emit: Emitter, a: Value, b: Value) -> Value:
    """Return a0 b0 a1 b1 ... of two vectors."""
    n = a.type.count
    return picked(emit, a, b, [half * n + lane for lane in range(n) for half in range(2)])


def centred(emit: Emitter, values: Value, flip: Value, zero: Value) -> Value:
    """Return bytes as 16-bit numbers, less the zero point."""
    plain = emit.builder.xor(values, splat(emit, flip, values.type))
    wide = emit.builder.zext(plain, ir.VectorType(SHORT, values.type.count))
    return emit.builder.sub(wide, splat(emit, zero, wide.type))


def _chunks(stride: int) -> Any:
    """``f(places, frame, runs, count, out, steps, flip, zero)`` writes a panel.

    It does so group of k after group, as a chunk may reach into the next group; `frame` bytes are
    from the addresses of a frame to those of the next.
    """

    def pairs(emit: Emitter, rows: list[Value], flip: Value, zero: Value) -> Value:
        return interleaved(emit, *(centred(emit, row, flip, zero) for row in rows))

    def quads(emit: Emitter, rows: list[Value], flip: Value, zero: Value) -> Value:
        halves = [interleaved(emit, *rows[i : i + 2]) for i in (0, 2)]
        two = [emit.builder.bitcast(half, _SHORTS) for half in halves]
        four = emit.builder.bitcast(interleaved(emit, *two), ir.VectorType(BYTE, 4 * CHUNK))
        return emit.builder.xor(four, splat(emit, flip, four.type))

    def write(
        emit: Emitter, places: Value, frame: Value, runs: Value, count: Value, out: Value,
        steps: Value, flip: Value, zero: Value,
    ) -> None:  # fmt: skip
        with emit.loop(steps, emit.bytes_at(places), emit.bytes_at(out)) as step:
            at, to = step.state
            with emit.loop(count, emit.bytes_at(runs)) as run:
                (row,) = run.state
                column, time, offset = (emit.load(row, 8 * i, INT) for i in range(3))
                inputs = emit.move(at, emit.builder.mul(time, frame))
                rows = [
                    read_bytes(emit, emit.add(emit.load(inputs, 8 * i, INT), offset), stride)
                    for i in range(GROUP)
                ]
                value = (quads if GROUP == 4 else pairs)(emit, rows, flip, zero)
                where = emit.pointer(to, emit.times(column, 4), value.type)
                emit.builder.store(value, where, align=1)
                run.next = [emit.move(row, emit.integer(8 * len(RUN_FIELDS)))]
            step.next = [emit.move(at, emit.integer(8 * GROUP)),
                         emit.move(to, emit.integer(STEP_BYTES))]  # fmt: skip

    return generated(address, count, address, count, address, count, count, count)(write)


def _store(emit: Emitter, value: Value, out: Value) -> None:
    emit.builder.store(value, emit.pointer(emit.bytes_at(out), 0, value.type), align=1)


_near, _apart = _chunks(1), _chunks(2)


@compiled()
def pack(
    places: Places, runs: NDArray[np.int64], first: int, last: int, stride: int, flip: int,
    zero: int, out: int,
) -> None:  # fmt: skip
    """Write one panel, the outputs of runs ``first .. last - 1``, to the address `out`.

    `places` (frames of outputs, k) are addresses of inputs, k a multiple of `GROUP`; `runs` are
    rows of `RUN_FIELDS`.
    """
    frame, steps = 8 * places.shape[1], places.shape[1] // GROUP
    of, begin = places.ctypes.data, runs[first:].ctypes.data
    if stride == 1:
        _near(of, frame, begin, last - first, out, steps, flip, zero)
    else:
        _apart(of, frame, begin, last - first, out, steps, flip, zero)


@generated(address, address)
def _copy_chunk(emit: Emitter, x: Value, y: Value) -> None:
    _store(emit, read_bytes(emit, x, 1), y)


@generated(address, address)
def copy_byte(emit: Emitter, x: Value, y: Value) -> None:
    """Copy a byte from address to address."""
    _store(emit, emit.load(emit.bytes_at(x), 0, BYTE), y)


@generated(address, count)
def _set_chunk(emit: Emitter, y: Value, value: Value) -> None:
    _store(emit, splat(emit, value, _BYTES), y)


@compiled()
def _fill(start: int, stop: int, value: int) -> None:
    """Set bytes, and up to a chunk behind them."""
    for place in range(start, stop, CHUNK):
        _set_chunk(place, value)


@compiled()
def pad_plane(
    x: int, height: int, width: int, y: int, sides: tuple[int, int, int, int], zero: int
) -> None:
    """Copy a plane from address to address with `zero` around it, and up to a chunk behind it.

    `sides` are the rows above, the columns to the left, the rows below, the columns to the right.
    """
    above, left, below, right = sides
    row_bytes = left + width + right
    place = y + above * row_bytes + left
    _fill(y, place, zero)
    for row in range(height):
        for column in range(0, width, CHUNK):
            _copy_chunk(x + row * width + column, place + column)
        _fill(place + width, place + row_bytes, zero)
        place += row_bytes
    _fill(place - right - left, y + (above + height + below) * row_bytes, zero)


@compiled()
def pad_planes(
    x: int, planes: int, height: int, width: int, y: int, sides: tuple[int, int, int, int],
    zero: int, first: int, last: int,
) -> None:  # fmt: skip
    """Pad planes ``first .. last - 1`` of planes that follow each other."""
    size = (sides[0] + height + sides[2]) * (sides[1] + width + sides[3])
    # What is written behind the last plane of a thread may be another's: that one goes last.
    edge = np.empty(size + CHUNK, np.uint8)
    for plane in range(first, last - 1):
        pad_plane(x + plane * height * width, height, width, y + plane * size, sides, zero)
    if last > first:
        plane = last - 1
        pad_plane(x + plane * height * width, height, width, edge.ctypes.data, sides, zero)
        for i in range(0, size - size % CHUNK, CHUNK):
            _copy_chunk(edge.ctypes.data + i, y + plane * size + i)
        for i in range(size - size % CHUNK, size):
            copy_byte(edge.ctypes.data + i, y + plane * size + i)


def runs_of(
    outputs: tuple[int, int, int], strides: tuple[int, int, int], row_bytes: int, flat: bool,
    columns: int = COLUMNS, item: int = 1,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:  # fmt: skip
    """The runs of all panels over outputs (T, H, W), and where those of each panel begin.

    `row_bytes` are those of a row of an input plane; `flat` says that rows follow each other
    without a gap in input and output, so that a plane is one row. A panel has `columns`, an input
    `item` bytes.

    >>> runs, begins = runs_of((2, 1, COLUMNS // 2), (1, 1, 1), COLUMNS // 2, flat=True)
    >>> begins.tolist()
    [0, 2]
    """
    frames, height, width = outputs
    if flat:
        height, width = 1, height * width
    found: list[tuple[int, int, int]] = []
    begins = [0]
    for t in range(frames):
        for row in range(height):
            column = 0
            while column < width:
                place = (t * height + row) * width + column
                if place % columns == 0 and place:
                    begins.append(len(found))
                inside = place % columns
                offset = row * strides[1] * row_bytes + column * strides[2] * item
                found.append((inside, t * strides[0], offset))
                column += min(CHUNK, columns - inside, width - column)
    return np.array(found, np.int64), np.array([*begins, len(found)], np.int64)
