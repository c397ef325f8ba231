"""Which frames decided: each is hidden in turn, and the answer asked for again.

Zeiler and Fergus (2014) slide a grey square over a picture; here the square is a whole frame of the
mean colour, which is zero after the normalisation.
"""

from dataclasses import dataclass
from os import PathLike

import numpy as np
from numpy.typing import NDArray

from tsm_ref.model import Model
from tsm_ref.profile import Profile
from tsm_ref.recognition import recognize
from tsm_ref.video import normalize, read_frames, resize_and_crop

__all__ = ["Hidden", "occlusion"]


@dataclass(frozen=True)
class Hidden:
    """A frame that was hidden: its index, its second, and the probability of the label without it.

    ``loss`` is how much the probability fell; less than 0 where the frame spoke against the label.
    """

    index: int
    time: float
    probability: float
    loss: float


def occlusion(
    model: Model, path: str | PathLike[str], *, profile: Profile | None = None
) -> tuple[str, float, tuple[Hidden, ...]]:
    """The label of a clip, its probability, and that with each frame hidden, in order of time.

    Looks at the one clip or window in which the label of the whole is surest, in its first crop.
    Raises as `tsm_ref.recognition.recognize`.

    >>> from tsm_ref.checkpoint import weights_folder
    >>> from tsm_ref.model import load
    >>> clip = weights_folder() / "samples" / "pan_left.mp4"
    >>> label, _, frames = occlusion(load("camera-motion", engine="numpy"), clip)
    >>> label, len(frames)
    ('pan left', 8)
    """
    whole = recognize(model, path, profile=profile, top=1)
    spec, best = whole.profile.preprocess, whole.predictions[0]
    row = int(whole.probabilities[:, best.index].argmax())
    indices, times = whole.indices[row], whole.times[row]
    got = read_frames(path, indices, convert=lambda frame: resize_and_crop(frame, spec))
    clip = normalize(got.pixels, spec)[:1]

    def chance(frames: NDArray[np.float32]) -> float:
        logits = model.logits(frames).astype(np.float64)
        return float(model.probabilities(logits)[0, best.index])

    seen = chance(clip)
    found = []
    for t, (index, time) in enumerate(zip(indices, times, strict=True)):
        hidden = clip.copy()
        hidden[:, :, t] = 0
        without = chance(hidden)
        found.append(Hidden(int(index), float(time), without, seen - without))
    return best.label, seen, tuple(found)
