"""The body of a request to a private temporary file, within bounds of size and time.

A body is never held in memory: what came is written and forgotten. The folder is for this server
alone, and so are the names in it; what a client calls its file is a text that is given back.
"""

import asyncio
import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from email.message import Message
from pathlib import Path
from typing import Any

from python_multipart import MultipartParser
from python_multipart.exceptions import MultipartParseError
from starlette.requests import Request

from tsm_ref.errors import WriteError
from tsm_ref.serve.problems import Problem

__all__ = ["Spool", "Upload", "receive"]

PREFIX = "tsm-serve-"
MOST_NAME = 255
MOST_HEADERS = 16 << 10
"""Bytes of the headers of one part."""
NO_VIDEOS = ("text/", "application/json", "application/xml", "audio/", "font/", "model/")
"""Beginnings of media types that are no video, whatever the bytes are."""


class Spool:
    """A folder for the files of one server; those of servers that were killed are removed.

    A lock says that a folder is in use: the system lets go of it with its process.
    """

    def __init__(self) -> None:
        while True:
            try:
                self.folder = Path(tempfile.mkdtemp(prefix=PREFIX))
                self._handle = os.open(self.folder, os.O_RDONLY) if os.name == "posix" else None
            except OSError as error:
                raise WriteError(f"no temporary folder can be made: {error.strerror}") from None
            if self._handle is None or _lock(self._handle):
                break
            os.close(self._handle)  # another server took it for one that was left
        self._sweep(self.folder.parent)
        self._count = 0

    def new(self) -> "Upload":
        """A new file; raises `Problem` where there is no room for it."""
        self._count += 1
        return Upload(self.folder / str(self._count))

    def close(self) -> None:
        """Remove it with all that is in it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _sweep(self, parent: Path) -> None:
        if os.name != "posix":
            return
        for folder in parent.glob(f"{PREFIX}*"):
            with contextlib.suppress(OSError):
                others = folder.lstat().st_uid != os.getuid()
                if folder == self.folder or folder.is_symlink() or others:
                    continue
                handle = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
                try:
                    if _lock(handle):
                        shutil.rmtree(folder, ignore_errors=True)
                finally:
                    os.close(handle)


def _lock(handle: int) -> bool:
    """Lock a folder that is there; False where another server has it, or has removed it."""
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: nothing is swept there
        return os.fstat(handle).st_nlink > 0
    return os.fstat(handle).st_nlink > 0


class Upload:
    """One file that is sent: written piece by piece, read by its path, removed once."""

    def __init__(self, path: Path) -> None:
        self.path, self.size, self.name = path, 0, ""
        self._file = _space(lambda: open(path, "xb", buffering=0))  # noqa: SIM115

    def write(self, data: bytes) -> None:
        """Add to it; raises `Problem` where the disk is full."""
        rest = memoryview(data)
        while rest:
            rest = rest[_space(lambda part=rest: self._file.write(part)) :]
        self.size += len(data)

    def finish(self) -> None:
        """Say that it is whole."""
        self._file.close()

    def remove(self) -> None:
        """Remove it; nothing happens the second time."""
        self._file.close()
        self.path.unlink(missing_ok=True)


def _space(write: Any) -> Any:
    try:
        return write()
    except OSError as error:
        full = errno.errorcode.get(error.errno or 0) in ("ENOSPC", "EDQUOT", "EFBIG")
        said = "there is no room for the file now" if full else "the file cannot be kept"
        raise Problem(507, said, {"Retry-After": "60"}) from error


async def receive(request: Request, upload: Upload, most: int, seconds: float) -> None:
    """Write the body of a request to a file: as it is, or the one file of a form.

    Raises `Problem`: 408 where it takes longer, 413 above `most` bytes, 415 for what says itself
    that it is no video, 400 for an empty body and for a form that is cut or holds no file; and
    Starlette's `ClientDisconnect` where the client hangs up.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.startswith(NO_VIDEOS):
        raise Problem(415, f"a video is expected, and {kind[:80]} was sent")
    length = request.headers.get("content-length", "")
    form = kind == "multipart/form-data"
    if length.isdecimal() and int(length) > most + form * MOST_HEADERS:
        raise _too_large(most)
    try:
        async with asyncio.timeout(seconds):
            body = _bounded(request.stream(), most + form * MOST_HEADERS, most)
            await (_from_form(request, body, upload, most) if form else _from_body(body, upload))
    except TimeoutError:
        raise Problem(408, f"the file did not come within {seconds:g} s") from None
    upload.name = _shortened(upload.name or request.query_params.get("name", ""))
    if not upload.size:
        raise Problem(400, "the body is empty: a video file is expected")
    upload.finish()


