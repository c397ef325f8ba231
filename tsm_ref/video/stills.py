"""Clips that are no video file: folders of pictures, animated WebP, and arrays of frames.

Pictures are read by Pillow, as the networks that were trained on folders of frames read theirs.
"""

import hashlib
import itertools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.errors import MissingDependency, UsageError, VideoError
from tsm_ref.video.clips import Clip, FileClip
from tsm_ref.video.delays import missing_delays
from tsm_ref.video.kept import MOST_BYTES
from tsm_ref.video.source import ASSUMED_RATE, Frame, Pixels, VideoInfo
from tsm_ref.video.surveys import MAX_FRAMES, Survey

__all__ = [
    "ArrayClip",
    "FolderClip",
    "Slides",
    "WebPClip",
    "flow_images",
    "is_frames",
    "open_clip",
    "read_picture",
]

PICTURES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""The endings of the files that are frames."""

MOST_RATE = 1e6
"""The most frames a second that may be asked for; the fewest are one in as many seconds."""

_PATTERN = re.compile(r"%0?\d*d")
_FLOW = re.compile(r"(?:.*[_-])?([xy])_0*(\d{1,9})", re.IGNORECASE)
_LAST_NUMBER = re.compile(r"\d+(?=\D*$)")


def open_clip(
    what: str | os.PathLike[str] | NDArray[Any],
    *,
    fps: float | None = None,
    allow_partial: bool = False,
    threads: int = 1,
) -> Clip:
    """A clip: a video file, a folder of frames or a pattern like ``img_%05d.jpg``, or an array.

    `fps` is the rate of frames that have no times of their own: needed for an array, (T, H, W, 3)
    uint8, and assumed to be 25 for a folder, which is warned of.

    Raises `UsageError` for what cannot be meant, and `VideoError` for what cannot be read.

    >>> open_clip(np.zeros((8, 4, 6, 3), np.uint8), fps=8).survey().info.duration
    1.0
    """
    if fps is not None and not (isinstance(fps, Real) and 1 / MOST_RATE <= fps <= MOST_RATE):
        raise UsageError(
            f"`fps` (={fps!r}) must be a positive number of frames a second, of 1e-6 to 1e6"
        )
    if isinstance(what, np.ndarray):
        return ArrayClip(what, fps)
    name = os.fspath(what)
    if is_frames(name):
        return FolderClip(name, fps, allow_partial=allow_partial)
    if fps is not None:
        raise UsageError("`fps` is for frames without times: a video file has its own")
    if _is_webp(name):
        return WebPClip(name)
    return FileClip(name, allow_partial=allow_partial, threads=threads)


def is_frames(name: str) -> bool:
    """Whether a path means pictures, one a frame: a folder, or a pattern that is no file itself.

    >>> is_frames("."), is_frames("img_%05d.jpg"), is_frames("clip.mp4")
    (True, True, False)
    """
    pattern = _PATTERN.search(os.path.basename(name))
    return os.path.isdir(name) or (pattern is not None and not os.path.exists(name))


class Slides:
    """A `Showing` of pictures that are made one at a time, each at its second."""

    patient = interlaced = damaged = False

    def __init__(
        self, times: Sequence[float], picture: Callable[[int], Pixels], warnings: dict[str, None]
    ) -> None:
        self._times, self._picture, self._warnings = times, picture, warnings

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was found so far that the user should know, each once."""
        return tuple(self._warnings)

    def shown(self) -> Iterator[tuple[int, float, Callable[[], Pixels]]]:
        """Index and seconds of each frame, and what makes its pixels."""
        for index, time in enumerate(self._times):
            yield index, float(time), partial(self._picture, index)

    def shown_in_planes(self) -> Iterator[tuple[int, float, Callable[[], Pixels]]]:
        """As `shown`: they are in RGB."""
        return self.shown()

    def __iter__(self) -> Iterator[Frame]:
        return (Frame(index, time, pixels()) for index, time, pixels in self.shown())

    def close(self) -> None:
        """Nothing is held."""


class ArrayClip:
    """A `Clip` of frames in memory: uint8 (T, H, W, 3), RGB, `fps` of them a second."""

    def __init__(self, frames: NDArray[Any], fps: float | None) -> None:
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or not frames.size:
            raise UsageError(
                f"an array of frames ({frames.dtype}, shape {frames.shape}) must be uint8 "
                "(T, H, W, 3), not empty; preprocessed ones go to model(clip)"
            )
        if fps is None:
            raise UsageError("an array of frames has no times: give `fps`, the frames per second")
        self._frames, self._fps = frames, fps

    def survey(self, *, decode: bool | None = None) -> Survey:
        """What it holds."""
        count, height, width = self._frames.shape[:3]
        info = _info("array", "raw", (width, height), "rgb24", count, self._fps, ())
        return Survey(info, np.arange(count) / self._fps, decoded=True)

    def open(self) -> Slides:
        """Show it from its first frame."""
        return Slides(
            (np.arange(len(self._frames)) / self._fps).tolist(),
            lambda index: np.ascontiguousarray(self._frames[index]),
            {},
        )

    def sha256(self) -> str:
        """The SHA-256 of its values, frame after frame."""
        digest = hashlib.sha256()
        for frame in self._frames:
            digest.update(np.ascontiguousarray(frame).data)
        return digest.hexdigest()


