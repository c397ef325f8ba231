"""Logits out of whatever a network gives, the other way round, and those of several networks."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.errors import UsageError
from tsm_ref.reference import log_softmax, sigmoid, softmax

__all__ = ["SQUASHED", "fused_scores", "logits_of"]

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


def fused_scores(
    logits: Sequence[Array], weights: Sequence[float] | None = None, *, softmax_first: bool = False
) -> Array:
    """The weighted mean of the logits (N, K) of several networks: of pictures and of flow, say.

    ``weights`` are one for each network, all 1 where none are given. ``softmax_first`` takes the
    mean of probabilities instead. Source: MIT's ``test_models.py``; two streams are those of
    Simonyan, Zisserman 2014.

    Raises `UsageError` for no network, other shapes, and weights that are not one for each.

    >>> fused_scores([np.array([[1.0, 0.0]]), np.array([[0.0, 3.0]])], [1, 2]).tolist()
    [[0.5, 3.0]]
    """
    given = [np.asarray(scores) for scores in logits]
    factors = [1.0] * len(given) if weights is None else list(weights)
    if not given or any(scores.shape != given[0].shape for scores in given):
        shapes = ", ".join(str(scores.shape) for scores in given) or "none"
        raise UsageError(f"the scores of all networks must have one shape; they have {shapes}")
    if len(factors) != len(given):
        raise UsageError(f"{len(given)} networks need as many weights, not {len(factors)}")
    if softmax_first:
        given = [softmax(scores) for scores in given]
    weighted = [scores * factor for scores, factor in zip(given, factors, strict=True)]
    return np.asarray(np.mean(weighted, axis=0))
