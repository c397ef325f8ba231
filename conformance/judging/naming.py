"""How well mistakes are named: every mutant is judged as a stranger is, and its name compared.

A mutant that is in the catalogue is found by its own entry, if the vote is worth anything. So it is
also judged with that entry hidden: then it is a mistake that nobody has written down yet, and the
right thing to say is nothing, or the name of a mistake that no case can tell from it.

Only cases that use what a mutant replaces are asked; the reference passes all others. A film is
asked for only where nothing else fails; full architectures and drawn questions are left out, and
with them the mistakes that show in families of networks alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from conformance.catalogue import all_cases, find_case
from conformance.judging.results import Evidence
from conformance.judging.runner import judge_problem
from conformance.judging.voting import Known, name_mistakes
from conformance.mutants import MUTANTS, Mutant
from conformance.mutants.base import Recorder
from conformance.questions.case import Case, Problem, Setting, make_problem
from conformance.questions.conventions import PRESETS
from conformance.testees.in_process import InProcess

TIMEOUT = 60.0


@dataclass
class Naming:
    """What became of each mutant: named first, named another, or not named."""

    rightly: list[str] = field(default_factory=list)
    misleadingly: dict[str, Sequence[str]] = field(default_factory=dict)
    silently: list[str] = field(default_factory=list)

    def add(self, mutant: Mutant, names: Sequence[str]) -> None:
        """Count what a run of this mutant was called."""
        if not names:
            self.silently.append(mutant.name)
        elif names[0] == mutant.name:
            self.rightly.append(mutant.name)
        else:
            self.misleadingly[mutant.name] = names

    @property
    def counts(self) -> str:
        """The three numbers in words."""
        return (
            f"{len(self.rightly)} named rightly, {len(self.misleadingly)} misleadingly, "
            f"{len(self.silently)} not at all"
        )


def measure(mutants: Iterable[Mutant] | None = None) -> tuple[Naming, Naming]:
    """How mutants are named, and how they are named with their own entry hidden."""
    known, hidden = Naming(), Naming()
    suites: dict[str, _Suite] = {}
    for mutant in MUTANTS.values() if mutants is None else mutants:
        suite = suites.setdefault(mutant.preset, _Suite(mutant.preset))
        if not suite.asks_about(mutant):
            continue
        failed, passed = suite.judged(mutant)
        for naming, suite.known.without in ((known, ""), (hidden, mutant.name)):
            naming.add(mutant, name_mistakes(failed, passed, suite.known).names)
    return known, hidden


class _Suite:
    """The cases of some conventions, made once, with the parts of the reference that each uses."""

    def __init__(self, preset: str) -> None:
        self.setting = Setting(PRESETS[preset])
        self.known = Known(self.setting)
        self.problems: dict[str, Problem] = {}
        self.used: dict[str, frozenset[str]] = {}
        for case in sorted(all_cases(), key=lambda c: c.costly):
            if self._is_asked(case):
                self._prepare(case)

    def asks_about(self, mutant: Mutant) -> bool:
        """Whether any case uses what a mutant replaces."""
        return any(used & set(mutant.methods) for used in self.used.values())

    def judged(self, mutant: Mutant) -> tuple[Mapping[str, Evidence], Sequence[str]]:
        """The failures of a mutant, and the cases that it passes."""
        failed: dict[str, Evidence] = {}
        passed: list[str] = []
        testee = InProcess(mutant.make())
        for id, problem in self.problems.items():
            if find_case(id).costly and failed:
                continue
            if not self.used[id] & set(mutant.methods):
                passed.append(id)
                continue
            replies = [testee.ask(q.call, TIMEOUT) for q in problem.questions]
            told = judge_problem(problem, replies)
            if told["outcome"] == "passed":
                passed.append(id)
            elif "evidence" in told:
                failed[id] = told["evidence"]
        return failed, passed

    def _is_asked(self, case: Case) -> bool:
        fixed = case.interactive is None and case.level != "L4"
        return (
            fixed
            and "bitwise_streaming" not in case.needs
            and case.applies(self.setting.conventions)
        )

    def _prepare(self, case: Case) -> None:
        problem = make_problem(case, self.setting)
        Recorder.seen.clear()
        testee = InProcess(Recorder(self.setting.conventions))
        for question in problem.questions:
            testee.ask(question.call, TIMEOUT)
        self.problems[case.id] = problem
        self.used[case.id] = frozenset(Recorder.seen)


def summary(known: Naming, hidden: Naming) -> str:
    """The figures, and every misleading name."""
    lines = [f"of {len(MUTANTS)} mutants: {known.counts}"]
    lines += _misleading(known)
    lines += [f"not named: {name}" for name in known.silently]
    lines += [f"with its own entry hidden: {hidden.counts}"]
    lines += _misleading(hidden)
    return "\n".join(lines)


def _misleading(naming: Naming) -> list[str]:
    names = naming.misleadingly.items()
    return [f"misleading: {name} is called {', '.join(called)}" for name, called in names]
