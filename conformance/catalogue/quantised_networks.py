"""Q: the shift of quantised values, a small network of quantised layers, and streams of both."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from conformance.catalogue._quantised import (
    asked,
    quantised,
    whole,
)
from conformance.catalogue._questions import fold_channels
from conformance.questions.arrays import Array
from conformance.questions.case import Call, Problem, Question, Setting
from conformance.questions.data import normal
from conformance.questions.judges import Values
from conformance.questions.quantised import QuantisedOracle
from conformance.questions.streams import Event, outcome, steps

# The shift


def shifted(s: Setting, x: Array, zero_point: int) -> Question:
    """The testee's own shift of a clip."""
    attributes = {"fold_div": s.conventions.fold_div, "zero_point": zero_point}
    return asked(s, "quantised_shift", {"x": x}, attributes)


@quantised("shift.zero-point", "quantised_shift", defect="0 comes in, and not the zero point")
def shift_zero_point(s: Setting) -> Problem:
    """A clip of which no two frames are alike, with a zero point far from 0, in both types."""
    shape = (2, s.size("channels", fold_channels(s)), s.size("frames", 5))
    x = whole(s, (*shape, s.size("height", 3), s.size("width", 2)))
    return Problem((shifted(s, x, 131), shifted(s, x.view(np.int8), -77)))


@quantised("shift.folds", "quantised_shift", defect="folds are rounded to groups of four channels")
def shift_folds(s: Setting) -> Problem:
    """Folds of 1, 3, 5 and 6 channels, which groups of four channels do not hold."""
    div = s.conventions.fold_div
    shapes = ((1, div * folds + 1, 4, 2, 3) for folds in (1, 3, 5, 6))
    return Problem(tuple(shifted(s, whole(s, shape), 97) for shape in shapes))


# Networks and streams


@quantised("network", "quantised_network", "SHOULD", defect="a layer takes the steps of another")
def network(s: Setting) -> Problem:
    """A stem, two residual blocks with a shift, the mean, and the classifier."""
    inputs, attributes = small_network(s)
    x = {"x": normal(s.rng, (2, 3, 4, 9, 8), 1.5)}
    return Problem((asked(s, "quantised_network", x | inputs, attributes),))


def small_network(s: Setting) -> tuple[dict[str, Array], dict[str, Any]]:
    """The weights of a network, and its scales, which use the range of every value."""
    width = 2 * s.conventions.fold_div + 3
    shapes = {"stem": (width, 3, 3, 3), "fc": (5, width)}
    for block in range(2):
        shapes |= {f"block{block}.conv1": (width, width, 3, 3)}
        shapes |= {f"block{block}.conv2": (width, width, 1, 1)}
    steps: dict[str, list[Any]] = {"x": [0.0234375, 114], "pool": [0.01171875, 20]}
    weights: dict[str, Array] = {}
    for i, (name, shape) in enumerate(shapes.items()):
        inputs = int(np.prod(shape[1:]))
        scale = (s.rng.uniform(0.5, 1.5, shape[0]) / 50 / inputs**0.5).astype(np.float32)
        weights[f"weights/{name}.weight"] = s.rng.integers(-127, 128, shape).astype(np.int8)
        weights[f"weights/{name}.scale"] = scale
        weights[f"weights/{name}.bias"] = s.rng.integers(-3000, 3000, shape[0]).astype(np.int32)
        steps[name] = [float(np.float32(0.03 + 0.002 * i)), 128 if name == "fc" else 11 + 6 * i]
    for block in range(2):
        steps[f"block{block}.conv2"][1] = 120 + block
        steps[f"block{block}"] = [float(np.float32(0.035 + 0.003 * block)), 9 + 8 * block]
    return weights, {"steps": steps, "fold_div": s.conventions.fold_div}


def streamed(
    s: Setting,
    script: list[Event],
    clips: Array,
    weights: Mapping[str, Array],
    attributes: Mapping[str, Any],
) -> Problem:
    """A script, whose answers are those of the causal form on whole clips."""
    named = {name.removeprefix("weights/"): value for name, value in weights.items()}
    oracle = getattr(QuantisedOracle(s.conventions.streaming), attributes["subject"])
    told = {name: value for name, value in attributes.items() if name != "subject"}
    told |= {"weights": named} if weights else {}

    def join(parts: Sequence[tuple[Array, int, int]]) -> Array:
        return np.concatenate([whole[:, :, a:b] for whole, a, b in parts], axis=2)

    expected = outcome(script, lambda x: oracle(x, **told), clips, join)
    call = Call("stream", {"clips": clips, **weights}, {"script": script, **attributes})
    return Problem((Question(call, Values(expected)),))


@quantised(
    "stream.shift", "stream", "SHOULD", defect="the stream begins with 0, not the zero point"
)
def stream_shift(s: Setting) -> Problem:
    """The causal shift of whole numbers, frame by frame and in chunks, with a reset."""
    x = whole(s, (2, 2, fold_channels(s), 6, 3, 2))
    script = [*steps(0, 0, (1, 1, 3, 1)), ["reset", 0], *steps(0, 1, (2, 1))]
    attributes = {"subject": "quantised_shift", "fold_div": s.conventions.fold_div}
    return streamed(s, script, x, {}, attributes | {"zero_point": 131})


@quantised("stream.network", "stream", "SHOULD", defect="the stream differs from the whole clip")
def stream_network(s: Setting) -> Problem:
    """The network of whole numbers, frame by frame and in chunks, with a reset."""
    weights, attributes = small_network(s)
    x = normal(s.rng, (2, 2, 3, 6, 9, 8), 1.5)
    script = [*steps(0, 0, (1, 1, 1, 3)), ["reset", 0], *steps(0, 1, (2, 1, 1))]
    return streamed(s, script, x, weights, {"subject": "quantised_network", **attributes})
