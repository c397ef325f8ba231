"""Logits out of whatever a network gives, and the other way round."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.reference import log_softmax, sigmoid, softmax

__all__ = ["SQUASHED", "logits_of"]

Array = NDArray[Any]

SQUASHED: Mapping[str, Callable[[Array], Array]] = {
    "Softmax": softmax,
    "LogSoftmax": log_softmax,
    "Sigmoid": sigmoid,
}
"""What the last op of a network makes of logits (N, K)."""


def logits_of(scores: Array, kind: str) -> Array:
    """Logits (N, K) that give these scores, whose kind is one of `tsm_ref.graph.Graph.scores`.

    Those of probabilities are their logarithms: another constant added to all would do as well.

    >>> logits_of(np.array([[0.5, 0.5]], np.float32), "probabilities").round(2)
    array([[-0.69, -0.69]], dtype=float32)
    """
    if kind in ("logits", "log-probabilities"):
        return scores
    least = np.finfo(scores.dtype).tiny
    positive: Array = np.log(np.maximum(scores, least))
    if kind == "probabilities":
        return positive
    return np.asarray(positive - np.log(np.maximum(1 - scores, least)))
