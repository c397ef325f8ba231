"""3x3 convolutions of whole numbers with fewer multiplications, and without an error.

F(m x m, 3 x 3) of Lavin and Gray (2016, section 4.1) computes the m^2 outputs of a tile from
(m + 2)^2 products instead of 9 m^2::

    Y = A^T [ (G g G^T) * (B^T d B) ] A

Its matrices B and A are whole; the rows of G are made so here by factors that A takes back, and the
result is a multiple of the sum (`Form.multiples`). Its odd part, 9, is divided away by the inverse
of 9 modulo 2^32, which is exact, and the powers of two are shifted away. The transformed numbers
need up to 16 bits, so they are products of `pairs`; `chosen` says which of the two forms fits a
layer, by the largest sum that its weights allow.

This is the float engine's way to save multiplications, but there it costs accuracy; whole numbers
lose nothing, so nobody can tell which way was taken.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from tsm_ref.kernels.cache import compiled
from tsm_ref.kernels.integer.pack import (
    CHUNK,
    PANEL_SLACK,
    copy_byte,
)
from tsm_ref.kernels.integer.tile import SHORT, SUM, call_tiles, picked, rounded_whole, splat
from tsm_ref.kernels.integer.units import PAIRS, UNIT
from tsm_ref.kernels.integer.winograd_weights import LANES, transform
from tsm_ref.kernels.vector import (
    BYTE,
    FLOAT,
    INT32,
    Emitter,
    Value,
    address,
    count,
    generated,
    real,
)

Array = NDArray[Any]

ROWS, COLUMNS = PAIRS.rows, PAIRS.columns
_STEP_BYTES = 4 * COLUMNS

_SUM_BYTES = 1 << 16  # of the tiles of rows that are transformed together
_PANELS = 8  # for which weights are transformed at once

Vectors = list[Value]


class Form(NamedTuple):
    """How the outputs of a tile are computed: B^T and A^T as functions of vectors."""

    size: int  # outputs of a tile, along height and width: m
    g: tuple[tuple[int, int, int], ...]  # the rows of G, times their factors
    across: Callable[[Any, Vectors], Vectors]  # B^T d
    along: Callable[[Any, Vectors], Vectors]  # A^T m, the factors of G taken back
    multiples: tuple[int, ...]  # of each output, without the 3 where that is a factor
    inverse: int  # of the square of what remains: 1 or 9, modulo 2^32

    @property
    def points(self) -> int:
        """Products of a tile."""
        return (self.size + 2) ** 2

    @property
    def limit(self) -> int:
        """What sums must be smaller than, so that their multiples are known modulo 2^32."""
        return (1 << 31) // max(self.multiples) ** 2

    def tiles(self, height: int, width: int) -> tuple[int, int]:
        """Tiles of a frame."""
        return -(-height // self.size), -(-width // self.size)


def _across_four(builder: Any, d: Vectors) -> Vectors:
    minus, plus = builder.sub, builder.add
    return [minus(d[0], d[2]), plus(d[1], d[2]), minus(d[2], d[1]), minus(d[1], d[3])]


def _along_four(builder: Any, m: Vectors) -> Vectors:
    minus, plus = builder.sub, builder.add
    return [plus(plus(m[0], m[1]), m[2]), minus(minus(m[1], m[2]), m[3])]


def _across_six(builder: Any, d: Vectors) -> Vectors:
    minus, plus = builder.sub, builder.add
    even, odd = minus(d[4], _times(builder, d[2], 4)), minus(d[3], _times(builder, d[1], 4))
    near, far = minus(d[4], d[2]), _times(builder, minus(d[3], d[1]), 2)
    first = plus(_times(builder, minus(d[0], d[2]), 4), near)
    last = plus(_times(builder, minus(d[1], d[3]), 4), minus(d[5], d[3]))
    return [first, plus(even, odd), minus(even, odd), plus(near, far), minus(near, far), last]


def _along_six(builder: Any, m: Vectors) -> Vectors:
    minus, plus = builder.sub, builder.add
    p, q, r, s = plus(m[1], m[2]), minus(m[1], m[2]), plus(m[3], m[4]), minus(m[3], m[4])
    return [
        plus(plus(_times(builder, m[0], 6), _times(builder, p, 4)), r),
        plus(_times(builder, q, 2), s),
        plus(p, r),
        plus(plus(q, _times(builder, s, 2)), _times(builder, m[5], 6)),
    ]


def _times(builder: Any, value: Value, factor: int) -> Value:
    if factor == 6:
        return _times(builder, builder.add(value, _times(builder, value, 2)), 2)
    shift = factor.bit_length() - 1
    return builder.shl(value, ir.Constant(value.type, [shift] * value.type.count))


FOUR = Form(2, ((2, 0, 0), (1, 1, 1), (1, -1, 1), (0, 0, 2)), _across_four, _along_four, (2, 2), 1)
SIX = Form(
    4, ((1, 0, 0), (-1, -1, -1), (-1, 1, -1), (1, 2, 4), (1, -2, 4), (0, 0, 1)),
    _across_six, _along_six, (8, 4, 2, 2), 954437177,
)  # fmt: skip
"""F(2 x 2) and F(4 x 4): four and six numbers in a row of d."""


class IntegerWinograd(NamedTuple):
    """A layer, ready to run: what `run_integer_winograd` reads."""

    frames: NDArray[np.int64]  # see `pack.pack`
    runs: NDArray[np.int64]
    begins: NDArray[np.int64]
    places: NDArray[np.int64]  # of each run, see `places_of`
    size: int  # of the form
    taps: Array  # the weights: (9, tiles, steps, rows, 2)
    bias: NDArray[np.int32]  # (1, rows of all tiles)
    factor: NDArray[np.float32]
    y: NDArray[np.uint8]  # (channels, the outputs of a channel)
    width: int  # of a frame of outputs
    row_bytes: int  # of a padded frame of inputs
    flip: int
    input_zero: int
    zero: int
    low: np.float32
    high: np.float32
    code: int

    @property
    def panels(self) -> int:
        """The pieces that threads share."""
        return len(self.begins) - 1


def chosen(weight: Array, outputs: tuple[int, int, int]) -> Form | None:
    """The form with the fewest products for weights (O, C, 3, 3), if one is worth it.

    `outputs` are (T, H, W). What is left empty of the last panel is multiplied as well.

    >>> chosen(np.ones((16, 16, 3, 3), np.int8), (8, 2, 2)) == SIX
    False
    """
    if UNIT.group == 4 and not UNIT.bytes:
        return None
    largest = 255 * int(np.abs(weight.astype(np.int64)).sum((1, 2, 3)).max())
    best = None
    for form in (FOUR, SIX):
        panels = -(-outputs[0] * math.prod(form.tiles(*outputs[1:])) // COLUMNS)
        cost = form.points * panels
        if largest < form.limit and (best is None or cost < best[0]):
            best = cost, form
    return best and best[1]


def places_of(
    runs: NDArray[np.int64], begins: NDArray[np.int64], outputs: tuple[int, int, int], size: int
) -> NDArray[np.int64]:
    """Where the outputs of each run go: (its first, how many, how many rows: up to `size`)."""
    frames, height, width = outputs
    tiles = (-(-height // size), -(-width // size))
    found = []
    for panel, (first, last) in enumerate(itertools.pairwise(begins)):
        columns = [*runs[first:last, 0].tolist()]
        total = frames * tiles[0] * tiles[1]
        ends = [*columns[1:], min(COLUMNS, total - panel * COLUMNS)]
        for column, end in zip(columns, ends, strict=True):
            t, place = divmod(panel * COLUMNS + column, tiles[0] * tiles[1])
            row, tile = divmod(place, tiles[1])
            at = (t * height + size * row) * width + size * tile
            count = min(size * (end - column), width - size * tile)
            found.append((at, count, min(size, height - size * row)))
    return np.array(found, np.int64)


def _input(form: Form, lanes: int) -> Any:
    """The transform of inputs, as an intrinsic."""

    def write_input(
        emit: Emitter, out: Value, step: Value, flip: Value, zero: Value, row: Value, a: Value,
        b: Value,
    ) -> None:  # fmt: skip
        """B^T d B of `lanes` tiles beside each other, of two channels, to all points."""
        builder, count, both = emit.builder, form.size + 2, []
        for places in [[a], [b]] if lanes == CHUNK else [[a, b]]:
            rows = []
            for i in range(count):
                bases = [emit.move(emit.bytes_at(p), emit.times(row, i)) for p in places]
                rows.append(form.across(builder, _columns(emit, bases, form.size, flip, zero)))
            columns = [form.across(builder, list(column)) for column in zip(*rows, strict=True)]
            both.append([column[i] for i in range(count) for column in columns])
        for point, pair in enumerate(zip(*both, strict=True)):
            order = [half * lanes + lane for lane in range(lanes) for half in range(2)]
            value = picked(emit, pair[0], pair[-1], order)
            base = emit.move(emit.bytes_at(out), emit.times(step, point))
            builder.store(value, emit.pointer(base, 0, value.type), align=1)

    return generated(address, *[count] * 4, address, address)(write_input)


def _output(form: Form) -> Any:
    """The transform of sums, as an intrinsic."""

    def write_output(
        emit: Emitter, sums: Value, point: Value, bias: Value, factor: Value, y: Value, zero: Value,
        low: Value, high: Value,
    ) -> None:  # fmt: skip
        """A^T M A of one row of a tile, finished: `size` rows of ``size COLUMNS`` bytes."""
        builder, size = emit.builder, form.size
        kind = ir.VectorType(INT32, emit.lanes)
        start = splat(emit, emit.load(emit.bytes_at(bias), 0, INT32), kind)
        scale = emit.splat(emit.load(emit.bytes_at(factor), 0, FLOAT))

        def finished(value: Value, multiple: int) -> Value:
            if form.inverse != 1:
                value = builder.mul(value, ir.Constant(kind, [form.inverse] * emit.lanes))
            shift = ir.Constant(kind, [multiple.bit_length() - 1] * emit.lanes)
            total = builder.add(builder.ashr(value, shift), start)
            return emit.product(builder.sitofp(total, emit.vector), scale)

        for v in range(PAIRS.vectors):
            m = []
            for p in range(form.points):
                base = emit.move(emit.bytes_at(sums), emit.times(point, p))
                m.append(builder.load(emit.pointer(base, v * emit.bytes, kind), align=4))
            rows = [
                form.along(builder, m[first : first + size + 2])
                for first in range(0, form.points, size + 2)
            ]
            columns = [form.along(builder, list(column)) for column in zip(*rows, strict=True)]
            for i in range(size):
                parts = [
                    finished(columns[j][i], form.multiples[i] * form.multiples[j])
                    for j in range(size)
                ]
                line = _beside(emit, rounded_whole(emit, parts, zero, low, high))
                place = size * (i * COLUMNS + v * emit.lanes)
                where = emit.pointer(emit.bytes_at(y), place, line.type)
                builder.store(line, where, align=1)

    return generated(address, count, address, address, address, count, real, real)(write_output)


def _beside(emit: Emitter, vectors: Sequence[Value]) -> Value:
    """The lowest bytes of vectors of 32 bits: those of all first lanes, of all second ones, ..."""
    builder, kind, size = emit.builder, vectors[0].type, len(vectors)
    total = ir.Constant(kind, [0] * kind.count)
    for place, value in enumerate(vectors):
        byte = builder.and_(value, ir.Constant(kind, [255] * kind.count))
        shift = ir.Constant(kind, [8 * place] * kind.count)
        total = builder.or_(total, builder.shl(byte, shift))
    if size < 4:
        total = builder.trunc(total, ir.VectorType(ir.IntType(8 * size), kind.count))
    return builder.bitcast(total, ir.VectorType(BYTE, size * kind.count))


def _columns(emit: Emitter, bases: Sequence[Value], size: int, flip: Value, zero: Value) -> Vectors:
    """The columns ``size i .. size i + size + 1`` of rows, for so many i that they are `CHUNK`."""
    builder, lanes = emit.builder, CHUNK // len(bases)
    whole, wide = ir.IntType(8 * size), ir.VectorType(SHORT, CHUNK)
    flips, zeros = splat(emit, flip, wide), splat(emit, zero, wide)
    kind, found = ir.VectorType(whole, CHUNK), []
    for start in (0, size):
        pieces = [
            builder.load(emit.pointer(base, start, ir.VectorType(whole, lanes)), align=1)
            for base in bases
        ]
        tiles = pieces[0] if lanes == CHUNK else picked(emit, pieces[0], pieces[1], range(CHUNK))
        for column in range(size if start == 0 else 2):
            shift = ir.Constant(kind, [8 * column] * CHUNK)
            byte = builder.and_(builder.lshr(tiles, shift), ir.Constant(kind, [255] * CHUNK))
            value = byte if size == 2 else builder.trunc(byte, wide)
            found.append(builder.sub(builder.xor(value, flips), zeros))
    return found


HALF = CHUNK // 2
_input_four, _half_four, _output_four = _input(FOUR, CHUNK), _input(FOUR, HALF), _output(FOUR)
_input_six, _half_six, _output_six = _input(SIX, CHUNK), _input(SIX, HALF), _output(SIX)
_weights_four, _weights_six = transform(FOUR.g), transform(SIX.g)


@compiled()
def _transform(layer: IntegerWinograd, panel: int, out: int, point: int) -> None:
    """Write the transformed inputs of a panel: [point][step][column][2]."""
    channels = len(layer.frames) - 1
    for step in range(layer.taps.shape[2]):
        for run in range(layer.begins[panel], layer.begins[panel + 1]):
            time, offset = layer.runs[run, 1], layer.runs[run, 2]
            first = layer.frames[2 * step, time] + offset
            second = layer.frames[min(2 * step + 1, channels), time] + offset
            place = out + step * _STEP_BYTES + 4 * layer.runs[run, 0]
            how = (place, point, layer.flip, layer.input_zero, layer.row_bytes, first, second)
            narrow = layer.width <= HALF * layer.size
            if layer.size == 2 and narrow:
                _half_four(*how)
            elif layer.size == 2:
                _input_four(*how)
            elif narrow:
                _half_six(*how)
            else:
                _input_six(*how)


@generated(address, address)
def _copy_four(emit: Emitter, x: Value, y: Value) -> None:
    value = emit.load(emit.bytes_at(x), 0, INT32)
    emit.builder.store(value, emit.pointer(emit.bytes_at(y), 0, INT32), align=1)


@compiled(inline="always")
def _copy(x: int, y: int, size: int) -> None:
    """Copy bytes from address to address, and no more than those."""
    for i in range(0, size - 3, 4):
        _copy_four(x + i, y + i)
    if size >= 4:
        _copy_four(x + size - 4, y + size - 4)
    else:
        for i in range(size):
            copy_byte(x + i, y + i)


@compiled()
def _finish(
    layer: IntegerWinograd, sums: Array, channel: int, row: int, panel: int, results: Array
) -> None:
    """Transform the sums of one channel, and put them where they belong."""
    point = sums.shape[1] * sums.shape[2] * 4
    how = (
        sums[0, row:].ctypes.data, point, layer.bias[0, channel:].ctypes.data,
        layer.factor[0, channel:].ctypes.data, results.ctypes.data, layer.zero, layer.low,
        layer.high,
    )  # fmt: skip
    if layer.size == 2:
        _output_four(*how)
    else:
        _output_six(*how)
    for run in range(layer.begins[panel], layer.begins[panel + 1]):
        column = layer.size * layer.runs[run, 0]
        at, size = layer.places[run, 0], layer.places[run, 1]
        for i in range(layer.places[run, 2]):
            source = results.ctypes.data + i * layer.size * COLUMNS + column
            _copy(
                source,
                layer.y.ctypes.data + channel * layer.y.shape[1] + at + i * layer.width,
                size,
            )


@compiled(inline="always")
def _expand(layer: IntegerWinograd, tile: int, trips: int, out: Array) -> None:
    """Transform the weights of tiles: to (points, their numbers one behind the other)."""
    tap = layer.taps[0].size
    how = (layer.taps[0, tile:].ctypes.data, tap, trips, out.ctypes.data, out.shape[1] * 2)
    if layer.size == 2:
        _weights_four(*how)
    else:
        _weights_six(*how)


@compiled()
def run_integer_winograd(layer: IntegerWinograd, first: int, last: int) -> None:
    """Compute panels ``first .. last - 1`` of a layer."""
    points, tiles, steps = (layer.size + 2) ** 2, layer.taps.shape[1], layer.taps.shape[2]
    point = steps * _STEP_BYTES + PANEL_SLACK  # what is written too much is nobody's
    panel_bytes = points * point
    block = max(1, min(last - first, _PANELS))
    packed = np.empty(block * panel_bytes, np.uint8)
    together = max(1, _SUM_BYTES // (points * ROWS * COLUMNS * 4))
    sums = np.empty((points, together * ROWS, COLUMNS), np.int32)
    results = np.empty((layer.size, layer.size * COLUMNS), np.uint8)
    numbers = steps * ROWS * 2  # of a tile
    weights = np.empty((points, together * numbers + LANES), np.int16)
    for begin in range(first, last, block):
        end = min(begin + block, last)
        for panel in range(begin, end):
            _transform(layer, panel, packed.ctypes.data + (panel - begin) * panel_bytes, point)
        for tile in range(0, tiles, together):
            n = min(together, tiles - tile)
            channel = tile * ROWS
            _expand(layer, tile, -(-n * numbers // LANES), weights)
            for panel in range(begin, end):
                x = packed.ctypes.data + (panel - begin) * panel_bytes
                for p in range(points):
                    call_tiles(
                        layer.code, x + p * point, weights[p].ctypes.data, steps, n,
                        0, 0, sums[p].ctypes.data, COLUMNS * 4, SUM, 0, layer.low, layer.high,
                    )  # fmt: skip
                for row in range(min(n * ROWS, len(layer.y) - channel)):
                    _finish(layer, sums, channel + row, row, panel, results)
