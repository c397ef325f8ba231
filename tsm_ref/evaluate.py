"""How often a model is right: a list of clips with labels in, accuracy out.

``python -m tsm_ref.evaluate LIST --model NAME|PATH``. The result file says everything that is
needed to measure the same again: versions, model, profile, protocol, list, and every clip.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsm_ref.command import Parser, guarded, limit_blas, say
from tsm_ref.errors import SomeInputsFailed, UsageError
from tsm_ref.options import (
    add_facts,
    add_flow,
    add_model,
    add_partial,
    add_patience,
    add_run,
    add_version,
    by_option,
    patient,
    recipe_of,
    versions,
)

if TYPE_CHECKING:  # imported late: the number of threads has to be set before NumPy is
    from tsm_ref.batch import Clip, Recipe
    from tsm_ref.batch.questions import Question
    from tsm_ref.model import Model
    from tsm_ref.profile import Profile

__all__ = ["main", "parser"]

SCHEMA_VERSION = 1
NAMES = "mit-center-1clip, mit-full-2clip, dense-10x3, mmaction2, mmaction2-center, paddle-center"


def parser() -> argparse.ArgumentParser:
    """The options, as ``--help`` prints them."""
    made = Parser(
        prog="python -m tsm_ref.evaluate",
        description="Measure the accuracy of a model on a list of clips with labels: top-1 and "
        "top-5, the mean average precision of several labels, or each of several heads.",
        epilog="exit codes: 0 fine, 1 a bug of ours, 2 usage, 4 bad model file, 5 cannot write, "
        "6 some clips could not be read, 130 interrupted",
    )
    add = made.add_argument
    add("list", metavar="LIST", help="paths with labels (numbers or names), see the README")
    add("--root", metavar="DIR", help="where the paths of LIST begin")
    add_model(made)
    add("--protocol", metavar="NAME", help=f"instead of the profile's: {NAMES}")
    add("-o", "--output", metavar="FILE.json", help="everything that was measured, and how")
    add("--confusion", metavar="OUT.svg|png", help="who is taken for whom, as a picture")
    add("--resume", action="store_true", help="go on with a run that was cut off (with --output)")
    add_run(made)
    add_partial(made)
    add_patience(add)
    add_flow(made)
    add_facts(made)
    add_version(made)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return guarded(lambda: _run(arguments))


def _run(arguments: Sequence[str] | None) -> None:
    made = parser()
    options = made.parse_args(arguments)
    with by_option(made), patient(options):
        _main(options)


def _main(options: argparse.Namespace) -> None:
    limit_blas(options.threads)
    from tsm_ref.batch import Targets, read_list, run_batch
    from tsm_ref.batch.questions import OneLabel
    from tsm_ref.batch.screen import Screen

    if options.confusion is not None and Path(options.confusion).suffix not in (".svg", ".png"):
        raise UsageError(f"--confusion {options.confusion}: the ending must be one of .svg, .png")
    if options.resume and options.output is None:
        raise UsageError("--resume needs --output, beside which the journal stands")
    clips = read_list(options.list, root=options.root)
    recipe = _recipe(options)
    loaded = recipe.load()
    question = _question(loaded, clips)
    if options.confusion is not None and not isinstance(question, OneLabel):
        raise UsageError("--confusion is of one label for a clip, and the model says more")
    recipe = replace(recipe, top=max(question.top, recipe.top))
    begin = time.perf_counter()
    with Screen(len(clips), "nothing", quiet=options.quiet) as screen:
        found = run_batch(
            recipe,
            clips,
            Targets(beside=options.output),
            workers=options.workers,
            scheduler=options.scheduler,
            resume=options.resume,
            loaded=loaded,
            tell=screen.tell,
        )
    made = question.counted(found)
    if options.output is not None:
        tree = _document(options, recipe, clips) | question.tree(made)
        tree["clips"] = [question.clip(outcome) for outcome in found]
        tree["model"]["name"], tree["settings"] = loaded[0].name, recipe.settings(*loaded)
        tree["seconds"] = round(time.perf_counter() - begin, 3)
        _write(options.output, json.dumps(tree, indent=1, allow_nan=False) + "\n")
    if options.confusion is not None:
        from tsm_ref.show.plot import confusion_plot

        kind = Path(options.confusion).suffix[1:]
        _write(options.confusion, confusion_plot(made.confusion, question.names, kind))
    say("\n".join(question.lines(made)))
    if made.failed:
        raise SomeInputsFailed(f"{made.failed} of {len(clips)} clips were not recognised")


def _question(loaded: "tuple[Model, Profile]", clips: "Sequence[Clip]") -> "Question":
    """What is asked of the model: its one label, its several labels, or all of its heads."""
    from tsm_ref.batch.questions import OneLabel, SeveralHeads, SeveralLabels

    model, profile = loaded
    heads = list(model.graph.outputs)
    if len(heads) == 1:
        several = profile.multi_label or model.independent()
        return (SeveralLabels if several else OneLabel)(model, clips)
    if profile.multi_label or any(model.independent(head) for head in heads):
        raise UsageError(
            f"the model {model.name!r} has heads of several labels: each head of several is "
            "measured by one label"
        )
    return SeveralHeads(model, clips)


def _write(path: str, data: str | bytes) -> None:
    from tsm_ref.show.files import write_file

    write_file(path, data)


def _recipe(options: argparse.Namespace) -> "Recipe":
    """The recipe of the options under a protocol; a fact that is given goes before it."""
    from tsm_ref.batch.scores import PROTOCOLS

    recipe = recipe_of(options)
    if options.protocol is None:
        return recipe
    if options.protocol not in PROTOCOLS:
        raise UsageError(
            f"there is no protocol {options.protocol!r}; there are {', '.join(PROTOCOLS)}"
        )
    named = dict(PROTOCOLS[options.protocol])
    average = {"average": named.pop("average")} if "average" in named else {}
    return replace(recipe, sampling=named, facts={**average, **recipe.facts})


def _document(
    options: argparse.Namespace, recipe: "Recipe", clips: "Sequence[Clip]"
) -> dict[str, Any]:
    """The begin of the result file: what is needed to measure the same again."""
    from tsm_ref.checkpoint import sha256_of

    return {
        "schema_version": SCHEMA_VERSION,
        "versions": versions(),
        "model": {"given": recipe.model},
        "protocol": options.protocol,
        "list": {
            "path": options.list,
            "sha256": None if options.list == "-" else sha256_of(options.list),
            "clips": len(clips),
        },
    }


if __name__ == "__main__":
    sys.exit(main())
