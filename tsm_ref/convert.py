"""Converts any model file that can be read into HDF5, safetensors or ONNX, and checks the result.

``python -m tsm_ref.convert IN OUT``: the ending of OUT names the kind. What was written is read
back and run beside the source on the same random clip, frame by frame where it is one step of a
stream; the largest difference is printed.
"""

import argparse
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref import checkpoint as files
from tsm_ref.checkpoint.disk import write_whole
from tsm_ref.checkpoint.shift_rules import rule_of
from tsm_ref.command import Parser, guarded, positive, say
from tsm_ref.engine.on_numpy.engine import NumpyEngine
from tsm_ref.engine.stream.stream import Stream
from tsm_ref.errors import CheckpointError, GraphError, TsmError, UsageError, WriteError
from tsm_ref.graph import Graph
from tsm_ref.model.file_form import FileForm
from tsm_ref.model.meaning import meant_as
from tsm_ref.options import add_facts, add_limits, add_version, facts_of, limited
from tsm_ref.passes.streaming import without_lookahead
from tsm_ref.profile import ShiftRule
from tsm_ref.system import memory
from tsm_ref.system.atomic import final_target

__all__ = ["convert", "main", "parser"]

Array = NDArray[Any]

KINDS: Mapping[str, str] = {
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".safetensors": "safetensors",
    ".onnx": "onnx",
}
STEPS = 4
"""Frames on which a step of a stream is compared; all but the first see what it handed on."""


def parser() -> argparse.ArgumentParser:
    """The options, as ``--help`` prints them."""
    made = Parser(
        prog="python -m tsm_ref.convert",
        description="Convert a model file into HDF5 (.h5), safetensors or ONNX, and compare.",
        epilog="exit codes: 0 fine, 1 a bug of ours, 2 usage, 4 bad model file, 5 cannot write, "
        "130 interrupted",
    )
    add = made.add_argument
    add("source", metavar="IN", help="a model that ships, or a model file of any readable kind")
    add("target", metavar="OUT", help="the file to write: .h5, .safetensors or .onnx")
    add("--profile", metavar="NAME|FILE", help="what IN means: mit, paddle, ..., or a file")
    add("--labels", metavar="FILE|NAME", help="its classes, which OUT then holds")
    add_facts(made)
    add("--storage", choices=("float32", "float16"), default="float32", help="numbers in HDF5")
    size = made.add_argument_group("the sizes of an ONNX file; N is open unless it is given")
    for option, meaning in (("batch", "N"), ("frames", "T"), ("height", "H"), ("width", "W")):
        size.add_argument(f"--{option}", type=positive, metavar=meaning)
    size.add_argument("--opset", type=positive, default=17, metavar="N", help="default: 17")
    size.add_argument("--stream", action="store_true", help="one frame and its state per run")
    size.add_argument(
        "--lookahead", choices=("zero", "past"), help="no delay: another network, less accurate"
    )
    add_limits(made, videos=False)
    add_version(made)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return guarded(lambda: _main(sys.argv[1:] if arguments is None else arguments))


def _main(arguments: Sequence[str]) -> int | None:
    options = parser().parse_args(arguments)
    code = limited(options, "tsm_ref.convert", arguments, CheckpointError)
    if code is None:
        _carry_out(options)
    return code


def _carry_out(options: argparse.Namespace) -> None:
    sizes = {
        letter: value
        for letter, value in (
            ("N", options.batch),
            ("T", options.frames),
            ("H", options.height),
            ("W", options.width),
        )
        if value is not None
    }
    for line in convert(
        options.source,
        options.target,
        profile=options.profile,
        labels=options.labels,
        facts=facts_of(options),
        storage=options.storage,
        sizes=sizes,
        opset=options.opset,
        stream=options.stream,
        lookahead=options.lookahead,
    ):
        say(line)


