"""Import of ONNX files: what the axes mean is assumed, interpreted, and kept if all of it fits.

A file does not say which axis is time, or that 16 rows are two clips of 8 frames. Every assumption
that its declared shapes allow is tried, the likely ones first. A wrong one fails at the first
shift, which would cross from one clip into the next. Sizes that the file leaves open are bound
twice, to different numbers: both readings must give the same graph.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tsm_ref.checkpoint.contents import Checkpoint, FileState, Float32, shown
from tsm_ref.checkpoint.disk import StrPath, sha256_of
from tsm_ref.checkpoint.onnx_in.guard import Dim, OnnxModel, read_onnx
from tsm_ref.checkpoint.onnx_in.layers import LAYERS
from tsm_ref.checkpoint.onnx_in.moves import FOLDS, MOVES, REPORTS
from tsm_ref.checkpoint.onnx_in.reading import Broken, Budget, NotUnderstood, Reading
from tsm_ref.checkpoint.onnx_in.values import AXES, Moved, View
from tsm_ref.checkpoint.shift_rules import profile_of
from tsm_ref.checkpoint.views import FileView, Groups
from tsm_ref.errors import CheckpointError, GraphError
from tsm_ref.graph import Graph, Input
from tsm_ref.profile import Profile

FORMAT = "onnx"
PROFILE_KEY = "tsm_ref.profile"
SUPPORTED = frozenset({*LAYERS, *MOVES, *FOLDS, *REPORTS})

LAYOUTS: Mapping[int, tuple[Groups, ...]] = {
    5: (
        (("N",), ("T",), ("C",), ("H",), ("W",)),
        (("N",), ("C",), ("T",), ("H",), ("W",)),
        (("N",), ("T",), ("H",), ("W",), ("C",)),
    ),
    4: (
        (("N", "T"), ("C",), ("H",), ("W",)),
        (("N", "T"), ("H",), ("W",), ("C",)),
        (("N",), ("T", "C"), ("H",), ("W",)),
    ),
    3: ((("N",), ("T",), ("C",)), (("N",), ("C",), ("T",))),
    2: ((("N", "T"), ("C",)),),
}
"""What the axes of an input of so many axes may mean."""

MAX_FRAMES = 512
OPEN_PLACE = ((64, 96), (96, 64))
OPEN_BATCH = (2, 3)
OPEN_TIME = (8, 16)


@dataclass(frozen=True)
class Assumption:
    """What is assumed of the inputs: a layout for each, and a size for each letter of each."""

    groups: tuple[Groups, ...]
    sizes: tuple[Mapping[str, int], ...]


def load_onnx(path: StrPath, profile: Profile | None = None) -> Checkpoint:
    """Read an ONNX file into a graph of ours, its shifts lifted, with its own inputs and outputs.

    ``profile`` says what only our own ONNX files do: sampling, preprocessing, labels; MIT's unless
    given. What the shifts do is in the file, and a given profile must say the same.

    Raises `CheckpointError` for a file that is damaged, hostile, or not understood, in one sentence
    that names the node.
    """
    model = read_onnx(path, SUPPORTED)
    graph, weights, inputs, outputs, states = imported(model)
    return Checkpoint(
        graph=graph,
        weights=weights,
        profile=profile_of(graph, profile or _kept_profile(model)),
        sha256=sha256_of(path),
        storage=model.storage,
        path=Path(path),
        format=FORMAT,
        format_version=model.opset,
        extra={"producer": model.producer},
        inputs=inputs,
        outputs=outputs,
        states=states,
    )


def _kept_profile(model: OnnxModel) -> Profile | None:
    """The profile that `export_onnx` keeps in a file."""
    text = model.metadata.get(PROFILE_KEY)
    return None if text is None else Profile.from_json(text)


Result = tuple[
    Graph,
    dict[str, Float32],
    tuple[FileView, ...],
    tuple[FileView, ...],
    tuple[FileState, ...],
]


def imported(model: OnnxModel) -> Result:
    """The graph of a model, its weights, and its inputs, outputs and states."""
    failed: tuple[int, CheckpointError] | None = None
    budget = Budget(model.size)
    for assumption in _assumptions(model, 0):
        reading = _reading(model, assumption, budget)
        try:
            reading.run()
            result = _result(reading, assumption)
        except Broken:
            raise
        except (NotUnderstood, GraphError) as error:
            if failed is None or reading.done > failed[0]:
                failed = reading.done, CheckpointError(str(error))
            continue
        if _open(model):
            _check_open(model, assumption, result, budget)
        return result
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


# Assumptions


def _assumptions(model: OnnxModel, variant: int) -> Iterator[Assumption]:
    """Every meaning of the inputs that their shapes allow; open sizes are bound by the variant."""
    ranks = dict.fromkeys(len(shape) for _, shape in model.inputs)
    for rank in ranks:
        if rank not in LAYOUTS:
            raise CheckpointError(f"an input of {rank} axes is not supported; 2 to 5 are")
    numbers = _numbers(model)
    found = [
        Assumption(groups, sizes)
        for groups in _layouts([shape for _, shape in model.inputs])
        for sizes in _all_sizes([s for _, s in model.inputs], groups, numbers, variant)
    ]
    yield from sorted(found, key=_unlikeliness)


def _layouts(shapes: Sequence[Sequence[Dim]]) -> Iterator[tuple[Groups, ...]]:
    """One layout per input; inputs of equally many axes have the same."""
    first = LAYOUTS[len(shapes[0])] if shapes else ()
    for choice in first:
        yield tuple(
            choice if len(shape) == len(shapes[0]) else LAYOUTS[len(shape)][0] for shape in shapes
        )


def _all_sizes(
    shapes: Sequence[Sequence[Dim]],
    groups: Sequence[Groups],
    numbers: Sequence[int],
    variant: int,
) -> Iterator[tuple[Mapping[str, int], ...]]:
    """Every number of frames that divides what the shapes fold together."""
    frames = [None] if not any(len(g) > 1 for view in groups for g in view) else numbers
    for count in frames:
        sizes = []
        for shape, layout in zip(shapes, groups, strict=True):
            sizes.append(_sizes(shape, layout, count, variant))
        batches = {entry["N"] for entry in sizes if entry}
        if all(sizes) and len(batches) == 1:
            found = tuple(entry for entry in sizes if entry)
            yield found
            if any(len(shape) == 3 for shape in shapes):  # pools want places, if only one
                yield tuple({"H": 1, "W": 1, **entry} for entry in found)


def _sizes(
    shape: Sequence[Dim], groups: Groups, frames: int | None, variant: int
) -> Mapping[str, int] | None:
    """The size of each letter; None where the shape does not allow so many frames."""
    opened = {
        "N": OPEN_BATCH[variant],
        "T": OPEN_TIME[variant],
        "H": OPEN_PLACE[variant][0],
        "W": OPEN_PLACE[variant][1],
        "C": 3,
    }
    sizes: dict[str, int] = {}
    for group, dim in zip(groups, shape, strict=True):
        if len(group) == 1:
            sizes[group[0]] = dim if isinstance(dim, int) else opened[group[0]]
            continue
        other = group[0] if group[1] == "T" else group[1]
        sizes["T"] = frames or 1
        if isinstance(dim, str):
            sizes[other] = opened[other]
        elif dim % sizes["T"]:
            return None
        else:
            sizes[other] = dim // sizes["T"]
    return sizes


def _numbers(model: OnnxModel) -> list[int]:
    """Numbers of frames to try where they are folded with N or C: what the file mentions."""
    if all(isinstance(dim, int) for _, shape in model.inputs for dim in shape):
        top = max((int(dim) for _, shape in model.inputs for dim in shape[:2]), default=1)
        return [t for t in range(1, min(top, MAX_FRAMES) + 1) if top % t == 0]
    arrays = [*model.constants.values()]
    arrays += [v for n in model.nodes for v in n.attrs.values() if isinstance(v, np.ndarray)]
    arrays += [np.array(n.attrs.get("shape", (1,))) for n in model.nodes]
    found = {int(v) for a in arrays if a.dtype.kind == "i" and a.size <= 16 for v in a.reshape(-1)}
    return sorted({1} | {v for v in found if 0 < v <= MAX_FRAMES})


def _unlikeliness(assumption: Assumption) -> int:
    """Pictures have one to four channels; other layouts are tried later."""
    return sum(not 1 <= sizes["C"] <= 4 for sizes in assumption.sizes[:1])


# Results


def _result(reading: Reading, assumption: Assumption) -> Result:
    model = reading.model
    states, kept = _states(reading)
    outputs = tuple(_output(reading, name) for name in model.outputs if name not in kept)
    live = _live(reading, [view.value for view in outputs])
    gone = {state.input for state in states}
    inputs = tuple(
        view
        for place, (name, _) in enumerate(model.inputs)
        if name not in gone
        for view in _inputs(reading, assumption, place, live)
    )
    nodes = tuple(node for node in reading.nodes if node.name in live)
    used = {name for node in nodes for name in node.inputs}
    weights = {name: w for name, w in reading.parameters.items() if name in used}
    graph = Graph(
        model.name,
        tuple(Input(v.value, _dims(v, i, bool(states))) for i, v in enumerate(inputs)),
        nodes,
        tuple(dict.fromkeys(view.value for view in outputs)),
        {name: w.shape for name, w in weights.items()},
    )
    return graph, weights, inputs, outputs, states


def _states(reading: Reading) -> tuple[tuple[FileState, ...], set[str]]:
    """The states, each with the output that hands it on; raises `NotUnderstood` without one."""
    found = []
    for state in reading.states:
        wanted = state.kept.codes()[:, state.start : state.stop].reshape(-1)
        shape = next(s for n, s in reading.model.inputs if n == state.input)
        for name in reading.model.outputs:
            value = reading.values[name]
            if not isinstance(value, View | Moved) or len(value.shape) != len(shape):
                continue
            codes = value.codes() if isinstance(value, View) else value.codes
            if np.array_equal(codes.reshape(-1), wanted):
                found.append(FileState(state.input, name, state.kept.name, state.start, state.stop))
                break
        else:
            raise NotUnderstood(f"no output hands the state {shown(state.input)} on")
    return tuple(found), {state.output for state in found}


def _output(reading: Reading, name: str) -> FileView:
    value = reading.values[name]
    if isinstance(value, np.ndarray):
        raise Broken(f"the output {shown(name)} does not depend on the input of the graph")
    view = reading.resolved(value, name, f"the output {shown(name)}")
    base = view.base
    groups = view.groups
    if base.size["C"] == 1:  # one channel, folded into an axis that is there without it
        groups = tuple(tuple(v for v in g if v != "C") if len(g) > 1 else g for g in groups)
    if base.axes == "NCT" and base.size["C"] == 1 and groups == (("N",), ("T",)):
        base = reading.emit("Squeeze", name, [base.name], "NT", axes=(1,))
    shape = reading.model.output_shapes[reading.model.outputs.index(name)]
    return FileView(name, base.name, shape, groups, base.axes, {})


def _inputs(
    reading: Reading, assumption: Assumption, place: int, live: set[str]
) -> Iterator[FileView]:
    """An input of the file as an input of the graph, or as several that are parts of it."""
    name, shape = reading.model.inputs[place]
    groups, sizes = assumption.groups[place], assumption.sizes[place]
    fixed = {
        letter: sizes[letter]
        for group, dim in zip(groups, shape, strict=True)
        for letter in group
        if letter != "N" and (len(group) > 1 or isinstance(dim, int))
    }
    letters = {letter for group in groups for letter in group}
    fixed |= {letter: size for letter, size in sizes.items() if letter not in letters}
    whole = FileView(name, name, shape, groups, AXES[5 if "H" in sizes else 3], fixed)
    parts = {p: cut for p, (of, *cut) in reading.parts.items() if of == name and p in live}
    if name in live or not parts:
        yield whole
    for part, (start, stop) in parts.items():
        yield replace(whole, value=part, channels=(start, stop))


def _dims(view: FileView, place: int, stateful: bool) -> tuple[Dim, ...]:
    """The dimensions of a graph input: N is always open; one frame at a time leaves T open."""
    letters = {letter: letter for letter in "NTHW"}
    if place:
        letters |= {"T": "A", "H": f"H{place}", "W": f"W{place}"}
    fixed = {k: v for k, v in view.sizes.items() if not (stateful and k == "T")}
    if view.channels is not None:
        fixed["C"] = view.channels[1] - view.channels[0]
    return tuple(fixed.get(axis, letters.get(axis, axis)) for axis in view.axes)


def _live(reading: Reading, outputs: Sequence[str]) -> set[str]:
    """The nodes on which an output depends."""
    wanted = set(outputs)
    for node in reversed(reading.nodes):
        if node.name in wanted:
            wanted.update(node.inputs)
    return wanted


# Open sizes


def _open(model: OnnxModel) -> bool:
    return any(isinstance(dim, str) for _, shape in model.inputs for dim in shape)


def _check_open(model: OnnxModel, assumption: Assumption, result: Result, budget: Budget) -> None:
    """The same assumption with other numbers for the open sizes must give the same graph."""
    frames = {sizes["T"] for sizes in assumption.sizes}
    for other in _assumptions(model, 1):
        folded = any(len(group) > 1 for layout in other.groups for group in layout)
        if other.groups != assumption.groups or (
            folded and {sizes["T"] for sizes in other.sizes} != frames
        ):
            continue
        reading = _reading(model, other, budget)
        reading.run()
        second = _result(reading, other)
        if second[0] != result[0] or any(
            not np.array_equal(second[1][name], w) for name, w in result[1].items()
        ):
            raise CheckpointError(
                "the network is another one for other sizes of the axes that it leaves open; "
                "export it with fixed sizes"
            )
        return
