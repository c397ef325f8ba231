"""Where live frames come from, which of them are taken, and which are dropped."""

import math
import os
import re
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from tsm_ref.errors import UsageError, VideoError
from tsm_ref.video import (
    NETWORK,
    Camera,
    Frame,
    FrameSource,
    NetworkSource,
    Pipe,
    frames,
    is_address,
    open_clip,
)

__all__ = ["Inbox", "Newest", "Pace", "Playing", "RawFrames", "open_source"]

STDIN = "/dev/stdin"
MOST_PIXELS = 8192 * 8192


def open_source(
    name: str,
    *,
    raw: str | None = None,
    allow_partial: bool = False,
    stdin: BinaryIO | None = None,
    threads: int = 1,
) -> FrameSource:
    """A file or FIFO by its path, ``camera:N``, or ``-`` for what comes on the standard input.

    Also a folder or pattern of numbered frames, and an address: ``rtsp://``, ``http(s)://``.
    A file is decoded with so many `threads`.

    ``raw`` ("64x48" or "64x48@25") says that the standard input is RGB frames of that size, one
    byte per value, without a container.

    Raises `VideoError` for what cannot be opened, `UsageError` for what cannot be meant.
    """
    if raw is not None and name != "-":
        raise UsageError("raw frames come from the standard input: give '-' as the source")
    if name == "-":
        return _standard_input(stdin, raw, allow_partial)
    if name.startswith("camera:"):
        number = name.removeprefix("camera:")
        if not re.fullmatch("[0-9]{1,9}", number):
            raise UsageError(f"the source {name[:40]!r} must be camera:0, camera:1, ...")
        return Camera(int(number))
    if _is_fifo(name):
        return Pipe(open(name, "rb", buffering=0), allow_partial=allow_partial)
    if is_address(name):
        return NetworkSource(name, allow_partial=allow_partial)
    if "://" in name:
        raise VideoError(f"of addresses, those that begin with {', '.join(NETWORK)} are followed")
    return open_clip(name, allow_partial=allow_partial, threads=threads).open()


def _standard_input(stdin: BinaryIO | None, raw: str | None, allow_partial: bool) -> FrameSource:
    if stdin is None:
        raise VideoError("the standard input is closed: pipe a video into it")
    if stdin.isatty():
        raise UsageError("the standard input is a terminal: pipe a video into it")
    if raw is not None:
        return RawFrames.described(stdin, raw)
    number = stdin.fileno()
    if stat.S_ISREG(os.fstat(number).st_mode):  # in a file the decoder may go back and forth
        return frames(STDIN, allow_partial=allow_partial)
    return Pipe(open(os.dup(number), "rb", buffering=0), allow_partial=allow_partial)


def _is_fifo(name: str) -> bool:
    try:
        return stat.S_ISFIFO(os.stat(name).st_mode) and os.access(name, os.R_OK)
    except (OSError, ValueError):  # `frames` says why
        return False


class RawFrames:
    """A `FrameSource` of RGB frames without a container: height * width * 3 bytes each.

    >>> import io
    >>> source = RawFrames.described(io.BytesIO(bytes(24)), "2x2@10")
    >>> [(frame.index, frame.time, frame.pixels.shape) for frame in source]
    [(0, 0.0, (2, 2, 3)), (1, 0.1, (2, 2, 3))]
    """

    def __init__(self, stream: BinaryIO, width: int, height: int, rate: float = 25.0) -> None:
        if not 0 < width * height <= MOST_PIXELS or rate <= 0:
            raise UsageError(f"{width}x{height}@{rate:g} is not a size and a rate of frames")
        self._stream, self._shape, self._rate = stream, (height, width, 3), rate
        self._warnings: tuple[str, ...] = ()

    @classmethod
    def described(cls, stream: BinaryIO, text: str) -> "RawFrames":
        """Raw frames by "WIDTHxHEIGHT" or "WIDTHxHEIGHT@RATE"; raises `UsageError`."""
        found = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})(?:@([0-9]{1,9}(?:\.[0-9]{1,9})?))?", text)
        if found is None:
            raise UsageError(
                f"raw frames (={text[:40]!r}) must be WIDTHxHEIGHT or WIDTHxHEIGHT@RATE"
            )
        return cls(stream, int(found[1]), int(found[2]), float(found[3] or 25.0))

    @property
    def warnings(self) -> tuple[str, ...]:
        """A last frame that was cut."""
        return self._warnings

    def __iter__(self) -> Iterator[Frame]:
        size = int(np.prod(self._shape))
        index = 0
        while data := self._stream.read(size):
            if len(data) < size:
                cut = f"{len(data)} of {size} bytes"
                if not index:
                    raise VideoError(f"the first frame is cut: {cut} came")
                self._warnings = (f"the last frame has {cut}: left out",)
                return
            pixels = np.frombuffer(data, np.uint8).reshape(self._shape)
            yield Frame(index, index / self._rate, pixels)
            index += 1
        if not index:
            raise VideoError("not one byte came: raw frames are expected")

    def close(self) -> None:
        """Leave the stream to its owner."""


