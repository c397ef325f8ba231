"""What each command of ``tsm-conformance`` does, in terms of the rest of the package."""

import argparse
import shlex
import textwrap
from pathlib import Path
from typing import Any

from conformance.judging.runner import Options, Result, Run, run
from conformance.questions.case import all_cases, find_case
from conformance.questions.levels import LEVELS, parse_levels
from tsm_ref.errors import UsageError
from tsm_ref.terminal import say

MAX_TIMEOUT = 86400
MARKS = {"passed": "✓", "failed": "✗", "unsupported": "?", "skipped": "-", "not applicable": "·"}


def run_command(a: argparse.Namespace) -> int:
    """Put the cases to a testee, print the verdict, write the report."""
    from conformance.judging import expected as known
    from conformance.testees.parse import make_testee

    options = options_of(a)
    if a.fix and not a.expected:
        raise UsageError("`--fix` needs `--expected FILE`, the file to rewrite")
    expectations = known.read(Path(a.expected), missing_ok=a.fix) if a.expected else None
    testee = make_testee(a.testee, a.profile, isolate=not a.in_process)
    try:
        finished = run(testee, options, show)
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
    only = tuple(a.case)
    for prefix in only:
        if not any(c.id.startswith(prefix) for c in all_cases()):
            find_case(prefix)
    levels = parse_levels(a.level)
    if only:
        named = {c.level for c in all_cases() if any(c.id.startswith(p) for p in only)}
        levels = tuple(level for level in LEVELS if level in named)
    vectors = Path(a.report) / "vectors" if a.report else None
    again = f"--testee {shlex.quote(a.testee)}"
    again += f" --profile {a.profile}" if a.profile else ""
    return Options(levels, a.seed, a.examples, a.timeout, only, vectors, again)


def show(result: Result) -> None:
    """One line per case that did not pass."""
    if result.outcome in ("passed", "not applicable"):
        return
    say(f"{MARKS[result.outcome]} {result.id} ({result.requirement}) {result.outcome}")
    for line in filter(None, (result.message, *result.diagnosis)):
        say(textwrap.indent(textwrap.fill(line, 96), "    "))
    if result.reproduce:
        say(f"    {result.reproduce}")


def conclude(finished: Run, folder: str | None, expectations: Any = None) -> int:
    """Print the table and the verdict, write the report; the exit code of the run."""
    from conformance.reports import as_report, counts, write

    print_table(counts(finished))
    problems = expectations.problems(finished) if expectations else []
    if reason := finished.declaration.inexact:
        say(f"it declares {reason}, so that exact cases are judged by their bound")
    say(f"{finished.declaration.name}: {finished.verdict} ({finished.seconds:.1f} s)")
    for problem in problems:
        say(f"  {problem}")
    if folder:
        report = as_report(finished)
        if expectations is not None:
            report["unexpected"] = problems
        for path in write(report, Path(folder)):
            say(f"  {path}")
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
    levels = parse_levels(a.level)
    for case in all_cases():
        if case.level in levels:
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

    levels = parse_levels(a.level)
    count = export(Path(a.folder), levels, a.profile, a.seed, a.format)
    say(f"{count} cases in {a.folder}")
    return 0


def judge_command(a: argparse.Namespace) -> int:
    """Judge the answers in a folder."""
    from conformance.testees.folder import Folder

    testee = Folder(Path(a.folder))
    levels = testee.levels
    options = Options(levels, testee.seed, again=f"--testee {shlex.quote(f'dir:{a.folder}')}")
    return conclude(run(testee, options, show), a.report)


def mutants_command(a: argparse.Namespace) -> int:
    """The kill matrix."""
    from conformance.judging.kill_matrix import kill_matrix, summary, write_matrix

    matrix = kill_matrix(parse_levels(a.level))
    say(summary(matrix))
    if a.output:
        write_matrix(matrix, Path(a.output))
    return 0 if matrix.complete else 1
