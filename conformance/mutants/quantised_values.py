"""Mistakes in 8-bit numbers: rounding, saturation, and the way from reals and back."""

from collections.abc import Callable

import numpy as np

from conformance.mutants.base import Catalogue
from conformance.questions.arrays import Array
from conformance.testees.reference import Reference
from tsm_ref.reference import quantised

CATALOGUE = Catalogue()
mutant = CATALOGUE.mutant
F32 = np.float32


# Rounding and saturation


def rounded(round_to: Callable[[Array], Array]) -> Callable[..., Array]:
    """The third step with another way to round."""

    def requantize(
        self: Reference, v: Array, zero: int, dtype: str, low: int = -128, high: int = 255
    ) -> Array:
        y = round_to(np.asarray(v, np.float64)) + zero
        return clamped(y, dtype, low, high)

    return requantize


def clamped(y: Array, dtype: str, low: int, high: int) -> Array:
    """Whole numbers cut to a range, and to that of a type."""
    least, most = quantised.limits(dtype)
    return np.clip(y, max(low, least), min(high, most)).astype(dtype)


def half_up(v: Array) -> Array:
    """Halves to the greater number."""
    return np.asarray(np.floor(v + 0.5))


def half_away(v: Array) -> Array:
    """Halves away from zero."""
    return np.asarray(np.copysign(np.floor(np.abs(v) + 0.5), v))


mutant("q-half-up", "quantised rounding", "requantize", "halves of a result are rounded up")(
    rounded(half_up)
)
mutant("q-half-away", "quantised rounding", "requantize", "halves of a result go away from zero")(
    rounded(half_away)
)
mutant("q-truncated", "quantised rounding", "requantize", "a result is cut off, and not rounded")(
    rounded(np.trunc)
)
mutant("q-floor", "quantised rounding", "requantize", "a result is rounded down")(rounded(np.floor))


@mutant(
    "q-zero-point-before-rounding", "quantised rounding", "requantize",
    "the zero point of a result is added before it is rounded",
)  # fmt: skip
def _(self: Reference, v: Array, zero: int, dtype: str, low: int = -128, high: int = 255) -> Array:
    return clamped(np.rint(np.asarray(v, np.float64) + zero), dtype, low, high)


@mutant("q-twice", "quantised rounding", "scaled", "sums are requantised twice")
def _(self: Reference, acc: Array, scale: Array) -> Array:
    return np.asarray(np.rint(quantised.scaled(acc, np.asarray(scale) * F32(4)))) / F32(4)


@mutant("q-result-wraps", "saturation", "requantize", "results beyond the range wrap around")
def _(self: Reference, v: Array, zero: int, dtype: str, low: int = -128, high: int = 255) -> Array:
    least, most = quantised.limits(dtype)
    wrapped = (np.rint(v).astype(np.int64) + zero).astype(dtype)
    return clamped(wrapped, dtype, max(low, least), min(high, most))


@mutant("q-clamp-ignored", "saturation", "requantize", "a ReLU that is a clamp is left out")
def _(self: Reference, v: Array, zero: int, dtype: str, low: int = -128, high: int = 255) -> Array:
    return quantised.requantize(v, zero, dtype)


@mutant(
    "q-clamp-before-zero-point", "saturation", "requantize",
    "a result is cut to its range before the zero point is added",
)  # fmt: skip
def _(self: Reference, v: Array, zero: int, dtype: str, low: int = -128, high: int = 255) -> Array:
    cut = clamped(np.rint(v), dtype, low, high)
    return clamped(cut.astype(np.int64) + zero, dtype, -128, 255)


@mutant("q-clamp-at-zero", "saturation", "requantize", "a ReLU cuts at 0, not at the zero point")
def _(self: Reference, v: Array, zero: int, dtype: str, low: int = -128, high: int = 255) -> Array:
    return quantised.requantize(v, zero, dtype, 0 if low == zero else low, high)


@mutant(
    "q-result-zero-point", "quantised zero point", "requantize",
    "the zero point of a result is left out",
)  # fmt: skip
def _(self: Reference, v: Array, zero: int, dtype: str, low: int = -128, high: int = 255) -> Array:
    return quantised.requantize(v, 0, dtype, low, high)


