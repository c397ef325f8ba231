"""What the reference asks of an array: its kind, its rank, the dtype its sums are made in."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]


def floats(x: ArrayLike, name: str = "x", rank: int = 1) -> Array:
    """`x` as an array of at least `rank` axes, refused unless its dtype is a float.

    >>> floats([1.0, 2.0]).dtype
    dtype('float64')
    >>> floats([1, 2])
    Traceback (most recent call last):
    ValueError: `x` is int64; the mathematics needs float16, float32, float64 or longdouble
    """
    array = np.asarray(x)
    if array.dtype.kind != "f":
        raise ValueError(
            f"`{name}` is {array.dtype}; "
            "the mathematics needs float16, float32, float64 or longdouble"
        )
    if array.ndim < rank:
        raise ValueError(f"`{name}` has shape {array.shape}; at least {rank} axes are needed")
    return array


def parameter(value: ArrayLike, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    """A weight in the dtype of the input it meets; refused if that would lose bits, or by shape.

    A wider weight is never rounded in silence: a float64 weight on a float32 input is an error.
    """
    array = floats(value, name, rank=0)
    if not np.can_cast(array.dtype, dtype, "safe"):
        raise ValueError(f"`{name}` is {array.dtype} and would be rounded to the {dtype} of `x`")
    if array.shape != shape:
        raise ValueError(f"`{name}` has shape {array.shape}; {shape} is needed")
    return array.astype(working_dtype(dtype))


def working(x: Array) -> Array:
    """`x` in the dtype that its sums are made in (see `working_dtype`)."""
    return x.astype(working_dtype(x.dtype), copy=False)


def working_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype sums are made in: float32 for float16, and the dtype itself for every other.

    A float16 result is thus a float32 result rounded once, which is what processors do whose
    float16 is a storage format.

    >>> working_dtype(np.dtype("float16")), working_dtype(np.dtype("float64"))
    (dtype('float32'), dtype('float64'))
    """
    return np.dtype(np.float32) if dtype.itemsize == 2 else dtype.newbyteorder("=")


def like(y: Any, x: Array) -> Array:
    """The result `y` rounded to the dtype of the input `x`: the one rounding float16 sees."""
    return np.asarray(y).astype(x.dtype, copy=False)


def integer(value: int, name: str, least: int) -> int:
    """`value` as an int that is at least `least`; booleans and floats are refused."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"`{name}` (={value!r}) must be an integer of at least {least}")
    return int(value)


def one_of(value: str, name: str, allowed: tuple[str, ...]) -> str:
    """`value` if it is one of `allowed`."""
    if value not in allowed:
        raise ValueError(f"`{name}` (={value!r}) must be one of {', '.join(allowed)}")
    return value


def per_channel(vector: Array, y: Array) -> Array:
    """A vector (C,) that broadcasts along axis 1 of an array (N, C, ...)."""
    return vector.reshape(-1, *[1] * (y.ndim - 2))
