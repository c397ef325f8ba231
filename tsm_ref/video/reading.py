"""The wanted frames of a clip, decoded once each."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tsm_ref.errors import VideoError
from tsm_ref.profile import Preprocess
from tsm_ref.video.clips import Clip, FileClip, Showing
from tsm_ref.video.decode import MAX_PIXELS, VideoFile
from tsm_ref.video.planes import Planes
from tsm_ref.video.source import DecodedFrames, Indices, Pixels, VideoInfo
from tsm_ref.video.sparse import LONG, runs
from tsm_ref.video.surveys import Mistaken, Survey
from tsm_ref.video.transforms import resize_and_crop, takes_planes

__all__ = ["Small", "read_frames", "read_wanted", "surveyed", "updated"]

T = TypeVar("T")
_MOST_WAITING = 1 << 26
"""Bytes, at two a pixel, of the pictures that may wait as they were decoded."""
Convert = Callable[[Any], NDArray[Any]]
Shown = Iterator[tuple[int, float, Callable[[], Any]]]


@dataclass(frozen=True)
class Small:
    """Makes the views of the frames of one video (see `resize_and_crop`): for `read_wanted`.

    The kernels, where they are `compiled`, make them straight from what the decoder gives.
    """

    info: VideoInfo
    spec: Preprocess
    compiled: bool = False

    def __call__(self, frame: Pixels | Planes) -> Pixels:
        """The views (V, h, w, 3) of a frame."""
        return resize_and_crop(frame, self.spec, self._aspect, compiled=self.compiled)

    def shown(self, source: Showing) -> Iterator[tuple[int, float, Callable[[], Any]]]:
        """The frames of the video as they are wanted."""
        return source.shown_in_planes() if self.from_planes else source.shown()

    def most_waiting(self, source: Showing) -> int:
        """How many frames may wait as they were decoded, and need not be made small at once."""
        room = _MOST_WAITING // (2 * self.info.width * self.info.height)
        return room if self.from_planes and source.patient else 0

    @property
    def from_planes(self) -> bool:
        """Whether they are made from the planes that a decoder gives."""
        size = self.info.height, self.info.width
        return self.compiled and takes_planes(*size, self.spec, self._aspect)

    @property
    def _aspect(self) -> float:
        return float(self.info.pixel_aspect)


def read_frames(
    path: str | os.PathLike[str],
    indices: ArrayLike | Callable[[int], ArrayLike],
    *,
    convert: Convert | None = None,
    allow_partial: bool = False,
    max_pixels: int = MAX_PIXELS,
    threads: int = 1,
) -> DecodedFrames:
    """Decode the wanted frames of a file, and keep only those.

    `indices` are 0-based, of any shape, in any order, with repeats; or a function from the number
    of frames to such indices, asked again if there were fewer after all: then the file is decoded
    to its end, but of a long one only what a few frames need (`tsm_ref.video.sparse`). `convert`
    takes each wanted frame, RGB uint8 (H, W, 3), as soon as it is decoded; its results share one
    shape. Memory: the results and one frame.

    Raises `VideoError` as `frames`, and for an index that the file does not reach.

    >>> read_frames("missing.mp4", [0])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    tsm_ref.errors.VideoError: no such file: ...
    """
    clip = FileClip(path, allow_partial=allow_partial, max_pixels=max_pixels, threads=threads)

    def read(known: Survey) -> DecodedFrames:
        wanted = indices(known.info.frame_count) if callable(indices) else indices
        return read_wanted(clip, known, wanted, convert, to_end=callable(indices))

    return surveyed(clip, read)


def surveyed(clip: Clip, use: Callable[[Survey], T]) -> T:
    """What `use` makes of a survey of the clip; made again if the pictures belie the packets."""
    try:
        return use(clip.survey(decode=False))
    except Mistaken:
        return use(clip.survey(decode=True))


def read_wanted(
    clip: Clip,
    known: Survey,
    indices: ArrayLike,
    convert: Convert | None = None,
    *,
    to_end: bool = True,
    tick: Callable[[], None] = lambda: None,
) -> DecodedFrames:
    """As `read_frames`, of a clip that was surveyed; raises `Mistaken` where the survey is wrong.

    `to_end` decodes all frames, which is how the end of the survey is checked, but of a long video
    only what a few frames need, where its format lets the packets be believed. `tick` is called
    after every frame, and what it raises ends the reading.
    """
    wanted = np.asarray(indices, np.int64)
    if wanted.size == 0 or wanted.min() < 0:
        raise ValueError("`indices` must be at least one index, none below 0")
    unique, order = np.unique(wanted, return_inverse=True)
    with closing(clip.open()) as source:
        picked = _picked(source, known, unique, convert)
        try:
            times, kept, decoded = _collect(source, known, unique, convert, to_end, tick, picked)
        except VideoError:
            if picked:
                raise Mistaken from None  # all of it is decoded then, and says what is wrong
            raise
        if picked and (source.damaged or len(kept) < len(unique)):
            raise Mistaken
        info = updated(known.info, source)
    if len(kept) < len(unique):
        raise VideoError(f"frame {unique[-1]} was asked for and the last is frame {decoded - 1}")
    order = order.reshape(wanted.shape)
    return DecodedFrames(wanted, times[order], kept, order, decoded, info)


def _collect(
    source: Showing,
    known: Survey,
    unique: Indices,
    convert: Convert | None,
    to_end: bool,
    tick: Callable[[], None],
    picked: Shown | None,
) -> tuple[NDArray[np.float64], NDArray[Any], int]:
    """The wanted frames that exist: times, pixels as converted, and how many were decoded."""
    times = np.zeros(len(unique))
    kept: NDArray[Any] = np.empty((0,), np.uint8)
    found = decoded = 0
    if picked is None:
        shown = convert.shown(source) if isinstance(convert, Small) else source.shown()
        picked = known.checked(shown)
    for index, time, pixels in picked:
        decoded += 1
        tick()
        if found < len(unique) and index == unique[found]:
            image = pixels() if convert is None else convert(pixels())
            if found == 0:
                kept = np.empty((len(unique), *image.shape), image.dtype)
            kept[found], times[found] = image, time
            found += 1
        if found == len(unique) and not to_end and not source.damaged:
            break
    return times, kept if found == len(kept) else kept[:found], decoded


def _picked(
    source: Showing, known: Survey, unique: Indices, convert: Convert | None
) -> Shown | None:
    """The wanted frames and those that they lean on, of a long video where these are few."""
    marks, count = known.marks, len(known.times)
    if marks is None or count < LONG or unique[-1] >= count or not isinstance(source, VideoFile):
        return None
    order = marks.order
    needed = runs(marks, order[unique])
    if needed is None:
        return None
    index_of = {stamp: index for index, stamp in enumerate(order.tolist())}
    planes = isinstance(convert, Small) and convert.from_planes
    return (
        (index_of[stamp], float(known.times[index_of[stamp]]), pixels)
        for stamp, pixels in source.picked(needed, planes=planes)
        if stamp in index_of
    )


def updated(info: VideoInfo, source: Showing) -> VideoInfo:
    """The same facts, with what was found in the clip since: warnings, each once, and fields."""
    warnings = tuple(dict.fromkeys(info.warnings + source.warnings))
    return replace(info, warnings=warnings, interlaced=info.interlaced or source.interlaced)
