"""Clips: videos that can be looked through, and then read again from the beginning."""

import hashlib
import os
from collections.abc import Callable, Iterator
from typing import Protocol

from tsm_ref.errors import VideoError
from tsm_ref.video.decode import MAX_PIXELS, VideoFile
from tsm_ref.video.planes import Planes
from tsm_ref.video.source import Frame, Pixels
from tsm_ref.video.surveys import Survey, survey, survey_packets

__all__ = ["Clip", "FileClip", "Showing"]


class Showing(Protocol):
    """A clip that is read: a `FrameSource` whose pixels are made only where they are wanted."""

    @property
    def patient(self) -> bool:
        """Whether the pixels of a frame can also be made after the next is taken."""

    @property
    def interlaced(self) -> bool:
        """True once a picture of two fields was found."""

    @property
    def damaged(self) -> bool:
        """True once something did not decode, and that is allowed."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was found so far that the user should know, each once."""

    def shown(self) -> Iterator[tuple[int, float, Callable[[], Pixels]]]:
        """Index and seconds of each frame, and what makes its pixels before the next is taken."""

    def shown_in_planes(self) -> Iterator[tuple[int, float, Callable[[], Pixels | Planes]]]:
        """As `shown`; pictures may stay as they were decoded, for who makes them small."""

    def __iter__(self) -> Iterator[Frame]:
        """The frames with their pixels."""

    def close(self) -> None:
        """Let go of the file; nothing happens the second time."""


class Clip(Protocol):
    """What can be surveyed, opened as often as is needed, and told from all others."""

    def survey(self, *, decode: bool | None = None) -> Survey:
        """What it holds; see `tsm_ref.video.surveys.survey`."""

    def open(self) -> Showing:
        """Read it from its first frame."""

    def sha256(self) -> str:
        """The SHA-256 of its bytes; raises `VideoError` where it is not the clip surveyed."""


class FileClip:
    """A `Clip` in one file; raises `VideoError` as `tsm_ref.video.frames` does."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        allow_partial: bool = False,
        max_pixels: int = MAX_PIXELS,
        threads: int = 1,
    ) -> None:
        self._path, self._partial = path, allow_partial
        self._max_pixels, self._threads = max_pixels, threads
        self._stamp = _stamp(path)
        self._ready: VideoFile | None = None

    def survey(self, *, decode: bool | None = None) -> Survey:
        """What the file holds; it stays open for `open` where it can go back to its beginning."""
        if decode is False:
            source = self._opened_anew()
            source.keep()
            try:
                known = survey_packets(self._path, source)
                if known is not None and source.rewind():
                    self._ready = source
            finally:
                if self._ready is not source:
                    source.close()
            if known is not None:
                return known
        return survey(
            self._path,
            decode=True if decode is False else decode,
            allow_partial=self._partial,
            max_pixels=self._max_pixels,
            threads=self._threads,
        )

    def open(self) -> VideoFile:
        """The file at its beginning."""
        source, self._ready = self._ready, None
        return source or self._opened_anew()

    def _opened_anew(self) -> VideoFile:
        return VideoFile(
            self._path,
            regular=True,
            allow_partial=self._partial,
            max_pixels=self._max_pixels,
            threads=self._threads,
        )

    def sha256(self) -> str:
        """The SHA-256 of the file's bytes; raises `VideoError` for one that was changed."""
        try:
            with open(self._path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            reason = "there is no such file" if missing else str(error.strerror)
            raise VideoError(f"the file was changed while it was read: {reason}") from None
        if _stamp(self._path) != self._stamp:
            raise VideoError("the file was changed while it was read; one that stays is needed")
        return digest


def _stamp(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    """Size and time of the last change of a regular file."""
    if not os.path.isfile(path):
        return None
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns
