"""Decoded pictures in planes, brightness apart from colour, and what they are in red, green, blue.

FFmpeg's scaler turns them into RGB whole, which costs as much as to make them small. The kernels of
the Numba engine do both at once, in the arithmetic of that scaler's vector code on x86, which is
written down here. Where the scaler of this machine gives other bits, its own are used.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Planes", "planes_of"]

Pixels = NDArray[np.uint8]

_HALVED = {"yuv420p": 1, "yuvj420p": 1, "yuv422p": 0, "yuvj422p": 0}
"""The formats that are known, and whether two rows share a row of colour."""
_WEIGHTS = {
    1: (0.2126, 0.0722),
    2: (0.299, 0.114),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
"""What red and blue add to brightness, by the number of the matrix (ITU-T H.273, table 4)."""
_FULL = 2
"""The number of the range that uses all values of a byte."""


@dataclass(frozen=True)
class Planes:
    """One upright picture: brightness (H, bytes of a row), blueness and redness at half the width.

    `halved` is 1 where the last two have half the height as well. `tone` (6,) int32 says how they
    become colours: the scale and the offset of brightness, and the shares of redness in red, of
    blueness in blue, and of both in green, in units of 2**-13. The arrays are those of the decoder:
    they are read while the picture is held.
    """

    luma: Pixels
    blue: Pixels
    red: Pixels
    width: int
    halved: int
    tone: NDArray[np.int32]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and 3, as of the same picture in RGB."""
        return len(self.luma), self.width, 3

    def rgb(self) -> Pixels:
        """The picture in RGB (H, W, 3).

        Each product of 16-bit numbers loses its lower half, and the sums are cut off.
        """
        scale, black, to_red, to_blue, blue_to_green, red_to_green = self.tone.tolist()
        bright = ((self.luma[:, : self.width].astype(np.int32) * 8 - black) * scale) >> 16
        u, v = (self._spread(plane) for plane in (self.blue, self.red))
        green = ((u * blue_to_green) >> 16) + ((v * red_to_green) >> 16)
        shares = [(v * to_red) >> 16, green, (u * to_blue) >> 16]
        values = np.stack([bright + share for share in shares], axis=-1)
        return np.asarray(np.clip(values, 0, 255), np.uint8)

    def _spread(self, plane: Pixels) -> NDArray[np.int32]:
        high, wide = np.arange(len(self.luma)) >> self.halved, np.arange(self.width) >> 1
        return np.asarray(plane[high[:, None], wide], np.int32) * 8 - 1024


def planes_of(av: Any, picture: Any) -> Planes | None:
    """The planes of a decoded picture; None where the scaler would make other colours of them."""
    name, width, height = picture.format.name, picture.width, picture.height
    if name not in _HALVED or height % 2 or picture.interlaced_frame:
        return None
    matrix, span = int(picture.colorspace), int(picture.color_range)
    if matrix not in _WEIGHTS or not _known_here(av, name, matrix, span, width):
        return None
    return _read(picture, name, matrix, span)


def _read(picture: Any, name: str, matrix: int, span: int) -> Planes:
    luma, blue, red = (
        np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
        for plane in picture.planes
    )
    tone = _tone(matrix, name.startswith("yuvj") or span == _FULL)
    return Planes(luma, blue, red, picture.width, _HALVED[name], tone)


@lru_cache
def _tone(matrix: int, full: bool) -> NDArray[np.int32]:
    """The numbers of `Planes.tone` (libswscale, yuv2rgb.c: coefficients of 16, then of 13 bits)."""
    red, blue = _WEIGHTS[matrix]
    green = 1 - red - blue
    shares = [2 - 2 * red, 2 - 2 * blue]
    shares += [-shares[1] * blue / green, -shares[0] * red / green]
    fixed = [round(share * 65536 * 255 / 224) for share in shares]
    if full:
        fixed = [int(value * 224 / 255) for value in fixed]
    scale = 65536 if full else 65536 * 255 // 219
    numbers = [scale, (0 if full else 16) << 16, *fixed]
    bits = [13, 3, 13, 13, 13, 13]
    each = [(n * (1 << b) + 0x8000) >> 16 for n, b in zip(numbers, bits, strict=True)]
    return np.array(each, np.int32)


@lru_cache(maxsize=64)
def _known_here(av: Any, name: str, matrix: int, span: int, width: int) -> bool:
    """Whether the scaler of this machine gives these bits: it is asked with noise of this width."""
    noise = av.VideoFrame(width, 4, name)
    noise.colorspace, noise.color_range = matrix, span
    random = np.random.default_rng(0)
    for plane in noise.planes:
        plane.update(random.integers(0, 256, plane.buffer_size, np.uint8).tobytes())
    try:
        scaled = noise.reformat(width, 4, "rgb24", threads=1).to_ndarray()
    except av.FFmpegError:
        return False
    return np.array_equal(_read(noise, name, matrix, span).rgb(), scaled)
