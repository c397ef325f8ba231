"""Sums and means of quantised values as LiteRT rounds them (`tsm_ref.reference.litert`)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.kernels.cache import compiled

Array = NDArray[Any]

CUTS = 64
"""Pieces in which values are gone through one by one."""


@compiled()
def add_by_shift(
    a: Array, b: Array, y: Array, a_steps: tuple[int, int], b_steps: tuple[int, int], shift: int,
    zero: int, low: int, high: int, first: int, last: int,
) -> None:  # fmt: skip
    """Add quantised values (n,) of their own types; steps are (zero point, factor).

    ``low`` and ``high`` are what the result, of its own type too, is clamped to.
    """
    left, right = np.int32(a_steps[1]), np.int32(b_steps[1])
    start = (1 << (shift - 1)) - a_steps[0] * a_steps[1] - b_steps[0] * b_steps[1]
    offset, bits, middle = np.int32(start), np.int32(shift), np.int32(zero)
    least, most = np.int32(low), np.int32(high)
    for i in range(len(y) * first // CUTS, len(y) * last // CUTS):
        acc = np.int32(offset + np.int32(np.int32(a[i]) * left) + np.int32(np.int32(b[i]) * right))
        y[i] = min(max(np.int32((acc >> bits) + middle), least), most)


@compiled()
def mean(
    x: Array, factor: float, offset: float, y: Array, low: int, high: int, first: int, last: int
) -> None:
    """The means of planes (n, places): ``float32(sum) * factor + offset``, each rounded."""
    for n in range(first, last):
        total = np.int32(0)
        for i in range(x.shape[1]):
            total += np.int32(x[n, i])
        product = np.float32(np.float32(total) * np.float32(factor))
        v = np.float32(product + np.float32(offset))
        y[n] = np.int32(np.rint(min(max(v, np.float32(low)), np.float32(high))))
