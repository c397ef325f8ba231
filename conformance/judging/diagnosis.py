"""What a wrong shift reads: its source map in words, and its picture.

The data of most shift cases names its own place, so that every output value tells where it was read
from. Which known mistake a run looks like is for `voting` to say.
"""

from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from conformance.judging.results import Evidence
from conformance.questions.arrays import Array
from conformance.questions.files import ALLOWED_KINDS


@dataclass(frozen=True)
class About:
    """What is said of one failure from its own data."""

    sentences: tuple[str, ...] = ()
    picture: dict[str, Any] | None = None


def sentences_about(evidence: Evidence) -> About:
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
