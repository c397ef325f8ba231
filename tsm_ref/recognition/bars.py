"""Black bars are no picture: what stands between them is what a network of motions is shown.

A portrait video in a landscape frame fills a third of it. A network that sees the whole frame made
small finds little in that, and takes the bars, which stand still, for the scene.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.video import resize_pil

__all__ = ["BARRED", "without_bars"]

Pixels = NDArray[np.uint8]

BARRED = "black bars fill a good part of the frame: the picture between them is looked at"
"""What is done with windows whose frames have bars."""

BLACK, FLAT = 32, 16
"""Grey levels: a bar is nowhere brighter, and nowhere differs more, in all frames of a window."""
MOST = 0.8
"""The share of the height or width up to which a picture between bars is looked at alone."""
_LEAST = 8
"""Pixels: less between bars is not looked at alone."""


def without_bars(pixels: Pixels) -> Pixels:
    """A window of frames (T, V, h, w, 3) with what stands between their bars, as large as before.

    Bars are of one width on both sides, and stay. The same array where there are none, or narrow
    ones: the network was taught that pictures may have a frame.

    >>> frames = np.zeros((8, 1, 64, 64, 3), np.uint8)
    >>> frames[:, :, :, 22:42] = np.random.default_rng(0).integers(0, 256, (64, 20, 3), np.uint8)
    >>> bool(without_bars(frames)[..., :16, :].any(axis=-1).all())
    True
    """
    *many, height, width, _ = pixels.shape
    frames = pixels.reshape(-1, height, width, 3)
    bright, dark = frames.max(0).max(-1), frames.min(0).min(-1)
    top, left = _bar(bright, dark), _bar(bright.T, dark.T)
    rows, columns = height - 2 * top, width - 2 * left
    if min(rows, columns) < _LEAST or min(rows / height, columns / width) > MOST:
        return pixels
    between = pixels[:, :, top : height - top, left : width - left]
    image = np.moveaxis(between, (2, 3), (0, 1)).reshape(rows, columns, -1)
    large = resize_pil(image, height, width).reshape(height, width, *many, 3)
    return np.ascontiguousarray(np.moveaxis(large, (0, 1), (2, 3)))


def _bar(bright: NDArray[Any], dark: NDArray[Any]) -> int:
    """How many rows at either end are no picture, by the extremes (h, w) of all frames.

    The row beside a bar belongs in part to it. Zero where the bars differ, or all is one bar.
    """
    flat = (bright.max(1) <= BLACK) & (bright.max(1) - dark.min(1) <= FLAT)
    if flat.all():
        return 0
    first, last = int(flat.argmin()), int(flat[::-1].argmin())
    if not (first and last) or abs(first - last) > 1 + len(flat) // 64:
        return 0
    return max(first, last) + 1
