"""One self-contained page from a report: the verdict, what to look at first, and every case."""

from html import escape
from pathlib import Path
from typing import Any

from conformance.judging.voting import KNOWN
from conformance.questions.levels import LEVELS
from conformance.reports.drawings import source_maps, used_strip
from conformance.reports.groups import groups
from conformance.testees.base import EXACT_TYPES

Report = dict[str, Any]
Case = dict[str, Any]

GAPS = ("unsupported", "skipped")
SENTENCES = {
    "passed": "passed",
    "failed": "failed",
    "unsupported": "not offered",
    "skipped": "skipped, as declared",
    "not applicable": "says nothing about this testee",
    "error": "the judge itself failed",
}
SIGNS = {
    "passed": "✓",
    "failed": "✗",
    "unsupported": "?",
    "skipped": "–",
    "not applicable": "·",
    "error": "!",
}
"""The outcomes as signs, so that no colour alone says anything."""


def page(report: Report) -> str:
    """The report as one HTML page without any other file."""
    css = Path(__file__).with_name("page.css").read_text("utf-8")
    name = escape(report["testee"]["name"])
    body = "\n".join(
        [
            _head(report),
            _ladder(report),
            _failures(report),
            _accuracy(report),
            _tiles(report),
            _every_case(report),
            _foot(report),
        ]
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name}: {escape(report['verdict'])}</title>\n<style>\n{css}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _head(report: Report) -> str:
    testee = report["testee"]
    words = [testee["language"], testee["version"], f"profile {testee['profile']['name']}"]
    told = testee["capabilities"]
    if told.get("scope"):
        words.append(told["scope"])
    if not told["exact"]:
        words.append("transforms its data, so that exact cases are judged by their bound")
    elif told["accumulation"] not in EXACT_TYPES:
        words.append(f"sums in {told['accumulation']}, so that exact cases are judged by bounds")
    facts = " · ".join(escape(word) for word in words if word)
    mark = "yes" if report["conforms"] else "no"
    return (
        f"<h1>{escape(testee['name'])}</h1>\n"
        f'<p class="verdict {mark}">{escape(report["verdict"])}</p>\n'
        f'<p class="lead">{escape(_lead(report))}</p>\n<p class="facts">{facts}</p>'
    )


def _lead(report: Report) -> str:
    cases = report["cases"]
    passed = sum(case["outcome"] == "passed" for case in cases)
    failed = [case for case in cases if case["outcome"] == "failed"]
    missing = len(_not_offered(report))
    if report["conforms"]:
        return f"Everything that was asked for holds: {passed} of {len(cases)} cases passed."
    named = report.get("mistakes") or [d for c in failed if c["picture"] for d in c["diagnosis"]]
    parts = [f"{passed} of {len(cases)} cases passed"]
    parts += [f"{len(failed)} failed"] if failed else []
    parts += [f"{missing} that are required are not offered"] if missing else []
    return ", ".join(parts) + "." + (f" It looks like this: {named[0]}." if named else "")


def _ladder(report: Report) -> str:
    rungs = []
    for level, what in LEVELS.items():
        missed = level in report["counts"] and not report["conforms"]
        mark = "yes" if level in report["reached"] else "no" if missed else "unasked"
        rungs.append(
            f'<div class="rung {mark}"><b>{level}</b><span>{escape(what)}</span>'
            f"{_bar(report['counts'].get(level, {}))}</div>"
        )
    return f'<div class="ladder">{"".join(rungs)}</div>'


def _bar(row: dict[str, int]) -> str:
    parts = "".join(f'<i class="{name}" style="flex:{count}"></i>' for name, count in row.items())
    words = ", ".join(f"{count} {SENTENCES[name]}" for name, count in row.items()) or "not asked"
    return f'<div class="bar" aria-hidden="true">{parts}</div><small>{words}</small>'


def _failures(report: Report) -> str:
    """A card for each kind of failure; cases that fail in the same way are named on it."""
    wrong = [case for case in report["cases"] if case["outcome"] in ("failed", "error")]
    kinds = groups(wrong, lambda case: (case["diagnosis"], case["message"]))
    cards = [_card(first, others) for first, *others in kinds]
    missing = _not_offered(report)
    if missing:
        cards.append(_missing(missing))
    if not cards:
        return ""
    return "<h2>What to look at first</h2>\n" + "\n".join(cards)


def _not_offered(report: Report) -> list[Case]:
    return [c for c in report["cases"] if c["requirement"] == "MUST" and c["outcome"] in GAPS]


