"""The tile of a quantised layer: sums of whole numbers held in registers, finished where they lie.

A tile is `rows x columns` outputs: some output channels, and neighbouring places of one panel::

    acc[o, p] = bias[o] + sum over k of weight[o, k] * x[k, p]          (int32, which wraps)

One step takes a *group* of k at once, with the instruction that a processor has for that: it
multiplies lane by lane, and adds the products of a group into one sum of 32 bits.

- ``pairs``: two numbers of 16 bits (``vpmaddwd``; any processor). Inputs are ``x - x_zero_point``.
- ``quads``: four of 8 bits, unsigned inputs with signed weights (``vpdpbusd``: VNNI). Inputs are
  stored with 128 added where they are signed, and the bias knows it. ``sdot`` of ARM multiplies
  signed ones: for it 128 is taken from those that are not.
- ``tiles``: up to 16 quads (``tdpbsud``: AMX), see `tsm_ref.kernels.amx`.
- ``bytes``: quads without VNNI, by products that saturate, of weights with which they never do: see
  `tsm_ref.kernels.integer.bytes`.

None of these saturates: the products of a group fit into its sum, whatever they are.

The inputs of a panel are packed as [group of k][column][in the group], the weights of a tile as
[group of k][row][in the group], so that a step loads vectors of the first and broadcasts of the
second. (AMX reads weights of up to 16 steps as one matrix: they lie row by row there.) What is
done with a sum is `tsm_ref.engine.exact`'s steps 2 and 3.
"""

from collections.abc import Sequence
from functools import cache, partial
from typing import Any, NamedTuple

from llvmlite import binding as llvm
from llvmlite import ir
from numba import types

from tsm_ref.kernels.amx import Products
from tsm_ref.kernels.cache import machine_code
from tsm_ref.kernels.integer.bytes import accumulate
from tsm_ref.kernels.integer.units import PAIRS, UNIT, Unit
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

