"""The pulse of frames as they come: segment by segment, over a window of the last seconds."""

from collections import deque
from collections.abc import Iterator

import numpy as np

from tsm_ref.model import Model
from tsm_ref.pulse.frames import Track
from tsm_ref.pulse.measure import STRIDE, WINDOW, Watched, check_windows, run_segments
from tsm_ref.pulse.recipes import Statistics, depth_of, recipe_for, size_of
from tsm_ref.pulse.regions import Region
from tsm_ref.pulse.waves import BANDS, Estimate, check_scipy, estimate, wave_of
from tsm_ref.video import Frame

__all__ = ["LivePulse"]


class LivePulse:
    """Estimates of the pulse of frames that come one at a time: iterate over `run`.

    The networks look ahead within a segment of the shift's depth, so a stream is run in whole
    segments, each of them as soon as the frame behind it has come: a wave is late by one segment,
    0.33 s at a depth of 10. What a file is standardised over as a whole, is the last `window`
    seconds here, and so is what is filtered. There is an estimate every `stride` seconds once a
    window is full. Frames are mixed to the rate of the training; memory is that of a segment.

    Arguments as those of `tsm_ref.pulse.measure.measure`, and the same errors.
    """

    def __init__(
        self,
        model: Model,
        *,
        region: Region | str | None = None,
        face_model: str | None = None,
        recipe: str | None = None,
        window: float = WINDOW,
        stride: float = STRIDE,
    ) -> None:
        check_scipy()
        self.recipe, self.chosen = recipe_for(model, recipe)
        check_windows(window, stride)
        given = Region.parse(region) if isinstance(region, str) else region
        self.watched = Watched(size_of(model.graph), given, face_model)
        self.depth = depth_of(model)
        self._model = model
        self._window = round(window * self.recipe.rate)
        self._stride = max(1, round(stride * self.recipe.rate))
        self._track = Track(self.recipe.rate)
        self._done = 0  # even frames that the network has seen
        self._told = 0  # those at the last estimate
        self._changes = np.zeros(0, np.float32)  # of the last window
        self._parts: deque[Statistics] = deque(maxlen=-(-self._window // self.depth))

    def run(self, frames: Iterator[Frame]) -> Iterator[Estimate]:
        """An estimate for every `stride` seconds of the frames."""
        for time, frame in self.watched(frames):
            self._track.append(time, frame)
            while len(self._track) > self._done + self.depth:
                self._segment()
                if self._done >= self._window and self._done - self._told >= self._stride:
                    self._told = self._done
                    yield self._estimate()

    def _segment(self) -> None:
        begin, end = self._done, self._done + self.depth
        taken = np.maximum(self._track.take(begin, end + 1), np.float32(self.recipe.floor))
        part = Statistics()
        part.add(taken[:-1], taken[-1])
        self._parts.append(part)
        known = Statistics.over(self._parts)
        found = run_segments(self._model, self.recipe, self._track, begin, end, known, self.depth)
        self._changes = np.concatenate([self._changes, found["pulse"]])[-self._window :]
        self._done = end
        self._track.drop(end)

    def _estimate(self) -> Estimate:
        rate = self.recipe.rate
        start = self._track.start + (self._done - len(self._changes)) / rate
        wave = wave_of(self._changes, rate, BANDS["pulse"])
        return estimate(wave, rate, BANDS["pulse"], start)
