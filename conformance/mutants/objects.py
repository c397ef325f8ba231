"""Mistakes in object detection: dilation, bins of regions, suppression, offsets."""

import math
from itertools import pairwise
from typing import Any

import numpy as np

from conformance.mutants.base import Catalogue
from conformance.questions.arrays import Array
from conformance.questions.families import Families
from conformance.testees.reference import Reference
from tsm_ref import reference

CATALOGUE = Catalogue()
mutant = CATALOGUE.mutant


@mutant("undilated", "stride position", "rfcn_stage", "the last stage is not dilated")
def _(self: Reference, x: Array, w: Any, stage: int, a: Any, stride: int, dilation: int) -> Any:
    return Families.rfcn_stage(self, x, w, stage, a, stride, 1)


# Regions


def spans(start: float, end: float, bins: int, size: int, inside: bool) -> list[tuple[int, int]]:
    """The places of each bin, to the whole ones around it, or `inside` it."""
    length = max(end - start, 0.1)
    down, up = (math.ceil, math.floor) if inside else (math.floor, math.ceil)
    edges = [start + length * i / bins for i in range(bins + 1)]
    found = ((down(a), up(b)) for a, b in pairwise(edges))
    return [(min(max(a, 0), size), min(max(b, 0), size)) for a, b in found]


def pooled(
    maps: Array, edges: Array, bins: int, *, inside: bool = False, own: bool = True
) -> Array:
    """Position-sensitive pooling of boxes in places; without its `own` map each bin reads one."""
    z = maps.reshape(-1, bins, bins, *maps.shape[1:])
    y = np.zeros((len(edges), *z.shape[:3]), maps.dtype)
    for r, (x1, y1, x2, y2) in enumerate(edges):
        rows = spans(y1, y2, bins, z.shape[3], inside)
        for i, (top, bottom) in enumerate(rows):
            for j, (left, right) in enumerate(spans(x1, x2, bins, z.shape[4], inside)):
                if top < bottom and left < right:
                    read = z[:, i, j] if own else z[:, 0, 0]
                    y[r, :, i, j] = read[:, top:bottom, left:right].mean((1, 2))
    return y


@mutant("bins-inside", "crop arithmetic", "ps_roi_pool", "floor and ceiling of bins change places")
def _(self: Reference, maps: Array, boxes: Array, bins: int, stride: int) -> Array:
    return pooled(maps, np.floor(boxes + 0.5) / stride, bins, inside=True)


@mutant("bins-unrounded", "crop arithmetic", "ps_roi_pool", "boxes are not rounded to pixels")
def _(self: Reference, maps: Array, boxes: Array, bins: int, stride: int) -> Array:
    return pooled(maps, boxes / stride, bins)


@mutant("bins-transposed", "layouts", "ps_roi_pool", "rows and columns of bins change places")
def _(self: Reference, maps: Array, boxes: Array, bins: int, stride: int) -> Array:
    turned = maps.reshape(-1, bins, bins, *maps.shape[1:]).swapaxes(1, 2).reshape(maps.shape)
    return reference.ps_roi_pool(turned, boxes, bins, stride)


@mutant("bins-of-one-map", "layouts", "ps_roi_pool", "every bin is pooled from the same map")
def _(self: Reference, maps: Array, boxes: Array, bins: int, stride: int) -> Array:
    return pooled(maps, np.floor(boxes + 0.5) / stride, bins, own=False)


# Suppression


def overlaps(boxes: Array, extra: float = 0.0) -> Array:
    """Intersection over union of every two boxes, which are `extra` wider and higher."""
    least = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    most = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = np.prod(np.maximum(most - least + extra, 0), -1)
    area = np.prod(boxes[:, 2:] - boxes[:, :2] + extra, -1)
    return np.asarray(shared / (area[:, None] + area[None] - shared))


def kept(order: Array, drops: Array, most: int | None, *, dropped_drop: bool = False) -> Array:
    """The boxes that are left, where ``drops[a, b]`` says that a drops b."""
    found: list[int] = []
    for n, i in enumerate(order):
        above = order[:n] if dropped_drop else found
        if not any(drops[j, i] for j in above):
            found.append(int(i))
    return np.array(found[:most], np.int64)


def by_score(scores: Array) -> Array:
    """Boxes, the best first, and of equal ones the first."""
    return np.argsort(-scores, kind="stable")


@mutant("drops-at-threshold", "edge", "nms", "an overlap of exactly the threshold drops a box")
def _(self: Reference, boxes: Array, scores: Array, threshold: float, most: Any = None) -> Array:
    return kept(by_score(scores), overlaps(boxes) >= threshold, most)


@mutant("dropped-drop", "in-place smear", "nms", "boxes that were dropped drop others")
def _(self: Reference, boxes: Array, scores: Array, threshold: float, most: Any = None) -> Array:
    return kept(by_score(scores), overlaps(boxes) > threshold, most, dropped_drop=True)


@mutant("pixels-inclusive", "edge", "nms", "boxes are a pixel wider than the difference of edges")
def _(self: Reference, boxes: Array, scores: Array, threshold: float, most: Any = None) -> Array:
    return kept(by_score(scores), overlaps(boxes, 1.0) > threshold, most)


@mutant("last-of-equals", "view order", "nms", "of equal scores the last box is taken first")
def _(self: Reference, boxes: Array, scores: Array, threshold: float, most: Any = None) -> Array:
    order = np.argsort(scores, kind="stable")[::-1]
    return kept(order, overlaps(boxes) > threshold, most)


@mutant("worst-first", "view order", "nms", "kept boxes come the worst first")
def _(self: Reference, boxes: Array, scores: Array, threshold: float, most: Any = None) -> Array:
    return kept(by_score(scores), overlaps(boxes) > threshold, most)[::-1].copy()


@mutant("most-forgotten", "saturation", "nms", "more boxes are kept than were asked for")
def _(self: Reference, boxes: Array, scores: Array, threshold: float, most: Any = None) -> Array:
    return kept(by_score(scores), overlaps(boxes) > threshold, None)


# Offsets


def moved(boxes: Array, offsets: Array, extra: float, limit: float, about: float) -> Array:
    """Boxes of which a part `about` of the size lies in front of what is moved."""
    size = boxes[:, 2:] - boxes[:, :2] + extra
    point = boxes[:, :2] + size * about + offsets[:, :2] * size
    grown = size * np.exp(np.minimum(offsets[:, 2:], limit))
    start = point - grown * about
    return np.concatenate([start, start + grown], 1).astype(boxes.dtype)


LIMIT = math.log(1000 / 16)


@mutant(
    "about-a-corner", "crop arithmetic", "decode_boxes", "a corner is moved, and not the middle"
)
def _(self: Reference, boxes: Array, offsets: Array) -> Array:
    return moved(boxes, offsets, 0.0, LIMIT, 0.0)


@mutant("offsets-unlimited", "saturation", "decode_boxes", "boxes grow without a limit")
def _(self: Reference, boxes: Array, offsets: Array) -> Array:
    return moved(boxes, offsets, 0.0, math.inf, 0.5)


@mutant(
    "sizes-inclusive", "crop arithmetic", "decode_boxes", "boxes are a pixel wider than they are"
)
def _(self: Reference, boxes: Array, offsets: Array) -> Array:
    return moved(boxes, offsets, 1.0, LIMIT, 0.5)
