"""Quantises a model on clips of one's own: ``python -m tsm_ref.quantize MODEL OUT --clips FOLDER``.

OUT is a model file of ours with whole numbers of 8 bits, which runs, streams and converts as any
other; what it cost is printed and kept in it. `tsm_ref.quantization` does the work; as a module
this one can be called like its function.
"""

import argparse
import glob
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tsm_ref.command import Parser, guarded, positive, say, tell
from tsm_ref.errors import CheckpointError, UsageError, WriteError
from tsm_ref.options import add_facts, add_limits, add_version, carried_out, facts_of

if TYPE_CHECKING:  # imported late: the number of threads has to be set before NumPy is
    from tsm_ref.model import Model

__all__ = ["main", "parser"]


def parser() -> argparse.ArgumentParser:
    """The options, as ``--help`` prints them."""
    made = Parser(
        prog="python -m tsm_ref.quantize",
        description="Quantise a model to 8 bits, calibrated on clips such as it will see.",
        epilog="exit codes: 0 fine, 1 a bug of ours, 2 usage, 3 bad video, 4 bad model file, "
        "5 cannot write, 130 interrupted",
    )
    add = made.add_argument
    add("model", metavar="MODEL", help="a model that ships, or a model file of any readable kind")
    add("output", metavar="OUT", help="the model file to write, .h5")
    clips = made.add_argument_group("what it is calibrated on: tens of clips, without labels")
    clips.add_argument("--clips", metavar="FOLDER|LIST", help="a folder of videos, or a list")
    clips.add_argument(
        "--samples", action="store_true", help="the clips that ship, where there are no others"
    )
    choice = made.add_argument_group("how; what is not given is chosen by measuring")
    choice.add_argument(
        "--method",
        choices=("min-max", "percentile", "mse"),
        default="percentile",
        help="how much of a range is kept; default: %(default)s",
    )
    choice.add_argument(
        "--equalise", action=argparse.BooleanOptionalAction, help="balance the channels"
    )
    choice.add_argument(
        "--correct",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="correct the biases",
    )
    choice.add_argument(
        "--keep", action="append", metavar="LAYER", help="it stays float32; none: all are int8"
    )
    add("--profile", metavar="NAME|FILE", help="what a model file means: mit, ..., or a .toml")
    add("--labels", metavar="FILE|NAME", help="its classes: one a line, CSV, JSON, kinetics400")
    add("--engine", choices=("auto", "numba", "numpy"), default="auto")
    add("--threads", type=positive, default=1, metavar="N", help="default: %(default)s")
    add_facts(made)
    add_limits(made)
    add_version(made)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return guarded(
        lambda: carried_out(parser(), arguments, "tsm_ref.quantize", CheckpointError, _carry_out)
    )


def _carry_out(options: argparse.Namespace) -> None:
    from tsm_ref.model import load, save
    from tsm_ref.quantization import Report, quantize
    from tsm_ref.quantization.report import NOTE

    if Path(options.output).suffix.lower() not in (".h5", ".hdf5"):
        raise UsageError(f"{options.output}: the ending must be .h5")
    _check_target(options.output, options.model)
    clips = _clips(options)
    model = load(
        options.model,
        profile=options.profile,
        labels=options.labels,
        engine=options.engine,
        threads=options.threads,
        **facts_of(options),
    )
    keep = None if options.keep is None else [name for name in options.keep if name != "none"]
    found = quantize(
        model,
        clips,
        method=options.method,
        equalise=options.equalise,
        correct=options.correct,
        keep=keep,
        source="the samples that ship" if options.samples else os.path.basename(options.clips),
    )
    if options.samples:
        tell("warning: calibrated on the samples that ship, not on clips such as it will see")
    digest = save(found, options.output)
    for line in Report.from_json(found.notes[NOTE]).lines():
        say(line)
    size = os.path.getsize(options.output)
    say(f"wrote         {options.output}: {size:,} bytes, sha256 {digest[:12]}")


def _clips(options: argparse.Namespace) -> list[str]:
    """The paths of the clips; raises `UsageError` where none are given."""
    from tsm_ref.batch import clips_of, read_list
    from tsm_ref.checkpoint import weights_folder

    if bool(options.clips) == options.samples:
        raise UsageError(
            "give `clips`, a folder or a list of videos such as the model will see (tens of them, "
            "without labels), or `samples` for the few that ship"
        )
    if options.samples:
        return sorted(glob.glob(str(weights_folder() / "samples" / "*.mp4")))
    if os.path.isdir(options.clips):
        return [clip.path for clip in clips_of([options.clips], recursive=True)]
    return [clip.path for clip in read_list(options.clips)]


def _check_target(target: str, source: str) -> None:
    """See before minutes of work that its result can be written; raises `WriteError`."""
    if os.path.exists(target) and os.path.exists(source) and os.path.samefile(target, source):
        raise WriteError(f"{target}: the output is the input; another name is needed")
    if os.path.isdir(target):
        raise WriteError(f"{target}: the output is a directory; a file name is needed")
    if not os.path.isdir(os.path.dirname(target) or "."):
        raise WriteError(f"{target}: its folder is not there")


class _Callable(ModuleType):
    """The module: ``tsm_ref.quantize(model, clips)`` works beside ``import tsm_ref.quantize``."""

    def __call__(self, *given: Any, **options: Any) -> "Model":
        from tsm_ref.quantization import quantize

        return quantize(*given, **options)


sys.modules[__name__].__class__ = _Callable


if __name__ == "__main__":
    sys.exit(main())
