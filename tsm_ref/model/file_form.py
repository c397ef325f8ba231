"""A foreign file's own form: the inputs, outputs and states that it declares, run on an engine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tsm_ref.checkpoint import FileState, FileView
from tsm_ref.checkpoint.finish import kind_after
from tsm_ref.engine import Engine
from tsm_ref.engine.stream.stream import Stream
from tsm_ref.errors import GraphError
from tsm_ref.graph import Graph
from tsm_ref.model.scores import SQUASHED
from tsm_ref.reference.quantised import dequantize_linear, quantize_linear

__all__ = ["FileForm"]

Array = NDArray[Any]


@dataclass
class FileForm:
    """What `tsm_ref.Model.run` takes and gives for a file that is not laid out as our graphs are.

    ``states`` are those of a file that runs one frame at a time and hands its past on.
    """

    graph: Graph
    engine: Engine
    inputs: Sequence[FileView]
    outputs: Sequence[FileView]
    states: Sequence[FileState]
    _streams: dict[int, Stream] = field(default_factory=dict)

    @classmethod
    def on(
        cls,
        graph: Graph,
        inputs: Sequence[FileView],
        outputs: Sequence[FileView],
        states: Sequence[FileState],
        engine: Engine,
    ) -> Self:
        """The form of a file on an engine, which comes last: it may not be made yet."""
        return cls(graph, engine, inputs, outputs, states)

    def run(self, given: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs by the file's names; raises `GraphError` for other names or shapes."""
        names = [*(view.name for view in self.inputs), *(state.input for state in self.states)]
        wanted = list(dict.fromkeys(names))
        if set(given) != set(wanted):
            raise GraphError(f"the inputs are {wanted}, not {sorted(given)}")
        clips = {view.value: view.to_graph(given[view.name]) for view in self.inputs}
        after: dict[str, Array] = {}
        if self.states:
            outputs, after = self._step(clips, given)
        else:
            outputs = self.engine.run(clips)
        return {view.name: view.to_file(outputs[view.value]) for view in self.outputs} | after

    @property
    def finish(self) -> str:
        """What the file makes of the answer of the network behind it; "" where nothing."""
        return kind_after(self.outputs[0].steps, "") if self.outputs else ""

    def takes_bytes(self, name: str) -> bool:
        """True for an input, by its name in the file or in the graph, that is declared as uint8."""
        views = [view for view in self.inputs if name in (view.name, view.value)]
        return any(view.dtype == "uint8" for view in views)

    def _step(
        self, clips: Mapping[str, Array], given: Mapping[str, Array]
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """One frame, and the state before it: the outputs (N, K, 1), and the state after it."""
        stream = self._stream({name: clip.shape for name, clip in clips.items()})
        before = stream.state
        before["ticks"][:] = stream.receptive_field  # the state is the past, not the first frames
        names = {state: f"{state.value}[{state.start}:{state.stop}]" for state in self.states}
        for state, name in names.items():
            kept, value = before[name], given[state.input]
            wanted = _state_shape(state, kept)
            if value.shape != wanted:
                raise GraphError(
                    f"the state {state.input!r} has shape {value.shape}; expected {wanted}"
                )
            value = _in_graph(state, value.reshape(kept.shape), kept.dtype)
            before[name] = np.ascontiguousarray(value, kept.dtype)
        stream.state = before
        made = stream.step({name: np.ascontiguousarray(c[:, :, 0]) for name, c in clips.items()})
        outputs = made if isinstance(made, dict) else {stream.outputs[0]: made}
        after = stream.state
        handed = {
            s.output: _in_file(s, after[n]).reshape(_state_shape(s, after[n]))
            for s, n in names.items()
        }
        return {view.value: self._squashed(view.value, outputs) for view in self.outputs}, handed

    def _squashed(self, name: str, outputs: Mapping[str, Any]) -> Array:
        """An output of a step (N, K, 1): a stream gives the logits in front of a softmax."""
        if name in outputs:
            return np.expand_dims(np.asarray(outputs[name]), 2)
        node = self.graph.node[name]
        return SQUASHED[node.op](self._squashed(node.inputs[0], outputs))

    def _stream(self, shapes: Mapping[str, tuple[int, ...]]) -> Stream:
        """A stream of as many clips as are given; made once, its state is set at every step."""
        count = next(iter(shapes.values()))[0]
        if count not in self._streams:
            self._streams.clear()
            self._streams[count] = Stream(self.engine, count, shapes=shapes, source=self.graph)
        stream = self._streams[count]
        stream.reset()
        return stream


def _in_graph(state: FileState, value: Array, dtype: Any) -> Array:
    """A state of the file as the graph keeps it, which may be in whole numbers."""
    if state.steps is None:
        return value
    return quantize_linear(np.asarray(value, np.float32), *state.steps, str(dtype))


def _in_file(state: FileState, kept: Array) -> Array:
    """What the graph keeps as the file hands it on: reals."""
    return kept if state.steps is None else dequantize_linear(kept, *state.steps)


def _state_shape(state: FileState, kept: Array) -> tuple[int, ...]:
    """The shape of a state in the file, for `kept` (N, C, 1, ...): some leave the axis N out."""
    count, channels, _, *place = kept.shape
    return (channels, *place) if len(state.shape) == 1 + len(place) else (count, channels, *place)
