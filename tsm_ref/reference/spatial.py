"""The shift along height and width: the two-dimensional extension of the temporal shift.

A shift is one pair of integers per channel and a rule for the pixels that do not exist::

    out[n, c, t, h, w] = x[n, c, t, h - dh[c], w - dw[c]]

`dh[c] = +1` reads the pixel above, `dw[c] = +1` the one to the left. Behind it, a convolution of
one pixel sees a cross: see `cross_folds` and `spatial_shift_into_conv_weight`. What that is not is
the full convolution: every input channel is seen at *one* of the taps, so a kernel of K outputs, C
inputs and 9 taps has C numbers for each output instead of 9 C, and the corners of a cross are
always zero. `conv_by_spatial_shifts` is the way back: a full kernel needs each tap's shift of *all*
channels, one pointwise convolution per tap, and their sum.

Source: the field's extension of Lin, Gan, Han 2019, section 3.1, to space; Wu et al., "Shift: A
Zero FLOP, Zero Parameter Alternative to Spatial Convolutions", CVPR 2018, section 3.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from tsm_ref.reference._arrays import Array, floats, integer
from tsm_ref.reference.folds import Shifts
from tsm_ref.reference.ops import conv
from tsm_ref.reference.shift import Fill, shifts, temporal_shift, temporal_shift_adjoint


def spatial_shift(x: ArrayLike, dh: ArrayLike, dw: ArrayLike, fill: Fill = "zero") -> Array:
    """Move every channel by its own number of rows and columns.

    out[n, c, t, h, w] = x[n, c, t, h - dh[c], w - dw[c]]; beyond the edge the value is 0 ("zero"),
    the nearest pixel ("replicate"), or the pixel modulo H and W ("circular"). Bits are moved,
    never computed with.

    Shapes: x (N, C, T, H, W), dh and dw (C,) integers -> a new array like x.
    Errors: ValueError for another rank, for shifts that are not C integers, for another fill.
    Source: Wu et al. 2018, section 3, with the fills of the temporal shift.

    >>> x = np.arange(1, 10).reshape(1, 1, 1, 3, 3)
    >>> spatial_shift(x, [1], [-1])[0, 0, 0]
    array([[0, 0, 0],
           [2, 3, 0],
           [5, 6, 0]])
    >>> spatial_shift(x, [0], [1], fill="circular")[0, 0, 0]
    array([[3, 1, 2],
           [6, 4, 5],
           [9, 7, 8]])
    """
    x = _maps(x)
    rows = _along(x, 3, lambda v: temporal_shift(v, dh, fill))
    return _along(rows, 4, lambda v: temporal_shift(v, dw, fill))


def spatial_shift_adjoint(y: ArrayLike, dh: ArrayLike, dw: ArrayLike, fill: Fill = "zero") -> Array:
    """The transpose of the shift, which is also its gradient: <shift(x), y> = <x, adjoint(y)>.

    Shapes, errors: as `spatial_shift`. Source: definition of the adjoint.

    >>> y = np.ones((1, 1, 1, 1, 3))
    >>> spatial_shift_adjoint(y, [0], [1], fill="replicate")[0, 0, 0]
    array([[2., 1., 0.]])
    """
    y = _maps(y)
    columns = _along(y, 4, lambda v: temporal_shift_adjoint(v, dw, fill))
    return _along(columns, 3, lambda v: temporal_shift_adjoint(v, dh, fill))


def cross_folds(channels: int, fold_div: int = 8) -> tuple[Shifts, Shifts]:
    """The shifts (dh, dw) of a cross: four folds look up, down, left and right, the rest stays.

    f = channels // fold_div;  dh[0:f] = +1, dh[f:2f] = -1, dw[2f:3f] = +1, dw[3f:4f] = -1.

    Shapes: two of (channels,). Errors: ValueError unless channels >= 0 and fold_div >= 4.
    Source: the rule of `folds_mit`, once for each axis.

    >>> dh, dw = cross_folds(10, fold_div=5)
    >>> print(dh, dw)
    [ 1  1 -1 -1  0  0  0  0  0  0] [ 0  0  0  0  1  1 -1 -1  0  0]
    """
    channels, fold_div = integer(channels, "channels", 0), integer(fold_div, "fold_div", 4)
    f = channels // fold_div
    dh, dw = np.zeros(channels, np.int64), np.zeros(channels, np.int64)
    for fold, (d, sign) in enumerate(((dh, 1), (dh, -1), (dw, 1), (dw, -1))):
        d[fold * f : (fold + 1) * f] = sign
    return dh, dw


def spatial_shift_into_conv_weight(weight: ArrayLike, dh: ArrayLike, dw: ArrayLike) -> Array:
    """The 2-D kernel that a zero-filled shift and a pointwise convolution behind it equal.

    kernel[k, c, 0, r - dh[c], r - dw[c]] = weight[k, c], zeros elsewhere, with r the largest shift:
    conv(spatial_shift(x, dh, dw), weight) = conv(x, kernel, padding r). Each channel has one tap.
    With `cross_folds` r is 1 and the taps of all channels make a cross: the corners are zero.

    Shapes: weight (K, C), dh and dw (C,) -> (K, C, 1, 2r + 1, 2r + 1).
    Errors: ValueError where they do not fit.
    Source: Lin et al. 2019, section 3.1, along two axes.

    >>> spatial_shift_into_conv_weight(np.ones((1, 5)), *cross_folds(5, 5)).sum(1)[0, 0]
    array([[0., 1., 0.],
           [1., 1., 1.],
           [0., 1., 0.]])
    """
    weight = floats(weight, "weight")
    if weight.ndim != 2:
        raise ValueError(f"`weight` has shape {weight.shape}; (K, C) is needed")
    dh, dw = shifts(dh, weight.shape[1]), shifts(dw, weight.shape[1])
    r = int(max(np.abs(dh).max(initial=0), np.abs(dw).max(initial=0)))
    kernel = np.zeros((*weight.shape, 1, 2 * r + 1, 2 * r + 1), weight.dtype)
    kernel[:, np.arange(len(dh)), 0, r - dh, r - dw] = weight
    return kernel


def conv_by_spatial_shifts(x: ArrayLike, weight: ArrayLike) -> Array:
    """A full 2-D convolution as shifts of all channels: one for each tap, with its own weights.

    y = sum over taps (v, u) of weight[:, :, v, u] * shift of x by (r - v, r - u). Nine pointwise
    convolutions where `spatial_shift_into_conv_weight` has one: that is what a cross lacks.

    Shapes: x (N, C, T, H, W), weight (K, C, 2r + 1, 2r + 1) -> (N, K, T, H, W), as with padding r.
    Errors: ValueError where they do not fit. Source: definition of the convolution.

    >>> x, weight = np.ones((1, 1, 1, 3, 3)), np.ones((1, 1, 3, 3))
    >>> conv_by_spatial_shifts(x, weight)[0, 0, 0]
    array([[4., 6., 4.],
           [6., 9., 6.],
           [4., 6., 4.]])
    """
    x, weight = _maps(floats(x)), floats(weight, "weight")
    if weight.ndim != 4 or weight.shape[2] != weight.shape[3] or not weight.shape[2] % 2:
        raise ValueError(f"`weight` has shape {weight.shape}; (K, C, 2r + 1, 2r + 1) is needed")
    r, every = weight.shape[2] // 2, np.ones(x.shape[1], np.int64)
    parts = [
        conv(
            spatial_shift(x, (r - v) * every, (r - u) * every), weight[:, :, v, u, None, None, None]
        )
        for v, u in np.ndindex(*weight.shape[2:])
    ]
    return np.asarray(sum(parts[1:], parts[0]))


def _maps(x: ArrayLike) -> Array:
    x = np.asarray(x)
    if x.ndim != 5:
        raise ValueError(f"`x` has shape {x.shape}; (N, C, T, H, W) is needed")
    return x


def _along(x: Array, axis: int, move: Callable[[Array], Array]) -> Array:
    """What a movement along axis 2 does along another one."""
    return np.ascontiguousarray(np.moveaxis(move(np.moveaxis(x, axis, 2)), 2, axis))
