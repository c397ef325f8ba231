"""The reference, frame by frame: the same network with a memory in front of every shift."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from conformance.questions.arrays import Array

SUBJECTS = {"network": "frame_logits"}
"""The operation that a subject stands for, where that has another name."""


class ReferenceStream:
    """A causal network or shift that is given a few frames at a time.

    Before every shift the stream keeps the last frames of the shift's *own input*; a chunk is put
    behind them, shifted, and only what belongs to the chunk is kept. A mutant replaces one method.
    """

    def __init__(
        self,
        owner: Any,
        subject: str,
        weights: Mapping[str, Array] | None = None,
        **attributes: Any,
    ) -> None:
        self.model = type(owner)(owner.conventions.streaming)
        self.shift_whole = self.model.shift_by
        self.model.shift_by = self.cached_shift
        self.subject, self.weights, self.attributes = subject, weights, attributes
        self.caches: dict[int, Array] = {}
        self.site = 0

    def step(self, chunk: Array) -> Array:
        """What the network gives for the frames of a chunk (N, C, t, H, W)."""
        self.site = 0
        run = getattr(self.model, SUBJECTS.get(self.subject, self.subject))
        weights = {} if self.weights is None else {"weights": self.weights}
        result: Array = run(chunk, **weights, **self.attributes)
        return result

    def cached_shift(self, x: Array, d: Array, fill: str) -> Array:
        """The shift of a chunk that follows what the cache of this place holds."""
        depth = int(d.max(initial=0))
        if not depth:
            return x
        cache = self.caches.get(self.site)
        if cache is None:
            cache = self.empty(x, depth)
        window = np.concatenate([cache, x], axis=2)
        out = self.shift_whole(window, d, "zero")[:, :, depth:]
        self.caches[self.site] = self.kept(window, out, depth)
        self.site += 1
        return np.ascontiguousarray(out)

    def empty(self, x: Array, depth: int) -> Array:
        """The cache before the first frame: zeros."""
        return np.zeros((*x.shape[:2], depth, *x.shape[3:]), x.dtype)

    def kept(self, window: Array, out: Array, depth: int) -> Array:
        """What the next chunk will need: the last frames before the shift."""
        return window[:, :, -depth:].copy()

    def reset(self) -> None:
        """Forget everything."""
        self.caches = {}

    @property
    def state(self) -> Any:
        """A copy of all caches."""
        return {site: cache.copy() for site, cache in self.caches.items()}

    @state.setter
    def state(self, saved: Any) -> None:
        self.caches = {site: cache.copy() for site, cache in saved.items()}
