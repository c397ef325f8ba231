"""Frames of a video to the input of a network, by the published rules, each written down once.

Which frames (`sample_frames`), which size (`geometry`), which pixels (`resize_pil` and
`resize_opencv`, whose integers are those of the two libraries), which part (`views`) and which
numbers (`normalize`). All of it is arithmetic on whole numbers up to the last step.
"""

from collections.abc import Mapping, Sequence
from math import floor
from typing import Any

import numpy as np

from conformance.questions.arrays import Array

DENSE = 64
"""Frames that a densely sampled clip spreads over."""


def sample_frames(policy: str, num_frames: int, segments: int) -> Array:
    """The frames of T segments of a video, counted from 0: (clips, T).

    >>> sample_frames("uniform", 10, 8), sample_frames("paddle", 37, 8)
    (array([[0, 1, 3, 4, 5, 6, 8, 9]]), array([[ 1,  5,  9, 13, 17, 21, 25, 29]]))
    """
    n, t = num_frames, segments
    if n < 1 or t < 1:
        raise ValueError(f"{n} frames cannot be sampled into {t} segments: 1 of each are needed")
    tick = n / t
    centres = [int(tick / 2 + tick * k) for k in range(t)]
    if policy == "uniform":
        rows = [centres]
    elif policy == "twice":
        rows = [centres, [int(tick * k) for k in range(t)]]
    elif policy == "val":
        rows = [centres if n > t else [0] * t]
    elif policy == "mmaction2":
        rows = [[int((k * tick + tick / 2) % n) for k in range(t)]]
    elif policy == "paddle":
        a = int(tick)
        rows = [[(a - 1) // 2 + k * a for k in range(t)] if a else [k % n for k in range(t)]]
    elif policy == "dense":
        last, step = max(1, 1 + n - DENSE) - 1, DENSE // t
        starts = [int(last * i / 9) for i in range(10)]
        rows = [[(start + k * step) % n for k in range(t)] for start in starts]
    else:
        raise ValueError(f"there is no sampling policy {policy!r}")
    return np.array(rows, np.int64)


def geometry(height: int, width: int, short_side: int, long_side: str) -> tuple[int, int]:
    """Height and width after scaling the short side; ``long_side`` says how the other is rounded.

    >>> geometry(240, 320, 256, "floor"), geometry(240, 427, 256, "half_up")
    ((256, 341), (256, 455))
    """
    short, long = min(height, width), max(height, width)
    if short == short_side:
        return height, width
    if long_side == "four_thirds":
        longer = int(short_side * 4.0 / 3.0)
    elif long_side == "half_up":
        longer = int(long * (short_side / short) + 0.5)
    else:
        longer = int(short_side * long / short)
    return (short_side, longer) if height <= width else (longer, short_side)


def resize(image: Array, height: int, width: int, arithmetic: str) -> Array:
    """A uint8 picture (H, W, 3) in another size, as Pillow or as OpenCV does it."""
    if arithmetic == "opencv":
        return resize_opencv(image, height, width)
    return resize_pil(image, height, width)


def resize_pil(image: Array, height: int, width: int) -> Array:
    """Pillow's antialiased bilinear: rows, then columns; a pass that changes nothing is left out.

    >>> resize_pil(np.array([[[0], [0], [90], [90]]], np.uint8), 1, 2)[0, :, 0]
    array([13, 77], dtype=uint8)
    """
    if image.shape[1] != width:
        image = _pil_pass(image, width)
    if image.shape[0] != height:
        image = _pil_pass(image.swapaxes(0, 1), height).swapaxes(0, 1)
    return image


def _pil_pass(image: Array, target: int) -> Array:
    """One pass along axis 1, with coefficients of 22 bits."""
    size = image.shape[1]
    scale = size / target
    support = max(scale, 1.0)
    wide = image.astype(np.int64)
    out = np.empty((image.shape[0], target, *image.shape[2:]), np.uint8)
    for i in range(target):
        centre = (i + 0.5) * scale
        first = max(int(centre - support + 0.5), 0)
        after = min(int(centre + support + 0.5), size)
        weights = [
            max(1 - abs((j - centre + 0.5) * (1 / support)), 0.0) for j in range(first, after)
        ]
        total = sum(weights)
        integers = [int(w / total * (1 << 22) + 0.5) for w in weights]
        mixed = np.tensordot(wide[:, first:after], np.array(integers, np.int64), (1, 0))
        out[:, i] = np.clip((mixed + (1 << 21)) >> 22, 0, 255)
    return out


def resize_opencv(image: Array, height: int, width: int) -> Array:
    """OpenCV's bilinear without antialiasing: weights of 11 bits, four neighbours.

    Exactly half of both sides is the rounded mean of four pixels, as OpenCV does it.

    >>> resize_opencv(np.array([[[0], [0], [90], [90]]], np.uint8), 1, 2)[0, :, 0]
    array([ 0, 90], dtype=uint8)
    """
    rows, columns = image.shape[:2]
    if (rows, columns) == (height, width):
        return image
    wide = image.astype(np.int64)
    if (rows, columns) == (2 * height, 2 * width):
        four = wide[0::2, 0::2] + wide[0::2, 1::2] + wide[1::2, 0::2] + wide[1::2, 1::2]
        return ((four + 2) >> 2).astype(np.uint8)
    left, right, a, b = _opencv_taps(columns, width, clamp=True)
    mixed = (wide[:, left] * a[:, None] + wide[:, right] * b[:, None]) >> 4
    upper, lower, a, b = _opencv_taps(rows, height, clamp=False)
    top = (mixed[upper] * a[:, None, None]) >> 16
    bottom = (mixed[lower] * b[:, None, None]) >> 16
    return ((top + bottom + 2) >> 2).astype(np.uint8)


def _opencv_taps(size: int, target: int, clamp: bool) -> tuple[Array, Array, Array, Array]:
    """Both neighbours of each place and their weights; ``clamp`` as OpenCV's horizontal pass."""
    near, far, first, second = [], [], [], []
    scale = 1.0 / (target / size)
    for i in range(target):
        position = np.float32((i + 0.5) * scale - 0.5)
        place = floor(float(position))
        part = np.float32(position - np.float32(place))
        if clamp and (place < 0 or place >= size - 1):
            part = np.float32(0)
        near.append(min(max(place, 0), size - 1))
        far.append(min(max(place + 1, 0), size - 1))
        first.append(int(np.rint((np.float32(1) - part) * np.float32(2048))))
        second.append(int(np.rint(part * np.float32(2048))))
    return np.array(near), np.array(far), np.array(first), np.array(second)


def views(height: int, width: int, crop: Sequence[int], crops: str, offset: str) -> Array:
    """The crops of a picture in order: (views, 3) of top, left, and 1 where it is mirrored.

    >>> views(256, 343, (224, 224), "center", "round")
    array([[16, 60,  0]])
    """
    down, across = height - crop[0], width - crop[1]
    if down < 0 or across < 0:
        raise ValueError(f"a crop of {crop[0]}x{crop[1]} does not fit into {height}x{width}")
    y, x = down // 4, across // 4
    if crops == "center":
        rows = [[_half(down, offset), _half(across, offset), 0]]
    elif crops == "three":
        rows = [[2 * y, left, 0] for left in (0, 4 * x, 2 * x)]
    elif crops == "three_longer":
        y, x = down // 2, across // 2
        along = [(y, k * x) for k in (0, 2, 1)]
        if height > width:
            along = [(k * y, x) for k in (0, 2, 1)]
        rows = [[top, left, 0] for top, left in along]
    else:
        places = [(0, 0), (0, 4 * x), (4 * y, 0), (4 * y, 4 * x), (2 * y, 2 * x)]
        rows = [[top, left, mirrored] for top, left in places for mirrored in (0, 1)]
    return np.array(rows, np.int64)


def _half(room: int, offset: str) -> int:
    return room // 2 if offset == "floor" else round(room / 2)


def normalize(
    frames: Array, mean: Sequence[float], std: Sequence[float], scale: float, channel_order: str
) -> Array:
    """``(pixel * scale - mean) / std`` per channel, in float64: (T, H, W, 3) -> (1, 3, T, H, W)."""
    values = frames[..., ::-1] if channel_order == "bgr" else frames
    y = (values * float(scale) - np.asarray(mean)) / np.asarray(std)
    return np.asarray(y.transpose(3, 0, 1, 2)[None])


def preprocess(frames: Array, how: Mapping[str, Any]) -> Array:
    """Resize, centre crop and normalise the frames of a clip, in float64, by a profile."""
    height, width = geometry(frames.shape[1], frames.shape[2], how["short_side"], how["long_side"])
    top, left, _ = views(height, width, how["crop"], "center", how["crop_offset"])[0]
    h, w = how["crop"]
    cut = [
        resize(frame, height, width, how["resize"])[top : top + h, left : left + w]
        for frame in frames
    ]
    return normalize(np.stack(cut), how["mean"], how["std"], how["scale"], how["channel_order"])
