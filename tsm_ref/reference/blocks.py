"""The two ways of putting a shift into a block, which is what the paper is about."""

from collections.abc import Callable

from numpy.typing import ArrayLike

from tsm_ref.reference._arrays import Array, floats
from tsm_ref.reference.shift import Fill, temporal_shift

Branch = Callable[[Array], Array]


def residual_shift(
    x: ArrayLike, branch: Branch, d: ArrayLike, fill: Fill = "zero", shortcut: Branch | None = None
) -> Array:
    """The residual shift: only the branch sees the shifted input, the skip path keeps it whole.

    y = shortcut(x) + branch(shift(x)); the shortcut is the identity, or the downsampling
    convolution of the first block of a stage.

    Shapes: x (N, C, T, ...), d (C,) -> what branch and shortcut return.
    Errors: ValueError as `temporal_shift`, for integers, or if the two paths differ in shape.
    Source: Lin, Gan, Han 2019, section 3.2, figure 3 (b).

    >>> import numpy as np
    >>> x = np.array([[[1.0, 2.0, 3.0]]])
    >>> residual_shift(x, lambda z: 10 * z, [1])
    array([[[ 1., 12., 23.]]])
    """
    x = floats(x)
    return _add(x if shortcut is None else shortcut(x), branch(temporal_shift(x, d, fill)))


def in_place_shift(
    x: ArrayLike, branch: Branch, d: ArrayLike, fill: Fill = "zero", shortcut: Branch | None = None
) -> Array:
    """The in-place shift: the whole block sees the shifted input, the skip path included.

    z = shift(x); y = shortcut(z) + branch(z). What is shifted out of the clip is lost for good,
    which is why the paper prefers the residual shift.

    Shapes, errors: as `residual_shift`. Source: Lin, Gan, Han 2019, section 3.2, figure 3 (a).

    >>> import numpy as np
    >>> x = np.array([[[1.0, 2.0, 3.0]]])
    >>> in_place_shift(x, lambda z: 10 * z, [1])
    array([[[ 0., 11., 22.]]])
    """
    z = temporal_shift(floats(x), d, fill)
    return _add(z if shortcut is None else shortcut(z), branch(z))


def _add(skip: Array, branch: Array) -> Array:
    if skip.shape != branch.shape:
        raise ValueError(f"the skip path has shape {skip.shape}, the branch {branch.shape}")
    return skip + branch
