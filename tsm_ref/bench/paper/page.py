"""The tables of the measurements, and one page with all of it beside the paper's numbers."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from tsm_ref.bench.paper.facts import PARTS
from tsm_ref.bench.paper.plots import drawn
from tsm_ref.bench.report import print_table

__all__ = ["COLUMNS", "page", "print_parts"]

Document = Mapping[str, Any]

COLUMNS: Mapping[str, Sequence[tuple[str, str, str, str]]] = {
    "movement": (
        ("way", "way", "{}", "fused: no step of its own; copy: a new array; moved: in place"),
        ("share shifted", "proportion", "{:g}", "half of it each way"),
        ("MB moved", "moved_mb", "{:.1f}", "what is shifted, once, in MB of 2^20 bytes"),
        ("median ms", "median_ms", "{:.2f}", "of the network; of the copies alone"),
        ("overhead", "overhead", "{:+.1%}", "median, of the time of the network without a shift"),
        ("from", "low", "{:+.1%}", "lower quartile of the rounds"),
        ("to", "high", "{:+.1%}", "upper quartile"),
    ),
    "online": (
        ("network", "kind", "{}", "what is timed"),
        ("frames a call", "frames_per_call", "{}", "frames that one call takes"),
        ("median ms", "median_ms", "{:.2f}", "of a call"),
        ("ms a frame", "ms_per_frame", "{:.2f}", "of a call, by its frames"),
        ("MB", "memory_mb", "{:.0f}", "peak resident memory of the process, of 2^20 bytes"),
        ("state KB", "state_kb", "{:.0f}", "kept from frame to frame, of 2^10 bytes"),
        ("error", "error", "{:.1e}", "largest difference from float64, by the largest logit"),
        ("failed", "failed", "{}", "why there are no times"),
    ),
    "cost": (
        ("network", "architecture", "{}", "name for `tsm_ref.build`"),
        ("in time", "temporal", "{}", "a shift, or a convolution"),
        ("frames", "frames", "{}", "of a clip"),
        ("pixels", "size", "{}", "of a side"),
        ("parameters", "parameters", "{:,}", "with 400 classes where there are classes"),
        ("G multiply-adds", "giga_multiply_adds", "{:.2f}", "10^9 of a clip"),
        ("median ms", "median_ms", "{:.1f}", "of a clip; empty where it is not timed"),
        ("clips/s", "clips_per_second", "{:.2f}", "one after another"),
        ("ratio", "ratio", "{:.2f}", "median, to the network that all take turns with"),
        ("to", "base", "{}", "that network"),
    ),
    "early": (
        ("model", "model", "{}", "one that ships"),
        ("seen", "share", "{:.0%}", "share of the frames"),
        ("frames", "frames", "{}", "frames seen"),
        ("right", "accuracy", "{:.1%}", "clips whose move is recognised"),
        ("clips", "clips", "{}", "clips of all classes together"),
    ),
}
"""The columns of each measurement: title, member of the JSON row, form, what it means."""
COLUMNS = {**COLUMNS, "in-place": COLUMNS["movement"]}

STYLE = """
:root { color-scheme: light dark; --line: #d0d7de; --soft: #57606a; --card: #f6f8fa; }
@media (prefers-color-scheme: dark) { :root { --line: #30363d; --soft: #9da7b3; --card: #161b22; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin: 2.5rem 0 0; }
p { max-width: 46rem; } .soft, caption { color: var(--soft); font-size: .9rem; }
img { display: block; width: 100%; max-width: 48rem; background: #fff; border-radius: 6px; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; margin: .8rem 0; }
caption { text-align: left; padding: .2rem 0; }
th, td { text-align: right; padding: .15rem .7rem .15rem 0; border-top: 1px solid var(--line); }
th:first-child, td:first-child, .paper td { text-align: left; } .paper { background: var(--card); }
.paper td { padding: .15rem .8rem; } details { margin: .5rem 0; } summary { cursor: pointer; }
"""


def print_parts(document: Document) -> None:
    """Print a table for each measurement, with its place in the paper."""
    for name, rows in document["parts"].items():
        part = PARTS[name]
        columns = _used(name, rows)
        head = [title for title, *_ in columns]
        print_table(f"{part.title} ({part.where})", head, _cells(columns, rows))


def page(document: Document) -> str:
    """One self-contained page, without scripts; raises `MissingDependency` without Matplotlib."""
    machine, settings = document["machine"], document["settings"]
    versions = ", ".join(
        f"{name} {machine[name]}" for name in ("tsm_ref", "python", "numpy", "numba")
    )
    about = (
        f"{machine['processor']}, {settings['threads']} of {machine['cores']} cores, "
        f"{machine['lanes']} lanes of float32; {versions}; {settings['rounds']} rounds in turns, "
        "medians."
    )
    quick = (
        "<p><strong>A quick run: small networks, few rounds. Its times mean nothing.</strong></p>"
    )
    sections = "".join(_section(name, rows) for name, rows in document["parts"].items())
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
        f"<title>The measurements of TSM, again</title><style>{STYLE}</style>"
        "<h1>The measurements of TSM, again</h1>"
        "<p>What Lin, Gan and Han report in <cite>TSM: Temporal Shift Module for Efficient Video "
        "Understanding</cite> (ICCV 2019, arXiv 1811.08383), measured on this machine. Only ratios "
        f'within one run mean anything.</p><p class="soft">{escape(about)}</p>'
        f"{quick if settings['quick'] else ''}{sections}</html>\n"
    )


def _section(name: str, rows: Sequence[Document]) -> str:
    part = PARTS[name]
    picture = base64.b64encode(drawn(name, rows)).decode()
    reported = "".join(
        f"<tr><td>{escape(what)}</td><td>{escape(value)}</td></tr>" for what, value in part.reported
    )
    columns = _used(name, rows)
    head = "".join(
        f'<th title="{escape(what)}">{escape(title)}</th>' for title, _, _, what in columns
    )
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in line)}</tr>"
        for line in _cells(columns, rows)
    )
    meanings = "; ".join(f"{title}: {what}" for title, _, _, what in columns)
    return (
        f'<section id="{name}"><h2>{escape(part.title)}</h2>'
        f'<p class="soft">In the paper: {escape(part.where)}.</p>'
        f'<img alt="{escape(part.title)}: the numbers of the table below" '
        f'src="data:image/svg+xml;base64,{picture}">'
        f'<div class="scroll"><table class="paper">'
        f"<caption>The paper, {escape(part.where)}</caption>"
        f"{reported}</table></div>"
        f"<p>{escape(part.differs)}</p>"
        f"<details{' open' if len(rows) <= 20 else ''}><summary>Measured here</summary>"
        f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'
        f'<p class="soft">{escape(meanings)}.</p></details></section>'
    )


def _used(name: str, rows: Sequence[Document]) -> list[tuple[str, str, str, str]]:
    """The columns in which there is anything."""
    return [c for c in COLUMNS[name] if any(row[c[1]] is not None for row in rows)]


def _cells(
    columns: Sequence[tuple[str, str, str, str]], rows: Sequence[Document]
) -> list[list[str]]:
    return [
        ["" if row[key] is None else form.format(row[key]) for _, key, form, _ in columns]
        for row in rows
    ]