@dataclass
class Pace:
    """Which frames are taken: every `every`-th one, or `rate` a second by their times.

    With a rate, the first frame is taken, and then the first one at or after each of the times
    ``k / rate`` behind it.

    >>> times = [n / 25 for n in range(10)]
    >>> pace = Pace(rate=8)
    >>> [n for n, time in enumerate(times) if pace.takes(n, time)]
    [0, 4, 7]
    """

    every: int = 1
    rate: float | None = None

    def __post_init__(self) -> None:
        if self.every < 1:
            raise UsageError(f"`every` (={self.every}) must be at least 1 frame")
        if self.rate is not None and not 0 < self.rate < 1e6:
            raise UsageError(f"`rate` (={self.rate}) must be a number of frames a second")
        if self.rate is not None and self.every > 1:
            raise UsageError(f"give `every` (={self.every}) or `rate` (={self.rate}), not both")
        self._start = self._last = float("nan")

    @property
    def state(self) -> NDArray[np.float64]:
        """What is remembered, (2,): the times of the first and last frame taken; NaN before."""
        return np.array([self._start, self._last])

    @state.setter
    def state(self, value: NDArray[np.float64]) -> None:
        self._start, self._last = value.tolist()

    def takes(self, index: int, seconds: float) -> bool:
        """True where the frame of this index and time, in seconds, is taken."""
        if self.rate is None:
            return index % self.every == 0
        if math.isnan(self._start):
            self._start = seconds
        elif self._passed(seconds) <= self._passed(self._last):
            return False
        self._last = seconds
        return True

    def _passed(self, seconds: float) -> int:
        """Times of the grid behind the first frame; one that is just reached counts."""
        return int((seconds - self._start) * (self.rate or 0.0) + 1e-6)


class Playing:
    """A `FrameSource` that plays at its own speed, from frame `first`: none comes before its time.

    The frames before `first` are left out, and nothing waits for them.
    """

    def __init__(self, source: FrameSource, first: int = 0) -> None:
        self._source, self._first = source, first

    @property
    def warnings(self) -> tuple[str, ...]:
        """Those of the source."""
        return self._source.warnings

    def __iter__(self) -> Iterator[Frame]:
        begin: float | None = None
        for frame in self._source:
            if frame.index < self._first:
                continue
            now = time.monotonic()
            begin = now - frame.time if begin is None else begin
            time.sleep(max(0.0, begin + frame.time - now))
            yield frame

    def close(self) -> None:
        """Close the source."""
        self._source.close()


class Inbox:
    """A `FrameSource` of what others put into it: the newest frame waits, an older one is dropped.

    Whoever asks gets the newest frame, or the next one; what came in between is lost, and counted
    in `dropped`. So the frames that are seen are the most recent ones, whatever the speed of who
    asks. Frames that `pace` does not take are left out, and not counted.

    >>> inbox = Inbox()
    >>> for index in range(3):
    ...     inbox.put(Frame(index, index / 25, np.zeros((1, 1, 3), np.uint8)))
    >>> inbox.end()
    >>> [frame.index for frame in inbox], inbox.dropped
    ([2], 2)
    """

    def __init__(self, pace: Pace | None = None) -> None:
        self.dropped = 0
        self._pace = pace or Pace()
        self._newest: Frame | None = None
        self._error: Exception | None = None
        self._ended = False
        self._changed = threading.Condition()

    @property
    def warnings(self) -> tuple[str, ...]:
        """None."""
        return ()

    def put(self, frame: Frame) -> None:
        """Give it the next frame; it is lost after the end."""
        if self._ended or not self._pace.takes(frame.index, frame.time):
            return
        with self._changed:
            self.dropped += self._newest is not None
            self._newest = frame
            self._changed.notify()

    def end(self, error: Exception | None = None) -> None:
        """Say that no frame will follow; who asks for one then gets `error`."""
        with self._changed:
            self._ended, self._error = True, self._error or error
            self._changed.notify()

    def __iter__(self) -> Iterator[Frame]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._newest is not None or self._ended)
                frame, self._newest = self._newest, None
            if frame is None:
                if self._error is not None:
                    raise self._error
                return
            yield frame

    def close(self) -> None:
        """Take no frame any more."""
        self._ended = True


class Newest(Inbox):
    """An `Inbox` that a thread fills from another source, which never has to wait."""

    def __init__(self, source: FrameSource, pace: Pace | None = None) -> None:
        super().__init__(pace)
        self._source = source
        self._thread = threading.Thread(target=self._read, daemon=True)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Those of the source."""
        return self._source.warnings

    def __iter__(self) -> Iterator[Frame]:
        self._thread.start()
        yield from super().__iter__()

    def close(self) -> None:
        """Stop reading; a source that keeps the thread waiting is left to it."""
        super().close()
        if self._thread.is_alive():
            self._thread.join(timeout=1.0)
        if not self._thread.is_alive():  # a decoder may not be closed while it reads
            self._source.close()

    def _read(self) -> None:
        error: Exception | None = None
        try:
            for frame in self._source:
                if self._ended:
                    return
                self.put(frame)
        except Exception as caught:  # whatever it is, it belongs to who asks for frames
            error = caught
        finally:
            self.end(error)
