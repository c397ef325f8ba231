"""Outcomes beside a truth of several labels for a clip, or of several heads: precision, actions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tsm_ref.batch.lists import Clip
from tsm_ref.batch.recipe import Outcome
from tsm_ref.batch.scores import Scores, class_of, scores
from tsm_ref.errors import UsageError
from tsm_ref.system.terminal import printable

__all__ = [
    "HeadScores",
    "LabelScores",
    "average_precision",
    "head_scores",
    "label_scores",
    "lines_of_labels",
    "truth_of_heads",
    "truth_of_labels",
]

COLUMNS = ("labels", "label")
"""The columns that have all labels of a clip; several stand in one cell with ; between them."""


def average_precision(scores: ArrayLike, truth: ArrayLike) -> float:
    """How well scores rank what is true: the mean of the precision where something true is found.

    With the precision P_n and recall R_n of all that has at least the n-th highest score, equal
    scores counted as one: ``AP = sum over n of (R_n - R_(n-1)) P_n``. NaN where nothing is true.

    Shapes: (N,) and (N,) -> one number. Source: scikit-learn's ``average_precision_score`` and
    MMAction2's ``mean_average_precision``, which are the same.

    >>> average_precision([0.9, 0.8, 0.7], [True, False, True])
    0.8333333333333333
    """
    score, true = np.asarray(scores, np.float64), np.asarray(truth, bool)
    if not true.any():
        return float("nan")
    order = np.argsort(-score, kind="stable")
    score, hits = score[order], np.cumsum(true[order])
    last = np.flatnonzero(np.append(np.diff(score) != 0, True))  # of those with one score
    precision, recall = hits[last] / (last + 1), hits[last] / hits[-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


@dataclass(frozen=True)
class LabelScores:
    """How well the labels of clips are found. ``chances`` and ``true`` are (clips, K).

    ``failed`` are the clips that could not be read, which are not among the others.
    """

    chances: NDArray[np.float64]
    true: NDArray[np.bool_]
    failed: int

    @property
    def of_classes(self) -> NDArray[np.float64]:
        """The average precision of each class (K,); NaN where no clip has it."""
        pairs = zip(self.chances.T, self.true.T, strict=True)
        return np.array([average_precision(*pair) for pair in pairs])

    @property
    def mean(self) -> float:
        """The mean over the classes that a clip has: mAP."""
        return _mean(self.of_classes)

    @property
    def of_clips(self) -> float:
        """The mean of the average precision of each clip that has a label: Multi-Moments' mAP."""
        pairs = zip(self.chances, self.true, strict=True)
        return _mean(np.array([average_precision(*pair) for pair in pairs]))

    def tree(self, names: Sequence[str]) -> dict[str, Any]:
        """What a result file says of it."""
        rows = zip(names, self.of_classes, self.true.sum(0), strict=True)
        return {
            "recognised": len(self.true),
            "failed": self.failed,
            "mean_average_precision": self.mean,
            "mean_average_precision_of_clips": self.of_clips,
            "classes": [
                {"index": k, "label": name, "clips": int(count), "average_precision": float(found)}
                for k, (name, found, count) in enumerate(rows)
                if count
            ],
        }


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else 0.0


def truth_of_labels(
    clips: Sequence[Clip], labels: Sequence[str], classes: int
) -> dict[str, tuple[int, ...]]:
    """The classes of every clip by its path, none where a cell is empty.

    A cell holds numbers or names, with ; between them.

    Raises `UsageError` for a list without such a column, for a label that is no class of the model
    or stands there twice, and where no clip has any.

    >>> truth_of_labels([Clip("a.mp4", None, (("labels", "walk; 1"),))], ["walk", "run"], 2)
    {'a.mp4': (0, 1)}
    """
    found = {}
    for clip in clips:
        cells = dict(clip.cells)
        column = next((name for name in COLUMNS if name in cells), None)
        if column is None and clip.label is None:
            raise UsageError(
                f"{clip.path}: the list gives no labels; a column 'labels' is needed, with ; "
                "between them"
            )
        cell = cells[column] if column is not None else str(clip.label)
        told = _parts(cell, labels)
        numbers = tuple(class_of(clip.path, label, labels, classes) for label in told)
        twice = next((told[i] for i, k in enumerate(numbers) if k in numbers[:i]), None)
        if twice is not None:
            raise UsageError(f"{clip.path}: the label {twice!r} is given twice")
        found[clip.path] = numbers
    if not any(found.values()):
        raise UsageError("no clip of the list has a label: there is nothing to be found")
    return found


