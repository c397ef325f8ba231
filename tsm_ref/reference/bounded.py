"""A value that carries the variance of its rounding error, and the tolerance that this makes.

Which error every op adds, and how it carries those of what it reads, is in `bounds`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tsm_ref.reference._arrays import Array

SIGMAS = 6.0
"""How many standard deviations of its error a value may be off."""


@dataclass(frozen=True)
class Bounded:
    """A float64 value and the variance of the error that a correct implementation may have in it.

    >>> Bounded(np.array([1.0]), np.array([4.0])).tolerance()
    array([12.])
    """

    value: Array
    variance: Array

    def __post_init__(self) -> None:
        if self.value.shape != self.variance.shape:
            raise ValueError(
                f"`variance` has shape {self.variance.shape}, `value` {self.value.shape}"
            )

    @classmethod
    def exact(cls, x: ArrayLike) -> "Bounded":
        """A value that the testee is given as it is: an input, or a stored constant."""
        value = np.asarray(x, np.float64)
        return cls(value, np.zeros_like(value))

    @classmethod
    def rounded(cls, x: ArrayLike, u: float) -> "Bounded":
        """A value that the testee rounds once before it uses it, as an input cast to float16."""
        return cls.exact(x).plus(u * np.abs(np.asarray(x, np.float64)))

    def tolerance(self) -> Array:
        """The largest error that is still accepted, per element: six standard deviations."""
        return np.asarray(SIGMAS * np.sqrt(self.variance))

    def used(self, actual: ArrayLike) -> float:
        """The largest share of the tolerance that `actual` uses up: at most 1 is a pass.

        Where the tolerance is 0 an equal value uses 0, and any other infinity; so does a NaN.

        >>> Bounded(np.array([1.0, 2.0]), np.array([4.0, 0.0])).used([7.0, 2.0])
        0.5
        """
        got = np.asarray(actual, np.float64)
        if got.shape != self.value.shape:
            raise ValueError(f"`actual` has shape {got.shape}; {self.value.shape} is needed")
        differs, limit = got != self.value, self.tolerance()
        error = np.abs(np.subtract(got, self.value, out=np.zeros_like(got), where=differs))
        share = np.divide(error, limit, out=np.where(error == 0, 0.0, np.inf), where=limit > 0)
        return float(np.where(np.isnan(share), np.inf, share).max(initial=0.0))

    def plus(self, deviation: Array) -> "Bounded":
        """The same value with one more error, independent and of this standard deviation."""
        return Bounded(self.value, self.variance + deviation**2)


def moved(x: Bounded, move: Callable[[Array], Array]) -> Bounded:
    """Any movement of data (reshape, transpose, slice, pad with zeros), done to both parts.

    >>> moved(Bounded(np.array([1.0, 2.0]), np.array([3.0, 4.0])), lambda v: v[::-1]).variance
    array([4., 3.])
    """
    return Bounded(move(x.value), move(x.variance))
