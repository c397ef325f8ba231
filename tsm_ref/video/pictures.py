"""One decoded picture: how it is turned for display and what it loses as 8-bit RGB."""

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tsm_ref.errors import VideoError
from tsm_ref.video.log import reason
from tsm_ref.video.planes import Planes, planes_of

_HDR_CURVES = {16: "PQ (SMPTE 2084)", 18: "HLG (ARIB STD-B67)"}  # ITU-T H.273, table 3


_OPACITY = {
    **dict.fromkeys(("bgra", "rgba"), (0, 4, 3)),
    **dict.fromkeys(("abgr", "argb"), (0, 4, 0)),
    **dict.fromkeys(("yuva420p", "yuva422p", "yuva444p", "gbrap"), (3, 1, 0)),
    "ya8": (0, 2, 1),
}
"""Where a pixel says how opaque it is: the plane, the bytes of a pixel in it, and which of them."""

MOST_ASPECT = 10
"""The most that a pixel may be wider than high, or higher than wide."""


@dataclass(frozen=True)
class Orientation:
    """The nearest of the eight ways to lay a picture down: transposed, then mirrored.

    In other words: where `mirrored`, left and right change places, and then it is turned clockwise
    by `degrees`, a multiple of 90. `inexact` says that the matrix itself is none of the eight, and
    `void` that it would leave nothing of the picture, which is shown as it is stored.
    """

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False
    degrees: int = 0
    mirrored: bool = False
    inexact: bool = False
    void: bool = False

    @classmethod
    def from_matrix(cls, a: float, b: float, c: float, d: float) -> Self:
        """The orientation of a display matrix that moves (x, y) to (a x + c y, b x + d y).

        x points right and y down, as pixels do. How large it draws the picture does not matter.
        Source: ISO/IEC 14496-12, 8.3.2, and FFmpeg's display side data.

        >>> Orientation.from_matrix(0, 1, -1, 0).degrees  # x goes down, y goes left
        90
        >>> mirror = Orientation.from_matrix(-1, 0, 0, 1)  # x goes left
        >>> mirror.mirrored, mirror.degrees
        (True, 0)
        """
        if a * d == b * c:
            return cls(void=True)
        mirrored = a * d - b * c < 0
        transpose = abs(b) + abs(c) > abs(a) + abs(d)
        kept = (abs(b), abs(c)) if transpose else (abs(a), abs(d))
        lost = (abs(a), abs(d)) if transpose else (abs(b), abs(c))
        angle = math.degrees(math.atan2(-b, -a) if mirrored else math.atan2(b, a))
        return cls(
            transpose=transpose,
            flip_x=(c if transpose else a) < 0,
            flip_y=(b if transpose else d) < 0,
            degrees=round(angle / 90) % 4 * 90,
            mirrored=mirrored,
            inexact=max(lost) > 0.01 * min(kept),
        )

    @classmethod
    def of(cls, picture: Any) -> Self:
        """The orientation of a decoded picture (an ``av.VideoFrame``), upright without a matrix."""
        for data in picture.side_data:
            if data.type.name == "DISPLAYMATRIX" and len(bytes(data)) == 36:
                a, b, u, c, d, v, *_ = struct.unpack("=9i", bytes(data))
                found = cls.from_matrix(a, b, c, d)
                return replace(found, inexact=found.inexact or bool(u or v))  # in perspective
        return cls()

    @property
    def upright(self) -> bool:
        """Whether pictures are stored as they are shown."""
        return not (self.transpose or self.flip_x or self.flip_y)

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height as shown.

        >>> Orientation(transpose=True).size(640, 480)
        (480, 640)
        """
        return (height, width) if self.transpose else (width, height)

    def apply(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The pixels (H, W, C) laid down as shown; a copy only if something moves.

        >>> Orientation(transpose=True, flip_x=True).apply(np.zeros((2, 4, 3), np.uint8)).shape
        (4, 2, 3)
        """
        if self.transpose:
            pixels = pixels.transpose(1, 0, 2)
        return np.ascontiguousarray(
            pixels[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]
        )