def _parts(cell: str | tuple[str, ...], labels: Sequence[str]) -> list[str]:
    if isinstance(cell, tuple):
        return list(cell)
    if cell in labels:
        return [cell]
    return [part.strip() for part in cell.split(";") if part.strip()]


def label_scores(
    found: Sequence[Outcome], true: Mapping[str, Sequence[int]], classes: int
) -> LabelScores:
    """Outcomes (with all classes each) beside the truth."""
    good = [outcome for outcome in found if outcome.result is not None]
    chances, rows = np.zeros((len(good), classes)), np.zeros((len(good), classes), bool)
    for row, outcome in enumerate(good):
        for each in (outcome.result or {})["predictions"]:
            chances[row, each["index"]] = each["probability"]
        rows[row, list(true[outcome.path])] = True
    return LabelScores(chances, rows, len(found) - len(good))


def lines_of_labels(made: LabelScores, names: Sequence[str], least: int) -> list[str]:
    """What people ask for first: the means, and the `least` classes that are found worst."""
    found, counts = made.of_classes, made.true.sum(0)
    known = [k for k in range(len(names)) if counts[k]]
    lines = [
        f"mAP    {made.mean:7.2%}  over {len(known)} classes that a clip has, of "
        f"{len(made.true)} clips",
        f"mAP    {made.of_clips:7.2%}  over the clips that have a label",
    ]
    for k in sorted(known, key=lambda k: found[k])[:least]:
        lines.append(f"  {found[k]:7.2%}  {counts[k]} clips  {printable(names[k])}")
    return lines


# Several heads


@dataclass(frozen=True)
class HeadScores:
    """How often each head is right, and how often all are: of a verb and a noun, the action."""

    heads: Mapping[str, Scores]
    all_right: int

    @property
    def count(self) -> int:
        """The clips that were recognised."""
        return next(iter(self.heads.values())).count

    @property
    def failed(self) -> int:
        """The clips that could not be read."""
        return next(iter(self.heads.values())).failed

    @property
    def action(self) -> float:
        """The share of clips of which the best class of every head is right."""
        return self.all_right / max(1, self.count)


def truth_of_heads(
    clips: Sequence[Clip], heads: Mapping[str, tuple[Sequence[str], int]]
) -> dict[str, dict[str, int]]:
    """The class of every clip for each head: its column is named as the head.

    ``heads`` are the labels and the number of classes of each. Raises `UsageError` for a list
    without such a column, and for a label that is no class of the head.

    >>> clip = Clip("a.mp4", None, (("verb", "open"), ("noun", "1")))
    >>> truth_of_heads([clip], {"verb": (["close", "open"], 2), "noun": ([], 3)})
    {'a.mp4': {'verb': 1, 'noun': 1}}
    """
    found: dict[str, dict[str, int]] = {}
    for clip in clips:
        cells = dict(clip.cells)
        own = found[clip.path] = {}
        for head, (labels, classes) in heads.items():
            cell = cells.get(head.lower(), "")
            if isinstance(cell, tuple) or not cell:
                raise UsageError(
                    f"{clip.path}: the list gives no {head}; one label in a column of each of "
                    f"{', '.join(heads)} is needed"
                )
            own[head] = class_of(clip.path, cell, labels, classes, head)
    return found


def head_scores(
    found: Sequence[Outcome], true: Mapping[str, Mapping[str, int]], classes: Mapping[str, int]
) -> HeadScores:
    """Outcomes of several heads beside the truth."""
    made = {}
    for head, count in classes.items():
        alone = [_of_head(outcome, head) for outcome in found]
        made[head] = scores(alone, {path: own[head] for path, own in true.items()}, count)
    right = sum(
        all(_of_head(outcome, head).result["predictions"][0]["index"] == k  # type: ignore[index]
            for head, k in true[outcome.path].items())
        for outcome in found if outcome.result is not None
    )  # fmt: skip
    return HeadScores(made, right)


def _of_head(outcome: Outcome, head: str) -> Outcome:
    """The outcome as one head has it."""
    tree = outcome.result
    own = None if tree is None else tree["heads"][head]
    return Outcome(outcome.path, outcome.stamp, own, outcome.error, outcome.code)
