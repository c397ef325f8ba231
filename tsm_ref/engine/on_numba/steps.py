"""Runs a step graph with the Numba engine.

A ``History`` is a few copies inside the compiled program: frames of the state and of this step to
where the next layer reads, and what is to be remembered to the other bank of the state. Where the
state of a stream lies is written into the planned copies before a run. Which steps run at a tick
is a selection of the program's rows: while a stream begins or ends, not every value has a frame.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.engine.on_numba.crew import Crew
from tsm_ref.engine.on_numba.plan import Stage
from tsm_ref.engine.on_numba.step_plan import StepPlanner, by_block
from tsm_ref.engine.on_numba.weights import PackedWeights
from tsm_ref.engine.stream.state import Place
from tsm_ref.engine.stream.ticks import Statuses, Timeline
from tsm_ref.kernels.program import Program
from tsm_ref.ops_table import Shape

Array = NDArray[Any]


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
    """`frames` ticks of one stream with the Numba engine: `Steps` of `tsm_ref.engine.stream`."""

    def __init__(
        self, weights: PackedWeights, crew: Crew, line: Timeline, shapes: Mapping[str, Shape]
    ) -> None:
        planner = StepPlanner(weights, line, shapes, crew.threads)
        self._crew = crew
        self._line = line
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
            stage.run(self._crew, (self._plan, memory))

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
        self._crew.gather()  # from a run that was interrupted, which might still write
        for part, held in self._parts(place, memory, bank):
            held[...] = value[part].transpose(1, 2, 3, 0)

    def _parts(self, place: Place, memory: Array, bank: int) -> Iterator[tuple[slice, Array]]:
        """The runs of lanes of a bank, each a view (depth, H, W, lanes), and their channels."""
        depth, _, height, width = place.shape
        frames = place.bank(memory, bank).reshape(depth, -1)
        start = place.channels[0]
        for a, b in by_block(*place.channels):
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
