"""Mistakes in quantised layers: zero points, scales, rounding, saturation, the width of sums."""

from collections.abc import Callable
from typing import Any

import numpy as np

from conformance.mutants.base import Catalogue
from conformance.questions.arrays import Array
from conformance.testees.reference import Reference
from tsm_ref.reference import quantised, temporal_shift

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


# Sums


def _split(rest: tuple[Any, ...]) -> tuple[Any, Any, Any, Any]:
    stride, padding, dilation, groups = rest
    return stride, padding, dilation, groups


def padded(x: Array, padding: Any, value: int) -> Array:
    """A clip with whole numbers around it."""
    sides = [padding] * 3 if isinstance(padding, int) else padding
    return np.pad(x, [(0, 0), (0, 0), *((p, p) for p in sides)], constant_values=value)


@mutant(
    "q-padding-zero", "quantised zero point", "conv_integer",
    "the padding holds 0, and not the zero point",
)  # fmt: skip
def _(self: Reference, x: Array, w: Array, bias: Any, zero: int, *rest: Any) -> Array:
    stride, padding, dilation, groups = _split(rest)
    x = padded(x, padding, 0)
    return quantised.conv_integer(x, w, bias, zero, stride, 0, dilation, groups)


@mutant(
    "q-zero-point-ignored", "quantised zero point", "conv_integer",
    "the zero point of the input is not taken off",
)  # fmt: skip
def _(self: Reference, x: Array, w: Array, bias: Any, zero: int, *rest: Any) -> Array:
    return quantised.conv_integer(x, w, bias, 0, *rest)


@mutant("q-sums-16-bits", "width of sums", "conv_integer", "sums are kept in 16 bits, and wrap")
def _(self: Reference, x: Array, w: Array, bias: Any, zero: int, *rest: Any) -> Array:
    acc = quantised.conv_integer(x, w, None, zero, *rest).astype(np.int16).astype(np.int32)
    return np.asarray(acc + bias.reshape(-1, 1, 1, 1)).astype(np.int32)


@mutant("q-sums-saturate", "width of sums", "conv_integer", "sums stop at the ends of 16 bits")
def _(self: Reference, x: Array, w: Array, bias: Any, zero: int, *rest: Any) -> Array:
    acc = np.clip(quantised.conv_integer(x, w, None, zero, *rest), -(2**15), 2**15 - 1)
    return np.asarray(acc + bias.reshape(-1, 1, 1, 1)).astype(np.int32)


@mutant(
    "q-pairs-saturate", "width of sums", "conv_integer",
    "pairs of products stop at the ends of 16 bits (vpmaddubsw)",
)  # fmt: skip
def _(self: Reference, x: Array, w: Array, bias: Any, zero: int, *rest: Any) -> Array:
    if rest[3] != 1 or x.dtype != np.uint8:
        return quantised.conv_integer(x, w, bias, zero, *rest)
    total = np.asarray(bias).reshape(-1, 1, 1, 1).astype(np.int64)
    for c in range(0, x.shape[1], 2):
        part = quantised.conv_integer(x[:, c : c + 2], w[:, c : c + 2], None, zero, *rest)
        total = total + np.clip(part, -(2**15), 2**15 - 1)
    return total.astype(np.int32)


@mutant("q-sums-float", "width of sums", "conv_integer", "sums are kept in float32")
def _(self: Reference, x: Array, w: Array, bias: Any, zero: int, *rest: Any) -> Array:
    acc = quantised.conv_integer(x, w, None, zero, *rest).astype(F32)
    return np.asarray(acc + np.asarray(bias, F32).reshape(-1, 1, 1, 1)).astype(np.int32)


@mutant("q-read-as-signed", "signs", "conv_integer", "unsigned numbers are read as signed")
def _(self: Reference, x: Array, w: Array, bias: Any, zero: int, *rest: Any) -> Array:
    return quantised.conv_integer(x.view(np.int8), w, bias, zero, *rest)


@mutant("q-read-as-unsigned", "signs", "conv_integer", "signed numbers are read as unsigned")
def _(self: Reference, x: Array, w: Array, bias: Any, zero: int, *rest: Any) -> Array:
    return quantised.conv_integer(x.view(np.uint8), w, bias, zero, *rest)


@mutant("q-weights-unsigned", "signs", "conv_integer", "weights are read as unsigned numbers")
def _(self: Reference, x: Array, w: Array, bias: Any, zero: int, *rest: Any) -> Array:
    return quantised.conv_integer(x, w.view(np.uint8).astype(np.int16), bias, zero, *rest)


@mutant("q-weights-symmetric", "saturation", "conv_integer", "weights of -128 are taken as -127")
def _(self: Reference, x: Array, w: Array, bias: Any, zero: int, *rest: Any) -> Array:
    return quantised.conv_integer(x, np.maximum(w, -127), bias, zero, *rest)


