"""The boxes of frames as lines, as JSON, and drawn on the frames."""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.detection.detector import Box, Detector, Seen
from tsm_ref.errors import MissingDependency
from tsm_ref.system.terminal import printable
from tsm_ref.video import Frame

__all__ = ["NOTICE", "Drawing", "as_json", "as_jsonl", "line"]

SCHEMA_VERSION = 1
NOTICE = (
    "the weights are seeded random numbers and untrained: the boxes mean nothing (no trained "
    "weights of this network are published; --model takes your own)"
)
COLOURS = ("#4493f8", "#f0883e", "#3fb950", "#db61a2", "#d2a8ff", "#e3b341", "#56d4dd", "#ff7b72")
PAPER, INK = "#10151b", "#ffffff"


def line(seen: Seen) -> str:
    """A frame and its boxes, for people.

    >>> line(Seen(2, 0.08, (Box("dog", 8, 0.925, 10.0, 20.0, 110.4, 90.0),)))
    '    0.08 s  dog 92.5% (10, 20, 110, 90)'
    """
    boxes = "; ".join(
        f"{printable(box.label)} {box.score:.1%} "
        f"({box.x1:.0f}, {box.y1:.0f}, {box.x2:.0f}, {box.y2:.0f})"
        for box in seen.boxes
    )
    return f"{seen.time:8.2f} s  {boxes or 'nothing'}"


def tree_of(seen: Seen) -> dict[str, Any]:
    """A frame and its boxes as plain values: the edges are left, top, right, bottom in pixels."""
    return {
        "index": seen.index,
        "time": seen.time,
        "boxes": [
            {
                "label": box.label,
                "index": box.index,
                "score": box.score,
                "box": [box.x1, box.y1, box.x2, box.y2],
            }
            for box in seen.boxes
        ],
    }


def as_jsonl(seen: Seen, *, trained: bool) -> str:
    """One line of JSON for a frame."""
    return json.dumps({**tree_of(seen), "trained": trained})


def as_json(
    path: str, detector: Detector, frames: list[Seen], warnings: tuple[str, ...], *, trained: bool
) -> str:
    """One JSON object for a whole video."""
    model = detector.model
    tree = {
        "schema_version": SCHEMA_VERSION,
        "input": {"path": path},
        "model": {
            "name": model.name,
            "sha256": model.sha256,
            "precision": model.precision,
            "trained": trained,
            "labels": list(model.labels),
            "profile": model.profile.as_dict(labels=False),
        },
        "settings": vars(detector.settings),
        "frames": [tree_of(seen) for seen in frames],
        "warnings": list(warnings),
    }
    return json.dumps(tree if trained else tree | {"notice": NOTICE})


class Drawing:
    """Draws on frames the boxes that it was given; raises `MissingDependency` without Pillow."""

    def __init__(self, *, trained: bool) -> None:
        try:
            from PIL import Image, ImageDraw, ImageFont
        except ImportError:
            raise MissingDependency("pillow", "draw on a video") from None
        self._image, self._draw, self._fonts = Image, ImageDraw, ImageFont
        self._boxes: dict[int, tuple[Box, ...]] = {}
        self._trained = trained

    def add(self, seen: Seen) -> None:
        """Give it the boxes of a frame."""
        self._boxes[seen.index] = seen.boxes

    def __call__(self, frame: Frame) -> NDArray[np.uint8]:
        """The frame with its boxes, (H, W, 3), one pixel larger where a side is odd."""
        height, width = frame.pixels.shape[:2]
        canvas = self._image.new("RGB", (width + width % 2, height + height % 2), PAPER)
        canvas.paste(self._image.fromarray(frame.pixels), (0, 0))
        draw = self._draw.Draw(canvas)
        draw.font = self._fonts.load_default(max(14, height // 40))
        for box in reversed(self._boxes.get(frame.index, ())):  # the likeliest on top
            self._box(draw, box, max(2, min(height, width) // 180))
        if not self._trained:
            self._text(draw, "untrained weights", 0, height, PAPER)
        return np.asarray(canvas)

    def _box(self, draw: Any, box: Box, thick: int) -> None:
        colour = COLOURS[box.index % len(COLOURS)]
        left, top = round(box.x1), round(box.y1)
        right, bottom = max(left, round(box.x2) - 1), max(top, round(box.y2) - 1)
        draw.rectangle((left, top, right, bottom), outline=colour, width=thick)
        self._text(draw, f"{printable(box.label)} {box.score:.0%}", left, top, colour)

    def _text(self, draw: Any, text: str, x: int, bottom: int, colour: str) -> None:
        """A text on a ground of its own, above a line, or below where there is no room."""
        _, _, width, height = draw.textbbox((0, 0), text)
        top = bottom - height - 2 if bottom >= height + 2 else bottom
        draw.rectangle((x, top, x + width + 3, top + height + 1), colour)
        draw.text((x + 2, top), text, PAPER if colour != PAPER else INK)
