"""Puts cases to a testee and judges its answers; one `Result` per case, whatever happens.

Every case is asked twice. An answer that is right now and wrong then is a finding of its own.
"""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.catalogue import whole_levels
from conformance.judging.asking import ask, askable
from conformance.judging.diagnosis import sentences_about
from conformance.judging.identities import TWO_ANSWERS, explore
from conformance.judging.results import Evidence, Options, Result, Run
from conformance.judging.voting import Known, name_mistakes
from conformance.questions.case import Case, Problem, Setting, make_problem
from conformance.questions.judges import REFUSALS, Finding, VacuousCase, same_bits
from conformance.testees.base import (
    Declaration,
    NoReply,
    Outputs,
    Refused,
    Reply,
    Skipped,
    Testee,
    Unsupported,
    printable,
)

COSTLY = 10
"""How many times longer than others a costly case may take."""

Progress = Callable[[Result], None]


def run(
    testee: Testee,
    cases: Iterable[Case],
    options: Options | None = None,
    progress: Progress = lambda result: None,
) -> Run:
    """Put cases to a testee, and name the mistakes that its wrong answers look like."""
    options = options or Options()
    cases = list(cases)
    started = time.perf_counter()
    finished = Run(testee.declaration, options, whole_levels(cases))
    for case in cases:
        result = _result(case, testee, options)
        finished.results.append(result)
        progress(result)
    _name(finished)
    finished.seconds = time.perf_counter() - started
    return finished


def run_case(case: Case, testee: Testee, options: Options | None = None) -> Result:
    """Put one case to a testee; never raises for what the testee does."""
    finished = run(testee, [case], options)
    return finished.results[0]


def setting_of(declaration: Declaration, seed: int) -> Setting:
    """What the cases are made for when they are put to a testee of this declaration."""
    return Setting(
        declaration.conventions,
        seed,
        declaration.accumulation,
        not declaration.inexact,
        architectures=declaration.architectures or (),
        fixed=declaration.fixed,
    )


def _result(case: Case, testee: Testee, options: Options) -> Result:
    began = time.perf_counter()
    try:
        fields = _judged(case, testee, options)
    except Exception as error:
        if os.environ.get("TSM_DEBUG") == "1":
            raise
        words = f"the judge itself failed: {type(error).__name__}: {error}"
        fields = {"outcome": "error", "message": words}
    fields["message"] = printable(fields.get("message", ""))
    again = f"tsm-conformance run {options.again} --case {case.id} --seed {options.seed}"
    return Result(
        case.id,
        case.level,
        case.requirement_of(testee.declaration.architectures),
        case.operation,
        seconds=time.perf_counter() - began,
        reproduce=again if fields["outcome"] in ("failed", "error") else "",
        **fields,
    )


def _judged(case: Case, testee: Testee, options: Options) -> dict[str, Any]:
    told = testee.declaration
    if not case.applies(told.conventions):
        return _not_applicable("the conventions decide nothing here")
    if reason := told.not_about(case.operation, case.architecture):
        return _not_applicable(reason)
    for need in case.needs:
        if lack := told.lacks(need):
            return _not_applicable(lack) if need == "quantised" else _skipped(lack)
    setting = setting_of(told, options.seed)
    if case.interactive is not None:
        if told.fixed:
            return _not_applicable(f"drawn questions have any size; {told.scope}")
        return explore(case, testee, setting, options)
    try:
        problem = askable(make_problem(case, setting), told)
    except VacuousCase as error:
        return _skipped(f"cannot be judged: {error}")
    if not problem.questions:
        return _not_applicable(f"it asks for other sizes; {told.scope}")
    timeout = options.timeout * (COSTLY if case.costly else 1)
    return _twice(problem, testee, timeout)


def _not_applicable(why: str) -> dict[str, Any]:
    return {"outcome": "not applicable", "message": why}


def _skipped(why: str) -> dict[str, Any]:
    return {"outcome": "skipped", "message": why}


def _twice(problem: Problem, testee: Testee, timeout: float) -> dict[str, Any]:
    """The fields of a result, from two rounds of the same questions where the first was answered.

    A testee that hangs or crashes is not asked again: it would only take the time once more.
    """
    verdicts = []
    for _ in range(2):
        replies = [ask(testee, q.call, timeout) for q in problem.questions]
        verdicts.append(judge_problem(problem, replies))
        if not all(isinstance(reply, Outputs) for reply in replies):
            break
    first, last = verdicts[0], verdicts[-1]
    kept = next((v for v in verdicts if v["outcome"] == "failed"), first)
    if first["outcome"] != last["outcome"]:
        order = "asked again it is right" if kept is first else "at first it was right"
        return {**kept, "message": f"{TWO_ANSWERS}: {kept['message']}; {order}"}
    return kept


def judge_problem(problem: Problem, replies: Sequence[Reply]) -> dict[str, Any]:
    """The fields of a `Result` from the replies to the questions of a problem."""
    worst = Finding()
    for i, (question, reply) in enumerate(zip(problem.questions, replies, strict=True)):
        outcome, finding = judge_reply(question.judge, reply)
        if outcome != "passed":
            fields = {"outcome": outcome, **_finding(finding), "question": i}
            if outcome == "failed" and isinstance(reply, Outputs):
                pairs = zip(problem.questions, replies, strict=True)
                beside = ((q, r) for q, r in pairs if q is not question and isinstance(r, Outputs))
                fields["evidence"] = Evidence(question, reply, tuple(beside))
            return fields
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
    if isinstance(reply, NoReply):
        return "failed", Finding(reply.message)
    return _judge_refusal(judge, reply)


def _judge_refusal(judge: Any, reply: Refused) -> tuple[str, Finding]:
    if judge.may_refuse and reply.kind in REFUSALS:
        return "passed", Finding()
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


def _name(finished: Run) -> None:
    """Add to every failure what it looks like; the mistakes are named by the whole run."""
    failed = {r.id: r.evidence for r in finished.results if r.evidence is not None}
    passed = [r.id for r in finished.results if r.outcome == "passed"]
    known = Known(setting_of(finished.declaration, finished.options.seed))
    named = name_mistakes(failed, passed, known)
    finished.mistakes = named.mistakes
    for i, result in enumerate(finished.results):
        if result.evidence is not None:
            about = sentences_about(result.evidence)
            words = (*about.sentences, *named.sentences(result.id))
            diagnosis = (*result.diagnosis, *words)
            finished.results[i] = replace(result, diagnosis=diagnosis, picture=about.picture)
