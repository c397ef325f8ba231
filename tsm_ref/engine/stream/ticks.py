"""What the engines share to run a step graph: which values have a frame at a tick, and the state.

The state of one stream is one block of bytes. Every `State` has two banks in it: a step reads one
and writes the other, and which is which changes only when the step is accepted. So a step that is
not to count, or was interrupted, has changed nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from tsm_ref.engine import Engine
from tsm_ref.graph import Graph
from tsm_ref.ops_table import Shape
from tsm_ref.passes.streaming import State, StepGraph, streaming

Array = NDArray[Any]
Statuses = NDArray[np.uint8]

ABSENT, FIRST, NORMAL, VIRTUAL = range(4)
"""A value at a tick has no frame, its first one, another one, or one that lies behind the end."""


@dataclass(frozen=True)
class Place:
    """Where a state lies in the block of a stream: two banks of shape (depth, channels, H, W)."""

    state: State
    channels: tuple[int, int]
    shape: tuple[int, int, int, int]
    offset: int
    nbytes: int  # of one bank

    def bank(self, memory: Array, which: int, dtype: np.dtype[Any]) -> Array:
        """A view of one bank in the block of a stream; the order inside is the engine's."""
        start = self.offset + which * self.nbytes
        return memory[start : start + self.nbytes].view(dtype)


def place_states(step: StepGraph, shapes: Mapping[str, Shape], itemsize: int) -> list[Place]:
    """Give every state its place; the shapes are those of one frame of every value."""
    places: list[Place] = []
    offset = 0
    for state in step.states:
        _, channels, _, *area = shapes[state.value]
        stop = channels if state.stop is None else state.stop
        height, width = area if area else (1, 1)
        shape = (state.depth, stop - state.start, height, width)
        places.append(Place(state, (state.start, stop), shape, offset, prod(shape) * itemsize))
        offset += 2 * places[-1].nbytes
    return places


class Timeline:
    """Says which values have a frame at a tick.

    >>> from tsm_ref.models import RESNETS, build_resnet
    >>> from tsm_ref.passes.streaming import streaming
    >>> line = Timeline(streaming(build_resnet(RESNETS["resnet18"], num_classes=5)))
    >>> [int(line.statuses(tick)[line.index["fc"]]) for tick in (7, 8, 9)]
    [0, 1, 2]
    """

    def __init__(self, step: StepGraph) -> None:
        self.step = step
        self.index = {name: i for i, name in enumerate(step.clocks)}
        clocks = step.clocks.values()
        self._periods = np.array([clock.period for clock in clocks])
        self._delays = np.array([clock.delay for clock in clocks])
        self.warm = int(self._delays.max()) + 1
        self.steady = np.full(len(clocks), NORMAL, np.uint8)
        self._reader = [
            name if name in step.source.node or name not in step.graph.node
            else step.graph.consumers[name][0].name
            for name in step.clocks
        ]  # fmt: skip

    def statuses(self, tick: int, totals: Sequence[int] | NDArray[np.int64] = ()) -> Statuses:
        """The status of every value; `totals` are their numbers of frames once these are known."""
        if tick >= self.warm and self.step.steady and not len(totals):
            return self.steady
        passed = tick - self._delays
        frame = passed // self._periods
        found = np.where(frame == 0, FIRST, NORMAL)
        if len(totals):
            found = np.where(frame >= np.asarray(totals), VIRTUAL, found)
        absent = (passed < 0) | (passed % self._periods != 0)
        return np.where(absent, ABSENT, found).astype(np.uint8)

    def totals(self, shapes: Mapping[str, Shape], frames: int) -> NDArray[np.int64]:
        """How many frames every value has in a clip of that many; `GraphError` for too few."""
        known = self.step.totals(shapes, frames)
        return np.array([known[name] for name in self._reader])


class Steps(Protocol):
    """A step graph bound to one shape: an engine's way of running `frames` ticks at once."""

    frames: int
    places: list[Place]

    def run(
        self, inputs: Mapping[str, Array], memory: Array, banks: NDArray[np.uint8], now: Statuses
    ) -> None:
        """Run one stream: read the banks in use, and write the others.

        ``inputs`` are (C, frames, H, W) and empty behind the end of the stream; ``banks`` says for
        every place which bank is in use.
        """

    def read(self, name: str) -> Array:
        """A copy of an output, without its batch axis."""

    def get(self, place: Place, memory: Array, bank: int) -> Array:
        """A copy of a state as (channels, depth, H, W)."""

    def put(self, place: Place, memory: Array, bank: int, value: Array) -> None:
        """Set a state from (channels, depth, H, W)."""


def make_steps(engine: Engine, line: Timeline, shapes: Mapping[str, Shape]) -> Steps:
    """The way of an engine to run a step graph; `shapes` are those of every value."""
    if engine.name == "numba":
        from tsm_ref.engine.on_numba.engine import NumbaEngine
        from tsm_ref.engine.on_numba.steps import NumbaSteps

        assert isinstance(engine, NumbaEngine)
        return NumbaSteps(engine, line, shapes)
    from tsm_ref.engine.on_numpy.engine import NumpyEngine
    from tsm_ref.engine.on_numpy.steps import NumpySteps

    assert isinstance(engine, NumpyEngine)
    return NumpySteps(engine, line, shapes)


KEPT = 4
"""Sizes of frames for which an engine keeps plans."""


@dataclass
class SharedPlans:
    """What all streams of an engine have in common: the time line, and the plans they run."""

    line: Timeline
    known: dict[Any, dict[int, Steps]] = field(default_factory=dict)

    def plans(self, shapes: Any) -> dict[int, Steps]:
        """The plans for frames of these shapes by their number of ticks; a few are kept."""
        while len(self.known) >= KEPT and shapes not in self.known:
            del self.known[next(iter(self.known))]
        return self.known.setdefault(shapes, {})


_SHARED: WeakKeyDictionary[Engine, dict[str | None, SharedPlans]] = WeakKeyDictionary()


def shared_plans(engine: Engine, lookahead: str | None, graph: Graph) -> SharedPlans:
    """What the streams of an engine have in common; `graph` is the engine's, as changed."""
    found = _SHARED.setdefault(engine, {})
    if lookahead not in found:
        found[lookahead] = SharedPlans(Timeline(streaming(graph)))
    return found[lookahead]
