"""The matrix micro-kernel: tiles of a convolution held in registers, written as LLVM code.

A tile is `pixels x panel` numbers, each the sum over every input value it depends on::

    y[pixel, channel] = start + sum over segments, over k in the segment, of
                        x[pixel base + segment offset + k] * w[k, channel]

One step `k` broadcasts one input value of each pixel and multiplies it with the `panel` weights
of that step, so nothing is packed at run time: inputs are read where they lie. Two tables say
where that is.

*Segments*: (byte offset, number of consecutive floats). They can say: all channels of this pixel
(1x1 convolution), the nine neighbours (3x3), seven rows of an image (stem), the same pixel of an
earlier or later frame (temporal shift).

*Groups*: one row per tile, `GROUP_FIELDS`. The pixels of a tile come in one or two runs, each
equally spaced from its own base, so that 14 pixels of a flat array, two rows of 7, or the last
row of one frame and the first of the next are the same code.

Every output is one chain of fused multiply-adds in the order of the segments: its bits do not
depend on the tile it was computed in.
"""

from functools import cache
from typing import Any, NamedTuple

from numba import types

from tsm_ref.kernels.cache import machine_code
from tsm_ref.kernels.machine import BLOCK, HOST, Machine
from tsm_ref.kernels.vector import (
    FLOAT,
    FLOAT_BYTES,
    INT,
    PIXEL,
    Emitter,
    Value,
    address,
    calls,
    count,
    generated,
    real,
)

GROUP_FIELDS = ("shape", "x0", "x1", "y0", "y1", "r0", "r1", "segment")
"""A row of the group table: index into `TILES`, byte offsets of both runs in the input, the output
and the residual, and the index of the tile's first segment."""

_GROUP_BYTES = 8 * len(GROUP_FIELDS)
_SEGMENT_BYTES = 16
_PREFETCH = 4096  # bytes; the weight stream is asked for this far ahead of its use


class Tile(NamedTuple):
    """A shape of tile: pixels in `runs` runs of `length`."""

    runs: int
    length: int

    @property
    def pixels(self) -> int:
        """Pixels of the tile."""
        return self.runs * self.length


def tiles(machine: Machine) -> tuple[Tile, ...]:
    """Return the shapes of tile that a machine has code for, from the most to the fewest pixels.

    Two runs of one pixel suffice for any remainder: a run may name the same pixel twice.
    """
    lengths = [length for length in (4, 2, 1) if length < machine.run]
    longest = [Tile(2, machine.run), Tile(1, machine.run)]
    return tuple(sorted(longest + [Tile(2, n) for n in lengths], key=lambda t: -t.pixels))


TILES = tiles(HOST)


class MatrixArguments(NamedTuple):
    """What a micro-kernel is called with; addresses and offsets in bytes."""

    groups: Any  # address of the first group
    group_count: Any
    x: Any  # input, output and residual: bases of the offsets in the groups; residual 0 is none
    y: Any
    residual: Any
    y_block: Any  # from one block of 16 output channels to the next
    residual_block: Any
    segments: Any  # address of the segment table, advanced to this block of K
    segment_count: Any
    weights: Any  # [k][panel]
    bias: Any  # [panel]
    resume: Any  # nonzero: continue the sums found in the output instead of starting at the bias
    step: Any  # from one pixel of a run to the next, in the input
    low: Any  # limits of the result
    high: Any


_TYPES = MatrixArguments(
    groups=address,
    group_count=count,
    x=address,
    y=address,
    residual=address,
    y_block=count,
    residual_block=count,
    segments=address,
    segment_count=count,
    weights=address,
    bias=address,
    resume=count,
    step=count,
    low=real,
    high=real,
)


def write_matrix(emit: Emitter, vectors: int, arguments: MatrixArguments) -> None:
    """Write the loop over groups, with one body for each shape of tile.

    A panel is `vectors` registers wide.
    """
    table = emit.bytes_at(arguments.groups)
    with emit.loop(arguments.group_count) as over:
        row = emit.move(table, emit.times(over.index, _GROUP_BYTES))
        field = {name: emit.load(row, 8 * i, INT) for i, name in enumerate(GROUP_FIELDS)}
        bodies = [_TileWriter(emit, tile, vectors, arguments, field).write for tile in TILES]
        emit.switch(field["shape"], bodies)


