"""The clip again, redrawn picture by picture: with label, probability and timeline under it.

Pictures are upright and as large as they were; the sound is copied where the container takes it.
"""

import os
import secrets
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.errors import MissingDependency, UsageError, VideoError, WriteError
from tsm_ref.show.cues import Tree, stretches
from tsm_ref.system.terminal import printable
from tsm_ref.video import Frame, frames
from tsm_ref.video.containers import DEMUXERS
from tsm_ref.video.source import ASSUMED_RATE

__all__ = ["ENDINGS", "redraw", "save_video"]

Pixels = NDArray[np.uint8]
ENDINGS = (".mp4", ".mov", ".mkv")
PANEL = 64
"""How many rows of pixels are added under the picture."""
LEAST_WIDTH = 320
IN_MP4 = frozenset(("aac", "mp3", "ac3", "eac3", "opus", "alac", "flac"))
"""The sound that players find in MP4; FFmpeg lists more, and refuses some of it in the end."""
CLOCK = 90_000
"""Ticks of the output in a second, those of MPEG."""
INK, SOFT, PAPER, BAR, TRACK = "#ffffff", "#9da7b3", "#10151b", "#4493f8", "#30363d"


def save_video(tree: Tree, path: str) -> tuple[str, ...]:
    """Write the clip of a result with a panel under it; returns what the user should know.

    Raises `UsageError` for another ending than `ENDINGS` and for the clip itself, `VideoError` for
    a clip that is not as it was, `MissingDependency` without Pillow, `WriteError`.
    """
    panel = _Panel(tree)
    return redraw(
        tree["input"]["path"],
        path,
        tree["input"]["frame_rate"],
        lambda frame: panel.under(frame.pixels, frame.time),
    )


def redraw(
    source: str, path: str, rate: float | None, draw: Callable[[Frame], Pixels]
) -> tuple[str, ...]:
    """Write a clip with what `draw` makes of its frames; returns what the user should know.

    It makes pictures uint8 (H, W, 3) of one size, even in both. ``rate`` is in frames a second.
    Raises as `save_video`.
    """
    if Path(path).suffix.lower() not in ENDINGS:
        raise UsageError(f"{path}: the ending must be one of {', '.join(ENDINGS)}")
    with suppress(OSError):
        if os.path.samefile(source, path):
            raise UsageError(f"{path}: the output is the video itself; another name is needed")
    with _new_file(path) as part:
        return _written(source, part, rate or ASSUMED_RATE, draw)


def _written(
    source: str, part: str, rate: float, draw: Callable[[Frame], Pixels]
) -> tuple[str, ...]:
    import av

    notes: list[str] = []
    with (
        frames(source, allow_partial=True) as film,
        av.open(part, "w") as output,
        av.open(
            "file:" + source,
            container_options={"format_whitelist": DEMUXERS, "protocol_whitelist": "file"},
            metadata_errors="replace",
        ) as sound,
    ):
        encoder: Any = None
        last, tracks = -1, _tracks(output, sound, notes)
        waiting = deque(_packets(sound, tracks)) if tracks else deque[Any]()
        for frame in film:
            canvas = draw(frame)
            if encoder is None:
                encoder = _encoder(output, canvas, rate)
            picture = av.VideoFrame.from_ndarray(canvas, format="rgb24")
            last = max(last + 1, round(frame.time * CLOCK))
            picture.pts, picture.time_base = last, Fraction(1, CLOCK)
            output.mux(encoder.encode(picture))
            while waiting and waiting[0].pts * waiting[0].time_base <= frame.time:
                output.mux(waiting.popleft())
        output.mux(encoder.encode(None))
        for packet in waiting:
            output.mux(packet)
    return tuple(notes)


def _encoder(output: Any, canvas: Pixels, rate: float) -> Any:
    import av

    name = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    encoder: Any = output.add_stream(name, rate=Fraction(rate).limit_denominator(1001))
    encoder.height, encoder.width = canvas.shape[:2]
    encoder.pix_fmt, encoder.time_base = "yuv420p", Fraction(1, CLOCK)
    encoder.codec_context.time_base = Fraction(1, CLOCK)
    return encoder


def _tracks(output: Any, sound: Any, notes: list[str]) -> dict[int, Any]:
    """A track of the output for each of the sound that its container takes."""
    tracks = {}
    for stream in sound.streams.audio:
        name = stream.codec_context.name if stream.codec_context else "an unknown codec"
        if name not in (IN_MP4 if output.format.name == "mp4" else output.supported_codecs):
            notes.append(f"the sound ({name}) does not fit into this kind of file: it is left out")
            continue
        tracks[stream.index] = output.add_stream_from_template(stream)
    return tracks


