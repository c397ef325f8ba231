"""Video files to frames, by streaming: the only file that imports PyAV, and only when it is used.

A decoder is never trusted: not the header's frame count (packets are counted, then pictures), not
its size (capped), not its format (a list of containers that open no second file), not its rotation
(applied here). What FFmpeg hides is said: damage is a `VideoError`, or a warning with
`allow_partial`; ten bits, alpha and HDR are warnings.
"""

import os
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tsm_ref.errors import MissingDependency, VideoError
from tsm_ref.video.containers import DEMUXERS, check_path, check_structure, refusal
from tsm_ref.video.pictures import Orientation, picture_warnings
from tsm_ref.video.source import (
    ASSUMED_RATE,
    DecodedFrames,
    Frame,
    Indices,
    Pixels,
    VideoInfo,
    timeline,
)

__all__ = ["VideoFile", "VideoInfo", "frames", "packet_times", "probe", "read_frames", "scan"]

MAX_PIXELS = 8192 * 8192
"""The most pixels one picture may have."""
MAX_FRAMES = 1 << 22
"""The most frames a file may hold: 38 hours at 30 frames a second."""

_PARTIAL = "a whole file is accepted, or what decodes of this one with allow_partial"


class VideoFile:
    """A `FrameSource` over one file: open, iterate once, close (or use it in a ``with``)."""

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
        self.damaged = False
        self._av = _import_av()
        if os.path.isfile(self._name) and (missing := check_structure(self._name)):
            self._damaged(f"the file is cut, {missing} bytes are missing at its end")
        self._container = self._open()
        try:
            self.stream = self._video_stream()
            context = self.stream.codec_context
            self._check_size(context.width, context.height)
            context.options = {"max_pixels": str(2 * max_pixels)}
            context.thread_count = threads
            context.thread_type = "FRAME" if threads > 1 else "SLICE"
        except BaseException:
            self.close()
            raise

    def _checked(self, path: str | os.PathLike[str], regular: bool) -> str:
        return check_path(path, regular=regular)

    def _open(self) -> Any:
        with _translated(self._av, self._name):
            return self._av.open(
                self._input(),
                options={"max_pixels": str(2 * self._max_pixels)},  # room for a decoder's padding
                container_options={"format_whitelist": DEMUXERS, "protocol_whitelist": "file"},
                metadata_errors="replace",
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
        self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def packets(self) -> Iterator[Any]:
        """The stream's compressed packets, then an empty one that makes the decoder finish."""
        packets = self._container.demux(self.stream)
        while True:
            try:
                packet = next(packets)
            except (StopIteration, IndexError):  # PyAV stumbles over streams that appear late,
                return  # after it has given the last packet of those it knew
            except self._av.FFmpegError as error:
                self._damaged(f"the file cannot be read further ({_reason(error)})")
                packet, packets = self._last_packet(), iter(())
            if packet.is_corrupt:
                self._damaged("a piece of the video stream is damaged or cut")
            yield packet

    def _last_packet(self) -> Any:
        """The empty packet that makes the decoder give back what it still holds."""
        packet = self._av.Packet()
        packet.stream = self.stream
        return packet

    def pictures(self, packet: Any) -> list[Any]:
        """The pictures that the decoder gives after this packet, usually one or none."""
        try:
            pictures: list[Any] = packet.decode()
        except self._av.FFmpegError as error:
            self._damaged(f"a part of the video does not decode ({_reason(error)})")
            return []
        for picture in pictures:
            self._check_size(picture.width, picture.height)
            if picture.is_corrupt:
                self._damaged("a picture is damaged")
        return pictures

    def __iter__(self) -> Iterator[Frame]:
        return (Frame(index, time, pixels()) for index, time, pixels in self.shown())

    def shown(self) -> Iterator[tuple[int, float, Callable[[], Pixels]]]:
        """Index and seconds of each frame, and what makes its pixels before the next is taken."""
        rate = float(self.stream.average_rate or 0) or ASSUMED_RATE
        orientation: Orientation | None = None
        size, start, index = (0, 0), None, 0
        for packet in self.packets():
            for picture in self.pictures(packet):
                if orientation is None:
                    orientation = self.orientation(picture)
                    size = picture.width, picture.height
                if (picture.width, picture.height) != size:
                    self.warn(
                        f"the picture changes size from {size[0]}x{size[1]}, at first to "
                        f"{picture.width}x{picture.height} at frame {index}: such frames are "
                        "resized to the first"
                    )
                if picture.time is None:
                    self.warn(f"there are no timestamps: {rate:g} frames per second are assumed")
                time = index / rate if picture.time is None else float(picture.time)
                start = time if start is None else start
                yield index, time - start, partial(_upright_rgb, picture, size, orientation)
                index += 1
                if index == self._max_frames:
                    return
        if index == 0:
            raise VideoError(f"no picture of the video decodes: {_PARTIAL}")

    def orientation(self, picture: Any) -> Orientation:
        """How this picture is turned for display; its losses in 8-bit RGB become warnings."""
        orientation = Orientation.of(picture)
        if orientation.inexact:
            self.warn("the display rotation is not a multiple of 90 degrees: the nearest is used")
        for message in picture_warnings(picture):
            self.warn(message)
        return orientation

    def _video_stream(self) -> Any:
        streams = list(self._container.streams)
        attached = int(self._av.stream.Disposition.attached_pic)
        videos = [s for s in streams if s.type == "video" and not int(s.disposition) & attached]
        if not streams:
            raise VideoError(f"the file names no stream, only a header is there: {_PARTIAL}")
        if not videos:
            kinds = ", ".join(sorted({stream.type for stream in streams}))
            raise VideoError(f"there is no video in it, only {kinds}: a video stream is needed")
        if videos[0].codec_context is None:
            raise VideoError("its video codec is not known to the installed FFmpeg")
        return videos[0]

    def _check_size(self, width: int, height: int) -> None:
        if width * height > self._max_pixels:
            raise VideoError(
                f"a picture of {width}x{height} is too large: at most {self._max_pixels} pixels "
                "are accepted"
            )

    def _damaged(self, what: str) -> None:
        if not self._partial:
            raise VideoError(f"{what}: {_PARTIAL}")
        self.damaged = True
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


def probe(
    path: str | os.PathLike[str], *, allow_partial: bool = False, max_pixels: int = MAX_PIXELS
) -> VideoInfo:
    """What the file holds: its first picture is decoded and its packets are counted.

    Raises `VideoError` as `frames`, also for a FIFO and for more than `MAX_FRAMES` frames.

    >>> probe(".")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    tsm_ref.errors.VideoError: a folder is not a video: ...
    """
    return scan(path, allow_partial=allow_partial, max_pixels=max_pixels)[0]


def packet_times(
    path: str | os.PathLike[str], *, allow_partial: bool = False, max_pixels: int = MAX_PIXELS
) -> NDArray[np.float64]:
    """When each frame is shown, in seconds after the first (N,), without decoding them all.

    Ascending; ``n / rate`` where the file carries no timestamps. Raises `VideoError` as `probe`.

    >>> packet_times("missing.mp4")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    tsm_ref.errors.VideoError: no such file: ...
    """
    return scan(path, allow_partial=allow_partial, max_pixels=max_pixels)[1]


def read_frames(
    path: str | os.PathLike[str],
    indices: ArrayLike | Callable[[int], ArrayLike],
    *,
    convert: Callable[[Pixels], NDArray[Any]] | None = None,
    allow_partial: bool = False,
    max_pixels: int = MAX_PIXELS,
    threads: int = 1,
) -> DecodedFrames:
    """Decode the wanted frames of a file, and keep only those.

    `indices` are 0-based, of any shape, in any order, with repeats; or a function from the number
    of frames to such indices, asked again if there were fewer after all. `convert` takes each
    wanted frame, RGB uint8 (H, W, 3), as soon as it is decoded; its results share one shape.
    Memory: the results and one frame. Decoding ends with the last wanted frame.

    Raises `VideoError` as `frames`, and for an index that the file does not reach.

    >>> read_frames("missing.mp4", [0])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    tsm_ref.errors.VideoError: no such file: ...
    """
    limits: dict[str, Any] = {"allow_partial": allow_partial, "max_pixels": max_pixels}
    info = probe(path, **limits)
    for _ in range(2):
        wanted = np.asarray(indices(info.frame_count) if callable(indices) else indices, np.int64)
        if wanted.size == 0 or wanted.min() < 0:
            raise ValueError("`indices` must be at least one index, none below 0")
        unique, order = np.unique(wanted, return_inverse=True)
        with frames(path, threads=threads, **limits) as source:
            times, kept, decoded, ended = _collect(source, unique, convert)
            info = _with_warnings(info, *source.warnings)
        recount = ended and decoded != info.frame_count
        if recount:
            promise = f"the file promises {info.frame_count} frames and {decoded} decode"
            info = replace(_with_warnings(info, promise), frame_count=decoded)
        if len(kept) == len(unique) and not (recount and callable(indices)):
            order = order.reshape(wanted.shape)
            return DecodedFrames(wanted, times[order], kept, order, decoded, info)
        if not callable(indices):
            break
    raise VideoError(f"frame {unique[-1]} was asked for and the last is frame {decoded - 1}")


def _collect(
    source: VideoFile, unique: Indices, convert: Callable[[Pixels], NDArray[Any]] | None
) -> tuple[NDArray[np.float64], NDArray[Any], int, bool]:
    """The wanted frames that exist: times, pixels as converted, how many were decoded, if all."""
    times = np.zeros(len(unique))
    kept: NDArray[Any] = np.empty((0,), np.uint8)
    found = decoded = 0
    for index, time, pixels in source.shown():
        decoded += 1
        if found < len(unique) and index == unique[found]:
            image = pixels() if convert is None else convert(pixels())
            if found == 0:
                kept = np.empty((len(unique), *image.shape), image.dtype)
            kept[found], times[found] = image, time
            found += 1
        if found == len(unique) and not source.damaged:  # a damaged file is counted to its end
            return times, kept, decoded, False
    return times, kept[:found], decoded, True


def _with_warnings(info: VideoInfo, *found: str) -> VideoInfo:
    return replace(info, warnings=tuple(dict.fromkeys(info.warnings + found)))


def scan(
    path: str | os.PathLike[str], *, allow_partial: bool = False, max_pixels: int = MAX_PIXELS
) -> tuple[VideoInfo, NDArray[np.float64]]:
    """What `probe` and `packet_times` tell, in one pass over the file; raises as they do."""
    limits: dict[str, Any] = {"allow_partial": allow_partial, "max_pixels": max_pixels}
    with VideoFile(path, regular=True, **limits) as source:
        first, stamps, count = None, array("q"), 0
        for packet in source.packets():
            if first is None:
                first = next(iter(source.pictures(packet)), None)
            if not packet.size or packet.is_discard:  # an edit list hides such a packet's picture
                continue
            count += 1
            if count > MAX_FRAMES:
                raise VideoError(f"it holds more than {MAX_FRAMES} frames, the most accepted")
            if packet.pts is not None:
                stamps.append(packet.pts)
        if first is None:
            raise VideoError(f"no picture of the video decodes: {_PARTIAL}")
        stream, orientation = source.stream, source.orientation(first)
        times, rate = timeline(stamps, count, stream.time_base, stream.average_rate)
        if len(times) > 2 and np.ptp(np.diff(times)) > 0.5 * np.median(np.diff(times)):
            source.warn(
                "the frame rate varies: frames at equal steps of their index are not so in time"
            )
        width, height = orientation.size(first.width, first.height)
        info = VideoInfo(
            path=os.fspath(path),
            codec=stream.codec_context.name,
            width=width,
            height=height,
            rotation=orientation.degrees,
            pixel_format=first.format.name,
            frame_rate=rate,
            duration=float(times[-1] + 1 / rate),
            frame_count=count,
            warnings=source.warnings,
        )
        return info, times


def _upright_rgb(picture: Any, size: tuple[int, int], orientation: Orientation) -> Pixels:
    return orientation.apply(picture.to_ndarray(format="rgb24", width=size[0], height=size[1]))


def _import_av() -> Any:
    try:
        import av
    except ImportError:
        raise MissingDependency("av", "decode a video") from None
    return av


@contextmanager
def _translated(av: Any, name: str) -> Iterator[None]:
    """FFmpeg's refusal to open a file, as a sentence about that file."""
    try:
        yield
    except (av.FFmpegError, UnicodeError):
        raise VideoError(refusal(name)) from None


def _reason(error: Any) -> str:
    return str(error.strerror or error).lower()