@mutant("q-no-bias", "quantised scale", "conv_integer", "the bias of whole numbers is forgotten")
def _(self: Reference, x: Array, w: Array, bias: Any, zero: int, *rest: Any) -> Array:
    return quantised.conv_integer(x, w, None, zero, *rest)


@mutant(
    "q-groups-interleaved", "layouts", "conv_integer", "groups of whole numbers are interleaved"
)
def _(self: Reference, x: Array, w: Array, bias: Any, zero: int, *rest: Any) -> Array:
    groups = rest[3]
    if groups > 1:
        x = x.reshape(len(x), -1, groups, *x.shape[2:]).swapaxes(1, 2).reshape(x.shape)
    return quantised.conv_integer(x, w, bias, zero, *rest)


@mutant(
    "q-stride-late",
    "stride position",
    "conv_integer",
    "strided windows of whole numbers start late",
)
def _(self: Reference, x: Array, w: Array, bias: Any, zero: int, *rest: Any) -> Array:
    x = np.roll(x, -1, axis=-1) if np.max(rest[0]) > 1 else x
    return quantised.conv_integer(x, w, bias, zero, *rest)


@mutant(
    "q-linear-zero-point", "quantised zero point", "matmul_integer",
    "the classifier does not take off the zero point",
)  # fmt: skip
def _(self: Reference, x: Array, w: Array, bias: Any, zero: int) -> Array:
    return quantised.matmul_integer(x, w, bias, 0)


@mutant(
    "q-linear-no-bias", "quantised scale", "matmul_integer",
    "the classifier of whole numbers forgets its bias",
)  # fmt: skip
def _(self: Reference, x: Array, w: Array, bias: Any, zero: int) -> Array:
    return quantised.matmul_integer(x, w, None, zero)


# Scales


@mutant("q-per-tensor", "quantised scale", "combined_scale", "all weights have the first scale")
def _(self: Reference, x: float, weight: Array, y: Any = None) -> Array:
    return quantised.combined_scale(x, np.full_like(weight, np.ravel(weight)[0]), y)


@mutant(
    "q-largest-scale", "quantised scale", "combined_scale", "all weights have the largest scale"
)
def _(self: Reference, x: float, weight: Array, y: Any = None) -> Array:
    return quantised.combined_scale(x, np.full_like(weight, np.max(weight)), y)


@mutant(
    "q-scale-order", "quantised scale", "combined_scale",
    "the scales are combined in another order: x_scale * (weight_scale / y_scale)",
)  # fmt: skip
def _(self: Reference, x: float, weight: Array, y: Any = None) -> Array:
    return np.asarray(F32(x) * (np.asarray(weight, F32) / F32(y)), F32)


@mutant(
    "q-scale-order-x", "quantised scale", "combined_scale",
    "the scales are combined in another order: (x_scale / y_scale) * weight_scale",
)  # fmt: skip
def _(self: Reference, x: float, weight: Array, y: Any = None) -> Array:
    return np.asarray(F32(x) / F32(y) * np.asarray(weight, F32), F32)


@mutant(
    "q-scales-swapped", "quantised scale", "combined_scale", "x_scale and y_scale are exchanged"
)
def _(self: Reference, x: float, weight: Array, y: Any = None) -> Array:
    return quantised.combined_scale(y, weight, x)


@mutant(
    "q-input-scale-ignored",
    "quantised scale",
    "combined_scale",
    "the scale of the input is left out",
)
def _(self: Reference, x: float, weight: Array, y: Any = None) -> Array:
    return quantised.combined_scale(1.0, weight, y)


def layer_with(
    change: Callable[[Array, float, Array], Array], operation: str
) -> Callable[..., Any]:
    """A layer whose bias is changed first, by the scales of its input and its weights."""

    def layer(
        self: Reference, x: Array, weight: Array, weight_scale: Array, bias: Array, **how: Any
    ) -> Any:
        other = change(bias, how["x_scale"], weight_scale)
        return getattr(super(type(self), self), operation)(x, weight, weight_scale, other, **how)

    return layer


def scaled_again(bias: Array, x_scale: float, weight_scale: Array) -> Array:
    """A bias of whole numbers, divided by its scale as if it were real."""
    scale = np.maximum(x_scale * weight_scale.astype(np.float64), 1e-3)
    return np.asarray(np.rint(bias / scale)).astype(np.int32)


mutant("q-bias-scaled-twice", "quantised scale", "qlinear_conv", "the bias is scaled twice")(
    layer_with(scaled_again, "qlinear_conv")
)
mutant(
    "q-linear-bias-scaled", "quantised scale", "qlinear_matmul",
    "the bias of the classifier is scaled twice",
)(layer_with(scaled_again, "qlinear_matmul"))  # fmt: skip


# Sums of values, means


@mutant("q-add-swapped", "quantised scale", "sum_in_steps", "the scales of a sum are exchanged")
def _(self: Reference, a: Array, b: Array, sa: Any, sb: Any, y: float) -> Array:
    return quantised.qlinear_add(a, b, (sb[0], sa[1]), (sa[0], sb[1]), y)


