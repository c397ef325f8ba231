"""Early recognition: what a model says after each part of a clip (Lin, Gan, Han 2019, figure 5)."""

from dataclasses import dataclass

import numpy as np

from tsm_ref.errors import UsageError
from tsm_ref.live.loop import Live
from tsm_ref.live.sources import Pace
from tsm_ref.model import Model
from tsm_ref.video import FrameSource

__all__ = ["Early", "early"]


@dataclass(frozen=True)
class Early:
    """What the mean of the logits so far says, after `fraction` of the clip's frames."""

    fraction: float
    frames: int
    time: float
    index: int
    label: str
    probability: float


def early(model: Model, source: FrameSource, *, pace: Pace | None = None) -> list[Early]:
    """The answer after each frame that is taken, from the first to the consensus of the clip.

    Only a model that does not look ahead can answer early: raises `UsageError` for another.
    """
    live = Live(model, pace=pace)
    if live.stream.delay:
        raise UsageError(
            f"the model {model.name!r} looks {live.stream.delay} frames ahead, so it cannot answer "
            "early: use a causal one"
        )
    found = []
    for update in live.run(source):
        logits = np.asarray(live.stream.mean)[0].astype(np.float64)
        chances = model.probabilities(logits)
        best = int(chances.argmax())
        found.append((update.time, best, float(chances[best])))
    return [
        Early((k + 1) / len(found), k + 1, time, best, model.profile.label_of(best), chance)
        for k, (time, best, chance) in enumerate(found)
    ]
