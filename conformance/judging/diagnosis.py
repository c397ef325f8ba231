"""What kind of mistake wrong answers look like: their source map, and the known mistakes by vote.

The data of most shift cases names its own place, so that every output value tells where it was read
from. And the catalogue of mutants is a list of known mistakes. One failure alone may look like
several of them, so the whole run votes: every wrong answer votes for the mutants that answer the
same, and what passed votes against those that would have failed there. A wrong name is worse than
none, so a mistake is named only where no passed case speaks against it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np

from conformance.catalogue import find_case
from conformance.judging.results import Evidence
from conformance.mutants import MUTANTS, Mutant, answer, suspects
from conformance.questions.arrays import Array
from conformance.questions.case import Question, Setting, make_problem
from conformance.questions.conventions import Conventions
from conformance.questions.files import ALLOWED_KINDS

KNOWN = "it answers like a known mistake: "
"""How the sentence that names a mistake begins."""

MAX_LIKELY = 3
"""How many known mistakes are named for one failure."""

MAX_NUMBERS = 300_000
"""The largest question that votes: of a larger one only those are tried that others elected."""

MAX_VOTERS = 24
"""How many failures vote, the cheapest of each operation first."""

WORK = 30_000_000
"""How many numbers the voters may be asked in all; each mutant reads a question's inputs."""

MAX_WITNESSES = 8
"""How many passed cases are asked whether they speak against a candidate."""

OVERHEAD = 2000
"""What a question costs beside its numbers."""


@dataclass(frozen=True)
class About:
    """What is said of one failure from its own data."""

    sentences: tuple[str, ...] = ()
    picture: dict[str, Any] | None = None


@dataclass(frozen=True)
class Named:
    """The mistakes that a run looks like, and which of its failures each explains."""

    mistakes: tuple[str, ...] = ()
    explained: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def sentences(self, case: str) -> tuple[str, ...]:
        """What to say of a failed case."""
        return tuple(KNOWN + _words(MUTANTS[name]) for name in self.explained.get(case, ()))


def _words(mutant: Mutant) -> str:
    return f"{mutant.mistake} ({mutant.name})"


def name_mistakes(failed: Mapping[str, Evidence], passed: Sequence[str], setting: Setting) -> Named:
    """The mistakes that explain most of what failed, and that nothing which passed contradicts."""
    conventions = setting.conventions
    explained = _ballot(_voters(failed), conventions)
    votes = Counter(name for names in explained.values() for name in names)
    elected = _uncontradicted(votes, passed, setting)
    chosen: dict[str, Sequence[str]] = {}
    for case, evidence in failed.items():
        names = explained.get(case)
        if names is None:
            top = [MUTANTS[name] for name in elected[:MAX_LIKELY]]
            names = [m.name for m in top if matches(m, evidence, conventions)]
        # Of those that fit this failure, the one that most of the run speaks for.
        best = [name for name in elected if name in names]
        if best:
            chosen[case] = [n for n in best if votes[n] == votes[best[0]]][:MAX_LIKELY]
    return Named(tuple(_words(MUTANTS[name]) for name in _winners(chosen, failed)), chosen)


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


def _ballot(voters: Mapping[str, Evidence], conventions: Conventions) -> dict[str, list[str]]:
    """For each failure the mutants that it votes for, until the work is used up."""
    explained: dict[str, list[str]] = {}
    left = WORK
    for case, evidence in voters.items():
        candidates = suspects(evidence.question.call, conventions)
        left -= len(candidates) * (_size(evidence.question) + OVERHEAD)
        if left < 0 and explained:
            break
        found = [m.name for m in candidates if matches(m, evidence, conventions)]
        explained[case] = found
    return explained


def matches(mutant: Mutant, evidence: Evidence, conventions: Conventions) -> bool:
    """Whether a mutant gives this very answer, and not the right one."""
    judge, call = evidence.question.judge, evidence.question.call
    actual = evidence.reply.values.get(judge.output)
    wrong = answer(mutant, call, conventions).get(judge.output)
    if actual is None or wrong is None or type(wrong) is not type(actual):
        return False
    if isinstance(actual, np.ndarray) and actual.dtype.kind not in ALLOWED_KINDS:
        return False
    finding = judge.judge({judge.output: wrong})
    return not finding.passed and judge.nearness(actual, wrong)


def _uncontradicted(votes: Mapping[str, int], passed: Sequence[str], setting: Setting) -> list[str]:
    """The candidates by falling votes, without those that would fail where the testee passed."""
    order = sorted(votes, key=lambda name: -votes[name])
    cases = [find_case(id) for id in passed]
    witnesses = [case for case in cases if not case.costly and case.interactive is None]
    problems: dict[str, Sequence[Question]] = {}
    kept: list[str] = []
    for name in order:
        mutant = MUTANTS[name]
        mine = [c for c in witnesses if _concerns(mutant, c.operation)][:MAX_WITNESSES]
        for case in mine:
            if case.id not in problems:
                problems[case.id] = make_problem(case, setting).questions
        questions = (q for case in mine for q in problems[case.id])
        if not any(_fails(mutant, q, setting.conventions) for q in questions):
            kept.append(name)
        if len(kept) == 2 * MAX_LIKELY:
            break
    return kept


