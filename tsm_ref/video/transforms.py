"""Decoded frames to network inputs: resize, crop into views, order the colours, normalise.

What is done is data, a `tsm_ref.profile.Preprocess`; here it is carried out, with the integers and
the float32 operations of the implementation that each preset is named after.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tsm_ref.errors import VideoError
from tsm_ref.profile import PROFILES, Preprocess
from tsm_ref.video.planes import Planes
from tsm_ref.video.resize import RESIZERS, Box, fits_planes, resize_planes

Pixels = NDArray[np.uint8]
Clip = NDArray[np.float32]

MAX_RESIZED = 4096 * 4096
"""The most pixels a resized frame may have: a strip of 1x8192 would become 256x2097152."""

COLOURS, FLOW = 3, 10
"""Channels of a picture, and of a frame of optical flow: five pictures of x and y."""

MIT = PROFILES["mit"].preprocess
"""MIT's TSM, test time: Pillow to short side 256, centre crop 224, ImageNet statistics."""
MMACTION2 = PROFILES["mmaction2"].preprocess
"""MMAction2, test time with one crop: OpenCV, and the statistics in units of 0 to 255."""
PADDLE = PROFILES["paddle"].preprocess
"""PaddleVideo: as MIT, but a frame that is resized at all becomes 4:3."""
BN_INCEPTION = Preprocess(
    channel_order="bgr", scale=1.0, mean=(104.0, 117.0, 128.0), std=(1.0, 1.0, 1.0)
)
"""MIT's BN-Inception (Caffe): blue first, 0 to 255."""
ONLINE_DEMO = PROFILES["mit-online"].preprocess
"""MIT's webcam demo, which normalises OpenCV's blue-first frame with red-first statistics."""

PRESETS: dict[str, Preprocess] = {
    "mit": MIT,
    "mmaction2": MMACTION2,
    "paddle": PADDLE,
    "bn-inception": BN_INCEPTION,
    "online-demo": ONLINE_DEMO,
}
"""The preprocessing of the public implementations by name."""


class View(NamedTuple):
    """Where a crop lies in the resized frame, in pixels, and whether it is mirrored."""

    top: int
    left: int
    mirrored: bool = False


def full_resolution(spec: Preprocess) -> Preprocess:
    """The same preprocessing with three crops as high as the resized frame.

    The "10 clips, 3 crops" of the published numbers: MIT steps along the width, MMAction2 along
    the longer side. Raises ValueError for a `spec` that stretches to a size.

    >>> full_resolution(MIT).crop, full_resolution(MMACTION2).crops
    ((256, 256), 'three_longer')
    """
    if spec.short_side is None:
        raise ValueError("`short_side` (=None) must be set for crops as high as the frame")
    crops = "three_longer" if spec.resize == "opencv" else "three"
    return replace(spec, crop=(spec.short_side, spec.short_side), crops=crops)


def geometry(height: int, width: int, spec: Preprocess) -> tuple[int, int]:
    """Height and width of the resized frame, before it is cropped.

    The short side S becomes `short_side` = s and the long side L becomes, by `long_side`:
    ``floor``: int(s*L / S); ``half_up``: int(L*(s/S) + 0.5); ``four_thirds``: int(s*4/3) unless
    S = s already. With `size` that is the result; without either the frame stays as it is.

    Raises ValueError for an empty frame, VideoError if the result has more than `MAX_RESIZED`
    pixels. Source: torchvision's Resize, mmcv's rescale_size, PaddleVideo's Scale.

    >>> geometry(240, 320, MIT), geometry(240, 427, MMACTION2), geometry(720, 1280, PADDLE)
    ((256, 341), (256, 455), (256, 341))
    """
    if height < 1 or width < 1:
        raise ValueError(f"a frame of {width}x{height} is empty: at least 1x1 is needed")
    if spec.size is not None:
        return spec.size
    if spec.short_side is None or min(height, width) == spec.short_side:
        return height, width
    side, short, long = spec.short_side, min(height, width), max(height, width)
    if spec.long_side == "four_thirds":
        longer = int(side * 4.0 / 3.0)
    elif spec.long_side == "half_up":
        longer = int(long * (side / short) + 0.5)
    else:
        longer = int(side * long / short)
    if side * longer > MAX_RESIZED:
        raise VideoError(
            f"a frame of {width}x{height} is too long and thin to be resized to a short side of "
            f"{side}: at most {MAX_RESIZED} pixels may result"
        )
    return (side, longer) if height <= width else (longer, side)


