"""The two facts about rounding that every tolerance is made of: a unit, and a sum of n products."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from tsm_ref.reference._arrays import Array

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
