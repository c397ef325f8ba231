"""Import of ONNX files: what the axes mean is assumed, interpreted, and kept if all of it fits.

A file does not say which axis is time, or that 16 rows are two clips of 8 frames. Every assumption
that its declared shapes allow is tried, the likely ones first. A wrong one fails at the first
shift, which would cross from one clip into the next. Sizes that the file leaves open are bound
twice, to different numbers: both readings must give the same graph.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tsm_ref.checkpoint.contents import Array, Checkpoint, FileState, check_scales, shown
from tsm_ref.checkpoint.disk import StrPath
from tsm_ref.checkpoint.onnx_in import dynamic
from tsm_ref.checkpoint.onnx_in.assumptions import Assumption, assumptions
from tsm_ref.checkpoint.onnx_in.budget import Broken, Budget, NotUnderstood
from tsm_ref.checkpoint.onnx_in.guard import Dim, OnnxModel, read_onnx
from tsm_ref.checkpoint.onnx_in.intake import prepared
from tsm_ref.checkpoint.onnx_in.layers import LAYERS
from tsm_ref.checkpoint.onnx_in.moves import FOLDS, MOVES, REPORTS
from tsm_ref.checkpoint.onnx_in.quantised import OURS, written_out
from tsm_ref.checkpoint.onnx_in.reading import Finished, Reading
from tsm_ref.checkpoint.onnx_in.values import AXES, Finishing
from tsm_ref.checkpoint.shift_rules import directed, profile_of
from tsm_ref.checkpoint.views import FileView
from tsm_ref.errors import CheckpointError, GraphError
from tsm_ref.graph import Graph, Input, ValueType
from tsm_ref.passes.streaming import FAR
from tsm_ref.passes.whole_numbers import lowered
from tsm_ref.profile import PROFILE_KEY, Profile

FORMAT = "onnx"
SUPPORTED = frozenset({*LAYERS, *MOVES, *FOLDS, *REPORTS, *OURS})


class Imported(NamedTuple):
    """A model as a graph of ours, and how the file lays out its inputs, outputs and states."""

    graph: Graph
    weights: dict[str, Array]
    inputs: tuple[FileView, ...]
    outputs: tuple[FileView, ...]
    states: tuple[FileState, ...]


def load_onnx(path: StrPath, profile: Profile | None = None) -> Checkpoint:
    """Read an ONNX file into a graph of ours, its shifts lifted, with its own inputs and outputs.

    ``profile`` says what only our own ONNX files do: sampling, preprocessing, labels; MIT's unless
    given. What the shifts do is in the file, and a given profile must say the same.

    Raises `CheckpointError` for a file that is damaged, hostile, or not understood, in one sentence
    that names the node.
    """
    model = read_onnx(path, SUPPORTED)
    return checkpoint_of(model, path, profile, (FORMAT, model.opset))


def checkpoint_of(
    model: OnnxModel, path: StrPath, profile: Profile | None, layout: tuple[str, int]
) -> Checkpoint:
    """A model that was read as a `Checkpoint`; ``layout`` is the format of its file, and version.

    Raises `CheckpointError` for what is not understood.
    """
    made = imported(model)
    kept = _kept_profile(model)
    meant, unsaid = profile_of(made.graph, profile or kept), _unsaid(made.graph)
    if kept is None and made.inputs:
        spec, assumed = prepared(meant.preprocess, made.graph, made.weights, made.inputs[0])
        meant, unsaid = replace(meant, preprocess=spec), (*unsaid, *assumed)
    graph = directed(made.graph, meant.shift) if profile or kept else made.graph
    return Checkpoint(
        graph=graph,
        weights=made.weights,
        profile=meant,
        sha256=model.sha256,
        storage=model.storage,
        path=Path(path),
        format=layout[0],
        format_version=layout[1],
        extra={"producer": model.producer},
        inputs=made.inputs,
        outputs=made.outputs,
        states=made.states,
        warnings=(*(unsaid if graph is made.graph else ()), *dynamic.said(graph)),
    )


def _unsaid(graph: Graph) -> tuple[str, ...]:
    """What the channels that are zero at all times leave open."""
    silent = {n.name: sum(v == FAR for v in n.attrs["d"]) for n in graph.select("TemporalShift")}
    count = sum(silent.values())
    if not count:
        return ()
    where = f"{count} channels in front of {sum(map(bool, silent.values()))} layers"
    if graph.inputs[0].shape[2:3] == (1,):
        return (
            f"the file sees one frame (T = 1), so {where} are zero and do not tell whether they "
            "read the past or the future: to stream it, name its profile",
        )
    return (
        f"{where} are zero at all times: an old exporter has usually dropped the assignments of a "
        "shift there; the file is run as it is, export it again with opset 11 or newer",
    )


def _kept_profile(model: OnnxModel) -> Profile | None:
    """The profile that `export_onnx` keeps in a file."""
    text = model.metadata.get(PROFILE_KEY)
    return None if text is None else Profile.from_json(text)


def imported(model: OnnxModel) -> Imported:
    """A model under the first assumption that fits; raises `CheckpointError` where none does."""
    model = written_out(model)
    failed: tuple[int, CheckpointError] | None = None
    budget = Budget(model.size)
    for assumption in assumptions(model, 0):
        reading = _reading(model, assumption, budget)
        try:
            made = _result(model, assumption, reading.run())
        except Broken:
            raise
        except (NotUnderstood, GraphError) as error:
            if failed is None or reading.done > failed[0]:
                failed = reading.done, CheckpointError(str(error))
            continue
        if _open(model):
            _check_open(model, assumption, made, budget)
        return made
    raise (
        failed[1]
        if failed
        else CheckpointError("the inputs have no shapes from which N, C, T, H and W can be told")
    )


def _reading(model: OnnxModel, assumption: Assumption, budget: Budget) -> Reading:
    reading = Reading(model, LAYERS, budget)
    for (name, _), groups, sizes in zip(
        model.inputs, assumption.groups, assumption.sizes, strict=True
    ):
        axes = AXES[5 if "H" in sizes else 3]
        reading.add_input(name, tuple(sizes[axis] for axis in axes), groups)
    return reading


# Results


def _result(model: OnnxModel, assumption: Assumption, found: Finished) -> Imported:
    outputs = tuple(_outputs(model, found))
    gone = {state.input for state in found.states}
    inputs = tuple(
        view
        for place, (name, _) in enumerate(model.inputs)
        if name not in gone
        for view in _inputs(model, assumption, place, found)
    )
    weights = {name: np.asarray(values) for name, values in found.parameters.items()}
    graph = Graph(
        model.name,
        tuple(Input(v.value, _dims(v, i, bool(found.states))) for i, v in enumerate(inputs)),
        found.nodes,
        tuple(dict.fromkeys(view.value for view in outputs)),
        {name: w.shape for name, w in weights.items()},
    )
    made = Imported(graph, weights, inputs, outputs, found.states)
    return _in_whole_numbers(made, found, model.makers) if graph.quantised else made


def _in_whole_numbers(made: Imported, found: Finished, makers: Mapping[str, str]) -> Imported:
    """A network that computes with whole numbers where it can; its states are theirs."""
    graph, weights, whole = lowered(made.graph, made.weights, found.steps, makers)
    states = tuple(_of_whole(state, whole) for state in made.states)
    shifted = {node.inputs[0] for node in graph.select("TemporalShift")}
    if not shifted.issuperset(state.value for state in states):
        return made  # a value of which reals and whole numbers are kept
    check_scales(graph, weights)
    return made._replace(graph=graph, weights=weights, states=states)


def _of_whole(state: FileState, whole: Mapping[str, tuple[str, ValueType]]) -> FileState:
    """A state whose shift has become one of whole numbers, which stand for what the file keeps."""
    if state.value not in whole:
        return state
    value, steps = whole[state.value]
    return replace(state, value=value, steps=(steps.scale, steps.zero_point))


def _outputs(model: OnnxModel, found: Finished) -> Iterator[FileView]:
    shapes = dict(zip(model.outputs, model.output_shapes, strict=True))
    for name, answer in found.outputs.items():
        if not isinstance(answer, Finishing):
            raise Broken(f"the output {shown(name)} does not depend on the input of the graph")
        base, groups = answer.view.base, answer.view.groups
        yield FileView(name, base.name, shapes[name], groups, base.axes, {}, steps=answer.steps)


def _inputs(
    model: OnnxModel, assumption: Assumption, place: int, found: Finished
) -> Iterator[FileView]:
    """An input of the file as an input of the graph, or as several that are parts of it."""
    name, shape = model.inputs[place]
    groups, sizes = assumption.groups[place], assumption.sizes[place]
    fixed = {
        letter: sizes[letter]
        for group, dim in zip(groups, shape, strict=True)
        for letter in group
        if letter != "N" and (len(group) > 1 or isinstance(dim, int))
    }
    letters = {letter for group in groups for letter in group}
    fixed |= {letter: size for letter, size in sizes.items() if letter not in letters}
    axes = AXES[5 if "H" in sizes else 3]
    dtype = "uint8" if name in model.byte_inputs else "float32"
    whole = FileView(name, name, shape, groups, axes, fixed, dtype=dtype)
    parts = {p: cut for p, cut in found.parts.items() if cut.of == name and p in found.read}
    if name in found.read or not parts:
        yield whole
    for part, cut in parts.items():
        yield replace(whole, value=part, channels=cut.channels, rows=cut.rows, columns=cut.columns)


def _dims(view: FileView, place: int, stateful: bool) -> tuple[Dim, ...]:
    """The dimensions of a graph input: N is always open; one frame at a time leaves T open."""
    letters = {letter: letter for letter in "NTHW"}
    if place:
        letters |= {"T": "A", "H": f"H{place}", "W": f"W{place}"}
    fixed = {k: v for k, v in view.sizes.items() if not (stateful and k == "T")}
    for letter, cut in (("C", view.channels), ("H", view.rows), ("W", view.columns)):
        if cut is not None:
            fixed[letter] = cut[1] - cut[0]
    return tuple(fixed.get(axis, letters.get(axis, axis)) for axis in view.axes)


# Open sizes


def _open(model: OnnxModel) -> bool:
    return any(isinstance(dim, str) for _, shape in model.inputs for dim in shape)


def _check_open(model: OnnxModel, assumption: Assumption, made: Imported, budget: Budget) -> None:
    """The same assumption with other numbers for the open sizes must give the same graph."""
    frames = {sizes["T"] for sizes in assumption.sizes}
    for other in assumptions(model, 1):
        folded = any(len(group) > 1 for layout in other.groups for group in layout)
        if other.groups != assumption.groups or (
            folded and {sizes["T"] for sizes in other.sizes} != frames
        ):
            continue
        second = _result(model, other, _reading(model, other, budget).run())
        if second.graph != made.graph or any(
            not np.array_equal(second.weights[name], w) for name, w in made.weights.items()
        ):
            raise CheckpointError(
                "the network is another one for other sizes of the axes that it leaves open; "
                "export it with fixed sizes"
            )
        return
