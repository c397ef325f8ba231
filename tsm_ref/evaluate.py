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
    add_quiet,
    add_run,
    add_version,
    by_option,
    recipe_of,
    versions,
)
from tsm_ref.system.terminal import printable

if TYPE_CHECKING:  # imported late: the number of threads has to be set before NumPy is
    from tsm_ref.batch import Clip, Outcome, Recipe
    from tsm_ref.batch.scores import Scores

__all__ = ["main", "parser"]

SCHEMA_VERSION = 1
WORST = 5
"""The classes with the least recall that are told."""
NAMES = "mit-center-1clip, mit-full-2clip, dense-10x3, mmaction2, mmaction2-center, paddle-center"


def parser() -> argparse.ArgumentParser:
    """The options, as ``--help`` prints them."""
    made = Parser(
        prog="python -m tsm_ref.evaluate",
        description="Measure the accuracy of a model on a list of clips with labels.",
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
    add_quiet(made)
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
    with by_option(made):
        _main(options)


def _main(options: argparse.Namespace) -> None:
    limit_blas(options.threads)
    from tsm_ref.batch import Targets, read_list, run_batch
    from tsm_ref.batch.scores import scores, truth
    from tsm_ref.batch.screen import Screen
    from tsm_ref.model.meaning import classes_of

    if options.confusion is not None and Path(options.confusion).suffix not in (".svg", ".png"):
        raise UsageError(f"--confusion {options.confusion}: the ending must be one of .svg, .png")
    if options.resume and options.output is None:
        raise UsageError("--resume needs --output, beside which the journal stands")
    clips = read_list(options.list, root=options.root)
    recipe = _recipe(options)
    loaded = recipe.load()
    model = loaded[0]
    if model.independent() or len(model.graph.outputs) > 1:
        kind = "several heads" if len(model.graph.outputs) > 1 else "several labels for a clip"
        raise UsageError(f"the model {model.name!r} has {kind}: top-1 is of one label for a clip")
    classes = classes_of(model.graph, model.profile) or len(model.labels)
    true = truth(clips, model.labels, classes)
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
    made = scores(found, true, classes)
    names = [model.profile.label_of(k) for k in range(classes)]
    if options.output is not None:
        tree = _document(options, recipe, clips, found, true, made, names)
        tree["model"]["name"], tree["settings"] = model.name, recipe.settings(*loaded)
        tree["seconds"] = round(time.perf_counter() - begin, 3)
        _write(options.output, json.dumps(tree, indent=1, allow_nan=False) + "\n")
    if options.confusion is not None:
        from tsm_ref.show.plot import confusion_plot

        kind = Path(options.confusion).suffix[1:]
        _write(options.confusion, confusion_plot(made.confusion, names, kind))
    say("\n".join(_lines(made, names)))
    if made.failed:
        raise SomeInputsFailed(f"{made.failed} of {len(clips)} clips were not recognised")


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
    options: argparse.Namespace,
    recipe: "Recipe",
    clips: "Sequence[Clip]",
    found: "Sequence[Outcome]",
    true: dict[str, int],
    made: "Scores",
    names: Sequence[str],
) -> dict[str, Any]:
    """The result file: what was measured, and what is needed to measure it again."""
    from tsm_ref.batch.scores import interval
    from tsm_ref.checkpoint import sha256_of

    rows = made.confusion.sum(1)
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
        "recognised": made.count,
        "failed": made.failed,
        "top1": made.top1,
        "top1_interval": list(interval(made.top1, made.count)),
        "top5": made.top5,
        "mean_class_recall": made.mean_recall,
        "classes": [
            {
                "index": k,
                "label": names[k],
                "clips": int(rows[k]),
                "right": int(made.confusion[k, k]),
            }
            for k in range(len(names))
            if rows[k]
        ],
        "confusion": [
            {"true": int(i), "predicted": int(j), "clips": int(made.confusion[i, j])}
            for i, j in zip(*made.confusion.nonzero(), strict=True)
        ],
        "clips": [_clip(outcome, true[outcome.path]) for outcome in found],
    }


def _clip(outcome: "Outcome", label: int) -> dict[str, Any]:
    path = outcome.path.encode("utf-8", "backslashreplace").decode()
    if outcome.result is None:
        return {"path": path, "label": label, "error": outcome.error}
    best = outcome.result["predictions"]
    return {
        "path": path,
        "sha256": outcome.result["input"]["sha256"],
        "label": label,
        "predicted": [row["index"] for row in best],
        "probability": best[0]["probability"],
    }


def _lines(made: "Scores", names: Sequence[str]) -> list[str]:
    """What people ask for first: the shares, and the classes that go wrong."""
    from tsm_ref.batch.scores import interval

    low, high = interval(made.top1, made.count)
    lines = [
        f"top-1  {made.top1:7.2%}  of {made.count} clips (95 % interval {low:.2%} to {high:.2%})",
        f"top-5  {made.top5:7.2%}",
        f"mean   {made.mean_recall:7.2%}  over the classes that have clips",
    ]
    recall = made.recall
    worst = sorted((k for k in range(len(names)) if recall[k] < 1), key=lambda k: recall[k])
    for k in worst[:WORST]:
        row = made.confusion[k].copy()
        row[k] = 0
        taken = f", most taken for {printable(names[int(row.argmax())])}"
        count = f"{made.confusion[k, k]} of {made.confusion[k].sum()}"
        lines.append(f"  {recall[k]:7.2%}  {count}  {printable(names[k])}{taken}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
