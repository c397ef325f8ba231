"""What kind of mistake a wrong answer looks like: its source map, and the known mistakes.

The data of most shift cases names its own place, so that every output value tells where it was read
from. And the catalogue of mutants is a list of known mistakes: the failed question is put to each
of them, and those whose answer is the testee's answer are named.
"""

from itertools import groupby
from typing import Any

import numpy as np

from conformance.questions.arrays import Array
from conformance.questions.case import Question
from conformance.questions.conventions import Profile
from conformance.questions.files import ALLOWED_KINDS
from conformance.testees.base import Outputs

MAX_LIKELY = 3
"""How many known mistakes are named for one failure."""

MAX_NUMBERS = 1_000_000
"""The largest question that is put to them: a full architecture would take minutes."""


def diagnose(question: Question, reply: Outputs, profile: Profile) -> dict[str, Any]:
    """The fields ``diagnosis`` and ``picture`` of a failed `Result`."""
    actual = reply.values.get(question.judge.output)
    if isinstance(actual, np.ndarray) and actual.dtype.kind not in ALLOWED_KINDS:
        return {}
    sentences: list[str] = []
    picture = None
    expected = getattr(question.judge, "expected", None)
    if (
        question.call.operation == "temporal_shift"
        and isinstance(actual, np.ndarray)
        and isinstance(expected, np.ndarray)
    ):
        x = question.call.inputs["x"]
        if actual.shape == x.shape == expected.shape and len(np.unique(x)) == x.size:
            sentences += source_sentences(x, actual, expected)
            picture = picture_of(x, actual, expected)
    if actual is not None:
        sentences += [f"this is what comes of it: {s}" for s in likely(question, actual, profile)]
    return {"diagnosis": tuple(sentences), "picture": picture}


def likely(question: Question, actual: Any, profile: Profile) -> list[str]:
    """The known mistakes that give this very answer, each in a sentence."""
    from conformance.mutants import answer, suspects

    found: list[str] = []
    if sum(x.size for x in question.call.inputs.values()) > MAX_NUMBERS:
        return found
    for mutant in suspects(question.call, profile):
        if len(found) == MAX_LIKELY:
            break
        wrong = answer(mutant, question.call, profile).get(question.judge.output)
        if wrong is None or type(wrong) is not type(actual):
            continue
        finding = question.judge.judge({question.judge.output: wrong})
        if not finding.passed and question.judge.nearness(actual, wrong):
            found.append(f"{mutant.mistake} ({mutant.name})")
    return found


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
