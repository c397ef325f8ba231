"""Mistakes before the network: which frames, which pixels, which numbers, which views."""

from typing import Any

import numpy as np

from conformance.mutants.base import Catalogue
from conformance.questions import pixels
from conformance.questions.arrays import Array
from conformance.testees.reference import Reference

CATALOGUE = Catalogue()
mutant = CATALOGUE.mutant


@mutant("frames-from-one", "sampler arithmetic", "sample_frames", "frames are counted from 1")
def _(self: Reference, policy: str, num_frames: int, segments: int) -> Array:
    return pixels.sample_frames(policy, num_frames, segments) + 1


@mutant("frames-no-half", "sampler arithmetic", "sample_frames", "the first frame of each part")
def _(self: Reference, policy: str, num_frames: int, segments: int) -> Array:
    if policy != "uniform":
        return pixels.sample_frames(policy, num_frames, segments)
    return np.array([[int(num_frames / segments * k) for k in range(segments)]])


@mutant("frames-linspace", "sampler arithmetic", "sample_frames", "the ends are always taken")
def _(self: Reference, policy: str, num_frames: int, segments: int) -> Array:
    if policy != "uniform":
        return pixels.sample_frames(policy, num_frames, segments)
    return np.linspace(0, num_frames - 1, segments).astype(np.int64)[None]


@mutant("frames-val", "sampler arithmetic", "sample_frames", "short clips are not repeated from 0")
def _(self: Reference, policy: str, num_frames: int, segments: int) -> Array:
    return pixels.sample_frames("uniform" if policy == "val" else policy, num_frames, segments)


@mutant("frames-twice-swapped", "view order", "sample_frames", "the second clip comes first")
def _(self: Reference, policy: str, num_frames: int, segments: int) -> Array:
    rows = pixels.sample_frames(policy, num_frames, segments)
    return rows[::-1].copy() if policy == "twice" else rows


