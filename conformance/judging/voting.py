"""Which known mistakes a run looks like, by vote.

The catalogue of mutants is a list of known mistakes. One failure alone may look like several of
them, so the whole run votes: every wrong answer votes for the mutants that answer the same, and
what passed votes against those that would have failed there. A wrong name is worse than none, so a
mistake is named only where no passed case speaks against it, and no failed one that is left over.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from conformance.catalogue import find_case
from conformance.judging.results import Evidence
from conformance.mutants import MUTANTS, Mutant, answer, suspects
from conformance.questions.case import Call, Problem, Question, Setting, make_problem
from conformance.questions.files import ALLOWED_KINDS
from conformance.questions.quantised import STEPS_OF
from conformance.testees.base import Outputs

KNOWN = "it answers like a known mistake: "
"""How the sentence that names a mistake begins."""

MAX_LIKELY = 3
"""How many known mistakes are named for one failure."""

MAX_NUMBERS = 300_000
"""The largest question that votes: of a larger one only those are tried that others elected."""

MAX_VOTERS = 16
"""How many failures vote, the cheapest of each operation first."""

ON_FILM_ALONE = ("recognize", "averaged")
"""What only a film shows. It votes for no other mistake: behind so many steps, an error of any kind
of arithmetic looks like any other, so the cases about the steps themselves must tell them apart."""

WORK = 80_000_000
"""How much work the voters may make in all, in numbers that are read; see `_cost`."""

CHEAP = 50_000
"""Of a question that is more work, only those are tried whom no passed case speaks against."""

MAX_WITNESSES = 40
"""How many passed cases are asked whether they speak against a candidate."""

OVERHEAD = 2000
"""What a question costs beside its numbers, for each input and each event of a script."""


@dataclass(frozen=True)
class Named:
    """The mistakes that a run looks like, and which of its failures each explains."""

    names: tuple[str, ...] = ()
    explained: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def mistakes(self) -> tuple[str, ...]:
        """The mistakes in words."""
        return tuple(_words(MUTANTS[name]) for name in self.names)

    def sentences(self, case: str) -> tuple[str, ...]:
        """What to say of a failed case."""
        return tuple(KNOWN + _words(MUTANTS[name]) for name in self.explained.get(case, ()))


def _words(mutant: Mutant) -> str:
    return f"{mutant.mistake} ({mutant.name})"


class Known:
    """The known mistakes under some conventions: what each of them answers, found once.

    ``without`` names one that is not to be known.
    """

    def __init__(self, setting: Setting, without: str = "") -> None:
        self.setting, self.without = setting, without
        self._answers: dict[Any, Mapping[str, Any]] = {}
        self._suspects: dict[str, list[Mutant]] = {}
        self._problems: dict[str, Problem] = {}

    def suspects(self, call: Call) -> list[Mutant]:
        """The mutants that can differ from the reference on a call."""
        key = call.fingerprint
        if key not in self._suspects:
            self._suspects[key] = suspects(call, self.setting.conventions)
        found = [mutant for mutant in self._suspects[key] if mutant.name != self.without]
        if call.operation == "recognize":
            found = [m for m in found if set(ON_FILM_ALONE) & set(m.methods)]
        return found

    def answer(self, mutant: Mutant, call: Call) -> Mapping[str, Any]:
        """What a mutant puts out; nothing if it fails."""
        key = (mutant.name, call.fingerprint, *sorted(call.memory.items()))
        if key not in self._answers:
            self._answers[key] = answer(mutant, call, self.setting.conventions)
        return self._answers[key]

    def problem(self, case: str) -> Problem:
        """The problem of a case in this setting."""
        if case not in self._problems:
            self._problems[case] = make_problem(find_case(case), self.setting)
        return self._problems[case]

    def matches(self, mutant: Mutant, evidence: Evidence) -> bool:
        """Whether a mutant gives these very answers, and not the right one."""
        question, reply = evidence.question, evidence.reply
        if not self._agrees(mutant, question, reply) or not self.fails(mutant, question):
            return False
        return all(self._agrees(mutant, q, r) for q, r in evidence.beside)

    def _agrees(self, mutant: Mutant, question: Question, reply: Outputs) -> bool:
        """Whether a mutant answers as was answered, as far as can be told."""
        actual = reply.values.get(question.judge.output)
        other = self.answer(mutant, question.call).get(question.judge.output)
        if actual is None or other is None or type(other) is not type(actual):
            return False
        if isinstance(actual, np.ndarray) and actual.dtype.kind not in ALLOWED_KINDS:
            return False
        return question.judge.nearness(actual, other)

    def fails(self, mutant: Mutant, question: Question) -> bool:
        """Whether a mutant answers a question, and wrongly."""
        values = self.answer(mutant, question.call)
        return bool(values) and not question.judge.judge(values).passed


def name_mistakes(failed: Mapping[str, Evidence], passed: Sequence[str], known: Known) -> Named:
    """The mistakes that explain most of what failed, and that nothing contradicts."""
    explained = _ballot(_voters(failed), _Witnesses(passed, known))
    explained = _consistent(explained, failed, known)
    votes = Counter(name for names in explained.values() for name in names)
    elected = [name for name, _ in votes.most_common()]
    chosen: dict[str, Sequence[str]] = {}
    for case, evidence in failed.items():
        names = explained.get(case)
        if names is None:
            top = [MUTANTS[name] for name in elected[:MAX_LIKELY]]
            names = [m.name for m in top if known.matches(m, evidence)]
        # Of those that fit this failure, the one that most of the run speaks for.
        best = [name for name in elected if name in names]
        if best:
            chosen[case] = [n for n in best if votes[n] == votes[best[0]]][:MAX_LIKELY]
    # What explains a lesser part of the failures says too little of the testee.
    told = 2 * sum(map(bool, explained.values())) >= len(explained)
    return Named(tuple(_winners(chosen, failed)) if told else (), chosen)


def _consistent(
    explained: Mapping[str, list[str]], failed: Mapping[str, Evidence], known: Known
) -> dict[str, list[str]]:
    """The ballot without those whom another failure speaks against.

    A mistake that is really there would have been seen in every question about what it replaces: it
    answers each of them as the testee did, or rightly, where another mistake explains the rest.
    """
    names = {name for found in explained.values() for name in found}
    about = {name: _about(MUTANTS[name], explained, failed, known) for name in names}
    while True:
        kept = {case: [n for n in found if n in names] for case, found in explained.items()}
        out = {n for n in names if any(_speaks(n, c, kept, failed, known) for c in about[n])}
        if not out:
            return kept
        names -= out


def _about(
    mutant: Mutant, cases: Iterable[str], failed: Mapping[str, Evidence], known: Known
) -> list[str]:
    """The failures about what a mutant replaces; those in which it shows, if none is direct."""
    direct = [c for c in cases if _concerns(mutant, failed[c].question.call.operation)]
    return direct or [c for c in cases if mutant in known.suspects(failed[c].question.call)]


def _speaks(
    name: str,
    case: str,
    explained: Mapping[str, list[str]],
    failed: Mapping[str, Evidence],
    known: Known,
) -> bool:
    """Whether a failure speaks against a mistake."""
    if name in explained[case] or known.matches(MUTANTS[name], failed[case]):
        return False
    return not explained[case] or known.fails(MUTANTS[name], failed[case].question)


def _winners(chosen: Mapping[str, Sequence[str]], failed: Mapping[str, Evidence]) -> list[str]:
    """The mistakes of the run: of every operation that failed, the one that explains most of it."""
    tally: dict[str, Counter[str]] = {}
    for case, names in chosen.items():
        operation = failed[case].question.call.operation
        tally.setdefault(operation, Counter()).update(names[:1])
    found = [counter.most_common(1)[0] for counter in tally.values()]
    return list(dict.fromkeys(name for name, _ in sorted(found, key=lambda pair: -pair[1])))


def _voters(failed: Mapping[str, Evidence]) -> dict[str, Evidence]:
    """The failures that vote: small ones, and of every operation in turn."""
    small = {c: e for c, e in failed.items() if _size(e.question) <= MAX_NUMBERS}
    seen: Counter[str] = Counter()
    rank = {}
    for case, evidence in small.items():
        seen[evidence.question.call.operation] += 1
        rank[case] = (seen[evidence.question.call.operation], _size(evidence.question))
    return {case: small[case] for case in sorted(rank, key=lambda c: rank[c])[:MAX_VOTERS]}


def _size(question: Question) -> int:
    return sum(x.size for x in question.call.inputs.values())


def _ballot(voters: Mapping[str, Evidence], witnesses: "_Witnesses") -> dict[str, list[str]]:
    """For each failure the mutants that it votes for, as far as the work allows.

    Those that explained a failure before are asked first, and all others only if none of them
    explains this one too.
    """
    known, found = witnesses.known, dict[str, Mutant]()
    explained: dict[str, list[str]] = {}
    left = WORK
    for case, evidence in voters.items():
        candidates = known.suspects(evidence.question.call)
        again = [m for m in candidates if m.name in found and known.matches(m, evidence)]
        if not again and _cost(evidence.question) > CHEAP:
            candidates = [m for m in candidates if not witnesses.contradict(m)]
        cost = len(candidates) * _cost(evidence.question)
        if not again and cost > left and explained:
            continue
        if not again:
            left -= cost
            new = [m for m in candidates if m.name not in found and known.matches(m, evidence)]
            again = [m for m in new if not witnesses.contradict(m)]
            found |= {m.name: m for m in again}
        explained[case] = [m.name for m in again]
    return explained


def _cost(question: Question) -> int:
    """About how much work it is to answer a question."""
    events = len(question.call.attributes.get("script", "1"))
    return _size(question) + OVERHEAD * len(question.call.inputs) * events


class _Witnesses:
    """The cases that passed: they speak against whoever would have failed there."""

    def __init__(self, passed: Sequence[str], known: Known) -> None:
        cases = [find_case(id) for id in passed]
        self.cases = [case for case in cases if not case.costly and case.interactive is None]
        self.known = known
        self._contradicted: dict[str, bool] = {}

    def contradict(self, mutant: Mutant) -> bool:
        """Whether a mutant fails one of the first cases about what it replaces."""
        if mutant.name not in self._contradicted:
            mine = [c for c in self.cases if _concerns(mutant, c.operation)][:MAX_WITNESSES]
            questions = (q for case in mine for q in self.known.problem(case.id).questions)
            self._contradicted[mutant.name] = any(self._fails(mutant, q) for q in questions)
        return self._contradicted[mutant.name]

    def _fails(self, mutant: Mutant, question: Question) -> bool:
        if question.judge.expects_refusal or _size(question) > MAX_NUMBERS:
            return False
        return self.known.fails(mutant, question)


def _concerns(mutant: Mutant, operation: str) -> bool:
    """Whether what a mutant replaces is asked for by an operation directly."""
    behind = {"temporal_shift": ("folds", "shift_by"), "stream": ("stream_class",), **STEPS_OF}
    return bool({operation, *behind.get(operation, ())} & set(mutant.methods))