# Reals and whole numbers


def quantizing(
    change: Callable[[Array, Array, Array, str], Array],
) -> Callable[..., Array]:
    """QuantizeLinear from a scale and a zero point that broadcast."""

    def quantize(self: Reference, x: Array, scale: Array, zero_point: Array, dtype: str) -> Array:
        s, z = (
            np.reshape(v, (-1, *[1] * (x.ndim - 2))) if np.ndim(v) else v
            for v in (scale, zero_point)
        )
        return change(x, np.asarray(s), np.asarray(z), dtype)

    return quantize


def saturated(y: Array, dtype: str) -> Array:
    """Whole numbers within the range of a type."""
    return clamped(y, dtype, -128, 255)


@mutant("quantize-half-up", "quantised rounding", "quantize_linear", "halves are rounded up")
@quantizing
def _(x: Array, s: Array, z: Array, dtype: str) -> Array:
    return saturated(half_up((x / s).astype(np.float64)) + z, dtype)


@mutant("quantize-half-away", "quantised rounding", "quantize_linear", "halves go away from zero")
@quantizing
def _(x: Array, s: Array, z: Array, dtype: str) -> Array:
    return saturated(half_away((x / s).astype(np.float64)) + z, dtype)


@mutant("quantize-truncates", "quantised rounding", "quantize_linear", "quotients are cut off")
@quantizing
def _(x: Array, s: Array, z: Array, dtype: str) -> Array:
    return saturated(np.trunc(x / s) + z, dtype)


@mutant(
    "quantize-zero-point-first", "quantised rounding", "quantize_linear",
    "the zero point is added before the quotient is rounded",
)  # fmt: skip
@quantizing
def _(x: Array, s: Array, z: Array, dtype: str) -> Array:
    return saturated(np.rint((x / s).astype(np.float64) + z), dtype)


@mutant(
    "quantize-reciprocal", "quantised rounding", "quantize_linear",
    "numbers are multiplied by a rounded reciprocal of the scale",
)  # fmt: skip
@quantizing
def _(x: Array, s: Array, z: Array, dtype: str) -> Array:
    return saturated(np.rint(x * (F32(1) / s.astype(F32))) + z, dtype)


@mutant("quantize-wraps", "saturation", "quantize_linear", "numbers beyond the range wrap around")
@quantizing
def _(x: Array, s: Array, z: Array, dtype: str) -> Array:
    return np.asarray(np.rint((x / s).astype(np.float64)) + z).astype(np.int64).astype(dtype)


@mutant(
    "quantize-per-tensor", "quantised scale", "quantize_linear",
    "numbers are rounded with the scale of the first channel",
)  # fmt: skip
def _(self: Reference, x: Array, scale: Array, zero_point: Array, dtype: str) -> Array:
    return quantised.quantize_linear(x, np.ravel(scale)[0], np.ravel(zero_point)[0], dtype)


@mutant(
    "dequantize-zero-point", "quantised zero point", "dequantize_linear",
    "reals are made without the zero point",
)  # fmt: skip
def _(self: Reference, x: Array, scale: Array, zero_point: Array) -> Array:
    return quantised.dequantize_linear(x, scale, np.zeros_like(zero_point))


@mutant(
    "dequantize-zero-point-scaled", "quantised rounding", "dequantize_linear",
    "number and zero point are scaled apart, and then subtracted",
)  # fmt: skip
def _(self: Reference, x: Array, scale: Array, zero_point: Array) -> Array:
    s, z = (
        np.reshape(v, (-1, *[1] * (x.ndim - 2))) if np.ndim(v) else v for v in (scale, zero_point)
    )
    return np.asarray(x.astype(F32) * F32(s) - np.asarray(z, F32) * F32(s))


@mutant(
    "dequantize-per-tensor", "quantised scale", "dequantize_linear",
    "reals are made with the scale of the first channel",
)  # fmt: skip
def _(self: Reference, x: Array, scale: Array, zero_point: Array) -> Array:
    return quantised.dequantize_linear(x, np.ravel(scale)[0], np.ravel(zero_point)[0])