@mutant(
    "frames-dense-clamped", "sampler arithmetic", "sample_frames", "dense clips stop at the end"
)
def _(self: Reference, policy: str, num_frames: int, segments: int) -> Array:
    rows = pixels.sample_frames(policy, num_frames, segments)
    if policy != "dense":
        return rows
    return np.minimum(rows[:, :1] + np.arange(segments) * (64 // segments), num_frames - 1)


@mutant(
    "frames-rounded", "sampler arithmetic", "sample_frames", "rounded instead of cut", "mmaction2"
)
def _(self: Reference, policy: str, num_frames: int, segments: int) -> Array:
    if policy != "mmaction2":
        return pixels.sample_frames(policy, num_frames, segments)
    tick = num_frames / segments
    return np.asarray(np.rint(np.arange(segments) * tick + tick / 2).astype(np.int64)[None])


@mutant(
    "frames-paddle-even", "sampler arithmetic", "sample_frames", "whole parts rounded", "paddle"
)
def _(self: Reference, policy: str, num_frames: int, segments: int) -> Array:
    other = "uniform" if policy == "paddle" else policy
    return pixels.sample_frames(other, num_frames, segments)


@mutant("resize-no-antialias", "resize arithmetic", "resize", "Pillow's filter is not widened")
def _(self: Reference, image: Array, height: int, width: int, arithmetic: str) -> Array:
    return pixels.resize_opencv(image, height, width)


@mutant(
    "resize-antialias", "resize arithmetic", "resize", "OpenCV's filter is widened", "mmaction2"
)
def _(self: Reference, image: Array, height: int, width: int, arithmetic: str) -> Array:
    return pixels.resize_pil(image, height, width)


@mutant("resize-nearest", "resize arithmetic", "resize", "the nearest pixel is taken")
def _(self: Reference, image: Array, height: int, width: int, arithmetic: str) -> Array:
    rows = np.arange(height) * image.shape[0] // height
    return np.asarray(image[rows][:, np.arange(width) * image.shape[1] // width])


@mutant("resize-columns-first", "resize arithmetic", "resize", "columns are resized before rows")
def _(self: Reference, image: Array, height: int, width: int, arithmetic: str) -> Array:
    turned = pixels.resize(image.swapaxes(0, 1), width, height, arithmetic)
    return np.ascontiguousarray(turned.swapaxes(0, 1))


@mutant("crop-floor", "crop arithmetic", "views", "odd margins are cut, not rounded to even")
def _(self: Reference, height: int, width: int, crop: Any, crops: str, offset: str) -> Array:
    return pixels.views(height, width, crop, crops, "floor")


@mutant("crop-top-left", "crop arithmetic", "views", "the crop is the upper left corner")
def _(self: Reference, height: int, width: int, crop: Any, crops: str, offset: str) -> Array:
    return pixels.views(height, width, crop, crops, offset) * [0, 0, 1]


@mutant("crop-three-order", "view order", "views", "three crops run left, middle, right")
def _(self: Reference, height: int, width: int, crop: Any, crops: str, offset: str) -> Array:
    rows = pixels.views(height, width, crop, crops, offset)
    return rows[[0, 2, 1]] if crops == "three" else rows


@mutant("crop-mirrors-last", "view order", "views", "all mirror images come last")
def _(self: Reference, height: int, width: int, crop: Any, crops: str, offset: str) -> Array:
    rows = pixels.views(height, width, crop, crops, offset)
    return np.concatenate([rows[::2], rows[1::2]]) if crops == "ten" else rows


@mutant("colours-swapped", "colour order", "normalize", "red and blue are exchanged")
def _(self: Reference, frames: Array, *rest: Any, **how: Any) -> Array:
    return Reference.normalize(self, frames[..., ::-1], *rest, **how)


@mutant("statistics-turned", "colour order", "normalize", "the statistics stay in the order of RGB")
def _(
    self: Reference, frames: Array, mean: Any, std: Any, scale: float, channel_order: str
) -> Array:
    if channel_order == "bgr":
        mean, std = mean[::-1], std[::-1]
    return Reference.normalize(self, frames, mean, std, scale, channel_order)


@mutant("not-divided", "normalisation", "normalize", "pixels are not divided by 255")
def _(
    self: Reference, frames: Array, mean: Any, std: Any, scale: float, channel_order: str
) -> Array:
    return Reference.normalize(self, frames, mean, std, 1.0, channel_order)


@mutant("not-deviated", "normalisation", "normalize", "the deviation is left out")
def _(
    self: Reference, frames: Array, mean: Any, std: Any, scale: float, channel_order: str
) -> Array:
    return Reference.normalize(self, frames, mean, [1.0, 1.0, 1.0], scale, channel_order)


@mutant("sides-swapped", "resize arithmetic", "geometry", "the longer side is scaled to the target")
def _(self: Reference, height: int, width: int, short_side: int, long_side: str) -> Any:
    size = max(height, width)
    return max(height * short_side // size, 28), max(width * short_side // size, 28)


@mutant("longer-side-up", "resize arithmetic", "geometry", "the longer side is rounded up")
def _(self: Reference, height: int, width: int, short_side: int, long_side: str) -> Any:
    h, w = pixels.geometry(height, width, short_side, long_side)
    return (h, w + 1) if height <= width else (h + 1, w)


@mutant("film-upside-down", "layouts", "preprocess", "pictures stand on their heads")
def _(self: Reference, frames: Array, **how: Any) -> Array:
    return Reference.preprocess(self, frames[:, ::-1], **how)


@mutant("average-other", "consensus", "averaged", "one class has all the probability")
def _(self: Reference, logits: Array, average: str) -> Array:
    mean = logits.mean(axis=0)
    return np.asarray((mean == mean.max()).astype(np.float32))


@mutant("answer-unsorted", "view order", "recognize", "classes are listed by number")
def _(self: Reference, path: Any, weights: Any, **how: Any) -> Any:
    told = Reference.recognize(self, path, weights, **how)
    return told | {"predictions": sorted(told["predictions"], key=lambda p: p["index"])}


@mutant("classes-from-one", "view order", "recognize", "classes are counted from 1")
def _(self: Reference, path: Any, weights: Any, **how: Any) -> Any:
    told = Reference.recognize(self, path, weights, **how)
    return told | {"predictions": [p | {"index": p["index"] + 1} for p in told["predictions"]]}


@mutant("divided-twice", "normalisation", "normalize", "pixels are divided by 255 twice")
def _(
    self: Reference, frames: Array, mean: Any, std: Any, scale: float, channel_order: str
) -> Array:
    return Reference.normalize(self, frames, mean, std, scale / 255, channel_order)


@mutant("resize-half-pixels", "resize arithmetic", "resize", "corners are aligned, not half pixels")
def _(self: Reference, image: Array, height: int, width: int, arithmetic: str) -> Array:
    y = np.linspace(0, image.shape[0] - 1, height)
    x = np.linspace(0, image.shape[1] - 1, width)
    top = np.minimum(y.astype(int), image.shape[0] - 2)
    left = np.minimum(x.astype(int), image.shape[1] - 2)
    a, b = (y - top)[:, None, None], (x - left)[None, :, None]
    rows = image[top] * (1 - a) + image[top + 1] * a
    mixed = rows[:, left] * (1 - b) + rows[:, left + 1] * b
    return np.asarray(np.rint(mixed).astype(np.uint8))


@mutant("frames-centre-rounded", "sampler arithmetic", "sample_frames", "centres are rounded")
def _(self: Reference, policy: str, num_frames: int, segments: int) -> Array:
    if policy != "uniform":
        return pixels.sample_frames(policy, num_frames, segments)
    tick = num_frames / segments
    centres = np.rint(tick / 2 + tick * np.arange(segments)).astype(np.int64)
    return np.asarray(np.minimum(centres, num_frames - 1)[None])


@mutant("crop-sides-swapped", "crop arithmetic", "views", "crops are (width, height)")
def _(self: Reference, height: int, width: int, crop: Any, crops: str, offset: str) -> Array:
    return pixels.views(height, width, (crop[1], crop[0]), crops, offset)
