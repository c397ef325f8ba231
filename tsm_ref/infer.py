"""The command line: videos in, labels out. Parsing and exit codes, nothing else.

Results go to stdout, everything else to stderr. The exit code is 0, or that of the error (see
`tsm_ref.errors`), 6 if some of several inputs failed, 130 after Ctrl-C. ``TSM_DEBUG=1`` shows
tracebacks.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tsm_ref import __version__
from tsm_ref.command import Parser, guarded, limit_blas, positive, printable, say, tell
from tsm_ref.errors import SomeInputsFailed, TsmError, UsageError, VideoError, WriteError
from tsm_ref.options import add_facts, add_model, load_model

if TYPE_CHECKING:  # imported late: the number of threads has to be set before NumPy is
    from tsm_ref.model import Model
    from tsm_ref.profile import Profile
    from tsm_ref.recognition.recognize import Progress

OF_CLIPS = ("sampling", "crops", "window", "stride")
"""Options of a run over whole clips."""
OF_STREAMS = (
    *("jsonl", "raw", "realtime", "smooth", "dwell", "persist", "mask", "no_event"),
    *("lookahead", "state"),
)
"""Options of ``--stream`` alone."""


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
    add_model(made)
    add("--list-models", action="store_true", help="list the models known by name, and stop")
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
    add_facts(made)
    _add_streaming(made)
    add("--allow-partial", action="store_true", help="use what decodes of a damaged video")
    add("--version", action="version", version=f"tsm_ref {__version__}")
    return made


def _add_streaming(made: argparse.ArgumentParser) -> None:
    """The options of a stream, one frame at a time."""
    add = made.add_argument_group(
        "frames as they come: a line for every frame or event"
    ).add_argument
    add("--stream", metavar="SOURCE", help="a video file, camera:N, or - for a pipe")
    add("--early", action="store_true", help="what the model says after each part of a VIDEO")
    add("--jsonl", action="store_true", help="JSON lines, one per frame, on a terminal too")
    add("--raw", metavar="WxH[@FPS]", help="the pipe holds RGB frames without a container")
    add("--every", type=positive, metavar="K", help="take every K-th frame")
    add("--rate", type=float, metavar="FPS", help="take so many frames a second, by their times")
    add("--realtime", action="store_true", help="play at its own speed; late frames are dropped")
    add("--smooth", type=positive, metavar="N", help="logits of N frames are averaged")
    add("--dwell", type=positive, default=1, metavar="N", help="a label stays for N frames")
    add("--persist", type=positive, default=1, metavar="N", help="a new one comes N times first")
    add("--mask", action="append", default=[], metavar="LABEL", help="a label never shown")
    add("--no-event", metavar="LABEL", help="the label that means that nothing happens")
    add("--lookahead", choices=("zero", "past"), help="no delay: another network, less accurate")
    add("--state", metavar="FILE", help="go on from FILE if it is there, and keep it up to date")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return guarded(lambda: _main(parser().parse_args(arguments)))


def _main(options: argparse.Namespace) -> None:
    limit_blas(options.threads)
    if options.list_models:
        _list_models()
        return
    _check_mode(options)
    if options.stream is not None:
        _follow(options)
        return
    if not options.inputs:
        raise UsageError("no video was given (--help shows the options)")
    model = load_model(options)
    if options.early:
        _each(options, lambda path, space: _early(model, path, options))
        return
    profile = _profile(model, options)
    _each(options, lambda path, space: _recognize(model, profile, path, options, space=space))


def _check_mode(options: argparse.Namespace) -> None:
    """Refuse an option that would do nothing."""
    idle: tuple[str, ...]
    if options.stream is not None:
        where, idle = "with --stream", ("early", *OF_CLIPS)
    elif options.early:
        where, idle = "with --early", (*OF_CLIPS, *OF_STREAMS)
    else:
        where, idle = "for whole clips", (*OF_STREAMS, "every", "rate")
    defaults = parser()
    for name in idle:
        if getattr(options, name) != defaults.get_default(name):
            raise UsageError(f"--{name.replace('_', '-')} does nothing {where}")


def _each(options: argparse.Namespace, show: Callable[[str, bool], None]) -> None:
    """Show what there is to say about every video; one that fails does not stop the others."""
    shown = failed = 0
    for path in options.inputs:
        try:
            show(path, shown > 0 and not options.json)
            shown += 1
        except (WriteError, UsageError):
            raise
        except TsmError as error:
            if len(options.inputs) == 1:
                raise error.about(path or "''") from None
            tell(f"error: {path}: {error}")
            failed += 1
    if failed:
        raise SomeInputsFailed(f"{failed} of {len(options.inputs)} videos were not recognised")


def _follow(options: argparse.Namespace) -> None:
    from dataclasses import fields

    from tsm_ref.live.session import Session, follow

    if options.inputs:
        raise UsageError("a stream has one source: give it to --stream, and no VIDEO")
    given = vars(options) | {"source": options.stream, "mask": tuple(options.mask)}
    wanted = options.jsonl or options.json
    given["jsonl"] = wanted or sys.stdout is None or not sys.stdout.isatty()
    known = {field.name for field in fields(Session)}
    session = Session(**{name: value for name, value in given.items() if name in known})
    try:
        follow(load_model(options), session, say, tell)
    except VideoError as error:
        raise error.about(options.stream) from None


def _early(model: "Model", path: str, options: argparse.Namespace) -> None:
    from tsm_ref.live import Pace, early
    from tsm_ref.live.show import early_json, early_lines
    from tsm_ref.video import frames

    pace = Pace(options.every or 1, options.rate) if options.every or options.rate else None
    with frames(path, allow_partial=options.allow_partial) as source:
        answers = early(model, source, pace=pace)
    for warning in source.warnings:
        tell(f"warning: {path}: {warning}")
    if options.json:
        say(early_json(path, answers))
    else:
        title = [path] if len(options.inputs) > 1 else []
        say("\n".join([*title, *early_lines(answers)]))


def _list_models() -> None:
    from tsm_ref.checkpoint import registry

    lines = [
        (name, f"{entry.task} ({entry.profile})") for name, entry in registry.entries().items()
    ]
    for name, other in registry.published().items():
        facts = (other.task, other.accuracy, other.note or "fetched when it is asked for")
        lines.append((name, "; ".join(fact for fact in facts if fact)))
    width = max(len(name) for name, _ in lines)
    say("\n".join(f"{name:{width}}  {text}" for name, text in lines))


def _profile(model: "Model", options: argparse.Namespace) -> "Profile":
    """The profile of a model that labels clips, with what the command line says about sampling."""
    from tsm_ref.recognition import check_classifies, sampled

    check_classifies(model)
    return sampled(
        model.profile,
        policy=options.sampling,
        crops=options.crops,
        window=options.window,
        stride=options.stride,
    )


def _recognize(
    model: "Model", profile: "Profile", path: str, options: argparse.Namespace, *, space: bool
) -> None:
    from tsm_ref.recognition import as_json, as_table, recognize

    with _progress(path) as progress:
        result = recognize(
            model,
            path,
            profile=profile,
            top=options.top,
            allow_partial=options.allow_partial,
            progress=progress,
        )
    for warning in result.warnings:
        tell(f"warning: {path}: {warning}")
    if options.json:
        say(as_json(result))
    else:
        colour = sys.stdout is not None and sys.stdout.isatty()
        say("\n" * space + as_table(result, colour=colour), colour=colour)


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
        task = bar.add_task(escape(printable(path)), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


if __name__ == "__main__":
    sys.exit(main())
