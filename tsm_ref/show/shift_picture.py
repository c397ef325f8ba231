"""The shift as a picture: which frame every channel of every frame comes from.

The pictures are drawn from what `tsm_ref.reference.temporal_shift` does to frames that carry their
own number, so they show what is computed, not what was meant.
"""

import json
from collections.abc import Iterator, Mapping
from html import escape
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tsm_ref.profile import PROFILES
from tsm_ref.reference import temporal_shift
from tsm_ref.system.terminal import printable

__all__ = ["drawing", "page", "sources", "svg"]

Sources = NDArray[np.int64]
HERE = Path(__file__).parent
CELL, LEFT, TOP = 34, 96, 30
COLOURS = {"own": "#d9dee5", "past": "#4c78a8", "future": "#e4812b", "zero": "#ffffff"}
CHANNELS = (4, 8, 12, 16, 24, 32, 48, 64)
"""The numbers of channels that the page offers."""


def sources(d: ArrayLike, frames: int, fill: str = "zero", segment: int = 0) -> Sources:
    """The frame that each channel of each frame reads, (C, T); -1 where it is zero.

    ``segment`` > 0 keeps the shift inside each run of that many frames.

    >>> sources([1, -1, 0], 3).tolist()
    [[-1, 0, 1], [1, 2, -1], [0, 1, 2]]
    """
    shift = np.asarray(d, np.int64)
    numbered = np.broadcast_to(np.arange(1.0, frames + 1), (len(shift), frames))
    inside = segment or frames
    parts = [
        temporal_shift(numbered[None, :, start : start + inside], shift, fill=fill)[0]  # type: ignore[arg-type]
        for start in range(0, frames, inside)
    ]
    found: Sources = np.concatenate(parts, 1).astype(np.int64) - 1
    return found


def _groups(found: Sources) -> Iterator[tuple[int, int, list[int]]]:
    """First and last channel of each run that reads the same."""
    start = 0
    for row, run in groupby(found.tolist()):
        count = len(list(run))
        yield start, start + count - 1, row
        start += count


def drawing(found: Sources) -> str:
    """The picture in characters: a row per run of channels, a column per frame.

    >>> print(drawing(sources([1, 1, -1, 0], 4)))
    channels  frame  0  1  2  3
      0..1           .  0  1  2   the frame before
      2              1  2  3  .   the frame after
      3              0  1  2  3   its own frame
    """
    width = len(str(found.shape[1] - 1)) + 1
    head = "".join(f" {t:>{width}}" for t in range(found.shape[1]))
    lines = [f"channels  frame{head}"]
    for first, last, row in _groups(found):
        name = f"{first}..{last}" if last > first else str(first)
        cells = "".join(f" {'.' if f < 0 else f:>{width}}" for f in row)
        lines.append(f"  {name:13}{cells}   {_said(row)}")
    return "\n".join(lines)


def _said(row: list[int]) -> str:
    """What a row of sources does, in words."""
    steps = {t - f for t, f in enumerate(row) if f >= 0}
    if len(steps) != 1:
        return "another frame at the edges" if steps else "nothing"
    (step,) = steps
    if step == 0:
        return "its own frame"
    many = "the frame" if abs(step) == 1 else f"{abs(step)} frames"
    return f"{many} {'before' if step > 0 else 'after'}"


def _kind(frame: int, t: int) -> str:
    return "zero" if frame < 0 else "own" if frame == t else "past" if frame < t else "future"


def svg(found: Sources, title: str) -> str:
    """The picture as SVG: channels down, time across; every cell names the frame that it reads."""
    groups = list(_groups(found))
    width = LEFT + CELL * found.shape[1] + 150
    height = TOP + CELL * len(groups) + 48
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" font-family="system-ui, sans-serif" font-size="13">',
        f"<title>{escape(printable(title))}</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    parts += [
        f'<text x="{LEFT + CELL * t + CELL / 2}" y="20" text-anchor="middle" fill="#57606a">'
        f"t{t}</text>"
        for t in range(found.shape[1])
    ]
    for k, (first, last, row) in enumerate(groups):
        y = TOP + CELL * k
        name = f"c{first}..{last}" if last > first else f"c{first}"
        parts.append(f'<text x="8" y="{y + 22}" fill="#1b1f24">{name}</text>')
        parts += [_cell(LEFT + CELL * t, y, frame, t) for t, frame in enumerate(row)]
        said = escape(_said(row))
        x = LEFT + CELL * found.shape[1] + 8
        parts.append(f'<text x="{x}" y="{y + 22}" fill="#57606a">{said}</text>')
    y = TOP + CELL * len(groups) + 30
    parts.append(f'<text x="8" y="{y}" fill="#1b1f24">{escape(printable(title))}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _cell(x: int, y: int, frame: int, t: int) -> str:
    kind = _kind(frame, t)
    ink = "#ffffff" if kind in ("past",) else "#1b1f24"
    return (
        f'<rect x="{x + 2}" y="{y + 2}" width="{CELL - 4}" height="{CELL - 4}" rx="4" '
        f'fill="{COLOURS[kind]}" stroke="#8a94a0"/>'
        f'<text x="{x + CELL / 2}" y="{y + 22}" text-anchor="middle" fill="{ink}">'
        f"{'0' if frame < 0 else f't{frame}'}</text>"
    )


def page(chosen: str = "mit", more: Mapping[str, object] | None = None) -> str:
    """A page on which a learner chooses a profile, channels and frames, and follows a value.

    `more` adds rules by name to those of `tsm_ref.profile.PROFILES`: anything with a ``d`` of
    channels and a ``fill``, as `tsm_ref.profile.ShiftRule` has.
    """
    rules = {name: profile.shift for name, profile in PROFILES.items()} | dict(more or {})
    data = {
        name: {
            "fill": rule.fill,  # type: ignore[attr-defined]
            "segment": rule.segment,  # type: ignore[attr-defined]
            "d": {str(c): rule.d(c).tolist() for c in CHANNELS},  # type: ignore[attr-defined]
        }
        for name, rule in rules.items()
    }
    options = "".join(
        f'<option value="{escape(name)}"{" selected" if name == chosen else ""}>{escape(name)}'
        "</option>"
        for name in data
    )
    counts = "".join(f"<option{' selected' if c == 16 else ''}>{c}</option>" for c in CHANNELS)
    text = (HERE / "shift.html").read_text("utf-8")
    packed = json.dumps(data).replace("<", "\\u003c")
    for name, value in (("OPTIONS", options), ("COUNTS", counts), ("DATA", packed)):
        text = text.replace(f"@{name}@", value)
    return text
