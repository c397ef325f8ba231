"""What a video file holds, known before it is used: how many pictures, and when each is shown.

Packets are cheap to count, and in most files each is one picture. Where anything speaks against
that, the pictures are decoded and counted instead; and whoever decodes them later compares
(`Survey.checked`), so that packets are believed only where the pictures turn out to be equal.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tsm_ref.errors import VideoError
from tsm_ref.video.clock import Timeline
from tsm_ref.video.containers import PARTIAL
from tsm_ref.video.decode import MAX_PIXELS, VideoFile
from tsm_ref.video.pictures import Look
from tsm_ref.video.source import VideoInfo
from tsm_ref.video.sparse import Marks

__all__ = ["Mistaken", "Survey", "packet_times", "probe", "survey"]

T = TypeVar("T")

MAX_FRAMES = 1 << 22
"""The most frames a file may hold: 38 hours at 30 frames a second."""

_ONE_TO_ONE = ("mov", "matroska", "gif", "apng", "flv", "ivf", "avi")
"""The formats (FFmpeg's names begin so) in which by their specification a packet is a picture."""

_INDEXED = ("mov", "matroska")
"""Of these the formats that tell when a picture is shown, and which ones need no other."""
_WHOLE = ("h264", "hevc", "av1", "mjpeg", "prores")
"""The codecs whose packets all show a picture: VP8 and VP9 may have some that do not."""

_SIMULTANEOUS = 1e-6  # seconds


class Mistaken(Exception):
    """The packets promised other pictures, or other times, than decode."""


@dataclass(frozen=True)
class Survey:
    """A `VideoInfo`, the `times` (N,) in seconds of its pictures, and whether they were `decoded`.

    Where they were not, the times are those of the packets, which the pictures may belie; where
    format and codec speak against that, ``marks`` are what the packets say.
    """

    info: VideoInfo
    times: NDArray[np.float64]
    decoded: bool
    marks: Marks | None = None

    def checked(self, shown: Iterable[tuple[int, float, T]]) -> Iterator[tuple[int, float, T]]:
        """The pictures as they are decoded; raises `Mistaken` at the first that was not foreseen.

        The end is checked, too: by who goes on to it.
        """
        count = 0
        for index, time, picture in shown:
            count = index + 1
            if not self.decoded and (
                count > len(self.times) or abs(time - self.times[index]) > _SIMULTANEOUS
            ):
                raise Mistaken
            yield index, time, picture
        if not self.decoded and count != len(self.times):
            raise Mistaken


def survey(
    path: str | os.PathLike[str],
    *,
    decode: bool | None = None,
    allow_partial: bool = False,
    max_pixels: int = MAX_PIXELS,
    threads: int = 1,
) -> Survey:
    """Look a file through: by its packets where they can be believed, or by decoding it.

    With `decode` false the packets of any format are believed that do not speak against themselves:
    for who checks. With None those of formats in which a packet is a picture; with true none.

    Raises `VideoError` as `tsm_ref.video.frames`, also for a FIFO
    and for more than `MAX_FRAMES` frames.
    """
    limits: dict[str, Any] = {"allow_partial": allow_partial, "max_pixels": max_pixels}
    if not decode:
        with VideoFile(path, regular=True, **limits) as source:
            known = survey_packets(path, source, believe=decode is False)
            if known is not None:
                return known
    with VideoFile(path, regular=True, threads=threads, **limits) as source:
        for index, _, _ in source.shown():
            _check_count(index + 1)
        assert source.look is not None  # `shown` refuses a file without a picture
        line = source.clock.timeline()
        return Survey(_info(path, source, source.look, line), line.times, decoded=True)


def survey_packets(
    path: str | os.PathLike[str], source: VideoFile, *, believe: bool = True
) -> Survey | None:
    """The survey of a file that was just opened, by its packets; None where they cannot be so.

    `believe` asks the packets of formats, too, in which one need not be a picture.
    """
    if not believe and not source.format_name.startswith(_ONE_TO_ONE):
        return None
    found = _by_packets(source)
    if found is None:
        return None
    look, line, marks = found
    tell = (
        source.format_name.startswith(_INDEXED)
        and source.codec_name in _WHOLE
        and _even(line.times)
    )
    info = _info(path, source, look, line)
    return Survey(info, line.times, decoded=False, marks=marks if tell else None)


def _even(times: NDArray[np.float64]) -> bool:
    """Whether all steps are alike: not some half as long, as where some packets are fields."""
    steps = np.diff(times)
    return bool(len(steps) and np.ptp(steps) < 0.3 * steps.min())


def probe(
    path: str | os.PathLike[str], *, allow_partial: bool = False, max_pixels: int = MAX_PIXELS
) -> VideoInfo:
    """What the file holds: by its packets where each is a picture, else by decoding it.

    Raises `VideoError` as `frames`, also for a FIFO and for more than `MAX_FRAMES` frames.

    >>> probe(".")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    tsm_ref.errors.VideoError: a folder is not a video: ...
    """
    return survey(path, allow_partial=allow_partial, max_pixels=max_pixels).info


def packet_times(
    path: str | os.PathLike[str], *, allow_partial: bool = False, max_pixels: int = MAX_PIXELS
) -> NDArray[np.float64]:
    """When each frame is shown, in seconds after the first (N,).

    Ascending; ``n / rate`` where the file carries no timestamps. Raises `VideoError` as `probe`.

    >>> packet_times("missing.mp4")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    tsm_ref.errors.VideoError: no such file: ...
    """
    return survey(path, allow_partial=allow_partial, max_pixels=max_pixels).times


def _by_packets(source: VideoFile) -> tuple[Look, Timeline, Marks] | None:
    """The look of the first picture, the times of the packets, and what else they say.

    None where the times cannot be so.
    """
    stamps: list[tuple[int, int]] = []
    marks: list[tuple[int, bool, bool]] = []
    last = None
    for packet in source.packets():
        if source.look is None:
            source.look_at(packet)
        stamp = source.stamp(packet)
        shown = not packet.is_discard and (packet.size or packet.dts is not None)
        marks.append((stamp or 0, bool(packet.is_keyframe), bool(shown)))
        if not shown:
            continue  # an edit list hides its picture, or the stream ends
        begun = stamps or packet.is_keyframe
        if not begun or not packet.size or stamp is None:
            return None
        if last is not None and (packet.dts is None or packet.dts <= last):
            return None  # the first of a Matroska file have no time of decoding where it reorders
        last = packet.dts
        stamps.append((stamp, packet.duration or 0))
        _check_count(len(stamps))
    if source.look is None:
        raise VideoError(f"no picture of the video decodes: {PARTIAL}")
    clock = source.new_clock()
    for stamp, length in sorted(stamps):
        clock.show(stamp, length)
    if clock.repairs or not stamps:
        return None
    said = Marks(*map(np.array, zip(*marks, strict=True)))
    return source.look, clock.timeline(), said


def _check_count(count: int) -> None:
    if count > MAX_FRAMES:
        raise VideoError(f"it holds more than {MAX_FRAMES} frames, the most accepted")


def _info(path: str | os.PathLike[str], source: VideoFile, look: Look, line: Timeline) -> VideoInfo:
    if line.varies:
        source.warn(
            "the frame rate varies: frames at equal steps of their index are not so in time"
        )
    width, height = look.shown
    return VideoInfo(
        path=os.fspath(path),
        codec=source.codec_name,
        width=width,
        height=height,
        rotation=look.orientation.degrees,
        pixel_format=look.pixel_format,
        frame_rate=line.rate,
        duration=line.end,
        frame_count=len(line.times),
        warnings=source.warnings,
        mirrored=look.orientation.mirrored,
        pixel_aspect=look.pixel_aspect,
        interlaced=source.interlaced,
        repairs=source.clock.repairs,
    )
