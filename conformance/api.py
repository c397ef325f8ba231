"""The suite as a library: one line in somebody else's tests."""

from typing import Any

from conformance.catalogue import cases_of, find_case
from conformance.judging.results import Options, Run
from conformance.judging.runner import run
from conformance.questions.case import Problem, Setting, make_problem
from conformance.questions.conventions import conventions_of
from conformance.questions.levels import parse_levels
from conformance.testees.in_process import InProcess
from conformance.testees.parse import adapted, make_testee

SHOWN = 5
"""How many cases `assert_conforms` describes."""


def run_testee(testee: Any, *, profile: str | None = None, level: str = "L3", seed: int = 0) -> Run:
    """Put the cases of a level to an object in this process, or to a testee by specification.

    >>> import tsm_ref.reference
    >>> from conformance.testees.reference import Reference
    >>> run_testee(Reference("mit"), level="L0").reached
    ('L0',)
    """
    if isinstance(testee, str):
        asked = make_testee(testee, profile)
    else:
        asked = InProcess(adapted(testee), profile)
    try:
        return run(asked, cases_of(parse_levels(level)), Options(seed))
    finally:
        asked.close()


def assert_conforms(
    testee: Any, *, profile: str | None = None, level: str = "L0", seed: int = 0
) -> None:
    """Raise AssertionError with what is wrong unless a testee reaches the level.

    >>> from conformance.testees.reference import Reference
    >>> assert_conforms(Reference("paddle"), profile="mit", level="L0")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    AssertionError: reference reaches no level, not L0...
    """
    finished = run_testee(testee, profile=profile, level=level, seed=seed)
    if finished.conforms:
        return
    lines = [f"{finished.declaration.name} reaches {finished.verdict}, not {level}"]
    wrong = [r for r in finished.results if r.outcome == "failed"]
    wrong += [r for r in finished.results if r.outcome in ("unsupported", "skipped")]
    for result in wrong[:SHOWN]:
        lines += [f"{result.id} {result.outcome}: {result.message}", *result.diagnosis]
    if len(wrong) > SHOWN:
        lines.append(f"and {len(wrong) - SHOWN} more cases")
    raise AssertionError("\n  ".join(lines))


def problem(case_id: str, *, profile: str = "mit", seed: int = 0) -> Problem:
    """The questions of a case with their judges, for work on a failure by hand.

    >>> problem("L0.shift.directions").questions[0].call.inputs["x"].shape
    (1, 19, 5, 3, 2)
    """
    return make_problem(find_case(case_id), Setting(conventions_of(profile), seed))
