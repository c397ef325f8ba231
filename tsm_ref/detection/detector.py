"""Frames to the boxes of each, as they come: `Detector`."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tsm_ref.detection.boxes import Settings, boxes_of, classes_of
from tsm_ref.errors import CheckpointError, UsageError, VideoError
from tsm_ref.model import Model
from tsm_ref.models import MAPS
from tsm_ref.models.rfcn import STRIDE
from tsm_ref.profile import Preprocess
from tsm_ref.video import Frame, normalize, resize_and_crop
from tsm_ref.video.transforms import geometry, square_size

__all__ = ["Box", "Detector", "Seen"]

LONGEST = 1000
"""The most pixels of the longer side that the network sees, as in Faster R-CNN's code."""


@dataclass(frozen=True)
class Box:
    """An object: its class, its probability, its edges in pixels of the frame."""

    label: str
    index: int
    score: float
    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True)
class Seen:
    """The boxes of one frame, the likeliest first; ``time`` in seconds."""

    index: int
    time: float
    boxes: tuple[Box, ...]


class Detector:
    """A detector with its settings: `run` takes frames and gives boxes.

    Frames go through the network one at a time, as in a stream, and what is kept of the frames
    before is a part of the channels of the shifted layers. They are resized to the short side of
    the model's profile, and to `LONGEST` pixels at most.

    Raises `CheckpointError` for a model that is no detector, `UsageError` for one that looks ahead
    and for a size below the stride of the network.

    >>> import tsm_ref
    >>> model = tsm_ref.build("rfcn_resnet18", num_classes=2, reduced=8, bins=3, engine="numpy")
    >>> frames = [Frame(0, 0.0, np.zeros((64, 96, 3), np.uint8))]
    >>> [seen.index for seen in Detector(model).run(frames)]
    [0]
    """

    def __init__(self, model: Model, settings: Settings | None = None) -> None:
        self.model, self.settings = model, settings or Settings()
        named = {view.name: view.value for view in model.form.outputs} if model.form else {}
        self._values = {name: named.get(name, name) for name in MAPS}
        for name, value in self._values.items():
            if value not in model.graph.outputs:
                raise CheckpointError(
                    f"the model {model.name!r} is no detector: it has no output {name!r}"
                )
        shapes = model.graph.shapes(model.input_shapes())
        try:
            count = classes_of({name: shapes[value][1] for name, value in self._values.items()})
        except CheckpointError as error:
            raise error.about(f"the model {model.name!r}") from None
        if model.labels and len(model.labels) != count:
            raise UsageError(
                f"the model {model.name!r} has {count} classes and {len(model.labels)} labels"
            )
        if model.stream().delay:
            raise UsageError(
                f"the model {model.name!r} looks {model.stream().delay} frames ahead: a detector "
                "that answers at once has a causal shift"
            )
        self._spec = replace(model.profile.preprocess, crop=None, crops="center")
        side = min(self._spec.size or (self._spec.short_side or STRIDE,))
        if side < STRIDE:
            raise UsageError(f"`size` (={side}) must be at least the network's stride of {STRIDE}")

    def run(self, frames: Iterable[Frame]) -> Iterator[Seen]:
        """The boxes of every frame, as soon as it has come; there may be none.

        Raises `VideoError` for frames of several shapes, and for one that is too thin to be seen.
        """
        stream, first = self.model.stream(), None
        for frame in frames:
            x = self._prepared(frame)
            first = first or x.shape
            if x.shape != first:
                height, width = frame.pixels.shape[:2]
                raise VideoError(
                    f"frame {frame.index} of {width}x{height} is {x.shape[3]}x{x.shape[2]} for the "
                    f"network, and those before it were {first[3]}x{first[2]}: one shape is needed"
                )
            found = stream.step(x)
            assert isinstance(found, dict)  # several outputs, none of them late
            maps = {name: np.asarray(found[value])[0] for name, value in self._values.items()}
            yield self._seen(frame, maps, x.shape[2:])

    def _prepared(self, frame: Frame) -> NDArray[np.float32]:
        """A frame as the network takes it, (1, 3, h, w)."""
        aspect, spec = frame.pixel_aspect, self._spec
        height, width = frame.pixels.shape[:2]
        square = square_size(height, width, aspect)
        if spec.short_side is not None:
            most = LONGEST * min(square) // max(square)
            spec = replace(spec, short_side=max(1, min(spec.short_side, most)))
        self._check_size(frame, square, spec)
        compiled = self.model.engine.name == "numba"
        resized = resize_and_crop(frame.pixels, spec, aspect, compiled=compiled)
        return normalize(resized[None], spec)[:, :, 0]

    def _check_size(self, frame: Frame, square: tuple[int, int], spec: Preprocess) -> None:
        height, width = geometry(*square, spec)
        if min(height, width) < STRIDE:
            shown = f"{frame.pixels.shape[1]}x{frame.pixels.shape[0]}"
            raise VideoError(
                f"a frame of {shown} is {width}x{height} for the network, smaller than its stride "
                f"of {STRIDE}"
            )

    def _seen(
        self, frame: Frame, maps: dict[str, NDArray[np.float32]], size: tuple[int, ...]
    ) -> Seen:
        try:
            compiled = self.model.engine.name == "numba"
            found = boxes_of(maps, (size[0], size[1]), self.settings, compiled=compiled)
        except CheckpointError as error:
            raise error.about(f"the model {self.model.name!r}") from None
        height, width = frame.pixels.shape[:2]
        edges = found.boxes * np.array([width / size[1], height / size[0]] * 2)
        label = self.model.profile.label_of
        rows = zip(found.classes.tolist(), found.scores.tolist(), edges.tolist(), strict=True)
        boxes = tuple(Box(label(index), index, score, *sides) for index, score, sides in rows)
        return Seen(frame.index, frame.time, boxes)
