"""Shows what a model file is: its network, what it means, and who says so.

``python -m tsm_ref.inspect FILE``: every fact with its source - the file, its name, the name of its
folder, an option, a profile - and what was assumed because nobody tells. ``--write-profile`` writes
that down as a file to edit, which ``--profile`` reads; ``--graph`` draws the network.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from tsm_ref import checkpoint as files
from tsm_ref.checkpoint.facts import FIELDS, OF_NETWORK, Fact, facts_of_profile
from tsm_ref.command import Parser, guarded, say, tell
from tsm_ref.errors import CheckpointError, UsageError
from tsm_ref.model.meaning import input_shapes, meant_as
from tsm_ref.ops_table import DYNAMIC, SUMS
from tsm_ref.options import add_facts, add_version, by_option, facts_of
from tsm_ref.profile import PROFILES
from tsm_ref.profile_files import to_toml
from tsm_ref.show.files import write_file
from tsm_ref.show.graph_picture import graph_svg
from tsm_ref.system.terminal import printable

__all__ = ["main", "parser", "report"]

WIDTH = 100

GRAPHS = ("onnx", "tflite")
"""The families of files that hold a graph and say nothing of what it is for."""


def parser() -> argparse.ArgumentParser:
    """The options, as ``--help`` prints them."""
    made = Parser(
        prog="python -m tsm_ref.inspect",
        description="Show what a model file is, what it means, and who says so.",
        epilog="exit codes: 0 fine, 1 a bug of ours, 2 usage, 4 bad model file, 5 cannot write, "
        "130 interrupted",
    )
    made.add_argument("source", metavar="FILE", help="a model that ships, or a model file")
    made.add_argument("--profile", metavar="NAME|FILE", help="what it means, where it does not say")
    made.add_argument("--labels", metavar="FILE|NAME", help="its classes, as for tsm_ref.infer")
    made.add_argument(
        "--write-profile", metavar="OUT.toml", help="what it means as a file to edit, for --profile"
    )
    made.add_argument("--graph", metavar="OUT.svg", help="the network as a picture")
    add_facts(made)
    add_version(made)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return guarded(lambda: _run(arguments))


def _run(arguments: Sequence[str] | None) -> None:
    made = parser()
    options = made.parse_args(arguments)
    with by_option(made):
        _main(options)


def _main(options: argparse.Namespace) -> None:
    for option, ending in (("write_profile", ".toml"), ("graph", ".svg")):
        path = getattr(options, option)
        if path is not None and Path(path).suffix.lower() != ending:
            raise UsageError(f"`{option}` (={path}) must end in {ending}")
    path = files.resolve(options.source)
    read = partial(files.load_checkpoint, path)
    try:
        found = meant_as(read, options.profile, options.labels, facts_of(options))
    except CheckpointError as error:
        raise error.about(path) from None
    for line in report(found):
        say(line)
    if options.write_profile is not None:
        write_file(options.write_profile, _as_file(found))
    if options.graph is not None:
        shapes = input_shapes(found.graph, found.profile)
        write_file(options.graph, graph_svg(found.graph, shapes, Path(options.source).name))
    for sentence in found.warnings:
        tell(f"warning: {path}: {sentence}")


def report(found: files.Checkpoint) -> Iterator[str]:
    """What a checkpoint is, line by line: the file, the network, the facts, and remarks."""
    graph = found.graph
    shifts = sum(1 for _ in graph.select("TemporalShift"))
    yield f"file     {found.path}: {found.format}, {found.storage}"
    yield f"sha256   {found.sha256}"
    yield f"network  {graph.name}: {graph.parameter_count:,} parameters, {shifts} shifts"
    whole_layers = (*SUMS, *DYNAMIC)
    layers = [node.op for node in graph.nodes if node.op in ("Conv", "Linear", *whole_layers)]
    whole = sum(op in whole_layers for op in layers)
    if whole:
        yield f"int8     {whole} of {len(layers)} layers with weights"
    for fact in found.facts or _of_profile(found):
        if fact.value not in (None, ()):
            yield _cut(f"fact     {fact}")
    for name, text in found.extra.items():
        yield _cut(f"note     {name}: {' '.join(text.split())}")
    for remark in found.remarks:
        yield _cut(f"note     {remark}")


def _as_file(found: files.Checkpoint) -> str:
    """The profile as TOML; a comment behind each field says who says so."""
    notes = {}
    for fact in found.facts or _of_profile(found):
        if fact.name in FIELDS:
            part, field = FIELDS[fact.name]
            notes[f"{part}.{field}" if part else field] = fact.source
    head = f"# What {printable(Path(found.path).name)} means (sha256 {found.sha256})"
    return f"{head}\n{to_toml(found.profile, notes)}"


def _of_profile(found: files.Checkpoint) -> list[Fact]:
    """The facts of a file that keeps them together, as its profile, or that is nothing but a graph.

    Such a graph tells its shifts, often its sizes, and of pictures what it does itself; what is as
    usual there is the convention.
    """
    facts = facts_of_profile(found.profile)
    if found.profile.family not in GRAPHS:
        source = f"the file, family {found.profile.family}"
        return [Fact(name, value, source) for name, value in facts.items()]
    usual = "tsn" if found.profile.placement == "none" else "mit"
    told = {*OF_NETWORK, *facts_of_profile(found.profile, PROFILES[usual])}
    sizes = zip(("segments", "crop", "crop"), found.graph.inputs[0].shape[2:], strict=False)
    told |= {name for name, size in sizes if isinstance(size, int)}
    sources = {True: "the file", False: f"the convention {usual}"}
    return [Fact(name, value, sources[name in told]) for name, value in facts.items()]


def _cut(line: str) -> str:
    return line if len(line) <= 4 * WIDTH else f"{line[: 4 * WIDTH]}..."


if __name__ == "__main__":
    sys.exit(main())
