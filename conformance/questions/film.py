"""A video file that any decoder reads to the bit: an AVI of uncompressed pictures, and its reader.

Pictures are bottom-up rows of blue, green, red, each row padded to four bytes.
"""

import struct
from pathlib import Path

import numpy as np

from conformance.questions.arrays import Array

RATE = 10


def avi(frames: Array) -> bytes:
    """An uncompressed AVI of uint8 RGB frames (T, H, W, 3).

    >>> avi(np.zeros((1, 2, 2, 3), np.uint8))[:4]
    b'RIFF'
    """
    count, height, width, _ = frames.shape
    pictures = [_picture(frame) for frame in frames]
    size = len(pictures[0])
    header = struct.pack(
        "<14I",
        1_000_000 // RATE,
        size * RATE,
        0,
        0x10,
        count,
        0,
        1,
        size,
        width,
        height,
        0,
        0,
        0,
        0,
    )
    stream = struct.pack(
        "<4s4sIHHIIIIIIII4H", b"vids", b"DIB ", 0, 0, 0, 0, 1, RATE, 0, count, size, 0xFFFFFFFF, 0,
        0, 0, width, height,
    )  # fmt: skip
    bitmap = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, size, 0, 0, 0, 0)
    strl = _list(b"strl", _chunk(b"strh", stream) + _chunk(b"strf", bitmap))
    movi = b"".join(_chunk(b"00db", picture) for picture in pictures)
    index = b"".join(
        struct.pack("<4sIII", b"00db", 0x10, 4 + i * (8 + size), size) for i in range(count)
    )
    body = _list(b"hdrl", _chunk(b"avih", header) + strl) + _list(b"movi", movi)
    return _riff(b"AVI " + body + _chunk(b"idx1", index))


def read_avi(path: Path) -> Array:
    """The frames (T, H, W, 3) of a file that `avi` made."""
    data = path.read_bytes()
    at = data.index(b"strf") + 8
    width, height = struct.unpack_from("<ii", data, at + 4)
    row = -(-3 * width // 4) * 4
    frames, place = [], data.index(b"movi") + 4
    while data[place : place + 4] == b"00db":
        (size,) = struct.unpack_from("<I", data, place + 4)
        raw = np.frombuffer(data, np.uint8, size, place + 8).reshape(height, row)
        frames.append(raw[::-1, : 3 * width].reshape(height, width, 3)[..., ::-1])
        place += 8 + size
    return np.stack(frames)


def _picture(frame: Array) -> bytes:
    height, width, _ = frame.shape
    rows = np.zeros((height, -(-3 * width // 4) * 4), np.uint8)
    rows[:, : 3 * width] = frame[::-1, :, ::-1].reshape(height, 3 * width)
    return rows.tobytes()


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def _list(name: bytes, data: bytes) -> bytes:
    return _chunk(b"LIST", name + data)


def _riff(data: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", len(data)) + data
