"""Logits of single frames to one label that does not flicker.

The rules are those of MIT's online demo (Lin, Gan, Han 2019, section 5.3): logits are summed over a
window, some classes never show, one class means that nothing happens, and a label stays a while.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.errors import UsageError
from tsm_ref.reference import sigmoid, softmax

__all__ = ["UNSURE", "Smoother"]

Array = NDArray[Any]

NONE_YET, UNSURE = -1, -2
"""What `label` is before the first frame, and where no class is probable enough."""


@dataclass
class Smoother:
    """Turns logits (K,) of frame after frame into the index of a label.

    Each step, in this order:

    1. the candidate is the largest mean of the last `window` logits, or `UNSURE` where its
       probability is below `sure`;
    2. a class of `masked` never shows: the label stays what it was;
    3. a class of `merged` shows as the class that it is merged into;
    4. a candidate that is not the label must come `persist` steps in a row to become it;
    5. a label that has not stood for `dwell` steps stays.

    `no_event` is the class that means that nothing happens: `event` is False while it is the label.
    The first label needs neither `persist` nor `dwell`; until a class that is not masked comes,
    the label is `no_event`, or the largest of the classes that are not masked. Classes that are
    `independent` have a probability each on its own, a sigmoid.

    Raises `UsageError` for a number below 1.

    >>> smoother = Smoother(window=1, dwell=2, no_event=0)
    >>> [smoother.update(np.eye(3)[k]) for k in (0, 1, 0, 0, 2, 2)]
    [0, 0, 0, 0, 2, 2]
    """

    window: int = 12
    dwell: int = 1
    persist: int = 1
    masked: Collection[int] = ()
    merged: Mapping[int, int] = field(default_factory=dict)
    no_event: int | None = None
    independent: bool = False
    sure: float = 0.0

    def __post_init__(self) -> None:
        for name in ("window", "dwell", "persist"):
            if getattr(self, name) < 1:
                raise UsageError(f"`{name}` (={getattr(self, name)}) must be at least 1 step")
        self.reset()

    def reset(self) -> None:
        """Forget all frames."""
        self._logits: list[Array] = []
        self._means = np.zeros(0)
        self.label = NONE_YET
        self._stood = 0  # steps for which the label has stood
        self._candidate, self._seen = -1, 0  # the newest candidate, and how often in a row

    def means_with(self, logits: Array) -> Array:
        """What the means will be with the logits (K,) of the next frame."""
        return np.asarray(np.mean(self._window_with(logits), axis=0))

    def update(self, logits: Array, *, alone: bool = False) -> int:
        """Take the logits (K,) of the next frame; returns the index of the label.

        With ``alone`` the frames before have no say in this step.
        """
        self._logits = self._window_with(logits)
        self._means = self._logits[-1] if alone else np.mean(self._logits, axis=0)
        candidate = self._chosen()
        self._seen = self._seen + 1 if candidate == self._candidate else 1
        self._candidate = candidate
        if self.label == NONE_YET or self._may_change(candidate):
            self.label, self._stood = candidate, 1
        else:
            self._stood += 1
        return self.label

    @property
    def probabilities(self) -> Array:
        """Probabilities (K,) of the mean logits of the window."""
        return np.asarray(sigmoid(self._means) if self.independent else softmax(self._means, 0))

    @property
    def event(self) -> bool:
        """True while the label means that something happens."""
        return self.label >= 0 and self.label != self.no_event

    @property
    def state(self) -> dict[str, Array]:
        """All that is remembered, as arrays."""
        numbers = [self.label, self._stood, self._candidate, self._seen]
        logits = np.array(self._logits) if self._logits else np.zeros((0, 0))
        return {"numbers": np.array(numbers, np.int64), "logits": logits}

    @state.setter
    def state(self, values: Mapping[str, Array]) -> None:
        self.label, self._stood, self._candidate, self._seen = values["numbers"].tolist()
        self._logits = [row.copy() for row in values["logits"]]
        self._means = np.mean(self._logits, axis=0) if self._logits else np.zeros(0)

    def _window_with(self, logits: Array) -> list[Array]:
        return [*self._logits, np.array(logits, np.float64)][-self.window :]

    def _chosen(self) -> int:
        means = self._means.copy()
        index = int(means.argmax())
        if not self.independent and self.probabilities[index] < self.sure:
            return UNSURE
        if index in self.masked:
            if self.label >= 0:
                return self.label
            if self.no_event is not None:
                return self.no_event
            means[list(self.masked)] = -np.inf
            index = int(means.argmax())
        return self.merged.get(index, index)

    def _may_change(self, candidate: int) -> bool:
        return candidate != self.label and self._seen >= self.persist and self._stood >= self.dwell


ONLINE_DEMO: Mapping[str, Any] = {
    "window": 12,
    "dwell": 2,
    "masked": (3, 7, 8, 21, 22),
    "merged": {0: 2},
    "no_event": 2,
}
"""The parameters of the demo for the 27 gestures of Jester: 0 is "Doing other things", 2 "No
gesture". It looks at every second frame."""
