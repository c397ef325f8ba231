"""Outcomes beside the truth: top-1, top-5, each class, who is taken for whom."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.batch.lists import Clip
from tsm_ref.batch.recipe import Outcome
from tsm_ref.errors import UsageError

__all__ = ["PROTOCOLS", "Scores", "class_of", "interval", "scores", "truth"]

PROTOCOLS: Mapping[str, Mapping[str, Any]] = {
    "mit-center-1clip": {"policy": "uniform", "crops": 1, "like": "mit", "average": "logits"},
    "mit-full-2clip": {"policy": "twice", "crops": 3, "like": "mit", "average": "logits"},
    "dense-10x3": {"policy": "dense", "crops": 3, "like": "mit", "average": "logits"},
    "mmaction2": {
        "policy": "mmaction2",
        "crops": 10,
        "like": "mmaction2",
        "average": "probabilities",
    },
    "mmaction2-center": {
        "policy": "mmaction2",
        "crops": 1,
        "like": "mmaction2",
        "average": "probabilities",
    },
    "paddle-center": {"policy": "paddle", "crops": 1, "like": "paddle"},
}
"""How published numbers were measured: sampling, crops, whose arithmetic resizes and cuts, and what
is averaged over the views.

MIT: ``test_models.py`` with ``--test_crops=1``, with ``--test_crops=3 --full_res --twice_sample``,
and with ``--test_crops=3 --full_res --dense_sample`` (10 clips of 3 crops). MMAction2: the test
pipeline of its Kinetics configurations (10 crops of 224), and the pipeline of their validation.
PaddleVideo: one clip, one crop.
"""


@dataclass(frozen=True)
class Scores:
    """How often a model is right. ``confusion`` counts (true, predicted) classes, (K, K).

    Shares are of the clips that were recognised; ``failed`` are those that could not be read.
    """

    confusion: NDArray[np.int64]
    in_top5: int
    failed: int

    @property
    def count(self) -> int:
        """The clips that were recognised."""
        return int(self.confusion.sum())

    @property
    def top1(self) -> float:
        """The share of clips whose best class is right."""
        return float(self.confusion.trace() / max(1, self.count))

    @property
    def top5(self) -> float:
        """The share of clips whose class is among the best five."""
        return self.in_top5 / max(1, self.count)

    @property
    def recall(self) -> NDArray[np.float64]:
        """The share of each class that is right (K,); NaN where the class has no clip."""
        clips = self.confusion.sum(1)
        return np.where(clips > 0, self.confusion.diagonal() / np.maximum(clips, 1), np.nan)

    @property
    def mean_recall(self) -> float:
        """The mean over the classes that have clips."""
        found = self.recall[~np.isnan(self.recall)]
        return float(found.mean()) if found.size else 0.0


def truth(clips: Sequence[Clip], labels: Sequence[str], classes: int) -> dict[str, int]:
    """The class of every clip by its path, from numbers and from names.

    Raises `UsageError` for a clip without a label and for one that the model does not know.

    >>> truth([Clip("a.mp4", "1"), Clip("b.mp4", "walk")], ["walk", "run"], 2)
    {'a.mp4': 1, 'b.mp4': 0}
    """
    found = {}
    for clip in clips:
        if clip.label is None:
            several = "labels" in dict(clip.cells)
            more = ", or --multi-label, as it has a column 'labels'" if several else ""
            raise UsageError(f"{clip.path}: the list gives no label; one is needed per clip{more}")
        found[clip.path] = class_of(clip.path, clip.label, labels, classes)
    return found


def class_of(path: str, label: str, labels: Sequence[str], classes: int, head: str = "") -> int:
    """The class that a label names, or whose number it is; raises `UsageError` for another."""
    if label in labels:
        return labels.index(label)
    if label.isascii() and label.isdecimal() and len(label) < 10 and int(label) < classes:
        return int(label)
    whose = f"the head {head!r} of the model" if head else "the model"
    raise UsageError(f"{path}: the label {label!r} is no class of {whose}, which has {classes}")


def scores(found: Sequence[Outcome], true: Mapping[str, int], classes: int) -> Scores:
    """Count outcomes (with at least five predictions each, or all classes) against the truth."""
    confusion = np.zeros((classes, classes), np.int64)
    in_top5 = failed = 0
    for outcome in found:
        if outcome.result is None:
            failed += 1
            continue
        best = [row["index"] for row in outcome.result["predictions"][:5]]
        confusion[true[outcome.path], best[0]] += 1
        in_top5 += true[outcome.path] in best
    return Scores(confusion, in_top5, failed)


def interval(share: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """Between what the true share lies with 95 % confidence (Wilson 1927), of `count` clips.

    >>> [round(side, 3) for side in interval(0.9, 100)]
    [0.826, 0.945]
    """
    if count == 0:
        return 0.0, 1.0
    centre = share + z * z / (2 * count)
    spread = z * sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)