def _concerns(mutant: Mutant, operation: str) -> bool:
    """Whether what a mutant replaces is asked for by an operation directly."""
    if operation in mutant.methods:
        return True
    return operation == "temporal_shift" and bool({"folds", "shift_by"} & set(mutant.methods))


def _fails(mutant: Mutant, question: Question, conventions: Conventions) -> bool:
    if question.judge.expects_refusal or _size(question) > MAX_NUMBERS:
        return False
    values = answer(mutant, question.call, conventions)
    return bool(values) and not question.judge.judge(values).passed


def sentences_about(evidence: Evidence, conventions: Conventions) -> About:
    """What the source map of a wrong shift says, and its picture."""
    question = evidence.question
    actual = evidence.reply.values.get(question.judge.output)
    expected = getattr(question.judge, "expected", None)
    if question.call.operation != "temporal_shift" or not isinstance(actual, np.ndarray):
        return About()
    x = question.call.inputs["x"]
    if actual.dtype.kind not in ALLOWED_KINDS or not isinstance(expected, np.ndarray):
        return About()
    if not actual.shape == x.shape == expected.shape or len(np.unique(x)) != x.size:
        return About()
    return About(tuple(source_sentences(x, actual, expected)), picture_of(x, actual, expected))


def source_map(x: Array, y: Array) -> Array:
    """For every output value, the flat place in x that it was read from; -1: zero, -2: neither.

    >>> x = np.array([[[5.0, 6.0, 7.0]]])
    >>> source_map(x, np.array([[[0.0, 5.0, 9.0]]])).ravel()
    array([-1,  0, -2])
    """
    flat = x.ravel()
    order = np.argsort(flat, kind="stable")
    place = np.clip(np.searchsorted(flat[order], y.ravel()), 0, flat.size - 1)
    source = np.where(flat[order][place] == y.ravel(), order[place], -2)
    return np.asarray(np.where(y.ravel() == 0, -1, source)).reshape(y.shape)


def source_sentences(x: Array, actual: Array, expected: Array) -> list[str]:
    """What each run of channels reads, where that is not what the profile says."""
    was = [channel_reads(x, actual, c) for c in range(x.shape[1])]
    should = [channel_reads(x, expected, c) for c in range(x.shape[1])]
    wrong = [(c, w, s) for c, (w, s) in enumerate(zip(was, should, strict=True)) if w != s]
    sentences = []
    for (reads, right), group in groupby(wrong, key=lambda entry: entry[1:]):
        channels = [c for c, *_ in group]
        name = f"channel {channels[0]}"
        if len(channels) > 1:
            name = f"channels {channels[0]}..{channels[-1]}"
        verb = "read" if len(channels) > 1 else "reads"
        sentences.append(f"{name} {verb} {reads} where your profile says {right}")
    swapped = {(w, s) for _, w, s in wrong}
    if swapped and all({w[:3], s[:3]} == {"t-1", "t+1"} for w, s in swapped):
        sentences.append("the direction is swapped")
    return sentences[:6]


def channel_reads(x: Array, y: Array, c: int) -> str:
    """Where a channel of the output comes from, in words.

    >>> x = np.arange(1.0, 9).reshape(1, 2, 4)
    >>> channel_reads(x, np.array([[[0.0, 1, 2, 3], [0, 0, 0, 0]]]), 0)
    't-1, then zero'
    """
    source = source_map(x, y)[:, c]
    inside = source >= 0
    if not inside.any():
        return "zero everywhere" if (source == -1).all() else "values that are not in the input"
    n, channel, t = np.unravel_index(source[inside], x.shape)[:3]
    own = np.broadcast_to(
        np.arange(source.shape[0]).reshape(-1, *[1] * (source.ndim - 1)), source.shape
    )[inside]
    at = np.broadcast_to(
        np.arange(source.shape[1]).reshape(1, -1, *[1] * (source.ndim - 2)), source.shape
    )[inside]
    if (n != own).any():
        return "another clip"
    if (channel != c).any():
        return f"channel {int(channel[channel != c][0])}"
    offsets = sorted({int(v) for v in t - at})
    main = max(offsets, key=lambda v: int(np.sum(t - at == v)))
    name = "t" if main == 0 else f"t{main:+d}"
    if len(offsets) > 1:
        ends = ", ".join(f"t{v:+d}" if v else "t" for v in offsets if v != main)
        return f"{name}, and at the ends {ends}"
    if (source == -1).any():
        return f"{name}, then zero"
    return name if (source != -2).all() else f"{name}, then other values"


def picture_of(x: Array, actual: Array, expected: Array, channels: int = 24) -> dict[str, Any]:
    """Which frame each channel shows at each time, for the report: -1 is zero, -2 another value."""
    shown = min(channels, x.shape[1])

    def frames(y: Array) -> list[list[int]]:
        source = source_map(x, y)[0, :shown].reshape(shown, x.shape[2], -1)[:, :, 0]
        clip, _, frame = np.unravel_index(np.maximum(source, 0), x.shape)[:3]
        shown_frames = np.where(source < 0, source, np.where(clip > 0, -2, frame))
        return [[int(v) for v in row] for row in shown_frames]

    return {"kind": "shift", "actual": frames(actual), "expected": frames(expected)}
