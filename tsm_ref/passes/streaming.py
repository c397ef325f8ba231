"""From a graph over clips to a graph over one frame at a time, with explicit state.

Time is counted in ticks: at tick `n` the stream is given frame `n` of every input. Every value has
a `Clock`: its frame `j` is made at tick ``delay + period * j``. A node fires when the last frame
that it reads has come, so looking `k` frames ahead adds `k` to its delay, and a stride in time
multiplies its period. Where branches meet, the earlier one waits. Then every channel of every input
of a node is read a *fixed* number of frames late, whatever the op was: a shift, a temporal kernel
and a delay line differ in these numbers only. One op says them, ``History``; what it reads of
earlier ticks is the state.

A stream that ends goes on ticking. A frame `j` of a value that does not exist, because it lies
before the start (``j < 0``) or behind the end, is never computed: whoever reads it gets the fill of
the layer that reads. So the first and the last frames are those of the run over the whole clip.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from typing import Any

from tsm_ref.errors import NotStreamable, UsageError
from tsm_ref.graph import Graph, Input, Node
from tsm_ref.ops_table import InTime, Shape
from tsm_ref.passes.windows import FAR, HERE, NEVER, Clock, Window, pooled, refusal, shifted

__all__ = ["FAR", "NEVER", "Clock", "State", "StepGraph", "streaming", "without_lookahead"]


@dataclass(frozen=True)
class State:
    """Frames that are kept: the last `depth` ones of channels ``start .. stop - 1`` of a value.

    `stop` is None where it means all channels. Before the stream the frames are ``past``: zeros,
    the lowest number there is, or copies of the first frame (replicate). The zero of a quantised
    value is its ``zero_point``.
    """

    value: str
    past: str
    start: int
    stop: int | None
    depth: int
    zero_point: int = 0

    @property
    def name(self) -> str:
        """The name under which the state is saved."""
        stop = "" if self.stop is None else self.stop
        return f"{self.value}[{self.start}:{stop}]{'' if self.past == 'zero' else ' ' + self.past}"


@dataclass(frozen=True)
class StepGraph:
    """A graph that computes one frame of every value, or a chunk of frames, from state.

    ``source`` is the graph over clips that it came from, without what is averaged over time.
    """

    source: Graph
    graph: Graph
    clocks: Mapping[str, Clock]
    states: tuple[State, ...]

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs of a step."""
        return self.graph.outputs

    @property
    def delay(self) -> int:
        """How many frames an output comes after the input frame that it belongs to."""
        return max(self.clocks[name].delay for name in self.outputs)

    @property
    def receptive_field(self) -> int:
        """How many input frames an output frame depends on."""
        clocks = [self.clocks[name] for name in self.outputs]
        return max(clock.last for clock in clocks) - min(clock.first for clock in clocks) + 1

    @cached_property
    def steady(self) -> bool:
        """True where every value has one frame per tick: then several ticks can be run at once."""
        return all(clock.period == 1 for clock in self.clocks.values())

    def totals(self, shapes: Mapping[str, Shape], frames: int) -> dict[str, int]:
        """How many frames every value has in a clip of that many frames; see `Graph.shapes`."""
        inputs = {name: (*shape[:2], frames, *shape[3:]) for name, shape in shapes.items()}
        known = self.source.shapes(inputs)
        ranks = {name: len(shape) for name, shape in known.items()}
        return {name: known[name][min(2, ranks[name] - 1)] for name in self.clocks if name in known}


def streaming(graph: Graph) -> StepGraph:
    """Turn a graph over clips into one over single frames.

    An output that is the mean over time becomes the values that are averaged: logits per frame.
    Raises `NotStreamable` with the node and the reason where a node has no finite window in time.

    >>> from tsm_ref.models import RESNETS, build_resnet
    >>> step = streaming(build_resnet(RESNETS["resnet50"], num_classes=5))
    >>> step.delay, step.receptive_field
    (16, 33)
    """
    _check_directions(graph)
    return _Pass(_per_frame(graph)).run()


def _check_directions(graph: Graph) -> None:
    """Refuse shifts of a single frame of which nobody has said where they read."""
    if not any(entry.shape[2:3] == (1,) for entry in graph.inputs):
        return
    for node in graph.select("TemporalShift"):
        if FAR in node.attrs["d"]:
            raise refusal(
                node,
                "the network was made for one frame (T = 1), so channels are zero that may read "
                "the past or the future; a profile says which",
            )


