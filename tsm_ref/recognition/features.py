"""The features of a video: what the network's head reads, for every clip or window of it."""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.errors import CheckpointError
from tsm_ref.model import Model
from tsm_ref.passes.features import features, head_input
from tsm_ref.profile import Profile
from tsm_ref.recognition.asked import as_usage
from tsm_ref.recognition.cutter import WindowCutter
from tsm_ref.recognition.inputs import check_takes_clips
from tsm_ref.recognition.recognize import prepared
from tsm_ref.recognition.room import check_memory
from tsm_ref.recognition.windows import grown
from tsm_ref.video import (
    SAMPLERS,
    Clip,
    Survey,
    VideoInfo,
    Windows,
    normalize,
    open_clip,
    read_wanted,
    sliding_windows,
    surveyed,
    updated,
)

__all__ = ["ClipFeatures", "as_npz", "features_of", "views_of"]

Array = NDArray[Any]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ClipFeatures:
    """The features of one video, a row for each of its R clips or windows.

    ``frames`` are those of each frame (R, T, D), the mean over crops; ``start`` and ``end`` (R,)
    are seconds, of a window its bounds, else its first and its last frame; ``indices`` and
    ``times`` (R, T) say which frames the network saw.
    """

    path: str
    sha256: str
    frames: NDArray[np.float32]
    start: NDArray[np.float64]
    end: NDArray[np.float64]
    indices: NDArray[np.int64]
    times: NDArray[np.float64]
    warnings: tuple[str, ...] = ()

    @property
    def clips(self) -> NDArray[np.float32]:
        """The features of each clip or window (R, D): the mean over its frames."""
        mean: NDArray[np.float32] = self.frames.mean(1, dtype=np.float64).astype(np.float32)
        return mean


def features_of(
    model: Model,
    path: str | PathLike[str] | Array,
    *,
    profile: Profile | None = None,
    layer: str | None = None,
    allow_partial: bool = False,
    fps: float | None = None,
    progress: Progress = lambda done, total: None,
) -> ClipFeatures:
    """The features of a video, sampled by the rules of the model's profile, or of another.

    A video is what `tsm_ref.recognition.recognize` takes; ``layer`` what `tsm_ref.Model.features`
    does. Of sliding windows the shortest are taken, one for every moment.

    Raises `VideoError`, `CheckpointError` and `UsageError` as they do.

    >>> from tsm_ref.checkpoint import weights_folder
    >>> from tsm_ref.model import load
    >>> clip = weights_folder() / "samples" / "zoom_in.mp4"
    >>> features_of(load("camera-motion", engine="numpy"), clip).clips.shape
    (6, 64)
    """
    check_takes_clips(model)
    features(model.graph, layer)  # refused before anything is compiled
    profile = profile or model.profile
    check_memory(model, profile)
    clip = open_clip(path, fps=fps, allow_partial=allow_partial, threads=model.threads)

    def run(pixels: Array) -> Array:
        """The features (T, D) of one clip, uint8 (T, V, h, w, 3)."""
        views = normalize(pixels, profile.preprocess)
        found = np.stack(
            [model.features(view[None], layer=layer, per_frame=True)[0] for view in views]
        )
        if not np.isfinite(found).all():
            raise CheckpointError(f"the model {model.name!r} gives values that are not finite")
        mean: Array = found.mean(0, dtype=np.float64).astype(np.float32)
        return mean

    def look(known: Survey) -> ClipFeatures:
        with as_usage():
            windows = _windows(profile, known)
        found, warned = {}, known.info.warnings
        for row, pixels, info in _pixels(model, profile, clip, known, windows):
            found[row], warned = run(pixels), info.warnings
            progress(len(found), len(windows))
        return ClipFeatures(
            path=known.info.path,
            sha256=clip.sha256(),
            frames=np.stack([found[row] for row in range(len(windows))]),
            start=windows.start,
            end=windows.end,
            indices=windows.indices,
            times=known.times[windows.indices],
            warnings=warned,
        )

    return surveyed(clip, look)


