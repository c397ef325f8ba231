"""Offsets, suppression and pooling by position, fast: in whole arrays, or `compiled` by Numba.

Both give the bits of the functions of `tsm_ref.reference.detection`, in float64. Nothing is asked
of the values here: they are finite, and boxes have an area and lie inside the picture.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.reference.detection import LARGEST_OFFSET, clip_boxes, decode_boxes

__all__ = ["moved", "pooled", "suppressed"]

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


def moved(
    boxes: Floats, offsets: Floats, size: tuple[int, int], *, compiled: bool = False
) -> Floats:
    """What offsets (R, 4) make of boxes (R, 4), as far as it lies in a picture of `size`.

    See `decode_boxes` and `clip_boxes`.

    >>> moved(np.array([[0.0, 0, 8, 4]]), np.array([[0.5, 0, 0, 0]]), (9, 9))
    array([[4., 0., 9., 4.]])
    """
    if not compiled:
        return clip_boxes(decode_boxes(boxes, offsets), *size)
    from tsm_ref.kernels import regions

    found = np.empty_like(boxes)
    growth = np.exp(np.minimum(offsets[:, 2:], LARGEST_OFFSET))
    height, width = map(float, size)
    regions.decode(boxes, offsets[:, :2], growth, height, width, found)
    return found


def suppressed(
    boxes: Floats, scores: Floats, threshold: float, most: int, *, compiled: bool = False
) -> Indices:
    """Which boxes (R, 4) are left of those that overlap, the highest score first, `most` of them.

    Of equal scores the first box is taken first. See `tsm_ref.reference.nms`.

    >>> suppressed(np.array([[0.0, 0, 4, 4], [0, 0, 4, 3]]), np.array([0.5, 0.9]), 0.5, 9)
    array([1])
    """
    order = np.argsort(-scores, kind="stable")
    ranked = boxes[order]
    if not compiled:
        return order[_suppressed(ranked, threshold, most)]
    from tsm_ref.kernels import regions

    kept = np.empty(min(most, len(boxes)), np.int64)
    return order[kept[: regions.suppress(ranked, threshold, kept)]]


def _suppressed(ranked: Floats, threshold: float, most: int) -> list[int]:
    """As `suppressed`, of boxes that are ranked already: each kept one is held against the rest."""
    x1, y1, x2, y2 = np.ascontiguousarray(ranked.T)
    areas = (x2 - x1) * (y2 - y1)
    left, kept = np.arange(len(ranked)), list[int]()
    while len(left) and len(kept) < most:
        best, left = left[0], left[1:]
        kept.append(best)
        wide = np.maximum(np.minimum(x2[left], x2[best]) - np.maximum(x1[left], x1[best]), 0)
        high = np.maximum(np.minimum(y2[left], y2[best]) - np.maximum(y1[left], y1[best]), 0)
        shared = wide * high
        left = left[shared / (areas[best] + areas[left] - shared) <= threshold]
    return kept


def pooled(
    maps: NDArray[Any], boxes: Floats, bins: int, stride: int, *, compiled: bool = False
) -> Floats:
    """The mean of each bin of each box of its own map, (R, C, bins, bins).

    Shapes: maps (C * bins^2, H, W), boxes (R, 4). See `tsm_ref.reference.ps_roi_pool`.

    >>> pooled(np.ones((4, 5, 5)), np.array([[0.0, 0, 64, 64]]), 2, 16).tolist()
    [[[[1.0, 1.0], [1.0, 1.0]]]]
    """
    edges = np.floor(boxes + 0.5) / stride
    shaped = np.ascontiguousarray(maps).reshape(-1, bins, bins, *maps.shape[1:])
    if not compiled:
        return _pooled(shaped, edges)
    from tsm_ref.kernels import regions

    found = np.empty((len(boxes), *shaped.shape[:3]))
    regions.pool(shaped, edges, found)
    return found


def _pooled(maps: NDArray[Any], edges: Floats) -> Floats:
    """As `pooled`: each step adds the next place to all bins that have one more."""
    classes, bins, _, height, width = maps.shape
    top, bottom = _spans(edges[:, 1], edges[:, 3], bins, height)
    left, right = _spans(edges[:, 0], edges[:, 2], bins, width)
    # One row for each bin of each box, and all classes of a place side by side.
    values = maps.reshape(classes, -1).T.astype(np.float64)
    own = np.arange(bins**2).reshape(bins, bins) * height
    start = ((own + top[:, :, None]) * width + left[:, None, :]).ravel()
    across = np.broadcast_to((right - left)[:, None, :], (len(edges), bins, bins)).ravel()
    count = ((bottom - top)[:, :, None] * (right - left)[:, None, :]).ravel()
    order = np.argsort(-count, kind="stable")
    start, across, counts = start[order], across[order], count[order]
    totals = np.zeros((len(count), classes))
    for step in range(counts[0] if len(counts) else 0):
        more = int(np.searchsorted(-counts, -step))
        row, column = np.divmod(step, across[:more])
        totals[:more] += values[start[:more] + row * width + column]
    totals /= np.maximum(counts, 1)[:, None]
    found = np.empty_like(totals)
    found[order] = totals
    return np.ascontiguousarray(found.reshape(-1, bins, bins, classes).transpose(0, 3, 1, 2))


def _spans(start: Floats, end: Floats, bins: int, size: int) -> tuple[Indices, Indices]:
    """The places from and to which each bin reaches along one axis, (R, bins) each."""
    length = np.maximum(end - start, 0.1)[:, None]
    edges = start[:, None] + length * np.arange(bins + 1) / bins
    first, last = np.floor(edges[:, :-1]), np.ceil(edges[:, 1:])
    low, high = (np.clip(part, 0, size).astype(np.int64) for part in (first, last))
    return low, np.maximum(high, low)
