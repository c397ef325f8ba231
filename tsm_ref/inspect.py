"""Shows what a model file is: its network, what it means, and who says so.

``python -m tsm_ref.inspect FILE``: every fact with its source - the file, its name, the name of its
folder, an option, a profile - and what was assumed because nobody tells.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from functools import partial

from tsm_ref import checkpoint as files
from tsm_ref.checkpoint.facts import Fact, facts_of_profile
from tsm_ref.command import Parser, guarded, say, tell
from tsm_ref.errors import CheckpointError
from tsm_ref.model.meaning import meant_as
from tsm_ref.options import add_facts, facts_of

__all__ = ["main", "parser", "report"]

WIDTH = 100


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
    add_facts(made)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return guarded(lambda: _main(parser().parse_args(arguments)))


def _main(options: argparse.Namespace) -> None:
    path = files.resolve(options.source)
    read = partial(files.load_checkpoint, path)
    try:
        found = meant_as(read, options.profile, None, facts_of(options))
    except CheckpointError as error:
        raise error.about(path) from None
    for line in report(found):
        say(line)
    for sentence in found.warnings:
        tell(f"warning: {path}: {sentence}")


def report(found: files.Checkpoint) -> Iterator[str]:
    """What a checkpoint is, line by line: the file, the network, the facts, and remarks."""
    graph = found.graph
    shifts = sum(1 for _ in graph.select("TemporalShift"))
    yield f"file     {found.path}: {found.format}, {found.storage}"
    yield f"sha256   {found.sha256}"
    yield f"network  {graph.name}: {graph.parameter_count:,} parameters, {shifts} shifts"
    for fact in found.facts or _of_profile(found):
        if fact.value not in (None, ()):
            yield _cut(f"fact     {fact}")
    for name, text in found.extra.items():
        yield _cut(f"note     {name}: {' '.join(text.split())}")
    for remark in found.remarks:
        yield _cut(f"note     {remark}")


def _of_profile(found: files.Checkpoint) -> list[Fact]:
    """The facts of a file that keeps them together, as its profile."""
    source = f"the file, family {found.profile.family}"
    facts = facts_of_profile(found.profile)
    return [Fact(name, value, source) for name, value in facts.items()]


def _cut(line: str) -> str:
    return line if len(line) <= 4 * WIDTH else f"{line[: 4 * WIDTH]}..."


if __name__ == "__main__":
    sys.exit(main())
