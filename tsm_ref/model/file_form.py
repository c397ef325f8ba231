"""A foreign file's own form: the inputs, outputs and states that it declares, run on an engine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tsm_ref.checkpoint import FileState, FileView
from tsm_ref.engine import Engine
from tsm_ref.engine.stream.stream import Stream
from tsm_ref.errors import GraphError
from tsm_ref.graph import Graph

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
            if value.shape != kept[:, :, 0].shape:
                raise GraphError(
                    f"the state {state.input!r} has shape {value.shape}; "
                    f"expected {kept[:, :, 0].shape}"
                )
            before[name] = np.ascontiguousarray(value[:, :, None], kept.dtype)
        stream.state = before
        made = stream.step({name: np.ascontiguousarray(c[:, :, 0]) for name, c in clips.items()})
        outputs = made if isinstance(made, dict) else {stream.outputs[0]: made}
        after = stream.state
        return (
            {name: np.expand_dims(np.asarray(value), 2) for name, value in outputs.items()},
            {state.output: after[name][:, :, 0] for state, name in names.items()},
        )

    def _stream(self, shapes: Mapping[str, tuple[int, ...]]) -> Stream:
        """A stream of as many clips as are given; made once, its state is set at every step."""
        count = next(iter(shapes.values()))[0]
        if count not in self._streams:
            self._streams.clear()
            self._streams[count] = Stream(self.engine, count, shapes=shapes, source=self.graph)
        stream = self._streams[count]
        stream.reset()
        return stream
