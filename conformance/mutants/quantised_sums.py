"""Mistakes in quantised sums: zero points, padding, width, signs, and the scales behind them."""

from collections.abc import Callable
from typing import Any

import numpy as np

from conformance.mutants.base import Catalogue
from conformance.questions.arrays import Array
from conformance.testees.reference import Reference
from tsm_ref.reference import quantised

CATALOGUE = Catalogue()
mutant = CATALOGUE.mutant
F32 = np.float32


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
