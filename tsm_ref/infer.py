"""The command line: videos in, labels out. Parsing and exit codes, nothing else.

Results go to stdout, everything else to stderr. The exit code is 0, or that of the error (see
`tsm_ref.errors`), 6 if some of several inputs failed, 130 after Ctrl-C. ``TSM_DEBUG=1`` shows
tracebacks.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tsm_ref import __version__
from tsm_ref.command import Parser, guarded, positive, say, tell
from tsm_ref.errors import SomeInputsFailed, TsmError, UsageError, WriteError

if TYPE_CHECKING:  # imported late: the number of threads has to be set before NumPy is
    from tsm_ref.model import Model
    from tsm_ref.recognize import Progress

BLAS_THREADS = (
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def parser() -> argparse.ArgumentParser:
    """The options, which the README lists as ``--help`` prints them."""
    made = Parser(
        prog="tsm-infer",
        description="Recognise videos with a Temporal Shift Module network on the CPU.",
        epilog="exit codes: 0 fine, 1 a bug of ours, 2 usage, 3 bad video, 4 bad model file, "
        "5 cannot write, 6 some of several inputs failed, 130 interrupted",
    )
    add = made.add_argument
    add("inputs", nargs="*", metavar="VIDEO", help="video files")
    add(
        "--model",
        default="camera-motion",
        metavar="NAME|PATH",
        help="a model that ships (--list-models) or a model file; default: %(default)s",
    )
    add("--list-models", action="store_true", help="list the models that ship, and stop")
    add("--profile", metavar="NAME", help="what a foreign model file means: mit, mmaction2, ...")
    add("--engine", choices=("auto", "numpy", "numba"), default="auto")
    add("--threads", type=positive, default=1, metavar="N", help="default: %(default)s")
    add("--top", type=positive, default=5, metavar="K", help="classes to show (default: 5)")
    add("--json", action="store_true", help="one JSON object per line and video")
    look = made.add_argument_group(
        "what the network sees, instead of what the model's profile says"
    )
    look.add_argument(
        "--sampling",
        metavar="POLICY",
        help="uniform, twice, val, dense, mmaction2, paddle, windows",
    )
    look.add_argument("--crops", type=int, metavar="N", help="1, 3, 5 or 10 crops per frame")
    look.add_argument("--window", type=float, metavar="S", help="sliding windows of S seconds")
    look.add_argument("--stride", type=float, metavar="S", help="one every S seconds")
    add("--allow-partial", action="store_true", help="use what decodes of a damaged video")
    add("--version", action="version", version=f"tsm_ref {__version__}")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return guarded(lambda: _main(parser().parse_args(arguments)))


def _main(options: argparse.Namespace) -> None:
    for variable in BLAS_THREADS:
        os.environ.setdefault(variable, str(options.threads))
    if options.list_models:
        _list_models()
        return
    if not options.inputs:
        raise UsageError("no video was given (--help shows the options)")
    model = _model(options)
    failed = 0
    for number, path in enumerate(options.inputs):
        if number and not options.json:
            say("")
        try:
            _recognize(model, path, options)
        except WriteError:
            raise
        except TsmError as error:
            if len(options.inputs) == 1:
                raise error.about(path) from None
            tell(f"error: {path}: {error}")
            failed += 1
    if failed:
        raise SomeInputsFailed(f"{failed} of {len(options.inputs)} videos were not recognised")


def _list_models() -> None:
    from tsm_ref.checkpoint import registry

    for name, entry in registry.entries().items():
        say(f"{name:24}{entry.task} ({entry.profile})")


def _model(options: argparse.Namespace) -> "Model":
    """The model, with what the command line says about sampling."""
    from tsm_ref.model import load
    from tsm_ref.recognize import sampled

    model = load(
        options.model, profile=options.profile, engine=options.engine, threads=options.threads
    )
    model.profile = sampled(
        model.profile,
        policy=options.sampling,
        crops=options.crops,
        window=options.window,
        stride=options.stride,
    )
    return model


def _recognize(model: "Model", path: str, options: argparse.Namespace) -> None:
    from tsm_ref.recognize import recognize
    from tsm_ref.render import as_json, as_table

    with _progress(path) as progress:
        result = recognize(
            model, path, top=options.top, allow_partial=options.allow_partial, progress=progress
        )
    for warning in result.warnings:
        tell(f"warning: {path}: {warning}")
    colour = sys.stdout is not None and sys.stdout.isatty()
    say(as_json(result) if options.json else as_table(result, colour=colour))


@contextmanager
def _progress(path: str) -> Iterator["Progress"]:
    """A line on a terminal that says how far it is, gone when it is done; silence elsewhere."""
    try:
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import Progress as Bar
    except ImportError:
        yield lambda done, total: None
        return
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done, total: None
        return
    with Bar(console=console, transient=True) as bar:
        task = bar.add_task(escape(path), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


if __name__ == "__main__":
    sys.exit(main())
