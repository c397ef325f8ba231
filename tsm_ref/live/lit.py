"""The frames behind an update of a stream, by which a move that only the light feigns is told."""

from collections import deque

import numpy as np
from numpy.typing import NDArray

from tsm_ref.model import Model
from tsm_ref.recognition import light
from tsm_ref.recognition.recognize import names_motions
from tsm_ref.video import normalize

__all__ = ["Lit"]


class Lit:
    """The last frames (h, w, 3) of a stream that names motions, as its network sees them.

    A stream is held to what a file is held to (`tsm_ref.recognition.light`): where a move leads and
    the light changes in the last T frames, T the segments of the profile, or nothing can be seen in
    them, or they have black bars, these are asked again. It costs little while the light is even.

    >>> from tsm_ref.model import load
    >>> lit = Lit(load("camera-motion", engine="numpy"), delay=0)
    >>> lit.take(np.zeros((1, 64, 64, 3), np.uint8))
    >>> float(np.ptp(lit.judged(np.eye(len(lit.model.labels))[1], coming=0)[0]))
    0.0
    """

    def __init__(self, model: Model, delay: int) -> None:
        self.model, self._profile = model, model.profile
        height, width = self._profile.preprocess.frame_size
        self._rest = self._profile.no_event_index if names_motions(model) else None
        kept = self._profile.sampling.segments + delay if self._rest is not None and height else 0
        self._shape = (kept, 1, height, width, 3)
        self._frames: deque[NDArray[np.uint8]] = deque(maxlen=kept)

    def take(self, views: NDArray[np.uint8]) -> None:
        """The next frame (1, h, w, 3)."""
        self._frames.append(views)

    def forget(self) -> None:
        """Begin with another source."""
        self._frames.clear()

    def judged(
        self, means: NDArray[np.float64], coming: int
    ) -> tuple[NDArray[np.float64] | None, str | None]:
        """Logits (K,) that hold instead of the means, if any do, and what was noticed.

        `coming` frames are not spoken of yet, but were seen. One picture alone shows no motion: it
        is asked as if it had stood for T frames, and not behind nothing, as a stream begins.
        """
        known = list(self._frames)[: len(self._frames) - coming]
        if not known:
            return None, None
        alone = len(self._frames) == 1
        known = [known[0]] * (2 - len(known)) + known[-self._profile.sampling.segments :]
        said = None if alone else means[None]
        rest, aimless = self._rest, self._profile.aimless_indices
        found, note = light.judged(np.stack(known), self._asked, rest, aimless, said)
        return (found[0] if alone or note else None), note

    def _asked(self, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Logits (1, K) of up to T frames; the first one stands for those before a stream."""
        before = pixels[:1].repeat(self._profile.sampling.segments - len(pixels), 0)
        clip = normalize(np.concatenate([before, pixels]), self._profile.preprocess)
        return np.asarray(self.model(clip), np.float64)

    @property
    def state(self) -> dict[str, NDArray[np.uint8] | NDArray[np.int64]]:
        """The frames, and how many there are, as arrays of fixed shapes."""
        frames = np.zeros(self._shape, np.uint8)
        frames[: len(self._frames)] = list(self._frames) or frames[:0]
        return {"lit.frames": frames, "lit.count": np.array([len(self._frames)], np.int64)}

    def begin_from(self, frames: NDArray[np.uint8], count: int) -> None:
        """Go on from the arrays of `state`."""
        self._frames = deque(list(frames[:count]), maxlen=self._shape[0])