def views(height: int, width: int, spec: Preprocess) -> list[View]:
    """The crops of a resized frame of this size, in the order in which they reach the network.

    With crop (h, w) and the steps of a quarter, ``(height - h) // 4`` and ``(width - w) // 4``:

    - ``center``: one, at ``int(round((d - c) / 2))``, half to even, or ``(d - c) // 2``;
    - ``three``: left, right, middle at 0, 4, 2 steps across and 2 steps down (MIT);
    - ``three_longer``: both ends and the middle of the longer side, ``(d - c) // 2`` (MMAction2);
    - ``five``: the corners at 0 and 4 steps, left before right and top before bottom, and the
      middle at 2 steps; ``ten``: each of the five followed by its mirror image.

    Without `crop` the whole frame is the one view. Raises ValueError if the crop does not fit.
    Source: MIT's transforms.py, MMAction2's ThreeCrop and TenCrop.

    >>> views(256, 343, MIT)
    [View(top=16, left=60, mirrored=False)]
    >>> [v.left for v in views(256, 340, full_resolution(MIT))]
    [0, 84, 42]
    """
    if spec.crop is None:
        if spec.crops != "center":
            raise ValueError(f"`crops` (={spec.crops!r}) needs a `crop` of some height and width")
        return [View(0, 0)]
    down, across = height - spec.crop[0], width - spec.crop[1]
    if down < 0 or across < 0:
        raise ValueError(
            f"`crop` (={spec.crop[0]}x{spec.crop[1]}) must fit the resized frame {height}x{width}"
        )
    if spec.crops == "center":
        return [View(_centre(down, spec), _centre(across, spec))]
    y, x = down // 4, across // 4
    if spec.crops == "three":
        return [View(2 * y, 0), View(2 * y, 4 * x), View(2 * y, 2 * x)]
    if spec.crops == "three_longer":
        return _three_longer(down, across, along_width=width >= height)
    five = [View(0, 0), View(0, 4 * x), View(4 * y, 0), View(4 * y, 4 * x), View(2 * y, 2 * x)]
    if spec.crops == "five":
        return five
    return [View(v.top, v.left, mirrored) for v in five for mirrored in (False, True)]


def square_size(height: int, width: int, pixel_aspect: float = 1.0) -> tuple[int, int]:
    """Height and width of a frame in square pixels, from pixels `pixel_aspect` times as wide.

    Nothing is lost: the side that has too few pixels grows.

    >>> square_size(576, 720, 16 / 11), square_size(576, 720, 12 / 13)
    ((576, 1047), (624, 720))
    """
    if pixel_aspect >= 1:
        return height, round(width * pixel_aspect)
    return round(height / pixel_aspect), width


def takes_planes(height: int, width: int, spec: Preprocess, pixel_aspect: float = 1.0) -> bool:
    """Whether kernels make frames of this size small straight from their planes.

    >>> takes_planes(720, 1280, MIT), takes_planes(256, 340, MIT)
    (True, False)
    """
    rows, columns = geometry(*square_size(height, width, pixel_aspect), spec)
    return spec.resize == "pil" and fits_planes(height, width, rows, columns)


def resize_and_crop(
    frame: Pixels | Planes, spec: Preprocess, pixel_aspect: float = 1.0, *, compiled: bool = False
) -> Pixels:
    """One decoded RGB frame as its views, still 8-bit and RGB: small enough to be kept.

    The network sees square pixels: those of the frame, `pixel_aspect` times as wide as high, are
    resized once, to the size that the frame would have had in square ones. `compiled` resizes with
    the kernels of the Numba engine: the same bits. They take a frame in planes, too.

    Shapes: `frame` uint8 (H, W, 3); result uint8 (V, h, w, 3) in the order of `views`. A frame of
    optical flow is (H, W, 10), and its motion to the right becomes one to the left where it is
    mirrored. Raises ValueError for another dtype or shape, and as `geometry` and `views`.

    >>> resize_and_crop(np.zeros((240, 320, 3), np.uint8), MIT).shape
    (1, 224, 224, 3)
    """
    if not isinstance(frame, Planes) and (
        frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] not in (COLOURS, FLOW)
    ):
        raise ValueError(f"`frame` ({frame.dtype}, shape {frame.shape}) must be uint8 (H, W, 3)")
    (height, width), box, places = _cuts(frame.shape[0], frame.shape[1], spec, pixel_aspect)
    h, w = spec.crop or (height, width)
    kept = _resized(frame, height, width, spec, box, compiled)
    cut = np.empty((len(places), h, w, frame.shape[2]), np.uint8)
    for view, place in zip(cut, places, strict=True):
        y, x = place.top - box.top, place.left - box.left
        part = kept[y : y + h, x : x + w]
        view[:] = part[:, ::-1] if place.mirrored else part
        if place.mirrored and frame.shape[2] == FLOW:
            view[..., ::2] = 255 - view[..., ::2]
    return cut