def convert(
    source: str,
    target: str,
    *,
    profile: str | None = None,
    labels: str | Sequence[str] | None = None,
    facts: Mapping[str, Any] | None = None,
    storage: str = "float32",
    sizes: Mapping[str, int] | None = None,
    opset: int = 17,
    stream: bool = False,
    lookahead: str | None = None,
) -> list[str]:
    """Write `target` from `source`; returns what was read, what was written, and how they differ.

    ``profile``, ``labels`` and ``facts`` say what the source means, as in `tsm_ref.load`;
    ``lookahead`` writes another network, that looks nowhere ahead
    (`tsm_ref.passes.streaming.without_lookahead`). The
    result is compared before it takes its name: where this fails, nothing is left behind.

    Raises `UsageError` for an ending that names no kind and for options that do not fit it or the
    network, `CheckpointError` for a source that is not understood or a result that differs by more
    than storage rounds, `WriteError`.
    """
    kind = KINDS.get(Path(target).suffix.lower())
    if kind is None:
        raise UsageError(f"{target}: the ending must be one of {', '.join(KINDS)}")
    if stream and kind != "onnx":
        raise UsageError("only an ONNX file can hold one step of a stream")
    if storage != "float32" and kind != "hdf5":
        raise UsageError(f"only an HDF5 file can hold {storage}")
    path = files.resolve(source)
    if Path(target).exists() and Path(target).samefile(path):
        raise WriteError(f"{target}: the output is the input; another name is needed")
    try:
        found = meant_as(partial(files.load_checkpoint, path), profile, labels, facts or {})
    except CheckpointError as error:
        raise type(error)(f"{path}: {error}") from None
    for sentence in found.warnings:
        warnings.warn(f"{path}: {sentence}", stacklevel=2)
    if lookahead is not None:
        found = _without_lookahead(found, lookahead)
    bound = _sizes(found, sizes or {})
    _check_memory(found.graph, {**bound, "T": STEPS} if stream else bound)
    try:
        size, parity = _written(found, target, kind, storage, bound, opset, stream)
    except TsmError as error:
        raise error.about(target) from None
    lines = [f"read     {path}: {found.graph.name}, {found.format}, {found.storage}"]
    lines.append(f"profile  {found.profile.family}: {_shift(found)}")
    if found.graph.scores.kind != "logits":
        lines.append(f"gives    {found.graph.scores.kind}")
    lines += [
        f"left out {view.name}: {' and '.join(step.op for step in view.steps)} behind the network"
        for view in found.outputs
        if view.steps
    ]
    lines.append(f"wrote    {target}: {kind}, {size:,} bytes")
    lines.append(f"parity   {parity}")
    return lines


def _without_lookahead(found: files.Checkpoint, mode: str) -> files.Checkpoint:
    """Another network, and a profile that says so."""
    graph = without_lookahead(found.graph, mode)
    rule = rule_of(list(graph.select("TemporalShift"))) or ShiftRule("none")
    changed = f"changed: looks nowhere ahead (lookahead={mode!r}); unchanged it was: "
    measured = changed + (found.profile.measured or "not measured")
    profile = found.profile.with_changes(shift=rule, measured=measured)
    return replace(found, graph=graph, profile=profile, inputs=(), outputs=(), states=())


def _written(
    found: files.Checkpoint,
    target: str,
    kind: str,
    storage: str,
    sizes: Mapping[str, int],
    opset: int,
    stream: bool,
) -> tuple[int, str]:
    """Write the result, compare it, and only then give it its name; its size, and what was found.

    It waits in a folder of its own beside the target.
    """
    folder = final_target(Path(target)).parent
    try:
        waiting = tempfile.TemporaryDirectory(prefix=".tsm-convert-", dir=folder)
    except OSError as error:
        raise WriteError(f"the file cannot be written: {error.strerror or error}") from error
    with waiting as place:
        made = str(Path(place, f"made{Path(target).suffix}"))
        _write(found, made, kind, storage, sizes, opset, stream)
        parity = _parity(found, made, sizes, storage, stream)
        data = Path(made).read_bytes()
    write_whole(target, data)
    return len(data), parity


def _write(
    found: files.Checkpoint,
    target: str,
    kind: str,
    storage: str,
    sizes: Mapping[str, int],
    opset: int,
    stream: bool,
) -> None:
    if kind == "onnx":
        export = files.export_onnx_stream if stream else files.export_onnx
        export(found.graph, found.weights, target, sizes=sizes, profile=found.profile, opset=opset)
    elif kind == "safetensors":
        files.save_safetensors(target, found.graph, found.weights, found.profile, found.extra)
    else:
        files.save(
            target, found.graph, found.weights, found.profile, storage=storage, extra=found.extra
        )


def _shift(found: files.Checkpoint) -> str:
    count = sum(1 for _ in found.graph.select("TemporalShift"))
    rule = found.profile.shift
    return f"{count} shifts, rule {rule.rule}, divisor {rule.divisor:g}, fill {rule.fill}"


def _sizes(found: files.Checkpoint, given: Mapping[str, int]) -> dict[str, int]:
    """What the named dimensions are: as asked for, or as the profile samples and crops.

    Raises `UsageError` for another size than the one that the network fixes.
    """
    for letter, size in zip("NCTHW", found.graph.inputs[0].shape, strict=False):
        if isinstance(size, int) and given.get(letter, size) != size:
            raise UsageError(f"{letter} (={given[letter]}) must be {size}: the network fixes it")
    height, width = found.profile.preprocess.frame_size
    usual = {"T": found.profile.sampling.segments, "A": 1, "H": height or 224, "W": width or 224}
    return {**usual, **given}


