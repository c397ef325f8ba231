"""The live loop: a source, a stream, a smoother; one update for each frame that was understood."""

import time as clock
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.checkpoint.hdf5.stream_state import load_state, save_state
from tsm_ref.errors import UsageError
from tsm_ref.live.lit import Lit
from tsm_ref.live.smoothing import UNSURE, Smoother
from tsm_ref.live.sources import Inbox, Pace
from tsm_ref.model import Model
from tsm_ref.recognition.windows import UNSURE as UNSURE_LABEL
from tsm_ref.system import memory
from tsm_ref.video import Frame, FrameSource, normalize, resize_and_crop

__all__ = ["Live", "Update"]

Array = NDArray[Any]

MOST_SMOOTHED = 1 << 26
"""Bytes of logits that a smoother may keep: they are averaged, and saved, again and again."""


@dataclass(frozen=True)
class Update:
    """What is known about a frame: `frame` is its index in the source, `time` its second.

    `top` are the best classes (index, label, probability) of the smoothed logits, `label` the
    smoothed label, or "unsure" where no class is as probable as the profile asks (then `index` is
    the most probable one), `event` False where it is that or the class of no event, `changed` True
    where the label is another one than before. `latency` are the seconds from the frame that
    completed this update to the update; None for those that came when the source had ended.
    `dropped` counts so far. `labels` are those of a multi-label model that hold now, the most
    probable first; of it `event` is False where there is none, and `changed` True where they are
    others than before.
    """

    frame: int
    time: float
    top: tuple[tuple[int, str, float], ...]
    index: int
    label: str
    event: bool
    changed: bool
    latency: float | None
    dropped: int
    labels: tuple[str, ...] | None = None