def _packets(sound: Any, tracks: dict[int, Any]) -> Iterator[Any]:
    """The compressed sound by the clock of the pictures, which begin at 0."""
    pictures = next((s for s in sound.streams.video if s.start_time is not None), None)
    begin = pictures.start_time * pictures.time_base if pictures else 0
    for packet in sound.demux([sound.streams[index] for index in tracks]):
        if packet.pts is None:
            continue
        moved = round(begin / packet.time_base)
        packet.pts -= moved
        packet.dts = packet.pts if packet.dts is None else packet.dts - moved
        if packet.pts + (packet.duration or 0) >= 0:  # what a decoder needs before the first sound
            packet.stream = tracks[packet.stream.index]
            yield packet


@contextmanager
def _new_file(path: str) -> Iterator[str]:
    """A temporary file that takes the name when all is well, and is gone otherwise."""
    target = Path(path)
    part = target.with_name(f".{secrets.token_hex(8)}.part{target.suffix}")
    try:
        if target.is_dir():
            raise IsADirectoryError(21, "it is a folder, and a file name is needed")
        with open(part, "xb"):
            pass
        yield str(part)
        os.replace(part, target)
    except (VideoError, UsageError):
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None)  # FFmpeg's errors have one, of either kind
        if reason is None:
            raise
        raise WriteError(f"{path}: the video cannot be written: {reason}") from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


class _Panel:
    """Draws what is known at a moment under a picture."""

    def __init__(self, tree: Tree):
        try:
            from PIL import Image, ImageDraw, ImageFont
        except ImportError:
            raise MissingDependency("pillow", "write on a video") from None
        self._image, self._draw = Image, ImageDraw
        self._font = ImageFont.load_default(20)
        self._rows = stretches(tree)
        self._end = max(row["end"] for row in self._rows) or 1.0
        clips = sorted(tree["clips"], key=lambda clip: float(clip["start"] + clip["end"]))
        self._middles = np.array([(clip["start"] + clip["end"]) / 2 for clip in clips])
        self._clips = clips

    def under(self, pixels: Pixels, time: float) -> Pixels:
        """The picture (H, W, 3) on a canvas of even sizes, with the panel under it."""
        height, width = pixels.shape[:2]
        whole = max(LEAST_WIDTH, width + width % 2)
        rows = height + height % 2
        canvas = self._image.new("RGB", (whole, rows + PANEL), PAPER)
        canvas.paste(self._image.fromarray(pixels), ((whole - width) // 2, 0))
        self._write(self._draw.Draw(canvas), whole, rows, time)
        return np.asarray(canvas)

    def _write(self, draw: Any, width: int, top: int, time: float) -> None:
        now = next((row for row in self._rows if time < row["end"]), self._rows[-1])
        chance = self._chance(now, time)
        sure = f"{chance:.0%}"
        room = width - 24 - draw.textlength(sure, self._font)
        label = self._fitted(draw, printable(now["label"]), room)
        draw.text((8, top + 4), label, INK, self._font)
        draw.text((width - 8, top + 4), sure, INK, self._font, anchor="ra")
        draw.rectangle((8, top + 32, width - 9, top + 39), TRACK)
        draw.rectangle((8, top + 32, 8 + (width - 17) * chance, top + 39), BAR)
        self._timeline(draw, width, top + 48, time)

    def _timeline(self, draw: Any, width: int, top: int, time: float) -> None:
        def place(seconds: float) -> float:
            return 8 + (width - 17) * min(1.0, seconds / self._end)

        for row in self._rows:
            inside = row["start"] <= time < row["end"]
            span = (
                place(row["start"]),
                top,
                max(place(row["start"]), place(row["end"]) - 2),
                top + 7,
            )
            draw.rectangle(span, BAR if inside else SOFT)
        draw.rectangle((place(time) - 1, top - 3, place(time) + 1, top + 10), INK)

    def _chance(self, row: Tree, time: float) -> float:
        """The probability of the label in the window nearest to this moment."""
        clip = self._clips[int(np.abs(self._middles - time).argmin())]
        return next((r["probability"] for r in clip["top"] if r["index"] == row["index"]), 0.0)

    def _fitted(self, draw: Any, text: str, room: float) -> str:
        """As much of a text as there is room for."""
        if draw.textlength(text, self._font) <= room:
            return text
        while text and draw.textlength(text + "...", self._font) > room:
            text = text[:-1]
        return text + "..."
