"""The command line: videos in, boxes out.

``python -m tsm_ref.detect clip.mp4 [--model FILE]``. Results go to stdout, everything else to
stderr.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from tsm_ref.command import Parser, guarded, number, positive, say, tell
from tsm_ref.errors import UsageError, VideoError, WriteError
from tsm_ref.options import (
    add_limits,
    add_model,
    add_partial,
    add_version,
    carried_out,
    load_model,
)

if TYPE_CHECKING:  # imported late: the number of threads has to be set before NumPy is
    from tsm_ref.detection import Detector, Seen
    from tsm_ref.detection.render import Drawing
    from tsm_ref.model import Model

__all__ = ["main", "parser"]

NETWORK = "rfcn_resnet101"


def parser() -> argparse.ArgumentParser:
    """The options, as ``--help`` prints them."""
    made = Parser(
        prog="python -m tsm_ref.detect",
        description="Find objects in a video, frame by frame, with R-FCN behind a causal TSM. "
        "Without --model the weights are seeded and untrained: none are published.",
        epilog="exit codes: 0 fine, 1 a bug of ours, 2 usage, 3 bad video, 4 bad model file, "
        "5 cannot write, 130 interrupted",
    )
    add = made.add_argument
    add("video", nargs="?", metavar="VIDEO", help="a video file, or a folder of frames")
    add_model(made, default="")
    add("--network", metavar="NAME", help=f"the untrained network; default: {NETWORK}")
    add("--size", metavar="N|HxW", help="short side in pixels, or both; default: 600, as published")
    add(
        "--threshold",
        dest="probability",
        type=number,
        metavar="P",
        help="the probability from which on a box is told; default: 0.5",
    )
    add(
        "--overlap",
        type=number,
        metavar="P",
        help="boxes of a class that share more are one; 0.3",
    )
    add("--most", type=positive, metavar="N", help="boxes a frame; default: 100")
    form = made.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object with all frames")
    form.add_argument("--jsonl", action="store_true", help="one JSON object a line and frame")
    add("--save-video", metavar="OUT.mp4", help="the video again, with its boxes")
    add("--stream", metavar="SOURCE", help="a video file, camera:N, an address, or -")
    add_partial(made)
    add_limits(made)
    add_version(made)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return guarded(lambda: carried_out(parser(), arguments, "tsm_ref.detect", VideoError, _run))


def _run(options: argparse.Namespace) -> None:
    _check(options)
    from tsm_ref.detection import Detector, Settings
    from tsm_ref.detection.render import NOTICE

    asked = {"threshold": options.probability, "overlap": options.overlap, "most": options.most}
    given = {name: value for name, value in asked.items() if value is not None}
    try:
        settings = Settings(**given)
    except UsageError as error:
        raise UsageError(str(error).replace("`threshold`", "--threshold")) from None
    detector = Detector(load_model(options) if options.model else _untrained(options), settings)
    if not options.model:
        tell(NOTICE)
    try:
        _follow(detector, options)
    except (UsageError, WriteError):
        raise
    except VideoError as error:
        raise error.about(options.stream or options.video) from None


def _check(options: argparse.Namespace) -> None:
    """Refuse what cannot be, before anything is run."""
    from tsm_ref.show.film import ENDINGS
    from tsm_ref.video import is_frames

    if (options.video is None) == (options.stream is None):
        raise UsageError("give one VIDEO, or --stream SOURCE")
    if options.stream is not None and (options.json or options.save_video):
        raise UsageError("--json and --save-video are for a whole VIDEO: a stream has --jsonl")
    if options.model and options.network:
        raise UsageError("--network is for untrained weights: a --model file has its own")
    if not options.model and options.profile:
        raise UsageError("--profile says what a --model file means, and none was given")
    path = options.save_video
    if path is None:
        return
    if Path(path).suffix.lower() not in ENDINGS:
        raise UsageError(f"--save-video {path}: the ending must be one of {', '.join(ENDINGS)}")
    if not Path(path).parent.is_dir():
        raise WriteError(f"{path}: its folder is not there")
    if is_frames(options.video):
        raise UsageError("--save-video draws on a video file, not on a folder of frames")


def _untrained(options: argparse.Namespace) -> "Model":
    """The network of seeded weights, for the classes of ImageNet VID or those of --labels."""
    from tsm_ref.model import build
    from tsm_ref.model.meaning import find_labels
    from tsm_ref.profile_files import changed

    labels = find_labels(options.labels or "imagenet_vid")
    name = options.network or NETWORK
    how = {"engine": options.engine, "precision": options.precision}
    model = build(name, num_classes=len(labels), threads=options.threads, **how)
    facts = {} if options.size is None else {"size": options.size}
    model.profile = changed(model.profile, **facts).with_changes(labels=labels)
    return model


def _follow(detector: "Detector", options: argparse.Namespace) -> None:
    """Say the boxes of every frame as it comes, or of all of them at the end."""
    from tsm_ref.detection.render import Drawing, as_json, as_jsonl, line
    from tsm_ref.live.sources import open_source

    trained, path = bool(options.model), options.stream or options.video
    drawing = Drawing(trained=trained) if options.save_video else None
    stdin = None if sys.stdin is None else sys.stdin.buffer
    source = open_source(
        path, allow_partial=options.allow_partial, stdin=stdin, threads=options.threads
    )
    kept: list[Seen] = []
    with closing(source):
        for seen in detector.run(source):
            if drawing is not None:
                drawing.add(seen)
            if options.json:
                kept.append(seen)
            else:
                say(as_jsonl(seen, trained=trained) if options.jsonl else line(seen))
    for sentence in () if options.quiet else source.warnings:
        tell(f"warning: {path}: {sentence}")
    if drawing is not None:
        _draw(drawing, options)
    if options.json:
        warnings = (*detector.model.warnings, *source.warnings)
        say(as_json(path, detector, kept, warnings, trained=trained))


def _draw(drawing: "Drawing", options: argparse.Namespace) -> None:
    from tsm_ref.show.film import redraw
    from tsm_ref.video import probe

    rate = probe(options.video).frame_rate
    for note in redraw(options.video, options.save_video, rate, drawing):
        tell(f"warning: {note}")


if __name__ == "__main__":
    sys.exit(main())
