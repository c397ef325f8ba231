"""3x3 convolutions of whole numbers with fewer multiplications, and without an error.

F(2x2, 3x3) of Lavin and Gray (2016, section 4.1) computes four outputs from sixteen products
instead of thirty-six::

    Y = A^T [ (G g G^T) * (B^T d B) ] A

Its matrices B and A hold -1, 0 and 1, and G holds halves. With 2G instead of G everything is a
whole number, and the result four times the sum: its last two bits are zero, and shifted away. The
transformed numbers need 12 bits where inputs and weights have 9 and 8, so they are products of
`pairs`; `fits` says how many channels may be summed before 32 bits do not hold the result.

This is the float engine's way to save multiplications, but there it costs accuracy; whole numbers
lose nothing, so nobody can tell which way was taken.
"""

import itertools
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from tsm_ref.kernels.cache import compiled
from tsm_ref.kernels.integer_conv import pack_tiles
from tsm_ref.kernels.integer_pack import (
    CHUNK,
    COLUMNS,
    PANEL_SLACK,
    STEP_BYTES,
    centred,
    interleaved,
)
from tsm_ref.kernels.integer_tile import SUM, call_tiles, picked, rounded, splat
from tsm_ref.kernels.integer_units import PAIRS, UNIT
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

ROWS = PAIRS.rows
POINTS = 16
"""Products of a tile."""

_TILES = 8  # of rows, whose sums are transformed while they are in the first cache
_PACKED_BYTES = 1 << 18


class IntegerWinograd(NamedTuple):
    """A layer, ready to run: what `run_integer_winograd` reads."""

    frames: NDArray[np.int64]  # see `integer_pack.pack`
    runs: NDArray[np.int64]
    begins: NDArray[np.int64]
    places: NDArray[np.int64]  # of each run, see `places_of`
    weights: Array  # (points, tiles, steps, rows, 2)
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


def fits(channels: int) -> bool:
    """Whether 32 bits hold the sums over so many channels, whatever inputs and weights are.

    A product is at most (4 x 255) (9 x 128), and four times the sum must be less than
    2^31: 4 x 9 x channels x 255 x 128.

    >>> fits(1024), fits(2048)
    (True, False)
    """
    worth = UNIT.group == 2 or UNIT.bytes
    return worth and channels * max(1020 * 1152, 36 * 255 * 128) < 1 << 31


def transformed(weight: Array) -> Array:
    """The weights (O, C, 3, 3) as sixteen matrices (O, C) of 16 bits, four times too large."""
    g = np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]])
    points = np.einsum("ai,ocij,bj->aboc", g, weight.astype(np.int64), g)
    return np.asarray(points.reshape(POINTS, *weight.shape[:2]), np.int16)


def packed_weights(weight: Array) -> Array:
    """The weights (O, C, 3, 3) as the tiles read them."""
    return np.concatenate([pack_tiles(matrix, 1, PAIRS) for matrix in transformed(weight)])


