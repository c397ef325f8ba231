"""The types that this folder shares: a frame, a source of frames, and what is known of a file."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Indices = NDArray[np.int64]

ASSUMED_RATE = 25.0
"""Frames per second of a stream that carries neither timestamps nor a rate (as FFmpeg assumes)."""


@dataclass(frozen=True)
class Frame:
    """One picture: its index from 0, seconds after the first frame, RGB pixels (H, W, 3) uint8.

    A pixel is `pixel_aspect` times as wide as it is high.
    """

    index: int
    time: float
    pixels: Pixels
    pixel_aspect: float = 1.0


class FrameSource(Protocol):
    """Whatever hands out frames one at a time: a file (`decode.VideoFile`) or a live device."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was found so far that the user should know, each once."""

    def __iter__(self) -> Iterator[Frame]:
        """Frames in the order in which they are shown."""

    def close(self) -> None:
        """Stop and let go of the file or device; nothing happens the second time."""


@dataclass(frozen=True)
class Repair:
    """One kind of untrue timestamp: how often it was found, and at which picture first (from 0).

    >>> Repair("restart", 2, 120).sentence
    'the timestamps start again: the time goes on (2 times, first at frame 120)'
    """

    kind: str
    count: int
    first: int

    @property
    def sentence(self) -> str:
        """What was found and what is done, for people."""
        times = "once, at" if self.count == 1 else f"{self.count} times, first at"
        return f"{REPAIRS[self.kind]} ({times} frame {self.first})"


REPAIRS = {
    "missing": "timestamps are missing: such a frame is shown one step after the one before",
    "restart": "the timestamps start again: the time goes on",
    "wrap": "the timestamps wrap around at 33 bits: the time goes on",
    "gap": "the timestamps jump ahead by more than 10 s: the time goes on without a gap",
    "disorder": "timestamps do not ascend: such a frame is shown shortly after the one before",
}
"""What is wrong with timestamps, and what the clock does about it."""


@dataclass(frozen=True)
class VideoInfo:
    """What is known of a video before and after it is decoded.

    `path` is as given, `codec` the name of the codec, whatever decodes it. `width` and `height` are
    those of the picture as it is shown, after it was `mirrored` (left for right) if the file asks
    for that, and then turned by the clockwise `rotation` (0, 90, 180 or 270 degrees); a pixel of
    it is `pixel_aspect` times as wide as high. `frame_rate` is in frames per second and `duration`
    in seconds, both by the clock of the video (`tsm_ref.video.clock`), whose `repairs` are named.
    `frame_count` counts pictures, never the header's claim; `interlaced` says that some of them
    hold two fields.
    """

    path: str
    codec: str
    width: int
    height: int
    rotation: int
    pixel_format: str
    frame_rate: float | None
    duration: float | None
    frame_count: int
    warnings: tuple[str, ...] = ()
    mirrored: bool = False
    pixel_aspect: Fraction = Fraction(1)
    interlaced: bool = False
    repairs: tuple[Repair, ...] = ()


@dataclass(frozen=True)
class DecodedFrames:
    """The wanted frames of a file, each decoded and kept once however often it was asked for.

    `indices` and `times` (seconds after the first frame) have the shape that was asked for.
    `unique` (U, ...) holds the different frames as converted, `order` the row of each index.

    >>> rows = np.zeros((1, 2, 2, 3), np.uint8)
    >>> twice = np.zeros(2, np.int64)
    >>> info = VideoInfo("a.mp4", "h264", 2, 2, 0, "yuv420p", 25.0, 0.04, 1)
    >>> DecodedFrames(twice, np.zeros(2), rows, twice, 1, info).pixels.shape
    (2, 2, 2, 3)
    """

    indices: Indices
    times: NDArray[np.float64]
    unique: NDArray[Any]
    order: Indices
    frames_decoded: int
    info: VideoInfo

    @property
    def pixels(self) -> NDArray[Any]:
        """The frames in the order asked for: the shape of `indices`, then that of a frame."""
        return np.asarray(self.unique[self.order])
