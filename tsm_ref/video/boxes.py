"""The boxes of an MP4 file, read just far enough to see that it lies: cut, or an index of nothing.

A box is ``[size u32 | type | body]``, with a 64-bit size after the type where the first is 1, and
size 0 for "to the end" (ISO/IEC 14496-12, 4.2). Nothing is allocated from a size found here.
"""

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

MAX_UNLISTED = 1 << 22
"""The most samples that an index may claim without listing them one by one."""

FIRST_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
"""The boxes with which an MP4 or MOV file may begin."""

_PARENTS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf")
_PER_SAMPLE_FIELDS = 0xF00  # the flags of a `trun` that lists durations, sizes, flags or offsets


class Box(NamedTuple):
    """One box: its type, where its body starts, and where it says that it ends."""

    kind: bytes
    start: int
    end: int


def boxes(file: BinaryIO, start: int, end: int) -> Iterator[Box]:
    r"""The boxes between two positions; stops at the first thing that is none.

    >>> import io
    >>> [box.kind for box in boxes(io.BytesIO(b"\0\0\0\x08free\0\0\0\x09mdat!"), 0, 17)]
    [b'free', b'mdat']
    """
    while start + 8 <= end:
        file.seek(start)
        head = file.read(16)
        size, kind, body = int.from_bytes(head[:4], "big"), head[4:8], start + 8
        if size == 1:
            size, body = int.from_bytes(head[8:16], "big"), start + 16
        elif size == 0:
            size = end - start
        if size < body - start or not kind.replace(b"\xa9", b"c").strip().isalnum():
            return
        yield Box(kind, body, start + size)
        start += size


def promised_end(file: BinaryIO, length: int) -> int:
    r"""Where the last top-level box says that it ends.

    >>> import io
    >>> promised_end(io.BytesIO(b"\0\0\0\x40mdat"), 8)
    64
    """
    return max((box.end for box in boxes(file, 0, length)), default=0)


def unlisted_samples(file: BinaryIO, length: int) -> int:
    r"""The largest number of samples that an entry claims without listing or having room for them.

    An index (`stsz`) of samples of one size, or a fragment (`trun`) of default samples, claims
    any number in a few bytes; a reader that believes it fills memory. 0 where nothing is wrong.

    >>> import io
    >>> trun = b"\0\0\0\x10trun" + bytes(4) + b"\x7f\0\0\0"
    >>> moof = b"\0\0\0\x20moof\0\0\0\x18traf" + trun
    >>> hex(unlisted_samples(io.BytesIO(moof), len(moof)))
    '0x7f000000'
    """
    worst, pending = 0, [(0, length)]
    while pending:
        for box in boxes(file, *pending.pop()):
            if box.kind in _PARENTS:
                pending.append((box.start, min(box.end, length)))
            elif box.kind in (b"stsz", b"trun"):
                worst = max(worst, _claim(file, box, length))
    return worst


def _claim(file: BinaryIO, box: Box, length: int) -> int:
    file.seek(box.start)
    words = [int.from_bytes(file.read(4), "big") for _ in range(3)]
    if box.kind == b"trun":
        listed, count, room = words[0] & _PER_SAMPLE_FIELDS, words[1], 0
    else:
        listed, count, room = words[1] == 0, words[2], length // max(words[1], 1)
    return 0 if listed or count <= max(room, MAX_UNLISTED) else count
