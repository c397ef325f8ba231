"""The maps of one frame to its boxes: proposals, their classes, and what is left of both."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import isqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tsm_ref import reference as ref
from tsm_ref.detection.regions import moved, pooled, suppressed
from tsm_ref.errors import CheckpointError, UsageError
from tsm_ref.models import MAPS
from tsm_ref.models.rfcn import STRIDE

__all__ = ["Found", "Settings", "boxes_of", "classes_of", "proposals"]

Array = NDArray[Any]
Size = tuple[int, int]
"""Height and width, in pixels of the picture that the network saw."""
SHARES = ("threshold", "overlap", "proposal_overlap")
"""The settings that are a part of 1; all others count something."""


@dataclass(frozen=True)
class Settings:
    """What is kept of the boxes of a frame.

    ``threshold`` is the probability from which on a box is told, ``overlap`` the one (`iou`) above
    which two boxes of a class are the same object, ``most`` how many are told. Of the anchors the
    best ``candidates`` become proposals where both sides have ``least`` pixels, and of those that
    overlap by more than ``proposal_overlap`` the best; the first ``proposals`` are looked at.
    The numbers are those of Ren et al. 2015, section 3.3, and Dai et al. 2016, section 3.

    Raises `UsageError` for a number that cannot be.

    >>> Settings(overlap=2)
    Traceback (most recent call last):
    tsm_ref.errors.UsageError: `overlap` (=2) must be between 0 and 1
    """

    threshold: float = 0.5
    overlap: float = 0.3
    most: int = 100
    candidates: int = 6000
    proposals: int = 300
    proposal_overlap: float = 0.7
    least: float = 16.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value, share = getattr(self, field.name), field.name in SHARES
            if share and not 0 < value < 1:
                raise UsageError(f"`{field.name}` (={value}) must be between 0 and 1")
            if not share and not 1 <= value <= 1e6:
                raise UsageError(f"`{field.name}` (={value}) must be 1 to 1000000")


class Found(NamedTuple):
    """The boxes of a frame (D, 4), their classes (D,) from 0 on, and their probabilities (D,)."""

    boxes: Array
    classes: Array
    scores: Array


def classes_of(channels: Mapping[str, int]) -> int:
    """How many classes maps of so many channels know, the background not counted.

    Raises `CheckpointError` for channels that are those of no detector.

    >>> classes_of({"objectness": 18, "offsets": 36, "score_maps": 31 * 49, "box_maps": 4 * 49})
    30
    """
    anchors = ref.anchors(1, 1).shape[2]
    bins = isqrt(channels[MAPS.boxes] // 4)
    classes, rest = divmod(channels[MAPS.scores], max(bins, 1) ** 2)
    right = channels[MAPS.objectness] == 2 * anchors and channels[MAPS.offsets] == 4 * anchors
    right &= 4 * max(bins, 1) ** 2 == channels[MAPS.boxes]
    if not right or rest or classes < 2:
        told = ", ".join(f"{channels[name]} of {name}" for name in MAPS)
        raise CheckpointError(f"its maps are not those of a detector: {told}")
    return classes - 1


def proposals(
    objectness: Array, offsets: Array, size: Size, settings: Settings, *, compiled: bool = False
) -> Array:
    """Where an object may be: boxes (R, 4) in a picture of `size`, the likeliest first.

    Of those that are equally likely, the one higher up comes first, then the one on the left, then
    the one of the first anchor. `compiled` gives the same bits faster.

    Shapes: objectness (2 A, H, W), offsets (4 A, H, W). R is 0 where no box is large enough.
    Source: Ren et al. 2015, section 3.

    >>> none = np.zeros((36, 1, 1))
    >>> proposals(none[:18], none, (16, 16), Settings())
    array([[ 0.,  0., 16., 16.]])
    """
    _, height, width = objectness.shape
    background, objects = objectness.reshape(2, -1, height, width)
    # The softmax of both grows with their difference, which does not round to 1.
    scores = np.asarray(objects - background, np.float64).transpose(1, 2, 0).ravel()
    moves = offsets.reshape(-1, 4, height, width).transpose(2, 3, 0, 1).reshape(-1, 4)
    anchors = ref.anchors(height, width, STRIDE).reshape(-1, 4)
    boxes = moved(anchors, moves.astype(np.float64), size, compiled=compiled)
    large = np.flatnonzero(((boxes[:, 2:] - boxes[:, :2]) >= settings.least).all(1))
    best = large[np.argsort(-scores[large], kind="stable")][: settings.candidates]
    limits = settings.proposal_overlap, settings.proposals
    kept = suppressed(boxes[best], scores[best], *limits, compiled=compiled)
    return np.asarray(boxes[best[kept]])


def boxes_of(
    maps: Mapping[str, Array], size: Size, settings: Settings, *, compiled: bool = False
) -> Found:
    """What a network's maps say of one frame: the boxes of every class, the likeliest first.

    Each proposal takes its class from the vote of its bins, through a softmax, and moves as the
    vote of the maps of boxes says; of the boxes of one class that overlap, the likeliest is left.
    Of those that are equally likely the lower class comes first, then the likelier proposal.
    `compiled` gives the same bits faster.

    Shapes: each of `MAPS` (channels, H, W), for a picture of `size`.
    Raises `CheckpointError` for values that are not finite, and as `classes_of`.
    Source: Dai et al. 2016, section 2.
    """
    classes_of({name: len(maps[name]) for name in MAPS})
    for name in MAPS:
        if not np.isfinite(maps[name]).all():
            raise CheckpointError(f"its {name} are not finite")
    places = proposals(maps[MAPS.objectness], maps[MAPS.offsets], size, settings, compiled=compiled)
    bins = isqrt(len(maps[MAPS.boxes]) // 4)
    votes, moves = (
        ref.vote(pooled(maps[name], places, bins, STRIDE, compiled=compiled))
        for name in (MAPS.scores, MAPS.boxes)
    )
    boxes = moved(places, moves, size, compiled=compiled)
    chances = ref.softmax(votes, 1)[:, 1:]
    chances[(boxes[:, 2:] <= boxes[:, :2]).any(1)] = 0  # moved out of the picture
    rows, classes = [], []
    for index, scores in enumerate(chances.T):
        told = np.flatnonzero(scores >= settings.threshold)
        limits = settings.overlap, settings.most
        kept = told[suppressed(boxes[told], scores[told], *limits, compiled=compiled)]
        rows.append(kept)
        classes.append(np.full(len(kept), index))
    row, kind = np.concatenate(rows), np.concatenate(classes)
    order = np.argsort(-chances[row, kind], kind="stable")[: settings.most]
    row, kind = row[order], kind[order]
    return Found(boxes[row], kind, chances[row, kind])
