"""Export of any graph of ours to ONNX: over clips, or one frame at a time with named state."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from tsm_ref.checkpoint.disk import StrPath, write_whole
from tsm_ref.checkpoint.onnx_in.guard import ROUNDED_AS, import_onnx
from tsm_ref.checkpoint.onnx_out.in_time import Validity
from tsm_ref.checkpoint.onnx_out.rules import write_nodes
from tsm_ref.checkpoint.onnx_out.writer import Writer
from tsm_ref.errors import NotStreamable, UsageError
from tsm_ref.graph import Dim, Graph
from tsm_ref.ops_table import Shape
from tsm_ref.passes.streaming import State, StepGraph, streaming
from tsm_ref.profile import PROFILE_KEY, Profile

Array = NDArray[Any]
Weights = Mapping[str, Array]

FIRST_OPSET = 14
OPSET = 17
VALID = "valid"
DELAY_KEY = "tsm_ref.delay"
"""Under what name a step keeps how many frames late its answers come."""


def export_onnx(
    graph: Graph,
    weights: Weights,
    path: StrPath | None = None,
    *,
    sizes: Mapping[str, int] | None = None,
    profile: Profile | None = None,
    opset: int = OPSET,
) -> bytes:
    r"""Write a graph as an ONNX model, and return its bytes; without a path nothing is written.

    ``sizes`` binds the named dimensions of the graph; the batch "N" stays open unless it is bound,
    all others must be ("T", "H", "W"; MIT's 8, 224 and 224 are no default here). Inputs and outputs
    have the names, shapes and layout of the graph, NCTHW. A ``profile`` is kept in the file. What
    is rounded as LiteRT does is a warning, as ONNX cannot say it: a runtime may be a step away.

    Raises `UsageError` for a dimension without size, for an opset below 14 or above the newest that
    the onnx package knows, and so the newest that is read, `GraphError`
    for sizes that do not fit the graph, `WriteError` where the file cannot be written.

    >>> from tsm_ref.models import build_mobilenet_v2, random_weights
    >>> graph = build_mobilenet_v2(num_classes=3, width=0.35)
    >>> data = export_onnx(graph, random_weights(graph), sizes={"T": 4, "H": 32, "W": 32})
    >>> data[:2]
    b'\x08\x08'
    """
    sizes = dict(sizes or {})
    shapes = graph.shapes(_bound(graph, sizes))
    writer = Writer(shapes, _checked(opset), sizes.get("N", "N"), graph.outputs)
    for entry in graph.inputs:
        shape = writer.shapes[entry.name]
        if len(shape) < 3:
            writer.rows[entry.name] = entry.name
            continue
        turned = writer.step(
            "Transpose", [entry.name], entry.name, perm=[0, 2, 1, *range(3, len(shape))]
        )
        target = writer.ints(-1, *writer.row_shape(entry.name))
        writer.rows[entry.name] = writer.step("Reshape", [turned, target], entry.name)
    write_nodes(writer, graph, weights)
    inputs = {e.name: (writer.batch, *writer.shapes[e.name][1:]) for e in graph.inputs}
    outputs = {name: (writer.batch, *writer.shapes[name][1:]) for name in graph.outputs}
    for name in graph.outputs:
        if writer.row_name(name) != name:
            writer.node("Identity", [writer.natural(name)], name)
    data = writer.model(graph.name, inputs, outputs, _metadata(profile, writer.makers))
    if path is not None:
        write_whole(path, data)
    return data


def export_onnx_stream(
    graph: Graph,
    weights: Weights,
    path: StrPath | None = None,
    *,
    sizes: Mapping[str, int] | None = None,
    profile: Profile | None = None,
    opset: int = OPSET,
) -> bytes:
    """Write a graph as an ONNX model of one step: a frame and its state in, both out.

    A frame is (N, C, H, W), an output (N, K). A state is named ``state_in_0``, ...: (N, C, H, W),
    or (N, C, frames, H, W) where more than one frame is kept; it starts at zero, and the output
    ``state_out_0`` is the next step's. Dimensions as in `export_onnx`, without "T".

    A graph that looks ahead answers some frames late; how many is kept in the file, under
    `DELAY_KEY`. Such a step takes one more input, ``valid`` (N,): 1 with every frame, 0 with what
    is given behind the last one to get the answers that are still to come. Which ticks had a frame
    is its last state.

    Raises `NotStreamable` for a graph that skips frames, or whose past is not zeros.
    """
    step = streaming(graph)
    _check_steady(step)
    sizes = {**(sizes or {}), "T": 1, "A": 1}
    writer = Writer(
        step.graph.shapes(_bound(step.graph, sizes)), _checked(opset), sizes.get("N", "N")
    )
    for entry in step.graph.inputs:
        writer.rows[entry.name] = entry.name
    states = {f"state_in_{i}": state for i, state in enumerate(step.states)}
    kept: dict[str, str] = {}
    validity = _validity(writer, step, len(states)) if step.delay else None
    write_nodes(writer, step.graph, weights, states, kept, validity)
    names = {output: _per_frame_name(graph, i, output) for i, output in enumerate(step.outputs)}
    inputs = {e.name: (writer.batch, *writer.row_shape(e.name)) for e in step.graph.inputs}
    inputs |= {name: (writer.batch, *_state_shape(writer, s)) for name, s in states.items()}
    outputs: dict[str, Sequence[int | str]] = {}
    for value, name in names.items():
        if name != value or value not in writer.rows.values():
            writer.node("Identity", [writer.rows[value]], name)
        outputs[name] = (writer.batch, *writer.row_shape(value))
    for i, (name, state) in enumerate(states.items()):
        writer.node("Identity", [kept[name]], f"state_out_{i}")
        outputs[f"state_out_{i}"] = (writer.batch, *_state_shape(writer, state))
    metadata = _metadata(profile, writer.makers)
    if validity is not None:
        inputs |= {VALID: (writer.batch,), f"state_in_{len(states)}": (writer.batch, step.delay)}
        outputs[f"state_out_{len(states)}"] = (writer.batch, step.delay)
        metadata[DELAY_KEY] = str(step.delay)
    data = writer.model(f"{graph.name}-step", inputs, outputs, metadata)
    if path is not None:
        write_whole(path, data)
    return data


def _per_frame_name(graph: Graph, place: int, output: str) -> str:
    """An output of a step carries the name that it has in the graph over clips."""
    name = graph.outputs[place]
    return name if name != output else output


def _validity(writer: Writer, step: StepGraph, place: int) -> Validity:
    """The line of ticks that had a frame, kept as one more state."""
    fresh = writer.step("Unsqueeze", [VALID, writer.ints(1)], VALID)
    line = writer.step("Concat", [f"state_in_{place}", fresh], VALID, axis=1)
    rest = [line, writer.ints(1), writer.ints(step.delay + 1), writer.ints(1)]
    writer.node("Slice", rest, f"state_out_{place}")
    delays = {name: clock.delay for name, clock in step.clocks.items()}
    return Validity(line, step.delay, delays)


def _check_steady(step: StepGraph) -> None:
    if not step.steady:
        raise NotStreamable("the graph skips frames; a step that answers at every one is needed")
    for state in step.states:
        if state.past != "zero":
            raise NotStreamable(
                f"the state {state.name!r} does not start at zero; ONNX has no first frame"
            )


def _state_shape(writer: Writer, state: State) -> Shape:
    channels, *place = writer.row_shape(state.value)
    count = (channels if state.stop is None else state.stop) - state.start
    return (count, *([] if state.depth == 1 else [state.depth]), *place)


def _bound(graph: Graph, sizes: Mapping[str, int]) -> dict[str, Shape]:
    """The shapes of the inputs for one clip; raises `UsageError` for a dimension without size."""
    known = {"N": 1, **{name: size for name, size in sizes.items() if name != "N"}}

    def size_of(dim: Dim) -> int:
        if isinstance(dim, int):
            return dim
        if dim not in known:
            raise UsageError(f"`sizes` does not say what {dim!r} is; an ONNX file needs a number")
        return known[dim]

    return {entry.name: tuple(size_of(dim) for dim in entry.shape) for entry in graph.inputs}


def _checked(opset: int) -> int:
    newest = import_onnx().defs.onnx_opset_version()
    if not FIRST_OPSET <= opset <= newest:
        raise UsageError(f"`opset` (={opset}) must be {FIRST_OPSET} to {newest}")
    return opset


def _metadata(profile: Profile | None, makers: Mapping[str, str]) -> dict[str, str]:
    """What is kept beside the graph: a profile, and what it cannot say of rounding."""
    kept = {} if profile is None else {PROFILE_KEY: profile.to_json()}
    if makers:
        warnings.warn(
            f"{len(makers)} sums and means are rounded as LiteRT does, which ONNX cannot say: "
            "another runtime may be one step of 8 bits away in each",
            stacklevel=3,
        )
    return kept | {ROUNDED_AS + name: maker for name, maker in makers.items()}
