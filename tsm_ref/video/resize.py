"""Bilinear resizing of 8-bit images, equal bit for bit to Pillow and to OpenCV.

Networks are trained on one of the two, and they differ: Pillow widens the triangle filter when it
shrinks an image (antialiasing), OpenCV looks at four neighbours whatever the scale. Both work in
fixed point on integers; the same integers are computed here, with NumPy or, `compiled`, by the
kernels of the Numba engine. Only the rows and columns that a crop keeps are computed.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tsm_ref.video.planes import Planes

Pixels = NDArray[np.uint8]
Coefficients = NDArray[np.int32]
Indices = NDArray[np.int64]
Taps = list[NDArray[Any]]

_PIL_BITS = 32 - 8 - 2  # eight bits of pixel and two of headroom leave these for a coefficient
_OPENCV_BITS = 11
_MOST_TAPS = 2048
"""So many products of a byte and of 11 bits, and more, add up to less than 2**31."""
_FEWEST_ROWS = 8
"""So many rows of a picture in planes are made small at once."""
_GROUP = 8
"""Neighbouring output pixels that share their input pixels in one matrix product."""


class Box(NamedTuple):
    """The part of a resized image that is kept: its upper left corner and its size, in pixels."""

    top: int
    left: int
    height: int
    width: int


def resize_pil(
    image: Pixels, height: int, width: int, *, box: Box | None = None, compiled: bool = False
) -> Pixels:
    """Antialiased bilinear resize, equal to Pillow's ``Image.resize((width, height), BILINEAR)``.

    Output pixel i of n, from m input pixels, is the mean of the input pixels weighted by a
    triangle ``1 - |x|`` around ``(i + 1/2) m/n``, stretched by ``max(1, m/n)``. The weights are
    rounded to 22-bit fixed point, and each of the two passes, along the rows first, rounds its
    result to 8 bits. A pass that changes no size is left out. Pillow 13 may take the columns first
    where it shrinks the height more than the width; the order here is that of all before it.

    Shapes: `image` uint8 (H, W) or (H, W, C); result (height, width) or (height, width, C), or of
    the size of the `box` of it that is kept. Raises ValueError for another dtype or rank, an empty
    size, or a box that is not inside. Source: Pillow, Resample.c.

    >>> resize_pil(np.array([[0, 0, 90, 90]], np.uint8), 1, 2)
    array([[13, 77]], dtype=uint8)
    """
    pixels = _checked(image, height, width)
    top, left, rows, columns = _inside(box, height, width)
    first, weights = _pil_taps(pixels.shape[0], height)
    first, weights = first[top : top + rows], weights[top : top + rows]
    if pixels.shape[0] == height:
        pixels = pixels[top : top + rows]
    else:  # the rows that the kept ones are made of
        low, high = int(first[0]), min(int(first[-1]) + weights.shape[1], pixels.shape[0])
        pixels, first = pixels[low:high], first - low
    if pixels.shape[1] == width:
        pixels = pixels[:, left : left + columns]
    else:
        kept = slice(left, left + columns)
        columns_from, shares = _pil_taps(pixels.shape[1], width)
        pixels = _pass(pixels, columns_from[kept], shares[kept], 1, compiled)
    if image.shape[0] != height:
        pixels = _pass(pixels, first, weights, 0, compiled)
    return _like(pixels, image)


def resize_opencv(
    image: Pixels, height: int, width: int, *, box: Box | None = None, compiled: bool = False
) -> Pixels:
    """Bilinear resize without antialiasing, equal to ``cv2.resize(..., INTER_LINEAR)``.

    Output pixel i of n, from m input pixels, mixes the two input pixels around
    ``(i + 1/2) m/n - 1/2`` (the border repeats) with float32 weights rounded to 11-bit fixed
    point; the rows' sums lose 4 bits before the columns are mixed. Exactly half of both sizes is
    the rounded mean of 2x2 pixels instead, as OpenCV does. Checked against OpenCV on x86, whose
    result does not depend on the instruction set there; its ARM builds may differ by 1.

    Shapes: `image` uint8 (H, W) or (H, W, C); result (height, width) or (height, width, C), or of
    the size of the `box` of it that is kept. Raises ValueError for another dtype or rank, an empty
    size, or a box that is not inside. Source: OpenCV, resize.cpp.

    >>> resize_opencv(np.array([[0, 0, 90, 90]], np.uint8), 1, 2)
    array([[ 0, 90]], dtype=uint8)
    """
    pixels = _checked(image, height, width)
    top, left, m, n = _inside(box, height, width)
    rows, columns = pixels.shape[:2]
    if (rows, columns) == (height, width):
        return _like(pixels[top : top + m, left : left + n].copy(), image)
    if (rows, columns) == (2 * height, 2 * width):
        part = pixels[2 * top : 2 * (top + m), 2 * left : 2 * (left + n)]
        return _like(_halve(part), image)
    across: Taps = [t[left : left + n] for t in _opencv_taps(columns, width, inside=True)]
    down: Taps = [t[top : top + m] for t in _opencv_taps(rows, height, inside=False)]
    return _like((_mixed_fast if compiled else _mixed)(pixels, across, down), image)


def fits_planes(height: int, width: int, new_height: int, new_width: int) -> bool:
    """Whether `resize_planes` makes pictures of one size to pictures of another."""
    changed = height != new_height and width != new_width
    return changed and height >= _FEWEST_ROWS and 2 * width <= _MOST_TAPS * new_width


def resize_planes(planes: Planes, height: int, width: int, *, box: Box) -> Pixels:
    """As `resize_pil` of a picture in planes, by the kernels, for another height and width.

    Shapes: result uint8 of the size of the `box`, in RGB.
    """
    from tsm_ref.kernels.planes import ROWS, across_planes

    rows, columns = planes.shape[:2]
    top, left, kept_rows, kept_columns = _inside(box, height, width)
    first, weights = _pil_taps(rows, height)
    first, weights = first[top : top + kept_rows], weights[top : top + kept_rows]
    low, high = int(first[0]), min(int(first[-1]) + weights.shape[1], rows)
    low, high = min(low - low % 2, rows - ROWS), high + high % 2  # rows come in pairs
    high = max(high, low + ROWS)
    kept = slice(left, left + kept_columns)
    begins, bits, parts, bounds = _split_taps(columns, width)
    shares = begins[kept], bits, parts[kept], bounds[kept]
    lines = np.empty((high - low, kept_columns + 1, 3), np.uint8)
    arrays, tone = (planes.luma, planes.blue, planes.red), planes.tone
    across_planes(arrays, columns, planes.halved, low, tone, shares, _PIL_BITS, lines)
    return _pass(lines, first - low, weights, 0, True)[:, :-1]


@lru_cache(maxsize=64)
def _split_taps(size: int, target: int) -> tuple[Indices, int, NDArray[np.int16], Coefficients]:
    from tsm_ref.kernels.planes import split

    return split(*_pil_taps(size, target))


RESIZERS: dict[str, Callable[..., Pixels]] = {"pil": resize_pil, "opencv": resize_opencv}
"""The resizers by the name that a profile gives."""


@lru_cache(maxsize=64)
def _pil_taps(size: int, target: int) -> tuple[Indices, Coefficients]:
    """The first input pixel of each output pixel (target,), and its weights (target, taps)."""
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
    fixed = (weights * (1 << _PIL_BITS) + 0.5).astype(np.int32)
    return first.astype(np.int64), np.ascontiguousarray(fixed.T)


def _pass(
    pixels: Pixels, first: Indices, weights: Coefficients, axis: int, compiled: bool
) -> Pixels:
    """One pass of Pillow's: weighted sums along an axis of (H, W, C)."""
    if not compiled:
        return _pass_along_rows(pixels, first, weights, axis)
    from tsm_ref.kernels import resize

    height, width, depth = pixels.shape
    shape = (len(first), width, depth) if axis == 0 else (height, len(first), depth)
    result = np.empty(shape, np.uint8)
    run = resize.down if axis == 0 else resize.across
    if axis == 1 and depth == 3:
        run, spare = resize.across_rgb, -weights.shape[1] % resize.GROUP
        weights = np.concatenate([weights, np.zeros((len(weights), spare), np.int32)], axis=1)
    run(np.ascontiguousarray(pixels), first, weights, _PIL_BITS, result)
    return result


