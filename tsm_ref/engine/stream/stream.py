"""A stream: one frame in, the outputs for that frame out, for ever; many streams as a batch."""

import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tsm_ref.engine.contract import Engine
from tsm_ref.engine.inputs import real_arrays
from tsm_ref.engine.stream.state import StreamState
from tsm_ref.engine.stream.ticks import Steps, Timeline, advance
from tsm_ref.errors import GraphError, UsageError
from tsm_ref.graph import Graph
from tsm_ref.ops_table import Shape
from tsm_ref.passes.streaming import streaming, without_lookahead

__all__ = ["Outputs", "Stream"]

Array = NDArray[Any]
Outputs = Array | dict[str, Array | None]
"""What a step returns: the only output of a network, or all of several by name."""

CHUNK = 8
"""Ticks that `Stream.steps` runs at once; the weights are read once for all of them."""


class Stream:
    """`n` independent streams through one network, which advance together.

    An output belongs to the frame that was given `delay` frames before it: a network that looks
    ahead has to wait. Before the first frame there is what the layers' own fill says, zeros for a
    zero-filled shift, and behind the last one too: a stream that is ended by `flush` has given what
    the network gives for the whole clip. With the Numba engine this holds bit for bit.

    ``shapes`` are the inputs' shapes (N, C, T, H, W), of which H and W are used; without them they
    become known by the first frame. ``source`` is the graph by whose names a refusal speaks.
    ``lookahead`` runs a network that looks ahead without delay, see
    `tsm_ref.passes.streaming.without_lookahead`: a change that gives other results, with a warning.
    The attribute is None where there was nothing to change.

    Raises `NotStreamable` with the node and the reason, and `UsageError` for `n` below 1.

    Streams of one engine may be stepped from several threads, each from one; they take turns. A
    call that is interrupted leaves the stream as it was before the call, or after it; `steps`, as
    it is after some of the frames.

    >>> from tsm_ref.engine.on_numpy.engine import NumpyEngine
    >>> from tsm_ref.models import build_mobilenet_v2, random_weights
    >>> from tsm_ref.profile import ShiftRule
    >>> graph = build_mobilenet_v2(num_classes=3, width=0.35, shift=ShiftRule("online"))
    >>> stream = Stream(NumpyEngine(graph, random_weights(graph)))
    >>> stream.step(np.zeros((3, 32, 32), np.float32)).shape, stream.delay, stream.receptive_field
    ((1, 3), 0, 11)
    """

    def __init__(
        self,
        engine: Engine,
        n: int = 1,
        *,
        shapes: Mapping[str, Shape] | None = None,
        source: Graph | None = None,
        lookahead: str | None = None,
    ) -> None:
        if not _is_whole(n) or n < 1:
            raise UsageError(f"`n` (={n!r}) must be a whole number of streams, at least 1")
        self.n = n
        known, graph = source or engine.graph, engine.graph
        if lookahead is not None:
            known, graph = without_lookahead(known, lookahead), without_lookahead(graph, lookahead)
        streaming(known)  # refuses by the names that the user knows
        self.lookahead = None if graph is engine.graph else lookahead
        if self.lookahead is not None:
            warnings.warn(
                f"what the network looks ahead is replaced (lookahead={lookahead!r}): "
                "its published accuracy does not hold",
                stacklevel=2,
            )
        self._engine = engine
        self._line: Timeline = engine.plans.get(
            "time line", self.lookahead, lambda: Timeline(streaming(graph))
        )
        self._step = self._line.step
        self._frames: dict[str, Shape] = {}  # (1, C, 1, H, W) of every input, once known
        self._steps: dict[int, Steps] = {}  # by the number of ticks
        self._state: StreamState | None = None
        if shapes is not None:
            self._bind({name: (*shape[1:2], *shape[3:]) for name, shape in shapes.items()})

    # What is known of the stream

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the outputs."""
        return self._step.outputs

    @property
    def delay(self) -> int:
        """How many frames an output comes after the frame that it belongs to."""
        return self._step.delay

    @property
    def receptive_field(self) -> int:
        """How many frames an output depends on."""
        return self._step.receptive_field

    @property
    def state_bytes(self) -> int:
        """Bytes that are kept from frame to frame, for all `n` streams."""
        return self.n * sum(place.nbytes for place in self._known.kept.places)

    @property
    def frames(self) -> NDArray[np.int64]:
        """How many frames every stream has been given since its start."""
        return np.zeros(self.n, np.int64) if self._state is None else self._state.ticks.copy()

    @property
    def ended(self) -> NDArray[np.bool_]:
        """Which streams have been flushed, and want a reset."""
        return np.zeros(self.n, bool) if self._state is None else self._state.ended.copy()

    @property
    def mean(self) -> Outputs | None:
        """The running consensus: the mean of every output since the start; None before any."""
        state = self._state
        if state is None or not any(count.any() for count in state.counts.values()):
            return None
        means: dict[str, Array | None] = {}
        for name, total in state.sums.items():
            count = state.counts[name].reshape(-1, *[1] * (total.ndim - 1))
            mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
            means[name] = mean.astype(np.float32)
        return _only(means)

    # Running

    def step(self, frame: Array | Mapping[str, Array], *, update: bool = True) -> Outputs | None:
        """Give every stream one frame, (N, C, H, W), or (C, H, W) to one; several inputs by name.

        Returns (N, K): the logits for the frame `delay` frames ago, NaN for a stream that has no
        output yet, and None where no stream has one. With ``update=False`` nothing is remembered.

        Raises `GraphError` for a shape that does not fit, `UsageError` for a stream that has ended.
        """
        inputs = self._given(frame, 4)
        found = self._advance({name: x[:, :, None] for name, x in inputs.items()}, 1, update)
        one = {name: None if value is None else value[:, 0] for name, value in found.items()}
        return None if all(value is None for value in one.values()) else _only(one)

    def steps(self, chunk: Array | Mapping[str, Array]) -> Outputs | None:
        """Give every stream `t` frames, (N, C, t, H, W): the outputs (N, t', K) of as many steps.

        Steps without an output are left out; None where no step had one.
        """
        inputs = self._given(chunk, 5)
        count = next(iter(inputs.values())).shape[2]
        parts: list[dict[str, Array | None]] = []
        start = 0
        while start < count:
            t = CHUNK if self._chunks and count - start >= CHUNK else 1
            piece = {name: x[:, :, start : start + t] for name, x in inputs.items()}
            parts.append(self._advance(piece, t))
            start += t
        return _joined(parts)

    def flush(self) -> Outputs | None:
        """End all streams: the outputs (N, t', K) that are still to come, None if there are none.

        After this a stream has to be `reset`. Raises `GraphError` where the network needs more
        frames than were given.
        """
        self._check_running()
        if self._state is None:
            return None
        given, twin = self._state.ticks, self.copy()
        none = np.zeros(len(self._line.index), np.int64)
        totals = [self._line.totals(self._frames, t) if t else none for t in given.tolist()]
        last = -1
        for name in self.outputs:
            clock, at = self._step.clocks[name], self._line.index[name]
            last = max(last, *(clock.delay + clock.period * (int(t[at]) - 1) - int(tick)
                               for t, tick in zip(totals, given, strict=True)))  # fmt: skip
        parts = [twin._advance({}, 1, totals=totals) for _ in range(last + 1)]
        self._state = twin._known.finished(given)
        return _joined(parts)

    def reset(self, i: int | None = None) -> None:
        """Begin anew: all streams, or stream `i` alone."""
        which = range(self.n) if i is None else [self._checked(i)]
        if self._state is not None:
            self._state = self._state.restarted(which)

    def copy(self) -> Self:
        """A second stream that goes on from here by itself."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._state = None if self._state is None else self._state.copied()
        return twin

    def __copy__(self) -> Self:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.copy()  # the plans that streams share hold addresses: they cannot be copied

    # The state

    @property
    def state(self) -> dict[str, Array]:
        """All that is remembered, as copies: frames as (N, channels, frames, H, W), and counters.

        Frames stand in the order of time. Setting it checks names, shapes and dtypes first.
        """
        return self._known.as_arrays()

    @state.setter
    def state(self, values: Mapping[str, Array]) -> None:
        self._state = self._known.from_arrays(values)

    # Inside

    def _advance(
        self,
        inputs: Mapping[str, Array],
        t: int,
        update: bool = True,
        totals: list[NDArray[np.int64]] | None = None,
    ) -> dict[str, Array | None]:
        """Run `t` ticks of all streams; the state changes when all have been run."""
        with self._engine.plans.turn:
            made, after = advance(self._line, self._ready(t), self._known, inputs, totals)
            if update:
                self._state = after
            return made

    @property
    def _known(self) -> StreamState:
        if self._state is None:
            raise UsageError("the size of the frames is not known before the first one")
        return self._state

    @property
    def _chunks(self) -> bool:
        """True where the next ticks can be run at once: every value has a frame at each of them."""
        return self._step.steady and bool((self._known.ticks >= self._line.warm).all())

    def _given(self, frames: Array | Mapping[str, Array], rank: int) -> dict[str, Array]:
        """Inputs by name with their batch axis; checked against each other and the stream."""
        self._check_running()
        names = [entry.name for entry in self._step.graph.inputs]
        if not isinstance(frames, Mapping):
            if len(names) != 1:
                raise UsageError(f"the network has the inputs {names}: give them by name")
            frames = {names[0]: frames}
        if set(frames) != set(names):
            raise GraphError(f"the inputs are {names}, not {sorted(frames)}")
        found = real_arrays(frames)
        for name, x in found.items():
            if x.dtype.kind != "f":
                raise UsageError(f"the input {name!r} is {x.dtype}; preprocessed floats are needed")
            if x.ndim == rank - 1 and self.n == 1:
                found[name] = x = x[None]
            if x.ndim != rank or x.shape[0] != self.n:
                axes = "(N, C, H, W)" if rank == 4 else "(N, C, t, H, W)"
                raise GraphError(f"{name!r} has the shape {x.shape}; expected {axes}, N={self.n}")
        if rank == 5 and len({x.shape[2] for x in found.values()}) > 1:
            raise GraphError("the inputs must have equally many frames")
        self._bind(
            {name: (x.shape[1], *x.shape[-2:]) for name, x in found.items()},
            {name: np.shape(x) for name, x in frames.items()},
        )
        return found

    def _bind(self, frames: Mapping[str, Shape], whole: Mapping[str, Shape] | None = None) -> None:
        """Take the shapes (C, H, W) of a frame of every input, or compare them with those taken.

        They can be others as long as no stream has been given a frame. ``whole`` are the shapes as
        they were given, for the sentence that refuses one.
        """
        given = {name: (1, c, 1, h, w) for name, (c, h, w) in frames.items()}
        if self._state is None:
            self._begin(given)
        elif given != self._frames and not self._state.ticks.any():
            with suppress(GraphError):  # one that no frame of this network has is refused below
                self._begin(given)
        for name, shape in given.items():
            if shape != (begun := self._frames[name]):
                before = "has begun with" if self._state and self._state.ticks.any() else "takes"
                raise GraphError(
                    f"{name!r} has the shape {(whole or frames)[name]}, so a frame (C, H, W) is "
                    f"{shape[1:2] + shape[3:]}; the stream {before} {begun[1:2] + begun[3:]}"
                )

    def _begin(self, given: Mapping[str, Shape]) -> None:
        shapes = self._step.graph.shapes(given)
        self._frames = {entry.name: shapes[entry.name] for entry in self._step.graph.inputs}
        self._steps = {}
        outputs = {}
        for name in self.outputs:
            _, *rest = shapes[name]
            outputs[name] = rest[:1] + rest[2:] if len(rest) > 1 else []
        self._state = StreamState.fresh(self.n, self._ready(1), outputs)

    def _ready(self, t: int) -> Steps:
        """What runs `t` ticks at once."""
        if t not in self._steps:
            inputs = {name: (*shape[:2], t, *shape[3:]) for name, shape in self._frames.items()}
            shapes = self._step.graph.shapes(inputs)
            self._steps[t] = self._engine.steps(self._line, shapes)
        return self._steps[t]

    def _check_running(self) -> None:
        if self._state is not None and self._state.ended.any():
            i = int(np.flatnonzero(self.ended)[0])
            raise UsageError(f"stream {i} has ended: reset it to begin another")

    def _checked(self, i: int) -> int:
        if not _is_whole(i) or not 0 <= i < self.n:
            raise UsageError(f"there is no stream {i!r}; there are 0 to {self.n - 1}")
        return i


def _joined(parts: Sequence[Mapping[str, Array | None]]) -> Outputs | None:
    """The outputs of some ticks behind one another."""
    joined: dict[str, Array | None] = {}
    for name in parts[0] if parts else ():
        made = [value for part in parts if (value := part[name]) is not None]
        joined[name] = np.concatenate(made, axis=1) if made else None
    return None if all(value is None for value in joined.values()) else _only(joined)


def _only(values: dict[str, Array | None]) -> Outputs:
    """The output itself where there is only one."""
    (first, *others) = values.values()
    return first if not others and first is not None else values


def _is_whole(number: object) -> bool:
    return isinstance(number, int | np.integer) and not isinstance(number, bool)