def without_lookahead(graph: Graph, mode: str) -> Graph:
    """The graph with what its shifts read of the future replaced, so that it has no delay.

    ``mode`` is "zero" (those channels become zero) or "past" (they read as far into the past). This
    is another network: the accuracy of the weights is not the published one. A graph that looks
    nowhere ahead is returned itself.

    Raises `UsageError` for another mode, for zeros where the fill is not zero, and where something
    else than a shift looks ahead; `NotStreamable` as `streaming`.
    """
    if mode not in ("zero", "past"):
        raise UsageError(f"`lookahead` (={mode!r}) must be 'zero' or 'past'")
    nodes = []
    for node in graph.nodes:
        d = node.attrs.get("d", ())
        if any(v < 0 for v in d):
            if mode == "zero" and node.attr("fill") != "zero":
                raise UsageError(f"the fill of {node.name!r} is not zero: use 'past'")
            instead = tuple(v if v >= 0 else (FAR if mode == "zero" else -v) for v in d)
            node = replace(node, attrs={**node.attrs, "d": instead})
        nodes.append(node)
    changed = graph.with_nodes(nodes)
    clocks = streaming(changed).clocks
    for node in changed.nodes:
        delays = [clocks[name].delay for name in node.inputs if name in clocks]
        if node.name in clocks and clocks[node.name].delay > max(delays):
            raise UsageError(
                f"node {node.name!r} ({node.op}) looks ahead, and not by a shift: "
                "only what shifts read of the future can be replaced"
            )
    return graph if changed == graph else changed


def _per_frame(graph: Graph) -> Graph:
    """The graph without the consensus at its end, and without what nobody reads then.

    A softmax behind it or in front of it goes too, and rounding behind it: what is left are logits.
    """
    outputs = [graph.with_outputs([name]).scores.frames or name for name in graph.outputs]
    needed = set(outputs)
    kept = []
    for node in reversed(graph.nodes):
        if node.name in needed:
            kept.append(node)
            needed.update(node.inputs)
    inputs = tuple(_free_in_time(entry) for entry in graph.inputs if entry.name in needed)
    return replace(graph, inputs=inputs).with_outputs(outputs).with_nodes(reversed(kept))


def _free_in_time(entry: Input) -> Input:
    """An input whose number of frames is free."""
    if len(entry.shape) < 3:
        raise NotStreamable(f"the input {entry.name!r} has no axis of time: {entry.shape}")
    time = entry.shape[2] if isinstance(entry.shape[2], str) else "T"
    return replace(entry, shape=(*entry.shape[:2], time, *entry.shape[3:]))


