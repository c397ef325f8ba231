"""Runs a step graph with the NumPy engine."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tsm_ref.engine.arena import Steps, lowest, memory_of
from tsm_ref.engine.on_numpy.blas import BlasThreads
from tsm_ref.engine.on_numpy.frames import folds
from tsm_ref.engine.on_numpy.ops import Step
from tsm_ref.engine.stream.state import Place, place_states
from tsm_ref.engine.stream.ticks import ABSENT, FIRST, NORMAL, VIRTUAL, Statuses, Timeline
from tsm_ref.graph import Graph, Node
from tsm_ref.ops_table import Shape
from tsm_ref.passes.streaming import NEVER

Array = NDArray[Any]
Copies = Iterator[tuple[Array, Array | float]]
"""Places, and what is copied to each of them."""

Copy = Callable[[Sequence[Array], Sequence[Array], Array, Array], Copies]

Take = Callable[[Mapping[str, Array]], None]
"""Puts inputs where steps read them."""

_KEPT = 32
"""States of streams, in either bank, for which the copies of a tick are kept."""


@dataclass(frozen=True)
class _History:
    """What a ``History`` copies: (current banks, next banks, x, y) -> copies, by circumstance."""

    x: int  # where the statuses of x and y stand
    y: int
    replicate: bool
    fill: Copy
    read: Copy
    read_first: Copy
    save: Copy
    save_first: Copy


class Maker(Protocol):
    """What makes the steps of a graph: an engine that runs it node by node; see `NumpyEngine`."""

    dtype: np.dtype[Any]

    @property
    def blas_threads(self) -> int:
        """How many threads a matrix product may take."""

    @property
    def weights(self) -> Mapping[str, Array]:
        """What the nodes read besides values."""

    def fallbacks(self) -> list[str] | None:
        """Nodes that NumPy computes for an engine that has kernels; None for NumPy's own."""

    def joined(self, graph: Graph, shapes: Mapping[str, Shape]) -> Steps:
        """The nodes of a graph in steps."""

    def taker(self, graph: Graph, values: Mapping[str, Array]) -> Take:
        """What puts inputs where the steps read them."""

    def rooms(self, graph: Graph, steps: Steps, shapes: Mapping[str, Shape]) -> Mapping[str, int]:
        """Bytes that steps need while they run, by the names of their last nodes."""

    def step(
        self, nodes: Sequence[Node], arrays: Mapping[str, Array], room: Array | None = None
    ) -> Step:
        """What carries out the nodes of a step."""


