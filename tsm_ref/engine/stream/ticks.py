"""The ticks of streams: which values have a frame at a tick, and what a tick gives."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tsm_ref.engine.stream.state import Banks, StreamState
from tsm_ref.ops_table import Shape
from tsm_ref.passes.streaming import StepGraph

__all__ = ["ABSENT", "FIRST", "NORMAL", "VIRTUAL", "Statuses", "Steps", "Timeline", "advance"]

Array = NDArray[Any]
Statuses = NDArray[np.uint8]

ABSENT, FIRST, NORMAL, VIRTUAL = range(4)
"""A value at a tick has no frame, its first one, another one, or one that lies behind the end."""


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
        self.keepers = np.array([self.index[state.value] for state in step.states], np.int64)
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


class Steps(Banks, Protocol):
    """A step graph bound to one shape: an engine's way of running `frames` ticks at once."""

    frames: int

    def run(
        self, inputs: Mapping[str, Array], memory: Array, banks: NDArray[np.uint8], now: Statuses
    ) -> None:
        """Run one stream: read the banks in use, and write the others.

        ``inputs`` are (C, frames, H, W) and empty behind the end of the stream; ``banks`` says for
        every place which bank is in use.
        """

    def read(self, name: str) -> Array:
        """A copy of an output, without its batch axis."""


def advance(
    line: Timeline,
    steps: Steps,
    state: StreamState,
    inputs: Mapping[str, Array],
    totals: Sequence[NDArray[np.int64]] | None = None,
) -> tuple[dict[str, Array | None], StreamState]:
    """Run the ticks of `steps` for all streams: the outputs (n, t, K), and the state afterwards.

    The inputs (n, C, t, H, W) are none behind the end, where `totals` says how many frames every
    value has in each stream. A row of an output is NaN where its stream has none yet.
    """
    n, outputs = len(state.ticks), line.step.outputs
    made: dict[str, Array | None] = dict.fromkeys(outputs)
    rows: dict[str, list[int]] = {name: [] for name in outputs}
    written = np.zeros_like(state.banks)
    keepers = line.keepers
    for i in range(n):
        now = line.statuses(int(state.ticks[i]), () if totals is None else totals[i])
        frames = {name: x[i] for name, x in inputs.items()}
        steps.run(frames, state.memory[i], state.banks[i], now)
        written[i] = now[keepers] != ABSENT
        for name in outputs:
            if now[line.index[name]] in (FIRST, NORMAL):
                made[name] = _collected(made[name], i, n, steps.read(name))
                rows[name].append(i)
    return made, state.advanced(written, steps.frames, made, rows)


def _collected(made: Array | None, i: int, n: int, value: Array) -> Array:
    """Put the output (K, t) of stream `i` into that of all `n`, (n, t, K)."""
    value = value.T if value.ndim < 3 else np.moveaxis(value, 1, 0)
    if n == 1:
        return value[None]
    if made is None:
        made = np.full((n, *value.shape), np.nan, value.dtype)
    made[i] = value
    return made
