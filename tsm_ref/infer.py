"""The command line: videos in, labels out. Parsing and exit codes, nothing else.

Results go to stdout, everything else to stderr. The exit code is 0, or that of the error (see
`tsm_ref.errors`), 6 if some of several inputs failed, 130 after Ctrl-C. ``TSM_DEBUG=1`` shows
tracebacks.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tsm_ref.command import Parser, guarded, number, positive, say, tell
from tsm_ref.errors import SomeInputsFailed, TsmError, UsageError, VideoError, WriteError
from tsm_ref.options import (
    add_facts,
    add_flow,
    add_limits,
    add_model,
    add_partial,
    add_run,
    add_sampling,
    add_version,
    carried_out,
    coloured,
    load_model,
    recipe_of,
)

if TYPE_CHECKING:  # imported late: the number of threads has to be set before NumPy is
    from tsm_ref.batch import Clip, Outcome, Recipe
    from tsm_ref.model import Model
    from tsm_ref.profile import Profile

OF_BATCHES = (
    *(
        "recursive",
        "from_file",
        "root",
        "output_dir",
        "jsonl",
        "csv",
        "resume",
        "workers",
        "scheduler",
    ),
)
"""Options of a run over many clips."""
OF_FEATURES = ("features", "layer")
"""Options of what is written instead of labels."""
OF_FLOW = ("flow", "flow_model", "fusion")
"""Options of a network of optical flow."""
OF_PICTURES = ("report", "plot", "subtitles", "edl", "save_video")
"""Options of what people look at."""
OF_CLIPS = (
    *("sampling", "crops", "window", "stride", "fps"),
    *OF_FLOW,
    *OF_BATCHES,
    *OF_PICTURES,
    *OF_FEATURES,
)
"""Options of a run over whole clips."""
BESIDE_FEATURES = (
    *("top", "json", "average", "fps", *OF_FLOW, *OF_PICTURES),
    *(name for name in OF_BATCHES if name not in ("recursive", "from_file", "root")),
)
"""Options that say how labels are made or shown."""
OF_STREAMS = (
    *("raw", "realtime", "smooth", "dwell", "persist", "mask", "no_event"),
    *("lookahead", "state"),
)
"""Options of ``--stream`` alone."""
NOTHING = "no video was given (--help shows the options)"


def parser() -> argparse.ArgumentParser:
    """The options, which the README lists as ``--help`` prints them."""
    made = Parser(
        prog="tsm-infer",
        description="Recognise videos with a Temporal Shift Module network on the CPU.",
        epilog="exit codes: 0 fine, 1 a bug of ours, 2 usage, 3 bad video, 4 bad model file, "
        "5 cannot write, 6 some of several inputs failed, 130 interrupted",
    )
    add = made.add_argument
    add("inputs", nargs="*", metavar="VIDEO", help="videos, folders of them, or patterns")
    add_model(made)
    add("--list-models", action="store_true", help="list the models known by name, and stop")
    add("--fps", type=number, metavar="N", help="frames a second of folders of pictures")
    add("--top", type=positive, default=5, metavar="K", help="classes to show (default: 5)")
    add("--json", action="store_true", help="one JSON object per line: per video, or per frame")
    _add_batch(made)
    _add_pictures(made)
    _add_features(made)
    add_sampling(made)
    add_flow(made)
    add_facts(made)
    _add_streaming(made)
    add_limits(made)
    add_partial(made)
    add_version(made)
    return made


def _add_batch(made: argparse.ArgumentParser) -> None:
    """The options of a run over many clips."""
    many = made.add_argument_group("many videos: a line for each")
    add = many.add_argument
    add("-r", "--recursive", action="store_true", help="folders in folders too")
    add("--from-file", metavar="LIST", help="a list of paths, or of paths and labels; - is stdin")
    add("--root", metavar="DIR", help="where the paths of LIST begin")
    add("-o", "--output-dir", metavar="DIR", help="a JSON file for each, and a journal")
    add("--jsonl", metavar="FILE", help="the lines of --json in a file")
    add("--csv", metavar="FILE", help="a row for each")
    add("--resume", action="store_true", help="go on with a run that was cut off")
    add_run(many)


def _add_pictures(made: argparse.ArgumentParser) -> None:
    """The options of what people look at."""
    add = made.add_argument_group("to look at").add_argument
    add("--report", metavar="OUT.html", help="one page of all: frames, timeline, classes, model")
    add("--save-video", metavar="OUT.mp4", help="one video again, with its labels under it")
    add("--plot", metavar="OUT.svg|png", help="the probabilities of one video over time")
    add("--subtitles", metavar="OUT.srt|vtt", help="the timeline of one video as subtitles")
    add("--edl", metavar="OUT.edl|csv", help="the timeline of one video for an editor")


def _add_features(made: argparse.ArgumentParser) -> None:
    """The options of what other programs learn from."""
    add = made.add_argument_group("features instead of labels").add_argument
    add("--features", metavar="OUT.npz", help="what the head reads, of each clip and frame")
    add("--layer", metavar="NAME", help="what this layer gives instead, its mean over each frame")


def _add_streaming(made: argparse.ArgumentParser) -> None:
    """The options of a stream, one frame at a time."""
    add = made.add_argument_group(
        "frames as they come: a line for every frame or event"
    ).add_argument
    add("--stream", metavar="SOURCE", help="a video file, camera:N, an address, or -")
    add("--early", action="store_true", help="what the model says after each part of a VIDEO")
    add("--raw", metavar="WxH[@FPS]", help="the pipe holds RGB frames without a container")
    add("--every", type=positive, metavar="K", help="take every K-th frame")
    add("--rate", type=number, metavar="FPS", help="take so many frames a second, by their times")
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
    return guarded(lambda: carried_out(parser(), arguments, "tsm_ref.infer", VideoError, _run))


def _run(options: argparse.Namespace) -> None:
    if options.list_models:
        _list_models()
        return
    _check_mode(options)
    if options.stream is not None:
        _follow(options)
    elif options.early:
        model = _of_pictures(load_model(options))
        _each(options, lambda path: _early(model, path, options))
    elif options.features is not None:
        _features(options)
    else:
        _recognize(options)


def _check_mode(options: argparse.Namespace) -> None:
    """Refuse an option that would do nothing."""
    idle: tuple[str, ...]
    if options.stream is not None:
        where, idle = "with --stream", ("early", *OF_CLIPS)
    elif options.early:
        where, idle = "with --early", (*OF_CLIPS, *OF_STREAMS)
    elif options.features is not None:
        where, idle = "with --features", (*BESIDE_FEATURES, *OF_STREAMS, "every", "rate")
    else:
        where, idle = "for whole clips", (*OF_STREAMS, "every", "rate", "layer")
    defaults = parser()
    for name in idle:
        if getattr(options, name) != defaults.get_default(name):
            raise UsageError(f"--{name.replace('_', '-')} does nothing {where}")


def _each(options: argparse.Namespace, show: Callable[[str], None]) -> None:
    """Show what there is to say about every video; one that fails does not stop the others."""
    if not options.inputs:
        raise UsageError(NOTHING)
    failed = 0
    for path in options.inputs:
        try:
            show(path)
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
    given["jsonl"] = options.json or sys.stdout is None or not sys.stdout.isatty()
    known = {field.name for field in fields(Session)}
    session = Session(**{name: value for name, value in given.items() if name in known})
    try:
        follow(_of_pictures(load_model(options)), session, say, tell)
    except VideoError as error:
        raise error.about(options.stream) from None


def _of_pictures(model: "Model") -> "Model":
    """The same model; raises `UsageError` for one of flow, which no frame alone has."""
    from tsm_ref.recognition import sees_flow

    if sees_flow(model):
        raise UsageError(
            f"the model {model.name!r} sees optical flow, which is taken of whole clips"
        )
    return model


def _early(model: "Model", path: str, options: argparse.Namespace) -> None:
    from tsm_ref.live import Pace, early
    from tsm_ref.live.show import early_json, early_lines
    from tsm_ref.video import frames

    pace = None
    if options.every is not None or options.rate is not None:
        pace = Pace(options.every or 1, options.rate)
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


def _clips(options: argparse.Namespace) -> "list[Clip]":
    """All videos that are given, at least one."""
    from tsm_ref.batch import clips_of, read_list
    from tsm_ref.video import is_frames

    if options.root is not None and options.from_file is None:
        raise UsageError("--root is for the paths of --from-file, which was not given")
    listed = [] if options.from_file is None else read_list(options.from_file, root=options.root)
    clips = clips_of(options.inputs, recursive=options.recursive, listed=listed)
    if not clips:
        raise UsageError(NOTHING)
    if options.fps is not None and not any(is_frames(clip.path) for clip in clips):
        raise UsageError(f"--fps {options.fps:g} is for folders of pictures: a video has its own")
    return clips


def _features(options: argparse.Namespace) -> None:
    """Write the features of all videos in one file; those that cannot be read are told."""
    from tsm_ref.batch import Extractor
    from tsm_ref.recognition import as_npz, sampled
    from tsm_ref.show.files import write_file

    out, clips = options.features, _clips(options)
    if not out.lower().endswith(".npz"):
        raise UsageError(f"--features {out}: the ending must be .npz")
    recipe = recipe_of(options)
    model = recipe.model_alone()
    profile = sampled(model.profile, **recipe.sampling)
    extractor = Extractor(model, profile, options.layer, options.allow_partial)
    found, errors = [], []

    def failed(path: str, error: TsmError) -> None:
        errors.append(error.about(path or "''"))
        if len(clips) > 1:
            tell(f"error: {error}")

    for _, made in extractor.each(clips, failed):
        if made is None:
            continue
        found.append(made)
        for warning in () if options.quiet else made.warnings:
            tell(f"warning: {made.path}: {warning}")
    if not found:
        raise errors[0] if len(clips) == 1 else SomeInputsFailed("no video could be read")
    write_file(out, as_npz(found, model, profile, options.layer))
    if not options.quiet:
        rows, width = sum(len(made.start) for made in found), found[0].frames.shape[-1]
        videos = "one video" if len(found) == 1 else f"{len(found)} videos"
        tell(f"{out}: {rows} rows of {width} features, of {videos}")
    if errors:
        raise SomeInputsFailed(f"{len(errors)} of {len(clips)} videos could not be read")


def _recognize(options: argparse.Namespace) -> None:
    """One video with all that there is to say, or many with a line for each."""
    from tsm_ref.batch.outputs import check_spares
    from tsm_ref.checkpoint.registry import card_of
    from tsm_ref.show.files import Pictures
    from tsm_ref.show.report import Shown

    clips = _clips(options)
    pictures = Pictures(*(getattr(options, name) for name in OF_PICTURES))
    pictures.check(len(clips))
    read = (getattr(options, name) for name in ("from_file", "model", "labels", "profile"))
    check_spares(
        {f"--{name}": getattr(options, name) for name in ("jsonl", "csv", "report", "edl")},
        [*(clip.path for clip in clips), *read],
    )
    recipe = recipe_of(options)
    loaded = recipe.load()
    many = any(getattr(options, name) != parser().get_default(name) for name in OF_BATCHES)
    if len(clips) == 1 and not many:
        found = [_recognize_one(recipe, *loaded, clips[0].path, options)]
    else:
        found = _recognize_many(recipe, loaded, clips, options)
    shown = [Shown(outcome.path, outcome.result, outcome.error) for outcome in found]
    for note in pictures.write(shown, card_of(options.model) or loaded[0].notes.get("card", "")):
        tell(f"warning: {note}")
    failed = sum(outcome.result is None for outcome in found)
    if failed:
        raise SomeInputsFailed(f"{failed} of {len(clips)} videos were not recognised")


def _recognize_one(
    recipe: "Recipe", model: "Model", profile: "Profile", path: str, options: argparse.Namespace
) -> "Outcome":
    from tsm_ref.batch import Outcome
    from tsm_ref.batch.screen import clip_progress
    from tsm_ref.recognition import as_json, as_table
    from tsm_ref.recognition.render import as_tree

    try:
        with clip_progress(path, quiet=options.quiet) as progress:
            result = recipe.recognize(model, profile, path, progress)
    except (WriteError, UsageError):
        raise
    except TsmError as error:
        raise error.about(path or "''") from None
    told = result.model.warnings  # when it was loaded
    for warning in () if options.quiet else result.warnings[len(told) :]:
        tell(f"warning: {path}: {warning}")
    if options.json:
        say(as_json(result))
    else:
        say(as_table(result, colour=coloured()), colour=coloured())
    return Outcome(path, (0, 0), result=as_tree(result))


def _recognize_many(
    recipe: "Recipe",
    loaded: "tuple[Model, Profile]",
    clips: "list[Clip]",
    options: argparse.Namespace,
) -> "list[Outcome]":
    from tsm_ref.batch import Targets, run_batch
    from tsm_ref.batch.screen import Screen

    show = "json" if options.json else "details" if options.verbose else "lines"
    targets = Targets(options.output_dir, options.jsonl, options.csv, options.report)
    with Screen(len(clips), show, quiet=options.quiet) as screen:
        found = run_batch(
            recipe,
            clips,
            targets,
            workers=options.workers,
            scheduler=options.scheduler,
            resume=options.resume,
            loaded=loaded,
            tell=screen.tell,
        )
    if not options.quiet:
        tell(screen.summary(found))
    return found


if __name__ == "__main__":
    sys.exit(main())
