"""Arrays as testees meet them: layouts, kinds of memory, and what comes back from a framework."""

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

LAYOUTS: Mapping[str, tuple[int, ...]] = {
    "NCTHW": (0, 1, 2, 3, 4),
    "NTCHW": (0, 2, 1, 3, 4),
    "NTHWC": (0, 2, 3, 4, 1),
    "(NT)CHW": (0, 2, 1, 3, 4),
    "(NT)HWC": (0, 2, 3, 4, 1),
}
"""The axes of a clip in the order of each layout; brackets merge clips and frames, clips first."""


def to_layout(x: Array, layout: str) -> Array:
    """A clip (N, C, T, H, W) in another layout.

    >>> to_layout(np.zeros((2, 3, 4, 5, 6)), "(NT)HWC").shape
    (8, 5, 6, 3)
    """
    moved = np.ascontiguousarray(x.transpose(LAYOUTS[layout]))
    if not layout.startswith("(NT)"):
        return moved
    return moved.reshape(moved.shape[0] * moved.shape[1], *moved.shape[2:])


def from_layout(y: Array, layout: str, clips: int) -> Array:
    """What `to_layout` makes, back as (N, C, T, H, W); another shape is returned as it came.

    >>> from_layout(np.zeros((8, 5, 6, 3)), "(NT)HWC", clips=2).shape
    (2, 3, 4, 5, 6)
    """
    if layout.startswith("(NT)"):
        if y.ndim != 4 or not clips or y.shape[0] % clips:
            return y
        y = y.reshape(clips, y.shape[0] // clips, *y.shape[1:])
    return y.transpose(np.argsort(LAYOUTS[layout])) if y.ndim == 5 else y


def _strided(x: Array) -> Array:
    """The same values with a gap after every element of the last axis, and the axes reversed."""
    wide = np.full((*x.shape[::-1][:-1], 2 * x.shape[0]), 7, x.dtype)
    wide[..., ::2] = x.T
    return wide[..., ::2].T


def _reversed(x: Array) -> Array:
    return np.ascontiguousarray(x[..., ::-1])[..., ::-1]


def _backwards(axis: int) -> Callable[[Array], Array]:
    """Memory in which one axis runs the other way; arrays without that axis stay plain."""

    def kind(x: Array) -> Array:
        return np.flip(np.ascontiguousarray(np.flip(x, axis)), axis) if axis < x.ndim else x.copy()

    return kind


def _big_endian(x: Array) -> Array:
    return x.astype(x.dtype.newbyteorder(">"))


def _read_only(x: Array) -> Array:
    x = x.copy()
    x.flags.writeable = False
    return x


def windows(x: Array, along: int, over: int) -> Array:
    """Windows of one buffer: each place along one axis begins one step further over another.

    What lies in two windows lies in memory once; the buffer is made of the first window and of the
    last step of every other.

    >>> windows(np.array([[1, 2, 3], [2, 3, 4]]), 0, 1).strides
    (8, 8)
    """
    y = np.moveaxis(x, (along, over), (-2, -1))
    buffer = np.concatenate([y[..., 0, :], y[..., 1:, -1]], axis=-1)
    view = np.lib.stride_tricks.sliding_window_view(buffer, y.shape[-1], axis=-1, writeable=True)
    return np.moveaxis(view, (-2, -1), (along, over))


def _overlapping(x: Array) -> Array:
    """Windows of one buffer, where the values are such; other arrays stay plain."""
    for along, over in combinations(range(x.ndim), 2):
        if min(x.shape[along], x.shape[over]) > 1:
            made = windows(x, along, over)
            if np.array_equal(made, x):
                return made
    return x.copy()


MEMORY: Mapping[str, Callable[[Array], Array]] = {
    "plain": lambda x: x.copy(),
    "strided": _strided,
    "reversed": _reversed,
    "read-only": _read_only,
    "fortran": lambda x: np.asfortranarray(x.copy()),
    "big-endian": _big_endian,
    "overlapping": _overlapping,
    "reused": lambda x: x.copy(),
    **{f"reversed-{axis}": _backwards(axis) for axis in range(6)},
}
"""The kinds of memory in which an in-process testee may be given an array."""


def native(x: Array) -> Array:
    """A copy in plain memory and in the machine's own order of bytes."""
    return np.array(x, x.dtype.newbyteorder("="), order="C")


def as_numpy(value: Any) -> Array:
    """The NumPy array in anything a framework returns: a tensor, DLPack, ``__array__``, a list.

    Raises TypeError for what is no array.
    """
    if isinstance(value, np.ndarray):
        return value
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    if hasattr(value, "__array__"):
        return np.asarray(value)
    if hasattr(value, "__dlpack__"):
        return np.from_dlpack(value)
    if isinstance(value, (bool, int, float, list, tuple, np.generic)):
        array = np.asarray(value)
        if array.dtype.kind in "fiub":
            return array
    raise TypeError(f"returned {type(value).__name__}, which is no array")
