"""Mistakes in what joins quantised layers: sums of values, means, shifts, networks."""

from typing import Any

import numpy as np

from conformance.mutants.base import Catalogue
from conformance.questions.arrays import Array
from conformance.testees.reference import Reference
from tsm_ref.reference import quantised, temporal_shift

CATALOGUE = Catalogue()
mutant = CATALOGUE.mutant
F32 = np.float32


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