def views_of(
    model: Model,
    path: str | PathLike[str] | Array,
    *,
    profile: Profile | None = None,
    allow_partial: bool = False,
) -> Array:
    """What the network sees of a video: every crop of every clip or window, (V, 3, T, H, W).

    Sampled and raised as `features_of`.

    >>> from tsm_ref.checkpoint import weights_folder
    >>> from tsm_ref.model import load
    >>> clip = weights_folder() / "samples" / "zoom_in.mp4"
    >>> views_of(load("camera-motion", engine="numpy"), clip).shape
    (6, 3, 8, 64, 64)
    """
    check_takes_clips(model)
    profile = profile or model.profile
    check_memory(model, profile)
    clip = open_clip(path, allow_partial=allow_partial, threads=model.threads)

    def look(known: Survey) -> Array:
        with as_usage():
            windows = _windows(profile, known)
        made = {
            row: normalize(pixels, profile.preprocess)
            for row, pixels, _ in _pixels(model, profile, clip, known, windows)
        }
        return np.concatenate([made[row] for row in range(len(windows))])

    return surveyed(clip, look)


def _windows(profile: Profile, known: Survey) -> Windows:
    """The clips or windows that a profile asks for; raises `ValueError`."""
    sampling = profile.sampling
    if sampling.policy == "windows":
        sampling = grown(sampling, known)
        window, stride = sampling.window, sampling.stride
        return sliding_windows(
            known.times, sampling.segments, window=window, stride=stride, end=known.info.duration
        )
    indices = SAMPLERS[sampling.policy](known.info.frame_count, sampling.segments)
    times = known.times[indices]
    return Windows(times.min(1), times.max(1), indices)


def _pixels(
    model: Model, profile: Profile, clip: Clip, known: Survey, windows: Windows
) -> Iterator[tuple[int, Array, VideoInfo]]:
    """The row of every clip, its preprocessed frames (T, V, h, w, 3), and what is known then.

    Windows come as they are decoded; the clips of other policies may begin anew.
    """
    convert = prepared(model, profile.preprocess, known)
    if profile.sampling.policy != "windows":
        got = read_wanted(clip, known, windows.indices, convert)
        for row, shown in enumerate(got.order):
            yield row, got.unique[shown], got.info
        return
    with closing(clip.open()) as source:
        for row, pixels in WindowCutter(known.checked(convert.shown(source)), windows, convert):
            yield row, pixels(), updated(known.info, source)


def as_npz(
    found: Sequence[ClipFeatures], model: Model, profile: Profile, layer: str | None = None
) -> bytes:
    """The features of V videos as the bytes of an ``.npz`` file, which holds plain arrays alone.

    ``features`` (R, D) and ``frame_features`` (R, T, D) have a row for each clip or window of any
    video; ``video`` (R,) says of which: its place in ``names`` and ``sha256`` (V,). ``start`` and
    ``end`` (R,), ``times`` (R, T) are seconds, ``indices`` (R, T) frames. ``model``, ``layer``,
    ``profile`` (JSON) and ``digest``, the SHA-256 of graph and weights, say what made them.
    """
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {
        "names": np.array([each.path for each in found]),
        "sha256": np.array([each.sha256 for each in found]),
        "video": np.repeat(np.arange(len(found)), [len(each.start) for each in found]),
        "features": np.concatenate([each.clips for each in found]),
        "frame_features": np.concatenate([each.frames for each in found]),
        **{
            name: np.concatenate([getattr(each, name) for each in found])
            for name in ("start", "end", "times", "indices")
        },
        "model": np.array(model.name),
        "precision": np.array(model.precision),
        "layer": np.array(layer or head_input(model.graph)),
        "profile": np.array(profile.to_json()),
        "digest": np.array(model.digest()),
    }
    np.savez(buffer, **arrays)
    return buffer.getvalue()
