"""The heaps of an HDF5 file, walked before the HDF5 library walks them: in some it never ends.

The library follows the free list of a local heap, and the objects of a global one, for as long as
they lead on. A list that leads to itself, as two flipped bits make one, holds it for ever, inside
of C, where no signal reaches it. HDF5 File Format Specification, III.D and III.E.
"""

import mmap
import os
import struct
from collections.abc import Iterator

from tsm_ref.errors import CheckpointError

__all__ = ["check_heaps"]

Bytes = bytes | mmap.mmap

LAST = 1
"""The offset that ends a free list."""
ROOM = 16
"""The bytes of an object's head, and of an entry in a free list."""


def check_heaps(path: str | os.PathLike[str]) -> None:
    """Raise `CheckpointError` for a heap without end, and for addresses that we cannot follow.

    Four letters mark a heap; where the numbers behind them could not be those of one, they are data
    that happens to look so.
    """
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        _check_superblock(data)
        for at in _places(data, b"HEAP"):
            if not _local_ends(data, at):
                raise CheckpointError("the HDF5 file is damaged: a list of free space has no end")
        for at in _places(data, b"GCOL"):
            if not _global_ends(data, at):
                raise CheckpointError("the HDF5 file is damaged: a heap of texts has no end")


def _check_superblock(data: Bytes) -> None:
    """Offsets and lengths of eight bytes from the beginning of the file: all writers' choice."""
    head = data[:32]
    if len(head) < 32:
        return  # the library refuses it
    old = head[8] < 2
    sizes = head[13:15] if old else head[9:11]
    base = head[24:32] if old else head[12:20]
    if sizes != b"\x08\x08" or any(base):
        raise CheckpointError("the HDF5 file is damaged: its addresses are not of a usual kind")


def _places(data: Bytes, mark: bytes) -> Iterator[int]:
    at = data.find(mark)
    while at >= 0:
        yield at
        at = data.find(mark, at + 1)


def _local_ends(data: Bytes, at: int) -> bool:
    head = data[at + 4 : at + 32]
    if len(head) < 28 or head[:4] != bytes(4):
        return True
    size, free, address = struct.unpack("<QQQ", head[4:])
    if address + size > len(data):
        return True  # the library refuses it
    seen: set[int] = set()
    while free != LAST and free + ROOM <= size:
        if free in seen:
            return False
        seen.add(free)
        (free,) = struct.unpack_from("<Q", data, address + free)
    return True


def _global_ends(data: Bytes, at: int) -> bool:
    head = data[at + 4 : at + 16]
    if len(head) < 12 or head[:4] != b"\x01\0\0\0":
        return True
    (size,) = struct.unpack("<Q", head[4:])
    end = at + size
    if end > len(data):
        return True  # the library refuses it
    at += ROOM
    while at + ROOM <= end:
        index, _, _, length = struct.unpack_from("<HHIQ", data, at)
        if index == 0 and length < ROOM:
            return False
        at += ROOM + (length + 7) // 8 * 8 if index else length
    return True