class _TileWriter:
    """Writes one shape of tile: load the start, accumulate over the segments, finish, store."""

    def __init__(
        self,
        emit: Emitter,
        tile: Tile,
        vectors: int,
        arguments: MatrixArguments,
        group: dict[str, Value],
    ) -> None:
        self.emit = emit
        self.tile = tile
        self.vectors = vectors
        self.arguments = arguments
        self.group = group
        pixels = [(run, i) for run in range(tile.runs) for i in range(tile.length)]
        self.pixels = pixels
        self.cells = [(run, i, v) for run, i in pixels for v in range(vectors)]

    def write(self) -> None:
        sums = self._accumulate(self._start())
        sums = self._add_residual(sums)
        low, high = (self.emit.splat(limit) for limit in self.arguments[-2:])
        places = self._places("y", self.arguments.y, self.arguments.y_block)
        for total, (base, offset) in zip(sums, places, strict=True):
            self.emit.store(self.emit.clamp(total, low, high), base, offset)

    def _bases(self, name: str, origin: Value) -> list[Value]:
        start = self.emit.bytes_at(origin)
        return [self.emit.move(start, self.group[f"{name}{run}"]) for run in range(self.tile.runs)]

    def _places(self, name: str, origin: Value, block: Value) -> list[tuple[Value, int]]:
        """Return where each cell of the tile lies: a byte pointer and a constant offset."""
        emit, parts = self.emit, BLOCK // self.emit.lanes
        columns = [
            [emit.move(base, emit.times(block, part)) for part in range(-(-self.vectors // parts))]
            for base in self._bases(name, origin)
        ]
        return [
            (columns[run][v // parts], i * PIXEL + v % parts * emit.bytes)
            for run, i, v in self.cells
        ]

    def _start(self) -> list[Value]:
        emit, arguments = self.emit, self.arguments

        def resumed() -> list[Value]:
            return [
                emit.load(*place) for place in self._places("y", arguments.y, arguments.y_block)
            ]

        def from_bias() -> list[Value]:
            base = emit.bytes_at(arguments.bias)
            bias = [emit.load(base, v * emit.bytes) for v in range(self.vectors)]
            return bias * len(self.pixels)

        return emit.choose(emit.nonzero(arguments.resume), resumed, from_bias)

    def _add_residual(self, sums: list[Value]) -> list[Value]:
        emit, arguments = self.emit, self.arguments

        def added() -> list[Value]:
            places = self._places("r", arguments.residual, arguments.residual_block)
            return [emit.plus(a, emit.load(*place)) for a, place in zip(sums, places, strict=True)]

        return emit.choose(emit.nonzero(arguments.residual), added, lambda: sums)

    def _accumulate(self, start: list[Value]) -> list[Value]:
        emit, arguments = self.emit, self.arguments
        first = emit.times(self.group["segment"], _SEGMENT_BYTES)
        table = emit.move(emit.bytes_at(arguments.segments), first)
        inputs = self._bases("x", arguments.x)
        weights = emit.bytes_at(arguments.weights)
        with emit.loop(arguments.segment_count, weights, *start) as segment:
            row = emit.move(table, emit.times(segment.index, _SEGMENT_BYTES))
            offset, length = (emit.load(row, 8 * i, INT) for i in range(2))
            bases = [emit.move(x, offset) for x in inputs]
            with emit.loop(length, *segment.state) as k:
                k.next = self._multiply_add(bases, k.index, *k.state)
            segment.next = k.next
        return segment.next[1:]

    def _multiply_add(
        self, bases: list[Value], k: Value, weights: Value, *sums: Value
    ) -> list[Value]:
        """Write one step: return the advanced weight pointer and the new sums."""
        emit = self.emit
        factors = [emit.load(weights, v * emit.bytes) for v in range(self.vectors)]
        panel = self.vectors * emit.bytes
        for line in range(0, panel, PIXEL):
            emit.prefetch(weights, _PREFETCH + line)
        inputs = [emit.move(base, emit.times(k, FLOAT_BYTES)) for base in bases]
        # Where pixels follow each other, the next tile begins behind this one: one line each step.
        behind = emit.times(self.arguments.step, self.tile.length)
        emit.prefetch(emit.move(bases[-1], behind), emit.times(k, PIXEL), level=2)
        updated = []
        for p, (run, i) in enumerate(self.pixels):
            value = emit.splat(emit.load(inputs[run], emit.times(self.arguments.step, i), FLOAT))
            for v, factor in enumerate(factors):
                updated.append(emit.fma(value, factor, sums[p * self.vectors + v]))
        return [emit.move(weights, emit.integer(panel)), *updated]


def _generate(channels: int) -> Any:
    vectors = channels // HOST.lanes

    def write(emit: Emitter, *arguments: Value) -> None:
        write_matrix(emit, vectors, MatrixArguments(*arguments))

    return generated(*_TYPES)(write)


_panel = _generate(HOST.panel)
_block = _generate(BLOCK)
_SIGNATURE = types.void(*_TYPES)


def matrix_panel(
    groups: int, group_count: int, x: int, y: int, residual: int, y_block: int,
    residual_block: int, segments: int, segment_count: int, weights: int, bias: int,
    resume: int, step: int, low: float, high: float,
) -> None:  # fmt: skip
    """Compute one panel of output channels of some groups; see `MatrixArguments`."""
    _panel(groups, group_count, x, y, residual, y_block, residual_block, segments, segment_count,
           weights, bias, resume, step, low, high)  # fmt: skip


def matrix_block(
    groups: int, group_count: int, x: int, y: int, residual: int, y_block: int,
    residual_block: int, segments: int, segment_count: int, weights: int, bias: int,
    resume: int, step: int, low: float, high: float,
) -> None:  # fmt: skip
    """Compute the last 16 output channels of some groups, where they do not fill a panel."""
    _block(groups, group_count, x, y, residual, y_block, residual_block, segments, segment_count,
           weights, bias, resume, step, low, high)  # fmt: skip


@cache
def codes() -> tuple[int, int]:
    """Return the addresses of the compiled `matrix_panel` and `matrix_block`, for `call_matrix`.

    A compiled function contains the code of all that it calls. Called by address, the largest
    pieces of code are compiled once instead of once in every caller.
    """
    return machine_code(matrix_panel, _SIGNATURE), machine_code(matrix_block, _SIGNATURE)


call_matrix = calls(_SIGNATURE)
"""``call_matrix(code, *arguments)`` runs a micro-kernel at an address."""
