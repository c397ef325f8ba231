"""Light is no motion: what a fade, a flash or an empty picture does to a window of frames.

A network that names motions was taught on pictures that are lit alike. Where the light changes much
it is asked again about the same frames in an even light; where no frame shows anything, or no two
have anything in common, nobody can see a motion.
"""

from collections.abc import Callable, Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.recognition.bars import BARRED, without_bars

__all__ = ["BLANK", "RELIT", "evenly_lit", "is_blank", "judged", "shows_nothing"]

Array = NDArray[Any]

RELIT = "the light changes: in an even light they show another motion, or none, and that is said"
"""What is done with windows that a change of the light had told from what they show."""
BLANK = (
    "nothing in them could show a motion (blank, dark or noise): every label is equally probable"
)
"""What is done with windows of pictures without content."""

CONTRAST = 3.0
"""Grey levels: a frame whose standard deviation is less shows nothing."""
CHANGE = 1.3
"""The light changes where the contrast of one frame is so many times that of another."""
ALIKE = 0.25
"""Frames that correlate less, however they are shifted, show nothing in common."""
_GAIN = 16.0
"""The most by which a dark frame is made brighter."""


def judged(
    pixels: Array,
    logits_of: Callable[[Array], Array],
    rest: int | None,
    aimless: Collection[int] = (),
    known: Array | None = None,
) -> tuple[Array, str | None]:
    """The logits (V, K) of a window of frames (T, V, h, w, 3), and what was noticed of its light.

    `known` are those that were found for these frames already: where nothing is noticed they stay.

    `rest` is the class that says that nothing moves: where it leads, no change of the light has
    feigned a motion, and where there is none, nothing is looked at. A class of `aimless` that leads
    names no motion, so the light cannot feign it.

    >>> judged(np.zeros((8, 1, 64, 64, 3), np.uint8), lambda _: np.array([[0.0, 9.0]]), rest=0)[0]
    array([[0., 0.]])
    """
    seen = pixels if rest is None else without_bars(pixels)
    barred = BARRED if seen is not pixels else None
    logits = logits_of(seen) if known is None or barred else known
    if rest is None:
        return logits, None
    leading = logits.mean(0).argmax()
    if is_blank(seen) if leading == rest else shows_nothing(seen):
        return np.zeros_like(logits), BLANK
    even = None if leading in (rest, *aimless) else evenly_lit(seen)
    if even is None:
        return logits, barred
    again = logits_of(even)
    return (logits, barred) if again.mean(0).argmax() == leading else (again, RELIT)


def evenly_lit(pixels: Array) -> Array | None:
    """A window of frames (T, V, h, w, 3), each in the light of the one with the most contrast.

    A frame without contrast shows the one before instead, or the first that has some. None where
    the light is even enough as it is, or no frame has any contrast.

    >>> ramp = np.tile(np.arange(64, dtype=np.uint8), (1, 64, 1))[..., None].repeat(3, -1)
    >>> fade = np.stack([ramp, ramp // 2, ramp // 4])
    >>> [int(frame.max()) for frame in evenly_lit(fade)]
    [63, 63, 62]
    """
    grey = _grey(pixels).reshape(len(pixels), -1)
    level, contrast = grey.mean(1), grey.std(1)
    best = int(contrast.argmax())
    if contrast[best] < CONTRAST or contrast.min() * CHANGE > contrast[best]:
        return None
    shown = contrast >= max(CONTRAST, contrast[best] / _GAIN)
    even, last = np.empty_like(pixels), int(shown.argmax())
    for t in range(len(pixels)):
        last = t if shown[t] else last
        gain = contrast[best] / contrast[last]
        lit = (pixels[last].astype(np.float32) - level[last]) * gain + level[best]
        even[t] = np.clip(np.rint(lit), 0, 255)
    return even


def is_blank(pixels: Array) -> bool:
    """Whether no frame of a window (T, V, h, w, 3) has contrast."""
    return bool((_grey(pixels[:, 0]).std(axis=(1, 2)) < CONTRAST).all())


def shows_nothing(pixels: Array) -> bool:
    """Whether no frame of a window (T, V, h, w, 3) has contrast, or no two are alike, as in noise.

    >>> shows_nothing(np.zeros((8, 1, 64, 64, 3), np.uint8))
    True
    """
    grey = _grey(pixels[:, 0])
    contrast = grey.std(axis=(1, 2))
    if (contrast < CONTRAST).all():
        return True
    grey -= grey.mean(axis=(1, 2), keepdims=True)
    alike = ALIKE * np.maximum(contrast[1:] * contrast[:-1], 1e-6) * grey[0].size
    if (np.einsum("tyx,tyx->t", grey[1:], grey[:-1]) > alike).any():  # without a shift
        return False
    spectra = np.fft.rfft2(grey)
    common = np.fft.irfft2(spectra[1:] * spectra[:-1].conj(), s=grey.shape[1:])
    return bool((common.max(axis=(1, 2)) < alike).all())


def _grey(pixels: Array) -> Array:
    """The float32 means of the colours (..., 3); sums of three bytes are exact in any order."""
    total = pixels[..., 0].astype(np.float32)
    total += pixels[..., 1]
    total += pixels[..., 2]
    total /= 3
    return total