class Live:
    """Runs a model over a source of frames, and can stop and go on: iterate over `run`.

    ``pace`` says which frames are taken; those of a live source (`Inbox`) that come too fast are
    dropped there, all others wait. `state` holds everything, so a run that is stopped and one that
    goes on from its state give the same updates as a run that was never stopped.

    Raises `NotStreamable`, and `UsageError` for a model of several inputs or without logits and for
    a smoother that names a class which the model does not have, or masks all of them.
    """

    def __init__(
        self,
        model: Model,
        *,
        smoother: Smoother | None = None,
        pace: Pace | None = None,
        top: int = 5,
        lookahead: str | None = None,
    ) -> None:
        if len(model.graph.inputs) != 1 or model.graph.frame_logits is None:
            raise UsageError(f"the model {model.name!r} gives no labels for frames")
        if len(model.graph.outputs) > 1:
            heads = ", ".join(model.graph.outputs)
            raise UsageError(
                f"the model {model.name!r} has several heads ({heads}): one is followed at a time; "
                "model.stream() gives all of them"
            )
        self.model, self.top = model, top
        self.smoother = smoother or Smoother(window=model.profile.sampling.segments)
        self.smoother.independent, self.smoother.sure = model.independent(), model.profile.sure
        self._holding: tuple[str, ...] = ()  # the labels of a multi-label model
        self._check_classes()
        memory.check(
            8 * self.smoother.window * self._classes(),
            f"smoothing over {self.smoother.window} frames",
            most=MOST_SMOOTHED,
            error=UsageError,
        )
        self.pace = pace or default_pace(model)
        self.stream = model.stream(lookahead=lookahead)
        self._lit = Lit(model, self.stream.delay)
        self.notes: Counter[str] = Counter()  # what was noticed of the light, and how often
        self.next_frame = 0  # the first frame of the source that was not looked at
        self.idle = False  # True while a frame is waited for: then the state is whole
        self._waiting: deque[tuple[int, float]] = deque()  # frames whose outputs are to come

    def run(self, source: FrameSource) -> Iterator[Update]:
        """The updates of a source to its end, the late ones of a model that looks ahead too.

        There are none where the state says that the source has been followed to its end already.
        """
        if self.stream.ended.any():
            return
        dropped = source if isinstance(source, Inbox) else None
        for frame in self._awaited(source):
            if frame.index < self.next_frame:  # seen before the state was saved
                continue
            self.next_frame = frame.index + 1
            if dropped is None and not self.pace.takes(frame.index, frame.time):
                continue
            begin = clock.perf_counter()
            self._waiting.append((frame.index, frame.time))
            logits = self.stream.step(self._prepared(frame))
            if logits is not None:
                yield self._update(np.asarray(logits)[0], begin, dropped)
        ended = self.stream.copy()  # takes over when all is told: a state saved before goes on
        tail = ended.flush()
        if tail is not None:
            late = np.asarray(tail)[0]
            for logits in late[len(late) - len(self._waiting) :]:
                yield self._update(logits, None, dropped)
        self.stream = ended

    def _awaited(self, source: FrameSource) -> Iterator[Frame]:
        """The frames of a source, and `idle` while each is waited for."""
        found = iter(source)
        while True:
            self.idle = True
            try:
                frame = next(found, None)
            finally:
                self.idle = False
            if frame is None:
                return
            yield frame

    def begin_source(self) -> None:
        """Take the next source from its beginning: it is not the one that the state has seen."""
        self.next_frame = 0
        self.pace.state = Pace().state
        if self.stream.ended.any():
            self.stream.reset()
            self._lit.forget()

    def save(self, path: str | PathLike[str]) -> None:
        """Write the whole state to a file; raises `WriteError`."""
        save_state(path, self.state, self.stream.digest)

    def load(self, path: str | PathLike[str]) -> None:
        """Go on from a file; raises `CheckpointError` for one that does not fit."""
        self.state = load_state(path, self.state, self.stream.digest)

    @property
    def state(self) -> dict[str, Array]:
        """The state of the stream, the smoother and the pace, as arrays of fixed shapes."""
        smoother = self.smoother.state
        logits = np.zeros((self.smoother.window, self._classes()))
        logits[: len(smoother["logits"])] = smoother["logits"].reshape(-1, logits.shape[1])
        waiting = np.zeros((self.stream.delay, 2))
        waiting[: len(self._waiting)] = list(self._waiting) or np.zeros((0, 2))
        counts = [self.next_frame, len(smoother["logits"]), len(self._waiting)]
        return {
            **self.stream.state,
            **self._lit.state,
            "counts": np.array(counts, np.int64),
            "label": smoother["numbers"],
            "logits": logits,
            "pace": self.pace.state,
            "waiting": waiting,
        }

    @state.setter
    def state(self, values: Mapping[str, Array]) -> None:
        self.next_frame, rows, waiting = values["counts"].tolist()
        own = ("counts", "label", "lit.count", "lit.frames", "logits", "pace", "waiting")
        self.stream.state = {name: v for name, v in values.items() if name not in own}
        self.smoother.state = {"numbers": values["label"], "logits": values["logits"][:rows]}
        self.pace.state = values["pace"]
        self._lit.begin_from(values["lit.frames"], int(values["lit.count"][0]))
        self._waiting = deque((int(i), float(t)) for i, t in values["waiting"][:waiting])
        self._holding = self._held() if self.smoother.independent and rows else ()

    def _check_classes(self) -> None:
        count, masked = self._classes(), set(self.smoother.masked)
        none = self.smoother.no_event
        for index in (*masked, *(() if none is None else (none,))):
            if not 0 <= index < count:
                raise UsageError(f"there is no class {index}; there are 0 to {count - 1}")
        if len(masked) == count:
            raise UsageError(f"all {count} classes are masked: one must be left to show")

    def _prepared(self, frame: Frame) -> Array:
        """A frame as the network wants it: (3, H, W), its centre where the profile has crops."""
        spec = replace(self.model.profile.preprocess, crops="center")
        views = resize_and_crop(
            frame.pixels, spec, frame.pixel_aspect, compiled=self.model.engine.name == "numba"
        )
        self._lit.take(views)
        return normalize(views[None], spec)[0, :, 0]

    def _update(self, logits: Array, begin: float | None, dropped: Inbox | None) -> Update:
        index, time = self._waiting.popleft()
        before = self.smoother.label
        lit, note = self._lit.judged(self.smoother.means_with(logits), len(self._waiting))
        self.notes.update(() if note is None else (note,))
        label = self.smoother.update(logits if lit is None else lit, alone=lit is not None)
        best = self._best(self.smoother.probabilities, self.top)
        update = Update(
            index,
            time,
            best,
            best[0][0] if label == UNSURE else label,
            UNSURE_LABEL if label == UNSURE else self.model.profile.label_of(label),
            self.smoother.event,
            label != before,
            None if begin is None else clock.perf_counter() - begin,
            0 if dropped is None else dropped.dropped,
        )
        return self._several(update) if self.smoother.independent else update

    def _several(self, update: Update) -> Update:
        """The update of a multi-label model: which labels hold, and whether these are others."""
        before, self._holding = self._holding, self._held()
        changed = set(self._holding) != set(before)
        return replace(update, labels=self._holding, event=bool(self._holding), changed=changed)

    def _held(self) -> tuple[str, ...]:
        """The labels that hold by the logits that are smoothed."""
        least, masked = self.model.profile.threshold, self.smoother.masked
        every = self._best(self.smoother.probabilities, None)
        return tuple(label for k, label, chance in every if chance >= least and k not in masked)

    def _best(self, probabilities: Array, top: int | None) -> tuple[tuple[int, str, float], ...]:
        order = np.argsort(-probabilities, kind="stable")[:top].tolist()
        label_of = self.model.profile.label_of
        return tuple((k, label_of(k), float(probabilities[k])) for k in order)

    def _classes(self) -> int:
        shapes = self.model.graph.shapes(self.model.input_shapes())
        return shapes[self.model.graph.frame_logits or ""][1]


def default_pace(model: Model) -> Pace:
    """As many frames a second as the windows of the model's profile hold; every frame otherwise."""
    sampling = model.profile.sampling
    if sampling.policy == "windows":
        return Pace(rate=sampling.segments / sampling.window)
    return Pace()