class FolderClip:
    """A `Clip` of numbered pictures: all of a folder, or those that fit a pattern like %05d.

    They are shown in the order of the last number in their names. Raises `VideoError` where there
    is none.
    """

    def __init__(self, path: str, fps: float | None, *, allow_partial: bool = False) -> None:
        self._path, self._fps, self._partial = path, fps or ASSUMED_RATE, allow_partial
        self._files = _numbered(path)
        self._stamps = self._stamped()
        self._size: tuple[int, int] | None = None
        self._last: Pixels | None = None
        self._uneven = False
        self._warnings: dict[str, None] = {}
        if fps is None:
            self._warn(f"frames in files have no times: {ASSUMED_RATE:g} a second are assumed")
        numbers = [number for file in self._files if (number := _number(file)) is not None]
        gaps = [a for a, b in itertools.pairwise(numbers) if b > a + 1]
        if gaps and len(numbers) == len(self._files):
            self._warn(
                f"the numbers of the frames have {len(gaps)} gap{'s' * (len(gaps) > 1)}, the first "
                f"after {gaps[0]}: the frames are shown one after the other"
            )

    def survey(self, *, decode: bool | None = None) -> Survey:
        """What it holds, by its files; the first picture is decoded."""
        height, width = self._picture(0).shape[:2]
        kind = self._files[0].suffix[1:].lower().replace("jpg", "jpeg")
        info = _info(
            self._path, kind, (width, height), "rgb24", len(self._files), self._fps, self._warnings
        )
        return Survey(info, np.arange(len(self._files)) / self._fps, decoded=True)

    def open(self) -> Slides:
        """Show it from its first frame."""
        times = (np.arange(len(self._files)) / self._fps).tolist()
        return Slides(times, self._picture, self._warnings)

    def sha256(self) -> str:
        """The SHA-256 of the bytes of its files, one after the other."""
        digest = hashlib.sha256()
        for file in self._files:
            digest.update(file.read_bytes())
        if self._stamped() != self._stamps:
            raise VideoError("a frame was changed while it was read; files that stay are needed")
        return digest.hexdigest()

    def _picture(self, index: int) -> Pixels:
        file = self._files[index]
        try:
            pixels, lost = _read(file)
            if lost:
                self._warn("the transparency of frames is dropped")
        except VideoError as error:
            if not self._partial or self._last is None:
                raise
            self._warn(f"{error}: the frame before is shown again")
            pixels = self._last
        self._size = self._size or (pixels.shape[1], pixels.shape[0])
        if pixels.shape[1::-1] != self._size:
            if not self._uneven:  # what is said once is said of all
                self._warn(
                    f"the frame {file.name} is of {pixels.shape[1]}x{pixels.shape[0]} and the "
                    f"first of {self._size[0]}x{self._size[1]}: frames of other sizes are resized "
                    "to the first"
                )
            self._uneven = True
            pixels = np.asarray(_pillow().fromarray(pixels).resize(self._size))
        self._last = pixels
        return pixels

    def _stamped(self) -> list[tuple[int, int]]:
        try:
            return [(s.st_size, s.st_mtime_ns) for s in map(os.stat, self._files)]
        except OSError:
            return []

    def _warn(self, message: str) -> None:
        self._warnings[message] = None


class WebPClip(FileClip):
    """A `Clip` in an animated WebP file, by its delays; decoded once, if it is not too large."""

    _known: Survey | None = None
    _kept: dict[int, Pixels]

    def survey(self, *, decode: bool | None = None) -> Survey:
        """What it holds; all of it is decoded."""
        delays, size, mode, lost, missing = [], (0, 0), "", False, 0
        self._kept = {}
        with _opened(Path(self._path)) as image:
            size, mode = image.size, image.mode
            for index in range(getattr(image, "n_frames", 1)):
                if index >= MAX_FRAMES:
                    raise VideoError(f"it holds more than {MAX_FRAMES} frames, the most accepted")
                _load(image, index)
                lost = lost or _transparent(image)
                if 3 * size[0] * size[1] * (len(self._kept) + 1) <= MOST_BYTES:
                    self._kept[index] = np.asarray(image.convert("RGB"))
                delay = max(int(image.info.get("duration", 0)), 0) / 1000
                missing += not delay
                delays.append(delay or 1 / ASSUMED_RATE)
        starts = np.cumsum([0.0, *delays])
        rate = len(delays) / float(starts[-1])
        said = ["the transparency of WebP is dropped"] if lost else []
        if missing and len(delays) > 1:
            said.append(missing_delays(missing, 1 / ASSUMED_RATE))
        info = _info(os.fspath(self._path), "webp", size, mode.lower(), len(delays), rate, said)
        self._known = Survey(info, starts[:-1], decoded=True)
        return self._known

    def open(self) -> Any:
        """Show it from its first frame."""
        times = (self._known or self.survey()).times
        image, kept = _pillow().open(self._path), self._kept

        def picture(index: int) -> Pixels:
            if index in kept:
                return kept.pop(index)
            _load(image, index)
            return np.asarray(image.convert("RGB"))

        slides = Slides(times.tolist(), picture, {})
        slides.close = image.close  # type: ignore[method-assign]
        return slides