_TOGETHER = 4
"""Rows that are finished together where the sums lie in memory."""


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
        products = None
        if unit.depth > 1:
            how = (partial(dot, emit, unit), self.values, self.sums)
            products = Products(emit, unit, "tdpbsud", *how)
            products.begin(to.steps)
        state = (to.weights, to.bias, to.factor, to.y)
        bases = [emit.bytes_at(value) for value in state]
        with emit.loop(to.tiles, *bases) as tile:
            weights, bias, factor, y = tile.state
            if products is None:
                for row in range(unit.rows):
                    emit.prefetch(y, emit.times(to.y_row, row))
                after, sums = self._accumulate(weights, self._start(bias, unit.rows))
                self._finish(sums, factor, y)
            else:
                after = products.write(to.x, weights)
                self._finish_some(products, bias, factor, y)
            forward = emit.integer(4 * unit.rows)
            rows = emit.times(to.y_row, unit.rows)
            tile.next = [after, emit.move(bias, forward), emit.move(factor, forward),
                         emit.move(y, rows)]  # fmt: skip
        if products is not None:
            products.end()

    def _finish_some(self, products: Products, bias: Value, factor: Value, y: Value) -> None:
        """Add the bias to products that lie in memory, and finish them, some rows at a time."""
        emit, unit = self.emit, self.unit
        forward, sum_bytes = emit.integer(4 * _TOGETHER), 4 * unit.columns * _TOGETHER
        trips = emit.integer(unit.rows // _TOGETHER)
        with emit.loop(trips, products.sums, bias, factor, y) as some:
            source, bias, factor, y = some.state
            sums = [
                emit.builder.add(start, emit.load(source, 4 * unit.lanes * i, self.sums))
                for i, start in enumerate(self._start(bias, _TOGETHER))
            ]
            self._finish(sums, factor, y)
            some.next = [emit.move(source, emit.integer(sum_bytes)), emit.move(bias, forward),
                         emit.move(factor, forward),
                         emit.move(y, emit.times(self.arguments.y_row, _TOGETHER))]  # fmt: skip

    def _start(self, bias: Value, count: int) -> list[Value]:
        emit, unit = self.emit, self.unit

        def given() -> list[Value]:
            return [splat(emit, emit.load(bias, 4 * row, INT32), self.sums) for row in
                    range(count)]  # fmt: skip

        def none() -> list[Value]:
            return [ir.Constant(self.sums, [0] * unit.lanes)] * count

        rows = emit.choose(emit.nonzero(self.arguments.bias), given, none)
        return [row for row in rows for _ in range(unit.vectors)]

    def _accumulate(self, weights: Value, start: list[Value]) -> tuple[Value, list[Value]]:
        emit, unit = self.emit, self.unit
        x = emit.bytes_at(self.arguments.x)
        if unit.bytes:
            return accumulate(emit, unit.rows, unit.vectors, x, weights, start)
        width = 4 * unit.lanes
        with emit.loop(self.arguments.steps, x, weights, *start) as k:
            x, w, *sums = k.state
            columns = [emit.load(x, width * v, self.values) for v in range(unit.vectors)]
            updated = []
            for row, factor in enumerate(self._factors(w)):
                for v, column in enumerate(columns):
                    updated.append(dot(emit, unit, sums[row * unit.vectors + v], column, factor))
            k.next = [emit.move(x, emit.integer(width * unit.vectors)),
                      emit.move(w, emit.integer(4 * unit.rows)), *updated]  # fmt: skip
        return k.next[1], k.next[2:]

    def _factors(self, w: Value) -> list[Value]:
        """The weights of a group of k, each row's in all lanes."""
        emit, rows, four = self.emit, self.unit.rows, ir.VectorType(INT32, 4)
        if self.unit.neon:  # its instruction takes a lane of a register
            some = [emit.load(w, 16 * i, four) for i in range(rows // 4)]
            spread = [picked(emit, some[i // 4], some[i // 4], [i % 4] * 4) for i in range(rows)]
        else:
            spread = [splat(emit, emit.load(w, 4 * i, INT32), self.sums) for i in range(rows)]
        return [emit.builder.bitcast(factor, self.values) for factor in spread]

    def _finish(self, sums: list[Value], factor: Value, y: Value) -> None:
        emit, unit, to = self.emit, self.unit, self.arguments
        count = len(sums) // unit.vectors
        rows = [emit.move(y, emit.times(to.y_row, row)) for row in range(count)]
        places = [(row, v) for row in rows for v in range(unit.vectors)]

        def scaled() -> list[Value]:
            scales = [emit.splat(emit.load(factor, 4 * row, FLOAT)) for row in range(count)]
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


def dot(emit: Emitter, unit: Unit, total: Value, x: Value, w: Value) -> Value:
    """Return sums plus the products of the groups of a unit, for vectors of `unit.lanes`."""
    builder, lanes = emit.builder, unit.lanes
    if unit.vnni:
        sums = ir.VectorType(INT32, lanes)
        name = {16: "llvm.x86.avx512.vpdpbusd.512", 8: "llvm.x86.avx512.vpdpbusd.256"}[lanes]
        x, w = (builder.bitcast(v, sums) for v in (x, w))
        return builder.call(emit.function(name, sums, [sums] * 3), [total, x, w])
    if unit.neon:
        name = "llvm.aarch64.neon.sdot.v4i32.v16i8"
        kinds = [total.type, x.type, w.type]
        return builder.call(emit.function(name, total.type, kinds), [total, x, w])
    if unit.group == 4:
        wide = ir.VectorType(SHORT, 4 * lanes)
        widen = builder.sext if unit.signed else builder.zext
        halves = [
            [picked(emit, v, v, range(first, 4 * lanes, 2)) for first in range(2)]
            for v in (widen(x, wide), builder.sext(w, wide))
        ]
        for own, factor in zip(*halves, strict=True):
            total = builder.add(total, pair_products(emit, own, factor))
        return total
    return builder.add(total, pair_products(emit, x, w))


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

    They are clamped to two whole numbers, rounded (halves to even), and the zero point is added.
    """
    if emit.lanes == 8 and len(values) == 4:
        return _rounded_four(emit, values, zero, low, high)
    whole = rounded_whole(emit, values, zero, low, high)
    while len(whole) > 1:
        whole = [
            picked(emit, a, b, range(2 * a.type.count))
            for a, b in zip(whole[::2], whole[1::2], strict=True)
        ]
    return emit.builder.trunc(whole[0], ir.VectorType(BYTE, whole[0].type.count))


def rounded_whole(
    emit: Emitter, values: Sequence[Value], zero: Value, low: Value, high: Value
) -> list[Value]:
    """Return the results of some vectors as numbers of 32 bits."""
    kind = ir.VectorType(INT32, emit.lanes)
    bottom, top, zeros = emit.splat(low), emit.splat(high), splat(emit, zero, kind)
    clamped = [emit.clamp(value, bottom, top) for value in values]
    return [emit.builder.add(nearest(emit, value, kind), zeros) for value in clamped]


def _rounded_four(
    emit: Emitter, values: Sequence[Value], zero: Value, low: Value, high: Value
) -> Value:
    """Return `rounded` of four vectors by the packing instructions of AVX2.

    These saturate, so whatever is too low may be clamped when it has 16 bits.
    """
    builder, kind = emit.builder, ir.VectorType(INT32, 8)
    shorts, top = ir.VectorType(SHORT, 16), emit.splat(high)
    zeros = splat(emit, zero, shorts)
    least = splat(emit, builder.add(builder.fptosi(low, zero.type), zero), shorts)
    pack = emit.function("llvm.x86.avx2.packssdw", shorts, [kind] * 2)
    add = emit.function("llvm.sadd.sat.v16i16", shorts, [shorts] * 2)
    whole = [nearest(emit, emit.minimum(value, top), kind) for value in values]
    halves = []
    for two in (whole[:2], whole[2:]):
        total = builder.call(add, [builder.call(pack, two), zeros])
        above = builder.select(builder.icmp_signed(">", total, least), total, least)
        halves.append(builder.and_(above, ir.Constant(shorts, [255] * 16)))
    bytes_ = ir.VectorType(BYTE, 32)
    pack = emit.function("llvm.x86.avx2.packuswb", bytes_, [shorts] * 2)
    mixed = builder.bitcast(builder.call(pack, halves), kind)
    return builder.bitcast(picked(emit, mixed, mixed, [0, 4, 1, 5, 2, 6, 3, 7]), bytes_)


def nearest(emit: Emitter, value: Value, kind: Any) -> Value:
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


def _permit(emit: Emitter, features: Sequence[str]) -> None:
    """Let LLVM use what the processor has in this function, though it may not know that.

    It knows hardly any processor of ARM, and what it is told for a function stands for all that it
    knows of the others.
    """
    known = llvm.get_host_cpu_features().flatten()
    every = ",".join([*filter(None, [known]), *(f"+{name}" for name in features)])
    # llvmlite lists the attributes that it lets one add; this one is LLVM's.
    set.add(emit.builder.function.attributes, f'"target-features"="{every}"')


def writer(unit: Unit) -> Any:
    """Return the Numba intrinsic of the tiles of a unit."""

    def write(emit: Emitter, *arguments: Value) -> None:
        if unit.neon:
            _permit(emit, unit.needs)
        write_tiles(emit, unit, TileArguments(*arguments))

    return generated(*_TYPES)(write)


_tiles, _pair_tiles = writer(UNIT), writer(PAIRS)
_SIGNATURE = types.void(*_TYPES)


def integer_tiles(
    x: int, weights: int, steps: int, tiles: int, bias: int, factor: int, y: int, y_row: int,
    form: int, zero: int, low: float, high: float,
) -> None:  # fmt: skip
    """Compute some tiles of rows over one panel; see `TileArguments`."""
    _tiles(x, weights, steps, tiles, bias, factor, y, y_row, form, zero, low, high)


def pair_tiles(
    x: int, weights: int, steps: int, tiles: int, bias: int, factor: int, y: int, y_row: int,
    form: int, zero: int, low: float, high: float,
) -> None:  # fmt: skip
    """The same with the unit `PAIRS`."""
    _pair_tiles(x, weights, steps, tiles, bias, factor, y, y_row, form, zero, low, high)


@cache
def code(unit: Unit = UNIT) -> int:
    """Return the address of the compiled tiles of `UNIT` or `PAIRS`, for `call_tiles`."""
    return machine_code(integer_tiles if unit == UNIT else pair_tiles, _SIGNATURE)


call_tiles = calls(_SIGNATURE)
"""``call_tiles(code, *arguments)`` runs the tiles at an address."""
