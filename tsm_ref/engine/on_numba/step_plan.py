"""Plans a step graph for the Numba engine: what a ``History`` is in copies, and when each runs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from tsm_ref.engine.on_numba import lowering
from tsm_ref.engine.on_numba.lowering import Layer
from tsm_ref.engine.on_numba.plan import Planner
from tsm_ref.engine.on_numba.weights import PackedWeights
from tsm_ref.engine.stream.state import Place, place_states
from tsm_ref.engine.stream.ticks import ABSENT, FIRST, NORMAL, VIRTUAL, Statuses, Timeline
from tsm_ref.kernels import move
from tsm_ref.kernels.blocked import FLOAT_BYTES, PIXEL
from tsm_ref.kernels.machine import BLOCK
from tsm_ref.kernels.plans import planned
from tsm_ref.kernels.program import COPY_STEP
from tsm_ref.ops_table import Shape
from tsm_ref.passes.streaming import NEVER

__all__ = ["Patch", "Purpose", "StepPlanner", "by_block"]

_LOWEST = np.full(BLOCK, -np.inf, np.float32)

LAYER, FILL, READ, READ_FIRST, HERE, SAVE, SAVE_FIRST = range(7)
"""What a step of the program is for: a layer, or a part of a ``History`` (see `Purpose`)."""


@dataclass(frozen=True)
class Purpose:
    """Decides whether a step runs: what it is for, and the statuses that it depends on."""

    kind: int
    x: int
    y: int
    replicate: bool = False

    def runs(self, now: Statuses) -> bool:
        """Return whether the step runs when the values have these statuses."""
        x, made = now[self.x], now[self.y] in (FIRST, NORMAL)
        first = self.replicate and x == FIRST
        if self.kind in (LAYER, HERE):
            return made
        if self.kind == FILL:
            return bool(x == VIRTUAL)
        if self.kind in (READ, READ_FIRST):
            return made and first == (self.kind == READ_FIRST)
        return bool(x != ABSENT) and first == (self.kind == SAVE_FIRST)


@dataclass(frozen=True)
class _Lanes:
    """Channels ``start .. stop - 1`` of one block, which are read equally late."""

    start: int
    stop: int
    lag: int = 0

    @property
    def block(self) -> int:
        """The block of channels."""
        return self.start // BLOCK

    @property
    def lane(self) -> int:
        """Bytes from the beginning of a pixel."""
        return self.start % BLOCK * FLOAT_BYTES

    @property
    def size(self) -> int:
        """Bytes of the channels in a pixel."""
        return (self.stop - self.start) * FLOAT_BYTES


def by_block(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Cut channels at the blocks."""
    while start < stop:
        end = min(stop, (start // BLOCK + 1) * BLOCK)
        yield start, end
        start = end


@dataclass
class Patch:
    """Which planned copies of one program read or write the state, and where in its block."""

    index: list[int]
    field: list[str]
    place: list[int]
    after: list[bool]  # the bank that is written, instead of the one that is read
    offset: list[int]


class StepPlanner(Planner):
    """Makes the plan of a step graph."""

    def __init__(
        self, weights: PackedWeights, line: Timeline, shapes: Mapping[str, Shape], threads: int
    ) -> None:
        self.line = line
        self.places = place_states(line.step, shapes, np.dtype(np.float32))
        self.purposes: dict[str, Purpose] = {}
        self.patches: dict[int, Patch] = {}
        self._saved: set[tuple[str, str]] = set()
        self._sources = {layer.name: layer for layer in _source_layers(line, shapes)}
        super().__init__(line.step.graph, weights, shapes, threads)
        first = self.graph.inputs[0].name
        self.frames = shapes[first][2]

    def _lower(self) -> list[Layer]:
        """The layers by the kernels that the graph over clips runs them with."""
        layers = super()._lower()
        return [
            replace(layer, kind=own.kind, tile=own.tile)
            if len(layer.nodes) == 1 and (own := self._sources.get(layer.name)) is not None
            and layer.node.op == "FusedConv"
            else layer
            for layer in layers
        ]  # fmt: skip

    def _numpy_step(self, layer: Layer) -> None:
        """Add a step of the NumPy engine, with its name."""
        super()._numpy_step(layer)
        self.stages[-1] = replace(self.stages[-1], names=(layer.name,))

    def purpose(self, name: str) -> Purpose | None:
        """What a step is for, by the name of its owner; None for one that always runs."""
        if name in self.line.index:
            at = self.line.index[name]
            return Purpose(LAYER, at, at)
        return self.purposes.get(name)

    # History

    def _recall(self, layer: Layer) -> None:
        """Add the copies of a ``History``, each with its purpose."""
        node = layer.node
        past, d = node.attrs["past"], node.attrs["d"]
        key = (layer.x, past)
        mine = [
            (i, place)
            for i, place in enumerate(self.places)
            if (place.state.value, place.state.past) == key
        ]
        channels = self.site.layouts[layer.x].channels
        self._layer, self._replicate = layer, past == "replicate"
        if self.frames == 1:
            self._fill(past, mine)
        self._read(_equal_lags(d * channels if len(d) == 1 else d), mine)
        if key not in self._saved:
            self._saved.add(key)
            for place in mine:
                self._save(*place)

    def _read(self, folds: Sequence[_Lanes], mine: Sequence[tuple[int, Place]]) -> None:
        """Copy every frame of every channel to where the next layer reads it."""
        layer = self._layer
        before = layer.node.attrs["before"]
        for frame in range(before + self.frames):
            for lanes in folds:
                source = frame - before - lanes.lag
                target = (self._at(layer.name, frame, lanes), *self._steps(layer.name))
                if lanes.lag == NEVER:
                    self._copy(HERE, (self.site.zeros, 0, 0), target, lanes.size)
                elif source >= 0:
                    x = (self._at(layer.x, source, lanes), *self._steps(layer.x))
                    self._copy(HERE, x, target, lanes.size)
                else:
                    self._read_state(lanes, source, target, mine)

    def _read_state(
        self,
        lanes: _Lanes,
        source: int,
        target: tuple[int, int, int],
        mine: Sequence[tuple[int, Place]],
    ) -> None:
        layer = self._layer
        if self._replicate and self.frames == 1:
            x = (self._at(layer.x, 0, lanes), *self._steps(layer.x))
            self._copy(READ_FIRST, x, target, lanes.size)
        for i, place in mine:
            start, stop = max(lanes.start, place.channels[0]), min(lanes.stop, place.channels[1])
            if start < stop:
                part = _Lanes(start, stop)
                held = self._held(place, place.state.depth + source, part)
                to = (target[0] + part.lane - lanes.lane, *target[1:])
                self._copy(READ, held, to, part.size, place=i)

    def _save(self, i: int, place: Place) -> None:
        """Copy the last frames to the bank that is written, lanes after lanes."""
        x = self._layer.x
        depth = place.state.depth
        for part in (_Lanes(*cut) for cut in by_block(*place.channels)):
            for lag in range(1, depth + 1):
                target = self._held(place, depth - lag, part)
                newest = (self._at(x, 0, part), *self._steps(x))
                if lag <= self.frames:
                    now = (self._at(x, self.frames - lag, part), *self._steps(x))
                    self._copy(SAVE, now, target, part.size, place=i, after=True)
                else:
                    older = self._held(place, depth + self.frames - lag, part)
                    self._copy(SAVE, older, target, part.size, place=i, after=True, both=True)
                if self._replicate and self.frames == 1:
                    self._copy(SAVE_FIRST, newest, target, part.size, place=i, after=True)

    def _fill(self, past: str, mine: Sequence[tuple[int, Place]]) -> None:
        """Put in place of a frame behind the end what its readers get instead."""
        x = self._layer.x
        layout, start = self.site.layouts[x], self.site.blocked(x)
        if past == "lowest":
            self.site.owned.append(_LOWEST)
            rows = (start, PIXEL, 0)
            self._copy(FILL, (_LOWEST.ctypes.data, 0, 0), rows, PIXEL, layout.size // PIXEL, 1)
            return
        for block in range(layout.blocks):
            rows = (start + block * layout.block, layout.row, 0)
            count = layout.block // layout.row
            self._copy(FILL, (self.site.zeros, 0, 0), rows, layout.row, count, 1)
        if past == "replicate":
            for i, place in mine:
                for part in (_Lanes(*cut) for cut in by_block(*place.channels)):
                    held = self._held(place, place.state.depth - 1, part)
                    target = (self._at(x, 0, part), *self._steps(x))
                    self._copy(FILL, held, target, part.size, place=i)

    def _at(self, name: str, frame: int, lanes: _Lanes) -> int:
        """The address of the first pixel of some channels of a frame."""
        layout, block = self.site.layouts[name], lanes.block
        place = layout.at(frame, block) if self._rows(name) else layout.at(0, block, 0, frame)
        return self.site.blocked(name) + place + lanes.lane

    def _rows(self, name: str) -> bool:
        return len(self.shapes[name]) == 5

    def _steps(self, name: str) -> tuple[int, int]:
        """Bytes from row to row and from pixel to pixel of a value."""
        return self.site.layouts[name].row, self.site.layouts[name].pixel

    def _held(self, place: Place, frame: int, part: _Lanes) -> tuple[int, int, int]:
        """Where some channels of a kept frame lie in a bank: block by block, pixel by pixel."""
        _, channels, height, width = place.shape
        first = max(place.channels[0], part.block * BLOCK)
        lanes = min(place.channels[1], (part.block + 1) * BLOCK) - first
        before = (first - place.channels[0]) * height * width + part.start - first
        offset = (frame * channels * height * width + before) * FLOAT_BYTES
        return offset, width * lanes * FLOAT_BYTES, lanes * FLOAT_BYTES

    def _copy(
        self,
        purpose: int,
        x: tuple[int, int, int],
        y: tuple[int, int, int],
        size: int,
        rows: int = 0,
        pieces: int = 0,
        *,
        place: int = -1,
        after: bool = False,
        both: bool = False,
    ) -> None:
        """Add one copy: (address, row step, piece step) of both sides, the bytes of a piece.

        With `place` one side is an offset into the state: `x` unless it is `after`; `both` sides
        are, for a copy from bank to bank.
        """
        name = f"{self._layer.name}: {purpose}"
        index = self.line.index
        self.purposes[name] = Purpose(
            purpose, index[self._layer.x], index[self._layer.name], self._replicate
        )
        self.site.assembler.owner = name
        height, width = _area(self.shapes[self._layer.x])
        plan = planned(
            move.COPY,
            x=x[0],
            y=y[0],
            count=rows or height,
            x_step=x[1],
            y_step=y[1],
            pieces=pieces or width,
            x_piece=x[2],
            y_piece=y[2],
            size=size,
        )
        kept = self.site.assembler.keep(COPY_STEP, plan)
        self.site.assembler.part(COPY_STEP, kept)
        if place < 0:
            return
        patch = self.patches.setdefault(id(self.site.assembler), Patch([], [], [], [], []))
        for field, offset, written in (("x", x[0], False), ("y", y[0], True)):
            if both or written == after:
                patch.index.append(kept)
                patch.field.append(field)
                patch.place.append(place)
                patch.after.append(written)
                patch.offset.append(self.places[place].offset + offset)


def _area(shape: Shape) -> tuple[int, int]:
    """Height and width of a value, one pixel where it has no area."""
    return (shape[3], shape[4]) if len(shape) == 5 else (1, 1)


def _equal_lags(d: Sequence[int]) -> list[_Lanes]:
    """Cut channels into folds of equal lag, and at the blocks."""
    found, start = [], 0
    for lag, group in groupby(d):
        stop = start + len(list(group))
        found += [_Lanes(a, b, lag) for a, b in by_block(start, stop)]
        start = stop
    return found


def _source_layers(line: Timeline, shapes: Mapping[str, Shape]) -> list[Layer]:
    """The layers of the graph over clips; which kernels they get does not depend on the frames."""
    source = line.step.source
    frames = 2 * line.step.receptive_field + 2
    inputs = {i.name: (1, shapes[i.name][1], frames, *shapes[i.name][3:]) for i in source.inputs}
    return lowering.lower(source, source.shapes(inputs))
