"""A video that comes through a pipe, as a source of frames."""

from collections.abc import Iterator
from typing import Any, BinaryIO

from tsm_ref.video.decode import VideoFile

__all__ = ["Pipe"]


class Pipe(VideoFile):
    """A `FrameSource` over a video in an unbuffered stream of bytes, which is closed with it.

    FFmpeg, left to read by itself, does not hear Ctrl-C while it waits for bytes; this does.

    Raises `VideoError` as `frames` does.
    """

    def __init__(self, stream: BinaryIO, *, allow_partial: bool = False) -> None:
        self._stream, self._reader = stream, _Reader(stream)
        try:
            super().__init__("", allow_partial=allow_partial)
        except BaseException:
            stream.close()
            raise

    def _checked(self, path: Any, regular: bool) -> str:
        return ""  # there is no file to look at

    def _input(self) -> Any:
        return self._reader

    def _open(self) -> Any:
        try:
            return super()._open()
        finally:
            self._reader.heed()

    def packets(self) -> Iterator[Any]:
        """The stream's compressed packets, as they come."""
        try:
            for packet in super().packets():
                self._reader.heed()
                yield packet
        finally:
            self._reader.heed()

    def _damaged(self, what: str, kind: str | None = None) -> None:
        if self._container.format.name.startswith("mov"):
            what = f"{what}; through a pipe, an MP4 file needs its index in front"
        super()._damaged(what, kind)

    def close(self) -> None:
        """Close the stream; nothing happens the second time."""
        super().close()
        self._stream.close()


class _Reader:
    """What PyAV asks for bytes: it gets those that have come, and waits for at least one.

    PyAV would print a KeyboardInterrupt and go on. So FFmpeg is told that the stream has ended.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._interrupt: KeyboardInterrupt | None = None

    def read(self, count: int) -> bytes:
        if self._interrupt is None:
            try:
                return self._stream.read(count)
            except KeyboardInterrupt as interrupt:
                self._interrupt = interrupt
        return b""

    def heed(self) -> None:
        """Raise the interrupt that ended the stream, if one did."""
        if self._interrupt is not None:
            raise self._interrupt
