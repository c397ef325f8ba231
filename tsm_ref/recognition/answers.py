"""What is said of a video: for each head of the network its best classes, labels and timeline."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.errors import CheckpointError
from tsm_ref.model import Model
from tsm_ref.profile import Profile
from tsm_ref.recognition.windows import UNSURE, Segment, timeline
from tsm_ref.reference import sigmoid, softmax
from tsm_ref.video import Windows

__all__ = ["Answer", "Heads", "Prediction"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Prediction:
    """One class: ``rank`` from 1, ``index`` from 0; ``logit`` is the mean over all views."""

    rank: int
    label: str
    index: int
    probability: float
    logit: float


@dataclass(frozen=True)
class Answer:
    """What one head says of a video; ``probabilities`` are (clips, K).

    ``labels`` are what is said of the whole: the best class, or of a head of several labels all
    from the threshold on, which may be none. It is "unsure" where the best class is less probable
    than the profile asks, and no stretch of the timeline bears its name.
    """

    predictions: tuple[Prediction, ...]
    labels: tuple[str, ...]
    probabilities: NDArray[np.float64]
    segments: tuple[Segment, ...]


class Heads:
    """The heads of a model: their logits side by side (V, K1 + K2 + ...), and what they mean."""

    def __init__(self, model: Model, profile: Profile) -> None:
        self._model, self._profile = model, profile
        self._widths: dict[str, int] = {}

    def logits(self, clip: Array) -> Array:
        """The logits (N, K) of preprocessed clips, those of all heads side by side.

        Raises `CheckpointError` for a model that gives anything else.
        """
        found = self._model.head_logits(clip)
        for logits in found.values():
            name = f"the model {self._model.name!r}"
            if logits.ndim != 2:
                raise CheckpointError(
                    f"{name} does not label clips: it gives values of the shape {logits.shape[1:]}"
                )
            if not np.isfinite(logits).all():
                raise CheckpointError(f"{name} gives values that are not finite")
        self._widths = {name: logits.shape[1] for name, logits in found.items()}
        return np.concatenate(list(found.values()), 1)

    def chances(self, logits: Array) -> Array:
        """Probabilities (K,) of the logits (V, K) of some views, averaged as the profile says."""
        return np.concatenate(
            [self._chances(head, logits[:, part]) for head, part in self._parts().items()]
        )

    def first(self, chances: Array) -> Array:
        """The probabilities of the first head alone."""
        return chances[: next(iter(self._widths.values()))]

    def answers(
        self,
        logits: Array,
        clips: Sequence[Array],
        windows: Windows | None,
        top: int,
    ) -> dict[str, Answer]:
        """What every head says: of all views (V, K), and of the probabilities (K,) of each clip."""
        whole = self.chances(logits)
        found = {}
        for head, part in self._parts().items():
            of_clips = np.stack([chances[part] for chances in clips])
            label_of = self._label_of(head)
            least = self._profile.threshold if self._independent(head) else None
            sure = self._sure(head)
            segments: tuple[Segment, ...] = ()
            if windows is not None:
                segments = timeline(windows, list(of_clips), label_of, least, sure)
            ranked = _ranked(logits[:, part], whole[part], label_of)
            named = ranked[0].label in (segment.label for segment in segments)
            found[head] = Answer(
                predictions=ranked[:top],
                labels=_said(ranked, least, 0.0 if named else sure),
                probabilities=of_clips,
                segments=segments,
            )
        return found

    def _parts(self) -> Mapping[str, slice]:
        """The columns of every head."""
        ends = np.cumsum(list(self._widths.values())).tolist()
        return {
            name: slice(end - width, end)
            for (name, width), end in zip(self._widths.items(), ends, strict=True)
        }

    def _chances(self, head: str, logits: Array) -> Array:
        squash = sigmoid if self._independent(head) else softmax
        exact = logits.astype(np.float64)
        if self._profile.average == "probabilities":
            return np.asarray(squash(exact).mean(0))
        return np.asarray(squash(exact.mean(0, keepdims=True))[0])

    def _independent(self, head: str) -> bool:
        return self._profile.multi_label or self._model.independent(head)

    def _sure(self, head: str) -> float:
        """The probability from which on the best class of a head is said."""
        return 0.0 if dict(self._profile.heads).get(head) else self._profile.sure

    def _label_of(self, head: str) -> Callable[[int], str]:
        profile = self._model.profile
        return lambda index: profile.label_of(index, head)


def _ranked(
    logits: Array, probabilities: Array, label_of: Callable[[int], str]
) -> tuple[Prediction, ...]:
    """All classes of all views (V, K), the most probable first, ties by index."""
    means = logits.mean(0, dtype=np.float64)
    order = np.argsort(-probabilities, kind="stable").tolist()
    return tuple(
        Prediction(rank, label_of(k), k, float(probabilities[k]), float(means[k]))
        for rank, k in enumerate(order, 1)
    )


def _said(ranked: Sequence[Prediction], least: float | None, sure: float) -> tuple[str, ...]:
    """The labels that are said: the best one where it is sure, or all from a probability on."""
    if least is None:
        return (ranked[0].label if ranked[0].probability >= sure else UNSURE,)
    return tuple(each.label for each in ranked if each.probability >= least)
