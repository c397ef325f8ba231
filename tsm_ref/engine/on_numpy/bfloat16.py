"""bfloat16 in the NumPy engine: what a convolution reads is rounded, then it is done in float32."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.reference import rounding

Array = NDArray[Any]

_EXPONENT = np.uint32(0x7F800000)
_SIGN = np.uint32(0x80000000)
_KEPT = np.uint32(0xFFFF0000)
_BELOW_HALF = np.uint32(0x7FFF)
_QUIET = np.uint32(0x00400000)


def round_into(x: Array, y: Array) -> None:
    """Write `x` to `y`, rounded as `tsm_ref.reference.rounding.bfloat16` says.

    >>> y = np.empty(2, np.float32)
    >>> round_into(np.float32([1.00390625, 1.01171875]), y)
    >>> y.tolist()
    [1.0, 1.015625]
    """
    if x.dtype != np.float32:
        np.copyto(y, rounding.bfloat16(x))
        return
    for source, target in zip(x, y, strict=True) if x.ndim > 1 else [(x, y)]:
        bits = np.ascontiguousarray(source).view(np.uint32)
        exponent = bits & _EXPONENT
        rounded = bits + (_BELOW_HALF + (bits >> 16 & 1))
        rounded &= _KEPT
        np.copyto(rounded, bits | _QUIET, where=(exponent == _EXPONENT) & (bits << 9 != 0))
        np.copyto(rounded, bits & _SIGN, where=exponent == 0)
        np.copyto(target, rounded.view(np.float32))


def rounded(x: Array) -> Array:
    """An array of its own with what `round_into` writes."""
    y = np.empty_like(x)
    round_into(x, y)
    return y
