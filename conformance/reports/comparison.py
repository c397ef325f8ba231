"""Two reports side by side: what got better, what got worse, what is new."""

import json
from pathlib import Path
from typing import Any

from conformance.exchange.schemas import Invalid, check
from tsm_ref.errors import UsageError

Report = dict[str, Any]

RANK = {"passed": 3, "not applicable": 2, "skipped": 1, "unsupported": 1, "failed": 0, "error": 0}
"""How good an outcome is; fewer is worse."""

MARGIN = 2.0
"""A share of the bound that grew by this factor is worth a line."""


def read_report(path: Path) -> Report:
    """A ``report.json``, or that of a folder; raises `UsageError` for anything else."""
    file = path / "report.json" if path.is_dir() else path
    try:
        report = json.loads(file.read_text("utf-8"))
        check("report", report)
    except (OSError, ValueError, RecursionError) as error:
        reason = error if isinstance(error, Invalid) else f"{type(error).__name__}: {error}"
        raise UsageError(f"{file} is no report: {reason}") from None
    return dict(report)


def compare(before: Report, after: Report) -> tuple[list[str], bool]:
    """The differences in lines, and whether anything got worse."""
    lines = [f"{_who(before)}: {before['verdict']} -> {_who(after)}: {after['verdict']}"]
    old, new = ({case["id"]: case for case in report["cases"]} for report in (before, after))
    changed = [id for id in new if id in old and new[id]["outcome"] != old[id]["outcome"]]
    worse = [id for id in changed if RANK[new[id]["outcome"]] < RANK[old[id]["outcome"]]]
    for title, ids in (("worse", worse), ("better", [id for id in changed if id not in worse])):
        for id in ids:
            line = f"{title}: {id} was {old[id]['outcome']}, is {new[id]['outcome']}"
            lines.append(f"{line}: {new[id]['message']}" if title == "worse" else line)
    for title, found in (("new", set(new) - set(old)), ("gone", set(old) - set(new))):
        if found:
            lines.append(f"{title}: {', '.join(sorted(found))}")
    lines += [line for id in new if id in old for line in _less_accurate(old[id], new[id])]
    if len(lines) == 1:
        lines.append("no case differs")
    lost = set(before["reached"]) - set(after["reached"])
    return lines, bool(worse or lost)


def _who(report: Report) -> str:
    testee = report["testee"]
    return " ".join(filter(None, (testee["name"], testee["version"])))


def _less_accurate(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    was, now = old["used"], new["used"]
    if isinstance(was, str) or isinstance(now, str) or now < 0.1 or now <= MARGIN * was:
        return []
    return [f"less accurate: {new['id']} used {was:g} of its bound, and uses {now:g}"]
