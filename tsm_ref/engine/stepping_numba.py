"""Runs a step graph with the Numba engine.

A ``History`` is a few copies inside the compiled program: frames of the state and of this step to
where the next layer reads, and what is to be remembered to the other bank of the state. Where the
state of a stream lies is written into the planned copies before a run. Which steps run at a tick
is a selection of the program's rows: while a stream begins or ends, not every value has a frame.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.engine import lowering
from tsm_ref.engine.lowering import Layer
from tsm_ref.engine.numba_engine import NumbaEngine
from tsm_ref.engine.numba_plan import Planner, Stage
from tsm_ref.engine.stepping import (
    ABSENT,
    FIRST,
    NORMAL,
    VIRTUAL,
    Place,
    Statuses,
    Timeline,
    place_states,
)
from tsm_ref.kernels import move
from tsm_ref.kernels.blocked import FLOAT_BYTES, PIXEL
from tsm_ref.kernels.machine import BLOCK
from tsm_ref.kernels.plans import planned
from tsm_ref.kernels.program import COPY_STEP, Program
from tsm_ref.ops_table import Shape
from tsm_ref.passes.streaming import NEVER

Array = NDArray[Any]

_FLOAT32 = np.dtype(np.float32)
_LOWEST = np.full(BLOCK, -np.inf, np.float32)

LAYER, FILL, READ, READ_FIRST, HERE, SAVE, SAVE_FIRST = range(7)
"""What a step of the program is for: a layer, or a part of a ``History`` (see `_runs_now`)."""


@dataclass(frozen=True)
class _Purpose:
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
class _Run:
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


def _by_block(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Cut channels at the blocks."""
    while start < stop:
        end = min(stop, (start // BLOCK + 1) * BLOCK)
        yield start, end
        start = end


@dataclass
class _Patch:
    """Which planned copies of one program read or write the state, and where in its block."""

    index: list[int]
    field: list[str]
    place: list[int]
    after: list[bool]  # the bank that is written, instead of the one that is read
    offset: list[int]


class StepPlanner(Planner):
    """Makes the plan of a step graph."""

    def __init__(self, engine: NumbaEngine, line: Timeline, shapes: Mapping[str, Shape]) -> None:
        self.line = line
        self.places = place_states(line.step, shapes, FLOAT_BYTES)
        self.purposes: dict[str, _Purpose] = {}
        self.patches: dict[int, _Patch] = {}
        self._saved: set[tuple[str, str]] = set()
        self._sources = {layer.name: layer for layer in _source_layers(line, shapes)}
        super().__init__(line.step.graph, engine.weights, shapes, engine.threads)
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

    def numpy_step(self, layer: Layer) -> None:
        """Add a step of the NumPy engine, with its name."""
        super().numpy_step(layer)
        self.stages[-1] = replace(self.stages[-1], names=(layer.name,))

    def purpose(self, name: str) -> _Purpose | None:
        """What a step is for, by the name of its owner; None for one that always runs."""
        if name in self.line.index:
            at = self.line.index[name]
            return _Purpose(LAYER, at, at)
        return self.purposes.get(name)

    # History

    def recall(self, layer: Layer) -> None:
        """Add the copies of a ``History``, each with its purpose."""
        node = layer.node
        past, d = node.attrs["past"], node.attrs["d"]
        key = (layer.x, past)
        mine = [
            (i, place)
            for i, place in enumerate(self.places)
            if (place.state.value, place.state.past) == key
        ]
        channels = self.layouts[layer.x].channels
        self._layer, self._replicate = layer, past == "replicate"
        if self.frames == 1:
            self._fill(past, mine)
        self._read(_lag_runs(d * channels if len(d) == 1 else d), mine)
        if key not in self._saved:
            self._saved.add(key)
            for place in mine:
                self._save(*place)

    def _read(self, runs: Sequence[_Run], mine: Sequence[tuple[int, Place]]) -> None:
        """Copy every frame of every channel to where the next layer reads it."""
        layer = self._layer
        before = layer.node.attrs["before"]
        for frame in range(before + self.frames):
            for run in runs:
                source = frame - before - run.lag
                target = (self._at(layer.name, frame, run), *self._steps(layer.name))
                if run.lag == NEVER:
                    self._copy(HERE, (self.zeros, 0, 0), target, run.size)
                elif source >= 0:
                    x = (self._at(layer.x, source, run), *self._steps(layer.x))
                    self._copy(HERE, x, target, run.size)
                else:
                    self._read_state(run, source, target, mine)

    def _read_state(
        self,
        run: _Run,
        source: int,
        target: tuple[int, int, int],
        mine: Sequence[tuple[int, Place]],
    ) -> None:
        layer = self._layer
        if self._replicate and self.frames == 1:
            x = (self._at(layer.x, 0, run), *self._steps(layer.x))
            self._copy(READ_FIRST, x, target, run.size)
        for i, place in mine:
            start, stop = max(run.start, place.channels[0]), min(run.stop, place.channels[1])
            if start < stop:
                part = _Run(start, stop)
                held = self._held(place, place.state.depth + source, part)
                to = (target[0] + part.lane - run.lane, *target[1:])
                self._copy(READ, held, to, part.size, place=i)

    def _save(self, i: int, place: Place) -> None:
        """Copy the last frames to the bank that is written, one run of lanes at a time."""
        x = self._layer.x
        depth = place.state.depth
        for part in (_Run(*cut) for cut in _by_block(*place.channels)):
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
        layout, start = self.layouts[x], self.blocked(x)
        if past == "lowest":
            self.owned.append(_LOWEST)
            rows = (start, PIXEL, 0)
            self._copy(FILL, (_LOWEST.ctypes.data, 0, 0), rows, PIXEL, layout.size // PIXEL, 1)
            return
        for block in range(layout.blocks):
            rows = (start + block * layout.block, layout.row, 0)
            count = layout.block // layout.row
            self._copy(FILL, (self.zeros, 0, 0), rows, layout.row, count, 1)
        if past == "replicate":
            for i, place in mine:
                for part in (_Run(*cut) for cut in _by_block(*place.channels)):
                    held = self._held(place, place.state.depth - 1, part)
                    target = (self._at(x, 0, part), *self._steps(x))
                    self._copy(FILL, held, target, part.size, place=i)

    def _at(self, name: str, frame: int, run: _Run) -> int:
        """The address of the first pixel of some channels of a frame."""
        layout = self.layouts[name]
        place = (
            layout.at(frame, run.block) if self._rows(name) else layout.at(0, run.block, 0, frame)
        )
        return self.blocked(name) + place + run.lane

    def _rows(self, name: str) -> bool:
        return len(self.shapes[name]) == 5

    def _steps(self, name: str) -> tuple[int, int]:
        """Bytes from row to row and from pixel to pixel of a value."""
        return self.layouts[name].row, self.layouts[name].pixel

    def _held(self, place: Place, frame: int, part: _Run) -> tuple[int, int, int]:
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
        self.purposes[name] = _Purpose(
            purpose, index[self._layer.x], index[self._layer.name], self._replicate
        )
        self.assembler.owner = name
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
        kept = self.assembler.keep(COPY_STEP, plan)
        self.assembler.part(COPY_STEP, kept)
        if place < 0:
            return
        patch = self.patches.setdefault(id(self.assembler), _Patch([], [], [], [], []))
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


def _lag_runs(d: Sequence[int]) -> list[_Run]:
    """Cut channels into runs of equal lag, within a block."""
    found, start = [], 0
    for lag, group in groupby(d):
        stop = start + len(list(group))
        found += [_Run(a, b, lag) for a, b in _by_block(start, stop)]
        start = stop
    return found


def _source_layers(line: Timeline, shapes: Mapping[str, Shape]) -> list[Layer]:
    """The layers of the graph over clips; which kernels they get does not depend on the frames."""
    source = line.step.source
    frames = 2 * line.step.receptive_field + 2
    inputs = {i.name: (1, shapes[i.name][1], frames, *shapes[i.name][3:]) for i in source.inputs}
    return lowering.lower(source, source.shapes(inputs))


@dataclass(frozen=True)
class _Addresses:
    """Where the addresses of the state go in the planned copies of one program, as arrays."""

    column: Array
    index: Array
    place: Array
    after: Array
    offset: Array
    size: Array

    def write(self, base: int, banks: NDArray[np.uint8]) -> None:
        """Write the addresses of the banks of one stream into the copies."""
        which = banks[self.place] ^ self.after
        self.column[self.index] = base + self.offset + which * self.size


class NumbaSteps:
    """`frames` ticks of one stream with the Numba engine; see `tsm_ref.engine.stepping.Steps`."""

    def __init__(self, engine: NumbaEngine, line: Timeline, shapes: Mapping[str, Shape]) -> None:
        planner = StepPlanner(engine, line, shapes)
        self._engine, self._line = engine, line
        self._plan = planner.plan()
        self.frames, self.places = planner.frames, planner.places
        self._names = {
            name: planner.purpose(name) for stage in self._plan.stages for name in stage.names
        }
        self._addresses = list(_addresses(planner, self._plan.stages))
        self._selected: dict[bytes, list[Stage]] = {}
        self._steady = self._select(line.steady)

    def run(
        self, inputs: Mapping[str, Array], memory: Array, banks: NDArray[np.uint8], now: Statuses
    ) -> None:
        """Run one stream; see `Steps.run`."""
        for name, value in inputs.items():
            self._plan.inputs[name](value)
        base = memory.ctypes.data
        for addresses in self._addresses:
            addresses.write(base, banks)
        for stage in self._steady if now is self._line.steady else self._select(now):
            if stage.program is not None:
                self._engine._run(stage.program)
            elif stage.step is not None:
                stage.step()

    def read(self, name: str) -> Array:
        """A copy of an output."""
        result = np.empty(self._plan.shapes[name], np.float32)
        self._plan.outputs[name](result)
        return result

    def get(self, place: Place, memory: Array, bank: int) -> Array:
        """A copy of a state as (channels, depth, H, W)."""
        depth, channels, height, width = place.shape
        value = np.empty((depth, channels, height, width), np.float32)
        for part, held in self._parts(place, memory, bank):
            value[:, part] = held.transpose(0, 3, 1, 2)
        return value.swapaxes(0, 1).copy()

    def put(self, place: Place, memory: Array, bank: int, value: Array) -> None:
        """Set a state from (channels, depth, H, W)."""
        for part, held in self._parts(place, memory, bank):
            held[...] = value[part].transpose(1, 2, 3, 0)

    def _parts(self, place: Place, memory: Array, bank: int) -> Iterator[tuple[slice, Array]]:
        """The runs of lanes of a bank, each a view (depth, H, W, lanes), and their channels."""
        depth, _, height, width = place.shape
        frames = place.bank(memory, bank, _FLOAT32).reshape(depth, -1)
        start = place.channels[0]
        for a, b in _by_block(*place.channels):
            area = height * width
            flat = frames[:, (a - start) * area : (b - start) * area]
            view = np.lib.stride_tricks.as_strided(
                flat,
                (depth, height, width, b - a),
                (frames.strides[0], width * (b - a) * 4, (b - a) * 4, 4),
            )
            yield slice(a - start, b - start), view

    def _select(self, now: Statuses) -> list[Stage]:
        """The stages with the steps that run when the values have these statuses."""
        key = now.tobytes()
        if key not in self._selected:
            runs = {name: p is None or p.runs(now) for name, p in self._names.items()}
            self._selected[key] = list(_chosen(self._plan.stages, runs))
        return self._selected[key]


def _chosen(stages: Sequence[Stage], runs: Mapping[str, bool]) -> Iterator[Stage]:
    for stage in stages:
        if stage.program is None:
            if all(runs[name] for name in stage.names):
                yield stage
            continue
        wanted = np.array([runs[name] for name in stage.names])
        if wanted.any():
            program: Program = stage.program._replace(steps=stage.program.steps[wanted])
            yield replace(stage, program=program)


def _addresses(planner: StepPlanner, stages: Sequence[Stage]) -> Iterator[_Addresses]:
    """The addresses in every program; programs and assemblers with steps stand in one order."""
    programs = [stage.program for stage in stages if stage.program is not None]
    assemblers = [a for a in planner.assemblers if a.steps]
    for program, assembler in zip(programs, assemblers, strict=True):
        patch = planner.patches.get(id(assembler))
        if patch is None:
            continue
        for field in ("x", "y"):
            chosen = [i for i, name in enumerate(patch.field) if name == field]
            if chosen:
                place = np.array(patch.place)[chosen]
                yield _Addresses(
                    program.copies[field],
                    np.array(patch.index)[chosen],
                    place,
                    np.array(patch.after, np.uint8)[chosen],
                    np.array(patch.offset)[chosen],
                    np.array([planner.places[p].nbytes for p in place]),
                )