@dataclass(frozen=True)
class Look:
    """What the first picture says of all: its coded size (width, height), orientation and format.

    `pixel_aspect` is the width of a pixel over its height, as shown; `warnings` say what is lost
    when the pictures become 8-bit RGB.
    """

    coded: tuple[int, int]
    orientation: Orientation
    pixel_format: str
    pixel_aspect: Fraction
    warnings: tuple[str, ...]

    @classmethod
    def at(cls, picture: Any, pixel_aspect: Fraction | None) -> Self:
        """The look of a decoded picture whose stream names this shape of its pixels, or none."""
        turned, found = Orientation.of(picture), picture_warnings(picture)
        if turned.void:
            found.append(
                "the display matrix leaves nothing of the picture: it is shown as it is stored"
            )
        elif turned.inexact:
            found.append(
                "the display rotation is not a multiple of 90 degrees: the nearest is used"
            )
        aspect = pixel_aspect or Fraction(1)
        if not 1 / MOST_ASPECT <= aspect <= MOST_ASPECT:
            found.append(f"a pixel {aspect} times as wide as high is not believed: it is square")
            aspect = Fraction(1)
        aspect = 1 / aspect if turned.transpose else aspect
        size = picture.width, picture.height
        return cls(size, turned, picture.format.name, aspect, tuple(found))

    @property
    def shown(self) -> tuple[int, int]:
        """Width and height in pixels as shown."""
        return self.orientation.size(*self.coded)


def picture_warnings(picture: Any) -> list[str]:
    """What this picture (an ``av.VideoFrame``) loses when it becomes 8-bit RGB, one sentence each.

    >>> from types import SimpleNamespace as Picture
    >>> samples = [Picture(bits=10, is_alpha=False)]
    >>> picture_warnings(Picture(format=Picture(name="gray10le", components=samples), color_trc=2))
    ['the samples of 10 bits (gray10le) are rounded to 8']
    """
    layout, found = picture.format, []
    bits = max(component.bits for component in layout.components)
    if bits > 8:
        found.append(f"the samples of {bits} bits ({layout.name}) are rounded to 8")
    if any(component.is_alpha for component in layout.components) and transparent(picture):
        found.append(_dropped(layout.name))
    curve = _HDR_CURVES.get(int(getattr(picture, "color_trc", 0)))
    if curve is not None:
        found.append(f"the HDR transfer curve {curve} is kept as it is, without tone mapping")
    return found


def transparent(picture: Any) -> bool:
    """Whether some pixel of a picture with transparency lets through what is behind it.

    True where that cannot be told; decoders give even opaque GIF files such pictures.
    """
    where = _OPACITY.get(picture.format.name)
    if where is None:
        return True
    plane, step, first = where
    bytes_of = picture.planes[plane]
    rows = np.frombuffer(bytes_of, np.uint8).reshape(bytes_of.height, bytes_of.line_size)
    return bool(rows[:, first : step * picture.width : step].min() < 255)


def _dropped(name: str) -> str:
    return f"the transparency of {name} is dropped"


class Painter:
    """Turns decoded pictures into upright RGB, in one thread: FFmpeg's scaler is set up but once.

    To set it up, with threads of its own, costs more than to scale a small picture. What a picture
    loses that the first did not is told to `warn`.
    """

    def __init__(self, av: Any, warn: Callable[[str], None] = lambda message: None) -> None:
        self._av, self._scaler = av, av.video.reformatter.VideoReformatter()
        self._warn, self._opaque = warn, True

    def upright(self, picture: Any, look: Look) -> NDArray[np.uint8]:
        """A picture of the size of the first (H, W, 3); raises `VideoError` for unknown colours."""
        if self._opaque and picture.format.name in _OPACITY and transparent(picture):
            self._opaque = False
            self._warn(_dropped(picture.format.name))
        try:
            rgb = self._scaler.reformat(picture, *look.coded, "rgb24", threads=1)
        except self._av.FFmpegError as error:
            raise VideoError(f"a picture cannot be turned into RGB ({reason(error)})") from None
        return look.orientation.apply(rgb.to_ndarray())

    def planes_or_upright(self, picture: Any, look: Look) -> Planes | NDArray[np.uint8]:
        """The planes of a picture where that is the same picture, else as `upright`."""
        same = look.orientation.upright and (picture.width, picture.height) == look.coded
        planes = planes_of(self._av, picture) if same else None
        return self.upright(picture, look) if planes is None else planes