class NumpySteps:
    """`frames` ticks of one stream with NumPy; see `tsm_ref.engine.stream.ticks.Steps`."""

    def __init__(
        self,
        engine: "Maker",
        line: Timeline,
        shapes: Mapping[str, Shape],
    ) -> None:
        graph, dtype = line.step.graph, engine.dtype
        inputs = {entry.name: shapes[entry.name] for entry in graph.inputs}
        self.frames = next(iter(inputs.values()))[2]
        self._steady = line.steady
        self.places = place_states(line.step, shapes, dtype)
        joined = engine.joined(graph, shapes)
        memory = memory_of(graph, shapes, joined, dtype, engine.rooms(graph, joined, shapes))
        self.arrays, operands = memory.values, memory.beside(engine.weights)
        self._take = engine.taker(graph, self.arrays)
        self._steps: list[tuple[int, Callable[[], None] | None, _History | None, Node]] = []
        saved: set[tuple[str, str]] = set()
        for nodes in joined:
            node = nodes[-1]
            at = line.index[node.name]
            if node.op == "History":
                key = (node.inputs[0], node.attrs["past"])
                history = self._history(node, line, saves=key not in saved)
                saved.add(key)
                self._steps.append((at, None, history, node))
            else:
                step = engine.step(nodes, operands, memory.rooms.get(node.name))
                self._steps.append((at, step, None, node))
        # Kernels alone ask nothing of BLAS: for one frame, telling it takes longer than some steps.
        self._blas: AbstractContextManager[object] = nullcontext()
        if engine.fallbacks() != []:
            self._blas = BlasThreads(engine.blas_threads)
        self._kept: dict[tuple[int, bytes], Sequence[Step]] = {}

    def run(
        self, inputs: Mapping[str, Array], memory: Array, banks: NDArray[np.uint8], now: Statuses
    ) -> None:
        """Run one stream; see `Steps.run`."""
        self._take(inputs)
        with self._blas:
            for step in self._planned(memory, banks, now):
                step()

    def _planned(self, memory: Array, banks: NDArray[np.uint8], now: Statuses) -> Sequence[Step]:
        """The steps of a tick; most ticks of a stream are alike, so theirs are kept.

        They hold views of its memory, so no other memory can have the same address.
        """
        if now is not self._steady:
            return list(self._made(memory, banks, now))
        key = (memory.__array_interface__["data"][0], banks.tobytes())
        if key not in self._kept:
            while len(self._kept) >= _KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = list(self._made(memory, banks, now))
        return self._kept[key]

    def _made(self, memory: Array, banks: NDArray[np.uint8], now: Statuses) -> Iterator[Step]:
        current = [self._bank(p, memory, int(b)) for p, b in zip(self.places, banks, strict=True)]
        after = [self._bank(p, memory, 1 - int(b)) for p, b in zip(self.places, banks, strict=True)]
        for at, step, history, node in self._steps:
            if step is not None:
                if now[at] in (FIRST, NORMAL):
                    yield step
            elif history is not None:
                yield partial(_copy, list(self._recall(history, node, current, after, now)))

    def _recall(
        self,
        history: _History,
        node: Node,
        current: Sequence[Array],
        after: Sequence[Array],
        now: Statuses,
    ) -> Copies:
        x, y = self.arrays[node.inputs[0]], self.arrays[node.name]
        x, y = (v.reshape(*v.shape[:2], *(v.shape[2:] or (1, 1))) for v in (x, y))
        status = now[history.x]
        first = status == FIRST and history.replicate
        if status == VIRTUAL:
            yield from history.fill(current, after, x, y)
        if now[history.y] in (FIRST, NORMAL):
            yield from (history.read_first if first else history.read)(current, after, x, y)
        if status != ABSENT:
            yield from (history.save_first if first else history.save)(current, after, x, y)

    def read(self, name: str) -> Array:
        """A copy of an output."""
        return self.arrays[name].copy()

    def get(self, place: Place, memory: Array, bank: int) -> Array:
        """A copy of a state as (channels, depth, H, W)."""
        return self._bank(place, memory, bank).swapaxes(0, 1).copy()

    def put(self, place: Place, memory: Array, bank: int, value: Array) -> None:
        """Set a state from (channels, depth, H, W)."""
        self._bank(place, memory, bank)[...] = value.swapaxes(0, 1)

    def _bank(self, place: Place, memory: Array, which: int) -> Array:
        return place.bank(memory, which).reshape(place.shape)

    def _history(self, node: Node, line: Timeline, saves: bool) -> _History:
        x, past = node.inputs[0], node.attrs["past"]
        mine = [
            (i, place)
            for i, place in enumerate(self.places)
            if (place.state.value, place.state.past) == (x, past)
        ]
        read, read_first = (self._reads(node, mine, first) for first in (False, True))
        save, save_first = (self._saves(mine if saves else [], first) for first in (False, True))
        return _History(
            line.index[x],
            line.index[node.name],
            past == "replicate",
            _filling(past, mine, node.attr("x_zero_point")),
            read,
            read_first,
            save,
            save_first,
        )

    def _reads(self, node: Node, mine: Sequence[tuple[int, Place]], first: bool) -> Copy:
        """Copy every frame of every channel to `y`: from `x`, or from the state."""
        channels = self.arrays[node.inputs[0]].shape[0]
        d, before, zero = (node.attr(name) for name in ("d", "before", "x_zero_point"))
        d = d * channels if len(d) == 1 else d
        work: list[tuple[slice, int, int, int, slice]] = []
        for fold in folds(d, channels):
            for frame in range(before + self.frames):
                source = frame - before - fold.d
                if fold.d == NEVER:
                    work.append((slice(fold.start, fold.stop), frame, -2, 0, slice(0)))
                elif source >= 0 or first:
                    work.append((slice(fold.start, fold.stop), frame, -1, max(source, 0), slice(0)))
                else:
                    work += [
                        (slice(a, b), frame, i, source, slice(a - start, b - start))
                        for i, start, a, b in _overlaps(mine, fold.start, fold.stop)
                    ]

        def copy(current: Sequence[Array], after: Sequence[Array], x: Array, y: Array) -> Copies:
            for channel, frame, place, source, inside in work:
                if place == -2:
                    yield y[channel, frame], zero
                elif place == -1:
                    yield y[channel, frame], x[channel, source]
                else:
                    yield y[channel, frame], current[place][source, inside]

        return copy

    def _saves(self, mine: Sequence[tuple[int, Place]], first: bool) -> Copy:
        """Copy the last frames of `x`, and of the state where `x` has too few, to the next bank."""

        def copy(current: Sequence[Array], after: Sequence[Array], x: Array, y: Array) -> Copies:
            for i, place in mine:
                channel = slice(*place.channels)
                for lag in range(1, place.state.depth + 1):
                    source = 0 if first else self.frames - lag
                    new = x[channel, source] if source >= 0 else current[i][source]
                    yield after[i][-lag], new

        return copy


def _copy(copies: Sequence[tuple[Array, Array | float]]) -> None:
    for place, value in copies:
        place[...] = value


def _overlaps(
    mine: Sequence[tuple[int, Place]], start: int, stop: int
) -> list[tuple[int, int, int, int]]:
    """The states that hold channels ``start .. stop - 1``: (index, its first channel, from, to)."""
    found = []
    for i, place in mine:
        a, b = max(start, place.channels[0]), min(stop, place.channels[1])
        if a < b:
            found.append((i, place.channels[0], a, b))
    return found


def _filling(past: str, mine: Sequence[tuple[int, Place]], zero: int) -> Copy:
    """Put in place of a frame of `x` behind the end what its readers get instead."""

    def copy(current: Sequence[Array], after: Sequence[Array], x: Array, y: Array) -> Copies:
        if past != "replicate":
            yield x, lowest(x.dtype) if past == "lowest" else zero
            return
        for i, place in mine:
            yield x[slice(*place.channels), 0], current[i][-1]

    return copy
