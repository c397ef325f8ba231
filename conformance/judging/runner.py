"""Puts cases to a testee and judges its answers; one `Result` per case, whatever happens."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from conformance.questions.case import Case, Problem, Setting, all_cases, make_problem
from conformance.questions.judges import REFUSALS, Finding, VacuousCase, same_bits
from conformance.questions.levels import reached, verdict
from conformance.testees.base import (
    Broken,
    Outputs,
    Refused,
    Reply,
    Skipped,
    Testee,
    Unsupported,
    printable,
)

OUTCOMES = ("passed", "failed", "unsupported", "skipped", "not applicable")
COSTLY = 10
"""How many times longer than others a costly case may take."""


@dataclass(frozen=True)
class Options:
    """How a run is made: which levels, from which seed, with how many drawn examples.

    ``again`` is how the command line names the testee, for the line that reproduces a failure.
    """

    levels: tuple[str, ...] = ("L0", "L1", "L2", "L3")
    seed: int = 0
    examples: int = 20
    timeout: float = 20.0
    only: tuple[str, ...] = ()
    vectors: Path | None = None
    again: str = "--testee ..."


@dataclass(frozen=True)
class Result:
    """What became of one case."""

    id: str
    level: str
    requirement: str
    operation: str
    outcome: str
    message: str = ""
    used: float = 0.0
    ulp: float = 0.0
    worst: tuple[int, ...] = ()
    seconds: float = 0.0
    question: int = 0
    diagnosis: tuple[str, ...] = ()
    picture: dict[str, Any] | None = None
    reproduce: str = ""


@dataclass
class Run:
    """A finished run: the testee's declaration, how it was made, and every result."""

    declaration: Any
    options: Options
    results: list[Result] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def reached(self) -> tuple[str, ...]:
        """The levels that hold; some of its cases say nothing of a level."""
        return () if self.options.only else reached(self.results)

    @property
    def conforms(self) -> bool:
        """True if every level, or every single case, that was asked for holds."""
        if self.options.only:
            return all(r.outcome in ("passed", "not applicable") for r in self.results)
        return set(self.options.levels) <= set(self.reached)

    @property
    def verdict(self) -> str:
        """The levels reached in words, or how many of single cases passed."""
        if self.options.only:
            passed = sum(r.outcome == "passed" for r in self.results)
            return f"{passed} of {len(self.results)} cases"
        return verdict(self.reached)


def run(
    testee: Testee,
    options: Options | None = None,
    progress: Callable[[Result], None] = lambda result: None,
) -> Run:
    """Put every case of the wanted levels to a testee."""
    options = options or Options()
    started = time.perf_counter()
    finished = Run(testee.declaration, options)
    for case in chosen(options):
        result = run_case(case, testee, options)
        finished.results.append(result)
        progress(result)
    finished.seconds = time.perf_counter() - started
    return finished


def chosen(options: Options) -> list[Case]:
    """The cases of a run, in order: those of its levels, or those that it names."""
    if options.only:
        return [c for c in all_cases() if any(c.id.startswith(prefix) for prefix in options.only)]
    return [c for c in all_cases() if c.level in options.levels]


def setting_of(testee: Testee, seed: int) -> Setting:
    """What the cases are made for when they are put to a testee."""
    told = testee.declaration
    return Setting(told.profile, seed, told.accumulation, not told.inexact)


def run_case(case: Case, testee: Testee, options: Options) -> Result:
    """Put one case to a testee; never raises for what the testee does."""
    began = time.perf_counter()
    outcome = _judged(case, testee, options)
    outcome["message"] = printable(outcome.get("message", ""))
    line = f"tsm-conformance run {options.again} --case {case.id} --seed {options.seed}"
    return Result(
        case.id,
        case.level,
        case.requirement,
        case.operation,
        seconds=time.perf_counter() - began,
        reproduce=line if outcome.get("outcome") == "failed" else "",
        **outcome,
    )


def _judged(case: Case, testee: Testee, options: Options) -> dict[str, Any]:
    if not case.applies(testee.declaration.profile):
        return {"outcome": "not applicable", "message": "the profile decides nothing here"}
    for need in case.needs:
        if lack := testee.declaration.lacks(need):
            return {"outcome": "skipped", "message": lack}
    offered = testee.declaration.operations
    if offered is not None and case.operation not in offered:
        message = f"the testee does not declare the operation `{case.operation}`"
        return {"outcome": "unsupported", "message": message}
    if case.interactive is not None:
        from conformance.judging.identities import explore

        return explore(case, testee, options)
    try:
        problem = make_problem(case, setting_of(testee, options.seed))
    except VacuousCase as error:
        return {"outcome": "skipped", "message": f"cannot be judged: {error}"}
    timeout = options.timeout * (COSTLY if case.costly else 1)
    return judge_problem(problem, [testee.ask(q.call, timeout) for q in problem.questions], testee)


def judge_problem(
    problem: Problem, replies: Sequence[Reply], testee: Testee | None = None
) -> dict[str, Any]:
    """The fields of a `Result` from the replies to the questions of a problem."""
    worst = Finding()
    for i, (question, reply) in enumerate(zip(problem.questions, replies, strict=True)):
        outcome, finding = judge_reply(question.judge, reply)
        if outcome != "passed":
            fields = {"outcome": outcome, **_finding(finding), "question": i}
            return fields | _diagnosed(problem, i, reply, testee, outcome)
        if finding.used > worst.used:
            worst = finding
    if problem.same_bits and (difference := _differing(replies)):
        return {"outcome": "failed", "message": difference}
    return {"outcome": "passed", **_finding(worst)}


def judge_reply(judge: Any, reply: Reply) -> tuple[str, Finding]:
    """The outcome of one reply and what was found."""
    if isinstance(reply, Outputs):
        finding: Finding = judge.judge(reply.values)
        return ("passed" if finding.passed else "failed"), finding
    if isinstance(reply, Unsupported):
        return "unsupported", Finding(reply.message)
    if isinstance(reply, Skipped):
        sentence = f"skipped without having declared that it lacks anything: {reply.message}"
        return "failed", Finding(sentence)
    if isinstance(reply, Broken):
        return "failed", Finding(reply.message)
    return _judge_refusal(judge, reply)


def _judge_refusal(judge: Any, reply: Refused) -> tuple[str, Finding]:
    if judge.expects_refusal:
        if reply.kind in REFUSALS:
            return "passed", Finding()
        return "failed", Finding(f"failed ({reply.kind}) instead of refusing: {reply.message}")
    if reply.kind == "unsupported":
        return "unsupported", Finding(reply.message)
    return "failed", Finding(f"refused a valid input ({reply.kind}): {reply.message}")


def _differing(replies: Iterable[Reply]) -> str:
    """Two answers that should be the same bits: what is not, or nothing."""
    arrays = [next(iter(r.values.values())) for r in replies if isinstance(r, Outputs)]
    first = arrays[0]
    for i, other in enumerate(arrays[1:], start=1):
        if not same_bits(first, other):
            count = int(np.sum(first != other)) if first.shape == other.shape else first.size
            return f"answer {i} differs from answer 0 in {count} of {first.size} values; 0 may"
    return ""


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "message": finding.message,
        "used": finding.used,
        "ulp": finding.ulp,
        "worst": finding.worst,
    }


def _diagnosed(
    problem: Problem, i: int, reply: Reply, testee: Testee | None, outcome: str
) -> dict[str, Any]:
    if testee is None or outcome != "failed" or not isinstance(reply, Outputs):
        return {}
    from conformance.judging.diagnosis import diagnose

    return diagnose(problem.questions[i], reply, testee.declaration.profile)
