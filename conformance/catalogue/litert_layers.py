"""Q: sums, means and functions of one value as LiteRT rounds them, for whoever is ported to it.

Its convolutions and matrix products follow the rule of `quantised_layers`.
"""

from typing import Any

import numpy as np

from conformance.catalogue._quantised import asked, made, quantised, steps_of, whole
from conformance.questions.arrays import Array
from conformance.questions.case import Problem, Setting


def every(dtype: str) -> Array:
    """Every number of a type, as a clip."""
    start = 0 if dtype == "uint8" else -128
    return np.arange(start, start + 256).astype(dtype).reshape(2, 4, 2, 4, 4)


def pairs(dtype: str) -> dict[str, Array]:
    """Every pair of numbers of a type."""
    x, other = np.meshgrid(*[every(dtype).ravel()] * 2)
    return {"x": x.reshape(2, 8, 4, 32, 32), "other": other.reshape(2, 8, 4, 32, 32)}


@quantised("litert.add.ties", "litert_add", "SHOULD", defect="halves are not rounded up")
def add_ties(s: Setting) -> Problem:
    """Sums of which many are halves, above and below zero, in both types, also behind a ReLU."""
    how = steps_of("x", 0.25, 100) | steps_of("other", 0.5, 117)
    signed = steps_of("x", 0.25, -3) | steps_of("other", 0.5, 9)
    results = (how | made(1, 101), how | made(1, 120, low=120), signed | made(1, 4, "int8"))
    shape = (2, 3, 2, 4, 3)
    return Problem(
        tuple(
            asked(s, "litert_add", {n: whole(s, shape, y["dtype"]) for n in ("x", "other")}, y)
            for y in results
        )
    )


@quantised(
    "litert.add.factors", "litert_add", "SHOULD",
    defect="the ratios of the scales are no whole numbers of 21 bits",
)  # fmt: skip
def add_factors(s: Setting) -> Problem:
    """Every pair of numbers, in steps with ratios that no binary number has."""
    how = steps_of("x", 0.0816, -20) | steps_of("other", 0.0468, 31) | made(0.1296, 7, "int8")
    return Problem((asked(s, "litert_add", pairs("int8"), how),))


@quantised("litert.mean", "litert_mean", "SHOULD", defect="the zero point is added behind rounding")
def mean(s: Setting) -> Problem:
    """Means of eight places of which many are halves, with an odd zero point; then any steps."""
    x = whole(s, (2, 30, 3, 2, 4))
    halves = steps_of("x", 1, 120)
    results = (halves | made(1, 101), halves | made(0.5, -3, "int8"))
    any_steps = steps_of("x", 0.0317, 93) | made(0.0111, 55)
    return Problem(tuple(asked(s, "litert_mean", {"x": x}, y) for y in (*results, any_steps)))


@quantised(
    "litert.average", "litert_average_pool", "SHOULD",
    defect="halves do not go away from zero, or the padding is counted",
)  # fmt: skip
def average(s: Setting) -> Problem:
    """Windows of four and fewer, above and below zero, that reach into the padding."""
    questions = []
    for dtype in ("int8", "uint8"):
        steps = steps_of("x", 0.5, 11) | made(0.5, 11, dtype)
        how = steps | {"kernel": [1, 2, 2], "stride": [1, 2, 1], "padding": [0, 1, 1]}
        x = whole(s, (2, 6, 2, 5, 6), dtype)
        questions.append(asked(s, "litert_average_pool", {"x": x}, how))
    return Problem(tuple(questions))


def _of_every(s: Setting, operation: str, *steps: dict[str, Any]) -> Problem:
    """A function of one value, of every value, for several steps of it and of its result."""
    return Problem(tuple(asked(s, operation, {"x": every(y["dtype"])}, y) for y in steps))


@quantised(
    "litert.quantize", "litert_quantize", "SHOULD",
    defect="the ratio of the scales is finer than 1 / 256, or halves are not rounded up",
)  # fmt: skip
def quantize(s: Setting) -> Problem:
    """From steps to steps: with halves, and with a ratio that 1 / 256 does not divide."""
    halves = steps_of("x", 0.25, -7) | made(0.5, 4, "int8")
    third = steps_of("x", 0.0301, 11) | made(0.0899, 33, "uint8")
    wide = steps_of("x", 0.0899, -9) | made(0.0377, -20, "int8")
    return _of_every(s, "litert_quantize", halves, third, wide)


@quantised(
    "litert.quantize.far", "litert_quantize", "SHOULD",
    defect="steps that are far apart are treated as those that are not",
)  # fmt: skip
def quantize_far(s: Setting) -> Problem:
    """A ratio below 1 / 256, which LiteRT takes with 31 bits: two results are left of all."""
    steps = steps_of("x", 1, -128) | made(300, 5, "int8")
    finer = steps_of("x", 150, 3) | made(1, 5, "int8")
    return _of_every(s, "litert_quantize", steps, finer)


@quantised(
    "litert.leaky_relu", "litert_leaky_relu", "SHOULD",
    defect="the slope below zero is finer than 1 / 256, or holds above",
)  # fmt: skip
def leaky_relu(s: Setting) -> Problem:
    """Slopes that 1 / 256 does not divide, in both types."""
    signed = steps_of("x", 0.05, 13) | made(0.04, -22, "int8") | {"alpha": 0.21}
    unsigned = steps_of("x", 0.05, 130) | made(0.07, 101) | {"alpha": 0.37}
    return _of_every(s, "litert_leaky_relu", signed, unsigned)


@quantised(
    "litert.hard_swish", "litert_hard_swish", "SHOULD",
    defect="the gate is computed with other than 16 bits",
)  # fmt: skip
def hard_swish(s: Setting) -> Problem:
    """Every number of int8, in several steps."""
    found = [(0.05, -4, 0.04, -119), (0.03, 20, 0.021, -93), (0.11, -61, 0.0613, -121)]
    return _of_every(
        s, "litert_hard_swish",
        *(steps_of("x", *each[:2]) | made(*each[2:], "int8") for each in found),
    )  # fmt: skip
