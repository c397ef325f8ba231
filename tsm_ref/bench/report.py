"""The table for people, and the JSON document for programs."""

import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tsm_ref.kernels.machine import HOST
from tsm_ref.system.terminal import printable, say

SCHEMA_VERSION = 1
_WIDTH = 140  # columns of a table that is not printed to a terminal

SCHEMA: Mapping[str, str] = {
    "schema": "version of this document",
    "machine": "processor, vector length, and the limits of one core that were measured here",
    "settings": "models, engines, rounds, threads and cores of this run",
    "results": "one row for each model and engine, see `ROW`",
    "fastest_peer": "by model: the other runtime with the smallest median, or null",
    "ratio_to_fastest_peer": "by model: our median (the Numba engine's if it ran) over that one's",
    "shift_overhead": "by engine: time of a network over the time without its shifts, minus 1",
    "layers": "with --per-layer, by model: rows of name, kind, ms, gflop and gflops",
}
"""The members of the JSON document."""

ROW: Mapping[str, str] = {
    "model": "name of the network",
    "engine": "numba and numpy are ours",
    "version": "what the engine calls itself",
    "failed": "null, or in one line why there are no times",
    "error": "largest difference from float64, relative to the largest logit",
    "runs": "timed calls in all rounds together",
    "median_ms": "median time of a call: one clip, or one frame of an online network",
    "min_ms": "smallest time of a call",
    "gflops": "10^9 multiplications and additions of the plain network per second",
    "share_of_peak": "of what the cores can do in fused multiply-adds, as measured here",
    "memory_mb": "peak resident memory of the process in MB of 2^20 bytes",
    "cold_start_first_s": "first start, kernels compiled anew; first process of the run for others",
    "cold_start_s": "from the start of a process to its first answer, later starts",
    "ratio_to_fastest_peer": "median over the median of the fastest other runtime",
    "ratio_of_minima": "minimum over the smallest minimum of the other runtimes",
}
"""The members of a row of ``results``."""

_COLUMNS = (
    ("engine", "engine", "{}"),
    ("median ms", "median_ms", "{:.2f}"),
    ("min ms", "min_ms", "{:.2f}"),
    ("ratio", "ratio_to_fastest_peer", "{:.3f}"),
    ("of minima", "ratio_of_minima", "{:.3f}"),
    ("GFLOP/s", "gflops", "{:.1f}"),
    ("of peak", "share_of_peak", "{:.0%}"),
    ("error", "error", "{:.1e}"),
    ("MB", "memory_mb", "{:.0f}"),
    ("first s", "cold_start_first_s", "{:.2f}"),
    ("start s", "cold_start_s", "{:.2f}"),
    ("version", "version", "{}"),
)


def machine(limits: Mapping[str, float] | None) -> dict[str, Any]:
    """What was measured on: names, sizes, and the limits of a core if they were measured."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "lanes": HOST.lanes,
        "tsm_ref": importlib.metadata.version("tsm_ref"),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": importlib.metadata.version("numba"),
        "limits": dict(limits) if limits else None,
    }


def _processor() -> str:
    """What the processor calls itself, where the system says it."""
    try:
        known = Path("/proc/cpuinfo").read_text("utf-8", "replace")
    except OSError:
        known = ""
    found = re.search(r"^model name\s*:\s*(.+)$", known, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def to_json(document: Mapping[str, Any]) -> str:
    """The document as text; what is not finite becomes null."""
    return json.dumps(_finite(document), indent=2)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return value


def print_tables(document: Mapping[str, Any], plain: bool = False) -> None:
    """Print one table for each model; with rich if it is there, else in plain text."""
    models = dict.fromkeys(row["model"] for row in document["results"])
    for model in models:
        rows = [row for row in document["results"] if row["model"] == model]
        timed = sorted((r for r in rows if r["median_ms"] is not None), key=_median)
        cells = [[_cell(row[key], form) for _, key, form in _COLUMNS] for row in timed]
        print_table(model, [title for title, _, _ in _COLUMNS], cells, plain)
        for row in rows:
            if row["failed"]:
                say(f"  {row['engine']} has no times: {row['failed']}")
    for entry in document["shift_overhead"]:
        share, least = entry["overhead"], entry["overhead_of_minima"]
        say(f"the shift costs {entry['engine']} {share:+.1%} (of minima {least:+.1%})")
    for model, layers in (document.get("layers") or {}).items():
        cells = [
            [la["name"], la["kind"], f"{la['ms']:.3f}", f"{la['gflop']:.3f}", f"{la['gflops']:.0f}"]
            for la in layers
        ]
        print_table(f"layers of {model}", ["layer", "kind", "ms", "GFLOP", "GFLOP/s"], cells, plain)


def _median(row: Mapping[str, Any]) -> float:
    return float(row["median_ms"])


def _cell(value: Any, form: str) -> str:
    return "" if value is None else form.format(value)


def print_table(
    title: str, head: Sequence[str], rows: Sequence[Sequence[str]], plain: bool = False
) -> None:
    """Print a table under its title; with rich if it is there, else in plain text."""
    if not plain and importlib.util.find_spec("rich") is not None:
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        table = Table(title=escape(printable(title)), title_justify="left")
        for i, name in enumerate(head):
            table.add_column(name, justify="left" if rows and _wordy(rows, i) else "right")
        for row in rows:
            table.add_row(*(escape(printable(cell)) for cell in row))
        Console(width=None if sys.stdout.isatty() else _WIDTH).print(table)
        return
    say(title)
    widths = [max(len(line[i]) for line in [head, *rows]) for i in range(len(head))]
    for line in [head, *rows]:
        cells = [c.ljust(w) if _wordy(rows, i) else c.rjust(w)
                 for i, (c, w) in enumerate(zip(line, widths, strict=True))]  # fmt: skip
        say("  ".join(cells).rstrip())


def _wordy(rows: Sequence[Sequence[str]], column: int) -> bool:
    return any(row[column][:1].isalpha() for row in rows)
