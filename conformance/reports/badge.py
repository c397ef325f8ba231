"""The verdict of a report as a badge: an SVG, or the JSON that shields.io draws one from."""

import json
from html import escape
from pathlib import Path
from typing import Any

from conformance.reports import write_text
from tsm_ref.errors import UsageError, WriteError

LABEL = "TSM conformance"
COLOURS = {True: ("brightgreen", "#22694a"), False: ("red", "#a33424")}
"""For shields.io and for the SVG: of a testee that reaches what was asked for, and of another."""

WIDTH = 7
"""About how wide a letter of 11 pixels is; the text is stretched to the width that it is given."""


def write_badge(report: dict[str, Any], path: Path) -> None:
    """Write ``NAME.svg`` or ``NAME.json``; raises `UsageError` for another ending."""
    makers = {".svg": svg, ".json": endpoint}
    if path.suffix not in makers:
        raise UsageError(f"a badge is an .svg or a .json file, not {path.name!r}")
    try:
        write_text(path, makers[path.suffix](report))
    except OSError as error:
        raise WriteError(f"cannot write the badge {path}: {error}") from None


def endpoint(report: dict[str, Any]) -> str:
    """The JSON of an endpoint of shields.io, schema version 1."""
    colour = COLOURS[bool(report["conforms"])][0]
    told = {"schemaVersion": 1, "label": LABEL, "message": report["verdict"], "color": colour}
    return json.dumps(told, ensure_ascii=False) + "\n"


def svg(report: dict[str, Any]) -> str:
    """A badge of two parts: what it is about, and the verdict."""
    verdict = str(report["verdict"])
    left, right = (WIDTH * len(text) + 12 for text in (LABEL, verdict))
    colour = COLOURS[bool(report["conforms"])][1]
    words = escape(f"{LABEL}: {verdict}", quote=True)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img" '
        f'aria-label="{words}"><title>{words}</title>'
        f'<rect width="{left}" height="20" fill="#3d444d"/>'
        f'<rect x="{left}" width="{right}" height="20" fill="{colour}"/>'
        '<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
        f"{_text(LABEL, 6, left - 12)}{_text(verdict, left + 6, right - 12)}</g></svg>\n"
    )


def _text(words: str, x: int, width: int) -> str:
    return f'<text x="{x}" y="14" textLength="{width}">{escape(words)}</text>'