@mutant("q-add-one-scale", "quantised scale", "sum_in_steps", "both values of a sum have one scale")
def _(self: Reference, a: Array, b: Array, sa: Any, sb: Any, y: float) -> Array:
    return quantised.qlinear_add(a, b, sa, (sa[0], sb[1]), y)


@mutant(
    "q-add-zero-point", "quantised zero point", "sum_in_steps",
    "the zero point of the other value of a sum is not taken off",
)  # fmt: skip
def _(self: Reference, a: Array, b: Array, sa: Any, sb: Any, y: float) -> Array:
    return quantised.qlinear_add(a, b, sa, (sb[0], 0), y)


@mutant(
    "q-add-rounds-each", "quantised rounding", "sum_in_steps",
    "the values of a sum are rounded each, and then the sum",
)  # fmt: skip
def _(self: Reference, a: Array, b: Array, sa: Any, sb: Any, y: float) -> Array:
    nothing = np.full_like(b, sb[1]), np.full_like(a, sa[1])
    left = quantised.qlinear_add(a, nothing[0], sa, sb, y)
    return np.asarray(np.rint(left) + np.rint(quantised.qlinear_add(nothing[1], b, sa, sb, y)))


@mutant("q-mean-whole", "quantised rounding", "mean_in_steps", "the mean is a division of integers")
def _(self: Reference, x: Array, steps: Any, y: float, *how: Any) -> Array:
    v = quantised.qlinear_average(x, (1.0, steps[1]), 1.0, *how)
    return np.asarray(np.floor(v) * F32(steps[0] / y), F32)


@mutant(
    "q-mean-zero-point", "quantised zero point", "mean_in_steps",
    "the zero point is not taken off before the mean",
)  # fmt: skip
def _(self: Reference, x: Array, steps: Any, y: float, *how: Any) -> Array:
    return quantised.qlinear_average(x, (steps[0], 0), y, *how)


@mutant(
    "q-mean-counts-padding", "pooling edge rules", "mean_in_steps",
    "the padding is counted in a mean of whole numbers",
)  # fmt: skip
def _(self: Reference, x: Array, steps: Any, y: float, *how: Any) -> Array:
    how = (*how[:4], True) if len(how) > 4 else how
    return quantised.qlinear_average(x, steps, y, *how)


@mutant(
    "q-mean-never-counts-padding", "pooling edge rules", "mean_in_steps",
    "the padding is never counted in a mean of whole numbers",
)  # fmt: skip
def _(self: Reference, x: Array, steps: Any, y: float, *how: Any) -> Array:
    return quantised.qlinear_average(x, steps, y, *how[:4])


@mutant(
    "q-mean-scales-ignored", "quantised scale", "mean_in_steps",
    "the mean keeps the scale of its input",
)  # fmt: skip
def _(self: Reference, x: Array, steps: Any, y: float, *how: Any) -> Array:
    return quantised.qlinear_average(x, steps, steps[0], *how)


# The shift


@mutant(
    "q-shift-fills-zero", "quantised zero point", "filled_with",
    "0 comes in at the ends of a shift of whole numbers, and not the zero point",
)  # fmt: skip
def _(self: Reference, zero_point: int) -> int:
    return 0


@mutant(
    "q-shift-fills-middle", "quantised zero point", "filled_with",
    "the middle of the type comes in at the ends of a shift of whole numbers",
)  # fmt: skip
def _(self: Reference, zero_point: int) -> int:
    return 128 if zero_point >= 0 else 0


@mutant(
    "q-shift-groups-of-four", "fold arithmetic", "quantised_shift",
    "folds of whole numbers are rounded up to groups of four channels",
)  # fmt: skip
def _(self: Reference, x: Array, fold_div: int, zero_point: int) -> Array:
    d = self.folds(x.shape[1], fold_div)
    for sign in (-1, 1):
        places = np.flatnonzero(d == sign)
        if places.size:
            first = int(places[0])
            d[first : first + -(-places.size // 4) * 4] = sign
    y = temporal_shift(x.astype(F32) - F32(zero_point), d, self.conventions.fill)  # type: ignore[arg-type]
    return np.asarray(y + F32(zero_point)).astype(x.dtype)


# Networks


@mutant(
    "q-network-no-shift", "placement", "quantised_network",
    "the network of whole numbers has no shift",
)  # fmt: skip
def _(self: Reference, x: Array, weights: Any, *, steps: Any, fold_div: int) -> Any:
    return super(type(self), self).quantised_network(x, weights, steps=steps, fold_div=256)


@mutant(
    "q-network-input-per-clip", "quantised scale", "quantised_network",
    "the input is scaled anew for every chunk of frames",
)  # fmt: skip
def _(self: Reference, x: Array, weights: Any, *, steps: Any, fold_div: int) -> Any:
    scale = float(F32(max(float(np.abs(x).max()), 1e-3) / 127))
    told = {**steps, "x": [scale, 128]}
    return super(type(self), self).quantised_network(x, weights, steps=told, fold_div=fold_div)
