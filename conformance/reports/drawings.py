"""The drawings of the page, as SVG: where a shift reads from, and how much of a bound is used."""

from math import log10
from typing import Any

CELL = 15
ON = ' class="on"'
"""Writing on a dark cell."""


def source_maps(picture: dict[str, Any]) -> str:
    """What the profile says and what came, side by side: channels down, time across."""
    figures = "".join(
        f"<figure><figcaption>{title}</figcaption>{_map(picture[name], title)}</figure>"
        for title, name in (("what the profile says", "expected"), ("what came", "actual"))
    )
    key = (
        '<p class="key">each cell names the frame that is read'
        '<i style="background:var(--past)"></i>an earlier one'
        '<i style="background:var(--none)"></i>its own'
        '<i style="background:var(--future)"></i>a later one'
        '<i style="border:1px solid var(--soft)"></i>zero'
        '<i style="background:var(--bad)"></i>something else</p>'
    )
    return f'<div class="maps">{figures}</div>{key}'


def _map(rows: list[list[int]], title: str) -> str:
    """A grid of cells; channels behind the last one that is shifted are left out but for two."""
    moved = [c for c, row in enumerate(rows) if row != list(range(len(row)))]
    rows = rows[: max(moved, default=0) + 3]
    left, top = 30, 14
    width, height = left + CELL * len(rows[0]) + 4, top + CELL * len(rows) + 2
    cells = [f'<text x="{left + CELL * t + 4}" y="10">{t}</text>' for t in range(len(rows[0]))]
    for c, row in enumerate(rows):
        y = top + CELL * c
        if c % 4 == 0:
            cells.append(f'<text x="2" y="{y + 11}">c{c}</text>')
        for t, frame in enumerate(row):
            cells.append(_cell(left + CELL * t, y, t, frame))
    words = f"{title}: the frame that each channel (down) reads at each time (across)"
    return (
        f'<svg width="{width}" height="{height}" role="img" aria-label="{words}">'
        f"<title>{words}</title>{''.join(cells)}</svg>"
    )


def _cell(x: int, y: int, t: int, frame: int) -> str:
    if frame == -1:
        style = 'fill="none" stroke="var(--line)"'
    elif frame < 0:
        style = 'fill="var(--bad)"'
    else:
        style = f'fill="var(--{"none" if frame == t else "past" if frame < t else "future"})"'
    size = CELL - 2
    box = f'<rect x="{x + 1}" y="{y + 1}" width="{size}" height="{size}" rx="3" {style}/>'
    if frame < 0:
        sign = "0" if frame == -1 else "×"
        return f'{box}<text x="{x + 4}" y="{y + 11}"{"" if frame == -1 else ON}>{sign}</text>'
    own = "" if frame == t else ON
    return f'{box}<text x="{x + 4}" y="{y + 11}"{own}>{frame}</text>'


def used_strip(cases: list[dict[str, Any]]) -> str:
    """A dot per case over the logarithm of the share of its bound that it used."""
    width, height, low, high = 900.0, 120.0, -4.0, 2.0

    def x(used: float) -> float:
        value = min(max(log10(used), low), high)
        return 30 + (value - low) / (high - low) * (width - 60)

    ticks = "".join(
        f'<line x1="{x(10**e):.1f}" y1="18" x2="{x(10**e):.1f}" y2="96" stroke="var(--line)"/>'
        f'<text x="{x(10**e) - 12:.1f}" y="112">{10.0**e:g}</text>'
        for e in range(-4, 3)
    )
    limit = f'<line x1="{x(1):.1f}" y1="10" x2="{x(1):.1f}" y2="100" stroke="var(--bad)"/>'
    heights: dict[int, int] = {}
    dots = []
    for case in sorted(cases, key=lambda c: float(c["used"])):
        column = int(x(case["used"]) / 11)
        heights[column] = heights.get(column, 0) + 1
        y = 98 - 10 * heights[column]
        colour = "good" if case["used"] <= 1 else "bad"
        name = f"{case['id']}: {case['used']}"
        dots.append(
            f'<a href="#{case["id"]}" aria-label="{name}"><circle cx="{column * 11 + 5}" '
            f'cy="{max(y, 16)}" r="4.2" fill="var(--{colour})"><title>{name}</title></circle></a>'
        )
    parts = "".join([ticks, limit, *dots])
    words = "the share of its bound that each case used, on a logarithmic scale; at most 1 is right"
    return (
        f'<svg class="strip" viewBox="0 0 {width:.0f} {height:.0f}" role="group" '
        f'aria-label="{words}"><title>{words}</title>{parts}</svg>'
    )
