"""A head for one's own classes: labelled clips in, a model file out, in minutes and on the CPU.

``python -m tsm_ref.fit_head CLIPS -o mine.h5``. The network stays as it is and gives features; a
linear layer behind them is fitted (logistic regression), and how right it is on clips that it has
not seen is measured by cross-validation and kept in the file.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsm_ref.command import Parser, guarded, number, positive, say, tell
from tsm_ref.errors import MissingDependency, SomeInputsFailed, TsmError, UsageError, WriteError
from tsm_ref.options import (
    add_facts,
    add_limits,
    add_model,
    add_partial,
    add_version,
    carried_out,
    recipe_of,
    versions,
)
from tsm_ref.system.terminal import printable

if TYPE_CHECKING:  # imported late: the number of threads has to be set before NumPy is
    from tsm_ref.batch import Clip
    from tsm_ref.batch.fitting import Examples
    from tsm_ref.batch.scores import Scores
    from tsm_ref.model import Model
    from tsm_ref.profile import Profile

__all__ = ["main", "parser"]


def parser() -> argparse.ArgumentParser:
    """The options, as ``--help`` prints them."""
    made = Parser(
        prog="python -m tsm_ref.fit_head",
        description="Fit a head for your own classes to the features of a network.",
        epilog="exit codes: 0 fine, 1 a bug of ours, 2 usage, 4 bad model file, 5 cannot write, "
        "6 some clips could not be read and were left out, 130 interrupted",
    )
    add = made.add_argument
    add("clips", metavar="CLIPS", help="a folder with one for each class, or a list with labels")
    add("-o", "--output", metavar="OUT.h5", required=True, help="the model file to write")
    add("--root", metavar="DIR", help="where the paths of a list begin")
    add_model(made)
    add("--layer", metavar="NAME", help="its features, instead of what the head reads")
    add("--folds", type=positive, default=5, metavar="K", help="of the cross-validation")
    add("--penalty", type=number, default=1.0, metavar="X", help="on squared weights (default: 1)")
    add("--seed", type=int, default=0, metavar="N", help="by which the clips are dealt to folds")
    add("--cache", metavar="DIR", help="keeps features; default: OUT.h5.features, removed at last")
    add("--confusion", metavar="OUT.svg|png", help="who is taken for whom, as a picture")
    add("--json", action="store_true", help="what was measured, as one JSON object")
    add("--storage", choices=("float32", "float16"), default="float32", help="of the weights")
    add_partial(made)
    look = made.add_argument_group("what the network sees, in the fit and ever after")
    look.add_argument(
        "--sampling",
        metavar="POLICY",
        help="default: the model's, or uniform where that is windows, for labels are of clips",
    )
    look.add_argument("--crops", type=positive, metavar="N", help="1, 3, 5 or 10 crops per frame")
    look.add_argument("--window", type=number, metavar="S", help="sliding windows of S seconds")
    look.add_argument("--stride", type=number, metavar="S", help="one every S seconds")
    add_facts(made)
    add_limits(made)
    add_version(made)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return guarded(lambda: carried_out(parser(), arguments, "tsm_ref.fit_head", UsageError, _main))


def _main(options: argparse.Namespace) -> None:
    from tsm_ref.batch.fitting import check_classes, classes_of_labels, cross_validate, truth_of
    from tsm_ref.model.meaning import find_labels

    _check(options)
    names = () if options.labels is None else find_labels(options.labels)
    clips = _clips(options)
    classes = classes_of_labels(clips, names)
    check_classes(truth_of(clips, classes, names), classes)
    model, profile = _model(options)
    examples, failed = _examples(options, model, profile, clips, classes, names)
    check_classes(examples.truth, classes, " that can be read")
    measured = replace(
        cross_validate(
            examples,
            len(classes),
            folds=options.folds,
            penalty=options.penalty,
            average=profile.average,
            seed=options.seed,
        ),
        failed=failed,
    )
    facts = _facts(options, model, examples, measured, classes)
    _save(options, model, profile, examples, classes, facts)
    if options.confusion is not None:
        from tsm_ref.show.files import write_file
        from tsm_ref.show.plot import confusion_plot

        kind = Path(options.confusion).suffix[1:]
        write_file(options.confusion, confusion_plot(measured.confusion, list(classes), kind))
    lines = [json.dumps(facts, allow_nan=False)] if options.json else _lines(facts, options.output)
    say("\n".join(lines))
    if options.cache is None:
        _forget(f"{options.output}.features")
    if failed:
        raise SomeInputsFailed(f"{failed} of {len(clips)} clips could not be read: left out")


def _check(options: argparse.Namespace) -> None:
    """What can be known before anything is run."""
    import importlib.util

    if importlib.util.find_spec("sklearn") is None:
        raise MissingDependency("scikit-learn", "fit a head")
    if Path(options.output).suffix.lower() not in (".h5", ".hdf5"):
        raise UsageError(f"--output {options.output}: the ending must be .h5 or .hdf5")
    folder = Path(options.output).parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise WriteError(f"{options.output}: there is no folder {folder} that one may write into")
    if options.confusion is not None and Path(options.confusion).suffix not in (".svg", ".png"):
        raise UsageError(f"--confusion {options.confusion}: the ending must be one of .svg, .png")
    if options.folds < 2:
        raise UsageError("--folds (=1) must be 2 or more")
    if not 0 <= options.seed < 2**32:
        raise UsageError(f"--seed (={options.seed}) must be 0 to {2**32 - 1}")


def _clips(options: argparse.Namespace) -> "list[Clip]":
    from tsm_ref.batch import read_list
    from tsm_ref.batch.lists import folders_of_classes

    if not os.path.isdir(options.clips):
        return read_list(options.clips, root=options.root)
    if options.root is not None:
        raise UsageError("--root is for the paths of a list, and a folder was given")
    return folders_of_classes(options.clips)


def _model(options: argparse.Namespace) -> "tuple[Model, Profile]":
    """The network, and what it sees: whole clips, unless windows are asked for."""
    from tsm_ref.recognition import sampled

    recipe = replace(recipe_of(options), labels=None)
    model = recipe.model_alone()
    sampling = dict(recipe.sampling)
    windows = model.profile.sampling.policy == "windows"
    if windows and not {"policy", "window", "stride"} & set(sampling):
        sampling["policy"] = "uniform"
    return model, sampled(model.profile, **sampling)


def _examples(
    options: argparse.Namespace,
    model: "Model",
    profile: "Profile",
    clips: "list[Clip]",
    classes: Sequence[str],
    names: Sequence[str],
) -> "tuple[Examples, int]":
    """The features of all clips that can be read, each video once, and how many cannot."""
    import numpy as np

    from tsm_ref.batch import Extractor
    from tsm_ref.batch.fitting import Examples, truth_of
    from tsm_ref.batch.screen import clip_progress

    cache = options.cache or f"{options.output}.features"
    extractor = Extractor(model, profile, options.layer, options.allow_partial, cache)
    truth = dict(zip((clip.path for clip in clips), truth_of(clips, classes, names), strict=True))
    seen: dict[str, Clip] = {}
    rows, known, failed = [], [], 0

    def told(path: str, error: TsmError) -> None:
        tell(f"error: {path}: {error}")

    with clip_progress("clips", quiet=options.quiet) as progress:
        for done, (clip, made) in enumerate(extractor.each(clips, told), 1):
            progress(done, len(clips))
            if made is None:
                failed += 1
                continue
            other = seen.setdefault(made.sha256, clip)
            if other is not clip:
                _same(other, clip, truth, options.quiet)
                continue
            for warning in () if options.quiet else made.warnings:
                tell(f"warning: {clip.path}: {warning}")
            rows.append(made.clips.astype(np.float64))
            known.append(truth[clip.path])
    if not rows:
        raise SomeInputsFailed("no clip could be read")
    place = np.repeat(np.arange(len(rows)), [len(part) for part in rows])
    return Examples(np.concatenate(rows), place, np.array(known)), failed


def _same(one: "Clip", other: "Clip", truth: dict[str, Any], quiet: bool) -> None:
    """One video under two names: counted once; under two labels it is a mistake."""
    said = f"{other.path} is the same video as {one.path}"
    if truth[one.path] != truth[other.path]:
        raise UsageError(f"{said}, under another label: {other.label!r}, not {one.label!r}")
    if not quiet:
        tell(f"warning: {said}: it is taken once")


def _facts(
    options: argparse.Namespace,
    model: "Model",
    examples: "Examples",
    measured: "Scores",
    classes: Sequence[str],
) -> dict[str, Any]:
    """All that was measured, and what is needed to measure it again."""
    import numpy as np

    from tsm_ref.batch.fitting import folds_of
    from tsm_ref.batch.scores import interval
    from tsm_ref.passes.features import head_input

    clips = np.bincount(examples.truth, minlength=len(classes))
    low, high = interval(measured.top1, measured.count)
    return {
        "accuracy": measured.top1,
        "interval": [low, high],
        "largest_class": float(clips.max() / clips.sum()),
        "folds": folds_of(examples.truth, options.folds),
        "clips": measured.count,
        "rows": len(examples.clip),
        "failed": measured.failed,
        "classes": [
            {"label": name, "clips": int(n), "recall": float(recall)}
            for name, n, recall in zip(classes, clips, measured.recall, strict=True)
        ],
        "confusion": measured.confusion.tolist(),
        "features": examples.features.shape[1],
        "layer": options.layer or head_input(model.graph),
        "penalty": options.penalty,
        "seed": options.seed,
        "precision": model.precision,
        "model": {"name": model.name, "sha256": model.sha256, "digest": model.digest()},
        "versions": versions(),
    }


def _save(
    options: argparse.Namespace,
    model: "Model",
    profile: "Profile",
    examples: "Examples",
    classes: Sequence[str],
    facts: dict[str, Any],
) -> None:
    """Fit the head to all clips, and write the network with it; raises `WriteError`."""
    import numpy as np

    from tsm_ref.batch.fitting import fit
    from tsm_ref.checkpoint import save
    from tsm_ref.passes.features import with_head

    graph, weight, bias = with_head(model.graph, len(classes), options.layer)
    head = fit(examples, len(classes), options.penalty)
    made = {weight: head.weight.astype(np.float32), bias: head.bias.astype(np.float32)}
    weights = {
        name: made[name] if name in made else model.weights[name] for name in graph.parameters
    }
    low, high = facts["interval"]
    said = (
        f"{facts['accuracy']:.1%} ({low:.1%} to {high:.1%}) of {facts['clips']} clips that the "
        f"head had not seen, by {facts['folds']}-fold cross-validation"
        + (", in bfloat16" if model.precision == "bfloat16" else "")
    )
    meant = profile.with_changes(labels=tuple(classes), no_event="", measured=said)
    extra = {"card": _card(facts, said), "fit": json.dumps(facts)}
    if model.notes:
        extra["base"] = json.dumps(dict(model.notes))
    if "licence" in model.notes:
        extra["licence"] = model.notes["licence"]
    try:
        save(options.output, graph, weights, meant, storage=options.storage, extra=extra)
    except TsmError as error:
        raise error.about(options.output) from None


def _card(facts: dict[str, Any], said: str) -> str:
    """How the head was fitted, as a page for people."""
    base = facts["model"]
    rows = "\n".join(
        f"| {row['label']} | {row['clips']} | {row['recall']:.1%} |" for row in facts["classes"]
    )
    return (
        f"# A head on {base['name']}\n\n"
        f"Right on {said}; always the largest class would be {facts['largest_class']:.1%}. Clips "
        "were split by clip, and nothing was chosen by these numbers; they hold for clips like "
        "these, and say nothing of others.\n\n"
        f"| class | clips | recall |\n|---|---:|---:|\n{rows}\n\n"
        f"A logistic regression (L2 penalty {facts['penalty']:g} on standardised features) on "
        f"{facts['features']} features of {facts['layer']!r} of {base['name']} (graph and weights "
        f"{base['digest']}), whose weights were left as they are. {facts['versions']}.\n"
    )


def _lines(facts: dict[str, Any], output: str) -> list[str]:
    """What people ask for first: the accuracy, and the classes that go wrong."""
    low, high = facts["interval"]
    lines = [
        f"accuracy  {facts['accuracy']:7.1%}  of {facts['clips']} clips, each by a head that has "
        f"not seen it ({facts['folds']} folds; 95 % interval {low:.1%} to {high:.1%})",
        f"largest   {facts['largest_class']:7.1%}  would always be said to be the largest class",
    ]
    for k, row in enumerate(facts["classes"]):
        counts = list(facts["confusion"][k])
        right, counts[k] = counts[k], 0
        worst = max(range(len(counts)), key=counts.__getitem__)
        taken = facts["classes"][worst]["label"]
        most = f", most taken for {printable(taken)}" if counts[worst] else ""
        lines.append(
            f"  {row['recall']:7.1%}  {right} of {row['clips']}  {printable(row['label'])}{most}"
        )
    width, base = facts["features"], facts["model"]["name"]
    lines.append(
        f"{printable(output)}: {len(facts['classes'])} classes on {width} features of "
        f"{printable(base)}; fitted to all {facts['clips']} clips"
    )
    return lines


def _forget(folder: str) -> None:
    """Remove the features of a run that is over; a folder with anything else in it stays."""
    from contextlib import suppress

    with suppress(OSError):
        for name in os.listdir(folder):
            if name.endswith(".npz"):
                os.unlink(os.path.join(folder, name))
        os.rmdir(folder)


if __name__ == "__main__":
    sys.exit(main())
