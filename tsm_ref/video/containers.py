"""What a file must look like from outside before a decoder may see it: path, size, whole or cut.

Nothing here decodes and nothing here needs a package. A path is refused when it is a URL, a
folder, a device or empty; the outermost boxes of MP4, Matroska and AVI say how long the file
ought to be, which is the only sign of a Matroska file that was cut in the middle.
"""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tsm_ref.errors import VideoError
from tsm_ref.video.boxes import FIRST_BOXES, MAX_UNLISTED, promised_end, unlisted_samples

ACCEPTED = (
    "a local MP4/MOV, Matroska/WebM, AVI, MPEG-TS/PS, FLV, ASF/WMV, Ogg, MXF, NUT, GIF, APNG, IVF "
    "or raw H.264/HEVC/MPEG-4/MJPEG/Y4M file"
)
"""The containers in words, for error messages."""

DEMUXERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,mxf,nut,gif,apng,ivf,"
    "h264,hevc,m4v,mpegvideo,mjpeg,yuv4mpegpipe"
)
"""The same list under FFmpeg's names: none of them opens a second file."""

PARTIAL = "a whole file is accepted, or what decodes of this one with allow_partial"
"""What is accepted instead of a damaged file, for error messages."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_MANIFESTS = (b"ffconcat", b"#EXTM3U", b"<?xml", b"<MPD", b"<SMIL", b"[playlist]")
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def check_path(path: str | os.PathLike[str], *, regular: bool = True) -> str:
    """The path as a string, once it is known to name a file that may be opened.

    Parameters: `path`; `regular=False` also lets a FIFO pass, which can be read only once.
    Raises `VideoError` with one sentence that does not repeat the path.

    >>> check_path("https://example.org/clip.mp4")
    Traceback (most recent call last):
        ...
    tsm_ref.errors.VideoError: a URL is not fetched: download it, or follow it with --stream
    """
    name = os.fspath(path)
    if _URL.match(name):
        raise VideoError("a URL is not fetched: download it, or follow it with --stream")
    try:
        status = os.stat(name)
    except FileNotFoundError:
        raise VideoError(f"no such file: {ACCEPTED} is accepted") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "its name is not one a file can have"
        raise VideoError(f"the file cannot be reached ({reason})") from None
    if stat.S_ISDIR(status.st_mode):
        raise VideoError(f"a folder is not a video: {ACCEPTED} is accepted")
    if stat.S_ISFIFO(status.st_mode):
        if regular:
            raise VideoError("a FIFO can be read only once: store it in a file first")
        return name
    if not stat.S_ISREG(status.st_mode):
        raise VideoError("a device or socket is not a video: a regular file is accepted")
    if status.st_size == 0:
        raise VideoError(f"the file is empty: {ACCEPTED} is accepted")
    if not os.access(name, os.R_OK):
        raise VideoError("the file may not be read: give yourself the permission to read it")
    return name


def refusal(path: str) -> str:
    """Why FFmpeg found no accepted container in the file, in one sentence.

    >>> refusal("/nonexistent").startswith("it is not a video that can be read")
    True
    """
    head = _head(path, 64).lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith(_MANIFESTS):
        return f"a playlist or list of other files is refused: {ACCEPTED} is accepted"
    if head[4:8] in FIRST_BOXES:
        return (
            "the MP4 file has no index (moov), it was cut or never finished: a whole file is"
            " accepted"
        )
    if head.startswith((b"\xff\xd8\xff", b"\x89PNG", b"BM", b"II*\0", b"MM\0*", b"P5", b"P6")):
        return (
            "one picture is no video: give the folder of the frames, or a pattern such as "
            "img_%05d.jpg"
        )
    return f"it is not a video that can be read: {ACCEPTED} is accepted"


def check_structure(path: str | os.PathLike[str]) -> int:
    """How many bytes the outermost boxes of the file promise beyond its end; 0 if none or unknown.

    MP4: the top-level boxes; Matroska: the size of the Segment (RFC 8794, 6); AVI: the size of
    the RIFF chunk. Raises `VideoError` for an MP4 index that claims samples out of nothing.

    >>> check_structure(__file__)
    0
    """
    length = os.path.getsize(path)
    with Path(path).open("rb") as file:
        head = file.read(64)
        if head[:4] == _EBML:
            promised = _matroska_end(head)
        elif head[:4] == b"RIFF" and head[8:11] == b"AVI":
            promised = 8 + int.from_bytes(head[4:8], "little")
        elif head[4:8] in FIRST_BOXES:
            promised = promised_end(file, length)
            if claimed := unlisted_samples(file, length):
                raise VideoError(
                    f"its index claims {claimed} samples and lists none: at most {MAX_UNLISTED} "
                    "are accepted"
                )
        else:
            promised = 0
    return max(0, promised - length)


@contextmanager
def opening(av: Any, name: str) -> Iterator[None]:
    """FFmpeg's refusal to open a file, as a sentence about that file."""
    try:
        yield
    except (av.FFmpegError, UnicodeError):
        raise VideoError(refusal(name)) from None


def video_stream(av: Any, container: Any) -> Any:
    """The first video of an open container that is no picture attached to sound."""
    streams = list(container.streams)
    attached = int(av.stream.Disposition.attached_pic)
    videos = [s for s in streams if s.type == "video" and not int(s.disposition) & attached]
    if not streams:
        raise VideoError(f"the file names no stream, only a header is there: {PARTIAL}")
    if not videos:
        kinds = ", ".join(sorted({stream.type for stream in streams}))
        raise VideoError(f"there is no video in it, only {kinds}: a video stream is needed")
    if videos[0].codec_context is None:
        raise VideoError("its video codec is not known to the installed FFmpeg")
    return videos[0]


def _head(path: str, count: int) -> bytes:
    if not os.path.isfile(path):  # a FIFO gives its bytes only once
        return b""
    try:
        with Path(path).open("rb") as file:
            return file.read(count)
    except OSError:
        return b""


def _matroska_end(head: bytes) -> int:
    """Where the Segment ends, from the two EBML elements that start the file."""
    size, start = _vint(head, 4)
    segment = start + (size or 0)
    if size is None or head[segment : segment + 4] != _SEGMENT:
        return 0
    size, start = _vint(head, segment + 4)
    return 0 if size is None else start + size


def _vint(data: bytes, at: int) -> tuple[int | None, int]:
    """An EBML variable-length size and where it ends; None for "unknown" or beyond `data`."""
    if at >= len(data) or data[at] == 0:
        return None, at
    width = 9 - data[at].bit_length()
    raw = data[at : at + width]
    mask = (1 << (7 * width)) - 1
    value = int.from_bytes(raw, "big") & mask
    return (None if len(raw) < width or value == mask else value), at + width
