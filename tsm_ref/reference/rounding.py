"""Rounding: the unit and the bound on a sum that tolerances are made of, and bfloat16."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from tsm_ref.reference._arrays import Array

LEAST = 2.0**-126
"""The least positive number that is not subnormal, of float32 and of bfloat16."""

_NOT_IN_NUMPY = {"bfloat16": 2.0**-8, "tf32": 2.0**-11}


def unit_roundoff(dtype: DTypeLike | str) -> float:
    """The largest relative error of rounding once to a float format, to nearest.

    u = eps / 2 = 2^-p for p significant bits: float16 2^-11, float32 2^-24, float64 2^-53; also
    "bfloat16" 2^-8 and "tf32" 2^-11, which are no NumPy dtypes.

    Errors: ValueError for anything else. Source: IEEE 754; Higham 2002, section 2.1.

    >>> unit_roundoff(np.float32) == 2.0**-24, unit_roundoff("bfloat16") == 2.0**-8
    (True, True)
    """
    if isinstance(dtype, str) and dtype in _NOT_IN_NUMPY:
        return _NOT_IN_NUMPY[dtype]
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = np.dtype(object)
    if found.kind != "f":
        raise ValueError(f"`dtype` (={dtype!r}) must be a float dtype, 'bfloat16' or 'tf32'")
    return float(np.finfo(found).eps) / 2


def accumulation_bound(n: int, u: float, magnitude: Array, value: Array) -> Array:
    """How far a sum of n products, made in any order with unit roundoff u, may be from `value`.

    |error| <= min(n + 2, 6 sqrt(n)) u S + u |y|, where S is the sum of the absolute products.

    n + 2 is the worst case (n roundings along the longest path, one for an added bias, one for
    a division). Rounding errors are close to independent and have mean zero, so that their sum
    grows like sqrt(n): 6 sqrt(n) is six standard deviations, and takes over from n = 32.
    u |y| is the final store in the output's dtype. Assumes that nothing overflows or underflows.

    Shapes: `magnitude` S and `value` y alike -> the same.
    Source: Higham 2002, section 3.1; Higham, Mary 2019 (probabilistic), theorem 3.1.

    >>> accumulation_bound(4, 0.5, np.array([3.0]), np.array([-1.0]))
    array([9.5])
    """
    bound: Any = min(n + 2, 6 * n**0.5) * u * magnitude + u * np.abs(value)
    return np.asarray(bound)


def bfloat16(x: ArrayLike) -> Array:
    """The nearest numbers of bfloat16: 8 significant bits, float32's exponents, halves to even.

    Given in the dtype of `x`. Subnormal numbers count as zero, as they do for the instructions that
    multiply in bfloat16; what is beyond the largest number becomes infinite.

    Shapes: any, and the same. Source: Intel, BFLOAT16 hardware numerics definition (2018).

    >>> bfloat16(np.float32([1.00390625, 1.01171875, 3.4e38, 1e-40])).tolist()
    [1.0, 1.015625, inf, 0.0]
    """
    value = np.asarray(x)
    with np.errstate(over="ignore", invalid="ignore"):
        fraction, exponent = np.frexp(value)
        rounded = np.ldexp(np.rint(np.ldexp(fraction, 8)), exponent - 8)
        rounded = np.where(np.abs(rounded) >= 2.0**128, np.copysign(np.inf, value), rounded)
        kept = np.where(np.abs(value) < LEAST, np.copysign(0, value), rounded)
        return np.asarray(kept.astype(value.dtype))
