"""The report of a run: JSON is the source, JUnit XML and one HTML page are made from it."""

import json
import math
import platform
from collections import Counter
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from conformance.catalogue import find_case
from conformance.judging.results import OUTCOMES, Run
from conformance.questions.levels import LEVELS
from tsm_ref.errors import WriteError
from tsm_ref.system.atomic import replace_file


def as_report(run: Run) -> dict[str, Any]:
    """A run as plain values for JSON, as the schema ``report`` describes them."""
    told = run.declaration
    return {
        "format": 1,
        "suite": {"name": "tsm-conformance", "version": suite_version()},
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "platform": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "testee": {
            "name": told.name,
            "version": told.version,
            "language": told.language,
            "profile": told.conventions.as_dict(),
            "capabilities": {
                "accumulation": told.accumulation,
                "exact": told.exact,
                "dtypes": list(told.dtypes),
                "layout": told.layout,
                "streaming": told.streaming,
                "bitwise_streaming": told.bitwise_streaming,
                "quantised": told.quantised,
                "layouts": dict(told.layouts),
                "scope": told.scope,
            },
        },
        "seed": run.options.seed,
        "examples": run.options.examples,
        "asked": list(run.asked),
        "reached": list(run.reached),
        "verdict": run.verdict,
        "conforms": run.conforms,
        "seconds": round(run.seconds, 3),
        "counts": counts(run),
        "mistakes": list(run.mistakes),
        "cases": [_case(asdict(replace(r, evidence=None))) for r in run.results],
    }


def counts(run: Run) -> dict[str, dict[str, int]]:
    """How many cases of each level had which outcome."""
    table = {}
    for level in LEVELS:
        found = Counter(r.outcome for r in run.results if r.level == level)
        if found:
            table[level] = {outcome: found[outcome] for outcome in OUTCOMES if found[outcome]}
    return table


def suite_version() -> str:
    """The version of the installed package, or that it runs from a checkout."""
    try:
        return version("tsm-ref")
    except PackageNotFoundError:
        return "checkout"


def write(report: dict[str, Any], folder: Path) -> list[Path]:
    """Write ``report.json``, ``junit.xml`` and ``report.html``; raises `WriteError`."""
    from conformance.reports.html import page
    from conformance.reports.junit import junit

    texts = {
        "report.json": json.dumps(report, indent=1, ensure_ascii=False) + "\n",
        "junit.xml": junit(report),
        "report.html": page(report),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [write_text(folder / name, text) for name, text in texts.items()]
    except OSError as error:
        raise WriteError(f"cannot write the report to {folder}: {error}") from None


def write_text(path: Path, text: str) -> Path:
    """Write a file whole, so that there is never half a report; raises `OSError`."""
    replace_file(path, text.encode())
    return path


def _case(result: dict[str, Any]) -> dict[str, Any]:
    case = find_case(result["id"])
    del result["evidence"]
    numbers = {name: _number(result[name]) for name in ("used", "ulp")}
    return {
        **result,
        **numbers,
        "worst": list(result["worst"]),
        "diagnosis": list(result["diagnosis"]),
        "seconds": round(result["seconds"], 4),
        "checks": case.checks,
        "formula": case.formula,
        "defect": case.defect,
    }


def _number(value: float) -> float | str:
    """A number for JSON, which has no infinity."""
    return float(f"{value:.4g}") if math.isfinite(value) else "infinite"
