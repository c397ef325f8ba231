"""The command line: a video of a face in, its pulse out.

``python -m tsm_ref.pulse clip.mp4 --model FILE [--roi x,y,w,h]``. Results go to stdout, everything
else to stderr.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsm_ref.command import Parser, guarded, number, say, tell
from tsm_ref.errors import TsmError, UsageError
from tsm_ref.options import add_facts, add_limits, add_model, add_version, carried_out

if TYPE_CHECKING:  # imported late: the number of threads has to be set before NumPy is
    from tsm_ref.model import Model

__all__ = ["main", "parser"]


def parser() -> argparse.ArgumentParser:
    """The options, as ``--help`` prints them."""
    made = Parser(
        prog="python -m tsm_ref.pulse",
        description="Find the pulse of a face in a video. This is no medical device.",
        epilog="exit codes: 0 fine, 1 a bug of ours, 2 usage, 3 bad video, 4 bad model file, "
        "5 cannot write, 130 interrupted",
    )
    add = made.add_argument
    add("video", nargs="?", metavar="VIDEO", help="a video file, or a folder of frames")
    add_model(made, default=None)
    add("--roi", metavar="x,y,w,h", help="where the face is, in pixels; default: it is looked for")
    add("--face-model", metavar="FILE.onnx", help="look for it with OpenCV's YuNet")
    add("--recipe", metavar="NAME", help="preprocessing: open-rppg, toolbox, mtts-can, ...")
    add("--window", type=number, default=10.0, metavar="S", help="seconds (default: 10)")
    add("--stride", type=number, default=2.0, metavar="S", help="one every S seconds (default: 2)")
    add("--json", action="store_true", help="one JSON object with the wave; one per window of a "
        "stream")  # fmt: skip
    add("--csv", metavar="FILE", help="the wave: a row for each value")
    add("--plot", metavar="OUT.svg|png", help="the wave and its rates over time")
    add("--stream", metavar="SOURCE", help="a video file, camera:N, an address, or -")
    add("--allow-partial", action="store_true", help="use what decodes of a damaged video")
    add_facts(made)
    add_limits(made)
    add_version(made)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return guarded(lambda: carried_out(parser(), arguments, "tsm_ref.pulse", TsmError, _main))


def _main(options: argparse.Namespace) -> None:
    if (options.video is None) == (options.stream is None):
        raise UsageError("give one VIDEO, or --stream SOURCE")
    if options.plot is not None and Path(options.plot).suffix.lower() not in (".svg", ".png"):
        raise UsageError(f"--plot {options.plot}: the ending must be one of .svg, .png")
    if options.stream is not None and (options.plot or options.csv):
        raise UsageError("--plot and --csv show a whole VIDEO, not a stream")
    from tsm_ref.options import load_model

    model = load_model(options)
    how = {
        "region": options.roi,
        "face_model": options.face_model,
        "recipe": options.recipe,
        "window": options.window,
        "stride": options.stride,
    }
    if options.stream is not None:
        _stream(model, options, how)
    else:
        _video(model, options, how)


def _video(model: "Model", options: argparse.Namespace, how: dict[str, Any]) -> None:
    from tsm_ref.pulse import measure
    from tsm_ref.pulse.render import as_csv, as_json, table
    from tsm_ref.show.files import write_file
    from tsm_ref.show.plot import wave_plot

    try:
        found = measure(model, options.video, allow_partial=options.allow_partial, **how)
    except UsageError:
        raise
    except TsmError as error:
        raise error.about(options.video) from None
    if not options.quiet:
        for sentence in found.warnings[len(model.warnings) :]:
            tell(f"warning: {sentence}")
    if options.csv is not None:
        write_file(options.csv, as_csv(found))
    if options.plot is not None:
        kind = Path(options.plot).suffix.lower()[1:]
        write_file(options.plot, wave_plot(json.loads(as_json(found)), kind))
    say(as_json(found) if options.json else table(found))


def _stream(model: "Model", options: argparse.Namespace, how: dict[str, Any]) -> None:
    from tsm_ref.live.sources import open_source
    from tsm_ref.pulse import LivePulse
    from tsm_ref.pulse.render import NOTICE, estimate_json, estimate_line

    live = LivePulse(model, **how)
    if not options.quiet:
        tell(NOTICE)
    stdin = None if sys.stdin is None else sys.stdin.buffer
    source = open_source(options.stream, allow_partial=options.allow_partial, stdin=stdin)
    told = False
    try:
        with closing(source):
            for one in live.run(iter(source)):
                told = True
                say(json.dumps(estimate_json(one)) if options.json else estimate_line(one))
    except UsageError:
        raise
    except TsmError as error:
        raise error.about(options.stream) from None
    if not told and not options.quiet:
        tell(f"the source ended before a window of {options.window:g} s was full")


if __name__ == "__main__":
    sys.exit(main())
