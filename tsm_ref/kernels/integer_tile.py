"""The tile of a quantised layer: sums of whole numbers held in registers, finished where they lie.

A tile is `rows x columns` outputs: some output channels, and neighbouring places of one panel::

    acc[o, p] = bias[o] + sum over k of weight[o, k] * x[k, p]          (int32, which wraps)

One step takes a *group* of k at once, with the instruction that a processor has for that: it
multiplies lane by lane, and adds the products of a group into one sum of 32 bits.

- ``pairs``: two numbers of 16 bits (``vpmaddwd``; any processor). Inputs are ``x - x_zero_point``.
- ``quads``: four of 8 bits, unsigned inputs with signed weights (``vpdpbusd``: VNNI). Inputs are
  stored with 128 added where they are signed, and the bias knows it.

The code for AVX2 was run on processors; that for AVX-512 and for both forms of VNNI only in an
emulator (`tests/kernels/test_emulated_units.py`): it is exact, how fast it is nobody measured.

None of these saturates: the products of a group fit into its sum, whatever they are. (AVX2's own
product of 8 bits, ``vpmaddubsw``, does saturate, and is no faster than ``pairs``.)

The inputs of a panel are packed as [group of k][column][in the group], the weights of a tile as
[group of k][row][in the group], so that a step loads vectors of the first and broadcasts of the
second. What is done with a sum is `tsm_ref.engine.exact`'s steps 2 and 3.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from llvmlite import binding as llvm
from llvmlite import ir
from numba import types

from tsm_ref.kernels.cache import machine_code
from tsm_ref.kernels.machine import HOST, config
from tsm_ref.kernels.vector import (
    BYTE,
    FLOAT,
    INT32,
    Emitter,
    Value,
    address,
    calls,
    count,
    generated,
    real,
)

SHORT = ir.IntType(16)

WHOLE, REAL, SUM = 0, 1, 2
"""What a tile gives: 8-bit results, real ones (step 2 alone), or the sums themselves."""


@dataclass(frozen=True)
class Unit:
    """What multiplies whole numbers: its instruction, and the tile that its registers can hold."""

    name: str
    lanes: int  # sums of 32 bits per vector
    group: int  # inputs that one step adds into a sum: 2 of 16 bits, or 4 of 8
    rows: int  # output channels of a tile
    vectors: int  # vectors of columns of a tile

    @property
    def columns(self) -> int:
        """Places of a panel."""
        return self.lanes * self.vectors

    @property
    def input_type(self) -> str:
        """The type in which inputs are packed."""
        return "uint8" if self.group == 4 else "int16"

    @property
    def weight_type(self) -> str:
        """The type in which weights are packed."""
        return "int8" if self.group == 4 else "int16"

    @property
    def vnni(self) -> bool:
        """Whether this is the instruction for quads, and not ordinary ones in its place."""
        return self.name.startswith("VNNI")


AVX2 = Unit("pairs (AVX2)", lanes=8, group=2, rows=4, vectors=2)
AVX512 = Unit("pairs (AVX-512)", lanes=16, group=2, rows=8, vectors=2)
VNNI = Unit("VNNI (AVX-512)", lanes=16, group=4, rows=8, vectors=2)
AVX_VNNI = Unit("VNNI (AVX2)", lanes=8, group=4, rows=5, vectors=2)
PORTABLE = Unit("pairs", lanes=4, group=2, rows=4, vectors=4)
PORTABLE_QUADS = Unit("quads", lanes=8, group=4, rows=2, vectors=2)
"""What a unit of quads computes, by ordinary instructions: to test all around it anywhere."""

UNITS = (VNNI, AVX_VNNI, AVX512, AVX2, PORTABLE, PORTABLE_QUADS)


def detect() -> Unit:
    """The best unit of the processor that Numba compiles for.

    The variable ``TSM_REF_INTEGER_UNIT`` asks for another one by its name, for tests.

    >>> detect().group in (2, 4)
    True
    """
    asked = os.environ.get("TSM_REF_INTEGER_UNIT")
    for unit in UNITS:
        if unit.name == asked and unit.lanes == HOST.lanes and not unit.vnni:
            return unit
    features = llvm.get_host_cpu_features()
    if config.CPU_NAME is None and config.CPU_FEATURES is None:
        if HOST.lanes == 16 and features.get("avx512vnni", False):
            return VNNI
        if HOST.lanes == 8 and features.get("avxvnni", False):
            return AVX_VNNI
    return {16: AVX512, 8: AVX2}.get(HOST.lanes, PORTABLE)


UNIT = detect()


class TileArguments(NamedTuple):
    """What a tile is called with; addresses and distances in bytes."""

    x: Any  # packed inputs of the panel
    weights: Any  # packed weights of the first tile
    steps: Any  # groups of k
    tiles: Any  # tiles of rows
    bias: Any  # int32 of each row; 0 stands for none
    factor: Any  # float32 of each row
    y: Any  # where the first row goes
    y_row: Any  # from one row to the next
    form: Any  # of the outputs: `WHOLE`, `REAL` or `SUM`
    zero: Any  # zero point of the outputs
    low: Any  # ends of a result before the zero point is added
    high: Any


_TYPES = TileArguments(
    x=address, weights=address, steps=count, tiles=count, bias=address, factor=address,
    y=address, y_row=count, form=count, zero=count, low=real, high=real,
)  # fmt: skip


class _Writer:
    """Writes the loop over tiles of rows, all over one panel."""

    def __init__(self, emit: Emitter, unit: Unit, arguments: TileArguments) -> None:
        self.emit, self.unit, self.arguments = emit, unit, arguments
        self.sums = ir.VectorType(INT32, unit.lanes)
        element = BYTE if unit.group == 4 else SHORT
        self.values = ir.VectorType(element, unit.lanes * unit.group)

    def write(self) -> None:
        emit, unit, to = self.emit, self.unit, self.arguments
        state = (to.weights, to.bias, to.factor, to.y)
        bases = [emit.bytes_at(value) for value in state]
        with emit.loop(to.tiles, *bases) as tile:
            weights, bias, factor, y = tile.state
            after, sums = self._accumulate(weights, self._start(bias))
            self._finish(sums, factor, y)
            forward = emit.integer(4 * unit.rows)
            rows = emit.times(to.y_row, unit.rows)
            tile.next = [after, emit.move(bias, forward), emit.move(factor, forward),
                         emit.move(y, rows)]  # fmt: skip

    def _start(self, bias: Value) -> list[Value]:
        emit, unit = self.emit, self.unit

        def given() -> list[Value]:
            return [splat(emit, emit.load(bias, 4 * row, INT32), self.sums) for row in
                    range(unit.rows)]  # fmt: skip

        def none() -> list[Value]:
            return [ir.Constant(self.sums, [0] * unit.lanes)] * unit.rows

        rows = emit.choose(emit.nonzero(self.arguments.bias), given, none)
        return [row for row in rows for _ in range(unit.vectors)]

    def _accumulate(self, weights: Value, start: list[Value]) -> tuple[Value, list[Value]]:
        emit, unit = self.emit, self.unit
        x = emit.bytes_at(self.arguments.x)
        width = 4 * unit.lanes
        with emit.loop(self.arguments.steps, x, weights, *start) as k:
            x, w, *sums = k.state
            columns = [emit.load(x, width * v, self.values) for v in range(unit.vectors)]
            updated = []
            for row in range(unit.rows):
                scalar = emit.load(w, 4 * row, INT32)
                factor = emit.builder.bitcast(splat(emit, scalar, self.sums), self.values)
                for v, column in enumerate(columns):
                    updated.append(self._dot(sums[row * unit.vectors + v], column, factor))
            k.next = [emit.move(x, emit.integer(width * unit.vectors)),
                      emit.move(w, emit.integer(4 * unit.rows)), *updated]  # fmt: skip
        return k.next[1], k.next[2:]

    def _dot(self, total: Value, x: Value, w: Value) -> Value:
        """Return `total` plus the products of the groups."""
        builder, lanes = self.emit.builder, self.unit.lanes
        if self.unit.vnni:
            name = {16: "llvm.x86.avx512.vpdpbusd.512", 8: "llvm.x86.avx512.vpdpbusd.256"}[lanes]
            x, w = (builder.bitcast(v, self.sums) for v in (x, w))
            function = self.emit.function(name, self.sums, [self.sums] * 3)
            return builder.call(function, [total, x, w])
        if self.unit.group == 4:
            wide = ir.VectorType(SHORT, 4 * lanes)
            halves = [
                [picked(self.emit, v, v, range(first, 4 * lanes, 2)) for first in range(2)]
                for v in (builder.zext(x, wide), builder.sext(w, wide))
            ]
            for own, factor in zip(*halves, strict=True):
                total = builder.add(total, pair_products(self.emit, own, factor))
            return total
        return builder.add(total, pair_products(self.emit, x, w))

    def _finish(self, sums: list[Value], factor: Value, y: Value) -> None:
        emit, unit, to = self.emit, self.unit, self.arguments
        rows = [emit.move(y, emit.times(to.y_row, row)) for row in range(unit.rows)]
        places = [(row, v) for row in rows for v in range(unit.vectors)]

        def scaled() -> list[Value]:
            scales = [emit.splat(emit.load(factor, 4 * row, FLOAT)) for row in range(unit.rows)]
            return [
                emit.product(emit.builder.sitofp(total, emit.vector), scales[i // unit.vectors])
                for i, total in enumerate(sums)
            ]

        def whole() -> None:
            self._store_whole(scaled(), places)

        def real() -> None:
            for value, (base, v) in zip(scaled(), places, strict=True):
                emit.store(value, base, v * emit.bytes)

        def plain() -> None:
            for value, (base, v) in zip(sums, places, strict=True):
                where = emit.pointer(base, v * emit.bytes, self.sums)
                emit.builder.store(value, where, align=4)

        emit.switch(to.form, [whole, real, plain])

    def _store_whole(self, scaled: list[Value], places: list[tuple[Value, int]]) -> None:
        emit, vectors = self.emit, self.unit.vectors
        for first in range(0, len(scaled), vectors):
            result = rounded(emit, scaled[first : first + vectors], *self.arguments[-3:])
            where = emit.pointer(places[first][0], 0, result.type)
            emit.builder.store(result, where, align=1)


def pair_products(emit: Emitter, x: Value, w: Value) -> Value:
    """Return the sums of neighbouring products of 16-bit numbers, for vectors of `emit.lanes`."""
    builder, lanes = emit.builder, emit.lanes
    kind = ir.VectorType(INT32, lanes)
    known = {16: "llvm.x86.avx512.pmaddw.d.512", 8: "llvm.x86.avx2.pmadd.wd"}
    if lanes in known:
        return builder.call(emit.function(known[lanes], kind, [x.type] * 2), [x, w])
    wide = ir.VectorType(INT32, 2 * lanes)
    product = builder.mul(builder.sext(x, wide), builder.sext(w, wide))
    undefined = ir.Constant(wide, ir.Undefined)
    halves = [
        builder.shuffle_vector(
            product, undefined, ir.Constant(kind, [2 * lane + first for lane in range(lanes)])
        )
        for first in range(2)
    ]
    return builder.add(*halves)


def rounded(emit: Emitter, values: Sequence[Value], zero: Value, low: Value, high: Value) -> Value:
    """Return the results of some vectors as bytes, one after the other.

    They are clamped, rounded (halves to even), and the zero point is added.
    """
    builder, lanes = emit.builder, emit.lanes
    kind = ir.VectorType(INT32, lanes)
    bottom, top, zeros = emit.splat(low), emit.splat(high), splat(emit, zero, kind)
    whole = [
        builder.add(_nearest(emit, emit.clamp(value, bottom, top), kind), zeros) for value in values
    ]
    while len(whole) > 1:
        whole = [
            picked(emit, a, b, range(2 * a.type.count))
            for a, b in zip(whole[::2], whole[1::2], strict=True)
        ]
    return builder.trunc(whole[0], ir.VectorType(BYTE, whole[0].type.count))


def _nearest(emit: Emitter, value: Value, kind: Any) -> Value:
    """Return the nearest whole numbers: by the mode of the processor, which nobody changes."""
    known = {8: "llvm.x86.avx.cvt.ps2dq.256"}
    if emit.lanes in known:
        function = emit.function(known[emit.lanes], kind, [emit.vector])
        return emit.builder.call(function, [value])
    rint = emit.function(f"llvm.rint.v{emit.lanes}f32", emit.vector, [emit.vector])
    return emit.builder.fptosi(emit.builder.call(rint, [value]), kind)


def picked(emit: Emitter, a: Value, b: Value, lanes: Sequence[int]) -> Value:
    """Return some lanes of two vectors, those of the second numbered behind those of the first."""
    kind = ir.VectorType(INT32, len(lanes))
    return emit.builder.shuffle_vector(a, b, ir.Constant(kind, list(lanes)))


def splat(emit: Emitter, scalar: Value, kind: Any) -> Value:
    """Return a vector of one integer, which is cut to the type of its lanes."""
    builder = emit.builder
    if scalar.type != kind.element:
        scalar = builder.trunc(scalar, kind.element)
    undefined = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(INT32, 0))
    lanes = ir.Constant(ir.VectorType(INT32, kind.count), [0] * kind.count)
    return builder.shuffle_vector(first, undefined, lanes)


def write_tiles(emit: Emitter, unit: Unit, arguments: TileArguments) -> None:
    """Write the tiles of a unit."""
    _Writer(Emitter(emit.builder, unit.lanes), unit, arguments).write()


def writer(unit: Unit) -> Any:
    """Return the Numba intrinsic of the tiles of a unit."""

    def write(emit: Emitter, *arguments: Value) -> None:
        write_tiles(emit, unit, TileArguments(*arguments))

    return generated(*_TYPES)(write)


_tiles = writer(UNIT)
_SIGNATURE = types.void(*_TYPES)


def integer_tiles(
    x: int, weights: int, steps: int, tiles: int, bias: int, factor: int, y: int, y_row: int,
    form: int, zero: int, low: float, high: float,
) -> None:  # fmt: skip
    """Compute some tiles of rows over one panel; see `TileArguments`."""
    _tiles(x, weights, steps, tiles, bias, factor, y, y_row, form, zero, low, high)


@cache
def code() -> int:
    """Return the address of the compiled `integer_tiles`, for `call_tiles`."""
    return machine_code(integer_tiles, _SIGNATURE)


call_tiles = calls(_SIGNATURE)
"""``call_tiles(code, *arguments)`` runs the tiles at an address."""
