"""The kill matrix: every case against every mutant.

A case cannot tell a mutant from the reference if it never calls what the mutant replaced, so the
methods that the reference uses for a case are recorded once, and only mutants of these are tried.
Costly cases and identities come last, and are spared what has been killed already.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from conformance.judging.results import Options
from conformance.judging.runner import judge_reply, run_case
from conformance.mutants import MUTANTS, Mutant
from conformance.mutants.base import Recorder
from conformance.questions.case import Case, Problem, Setting, make_problem
from conformance.questions.conventions import PRESETS, Conventions
from conformance.testees.base import Outputs
from conformance.testees.in_process import InProcess
from tsm_ref.errors import WriteError
from tsm_ref.system.atomic import replace_file

TIMEOUT = 60.0


@dataclass
class Matrix:
    """Which case kills which mutant, and which tried and did not.

    A kill is a wrong answer that was seen to be wrong. A mutant that raises instead (`errors`) has
    proved nothing about the case.
    """

    cases: list[str] = field(default_factory=list)
    kills: dict[str, list[str]] = field(default_factory=dict)
    survivals: dict[str, list[str]] = field(default_factory=dict)
    errors: dict[str, list[str]] = field(default_factory=dict)
    reference_fails: list[str] = field(default_factory=list)

    @property
    def survivors(self) -> list[str]:
        """Mutants that no case kills."""
        killed = {name for names in self.kills.values() for name in names}
        return [name for name in MUTANTS if name not in killed]

    @property
    def harmless(self) -> list[str]:
        """Cases that kill nothing."""
        return [case for case in self.cases if not self.kills.get(case)]

    @property
    def complete(self) -> bool:
        """True if every mutant is killed, every case kills, and the reference passes."""
        return not (self.survivors or self.harmless or self.reference_fails)


def kill_matrix(cases: Iterable[Case], mutants: Sequence[Mutant] | None = None) -> Matrix:
    """Put cases to the mutants, each under its own conventions."""
    mutants = list(MUTANTS.values()) if mutants is None else mutants
    matrix = Matrix()
    by_preset: dict[str, list[Mutant]] = {}
    for mutant in mutants:
        by_preset.setdefault(mutant.preset, []).append(mutant)
    for case in sorted(cases, key=lambda c: c.costly):
        if "bitwise_streaming" in case.needs:
            continue
        matrix.cases.append(case.id)
        for name, group in by_preset.items():
            if case.applies(PRESETS[name]):
                _try_case(matrix, case, PRESETS[name], group)
    return matrix


def summary(matrix: Matrix) -> str:
    """The matrix in a few lines: how many kill how many, and every gap by name."""
    kills = sum(map(len, matrix.kills.values()))
    kinds = len({mutant.kind for mutant in MUTANTS.values()})
    lines = [
        f"{len(MUTANTS)} mutants of {kinds} kinds, {len(matrix.survivors)} survive; "
        f"{len(matrix.cases)} cases, {len(matrix.harmless)} kill nothing; {kills} kills"
    ]
    lines += [f"survives: {name} ({MUTANTS[name].mistake})" for name in matrix.survivors]
    lines += [f"kills nothing: {name}" for name in matrix.harmless]
    lines += [f"the reference fails: {name}" for name in matrix.reference_fails]
    return "\n".join(lines)


def write_matrix(matrix: Matrix, path: Path) -> None:
    """The matrix as JSON: for every case the mutants it killed and those that survived it."""
    tree = {
        "mutants": {m.name: {"kind": m.kind, "mistake": m.mistake} for m in MUTANTS.values()},
        "kills": matrix.kills,
        "survivals": matrix.survivals,
        "errors": matrix.errors,
        "survivors": matrix.survivors,
        "harmless": matrix.harmless,
    }
    try:
        replace_file(path, (json.dumps(tree, indent=1) + "\n").encode())
    except OSError as error:
        raise WriteError(f"cannot write the kill matrix {path}: {error}") from None


def _worth(case: Case, mutant: Mutant, matrix: Matrix) -> bool:
    """A costly case is tried until it kills, and on mutants that nothing else has killed."""
    return not case.costly or not matrix.kills.get(case.id) or mutant.name in matrix.survivors


def _try_case(
    matrix: Matrix, case: Case, conventions: Conventions, group: Sequence[Mutant]
) -> None:
    if not any(_worth(case, mutant, matrix) for mutant in group):
        return
    problem = make_problem(case, Setting(conventions))
    Recorder.seen.clear()
    correct = InProcess(Recorder(conventions))
    if _outcome(case, problem, correct) != "survived":
        matrix.reference_fails.append(f"{case.id} under {conventions.name}")
    used = set(Recorder.seen)
    for mutant in group:
        if not used & set(mutant.methods) or not _worth(case, mutant, matrix):
            continue
        outcome = _outcome(case, problem, InProcess(mutant.make()))
        table: dict[str, list[str]] = getattr(matrix, _TABLES[outcome])
        table.setdefault(case.id, []).append(mutant.name)


_TABLES = {"killed": "kills", "survived": "survivals", "raised": "errors"}


def _outcome(case: Case, problem: Problem, testee: InProcess) -> str:
    if case.interactive is not None:
        result = run_case(case, testee, Options(examples=25))
        if "gave no output" in result.message:
            return "raised"
        return "survived" if result.outcome == "passed" else "killed"
    for question in problem.questions:
        reply = testee.ask(question.call, TIMEOUT)
        if judge_reply(question.judge, reply)[0] != "passed":
            seen = isinstance(reply, Outputs) or "modified its input" in reply.message
            return "killed" if seen else "raised"
    return "survived"