def _pass_along_rows(pixels: Pixels, first: Indices, weights: Coefficients, axis: int) -> Pixels:
    """The same as products of matrices, a few neighbouring outputs at a time.

    In float64 all of it is exact: the sums are whole numbers below 2**31.
    """
    lines = np.moveaxis(pixels, axis, -1)
    size, (target, taps) = lines.shape[-1], weights.shape
    exact = np.ascontiguousarray(lines, np.float64).reshape(-1, size)
    total = np.empty((len(exact), target))
    for low in range(0, target, _GROUP):
        group = range(low, min(low + _GROUP, target))
        begin, end = int(first[group[0]]), min(int(first[group[-1]]) + taps, size)
        matrix = np.zeros((end - begin, len(group)))
        for column, i in enumerate(group):
            at = int(first[i]) - begin
            part = weights[i, : len(matrix) - at]
            matrix[at : at + len(part), column] = part
        np.matmul(exact[:, begin:end], matrix, out=total[:, low : low + len(group)])
    total += 1 << (_PIL_BITS - 1)
    total *= 2.0**-_PIL_BITS
    whole = np.minimum(total, 255, out=total).astype(np.uint8)
    return np.ascontiguousarray(np.moveaxis(whole.reshape(*lines.shape[:-1], target), -1, axis))


def _mixed(pixels: Pixels, across: Taps, down: Taps) -> Pixels:
    """OpenCV's mix of four neighbours, from the rows that are needed only."""
    left, right, a, b = across
    needed, at = np.unique(np.concatenate(down[:2]), return_inverse=True)
    lines = pixels if len(needed) == len(pixels) else pixels[needed]
    mixed = lines[:, left] * a[:, None] + lines[:, right] * b[:, None]
    mixed >>= 4
    top, bottom = mixed[at[: len(down[0])]], mixed[at[len(down[0]) :]]
    top *= down[2][:, None, None]
    bottom *= down[3][:, None, None]
    top >>= 16
    bottom >>= 16
    top += bottom
    top += 2
    top >>= 2
    return top.astype(np.uint8)


def _mixed_fast(pixels: Pixels, across: Taps, down: Taps) -> Pixels:
    from tsm_ref.kernels import resize

    result = np.empty((len(down[0]), len(across[0]), pixels.shape[2]), np.uint8)
    resize.mix(np.ascontiguousarray(pixels), tuple(across), tuple(down), result)
    return result


def _inside(box: Box | None, height: int, width: int) -> Box:
    """The box, once it is known to lie inside the resized image; all of it without one."""
    if box is None:
        return Box(0, 0, height, width)
    bottom, right = box.top + box.height, box.left + box.width
    if min(box) < 0 or not box.top < bottom <= height or not box.left < right <= width:
        raise ValueError(f"`box` (={tuple(box)}) must lie inside {height}x{width} and hold a pixel")
    return box


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
