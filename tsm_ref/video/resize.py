"""Bilinear resizing of 8-bit images, equal bit for bit to Pillow and to OpenCV.

Networks are trained on one of the two, and they differ: Pillow widens the triangle filter when it
shrinks an image (antialiasing), OpenCV looks at four neighbours whatever the scale. Both work in
fixed point on integers; the same integers are computed here with NumPy.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Coefficients = NDArray[np.int32]

_PIL_BITS = 32 - 8 - 2  # eight bits of pixel and two of headroom leave these for a coefficient
_OPENCV_BITS = 11


def resize_pil(image: Pixels, height: int, width: int) -> Pixels:
    """Antialiased bilinear resize, equal to Pillow's ``Image.resize((width, height), BILINEAR)``.

    Output pixel i of n, from m input pixels, is the mean of the input pixels weighted by a
    triangle ``1 - |x|`` around ``(i + 1/2) m/n``, stretched by ``max(1, m/n)``. The weights are
    rounded to 22-bit fixed point, and each of the two passes, along the rows first, rounds its
    result to 8 bits. A pass that changes no size is left out. Pillow 13 may take the columns first
    where it shrinks the height more than the width; the order here is that of all before it.

    Shapes: `image` uint8 (H, W) or (H, W, C); result (height, width) or (height, width, C).
    Raises ValueError for another dtype or rank, or an empty size. Source: Pillow, Resample.c.

    >>> resize_pil(np.array([[0, 0, 90, 90]], np.uint8), 1, 2)
    array([[13, 77]], dtype=uint8)
    """
    pixels = _checked(image, height, width)
    if pixels.shape[1] != width:
        pixels = _pil_pass(pixels, width, axis=1)
    if pixels.shape[0] != height:
        pixels = _pil_pass(pixels, height, axis=0)
    return _like(pixels, image)


def resize_opencv(image: Pixels, height: int, width: int) -> Pixels:
    """Bilinear resize without antialiasing, equal to ``cv2.resize(..., INTER_LINEAR)``.

    Output pixel i of n, from m input pixels, mixes the two input pixels around
    ``(i + 1/2) m/n - 1/2`` (the border repeats) with float32 weights rounded to 11-bit fixed
    point; the rows' sums lose 4 bits before the columns are mixed. Exactly half of both sizes is
    the rounded mean of 2x2 pixels instead, as OpenCV does. Checked against OpenCV on x86, whose
    result does not depend on the instruction set there; its ARM builds may differ by 1.

    Shapes: `image` uint8 (H, W) or (H, W, C); result (height, width) or (height, width, C).
    Raises ValueError for another dtype or rank, or an empty size. Source: OpenCV, resize.cpp.

    >>> resize_opencv(np.array([[0, 0, 90, 90]], np.uint8), 1, 2)
    array([[ 0, 90]], dtype=uint8)
    """
    pixels = _checked(image, height, width)
    rows, columns = pixels.shape[:2]
    if (rows, columns) == (height, width):
        return _like(pixels.copy(), image)
    if (rows, columns) == (2 * height, 2 * width):
        return _like(_halve(pixels), image)
    left, right, a, b = _opencv_taps(columns, width, inside=True)
    mixed = pixels[:, left] * a[:, None] + pixels[:, right] * b[:, None]
    mixed >>= 4
    upper, lower, a, b = _opencv_taps(rows, height, inside=False)
    top, bottom = mixed[upper], mixed[lower]
    top *= a[:, None, None]
    bottom *= b[:, None, None]
    top >>= 16
    bottom >>= 16
    top += bottom
    top += 2
    top >>= 2
    return _like(top.astype(np.uint8), image)


RESIZERS: dict[str, Callable[[Pixels, int, int], Pixels]] = {
    "pil": resize_pil,
    "opencv": resize_opencv,
}
"""The resizers by the name that a profile gives."""


@lru_cache(maxsize=64)
def _pil_taps(size: int, target: int) -> tuple[NDArray[np.intp], Coefficients]:
    """The first input pixel of each output pixel (target,), and its weights (taps, target)."""
    scale = size / target
    stretch = max(scale, 1.0)
    centre = (np.arange(target) + 0.5) * scale
    first = np.maximum((centre - stretch + 0.5).astype(np.intp), 0)
    after = np.minimum((centre + stretch + 0.5).astype(np.intp), size)
    taps = np.arange(int((after - first).max()))[:, None]
    weights = np.maximum(1.0 - np.abs((taps + first - centre + 0.5) * (1.0 / stretch)), 0.0)
    weights[taps >= after - first] = 0.0
    total = np.zeros(target)
    for row in weights:  # in Pillow's order: the sum's last bit decides a rounding now and then
        total += row
    weights /= total
    return first, (weights * (1 << _PIL_BITS) + 0.5).astype(np.int32)


def _pil_pass(pixels: Pixels, target: int, *, axis: int) -> Pixels:
    first, weights = _pil_taps(pixels.shape[axis], target)
    last = pixels.shape[axis] - 1
    along = (slice(None), None) if axis == 0 else (None, slice(None))
    shape = (target, *pixels.shape[1:]) if axis == 0 else (len(pixels), target, pixels.shape[2])
    total = np.full(shape, 1 << (_PIL_BITS - 1), np.int32)
    for tap, weight in enumerate(weights):
        term = pixels.take(np.minimum(first + tap, last), axis=axis).astype(np.int32)
        term *= weight[(*along, None)]
        total += term
    total >>= _PIL_BITS
    return np.clip(total, 0, 255, out=total).astype(np.uint8)


@lru_cache(maxsize=64)
def _opencv_taps(
    size: int, target: int, *, inside: bool
) -> tuple[NDArray[np.intp], NDArray[np.intp], Coefficients, Coefficients]:
    """Both neighbours of each output pixel (target,) and their weights (target,) out of 2048.

    `inside` puts the whole weight on the border pixel where a neighbour would lie outside, as the
    columns do; the rows keep both weights and repeat the border pixel, which rounds differently.
    """
    scale = 1.0 / (target / size)
    position = ((np.arange(target) + 0.5) * scale - 0.5).astype(np.float32)
    floor = np.floor(position)
    fraction = position - floor
    near = floor.astype(np.intp)
    if inside:
        fraction[(near < 0) | (near >= size - 1)] = 0.0
    unit = np.float32(1 << _OPENCV_BITS)
    right = np.rint(fraction * unit).astype(np.int32)
    left = np.rint((np.float32(1.0) - fraction) * unit).astype(np.int32)
    return np.clip(near, 0, size - 1), np.clip(near + 1, 0, size - 1), left, right


def _halve(pixels: Pixels) -> Pixels:
    wide = pixels.astype(np.uint16)
    pairs = wide[0::2] + wide[1::2]
    return ((pairs[:, 0::2] + pairs[:, 1::2] + 2) >> 2).astype(np.uint8)


def _checked(image: Pixels, height: int, width: int) -> Pixels:
    """The image with three axes, once image and target are known to be possible."""
    if image.dtype != np.uint8 or image.ndim not in (2, 3):
        raise ValueError(
            f"`image` ({image.dtype}, shape {image.shape}) must be uint8 (H, W) or (H, W, C)"
        )
    if image.size == 0 or height < 1 or width < 1:
        raise ValueError(f"an image {image.shape} cannot become {height}x{width}: no empty side")
    return image if image.ndim == 3 else image[:, :, None]


def _like(pixels: Pixels, image: Pixels) -> Pixels:
    """A result of its own, with the rank of the image that was asked about."""
    pixels = pixels[:, :, 0] if image.ndim == 2 else pixels
    return pixels.copy() if np.shares_memory(pixels, image) else pixels
