"""Two networks of one video, of pictures and of optical flow: their scores apart and joined."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.errors import UsageError
from tsm_ref.model import Model, fused_scores
from tsm_ref.profile import Profile
from tsm_ref.recognition.answers import Answer, Prediction
from tsm_ref.recognition.inputs import check_classifies, sees_flow
from tsm_ref.recognition.recognize import Recognition, recognize
from tsm_ref.reference import softmax

__all__ = ["check_streams", "recognize_streams"]

Array = NDArray[Any]
ALL = 1 << 30  # classes: as many as there are


def check_streams(
    models: Sequence[Model], profiles: Sequence[Profile], weights: Sequence[float]
) -> None:
    """Raise `UsageError` for two models, pictures first, whose scores cannot be joined."""
    pictures, flow = models
    for model, profile in zip(models, profiles, strict=True):
        check_classifies(model)
        if profile.multi_label or len(model.graph.outputs) > 1 or model.independent():
            raise UsageError(
                f"two streams are of one label for a clip, and the model {model.name!r} says more"
            )
        if profile.sampling.policy == "windows":
            raise UsageError("two streams are joined for whole clips, not for windows")
    if sees_flow(pictures) or not sees_flow(flow):
        wrong, sees = (pictures, "flow") if sees_flow(pictures) else (flow, "colours")
        raise UsageError(
            f"the model {wrong.name!r} sees {sees}: the first of two streams sees pictures, the "
            "second optical flow"
        )
    if pictures.labels and flow.labels and pictures.labels != flow.labels:
        raise UsageError(
            f"the models {pictures.name!r} and {flow.name!r} have different labels: what they say "
            "cannot be joined"
        )
    policies = [profile.sampling.policy for profile in profiles]
    if policies[0] != policies[1]:
        raise UsageError(
            f"one model samples {policies[0]} and the other {policies[1]}: `policy` says one rule "
            "for both"
        )
    if len(weights) != 2 or not all(0 < weight < 1e6 for weight in weights):
        raise UsageError(f"`fusion` (={weights}) must be two weights above 0, of pictures and flow")


def recognize_streams(
    models: Sequence[Model],
    path: str | PathLike[str] | Array,
    *,
    profiles: Sequence[Profile] | None = None,
    weights: Sequence[float] = (1.0, 1.0),
    top: int = 5,
    flow: str | None = None,
    fps: float | None = None,
    allow_partial: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Recognition:
    """Label a video by a model of pictures and one of optical flow, in this order.

    The logits of both, each the mean over its clips and crops, are joined by their weighted mean
    (`tsm_ref.model.fused_scores`), as MIT's ``test_models.py`` does, 1 to 1 unless told otherwise;
    their probabilities, where the first profile averages those. The frames that are told are those
    of the pictures; ``streams`` of the result has what each model says.

    Raises as `tsm_ref.recognition.recognize`, and `UsageError` for models that do not fit together.
    """
    profiles = [model.profile for model in models] if profiles is None else profiles
    check_streams(models, profiles, weights)
    limits: dict[str, Any] = {"top": ALL, "fps": fps, "allow_partial": allow_partial}
    seen = []
    for model, profile, way in zip(models, profiles, (None, flow), strict=True):
        seen.append(recognize(model, path, profile=profile, flow=way, progress=progress, **limits))
    first, second = seen
    (head,), (other,) = first.heads, second.heads
    answers = [first.heads[head], second.heads[other]]
    joined = _joined(answers, weights, profiles[0].average)
    apart = {
        name: (float(weight), _told(each, top))
        for name, weight, each in zip(("pictures", "flow"), weights, seen, strict=True)
    }
    return replace(
        first,
        heads={head: replace(joined, predictions=joined.predictions[:top])},
        streams=apart,
        warnings=tuple(dict.fromkeys(first.warnings + second.warnings)),
        timing={stage: first.timing[stage] + second.timing[stage] for stage in first.timing},
        frames_decoded=first.frames_decoded + second.frames_decoded,
    )


def _told(seen: Recognition, top: int) -> Recognition:
    heads = {
        name: replace(each, predictions=each.predictions[:top]) for name, each in seen.heads.items()
    }
    return replace(seen, heads=heads)


def _joined(answers: Sequence[Answer], weights: Sequence[float], average: str) -> Answer:
    """One answer of those of two models, which have all their classes."""
    counts = [len(answer.predictions) for answer in answers]
    if counts[0] != counts[1]:
        raise UsageError(f"one model has {counts[0]} classes and the other {counts[1]}")
    ordered = [sorted(answer.predictions, key=lambda p: p.index) for answer in answers]
    clips = [answer.probabilities for answer in answers]
    if average == "probabilities":
        shares = [np.array([p.probability for p in each]) for each in ordered]
        chances = fused_scores(shares, weights) * len(weights) / sum(weights)
        logits = np.log(np.maximum(chances, np.finfo(float).tiny))
        rows = fused_scores(clips, weights) * len(weights) / sum(weights)
    else:
        logits = fused_scores([np.array([p.logit for p in each]) for each in ordered], weights)
        chances = softmax(logits[None])[0]
        # A logit is the logarithm of its probability, but for a number that all classes share.
        logs = [np.log(np.maximum(each, np.finfo(float).tiny)) for each in clips]
        rows = softmax(fused_scores(logs, weights))
    named = ordered[0] if any(p.label != f"class {p.index}" for p in ordered[0]) else ordered[1]
    best = np.argsort(-chances, kind="stable").tolist()
    predictions = tuple(
        Prediction(rank, named[k].label, k, float(chances[k]), float(logits[k]))
        for rank, k in enumerate(best, 1)
    )
    return Answer(predictions, (predictions[0].label,), rows, ())
