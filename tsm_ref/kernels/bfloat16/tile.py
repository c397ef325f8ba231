"""The tile of a convolution of bfloat16: sums of float32 held in registers, finished there.

::

    y[o, p] = clamp(sum over k of weight[o, k] * x[k, p] + bias[o] + residual[o, p])

A product of two numbers of bfloat16 has at most 16 significant bits, so float32 holds it exactly.
One step takes a pair of k: ``vdpbf16ps`` (AVX512-BF16) adds the product of the second to a sum,
then that of the first, and rounds both times; ``float32`` does just that with ordinary
instructions. `tsm_ref.kernels.amx` takes up to 16 such steps, and sums first and second numbers up
apart. Inputs and weights are packed as `tsm_ref.kernels.integer.tile` packs pairs.
"""

from functools import cache
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types

from tsm_ref.kernels.amx import Products
from tsm_ref.kernels.bfloat16.units import AVX512, UNIT
from tsm_ref.kernels.cache import machine_code
from tsm_ref.kernels.integer.units import Unit
from tsm_ref.kernels.vector import (
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

_TOGETHER = 4
"""Rows that are finished together where the sums lie in memory."""
_SECOND = 0xFFFF0000
"""The bits of the second number of a pair, which are those of a float32."""


class TileArguments(NamedTuple):
    """What a tile is called with; addresses and distances in bytes."""

    x: Any  # packed inputs of the panel
    weights: Any  # packed weights of the first tile
    steps: Any  # pairs of k
    tiles: Any  # tiles of rows
    bias: Any  # float32 of each row
    residual: Any  # added to the first row; its rows lie as those of y. 0 stands for none
    y: Any  # where the first row goes
    y_row: Any  # from one row to the next
    low: Any  # ends of a result
    high: Any


_TYPES = TileArguments(
    x=address, weights=address, steps=count, tiles=count, bias=address, residual=address,
    y=address, y_row=count, low=real, high=real,
)  # fmt: skip


class _Writer:
    """Writes the loop over tiles of rows, all over one panel."""

    def __init__(self, emit: Emitter, unit: Unit, arguments: TileArguments) -> None:
        self.emit, self.unit, self.arguments = emit, unit, arguments
        self.words = ir.VectorType(INT32, unit.lanes)

    def write(self) -> None:
        emit, unit, to = self.emit, self.unit, self.arguments
        products = None
        if unit.depth > 1:
            products = Products(emit, unit, "tdpbf16ps", self._dot, self.words, emit.vector)
            products.begin(to.steps)
        bases = [emit.bytes_at(value) for value in (to.weights, to.bias, to.residual, to.y)]
        with emit.loop(to.tiles, *bases) as tile:
            weights, bias, residual, y = tile.state
            if products is None:
                after, sums = self._accumulate(weights)
                self._finish(sums, bias, residual, y)
            else:
                after = products.write(to.x, weights)
                self._finish_some(products, bias, residual, y)
            tile.next = [after, *self._forward(unit.rows, bias, residual, y)]
        if products is not None:
            products.end()

    def _forward(self, rows: int, bias: Value, residual: Value, y: Value) -> list[Value]:
        emit, far = self.emit, self.emit.times(self.arguments.y_row, rows)
        return [emit.move(bias, emit.integer(4 * rows)), emit.move(residual, far),
                emit.move(y, far)]  # fmt: skip

    def _accumulate(self, weights: Value) -> tuple[Value, list[Value]]:
        emit, unit = self.emit, self.unit
        start = [emit.constant(0)] * (unit.rows * unit.vectors)
        width = 4 * unit.lanes
        x = emit.bytes_at(self.arguments.x)
        with emit.loop(self.arguments.steps, x, weights, *start) as k:
            x, w, *sums = k.state
            columns = [emit.load(x, width * v, self.words) for v in range(unit.vectors)]
            updated = []
            for row in range(unit.rows):
                # Bits that are broadcast, not a number.
                pair = emit.builder.bitcast(emit.splat(emit.load(w, 4 * row, FLOAT)), self.words)
                for v, column in enumerate(columns):
                    updated.append(self._dot(sums[row * unit.vectors + v], column, pair))
            k.next = [emit.move(x, emit.integer(width * unit.vectors)),
                      emit.move(w, emit.integer(4 * unit.rows)), *updated]  # fmt: skip
        return k.next[1], k.next[2:]

    def _dot(self, total: Value, x: Value, w: Value) -> Value:
        """Return `total` plus the products of the pairs."""
        emit, vector = self.emit, self.emit.vector
        if self.unit.name == AVX512.name:
            name = f"llvm.x86.avx512bf16.dpbf16ps.{32 * self.unit.lanes}"
            function = emit.function(name, vector, [vector, self.words, self.words])
            return emit.builder.call(function, [total, x, w])
        for half in (self._seconds, self._firsts):
            total = emit.fma(half(x), half(w), total)
        return total

    def _firsts(self, pairs: Value) -> Value:
        by = ir.Constant(self.words, [16] * self.unit.lanes)
        return self.emit.builder.bitcast(self.emit.builder.shl(pairs, by), self.emit.vector)

    def _seconds(self, pairs: Value) -> Value:
        mask = ir.Constant(self.words, [_SECOND] * self.unit.lanes)
        return self.emit.builder.bitcast(self.emit.builder.and_(pairs, mask), self.emit.vector)

    def _finish_some(self, products: Products, bias: Value, residual: Value, y: Value) -> None:
        """Finish products that lie in memory, some rows at a time."""
        emit, unit = self.emit, self.unit
        size = 4 * unit.columns * _TOGETHER
        trips = emit.integer(unit.rows // _TOGETHER)
        with emit.loop(trips, products.sums, bias, residual, y) as some:
            source, *rest = some.state
            places = range(_TOGETHER * unit.vectors)
            sums = [emit.load(source, emit.bytes * place) for place in places]
            self._finish(sums, *rest)
            behind = emit.move(source, emit.integer(size))
            some.next = [behind, *self._forward(_TOGETHER, *rest)]

    def _finish(self, sums: list[Value], bias: Value, residual: Value, y: Value) -> None:
        emit, unit, to = self.emit, self.unit, self.arguments
        low, high = emit.splat(to.low), emit.splat(to.high)
        rows = range(len(sums) // unit.vectors)
        offsets = [emit.times(to.y_row, row) for row in rows]
        for row in rows:
            own = emit.splat(emit.load(bias, 4 * row, FLOAT))
            for v in range(unit.vectors):
                at = row * unit.vectors + v
                sums[at] = emit.plus(sums[at], own)

        def places(base: Value) -> list[tuple[Value, int]]:
            return [(emit.move(base, far), v * emit.bytes) for far in offsets
                    for v in range(unit.vectors)]  # fmt: skip

        def added() -> list[Value]:
            where = zip(sums, places(residual), strict=True)
            return [emit.plus(total, emit.load(*place)) for total, place in where]

        sums = emit.choose(emit.nonzero(to.residual), added, lambda: sums)
        for total, place in zip(sums, places(y), strict=True):
            emit.store(emit.clamp(total, low, high), *place)


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


def bfloat16_tiles(
    x: int, weights: int, steps: int, tiles: int, bias: int, residual: int, y: int, y_row: int,
    low: float, high: float,
) -> None:  # fmt: skip
    """Compute some tiles of rows over one panel; see `TileArguments`."""
    _tiles(x, weights, steps, tiles, bias, residual, y, y_row, low, high)


@cache
def code() -> int:
    """Return the address of the compiled `bfloat16_tiles`, for `call_bfloat16_tiles`."""
    return machine_code(bfloat16_tiles, _SIGNATURE)


call_bfloat16_tiles = calls(_SIGNATURE)
"""``call_bfloat16_tiles(code, *arguments)`` runs the tiles at an address."""