def places_of(
    runs: NDArray[np.int64], begins: NDArray[np.int64], outputs: tuple[int, int, int]
) -> NDArray[np.int64]:
    """Where the outputs of each run go: (its first, how many, how many rows: 1 or 2)."""
    frames, height, width = outputs
    tiles = (-(-height // 2), -(-width // 2))
    found = []
    for panel, (first, last) in enumerate(itertools.pairwise(begins)):
        columns = [*runs[first:last, 0].tolist()]
        total = frames * tiles[0] * tiles[1]
        ends = [*columns[1:], min(COLUMNS, total - panel * COLUMNS)]
        for column, end in zip(columns, ends, strict=True):
            t, place = divmod(panel * COLUMNS + column, tiles[0] * tiles[1])
            row, tile = divmod(place, tiles[1])
            at = (t * height + 2 * row) * width + 2 * tile
            size = min(2 * (end - column), width - 2 * tile)
            found.append((at, size, min(2, height - 2 * row)))
    return np.array(found, np.int64)


def _write_input(
    emit: Emitter, out: Value, step: Value, flip: Value, zero: Value, row: Value, a: Value, b: Value
) -> None:
    """B^T d B of `CHUNK` tiles beside each other, of two channels, to all points."""
    minus, plus = emit.builder.sub, emit.builder.add

    def across(d: list[Value]) -> list[Value]:
        return [minus(d[0], d[2]), plus(d[1], d[2]), minus(d[2], d[1]), minus(d[1], d[3])]

    both = []
    for place in (a, b):
        rows = []
        for i in range(4):
            base = emit.move(emit.bytes_at(place), emit.times(row, i))
            rows.append(across(_four(emit, base, flip, zero)))
        columns = [across(list(column)) for column in zip(*rows, strict=True)]
        both.append([columns[j][i] for i in range(4) for j in range(4)])
    for point, pair in enumerate(zip(*both, strict=True)):
        value = interleaved(emit, *pair)
        base = emit.move(emit.bytes_at(out), emit.times(step, point))
        emit.builder.store(value, emit.pointer(base, 0, value.type), align=1)


def _four(emit: Emitter, base: Value, flip: Value, zero: Value) -> list[Value]:
    """The columns 2 i, 2 i + 1, 2 i + 2 and 2 i + 3 of one row, for `CHUNK` values of i."""
    kind = ir.VectorType(BYTE, 2 * CHUNK)
    found = []
    for start in (0, 2):
        pair = emit.builder.load(emit.pointer(base, start, kind), align=1)
        for first in (0, 1):
            values = picked(emit, pair, pair, range(first, 2 * CHUNK, 2))
            found.append(centred(emit, values, flip, zero))
    return found


def _write_output(
    emit: Emitter, sums: Value, point: Value, bias: Value, factor: Value, y: Value, zero: Value,
    low: Value, high: Value,
) -> None:  # fmt: skip
    """A^T M A of one row of a tile, finished: 2 rows of ``2 COLUMNS`` bytes."""
    builder = emit.builder
    kind = ir.VectorType(INT32, emit.lanes)
    minus, plus = builder.sub, builder.add
    start = splat(emit, emit.load(emit.bytes_at(bias), 0, INT32), kind)
    scale = emit.splat(emit.load(emit.bytes_at(factor), 0, FLOAT))
    two = ir.Constant(kind, [2] * emit.lanes)

    def along(m: list[Value]) -> list[Value]:
        return [plus(plus(m[0], m[1]), m[2]), minus(minus(m[1], m[2]), m[3])]

    for v in range(PAIRS.vectors):
        m = []
        for p in range(POINTS):
            base = emit.move(emit.bytes_at(sums), emit.times(point, p))
            m.append(builder.load(emit.pointer(base, v * emit.bytes, kind), align=4))
        rows = [along(m[4 * i : 4 * i + 4]) for i in range(4)]
        columns = [along(list(column)) for column in zip(*rows, strict=True)]
        for i in range(2):
            halves = []
            for j in range(2):
                total = plus(builder.ashr(columns[j][i], two), start)
                value = emit.product(builder.sitofp(total, emit.vector), scale)
                halves.append(rounded(emit, [value], zero, low, high))
            pair = interleaved(emit, *halves)
            where = emit.pointer(emit.bytes_at(y), 2 * (i * COLUMNS + v * emit.lanes), pair.type)
            builder.store(pair, where, align=1)


_input = generated(address, *[count] * 4, address, address)(_write_input)
_output = generated(address, count, address, address, address, count, real, real)(_write_output)


@compiled()
def _transform(layer: IntegerWinograd, panel: int, out: int, point: int) -> None:
    """Write the transformed inputs of a panel: [point][step][column][2]."""
    channels = len(layer.frames) - 1
    for step in range(layer.weights.shape[2]):
        for run in range(layer.begins[panel], layer.begins[panel + 1]):
            time, offset = layer.runs[run, 1], layer.runs[run, 2]
            first = layer.frames[2 * step, time] + offset
            second = layer.frames[min(2 * step + 1, channels), time] + offset
            place = out + step * STEP_BYTES + 4 * layer.runs[run, 0]
            _input(place, point, layer.flip, layer.input_zero, layer.row_bytes, first, second)


@compiled()
def _finish(
    layer: IntegerWinograd, sums: Array, channel: int, row: int, panel: int, results: Array
) -> None:
    """Transform the sums of one channel, and put them where they belong."""
    point = sums.shape[1] * sums.shape[2] * 4
    _output(
        sums[0, row:].ctypes.data, point, layer.bias[0, channel:].ctypes.data,
        layer.factor[0, channel:].ctypes.data, results.ctypes.data, layer.zero, layer.low,
        layer.high,
    )  # fmt: skip
    for run in range(layer.begins[panel], layer.begins[panel + 1]):
        column = 2 * layer.runs[run, 0]
        at, size = layer.places[run, 0], layer.places[run, 1]
        for i in range(layer.places[run, 2]):
            for j in range(size):
                layer.y[channel, at + i * layer.width + j] = results[i, column + j]


@compiled()
def run_integer_winograd(layer: IntegerWinograd, first: int, last: int) -> None:
    """Compute panels ``first .. last - 1`` of a layer."""
    _, tiles, steps = layer.weights.shape[:3]
    point = steps * STEP_BYTES + PANEL_SLACK  # what is written too much is nobody's
    panel_bytes = POINTS * point
    block = max(1, min(last - first, _PACKED_BYTES // panel_bytes))
    packed = np.empty(block * panel_bytes, np.uint8)
    sums = np.empty((POINTS, _TILES * ROWS, COLUMNS), np.int32)
    results = np.empty((2, 2 * COLUMNS), np.uint8)
    for begin in range(first, last, block):
        end = min(begin + block, last)
        for panel in range(begin, end):
            _transform(layer, panel, packed.ctypes.data + (panel - begin) * panel_bytes, point)
        for tile in range(0, tiles, _TILES):
            n = min(_TILES, tiles - tile)
            channel = tile * ROWS
            for panel in range(begin, end):
                x = packed.ctypes.data + (panel - begin) * panel_bytes
                for p in range(POINTS):
                    call_tiles(
                        layer.code, x + p * point, layer.weights[p, tile:].ctypes.data, steps, n,
                        0, 0, sums[p].ctypes.data, COLUMNS * 4, SUM, 0, layer.low, layer.high,
                    )  # fmt: skip
                for row in range(min(n * ROWS, len(layer.y) - channel)):
                    _finish(layer, sums, channel + row, row, panel, results)
