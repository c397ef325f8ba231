"""What streams remember from frame to frame: kept frames in two banks each, and counters.

The kept frames of one stream lie in one block of bytes. Every state has two banks in it: what is
written goes to the bank that is not in use, and a new `StreamState` says which one is. Until the
new one takes the place of the old, nothing has changed: a step that is not to count, or that was
interrupted, leaves no trace.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from tsm_ref.engine.arena import dtype_of, lowest
from tsm_ref.errors import UsageError
from tsm_ref.ops_table import Shape
from tsm_ref.passes.streaming import State, StepGraph

__all__ = ["Banks", "Place", "StreamState", "place_states"]

Array = NDArray[Any]

_ALIGNMENT = 8  # bytes, of the largest number


@dataclass(frozen=True)
class Place:
    """Where a state lies in the block of a stream: two banks of shape (depth, channels, H, W)."""

    state: State
    channels: tuple[int, int]
    shape: tuple[int, int, int, int]
    offset: int
    nbytes: int  # of one bank
    dtype: np.dtype[Any]

    def bank(self, memory: Array, which: int) -> Array:
        """A view of one bank in the block of a stream; the order inside is the engine's."""
        start = self.offset + which * self.nbytes
        return memory[start : start + self.nbytes].view(self.dtype)


def place_states(step: StepGraph, shapes: Mapping[str, Shape], real: np.dtype[Any]) -> list[Place]:
    """Give every state its place, in an engine that computes in the dtype `real`.

    The shapes are those of one frame of every value.
    """
    places: list[Place] = []
    offset = 0
    for state in step.states:
        _, channels, _, *area = shapes[state.value]
        stop = channels if state.stop is None else state.stop
        height, width = area if area else (1, 1)
        shape = (state.depth, stop - state.start, height, width)
        dtype = dtype_of(step.graph, state.value, real)
        nbytes = prod(shape) * dtype.itemsize
        places.append(Place(state, (state.start, stop), shape, offset, nbytes, dtype))
        offset += -(-2 * nbytes // _ALIGNMENT) * _ALIGNMENT
    return places


class Banks(Protocol):
    """Knows where the states lie, and in which order an engine keeps the values inside."""

    places: list[Place]

    def get(self, place: Place, memory: Array, bank: int) -> Array:
        """A copy of a state as (channels, depth, H, W)."""

    def put(self, place: Place, memory: Array, bank: int, value: Array) -> None:
        """Set a state from (channels, depth, H, W)."""


@dataclass(frozen=True)
class StreamState:
    """Where `n` streams stand. Nothing here is changed: every method gives what comes after.

    What comes after has the same ``memory``, so only the two latest may be used.
    """

    kept: Banks
    memory: Array  # (n, bytes)
    banks: NDArray[np.uint8]  # (n, states): which bank is in use
    ticks: NDArray[np.int64]  # frames given, per stream
    ended: NDArray[np.bool_]
    counts: Mapping[str, NDArray[np.int64]]  # of every output, per stream
    sums: Mapping[str, NDArray[np.float64]]  # of every output: (n, K)

    @classmethod
    def fresh(cls, n: int, kept: Banks, outputs: Mapping[str, Sequence[int]]) -> Self:
        """`n` streams before their first frame; `outputs` are the shapes of one frame of each."""
        size = max((place.offset + 2 * place.nbytes for place in kept.places), default=0)
        new = cls(
            kept,
            np.zeros((n, size), np.uint8),
            np.zeros((n, len(kept.places)), np.uint8),
            np.zeros(n, np.int64),
            np.zeros(n, bool),
            {name: np.zeros(n, np.int64) for name in outputs},
            {name: np.zeros((n, *shape)) for name, shape in outputs.items()},
        )
        return new.restarted(range(n))

    def advanced(
        self,
        written: NDArray[np.uint8],
        ticks: int,
        made: Mapping[str, Array | None],
        rows: Mapping[str, Sequence[int]],
    ) -> Self:
        """After some ticks, which have `written` (n, states) the other banks.

        ``made`` are the outputs (n, t, K), of which those of the streams in `rows` are real.
        """
        counts, sums = dict(self.counts), dict(self.sums)
        for name, value in made.items():
            if value is None:
                continue
            which = rows[name]
            if len(which) == len(self.ticks):
                counts[name] = counts[name] + value.shape[1]
                sums[name] = sums[name] + value.sum(axis=1, dtype=np.float64)
            else:
                counts[name], sums[name] = counts[name].copy(), sums[name].copy()
                counts[name][which] += value.shape[1]
                sums[name][which] += value[which].sum(axis=1, dtype=np.float64)
        banks, now = self.banks ^ written, self.ticks + ticks
        return type(self)(self.kept, self.memory, banks, now, self.ended, counts, sums)

    def finished(self, ticks: NDArray[np.int64]) -> Self:
        """At the end, after so many frames of each stream."""
        return replace(self, ticks=ticks, ended=np.ones_like(self.ended))

    def restarted(self, which: Sequence[int]) -> Self:
        """Before the first frame again, for some streams."""
        banks = self.banks.copy()
        rows = list(which)
        banks[rows] ^= 1
        for p, place in enumerate(self.kept.places):
            state = place.state
            fill = lowest(place.dtype) if state.past == "lowest" else state.zero_point
            depth, channels, *area = place.shape
            empty = np.full((channels, depth, *area), fill, place.dtype)
            for i in rows:
                self.kept.put(place, self.memory[i], int(banks[i, p]), empty)
        return replace(
            self,
            banks=banks,
            ticks=_zeroed(self.ticks, rows),
            ended=_zeroed(self.ended, rows),
            counts={name: _zeroed(count, rows) for name, count in self.counts.items()},
            sums={name: _zeroed(total, rows) for name, total in self.sums.items()},
        )

    def copied(self) -> Self:
        """The same with a memory of its own."""
        return replace(self, memory=self.memory.copy())

    def as_arrays(self) -> dict[str, Array]:
        """Copies of everything by name: frames as (n, channels, frames, H, W), and counters."""
        found: dict[str, Array] = {"ticks": self.ticks.copy(), "ended": self.ended.astype("i8")}
        for name, count in self.counts.items():
            found[f"count of {name}"] = count.copy()
            found[f"sum of {name}"] = self.sums[name].copy()
        for p, place in enumerate(self.kept.places):
            states = [
                self.kept.get(place, memory, int(self.banks[i, p]))
                for i, memory in enumerate(self.memory)
            ]
            found[place.state.name] = np.stack(states)
        return found

    def from_arrays(self, values: Mapping[str, Array]) -> Self:
        """What `as_arrays` gave; raises `UsageError` for other names, shapes or dtypes."""
        self._check(values)
        banks = self.banks ^ np.uint8(1)
        for p, place in enumerate(self.kept.places):
            for i, value in enumerate(values[place.state.name]):
                self.kept.put(place, self.memory[i], int(banks[i, p]), value)
        return replace(
            self,
            banks=banks,
            ticks=np.array(values["ticks"]),
            ended=np.asarray(values["ended"]) != 0,
            counts={name: np.array(values[f"count of {name}"]) for name in self.counts},
            sums={name: np.array(values[f"sum of {name}"]) for name in self.sums},
        )

    def _check(self, values: Mapping[str, Array]) -> None:
        expected = self.as_arrays()
        if set(values) != set(expected):
            odd = sorted(set(values) ^ set(expected))[0]
            raise UsageError(f"this is not a state of this network: {odd!r} is not in both")
        for name, own in expected.items():
            value = np.asarray(values[name])
            if value.shape != own.shape or value.dtype != own.dtype:
                raise UsageError(
                    f"{name!r} of the state is {value.dtype} {value.shape}; "
                    f"expected {own.dtype} {own.shape}"
                )
        counters = ["ticks", *(f"count of {name}" for name in self.counts)]
        if min(np.min(values[name]) for name in counters) < 0:
            raise UsageError("the counters of a state must be 0 or more")


def _zeroed(values: Array, rows: Sequence[int]) -> Array:
    """A copy with zeros in some rows."""
    found = values.copy()
    found[rows] = 0
    return found
