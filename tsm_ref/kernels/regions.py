"""From the maps of a detector to boxes: offsets, suppression and pooling by position, compiled.

Each result is that of the function of `tsm_ref.reference.detection` bit for bit: the same
operations in float64, every sum in the order that is stated there. Nothing is checked here: shapes
and finite values are the caller's duty, and so is that boxes have an area.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.kernels.cache import compiled

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


@compiled()
def decode(boxes: Floats, moves: Floats, growth: Floats, height: float, width: float,
           y: Floats) -> None:  # fmt: skip
    """What boxes (R, 4) become, cut at the edges of a picture, into `y` (R, 4).

    ``moves`` (R, 2) are their offsets tx and ty, ``growth`` (R, 2) is exp(tw) and exp(th).

    >>> y = np.empty((1, 4))
    >>> decode(np.array([[0.0, 0, 8, 4]]), np.array([[0.5, 0.0]]), np.ones((1, 2)), 9.0, 9.0, y)
    >>> y
    array([[4., 0., 9., 4.]])
    """
    for r in range(len(boxes)):
        for axis in range(2):
            most = width if axis == 0 else height
            size = boxes[r, axis + 2] - boxes[r, axis]
            middle = boxes[r, axis] + size / 2 + moves[r, axis] * size
            half = size * growth[r, axis] / 2
            y[r, axis] = min(max(middle - half, 0.0), most)
            y[r, axis + 2] = min(max(middle + half, 0.0), most)


@compiled()
def suppress(boxes: Floats, threshold: float, kept: Indices) -> int:
    """Keep boxes (R, 4), the best first, that share no more than that with a better one kept.

    Their places go into ``kept``, until it is full; returns how many there are.

    >>> kept = np.empty(2, np.int64)
    >>> suppress(np.array([[0.0, 0, 4, 4], [0, 0, 4, 3], [4, 0, 8, 4]]), 0.5, kept), kept
    (2, array([0, 2]))
    """
    areas = np.empty(len(boxes))
    for r in range(len(boxes)):
        areas[r] = (boxes[r, 2] - boxes[r, 0]) * (boxes[r, 3] - boxes[r, 1])
    count = 0
    for r in range(len(boxes)):
        if count == len(kept):
            break
        best = True
        for k in range(count):
            other = kept[k]
            width = min(boxes[r, 2], boxes[other, 2]) - max(boxes[r, 0], boxes[other, 0])
            height = min(boxes[r, 3], boxes[other, 3]) - max(boxes[r, 1], boxes[other, 1])
            shared = max(width, 0.0) * max(height, 0.0)
            if not shared / (areas[other] + areas[r] - shared) <= threshold:
                best = False
                break
        if best:
            kept[count] = r
            count += 1
    return count


@compiled()
def _span(start: float, length: float, i: int, bins: int, size: int) -> tuple[int, int]:
    """The places from and to which bin `i` reaches along one axis, inside the map."""
    first = math.floor(start + length * i / bins)
    last = math.ceil(start + length * (i + 1) / bins)
    return min(max(first, 0), size), min(max(last, 0), size)


@compiled()
def pool(maps: Any, edges: Floats, y: Floats) -> None:
    """The mean of every bin of every box, from maps (C, bins, bins, H, W), (R, C, bins, bins).

    ``edges`` (R, 4) are those of the boxes in places of the map.

    >>> y = np.empty((1, 1, 1, 1))
    >>> pool(np.arange(12.0).reshape(1, 1, 1, 3, 4), np.array([[1.0, 1, 3, 3]]), y)
    >>> y.item()
    7.5
    """
    classes, bins, _, height, width = maps.shape
    spans = np.empty((len(edges), bins, 4), np.int64)
    for r in range(len(edges)):
        tall = max(edges[r, 3] - edges[r, 1], 0.1)
        wide = max(edges[r, 2] - edges[r, 0], 0.1)
        for i in range(bins):
            spans[r, i, 0], spans[r, i, 1] = _span(edges[r, 1], tall, i, bins, height)
            spans[r, i, 2], spans[r, i, 3] = _span(edges[r, 0], wide, i, bins, width)
    for c in range(classes):  # outermost: the maps of one class stay in the cache
        for r in range(len(edges)):
            for i in range(bins):
                top, bottom = spans[r, i, 0], spans[r, i, 1]
                for j in range(bins):
                    left, right = spans[r, j, 2], spans[r, j, 3]
                    count = max(bottom - top, 0) * max(right - left, 0)
                    total = 0.0
                    for v in range(top, bottom):
                        for u in range(left, right):
                            total += maps[c, i, j, v, u]
                    y[r, c, i, j] = total / count if count else 0.0