def _info(
    path: str,
    codec: str,
    size: tuple[int, int],
    pixel_format: str,
    count: int,
    rate: float,
    warnings: Any,
) -> VideoInfo:
    return VideoInfo(
        path, codec, *size, 0, pixel_format, float(rate), count / rate, count, tuple(warnings)
    )


def _numbered(path: str) -> list[Path]:
    """The pictures of a folder or pattern in the order of their numbers."""
    folder, pattern = (Path(path), None) if os.path.isdir(path) else (Path(path).parent, path)
    try:
        files = [file for file in folder.iterdir() if file.is_file()]
    except OSError as error:
        raise VideoError(f"the folder cannot be read ({error.strerror})") from None
    if pattern is None:
        found = [file for file in files if file.suffix.lower() in PICTURES]
        found = _without_flow(found)
    else:
        before, after = _PATTERN.split(os.path.basename(pattern), maxsplit=1)
        fits = re.compile(re.escape(before) + r"\d+" + re.escape(after))
        found = [file for file in files if fits.fullmatch(file.name)]
    if not found:
        what = "picture is in this folder" if pattern is None else "file fits this pattern"
        raise VideoError(f"no {what}: numbered JPEG or PNG files are accepted")
    if len(found) > MAX_FRAMES:
        raise VideoError(f"it holds more than {MAX_FRAMES} frames, the most accepted")
    return sorted(found, key=lambda file: (_number(file) or 0, file.name))


def _without_flow(pictures: list[Path]) -> list[Path]:
    """The pictures without the flow images that may lie beside them, as MIT's and TSN's tools do.

    Raises `VideoError` where there is nothing else.
    """
    others = [file for file in pictures if not _FLOW.fullmatch(file.stem)]
    if pictures and not others:
        raise VideoError(
            f"the pictures of this folder, as {min(pictures).name}, are optical flow, and the "
            "model sees colours"
        )
    return others


def flow_images(path: str, *, packed: bool = False) -> dict[str, dict[int, Path]]:
    """The flow images of a folder by direction ("x", "y") and number; a `packed` one is both.

    Raises `VideoError` for what is no folder.

    >>> sorted(flow_images("."))
    ['x', 'y']
    """
    if packed:
        both = dict(enumerate(_numbered(path)))
        return {"x": both, "y": both}
    found: dict[str, dict[int, Path]] = {"x": {}, "y": {}}
    try:
        files = sorted(file for file in Path(path).iterdir() if file.is_file())
    except OSError as error:
        raise VideoError(f"the folder cannot be read ({error.strerror})") from None
    for file in files:
        match = _FLOW.fullmatch(file.stem) if file.suffix.lower() in PICTURES else None
        if match is None:
            continue
        other = found[match[1].lower()].setdefault(int(match[2]), file)
        if other != file:
            raise VideoError(f"{other.name} and {file.name} are the same flow image twice")
    return found


def read_picture(file: Path, mode: str) -> Pixels:
    """A picture in one of Pillow's modes, "L" (H, W) or "RGB" (H, W, 3); raises `VideoError`."""
    with _opened(file) as image:
        _load(image, 0)
        return np.asarray(image.convert(mode))


def _number(file: Path) -> int | None:
    found = _LAST_NUMBER.search(file.stem[-30:])
    return int(found[0]) if found else None


def _read(file: Path) -> tuple[Pixels, bool]:
    """A picture as RGB, and whether that drops transparency; samples of 16 bits lose the lower."""
    with _opened(file) as image:
        _load(image, 0)
        if image.mode.startswith("I"):
            grey = (np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
            return np.repeat(grey[:, :, None], 3, axis=2), False
        return np.asarray(image.convert("RGB")), _transparent(image)


def _transparent(image: Any) -> bool:
    """Whether some pixel of a loaded picture lets through what is behind it."""
    if not image.has_transparency_data:
        return False
    return bool(image.convert("RGBA").getchannel("A").getextrema()[0] < 255)


def _opened(file: Path) -> Any:
    pillow = _pillow()
    try:
        return pillow.open(file)
    except (OSError, ValueError, SyntaxError, pillow.DecompressionBombError):
        raise VideoError(f"the picture {file.name} cannot be read") from None


def _load(image: Any, index: int) -> None:
    try:
        image.seek(index)
        image.load()
    except (OSError, ValueError, SyntaxError, EOFError):
        name = os.path.basename(str(image.filename))
        raise VideoError(f"the picture {name} is damaged or cut") from None


def _is_webp(name: str) -> bool:
    try:
        with open(name, "rb") as file:
            head = file.read(12)
    except (OSError, ValueError):  # `FileClip` says why
        return False
    return head[:4] == b"RIFF" and head[8:] == b"WEBP"


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise MissingDependency("pillow", "read pictures") from None
    return Image
