"""The types that this folder shares: a frame, a source of frames, and what is known of a file."""

from array import array
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
    """One picture: its index from 0, seconds after the first frame, RGB pixels (H, W, 3) uint8."""

    index: int
    time: float
    pixels: Pixels


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
class VideoInfo:
    """What is known of a video file before and after it is decoded.

    `path` is as given. `width` and `height` are those of the picture as it is shown, after the
    clockwise `rotation` (0, 90, 180 or 270 degrees) was applied. `frame_rate` is in frames per
    second and `duration` in seconds, both measured from the timestamps where there are some.
    `frame_count` counts packets, or pictures where decoding found another number.
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


def timeline(
    stamps: "array[int]", count: int, tick: Fraction | None, declared: Fraction | None
) -> tuple[NDArray[np.float64], float]:
    """Seconds after the first frame (N,), ascending, and the frames per second, of N = `count`.

    `stamps` are the frames' timestamps, in any order, in units of `tick` seconds; `declared` is
    the rate that the file names. A declared rate within 2 % of the measured one is preferred,
    because 30000/1001 is exact and a clock of milliseconds is not. Without a timestamp for each
    frame the times are ``n / rate``.

    >>> timeline(array("q", [40, 0, 80]), 3, Fraction(1, 1000), None)
    (array([0.  , 0.04, 0.08]), 25.0)
    """
    rate = float(declared or 0)
    if len(stamps) != count or tick is None:
        return np.arange(count) / (rate or ASSUMED_RATE), rate or ASSUMED_RATE
    ticks = np.sort(np.frombuffer(stamps, np.int64))
    times = (ticks - ticks[0]) * float(tick)
    if times[-1] == 0:
        return times, rate or ASSUMED_RATE
    measured = float((count - 1) / times[-1])
    return times, rate if abs(rate - measured) <= 0.02 * measured else measured
