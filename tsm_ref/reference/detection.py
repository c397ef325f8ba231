"""From the maps of a detector to boxes: anchors, their offsets, suppression, voting over positions.

A box is (x1, y1, x2, y2) in pixels of the picture, from the left edge of its first pixel to the
right edge of its last one: x2 - x1 pixels wide. The code that was published with the papers names
the last pixel instead, which is x2 - 1 here.

Sources: Ren, He, Girshick, Sun, "Faster R-CNN", 2015, section 3.1 (anchors, offsets); Dai, Li, He,
Sun, "R-FCN", 2016, section 2 (position-sensitive score maps and pooling), and their code where it
rounds.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tsm_ref.reference._arrays import Array, floats, integer, like, working

LARGEST_OFFSET = math.log(1000 / 16)
"""How far a box may grow: an anchor of 16 pixels to 1000. Beyond that `exp` says nothing."""


def anchors(
    height: int,
    width: int,
    stride: int = 16,
    scales: Sequence[float] = (8, 16, 32),
    ratios: Sequence[float] = (0.5, 1, 2),
) -> NDArray[np.float64]:
    """The boxes that proposals start from: several sizes and shapes at each place of a map.

    Place (v, u) of the map lies at the pixel ((u + 1/2) stride, (v + 1/2) stride), the middle of
    its boxes. For the ratio r = height / width and the scale s they are w s wide and h s high,
    where w = round(sqrt(stride^2 / r)) and h = round(w r): about s stride pixels squared.

    Shapes: `height`, `width` of the map -> (height, width, ratios * scales, 4), in pixels; the
    scales of the first ratio come first.
    Errors: ValueError for sizes below 1, and for scales or ratios that are not above 0.
    Source: Ren et al. 2015, section 3.1.1; the rounding is their code's.

    >>> anchors(1, 2, stride=16, scales=[8], ratios=[0.5, 1])[0].tolist()[0]
    [[-84.0, -40.0, 100.0, 56.0], [-56.0, -56.0, 72.0, 72.0]]
    """
    height, width = integer(height, "height", 1), integer(width, "width", 1)
    stride = integer(stride, "stride", 1)
    shapes = []
    for ratio in ratios:
        for scale in scales:
            if not (0 < ratio < math.inf and 0 < scale < math.inf):
                raise ValueError(f"`scales` ({scales}) and `ratios` ({ratios}) must be above 0")
            w = round(math.sqrt(stride**2 / ratio))
            shapes.append((w * scale, round(w * ratio) * scale))
    half = np.array(shapes, np.float64) / 2
    y, x = np.meshgrid((np.arange(height) + 0.5) * stride, (np.arange(width) + 0.5) * stride,
                       indexing="ij")  # fmt: skip
    middles = np.stack([x, y], -1)[:, :, None]
    return np.concatenate([middles - half, middles + half], -1)


def decode_boxes(boxes: ArrayLike, offsets: ArrayLike) -> Array:
    """The boxes that offsets make of other boxes.

    With the middle (x, y), width w and height h of a box, and its offsets (tx, ty, tw, th)::

        x' = x + tx w,  y' = y + ty h,  w' = w exp(tw),  h' = h exp(th)

    where tw and th count no further than `LARGEST_OFFSET`.

    Shapes: boxes (..., 4) in pixels, offsets (..., 4) -> (..., 4), in pixels.
    Errors: ValueError for other shapes, or integers. Source: Ren et al. 2015, section 3.1.2.

    >>> decode_boxes([[0.0, 0.0, 10.0, 20.0]], [[0.5, 0.0, np.log(2.0), 0.0]])
    array([[ 0.,  0., 20., 20.]])
    """
    boxes, offsets = _boxes(boxes), _boxes(offsets, "offsets")
    size = boxes[..., 2:] - boxes[..., :2]
    middle = boxes[..., :2] + size / 2 + offsets[..., :2] * size
    half = size * np.exp(np.minimum(offsets[..., 2:], LARGEST_OFFSET)) / 2
    return np.concatenate([middle - half, middle + half], -1)


def encode_boxes(boxes: ArrayLike, wanted: ArrayLike) -> Array:
    """The offsets that make `wanted` of `boxes`: what a network is trained to say.

    tx = (x' - x) / w,  ty = (y' - y) / h,  tw = log(w' / w),  th = log(h' / h)

    Shapes: (..., 4) and (..., 4), in pixels -> (..., 4).
    Errors: ValueError for other shapes, integers, or a box without an area.
    Source: Ren et al. 2015, section 3.1.2, equation 2.

    >>> encode_boxes([[0.0, 0.0, 10.0, 20.0]], [[0.0, 0.0, 20.0, 20.0]]).round(4)
    array([[0.5   , 0.    , 0.6931, 0.    ]])
    """
    boxes, wanted = _with_area(_boxes(boxes)), _with_area(_boxes(wanted, "wanted"), "wanted")
    size, new = boxes[..., 2:] - boxes[..., :2], wanted[..., 2:] - wanted[..., :2]
    moved = wanted[..., :2] + new / 2 - boxes[..., :2] - size / 2
    return np.concatenate([moved / size, np.log(new / size)], -1)


def clip_boxes(boxes: ArrayLike, height: int, width: int) -> Array:
    """What of each box lies in a picture; a box outside has no area then.

    x = min(max(x, 0), width), y = min(max(y, 0), height).

    Shapes: boxes (..., 4), the picture's size in pixels -> (..., 4).
    Errors: ValueError for other shapes, integers, or sizes below 1.
    Source: Ren et al. 2015, section 3.1.2.

    >>> clip_boxes([[-5.0, 2.0, 40.0, 90.0]], height=20, width=30)
    array([[ 0.,  2., 30., 20.]])
    """
    boxes = _boxes(boxes)
    most = np.array([integer(width, "width", 1), integer(height, "height", 1)] * 2, boxes.dtype)
    return np.clip(boxes, 0, most)


def iou(a: ArrayLike, b: ArrayLike) -> Array:
    """How far boxes are the same: intersection over union, from 0 for disjoint ones to 1.

    Shapes: (A, 4) and (B, 4), in the same unit -> (A, B).
    Errors: ValueError for other shapes, integers, or a box without an area.
    Source: Ren et al. 2015, section 3.1.2.

    >>> iou([[0.0, 0.0, 2.0, 2.0]], [[0.0, 0.0, 2.0, 2.0], [1.0, 0.0, 3.0, 2.0]]).round(3)
    array([[1.   , 0.333]])
    """
    a, b = _with_area(_boxes(a, "a"), "a"), _with_area(_boxes(b, "b"), "b")
    if a.ndim != 2 or b.ndim != 2:
        raise ValueError(f"`a` {a.shape} and `b` {b.shape} must be lists of boxes, (A, 4), (B, 4)")
    least = np.maximum(a[:, None, :2], b[None, :, :2])
    most = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.prod(np.maximum(most - least, 0), -1)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], -1) for boxes in (a, b)]
    return np.asarray(shared / (areas[0][:, None] + areas[1][None] - shared))


def nms(
    boxes: ArrayLike, scores: ArrayLike, threshold: float, most: int | None = None
) -> NDArray[np.int64]:
    """Non-maximum suppression: of boxes that are much the same, the one with the highest score.

    The box with the highest score is kept, those whose `iou` with it is above `threshold` are
    dropped, and so on with what is left, until there are `most`. Of equal scores the first box is
    taken first.

    Shapes: boxes (R, 4), scores (R,) -> the indices of the kept ones, the highest score first.
    Errors: ValueError for other shapes, a box without an area, a threshold that is not 0 to 1, and
    scores that are NaN.
    Source: Ren et al. 2015, section 3.1.2; Girshick et al. 2014, section 2.2.

    >>> boxes = np.array([[0.0, 0.0, 10.0, 10.0], [1.0, 0.0, 11.0, 10.0], [20.0, 0.0, 30.0, 9.0]])
    >>> nms(boxes, np.array([0.6, 0.9, 0.3]), threshold=0.5)
    array([1, 2])
    """
    boxes, scores = _with_area(_boxes(boxes)), floats(scores, "scores")
    if boxes.ndim != 2 or scores.shape != boxes.shape[:1]:
        raise ValueError(f"`scores` {scores.shape} must be one for each of `boxes` {boxes.shape}")
    if np.isnan(scores).any() or not 0 <= threshold <= 1:
        raise ValueError(f"`scores` must be numbers, and `threshold` (={threshold}) 0 to 1")
    most = len(boxes) if most is None else integer(most, "most", 0)
    left, kept = np.argsort(-scores, kind="stable"), list[int]()
    while len(left) and len(kept) < most:
        best, left = left[0], left[1:]
        kept.append(best)
        left = left[iou(boxes[best : best + 1], boxes[left])[0] <= threshold]
    return np.array(kept, np.int64)


def ps_roi_pool(maps: ArrayLike, boxes: ArrayLike, bins: int, stride: int = 16) -> Array:
    """Position-sensitive pooling of regions: of each bin of a box, the mean of its own map.

    A box of w x h places has bins x bins bins, and bin (i, j), in row i and column j, is pooled
    from map (i, j) of every class c alone::

        r_c(i, j) = sum over (x, y) in bin(i, j) of z_{c,i,j}(x + x0, y + y0) / n

    with floor(x0 + j w / k) <= x < ceil(x0 + (j + 1) w / k), the same for y, k bins, and n places
    inside the map, which are added row by row, each from the left. A bin outside it is 0. The edges
    of a box are rounded to whole pixels, half up, before they are divided by the stride, and no box
    is less than 0.1 places wide.

    Shapes: maps (C * bins^2, H, W), the maps of one class behind one another, row by row; boxes
    (R, 4), in pixels; `stride` pixels a place -> (R, C, bins, bins).
    Errors: ValueError for other shapes, integers, or a box without an area.
    Source: Dai et al. 2016, section 2, equation 1; the rounding is their code's.

    >>> maps = np.arange(4.0)[:, None, None] * np.ones((1, 6, 6))
    >>> ps_roi_pool(maps, [[16.0, 16.0, 80.0, 80.0]], bins=2)[0, 0]
    array([[0., 1.],
           [2., 3.]])
    """
    maps, boxes = floats(maps, "maps"), _with_area(_boxes(boxes))
    bins, stride = integer(bins, "bins", 1), integer(stride, "stride", 1)
    if maps.ndim != 3 or maps.shape[0] % bins**2 or boxes.ndim != 2:
        raise ValueError(
            f"`maps` {maps.shape} must be (C * {bins}^2, H, W), and `boxes` {boxes.shape} (R, 4)"
        )
    z = working(maps).reshape(-1, bins, bins, *maps.shape[1:])
    pooled = np.zeros((len(boxes), *z.shape[:3]), z.dtype)
    edges = np.floor(boxes.astype(np.float64) + 0.5) / stride
    for r, (x1, y1, x2, y2) in enumerate(edges):
        rows, columns = _bins(y1, y2, bins, z.shape[3]), _bins(x1, x2, bins, z.shape[4])
        for i, (top, bottom) in enumerate(rows):
            for j, (left, right) in enumerate(columns):
                if top < bottom and left < right:
                    values = z[:, i, j, top:bottom, left:right].reshape(len(z), -1)
                    pooled[r, :, i, j] = values.cumsum(1)[:, -1] / values.shape[1]
    return like(pooled, maps)


def vote(pooled: ArrayLike) -> Array:
    """What all bins of a box say together: r_c = mean over (i, j) of r_c(i, j).

    Shapes: (R, C, bins, bins) -> (R, C). Errors: ValueError for another rank, or integers.
    Source: Dai et al. 2016, section 2: "average voting".

    >>> vote(np.array([[[[1.0, 2.0], [3.0, 6.0]]]]))
    array([[3.]])
    """
    pooled = floats(pooled, "pooled")
    if pooled.ndim != 4:
        raise ValueError(f"`pooled` has shape {pooled.shape}; (R, C, bins, bins) is needed")
    return like(working(pooled).mean((2, 3)), pooled)


def _bins(start: float, end: float, bins: int, size: int) -> list[tuple[int, int]]:
    """The places from and to which each bin reaches along one axis, inside the map."""
    length = max(end - start, 0.1)
    # Multiplied first: an edge that is a whole number is one exactly, and starts no bin of its own.
    edges = [start + length * i / bins for i in range(bins + 1)]
    spans = [(math.floor(a), math.ceil(b)) for a, b in pairwise(edges)]
    return [(min(max(a, 0), size), min(max(b, 0), size)) for a, b in spans]


def _boxes(value: ArrayLike, name: str = "boxes") -> Array:
    array = floats(value, name)
    if array.shape[-1] != 4:
        raise ValueError(f"`{name}` has shape {array.shape}; (..., 4) is needed")
    return array


def _with_area(boxes: Array, name: str = "boxes") -> Array:
    """The same boxes, refused where one is empty, turned round, or no numbers."""
    good = (boxes[..., 2:] > boxes[..., :2]).all(-1) & np.isfinite(boxes).all(-1)
    if not good.all():
        where = tuple(int(i) for i in np.argwhere(~good)[0])
        sides = ", ".join(f"{side:g}" for side in boxes[where])
        raise ValueError(f"`{name}` {list(where)} ({sides}) has no area")
    return boxes
