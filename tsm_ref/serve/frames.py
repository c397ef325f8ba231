"""What comes over a WebSocket as a source of frames: each message one frame, JPEG or raw RGB.

The frames are decoded by whoever asks for them, so one that is dropped costs nothing.
"""

import io
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.errors import MissingDependency, UsageError, VideoError
from tsm_ref.live import Inbox, Pace
from tsm_ref.video import Frame

__all__ = ["Wire", "raw_size"]

Pixels = NDArray[np.uint8]
MOST_PIXELS = 4096 * 4096


class Wire(Inbox):
    """An `Inbox` of messages: JPEG, or raw RGB of ``size`` (width, height), three bytes a pixel.

    With ``fps`` the frames have the times of a film; without, those at which they came. `taken` is
    called, in the thread that asks, whenever the waiting frame has been taken.

    >>> wire = Wire((2, 1), fps=10)
    >>> wire.receive(bytes(range(6)))
    >>> wire.end()
    >>> [(frame.time, frame.pixels.tolist()) for frame in wire]
    [(0.0, [[[0, 1, 2], [3, 4, 5]]])]
    """

    def __init__(
        self,
        size: tuple[int, int] | None = None,
        *,
        fps: float | None = None,
        pace: Pace | None = None,
        taken: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(pace)
        self._size, self._fps, self._taken = size, fps, taken
        self._first = 0.0
        self.count = 0

    @property
    def waiting(self) -> bool:
        """Whether a frame waits to be taken."""
        return self._newest is not None

    def receive(self, message: bytes) -> None:
        """Take the next message; raises `VideoError` for raw frames of another size."""
        if self._size is not None:
            width, height = self._size
            if len(message) != 3 * width * height:
                raise VideoError(
                    f"frame {self.count} has {len(message)} bytes: {width}x{height} RGB are "
                    f"{3 * width * height}"
                )
        now = time.monotonic()
        self._first = self._first if self.count else now
        seconds = self.count / self._fps if self._fps else now - self._first
        self.put(Frame(self.count, seconds, np.frombuffer(message, np.uint8)))
        self.count += 1

    def __iter__(self) -> Iterator[Frame]:
        for frame in super().__iter__():
            self._taken()
            yield replace(frame, pixels=self._decoded(frame))

    def _decoded(self, frame: Frame) -> Pixels:
        if self._size is not None:
            width, height = self._size
            return frame.pixels.reshape(height, width, 3)
        try:
            return _from_jpeg(frame.pixels.tobytes())
        except VideoError as error:
            raise error.about(f"frame {frame.index}") from None


def raw_size(text: str) -> tuple[int, int]:
    """A size of raw frames by "WIDTHxHEIGHT"; raises `UsageError`.

    >>> raw_size("64x48")
    (64, 48)
    """
    found = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", text, re.ASCII)
    if found is None or int(found[1]) * int(found[2]) > MOST_PIXELS:
        raise UsageError(f"`size` (={text[:20]!r}) must be WIDTHxHEIGHT of at most 4096x4096")
    return int(found[1]), int(found[2])


def _from_jpeg(data: bytes) -> Pixels:
    image: Any = None
    try:
        from PIL import Image
    except ImportError:
        raise MissingDependency("pillow", "read pictures") from None
    try:
        image = Image.open(io.BytesIO(data), formats=("JPEG",))
        if image.width * image.height > MOST_PIXELS:
            raise Image.DecompressionBombError
        return np.asarray(image.convert("RGB"))
    except Image.DecompressionBombError:
        raise VideoError("it is larger than 4096x4096, the most that is taken") from None
    except (OSError, ValueError, SyntaxError):
        raise VideoError("it is no JPEG picture, or cut (raw frames need `size`)") from None