def _check_memory(graph: Graph, sizes: Mapping[str, int]) -> None:
    """Raise `CheckpointError` where one clip of these sizes would take more memory than it may."""
    named = {**sizes, "N": sizes.get("N", 1)}
    shapes = {
        entry.name: [d if isinstance(d, int) else named.get(d, 1) for d in entry.shape]
        for entry in graph.inputs
    }
    clip = sum(prod(shape) for shape in shapes.values())
    try:
        found = graph.shapes(shapes)
    except GraphError:  # said where it is run
        found = {}
    values = max((prod(found[node.name]) for node in graph.nodes if found), default=0)
    size = "x".join(str(named[letter]) for letter in "NTHW" if letter in named)
    memory.check(
        4 * (4 * clip + 3 * values),
        f"the comparison on a clip of {size}",
        weights=4 * graph.parameter_count,
    )


def _parity(
    found: files.Checkpoint, target: str, sizes: Mapping[str, int], storage: str, stream: bool
) -> str:
    """Run both on random numbers; in half precision a difference is to be expected."""
    try:
        again = files.load_checkpoint(target)
    except CheckpointError as error:
        if not stream:
            raise
        return f"not compared, as the step cannot be read back: {error}"
    ours, theirs = _stepped(found, again, sizes) if stream else _run(found, again, sizes)
    difference = max(float(np.abs(a - b).max()) for a, b in zip(ours, theirs, strict=True))
    largest = max(float(np.abs(value).max()) for value in ours)
    if difference > (1e-5 if storage == "float32" else 0.1) * largest:
        raise CheckpointError(f"the result differs from its source by {difference:.3g}")
    equal = "equal bit for bit" if not difference else f"largest difference {difference:.3g}"
    what = f"{STEPS} random frames, one by one" if stream else "one random clip"
    return f"{equal} (outputs up to {largest:.3g}, {what} on the NumPy engine)"


def _run(
    found: files.Checkpoint, again: files.Checkpoint, sizes: Mapping[str, int]
) -> tuple[list[Array], list[Array]]:
    """The outputs of both for one clip."""
    clips = _random_clips(found.graph, sizes)
    ours = NumpyEngine(found.graph, found.weights).run(clips)
    given = clips
    if again.inputs:
        given = {view.value: view.to_graph(clips[view.name]) for view in again.inputs}
    theirs = NumpyEngine(again.graph, again.weights).run(given)
    if again.outputs:
        theirs = {view.name: view.to_file(theirs[view.value]) for view in again.outputs}
    return list(ours.values()), [theirs[name] for name in ours]


def _stepped(
    found: files.Checkpoint, again: files.Checkpoint, sizes: Mapping[str, int]
) -> tuple[list[Array], list[Array]]:
    """The outputs of both for frame after frame; the file is given the state that it gave back."""
    clips = _random_clips(found.graph, {**sizes, "T": STEPS, "A": STEPS})
    stream = Stream(NumpyEngine(found.graph, found.weights), sizes.get("N", 1), source=found.graph)
    engine = NumpyEngine(again.graph, again.weights)
    step = FileForm(again.graph, engine, again.inputs, again.outputs, again.states)
    shapes = again.graph.shapes({name: clip[:, :, :1].shape for name, clip in clips.items()})
    state = {}
    for kept in again.states:
        count, _, _, *place = shapes[kept.value]
        state[kept.input] = np.zeros((count, kept.stop - kept.start, *place), np.float32)
    ours: list[Array] = []
    theirs: list[Array] = []
    for t in range(STEPS):
        frame = {name: np.ascontiguousarray(clip[:, :, t]) for name, clip in clips.items()}
        made = stream.step(frame)
        ours += [v for v in (made.values() if isinstance(made, dict) else [made]) if v is not None]
        given = step.run({**frame, **state})
        state = {kept.input: given.pop(kept.output) for kept in again.states}
        theirs += given.values()
    return ours, theirs


def _random_clips(graph: Graph, sizes: Mapping[str, int]) -> dict[str, Array]:
    rng = np.random.default_rng(0)
    named = {**sizes, "N": sizes.get("N", 1)}
    shapes = {
        entry.name: [dim if isinstance(dim, int) else named.get(dim, 1) for dim in entry.shape]
        for entry in graph.inputs
    }
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


if __name__ == "__main__":
    sys.exit(main())
