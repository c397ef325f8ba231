"""Mistakes in what LiteRT rounds by rules of its own: mostly those of one who takes another's."""

from typing import Any

import numpy as np

from conformance.mutants.base import Catalogue
from conformance.mutants.quantised_values import half_away, half_up
from conformance.questions.arrays import Array
from conformance.testees.reference import Reference
from tsm_ref.reference import litert, quantised

CATALOGUE = Catalogue()
mutant = CATALOGUE.mutant
KIND = "rules of LiteRT"

Steps = tuple[float, int]


def _sum(x: Array, other: Array, x_steps: Steps, other_steps: Steps, y_scale: float) -> Array:
    """The sum in steps of the result, without a rounding."""
    parts = ((x, x_steps), (other, other_steps))
    return np.asarray(sum((v.astype(np.float64) - z) * (s / y_scale) for v, (s, z) in parts))


@mutant("litert-add-even", KIND, "litert_sum", "sums are rounded by the rule of ONNX Runtime")
def _(self: Reference, x: Array, other: Array, a: Steps, b: Steps, y: Steps) -> Array:
    return np.rint(quantised.qlinear_add(x, other, a, b, y[0])) + y[1]


@mutant("litert-add-cut", KIND, "litert_sum", "sums are rounded down")
def _(self: Reference, x: Array, other: Array, a: Steps, b: Steps, y: Steps) -> Array:
    left, right, shift = litert.add_factors(a[0], b[0], y[0])
    acc = (x.astype(np.int64) - a[1]) * left + (other.astype(np.int64) - b[1]) * right
    return np.asarray((acc >> shift) + y[1])


@mutant("litert-add-away", KIND, "litert_sum", "halves of sums go away from zero")
def _(self: Reference, x: Array, other: Array, a: Steps, b: Steps, y: Steps) -> Array:
    left, right, shift = litert.add_factors(a[0], b[0], y[0])
    acc = (x.astype(np.int64) - a[1]) * left + (other.astype(np.int64) - b[1]) * right
    return half_away(acc / 2.0**shift) + y[1]


@mutant("litert-add-exact", KIND, "litert_sum", "the ratios of the scales are not rounded")
def _(self: Reference, x: Array, other: Array, a: Steps, b: Steps, y: Steps) -> Array:
    return half_up(_sum(x, other, a, b, y[0])) + y[1]


@mutant("litert-mean-even", KIND, "litert_sums", "means are rounded by the rule of ONNX Runtime")
def _(self: Reference, x: Array, a: Steps, y: Steps, kernel: Any) -> Array:
    return np.rint(quantised.qlinear_average(x, a, y[0], kernel)) + y[1]


@mutant("litert-mean-zero-point", KIND, "litert_sums", "the zero point is not taken off a mean")
def _(self: Reference, x: Array, a: Steps, y: Steps, kernel: Any) -> Array:
    return litert.xnnpack_mean(x, (a[0], 0), y, kernel)


@mutant("litert-mean-up", KIND, "litert_sums", "halves of means are rounded up")
def _(self: Reference, x: Array, a: Steps, y: Steps, kernel: Any) -> Array:
    return half_up(litert.xnnpack_mean(x, a, y, kernel).astype(np.float64))


def _windows(x: Array, window: tuple[Any, ...]) -> tuple[Array, Array]:
    acc, count = quantised.window_sums(x, 0, *window)
    return acc.astype(np.float64), np.asarray(count)


@mutant("litert-window-even", KIND, "litert_window", "halves of means go to the even number")
def _(self: Reference, x: Array, *window: Any) -> Array:
    acc, count = _windows(x, window)
    return np.rint(acc / count)


@mutant("litert-window-up", KIND, "litert_window", "halves of the means of windows are rounded up")
def _(self: Reference, x: Array, *window: Any) -> Array:
    acc, count = _windows(x, window)
    return half_up(acc / count)


@mutant("litert-window-cut", KIND, "litert_window", "means are cut off, and not rounded")
def _(self: Reference, x: Array, *window: Any) -> Array:
    acc, count = _windows(x, window)
    return np.trunc(acc / count)


@mutant("litert-window-counted", KIND, "litert_window", "the padding is counted in a mean")
def _(self: Reference, x: Array, *window: Any) -> Array:
    acc, _ = _windows(x, window)
    return half_away(acc / float(np.prod(window[0])))


def _scaled(x: Array, a: Steps, y: Steps) -> Array:
    return (x.astype(np.float64) - a[1]) * (a[0] / y[0])


@mutant("litert-convert-even", KIND, "litert_convert", "halves go to the even number")
def _(self: Reference, x: Array, a: Steps, y: Steps) -> Array:
    m = np.rint(np.float32(256) * np.float32(a[0]) / np.float32(y[0]))
    return np.asarray(np.rint((x.astype(np.float64) - a[1]) * (m / 256)) + y[1])


@mutant("litert-convert-exact", KIND, "litert_convert", "the ratio of the scales is not rounded")
def _(self: Reference, x: Array, a: Steps, y: Steps) -> Array:
    return half_up(_scaled(x, a, y)) + y[1]


@mutant("litert-far-as-near", KIND, "litert_rescale", "a ratio below 1 / 256 is rounded to that")
def _(self: Reference, x: Array, a: Steps, y: Steps) -> Array:
    return np.asarray(litert.xnnpack_convert(x, a, y))


@mutant("litert-slope-exact", KIND, "litert_slopes", "the slopes are not rounded")
def _(self: Reference, x: Array, a: Steps, y: Steps, alpha: float) -> Array:
    v = _scaled(x, a, y)
    return half_up(np.where(v < 0, v * alpha, v)) + y[1]


@mutant("litert-slope-twice", KIND, "litert_slopes", "the slope is applied to a rounded result")
def _(self: Reference, x: Array, a: Steps, y: Steps, alpha: float) -> Array:
    v = litert.xnnpack_convert(x, a, y) - y[1]
    return half_up(np.where(v < 0, v * alpha, v)) + y[1]


@mutant("litert-swish-real", KIND, "litert_swish", "the hard swish is that of reals, rounded")
def _(self: Reference, x: Array, a: Steps, y: Steps) -> Array:
    v = (x.astype(np.float64) - a[1]) * a[0]
    return np.rint(v * np.clip(v + 3, 0, 6) / 6 / y[0]) + y[1]
