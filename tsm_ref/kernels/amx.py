"""Products by the tiles of AMX: 16 x 16 sums, of 64 whole numbers or 32 of bfloat16 at a time.

A tile of `integer.tile` or of `bfloat16.tile` is four tiles of sums here, two by two, in the
registers 0 to 3. One chunk of k is a matrix of weights, ``[16 rows][steps][4 bytes]`` in a register
(4 and 5, for two times 16 rows), and one of inputs, ``[steps][16 columns][4 bytes]`` (6 and 7):
just as both are packed. A layer is cut into chunks of the same number of steps, which is the height
of the one and the width of the other, so that hardly anything is filled up with zeros.

Registers have no shape before it is loaded, and that is done for each panel: no thread has to be
prepared. They are released behind it, as the system would have to save them otherwise.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from tsm_ref.kernels.integer.units import Unit
from tsm_ref.kernels.vector import BYTE, FLOAT, INT, Emitter, Value

TILE = 16
"""Rows of a tile of sums, and its columns."""
LINE = 64
"""Bytes of a row of a tile, and of a description of all tiles."""

VOID = ir.VoidType()
POINTER = BYTE.as_pointer()

Dot = Callable[[Value, Value, Value], Value]
"""Adds the products of groups to sums: what the emulation is made of."""


class Products:
    """Writes the products of whole tiles into memory, at `sums`: [rows][columns] of 32 bits.

    `instruction` multiplies two tiles; `dot` stands for it where the unit is ordinary instructions,
    over vectors of `values` and of sums of the LLVM type `kind`.
    """

    def __init__(
        self, emit: Emitter, unit: Unit, instruction: str, dot: Dot, values: Any, kind: Any
    ) -> None:
        self.emit, self.unit, self.dot = emit, unit, dot
        self.instruction, self.values, self.kind = instruction, values, kind
        self.own = bool(unit.needs)  # else: ordinary instructions
        self.row_bytes = 4 * unit.columns
        self.sums = self._memory(unit.rows * self.row_bytes)

    def _memory(self, size: int) -> Value:
        builder = self.emit.builder
        with builder.goto_entry_block():
            place = builder.alloca(ir.ArrayType(BYTE, size))
            place.align = LINE
        return builder.bitcast(place, POINTER)

    def begin(self, steps: Value) -> None:
        """Cut `steps` into chunks (see `Unit.chunks`), and give the registers their shapes."""
        builder, depth = self.emit.builder, self.unit.depth
        more = builder.add(steps, self.emit.integer(depth - 1))
        self.chunks, _ = self.emit.divide(more, depth)
        self.size = builder.udiv(steps, self.chunks)
        if self.own:
            self._configure()

    def _configure(self) -> None:
        """Load the shapes: a line of bytes, each of which is fixed or a multiple of `size`."""
        emit = self.emit
        fixed, multiples = bytearray(LINE), bytearray(LINE)
        fixed[0] = 1  # the palette
        for tile in range(8):
            weights, inputs = tile in (4, 5), tile in (6, 7)
            (multiples if weights else fixed)[16 + 2 * tile] = 4 if weights else 4 * TILE
            (multiples if inputs else fixed)[48 + tile] = 1 if inputs else TILE
        place = self._memory(LINE)
        for i in range(0, LINE, 8):
            word, multiple = (int.from_bytes(v[i : i + 8], "little") for v in (fixed, multiples))
            value = emit.add(emit.times(self.size, multiple), word)
            emit.builder.store(value, emit.pointer(place, i, INT))
        self._call("ldtilecfg", place)

    def write(self, x: Value, weights: Value) -> Value:
        """Write one tile's sums; return where the next one's weights begin."""
        emit, unit = self.emit, self.unit
        x = emit.bytes_at(x)
        self._clear()
        with emit.loop(self.chunks, x, weights) as chunk:
            (self._multiply if self.own else self._emulate)(*chunk.state)
            lengths = (self.row_bytes, 4 * unit.rows)
            chunk.next = [
                emit.move(base, emit.times(self.size, length))
                for base, length in zip(chunk.state, lengths, strict=True)
            ]
        if self.own:
            self._each_sum(lambda tile, place: self._move("tilestored64", tile, place))
        return chunk.next[1]

    def end(self) -> None:
        """Release the registers."""
        if self.own:
            self._call("tilerelease")

    def _clear(self) -> None:
        emit, unit = self.emit, self.unit
        if self.own:
            self._each_sum(lambda tile, _: self._call("tilezero", tile))
            return
        zeros = ir.Constant(self.kind, [0] * unit.lanes)
        with emit.loop(emit.integer(unit.rows * unit.vectors)) as part:
            offset = emit.times(part.index, 4 * unit.lanes)
            emit.builder.store(zeros, emit.pointer(self.sums, offset, zeros.type))

    def _each_sum(self, act: Callable[[int, Value], None]) -> None:
        for tile in range(4):
            row, column = divmod(tile, 2)
            offset = TILE * row * self.row_bytes + LINE * column
            act(tile, self.emit.move(self.sums, self.emit.integer(offset)))

    def _multiply(self, x: Value, weights: Value) -> None:
        emit = self.emit
        width = emit.times(self.size, 4)
        for i in range(2):
            place = emit.move(weights, emit.times(width, TILE * i))
            self._call("tileloadd64", 4 + i, place, width)
        for i in range(2):
            self._move("tileloadd64", 6 + i, emit.move(x, emit.integer(LINE * i)))
        for tile in range(4):
            row, column = divmod(tile, 2)
            self._call(self.instruction, tile, 4 + row, 6 + column)

    def _move(self, name: str, tile: int, place: Value) -> None:
        self._call(name, tile, place, self.emit.integer(self.row_bytes))

    def _call(self, name: str, *arguments: Any) -> None:
        values = [ir.Constant(BYTE, v) if isinstance(v, int) else v for v in arguments]
        kinds = [value.type for value in values]
        self.emit.builder.call(self.emit.function(f"llvm.x86.{name}", VOID, kinds), values)

    def _emulate(self, x: Value, weights: Value) -> None:
        emit, unit, values, kind = self.emit, self.unit, self.values, self.kind
        with emit.loop(emit.integer(unit.rows), self.sums, weights) as row:
            start = [emit.load(row.state[0], 4 * unit.lanes * v, kind) for v in range(unit.vectors)]
            with emit.loop(self.size, x, row.state[1], *start) as step:
                x, w, *sums = step.state
                # Bits that are broadcast, not a number.
                factor = emit.builder.bitcast(emit.splat(emit.load(w, 0, FLOAT)), values)
                columns = [emit.load(x, 4 * unit.lanes * v, values) for v in range(unit.vectors)]
                added = [self.dot(*both, factor) for both in zip(sums, columns, strict=True)]
                x, w = (emit.move(v, emit.integer(n)) for v, n in ((x, self.row_bytes), (w, 4)))
                step.next = [x, w, *added]
            for v, total in enumerate(step.next[2:]):
                where = emit.pointer(row.state[0], 4 * unit.lanes * v, kind)
                emit.builder.store(total, where, align=4)
            behind = emit.move(row.state[0], emit.integer(self.row_bytes))
            row.next = [behind, step.next[1]]
