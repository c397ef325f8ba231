"""What each command of ``tsm-conformance`` does, in terms of the rest of the package."""

import argparse
import shlex
import sys
import textwrap
from pathlib import Path
from typing import Any

from conformance.catalogue import cases_named, cases_of, find_case
from conformance.judging.results import Options, Result, Run
from conformance.judging.runner import run
from conformance.questions.case import Case, Setting
from conformance.questions.conventions import conventions_of
from conformance.questions.levels import LEVELS, parse_levels
from tsm_ref.errors import UsageError
from tsm_ref.system.terminal import say

MAX_TIMEOUT = 86400
MARKS = {"passed": "✓", "failed": "✗", "unsupported": "?", "skipped": "-", "not applicable": "·",
         "error": "!"}  # fmt: skip
JUDGE_BROKE = 70
"""The exit code of a fault of the judge itself, which says nothing about the testee."""


def run_command(a: argparse.Namespace) -> int:
    """Put the cases to a testee, print the verdict, write the report."""
    from conformance.judging import expected as known
    from conformance.testees.parse import make_testee

    options, cases = options_of(a), chosen(a)
    if a.fix and not a.expected:
        raise UsageError("`--fix` needs `--expected FILE`, the file to rewrite")
    expectations = known.read(Path(a.expected), missing_ok=a.fix) if a.expected else None
    testee = make_testee(a.testee, a.profile, isolate=not a.in_process)
    try:
        finished = run(testee, cases, options, show_progress)
    finally:
        testee.close()
    if expectations is not None and a.fix:
        known.write(Path(a.expected), finished, expectations)
        expectations = known.read(Path(a.expected))
    return conclude(finished, a.report, expectations)


def options_of(a: argparse.Namespace) -> Options:
    """The options of a run from the command line."""
    if a.examples < 1:
        raise UsageError(f"`--examples` (={a.examples}) must be at least 1")
    if not 0 < a.timeout <= MAX_TIMEOUT:
        raise UsageError(
            f"`--timeout` (={a.timeout:g}) must be more than 0 and at most {MAX_TIMEOUT} seconds"
        )
    vectors = Path(a.report) / "vectors" if a.report else None
    again = f"--testee {shlex.quote(a.testee)}"
    again += f" --profile {shlex.quote(a.profile)}" if a.profile else ""
    return Options(a.seed, a.examples, a.timeout, vectors, again)


def chosen(a: argparse.Namespace) -> list[Case]:
    """The cases that the command line asks for: those of levels, or those named one by one."""
    levels = parse_levels(a.level)
    return cases_named(a.case) if a.case else cases_of(levels)


def show_progress(result: Result) -> None:
    """A mark per case on a terminal's stderr; what is wrong is said once at the end."""
    if sys.stderr.isatty():
        print(MARKS[result.outcome], end="", file=sys.stderr, flush=True)


def show_groups(finished: Run) -> None:
    """What did not pass: failures that look alike are described once, and gaps in a line each."""
    from conformance.reports.groups import groups

    if sys.stderr.isatty():
        print(file=sys.stderr)
    for first, *others in groups(finished.results, lambda r: (r.diagnosis, r.message)):
        say(f"{MARKS[first.outcome]} {first.id} ({first.requirement}) {first.outcome}")
        for line in filter(None, (first.message, *first.diagnosis)):
            say(textwrap.indent(textwrap.fill(line, 96), "    "))
        if others:
            same = ", ".join(result.id for result in others)
            say(textwrap.indent(textwrap.fill(f"in the same way: {same}", 96), "    "))
        if first.reproduce:
            say(f"    {first.reproduce}")


def conclude(finished: Run, folder: str | None, expectations: Any = None) -> int:
    """Print the table and the verdict, write the report; the exit code of the run."""
    from conformance.reports import as_report, counts, write

    show_groups(finished)
    print_table(counts(finished))
    problems = expectations.problems(finished) if expectations else []
    if reason := finished.declaration.inexact:
        say(f"it declares {reason}, so that exact cases are judged by their bound")
    for mistake in finished.mistakes:
        say(f"it looks like this: {mistake}")
    say(f"{finished.declaration.name}: {finished.verdict} ({finished.seconds:.1f} s)")
    for problem in problems:
        say(f"  {problem}")
    if folder:
        report = as_report(finished)
        if expectations is not None:
            report["unexpected"] = problems
        for path in write(report, Path(folder)):
            say(f"  {path}")
    if finished.errors:
        return JUDGE_BROKE
    if expectations is not None:
        return 1 if problems else 0
    return 0 if finished.conforms else 1


def print_table(table: dict[str, dict[str, int]]) -> None:
    """Levels down, outcomes across."""
    for level, row in table.items():
        cells = "  ".join(f"{MARKS[outcome]} {count} {outcome}" for outcome, count in row.items())
        say(f"{level:3} {LEVELS[level]:34} {cells}")


def list_command(a: argparse.Namespace) -> int:
    """The cases with the defect that each exists to catch."""
    for case in cases_of(parse_levels(a.level)):
        say(f"{case.id:34} {case.requirement:6} {case.defect}")
    return 0


def explain_command(a: argparse.Namespace) -> int:
    """Everything there is to say about one case."""
    from conformance.explain import explain

    say(explain(find_case(a.case), a.profile, a.seed))
    return 0


def export_command(a: argparse.Namespace) -> int:
    """Write the questions to a folder."""
    from conformance.exchange.vectors import export

    setting = Setting(conventions_of(a.profile), a.seed)
    count = export(Path(a.folder), cases_of(parse_levels(a.level)), setting, a.format)
    say(f"{count} cases in {a.folder}")
    return 0


def vectors_command(a: argparse.Namespace) -> int:
    """Write the questions of some levels with their right answers to an archive."""
    from conformance.exchange.archive import write_archive
    from conformance.reports import suite_version

    setting = Setting(conventions_of(a.profile), a.seed)
    count = write_archive(Path(a.file), cases_of(parse_levels(a.level)), setting, suite_version())
    say(f"{count} cases in {a.file}")
    return 0


def judge_command(a: argparse.Namespace) -> int:
    """Judge the answers in a folder."""
    from conformance.testees.folder import Folder

    testee = Folder(Path(a.folder))
    options = Options(testee.seed, again=f"--testee {shlex.quote(f'dir:{a.folder}')}")
    return conclude(run(testee, cases_of(testee.levels), options, show_progress), a.report)


def compare_command(a: argparse.Namespace) -> int:
    """What changed from one report to another; 1 if anything got worse."""
    from conformance.reports.comparison import compare, read_report

    lines, worse = compare(read_report(Path(a.before)), read_report(Path(a.after)))
    say("\n".join(lines))
    return 1 if worse else 0


def badge_command(a: argparse.Namespace) -> int:
    """Write the verdict of a report as a badge."""
    from conformance.reports.badge import write_badge
    from conformance.reports.comparison import read_report

    write_badge(read_report(Path(a.report)), Path(a.file))
    say(a.file)
    return 0


def mutants_command(a: argparse.Namespace) -> int:
    """The kill matrix; or how well the vote over a whole run names each mutant."""
    if a.names:
        from conformance.judging import naming

        say(naming.summary(*naming.measure()))
        return 0
    from conformance.judging.kill_matrix import kill_matrix, summary, write_matrix

    matrix = kill_matrix(cases_of(parse_levels(a.level)))
    say(summary(matrix))
    if a.output:
        write_matrix(matrix, Path(a.output))
    return 0 if matrix.complete else 1
