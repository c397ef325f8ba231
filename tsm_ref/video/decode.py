"""Video files to frames, by streaming: the only file that imports PyAV, and only when it is used.

A decoder is never trusted: not the header's frame count (see `tsm_ref.video.surveys`), not its size
(capped), not its format (a list of containers that open no second file), not its rotation (applied
here). What FFmpeg hides is said: damage is a `VideoError`, or a warning with `allow_partial`; ten
bits, alpha and HDR are warnings.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from typing import Any, Self, TypeVar

from tsm_ref.errors import MissingDependency, VideoError
from tsm_ref.system import patience
from tsm_ref.video import containers
from tsm_ref.video.captures import Captures
from tsm_ref.video.clock import Clock
from tsm_ref.video.containers import DEMUXERS
from tsm_ref.video.delays import ASSUMED_DELAYS, missing_delays, undelayed
from tsm_ref.video.kept import Kept
from tsm_ref.video.log import Log, reason
from tsm_ref.video.pictures import Look, Painter
from tsm_ref.video.planes import Planes
from tsm_ref.video.source import ASSUMED_RATE, Frame, Pixels

__all__ = ["VideoFile", "frames"]

T = TypeVar("T")

MAX_PIXELS = 8192 * 8192
"""The most pixels one picture may have."""
_WITHOUT_PTS = ("avi",)
"""Formats that store no times of display: FFmpeg guesses them, and of B pictures wrongly. Their
pictures come at the times of decoding, in the order of display."""
_UNTIMED = ("h264", "hevc", "mjpeg")
"""Formats without times, of which FFmpeg says that they have its own 25 frames a second."""
_BELIEVED = (1, 240)
"""The rates, of frames a second, that are believed of a codec where there are no times."""
_INDEXED = ("mov", "matroska")
"""Formats (FFmpeg's names begin so) in which going back is cheaper than to open the file again."""
_FIRST = -(1 << 40)
"""A timestamp before all others."""
_CLOCK_JUMPS = 0x0200
"""FFmpeg's flag of a format whose clock may be set anew in mid-stream (AVFMT_TS_DISCONT)."""

_NOTICED = "crccheck+bitstream+buffer"
"""What a decoder looks for besides what stops it: checksums, and what the format forbids."""


class VideoFile:
    """A `FrameSource` over one file: open, iterate once, close (or use it in a ``with``)."""

    patient = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        allow_partial: bool = False,
        max_pixels: int = MAX_PIXELS,
        max_frames: int | None = None,
        threads: int = 1,
        regular: bool = False,
    ) -> None:
        if max_frames is not None and max_frames < 1:
            raise ValueError(f"`max_frames` (={max_frames}) must be at least 1, or None")
        self._name = self._checked(path, regular)
        self._partial, self._max_pixels, self._max_frames = allow_partial, max_pixels, max_frames
        self._warnings: dict[str, None] = {}
        self.damaged = self.interlaced = False
        self._told: set[str] = set()
        self.look: Look | None = None
        self._last_stamp: int | None = None
        self._ticks, self._threads = 0, threads
        self._captures = Captures(jumps=False)
        self._kept: Kept | None = None
        self._from_memory = False
        self._av = _import_av()
        self._painter = Painter(self._av, self.warn)
        self._lies = os.path.isfile(self._name)  # what comes live may let us wait
        if self._lies and (missing := containers.check_structure(self._name)):
            self._damaged(f"the file is cut, {missing} bytes are missing at its end")
        with self._av.logging.Capture(local=True):  # a file that may not be one is no damage yet
            self._container = self._open()
        self._log = Log(self._av, workers=threads > 1)
        try:
            self.stream = containers.video_stream(self._av, self._container)
            context = self.stream.codec_context
            self._check_size(context.width, context.height)
            context.options = {"max_pixels": str(2 * max_pixels), "err_detect": _NOTICED}
            context.thread_count = threads
            # Threads that each decode a picture give up what follows a damaged one at the end.
            context.thread_type = "FRAME" if threads > 1 and not allow_partial else "SLICE"
            self.clock = self.new_clock()
            self._captures = Captures(self._clock_jumps, float(self.stream.time_base or 0))
            self._notice_delays()
        except BaseException:
            self.close()
            raise

    def _notice_delays(self) -> None:
        """An animation may not say how long its pictures are shown."""
        if self._lies and (count := undelayed(self._name, self.format_name)):
            self.warn(missing_delays(count, ASSUMED_DELAYS[self.format_name]))

    def _checked(self, path: str | os.PathLike[str], regular: bool) -> str:
        return containers.check_path(path, regular=regular)

    def _open(self) -> Any:
        with containers.opening(self._av, self._name):
            return self._bounded(
                lambda: self._av.open(
                    self._input(),
                    options={"max_pixels": str(2 * self._max_pixels)},  # and a decoder's padding
                    container_options={"format_whitelist": DEMUXERS, "protocol_whitelist": "file"},
                    metadata_errors="replace",
                )
            )

    def _input(self) -> Any:
        return "file:" + self._name

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was found so far that the user should know, each once."""
        return tuple(self._warnings)

    def warn(self, message: str) -> None:
        """Keep a sentence for `warnings`."""
        self._warnings[message] = None

    def close(self) -> None:
        """Close the file; nothing happens the second time."""
        try:
            if self._threads > 1 and not self._log.closed:
                self._finish()
        finally:
            self._log.close()
            self._container.close()

    def _finish(self) -> None:
        """Let the decoder's threads come to an end: one that logs waits for Python's lock, which
        is held while the decoder is closed and waits for its threads.
        """
        try:
            while self.stream.codec_context.decode(None):
                pass
        except (AttributeError, self._av.FFmpegError):  # it was not opened, or has ended
            pass

    def keep(self) -> None:
        """Keep what is read and decoded from now on, for `rewind`, if it is not too much."""
        self._kept = Kept()

    def rewind(self) -> bool:
        """Go back to the first picture: if all was kept, or the container has an index."""
        self._from_memory = self._kept is not None and self._kept.whole
        if not self._from_memory and not self._sought():
            return False
        self._captures.forget()
        self._ticks, self._last_stamp = 0, None
        return True

    def _sought(self) -> bool:
        self._kept = None
        if not self.format_name.startswith(_INDEXED):
            return False
        try:
            self._container.seek(_FIRST, stream=self.stream)
        except self._av.FFmpegError:
            return False
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def packets(self) -> Iterator[Any]:
        """The stream's compressed packets, then an empty one that makes the decoder finish."""
        kept = self._kept
        for packet in kept.packets() if kept and self._from_memory else self._demuxed():
            if kept and not self._from_memory:
                kept.keep(packet)
            self._notice(packet)
            yield packet
        if self.format_name == "avi" and self._ticks < self.stream.frames:
            self._damaged(f"the file promises {self.stream.frames} frames and holds {self._ticks}")

    def _notice(self, packet: Any) -> None:
        """What a packet says besides its picture: what precedes a key picture is no damage."""
        damaged = self._captures.damaged(packet)
        if self._captures.headless:
            what = "a capture that is joined to it" if self._captures.joined else "the video"
            self.warn(f"{what} begins in the middle: what precedes a key picture is left out")
        if damaged:
            self._damaged("a piece of the video stream is damaged or cut")
        self._ticks = max(self._ticks, packet.dts + 1 if packet.dts is not None else 0)

    def _demuxed(self) -> Iterator[Any]:
        packets = self._container.demux(self.stream)
        while True:
            try:
                packet = self._watched(packets.__next__)
            except (StopIteration, IndexError):  # PyAV stumbles over streams that appear late,
                return  # after it has given the last packet of those it knew
            except self._av.FFmpegError as error:
                self._broken(reason(error))
                packet, packets = self._last_packet(), iter(())
            yield packet

    def _broken(self, reason: str) -> None:
        self._damaged(f"the file cannot be read further ({reason})")

    def _last_packet(self) -> Any:
        """The empty packet that makes the decoder give back what it still holds."""
        packet = self._av.Packet()
        packet.stream = self.stream
        return packet

    def pictures(self, packet: Any) -> list[Any]:
        """The pictures that the decoder gives after this packet, usually one or none."""
        if self._kept and self._from_memory and (known := self._kept.pictures()) is not None:
            return known
        if not packet.size and packet.dts is not None:
            return []  # the picture before is shown on; a decoder would take it for the end
        pictures = self._left() if self._captures.joint else []
        if self._captures.headless and packet.size:
            return pictures  # a decoder that never saw it also leaves out what leans on it later
        return pictures + self._decoded(packet)

    def _left(self) -> list[Any]:
        """What the decoder still holds; what comes next leans on nothing before."""
        pictures = self._decoded(self._last_packet())
        self.stream.codec_context.flush_buffers()
        return pictures

    def _decoded(self, packet: Any) -> list[Any]:
        try:
            pictures: list[Any] = self._watched(packet.decode)
        except self._av.FFmpegError as error:
            self._damaged(f"a part of the video does not decode ({reason(error)})")
            return []
        for picture in pictures:
            self._check_size(picture.width, picture.height)
            if picture.is_corrupt:
                self._damaged("a picture is damaged")
        return pictures

    def _watched(self, call: Callable[[], T]) -> T:
        """What FFmpeg gives; damage that it logs meanwhile counts as damage that it tells.

        But not before the first packet of a capture, whose parser may lack what preceded it.
        """
        result, errors = self._log.heard(lambda: self._bounded(call))
        if errors and (self._captures.begun or not self._clock_jumps):
            self._damaged(f"a part of the video is damaged ({errors[0]})", kind="logged")
        return result

    def _bounded(self, call: Callable[[], T]) -> T:
        """What a call gives; of a file it may take no longer than the process has patience."""
        return patience.bounded(self._name, call) if self._lies else call()

    def __iter__(self) -> Iterator[Frame]:
        for index, time, pixels in self.shown():
            yield Frame(index, time, pixels(), float(self.look.pixel_aspect if self.look else 1))

    def shown(self) -> Iterator[tuple[int, float, Callable[[], Pixels]]]:
        """Index and seconds of each frame, and what makes its pixels before the next is taken."""
        return self._drawn(self._painter.upright)

    def shown_in_planes(self) -> Iterator[tuple[int, float, Callable[[], Pixels | Planes]]]:
        """As `shown`; pictures stay as they were decoded where that can be made small at once."""
        return self._drawn(self._painter.planes_or_upright)

    def _drawn(
        self, draw: Callable[[Any, Look], T]
    ) -> Iterator[tuple[int, float, Callable[[], T]]]:
        self.clock, index = self.new_clock(), 0
        for packet in self.packets():
            for picture in self.pictures(packet):
                look = self.look = self.look or self._looked_at(picture)
                if (picture.width, picture.height) != look.coded:
                    self.warn(
                        "the picture changes size from {}x{}, at first to {}x{} at frame {}: such "
                        "frames are resized to the first".format(
                            *look.coded, picture.width, picture.height, index
                        )
                    )
                self._notice_fields(picture)
                yield index, self._time(picture), partial(draw, picture, look)
                index += 1
                if index == self._max_frames:
                    return
        if index == 0:
            raise VideoError(f"no picture of the video decodes: {containers.PARTIAL}")
        for repair in self.clock.repairs:
            self.warn(repair.sentence)
        if holes := self.clock.timeline().holes:
            self.warn(
                f"an even rate has {holes} longer step{'s' * (holes > 1)}: frames may be missing"
            )

    def picked(
        self, runs: Sequence[tuple[int, int]], *, planes: bool = False
    ) -> Iterator[tuple[int | None, Callable[[], Pixels | Planes]]]:
        """Timestamp of each picture in some runs of packets, first to last, and what draws it.

        See `tsm_ref.video.sparse`; ``planes`` may stay as they were decoded. Raises `VideoError`
        also where a run holds other pictures than packets.
        """
        draw = self._painter.planes_or_upright if planes else self._painter.upright
        left, first, due = deque(runs), 0, 0
        for number, packet in enumerate(self.packets()):
            if number < left[0][0]:
                continue
            stamp = self.stamp(packet)
            if number == left[0][0]:
                self.stream.codec_context.flush_buffers()
                first = stamp or 0
            ahead = stamp is not None and stamp < first  # it leans on what is left out
            pictures = [] if ahead else self._decoded(packet)
            due += not (ahead or packet.is_discard)
            last = left[0][1]
            if number == last:
                pictures += self._decoded(self._last_packet())
                left.popleft()
            for picture in pictures:
                look = self.look = self.look or self._looked_at(picture)
                self._notice_fields(picture)
                yield self.stamp(picture), partial(draw, picture, look)
                due -= 1
            if number == last and due:
                raise VideoError("the packets are not one for each picture")
            if not left:
                return

    def look_at(self, packet: Any) -> None:
        """Look at the first picture, if this packet gives one."""
        pictures = self.pictures(packet)
        if self._kept:
            self._kept.keep_pictures(pictures)
        for picture in pictures:
            self.look = self.look or self._looked_at(picture)
            self._notice_fields(picture)

    def new_clock(self) -> Clock:
        """A clock for the pictures of this file."""
        return Clock(self.stream.time_base, self._rate, jumps=self._clock_jumps)

    @property
    def _rate(self) -> Fraction | None:
        """Frames a second: as the container says or, where none could, as the codec does."""
        told: Fraction | None = self.stream.average_rate
        if self.format_name in _UNTIMED:
            named: Fraction | None = self.stream.codec_context.framerate
            return named if named and _BELIEVED[0] <= named <= _BELIEVED[1] else told
        return told

    @property
    def _clock_jumps(self) -> bool:
        return bool(int(self._container.format.flags) & _CLOCK_JUMPS)

    def stamp(self, shown: Any) -> int | None:
        """The timestamp of a packet or picture: of its display, or of decoding where that is so."""
        stamp: int | None = shown.dts if self.format_name in _WITHOUT_PTS else shown.pts
        return stamp

    @property
    def format_name(self) -> str:
        """FFmpeg's name of the container."""
        return str(self._container.format.name)

    @property
    def codec_name(self) -> str:
        """The name of the codec, whatever decodes it: "av1", not "libdav1d"."""
        return str(self.stream.codec_context.codec.canonical_name)

    def _time(self, picture: Any) -> float:
        stamp = self.stamp(picture)
        if stamp is None and self.format_name in _WITHOUT_PTS and self._last_stamp is not None:
            stamp = self._last_stamp + 1  # a decoder has no times for what it gives back at the end
        self._last_stamp = stamp
        time = self.clock.show(stamp, picture.duration)
        if not self.clock.stamped or self.format_name in _UNTIMED:
            self._unstamped()
        return time

    def _unstamped(self) -> None:
        rate = float(self._rate or 0) or ASSUMED_RATE
        self.warn(f"there are no timestamps: {rate:g} frames per second are assumed")

    def _notice_fields(self, picture: Any) -> None:
        if picture.interlaced_frame and not self.interlaced:
            self.interlaced = True
            self.warn("pictures are interlaced: both fields are shown as one picture")

    def _looked_at(self, picture: Any) -> Look:
        """What the first picture says of all; what 8-bit RGB loses of it becomes warnings."""
        look = Look.at(picture, self.stream.sample_aspect_ratio)
        for message in look.warnings:
            self.warn(message)
        return look

    def _check_size(self, width: int, height: int) -> None:
        if width * height > self._max_pixels:
            raise VideoError(
                f"a picture of {width}x{height} is too large: at most {self._max_pixels} pixels "
                "are accepted"
            )

    def _damaged(self, what: str, kind: str | None = None) -> None:
        """Refuse, or say so once of a `kind`; what precedes the first key picture is no damage."""
        if self._captures.headless:
            return
        if not self._partial:
            raise VideoError(f"{what}: {containers.PARTIAL}")
        self.damaged = True
        if (kind or what) not in self._told:
            self._told.add(kind or what)
            self.warn(f"{what}: what decodes is used")


def frames(
    path: str | os.PathLike[str],
    *,
    allow_partial: bool = False,
    max_pixels: int = MAX_PIXELS,
    max_frames: int | None = None,
    threads: int = 1,
) -> VideoFile:
    """Stream the frames of a file, or of a FIFO: an iterable that holds one decoded frame.

    Yields `Frame`: RGB uint8 (H, W, 3), upright, all of the size of the first, converted by
    FFmpeg's scaler with the matrix that the video names (BT.601 if it names none). `max_frames`
    ends an endless stream; `threads` above 1 decodes ahead by that many frames. `close()` it, or
    use it in a ``with``.

    Raises `VideoError` (a sentence without the path) at opening or on the way, and
    `MissingDependency` without PyAV.

    >>> frames("missing.mp4")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    tsm_ref.errors.VideoError: no such file: ...
    """
    return VideoFile(
        path,
        allow_partial=allow_partial,
        max_pixels=max_pixels,
        max_frames=max_frames,
        threads=threads,
    )


def _import_av() -> Any:
    try:
        import av
    except ImportError:
        raise MissingDependency("av", "decode a video") from None
    return av
