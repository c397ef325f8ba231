"""Draws what a temporal shift does: for a profile, for a model's own layers, and for a clip.

``python -m tsm_ref.explain [PROFILE|MODEL]``. Without options it draws on the terminal.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tsm_ref.command import Parser, guarded, limit_blas, positive, say
from tsm_ref.errors import NotStreamable, UsageError
from tsm_ref.options import add_engine, add_version, by_option
from tsm_ref.system.terminal import printable

if TYPE_CHECKING:  # imported late: the number of threads has to be set before NumPy is
    from tsm_ref.model import Model
    from tsm_ref.show.shift_picture import Sources

__all__ = ["main", "parser"]

WIDTH = 40
"""The most characters of a bar."""


def parser() -> argparse.ArgumentParser:
    """The options, as ``--help`` prints them."""
    made = Parser(
        prog="python -m tsm_ref.explain",
        description="Draw which channel of which frame comes from where.",
        epilog="exit codes: 0 fine, 1 a bug of ours, 2 usage, 3 bad video, 4 bad model file, "
        "5 cannot write, 130 interrupted",
    )
    add = made.add_argument
    add("what", nargs="?", default="mit", metavar="PROFILE|MODEL", help="default: mit")
    add("--channels", type=positive, default=16, metavar="C", help="of a profile; default: 16")
    add("--frames", type=positive, default=8, metavar="T", help="default: 8")
    add("--svg", metavar="OUT.svg", help="the same as a picture")
    add("--html", metavar="OUT.html", help="a page on which profiles are chosen and followed")
    add("--clip", metavar="VIDEO", help="which frames of it decided, by hiding each in turn")
    add_engine(made)
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
    limit_blas(1)
    from tsm_ref.profile import PROFILES
    from tsm_ref.profile_files import find_profile
    from tsm_ref.show.files import write_file
    from tsm_ref.show.shift_picture import drawing, page, svg

    if options.frames > 64 or options.channels > 4096:
        raise UsageError("a picture has at most 64 frames and 4096 channels")
    named = options.what in PROFILES or Path(options.what).suffix.lower() in (".toml", ".json")
    model = None if named else _model(options)
    if options.clip is not None and model is None:
        raise UsageError("--clip needs a model: name one that ships, or give a file")
    title, found = _of_profile(options) if model is None else _of_model(model, options.frames)
    if options.svg is not None:
        write_file(options.svg, svg(found, title))
    if options.html is not None:
        if model is None:
            mine = {options.what: find_profile(options.what).shift}
            write_file(options.html, page(options.what, mine))
        else:
            write_file(options.html, page(model.name, {model.name: model.profile.shift}))
    lines = [title, "", drawing(found)]
    if model is not None:
        lines += ["", *_growth(model)]
    if options.clip is not None and model is not None:
        lines += ["", *_decided(model, options.clip)]
    say("\n".join(lines))


def _model(options: argparse.Namespace) -> "Model":
    from tsm_ref.checkpoint import names
    from tsm_ref.model import load
    from tsm_ref.profile import PROFILES

    if options.what not in names() and not Path(options.what).exists():
        raise UsageError(
            f"{options.what!r} is no profile, no model and no file; profiles are "
            f"{', '.join(PROFILES)}"
        )
    return load(options.what, engine=options.engine)


def _of_profile(options: argparse.Namespace) -> "tuple[str, Sources]":
    from tsm_ref.profile_files import find_profile
    from tsm_ref.show.shift_picture import sources

    rule = find_profile(options.what).shift
    found = sources(rule.d(options.channels), options.frames, rule.fill, rule.segment)
    return f"{printable(options.what)}: {rule}, {options.channels} channels", found


def _of_model(model: "Model", frames: int) -> "tuple[str, Sources]":
    """The first shift of a model; its other ones do the same to other numbers of channels."""
    from tsm_ref.show.shift_picture import sources

    if not model.shifts:
        raise UsageError(f"the model {model.name!r} has no temporal shift to draw")
    shift = model.shifts[0]
    found = sources(shift.d, frames, shift.fill, shift.segment)
    name = f"{printable(model.name)}: {shift.name}, the first of {len(model.shifts)} shifts"
    return f"{name}, {len(shift.d)} channels", found


def _growth(model: "Model") -> Iterator[str]:
    """How many frames a value knows of, shift by shift through the network."""
    from tsm_ref.passes.streaming import streaming

    try:
        clocks = streaming(model.graph).clocks
    except NotStreamable as error:
        yield f"its receptive field is not told: {error}"
        return
    yield "what each shift lets its layer know of, in frames before and after its own"
    for shift in model.shifts:
        clock = clocks.get(shift.name)
        if clock is not None:
            before, after = -clock.first, clock.last
            bar = "<" * min(before, WIDTH) + "|" + ">" * min(after, WIDTH)
            yield f"  {shift.name:28} {before:4d} {after:4d}  {bar}"


def _decided(model: "Model", path: str) -> Iterator[str]:
    from tsm_ref.errors import TsmError
    from tsm_ref.show.occlusion import occlusion

    try:
        label, chance, frames = occlusion(model, path)
    except TsmError as error:
        raise error.about(path) from None
    yield f"{printable(label)} ({chance:.1%}); with one frame hidden, the probability falls by"
    most = max(abs(frame.loss) for frame in frames) or 1.0
    for frame in frames:
        bar = "#" * round(WIDTH * max(0.0, frame.loss) / most)
        yield f"  frame {frame.index:5d}  {frame.time:7.2f} s  {frame.loss:+7.1%}  {bar}"


if __name__ == "__main__":
    sys.exit(main())