class _Pass:
    """Goes through the nodes once; collects clocks, new nodes, and what is read of the past."""

    def __init__(self, graph: Graph) -> None:
        self.source = graph
        self.clocks = {entry.name: Clock() for entry in graph.inputs}
        self.ranks = {entry.name: len(entry.shape) for entry in graph.inputs}
        self.nodes: list[Node] = []
        self.kept: dict[str, dict[str, list[tuple[int, ...]]]] = {}  # value, past: depths

    def run(self) -> StepGraph:
        for node in self.source.nodes:
            self._node(node)
        nodes = [self._settled(node) for node in self.nodes]
        return StepGraph(
            self.source, self.source.with_nodes(nodes), self.clocks, tuple(self._states())
        )

    def _node(self, node: Node) -> None:
        values = {at: name for at, name in enumerate(node.inputs) if name in self.clocks}
        windows = {at: self._window(node, at) for at in values}
        own = {at: window.clock(self.clocks[values[at]]) for at, window in windows.items()}
        clock = self._meet(node, list(own.values()))
        self.clocks[node.name] = clock
        self.ranks[node.name] = self._rank(node, next(iter(values.values())))
        inputs = list(node.inputs)
        for at, window in windows.items():
            inputs[at] = self._read(node, at, window, clock.delay - own[at].delay)
        if node.op == "TemporalShift":
            self.nodes[-1] = replace(self.nodes[-1], name=node.name)
            del self.clocks[inputs[0]]
            return
        self.nodes.append(replace(node, inputs=tuple(inputs), attrs=_timeless(node)))

    def _meet(self, node: Node, clocks: Sequence[Clock]) -> Clock:
        """The clock of a node that reads values of these clocks."""
        delay = max(clock.delay for clock in clocks)
        period = clocks[0].period
        for clock in clocks:
            if clock.period != period or (delay - clock.delay) % period:
                raise refusal(node, "its inputs have frames at different times")
        first, last = min(c.first for c in clocks), max(c.last for c in clocks)
        return Clock(period, delay, first, last)

    def _read(self, node: Node, at: int, window: Window, wait: int) -> str:
        """The value that a node reads instead of an input: itself, or some of its frames later."""
        x = node.inputs[at]
        lags = window.lags(wait // self.clocks[x].period)
        if window.direct and not any(lags) and node.op != "TemporalShift":
            return x
        depths = tuple(max(0, lag + window.span) for lag in lags)
        if window.past == "replicate" and window.ahead:
            depths = tuple(max(1, depth) for depth in depths)  # the last frame is asked for again
        self.kept.setdefault(x, {}).setdefault(window.past, []).append(depths)
        if len(set(lags)) == 1:
            lags = lags[:1]
        name = f"{x} for {node.name}" if node.inputs.index(x) == at else f"{x} added to {node.name}"
        zero = self.source.types[x].zero_point
        attrs = {"d": lags, "before": window.span, "past": window.past, "x_zero_point": zero}
        self.nodes.append(Node(name, "History", (x,), attrs))
        self.clocks[name] = replace(self.clocks[node.name])
        return name

    def _window(self, node: Node, at: int) -> Window:
        """How a node reads an input in time; raises `NotStreamable` where it reads all of it."""
        in_time = node.rule.in_time
        if isinstance(in_time, str):
            raise refusal(node, in_time)
        if in_time is InTime.FRAME:
            self._check_axes(node)
            return HERE
        if at:  # a residual
            return HERE
        if node.op == "TemporalShift":
            return shifted(node, HERE)
        if "Pool" in node.op:
            return pooled(node)
        pads = node.attr("pads")
        window = Window(
            taps=self.source.parameters[node.inputs[1]][2],
            dilation=node.attr("dilations")[0],
            stride=node.attr("strides")[0],
            pad=pads[0],
            after=pads[3],
            past="zero",
        )
        if not any(node.attrs.get("d", ())):
            return window
        if window.pad or window.after:
            raise refusal(node, "it pads in time what its own shift has filled")
        return shifted(node, window)

    def _check_axes(self, node: Node) -> None:
        """Refuse a softmax over time, a squeezed axis of time, a parameter that varies in time."""
        rank = self.ranks[next(name for name in node.inputs if name in self.ranks)]
        time = min(2, rank - 1)
        if node.op in ("Softmax", "LogSoftmax") and node.attr("axis") in (time, time - rank):
            raise refusal(node, "its softmax is over time")
        if node.op == "Squeeze" and time in node.attrs["axes"]:
            raise refusal(node, "it drops the axis of time")
        if node.op in ("Add", "Mul"):
            for name in node.inputs:
                shape = self.source.parameters.get(name, ())
                if len(shape) > time and shape[time] != 1:
                    raise refusal(node, f"{name!r} has a value for each of {shape[time]} frames")

    def _rank(self, node: Node, x: str) -> int:
        rank = self.ranks[x]
        if node.op == "Flatten":
            return 3
        return rank - len(node.attrs["axes"]) if node.op == "Squeeze" else rank

    def _settled(self, node: Node) -> Node:
        """A node that only waits reads the state that is kept for another reader of the value."""
        if node.op != "History" or node.attrs["past"]:
            return node
        return replace(node, attrs={**node.attrs, "past": self._pasts(node.inputs[0])[0]})

    def _pasts(self, value: str) -> list[str]:
        return [past for past in self.kept[value] if past] or ["zero"]

    def _states(self) -> list[State]:
        states = []
        for value, kept in self.kept.items():
            for i, past in enumerate(self._pasts(value)):
                wanted = kept.get(past, []) + (kept.get("", []) if i == 0 else [])
                states += _states_of(value, past, wanted)
        types = self.source.types
        return [replace(state, zero_point=types[state.value].zero_point) for state in states]


def _states_of(value: str, past: str, wanted: Sequence[tuple[int, ...]]) -> list[State]:
    """The states of one value: neighbouring channels of which equally many frames are kept."""
    width = max(len(depths) for depths in wanted)
    if width == 1:
        depth = max(depths[0] for depths in wanted)
        return [State(value, past, 0, None, depth)] if depth else []
    full = [depths if len(depths) == width else depths * width for depths in wanted]
    found, start = [], 0
    for depth, run in groupby(max(column) for column in zip(*full, strict=True)):
        stop = start + len(list(run))
        if depth:
            found.append(State(value, past, start, stop, depth))
        start = stop
    return found


def _timeless(node: Node) -> dict[str, Any]:
    """The attributes of a node whose shift and padding in time `History` has taken over.

    A stride in time stays: it makes one frame of one window.
    """
    of_shift = ("d", "fill", "segment") if "d" in node.rule.attrs else ()
    attrs = {k: v for k, v in node.attrs.items() if k not in of_shift}
    if "pads" in attrs:
        pads = attrs["pads"]
        attrs["pads"] = (0, *pads[1:3], 0, *pads[4:])
    return attrs