def _too_large(most: int) -> Problem:
    return Problem(413, f"the file has more than {most} bytes, the most accepted here")


def _shortened(name: str) -> str:
    return name[:MOST_NAME] or "upload"


async def _bounded(body: AsyncIterator[bytes], most: int, shown: int) -> AsyncIterator[bytes]:
    came = 0
    async for chunk in body:
        came += len(chunk)
        if came > most:
            raise _too_large(shown)
        yield chunk


async def _from_body(body: AsyncIterator[bytes], upload: Upload) -> None:
    async for chunk in body:
        if chunk:
            await asyncio.to_thread(upload.write, chunk)


async def _from_form(
    request: Request, body: AsyncIterator[bytes], upload: Upload, most: int
) -> None:
    header = Message()
    header["content-type"] = request.headers["content-type"]
    boundary = header.get_param("boundary")
    if not isinstance(boundary, str) or not 1 <= len(boundary) <= 70:
        raise Problem(400, "the form has no boundary of 1 to 70 characters")
    form = _Form()
    try:
        parser = MultipartParser(boundary.encode("latin-1", "replace"), form.callbacks())
        async for chunk in body:
            parser.write(chunk)
            for data in form.taken():
                if upload.size + len(data) > most:
                    raise _too_large(most)
                await asyncio.to_thread(upload.write, data)
        parser.finalize()
    except MultipartParseError as error:
        raise Problem(400, f"the form cannot be read: {error}") from None
    if not form.ended:
        raise Problem(400, "the form is cut before its last boundary")
    if form.name is None:
        raise Problem(400, "the form holds no file: send one, as curl -F file=@clip.mp4 does")
    upload.name = form.name


class _Form:
    """What a parser of forms tells: the bytes of the one part that is a file, and its name."""

    def __init__(self) -> None:
        self.name: str | None = None
        self.ended = False
        self._data: list[bytes] = []
        self._headers: list[tuple[bytearray, bytearray]] = []
        self._length = 0
        self._in_file = False

    def callbacks(self) -> Any:
        """The functions that the parser calls."""
        return {
            "on_part_begin": self._begin,
            "on_header_begin": lambda: self._headers.append((bytearray(), bytearray())),
            "on_header_field": lambda data, start, end: self._header(0, data[start:end]),
            "on_header_value": lambda data, start, end: self._header(1, data[start:end]),
            "on_headers_finished": self._opened,
            "on_part_data": self._part,
            "on_end": self._end,
        }

    def taken(self) -> list[bytes]:
        """What came of the file since the last time."""
        data, self._data = self._data, []
        return data

    def _begin(self) -> None:
        self._headers, self._length, self._in_file = [], 0, False

    def _header(self, which: int, data: bytes) -> None:
        self._length += len(data)
        if self._length > MOST_HEADERS:
            raise Problem(400, "the headers of a part of the form are too long")
        self._headers[-1][which].extend(data)

    def _opened(self) -> None:
        fields = {bytes(k).lower(): bytes(v).decode("utf-8", "replace") for k, v in self._headers}
        header = Message()
        header["content-disposition"] = " ".join(fields.get(b"content-disposition", "").split())
        name = header.get_filename()
        if name is None:
            raise Problem(400, "the form holds something that is no file: options go into the URL")
        if self.name is not None:
            raise Problem(400, "the form holds several files: send one at a time")
        for escaped, meant in (("%22", '"'), ("%0D", "\r"), ("%0A", "\n")):  # as browsers do
            name = name.replace(escaped, meant)
        self.name, self._in_file = name, True

    def _part(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            self._data.append(data[start:end])

    def _end(self) -> None:
        self.ended = True