def _missing(cases: list[Case]) -> str:
    names = sorted({case["operation"] for case in cases})
    operations = ", ".join(f'<span class="mono">{escape(name)}</span>' for name in names)
    return (
        f'<section class="card open"><h3>{len(cases)} required cases could not be asked</h3>'
        f"<p>What is not offered or declared missing is a gap, never a pass: {operations}.</p>"
        f"{_links(cases)}</section>"
    )


def _links(cases: list[Case]) -> str:
    links = ", ".join(f'<a class="mono" href="#{c["id"]}">{c["id"]}</a>' for c in cases)
    return f'<p class="why">{links}</p>'


def _card(case: Case, others: list[Case]) -> str:
    items = "".join(
        f'<li class="{"named" if d.startswith((KNOWN, "the direction")) else ""}">{escape(d)}</li>'
        for d in case["diagnosis"]
    )
    maps = source_maps(case["picture"]) if case["picture"] else ""
    again = (
        f'<pre tabindex="0" aria-label="how to reproduce it">{escape(case["reproduce"])}</pre>'
        if case["reproduce"]
        else ""
    )
    same = f'<p class="why">In the same way failed:</p>{_links(others)}' if others else ""
    return (
        f'<section class="card"><h3><span class="mono">{case["id"]}</span>'
        f'<span class="tag">{case["requirement"]}</span>'
        f'<span class="tag">{SENTENCES[case["outcome"]]}</span></h3>'
        f"<p>{escape(case['message'])}</p>{f'<ul>{items}</ul>' if items else ''}{maps}"
        f'<p class="why">{escape(case["checks"])} It exists to catch: {escape(case["defect"])}.</p>'
        f"{again}{same}</section>"
    )


def _accuracy(report: Report) -> str:
    used = [c for c in report["cases"] if isinstance(c["used"], float) and c["used"] > 0]
    if not used:
        return ""
    return (
        "<h2>How much of its bound each case used</h2>\n"
        "<p>Every dot is a case that is judged within a bound derived from the arithmetic: left is "
        "exact, the line at 1 is the limit.</p>\n" + used_strip(used)
    )


def _tiles(report: Report) -> str:
    rows = []
    for level, counts in report["counts"].items():
        cases = [c for c in report["cases"] if c["level"] == level]
        tiles = "".join(
            f'<a class="{c["outcome"].split()[-1]}" href="#{c["id"]}" '
            f'title="{c["id"]}: {SENTENCES[c["outcome"]]}" '
            f'aria-label="{c["id"]}: {SENTENCES[c["outcome"]]}">{SIGNS[c["outcome"]]}</a>'
            for c in cases
        )
        words = ", ".join(f"{count} {SENTENCES[name]}" for name, count in counts.items())
        rows.append(
            f'<div class="level"><p><b>{level}</b> {escape(LEVELS[level])}<br>'
            f'<small>{words}</small></p><div class="tiles">{tiles}</div></div>'
        )
    return "<h2>At a glance</h2>\n" + "\n".join(rows)


def _every_case(report: Report) -> str:
    return "<h2>Every case</h2>\n" + "\n".join(_detail(case) for case in report["cases"])


def _detail(case: Case) -> str:
    rows = {
        "checks": case["checks"],
        "formula": case["formula"],
        "catches": case["defect"],
        "result": case["message"] or SENTENCES[case["outcome"]],
    }
    if case["used"]:
        rows["used"] = f"{case['used']} of its bound; at most {case['ulp']} ULP"
    if case["worst"]:
        rows["worst at"] = str(case["worst"])
    rows["time"] = f"{case['seconds']:.3f} s"
    terms = "".join(f"<dt>{key}</dt><dd>{escape(str(v))}</dd>" for key, v in rows.items())
    return (
        f'<details id="{case["id"]}"><summary>{_sign(case)}'
        f'<span class="mono">{case["id"]}</span> {escape(case["checks"])}'
        f'<span class="tag">{case["requirement"]}</span></summary><dl>{terms}</dl></details>'
    )


def _sign(case: Case) -> str:
    outcome = case["outcome"]
    label = SENTENCES[outcome]
    kind = outcome.split()[-1]
    return f'<span class="sign {kind}" role="img" aria-label="{label}">{SIGNS[outcome]}</span>'


def _foot(report: Report) -> str:
    return (
        f"<footer>{report['suite']['name']} {escape(report['suite']['version'])} · "
        f"seed {report['seed']} · {report['examples']} examples · {report['seconds']:.1f} s · "
        f"{escape(report['platform'])} · {report['made']}</footer>"
    )
