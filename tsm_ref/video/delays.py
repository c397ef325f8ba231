"""Animations that do not say how long their pictures are shown: GIF and APNG, by their own blocks.

FFmpeg puts a delay of its own in the place of one that is nothing, and does not say so.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

__all__ = ["ASSUMED_DELAYS", "missing_delays", "undelayed"]

ASSUMED_DELAYS = {"gif": 0.1, "apng": 1 / 15}
"""Seconds that FFmpeg shows a picture without a delay, by its name of the format."""
_LEAST = 2
"""Hundredths of a second: FFmpeg, as browsers do, takes less for no delay of a GIF."""
_CONTROL, _EXTENSION, _PICTURE = 0xF9, 0x21, 0x2C


def missing_delays(count: int, seconds: float) -> str:
    """What is said of so many pictures without a delay.

    >>> missing_delays(3, 0.04)
    'delays are missing (of 3 frames): such a frame is shown for 0.04 s'
    """
    frames = f"{count} frame{'s' * (count > 1)}"
    return f"delays are missing (of {frames}): such a frame is shown for {seconds:.3g} s"


def undelayed(path: str, format_name: str) -> int:
    """How many pictures of an animation have no delay; 0 for a format that always has one.

    Sources: GIF89a, 18 to 26; PNG, third edition, 11.3.6.1 (fcTL).

    >>> undelayed(__file__, "matroska")
    0
    """
    read = {"gif": _gif, "apng": _apng}.get(format_name)
    if read is None:
        return 0
    with Path(path).open("rb") as file:
        return sum(read(file))


def _gif(file: BinaryIO) -> Iterator[bool]:
    """For each picture of a GIF whether it has no delay; ends where the file is none any more.

    Pictures before the first delay may be parts of one.
    """
    head, delay, none = file.read(13), _LEAST, _LEAST
    if len(head) == 13:
        _skip_colours(file, head[10])
    while block := file.read(1):
        kind = file.read(1) if block[0] == _EXTENSION else b""
        if kind and kind[0] == _CONTROL:
            control = file.read(5)  # its length, flags, the delay, a colour
            delay, none = int.from_bytes(control[2:4], "little"), 0
        elif block[0] == _PICTURE:
            picture = file.read(9)
            _skip_colours(file, picture[8] if len(picture) == 9 else 0)
            file.read(1)
            yield delay < _LEAST
            delay = none
        elif not kind:
            return
        while (size := file.read(1)) and size[0]:
            file.seek(size[0], 1)


def _skip_colours(file: BinaryIO, flags: int) -> None:
    if flags & 0x80:
        file.seek(3 << ((flags & 7) + 1), 1)


def _apng(file: BinaryIO) -> Iterator[bool]:
    """For each picture of an APNG whether it has no delay."""
    file.seek(8)
    while len(head := file.read(8)) == 8:
        length = int.from_bytes(head[:4], "big")
        if head[4:] == b"fcTL" and length == 26:
            yield not any(file.read(26)[20:22])
            length = 0
        file.seek(length + 4, 1)