@lru_cache(maxsize=64)
def _cuts(
    rows: int, columns: int, spec: Preprocess, pixel_aspect: float
) -> tuple[tuple[int, int], Box, Sequence[View]]:
    """The new size of a frame, the part of it that some view shows, and the views."""
    height, width = geometry(*square_size(rows, columns, pixel_aspect), spec)
    h, w = spec.crop or (height, width)
    places = views(height, width, spec)
    top, left = min(place.top for place in places), min(place.left for place in places)
    bottom, right = max(p.top for p in places) + h, max(p.left for p in places) + w
    return (height, width), Box(top, left, bottom - top, right - left), places


def _resized(
    frame: Pixels | Planes, height: int, width: int, spec: Preprocess, box: Box, compiled: bool
) -> Pixels:
    """The part of a frame in its new size that a box keeps."""
    if isinstance(frame, Planes):
        if spec.resize == "pil" and fits_planes(frame.shape[0], frame.shape[1], height, width):
            return resize_planes(frame, height, width, box=box)
        frame = frame.rgb()
    if (height, width) == frame.shape[:2]:
        return frame[box.top : box.top + box.height, box.left : box.left + box.width]
    return RESIZERS[spec.resize](frame, height, width, box=box, compiled=compiled)


def normalize(cropped: Pixels, spec: Preprocess) -> Clip:
    """Views of frames to the float32 batch of the network: ``(pixel / (1/scale) - mean) / std``.

    Each of the three operations rounds to float32, in this order; 1/scale is 255 for a scale of
    1/255, and is left out when it is 1. `channel_order` "bgr" turns the channels round first, so
    `mean` and `std` belong to the channels as the network gets them.

    Shapes: `cropped` uint8 (T, V, h, w, 3), or (K, T, V, h, w, 3) for K clips; result (V, 3, T,
    h, w), or (V*K, 3, T, h, w) with the crops in the outer and the clips in the inner order.
    Optical flow has ten channels instead of three, all with the first mean and deviation. Raises
    ValueError for another dtype or shape.

    >>> white = np.full((8, 1, 2, 2, 3), 255, np.uint8)
    >>> [f"{value:.4f}" for value in normalize(white, MIT)[0, :, 0, 0, 0]]
    ['2.2489', '2.4286', '2.6400']
    """
    channels = cropped.shape[-1]
    if cropped.dtype != np.uint8 or cropped.ndim not in (5, 6) or channels not in (COLOURS, FLOW):
        raise ValueError(
            f"`cropped` ({cropped.dtype}, shape {cropped.shape}) must be uint8 (T, V, h, w, 3) or "
            "(K, T, V, h, w, 3)"
        )
    clips = cropped if cropped.ndim == 6 else cropped[None]
    K, T, V, h, w, _ = clips.shape
    batch = np.empty((V, K, channels, T, h, w), np.float32)
    divisor = np.float32(1.0 / spec.scale)
    turned = spec.channel_order == "bgr" and channels == COLOURS
    for channel in range(channels):
        plane = batch[:, :, channel]
        source = 2 - channel if turned else channel
        statistics = channel if channels == COLOURS else 0
        plane[:] = clips[..., source].transpose(2, 0, 1, 3, 4)
        if divisor != 1:
            plane /= divisor
        plane -= np.float32(spec.mean[statistics])
        plane /= np.float32(spec.std[statistics])
    return batch.reshape(V * K, channels, T, h, w)


def preprocess(frames: Pixels, spec: Preprocess) -> Clip:
    """A clip of decoded RGB frames to the batch of its views.

    Shapes: `frames` uint8 (T, H, W, 3); result float32 (V, 3, T, h, w). Raises ValueError as
    `resize_and_crop`, and for a clip without frames.

    >>> preprocess(np.zeros((8, 240, 320, 3), np.uint8), full_resolution(MIT)).shape
    (3, 3, 8, 256, 256)
    """
    if frames.ndim != 4 or len(frames) == 0:
        raise ValueError(f"`frames` (shape {frames.shape}) must be (T, H, W, 3) with T at least 1")
    return normalize(np.stack([resize_and_crop(frame, spec) for frame in frames]), spec)


def _centre(room: int, spec: Preprocess) -> int:
    return room // 2 if spec.crop_offset == "floor" else round(room / 2)


def _three_longer(down: int, across: int, *, along_width: bool) -> list[View]:
    y, x = down // 2, across // 2
    if along_width:
        return [View(y, 0), View(y, 2 * x), View(y, x)]
    return [View(0, x), View(2 * y, x), View(y, x)]
