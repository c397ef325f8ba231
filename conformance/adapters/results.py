"""Every public implementation judged, as one page: who reaches what, and where each differs."""

import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from conformance.adapters.table import TABLE, Public
from conformance.catalogue import cases_of
from conformance.judging.results import Options, Result, Run
from conformance.judging.runner import run
from conformance.questions.levels import parse_levels
from conformance.reports.groups import groups
from conformance.testees.parse import make_testee
from tsm_ref.errors import TsmError

SHOWN = 3
"""How many kinds of failure are described for one implementation."""


@dataclass(frozen=True)
class Row:
    """What became of one implementation: a run, or the reason why there is none."""

    public: Public
    version: str
    run: Run | None
    reason: str = ""


def judge_all(sources: Path, names: Iterable[str] = (), seed: int = 0) -> list[Row]:
    """Judge the implementations that are there, each in a process of its own."""
    wanted = set(names)
    return [_row(p, sources, seed) for p in TABLE if not wanted or p.name in wanted]


def _row(public: Public, sources: Path, seed: int) -> Row:
    found = _version(public, sources)
    if not found:
        return Row(public, "", None, "it was not fetched")
    try:
        testee = make_testee(f"py:conformance.adapters.table:{public.name.replace('-', '_')}")
    except TsmError as error:
        return Row(public, found, None, str(error))
    try:
        return Row(public, found, run(testee, cases_of(_levels(public)), Options(seed)))
    finally:
        testee.close()


def _levels(public: Public) -> tuple[str, ...]:
    return parse_levels(public.levels)


def _version(public: Public, sources: Path) -> str:
    """The installed version or the commit that is checked out; nothing where it is not there."""
    if public.is_package:
        try:
            return version(public.home)
        except PackageNotFoundError:
            return ""
    folder = sources / public.home.rsplit("/", 1)[1]
    if not folder.is_dir():
        return ""
    asked = ["git", "-C", str(folder), "rev-parse", "--short=10", "HEAD"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown commit"


def page(rows: Iterable[Row], made: date) -> str:
    """The page."""
    rows = list(rows)
    return "\n".join([*_head(made), *_table(rows), "", *_details(rows)]) + "\n"


def _head(made: date) -> list[str]:
    return [
        "# Who conforms",
        "",
        f"Public implementations of the Temporal Shift Module, judged on {made.isoformat()} by "
        "`python -m conformance.adapters FOLDER` from checkouts in that folder and installed "
        "packages. Each is judged by its own conventions; none of their code is in this "
        "repository. A level in brackets is that of what the implementation offers "
        "([README](README.md)).",
        "",
        "| implementation | version | licence | conventions | reaches | failed, of asked |",
        "|---|---|---|---|---|---:|",
    ]


def _table(rows: Iterable[Row]) -> list[str]:
    return [_line(row) for row in rows]


def _line(row: Row) -> str:
    public = row.public
    where = public.home if not public.is_package else f"https://pypi.org/project/{public.home}/"
    cells = [f"[{public.title}]({where})", row.version or "-", public.licence]
    cells += [f"`{public.profile}`", _reached(row), _failed(row)]
    return "| " + " | ".join(cells) + " |"


def _reached(row: Row) -> str:
    return row.run.verdict if row.run else f"not judged: {row.reason}"


def _failed(row: Row) -> str:
    if row.run is None:
        return ""
    asked = [r for r in row.run.results if r.outcome in ("passed", "failed", "error")]
    return f"{sum(r.outcome != 'passed' for r in asked)} of {len(asked)}"


def _details(rows: Iterable[Row]) -> list[str]:
    lines = ["## Where each differs, and what that means for its weights", ""]
    for row in rows:
        lines += [f"**{row.public.title}.** {row.public.meaning}", ""]
        if row.run is not None:
            wrong = [r for r in row.run.results if r.outcome in ("failed", "error")]
            kinds = groups(wrong, lambda r: (r.diagnosis, r.message))
            lines += [_kind(kind) for kind in kinds[:SHOWN]]
            lines += [f"- and {len(kinds) - SHOWN} other kinds of failure"] if kinds[SHOWN:] else []
            lines += [""] if wrong else []
    return lines[:-1]


def _kind(kind: list[Result]) -> str:
    first, *others = kind
    words = first.diagnosis[-1] if first.diagnosis else first.message
    also = f" (and {len(others)} more)" if others else ""
    return f"- `{first.id}`{also}: {words.rstrip('.')}"
