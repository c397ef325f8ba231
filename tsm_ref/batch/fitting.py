"""Fits a linear head to features of labelled clips, and says how right it is on clips not seen."""

import importlib.util
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.batch.lists import Clip
from tsm_ref.batch.scores import Scores
from tsm_ref.errors import MissingDependency, UsageError
from tsm_ref.reference import softmax

__all__ = ["Examples", "Head", "check_classes", "classes_of_labels", "cross_validate", "fit"]

Array = NDArray[Any]

ITERATIONS = 10_000
LEAST = 2
"""The fewest clips of a class: one to learn from, and one to be asked about."""


@dataclass(frozen=True)
class Examples:
    """Features of V labelled clips, a row for each of the R windows of any clip.

    ``features`` are (R, D), ``clip`` (R,) says of which clip each row is, ``truth`` (V,) is the
    class of each clip.
    """

    features: NDArray[np.float64]
    clip: NDArray[np.int64]
    truth: NDArray[np.int64]

    def only(self, clips: Array) -> "Examples":
        """Those of some clips, by their places."""
        place = np.full(len(self.truth), -1)
        place[clips] = np.arange(len(clips))
        rows = place[self.clip] >= 0
        return Examples(self.features[rows], place[self.clip[rows]], self.truth[clips])


@dataclass(frozen=True)
class Head:
    """Logits are ``features @ weight.T + bias``: weight (K, D), bias (K,).

    >>> two = Examples(np.array([[-1.0], [3.0], [5.0]]), np.array([0, 1, 1]), np.array([0, 1]))
    >>> Head(np.array([[-0.5], [0.5]]), np.zeros(2)).clips(two, "logits").round(2)
    array([[0.73, 0.27],
           [0.02, 0.98]])
    """

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]

    def clips(self, examples: Examples, average: str) -> Array:
        """Probabilities (V, K) of every clip: of the mean of its rows' logits, or their mean."""
        rows = examples.features @ self.weight.T + self.bias
        if average == "probabilities":
            rows = softmax(rows)
        count = np.bincount(examples.clip, minlength=len(examples.truth))
        sums = np.zeros((len(count), rows.shape[1]))
        np.add.at(sums, examples.clip, rows)
        means: Array = sums / count[:, None]
        return means if average == "probabilities" else softmax(means)


def classes_of_labels(clips: Sequence[Clip], names: Sequence[str] = ()) -> tuple[str, ...]:
    """The classes of labelled clips: those of a list in its order, or the labels in order.

    A label is the name of a class, or its number in the list ``names``.

    Raises `UsageError` for a clip without a label or with one that is not in the list, for a class
    of the list without a clip, and for labels that differ in nothing but case and blanks.

    >>> classes_of_labels([Clip("a.mp4", "run"), Clip("b.mp4", "10"), Clip("c.mp4", "9")])
    ('9', '10', 'run')
    """
    found = set()
    for clip in clips:
        if clip.label is None:
            raise UsageError(f"{clip.path}: no label is given; one is needed per clip")
        found.add(_named(clip, names))
    alike: dict[str, str] = {}
    for label in sorted(found):
        if (other := alike.setdefault(" ".join(label.casefold().split()), label)) != label:
            raise UsageError(f"the labels {other!r} and {label!r} look like one: spell them alike")
    for name in names:
        if name not in found:
            raise UsageError(f"the class {name!r} has no clip: leave it out of the labels")
    numeric = [label for label in found if label.isdecimal()]
    rest = sorted(found.difference(numeric))
    return tuple(names) or (*sorted(numeric, key=int), *rest)


def _named(clip: Clip, names: Sequence[str]) -> str:
    label = clip.label or ""
    if not names or label in names:
        return label
    if label.isdecimal() and int(label) < len(names):
        return names[int(label)]
    raise UsageError(f"{clip.path}: the label {label!r} is none of the {len(names)} classes")


def truth_of(clips: Sequence[Clip], classes: Sequence[str], names: Sequence[str] = ()) -> Array:
    """The class (V,) of every clip, by its place among the classes."""
    index = {name: k for k, name in enumerate(classes)}
    return np.array([index[_named(clip, names)] for clip in clips], np.int64)


def check_classes(truth: Array, classes: Sequence[str], where: str = "") -> None:
    """Raise `UsageError` for fewer than two classes, and for a class with fewer than two clips."""
    if len(classes) < 2:
        raise UsageError(f"the only class is {classes[0]!r}: a head tells at least two apart")
    count = np.bincount(truth, minlength=len(classes))
    for name, clips in zip(classes, count.tolist(), strict=True):
        if clips < LEAST:
            raise UsageError(
                f"the class {name!r} has {clips} clip{'s' * (clips != 1)}{where}: at least "
                f"{LEAST} are needed, one to learn from and one to be asked about"
            )


def fit(examples: Examples, classes: int, penalty: float = 1.0) -> Head:
    """A multinomial logistic regression on standardised features, folded into one linear layer.

    Minimises the sum over clips of ``-log p(class)``, each clip's the mean over its rows, plus
    ``penalty / 2`` times the sum of the squared weights of standardised features.

    Raises `MissingDependency` without scikit-learn.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise MissingDependency("scikit-learn", "fit a head")
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    share = 1 / np.bincount(examples.clip)[examples.clip]
    mean = np.average(examples.features, axis=0, weights=share)
    spread = np.sqrt(np.average((examples.features - mean) ** 2, axis=0, weights=share))
    scale = np.where(spread > 1e-12 * (np.abs(mean) + 1e-30), spread, np.inf)  # what never changes
    made = LogisticRegression(C=1 / penalty, max_iter=ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            made.fit((examples.features - mean) / scale, examples.truth[examples.clip], share)
        except ConvergenceWarning:
            raise UsageError(
                f"the fit does not settle with --penalty {penalty:g}: a larger one is needed"
            ) from None
    weight, bias = made.coef_, made.intercept_
    if classes == 2:  # of two classes one difference is fitted
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    weight = weight / scale
    return Head(weight, bias - weight @ mean)


def folds_of(truth: Array, folds: int) -> int:
    """How many folds there can be: no more than the smallest class has clips."""
    return min(folds, int(np.bincount(truth).min()))


def cross_validate(
    examples: Examples,
    classes: int,
    *,
    folds: int = 5,
    penalty: float = 1.0,
    average: str = "logits",
    seed: int = 0,
) -> Scores:
    """How right heads are on clips that they have not seen: every clip is asked about once.

    The clips are dealt into folds, each class evenly; the rows of a clip stay together. For each
    fold a head is fitted to the others. No choice is made by these numbers, so they are fair.
    """
    from sklearn.model_selection import StratifiedKFold

    confusion, in_top5 = np.zeros((classes, classes), np.int64), 0
    dealt = StratifiedKFold(folds_of(examples.truth, folds), shuffle=True, random_state=seed)
    for others, asked in dealt.split(examples.truth, examples.truth):
        held = examples.only(asked)
        chances = fit(examples.only(others), classes, penalty).clips(held, average)
        order = np.argsort(-chances, axis=1, kind="stable")
        np.add.at(confusion, (held.truth, order[:, 0]), 1)
        in_top5 += int((order[:, :5] == held.truth[:, None]).any(1).sum())
    return Scores(confusion, in_top5, 0)
