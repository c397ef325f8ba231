"""A video to its pulse: `measure`."""

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.errors import UsageError, VideoError
from tsm_ref.model import Model
from tsm_ref.pulse.frames import Track, shrunk
from tsm_ref.pulse.recipes import Recipe, Statistics, depth_of, recipe_for, size_of
from tsm_ref.pulse.regions import LARGER, Region, detector
from tsm_ref.pulse.waves import BANDS, Estimate, Wave, check_scipy, estimates, wave_of
from tsm_ref.system import memory
from tsm_ref.video import Frame, VideoInfo, open_clip

__all__ = ["Measured", "Pulse", "Watched", "check_windows", "even_rate", "measure"]

WINDOW, STRIDE = 10.0, 2.0
LOOKED_AT = 100
"""The frames in which a face is looked for, from the first one on."""
AS_IT_IS = 0.05
"""A video whose rate is that near to that of the training keeps its frames."""
SLOWEST = 8.0
"""Frames a second that are needed to see a pulse of 3.3 Hz."""
LONGEST_GAP = 0.5
"""Seconds without a frame that are told of."""


@dataclass(frozen=True)
class Measured:
    """One output of a network: its wave (T,), the rates of windows, and the medians of these."""

    name: str
    unit: str
    wave: Wave
    windows: tuple[Estimate, ...]

    @property
    def rate(self) -> float | None:
        """The median of the rates of all windows, a minute."""
        return _median([one.rate for one in self.windows])

    @property
    def snr(self) -> float | None:
        """The median of their signal-to-noise ratios, in dB."""
        return _median([one.snr for one in self.windows])


@dataclass(frozen=True)
class Pulse:
    """What was measured of a video, and how.

    The waves begin at second ``start`` and have ``rate`` values a second; ``mixed`` says that the
    frames of the video come at another rate, and that each was mixed of two. ``region`` is where
    the face was looked at, ``found`` who says so.
    """

    path: str
    info: VideoInfo
    model: str
    precision: str
    recipe: Recipe
    chosen: str
    depth: int
    region: Region
    found: str
    start: float
    rate: float
    mixed: bool
    window: float
    stride: float
    outputs: tuple[Measured, ...]
    warnings: tuple[str, ...]

    @property
    def pulse(self) -> Measured:
        """The output that is the pulse."""
        return next(output for output in self.outputs if output.name == "pulse")


@dataclass
class Watched:
    """Frames at the size of a network, of the region that was given or in which a face is."""

    size: int
    region: Region | None = None
    face_model: str | None = None
    found: str = "as given"

    def __call__(self, frames: Iterator[Frame]) -> Iterator[tuple[float, NDArray[np.uint8]]]:
        """Seconds and pixels (size, size, 3) of the frames from the first one with a face on.

        Raises `UsageError` for a region outside the picture and where no detector is installed,
        `VideoError` where there is no face.
        """
        find = None if self.region else detector(self.face_model)
        for looked, frame in enumerate(frames):
            if self.region is None and find is not None:
                faces = find(frame.pixels)
                if not faces:
                    if looked + 1 < LOOKED_AT:
                        continue
                    break
                self.region = faces[0].larger(LARGER, *frame.pixels.shape[:2])
                several = f", the widest of {len(faces)}" if len(faces) > 1 else ""
                self.found = f"{LARGER:g} times the face at {frame.time:.2f} s{several}"
            assert self.region is not None
            yield frame.time, shrunk(self.region.cut(frame.pixels), self.size)
        if self.region is None:
            raise VideoError("there is no face in the first frames: give its place, --roi x,y,w,h")


def measure(
    model: Model,
    clip: str | os.PathLike[str] | NDArray[Any],
    *,
    region: Region | str | None = None,
    face_model: str | None = None,
    recipe: str | None = None,
    window: float = WINDOW,
    stride: float = STRIDE,
    fps: float | None = None,
    allow_partial: bool = False,
) -> Pulse:
    """The pulse that a TS-CAN, MTTS-CAN, EfficientPhys or BigSmall finds in a video of a face.

    ``region`` is where the face is, "x,y,w,h" in pixels; without it OpenCV's detector looks in the
    first frames (see `tsm_ref.pulse.regions.detector`). ``recipe`` is a name of
    `tsm_ref.pulse.recipes.RECIPES`. Frames are shrunk to the size of the network, brought to the
    rate of its training, normalised as its own code does, and run in whole segments of the shift's
    depth: a rest is left out. ``window`` and ``stride`` are in seconds. An array of frames
    (T, H, W, 3) needs its ``fps``.

    This is no medical device. Raises `VideoError` for a video that cannot be read, that is shorter
    than a window or shows no face, `UsageError` for what cannot be meant, `MissingDependency`
    without SciPy.
    """
    check_scipy()
    made, chosen = recipe_for(model, recipe)
    check_windows(window, stride)
    given = Region.parse(region) if isinstance(region, str) else region
    watched = Watched(size_of(model.graph), given, face_model)
    source = open_clip(clip, fps=fps, allow_partial=allow_partial, threads=model.threads)
    info = source.survey(decode=False).info
    held = (info.frame_count * watched.size**2 * 3, f"a video of {info.frame_count} frames")
    memory.check(*held, error=VideoError)
    with closing(source.open()) as showing:
        seen = list(watched(iter(showing)))
        warnings = (*info.warnings, *showing.warnings)
    times = np.array([time for time, _ in seen])
    rate, mixed = even_rate(times, made.rate)
    track = Track(rate, plain=not mixed)
    for time, frame in seen:
        track.append(time, frame)
    seconds = len(track) / rate
    if seconds < window:
        raise VideoError(
            f"it shows the face for {seconds:.1f} s, and a window of its pulse has {window:g} s: "
            "a longer video is needed, or a shorter --window"
        )
    depth = depth_of(model)
    found = _changes(model, made, track, len(track) // depth * depth, depth)
    assert watched.region is not None
    return Pulse(
        path=str(clip) if not isinstance(clip, np.ndarray) else "array",
        info=info,
        model=model.name,
        precision=model.precision,
        recipe=made,
        chosen=chosen,
        depth=depth,
        region=watched.region,
        found=watched.found,
        start=track.start,
        rate=rate,
        mixed=mixed,
        window=window,
        stride=stride,
        outputs=tuple(
            measured(name, changes, rate, window, stride, track.start)
            for name, changes in found.items()
        ),
        warnings=tuple(dict.fromkeys((*model.warnings, *warnings, *_gaps(times)))),
    )


def measured(
    name: str, changes: NDArray[np.float32], rate: float, window: float, stride: float, start: float
) -> Measured:
    """The wave and the rates of one output (T,) of a network."""
    band = BANDS[name]
    wave = wave_of(changes, rate, band)
    length = max(window, band.window)
    found = tuple(estimates(wave, rate, band, length, stride, start))
    return Measured(name, band.unit, wave, found)


def check_windows(window: float, stride: float) -> None:
    """Raise `UsageError` for windows in which no pulse can be told, or that leave gaps."""
    least = BANDS["pulse"].window
    if not least <= window <= 3600:
        raise UsageError(f"`window` (={window:g}) must be {least:g} to 3600 seconds")
    if not 0.1 <= stride <= window:
        raise UsageError(f"`stride` (={stride:g}) must be 0.1 to {window:g} seconds")


def even_rate(times: NDArray[np.float64], wanted: float) -> tuple[float, bool]:
    """The values a second of a wave, and whether frames are mixed for them.

    Frames that come evenly and nearly as often as wanted are taken as they are. Raises `VideoError`
    for frames that come too seldom to see a pulse.

    >>> even_rate(np.arange(90) / 29.97, 30.0)[1], even_rate(np.arange(90) / 25, 30.0)
    (False, (30.0, True))
    """
    if len(times) < 2:
        raise VideoError("it has one frame, and a pulse needs some seconds")
    steps = np.diff(times)
    own = float((len(times) - 1) / (times[-1] - times[0]))
    if own < SLOWEST:
        raise VideoError(
            f"it has {own:.3g} frames a second, and {SLOWEST:g} are needed to see a fast pulse"
        )
    even = np.abs(steps * own - 1).max() < 0.2
    if even and abs(own / wanted - 1) <= AS_IT_IS:
        return own, False
    return wanted, True


def run_segments(
    model: Model, recipe: Recipe, track: Track, begin: int, end: int, known: Statistics, depth: int
) -> dict[str, NDArray[np.float32]]:
    """What the network gives for the even frames from `begin` to before `end`: rows by output."""
    following = len(track) > end
    taken = np.maximum(track.take(begin, end + following), np.float32(recipe.floor))
    frames, behind = (taken[:-1], taken[-1]) if following else (taken, None)
    found = model.run(recipe.inputs(frames, behind, known, depth))
    return {name: np.asarray(found[name]).reshape(-1) for name in BANDS if name in found}


def _changes(
    model: Model, recipe: Recipe, track: Track, count: int, depth: int
) -> dict[str, NDArray[np.float32]]:
    """What the network gives for every frame, by output; the clip is standardised as a whole."""
    chunk = max(1, recipe.chunk // depth) * depth
    pieces = [(begin, min(begin + chunk, count)) for begin in range(0, count, chunk)]
    known = Statistics()
    for begin, end in pieces:
        frames = np.maximum(track.take(begin, end), np.float32(recipe.floor))
        following = track.take(end, end + 1)[0] if len(track) > end else None
        known.add(frames, following)
    found = [run_segments(model, recipe, track, *piece, known, depth) for piece in pieces]
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}


def _gaps(times: NDArray[np.float64]) -> Iterator[str]:
    steps = np.diff(times)
    worst = int(np.argmax(steps))
    if steps[worst] > LONGEST_GAP:
        yield (
            f"no frame is shown for {steps[worst]:.2f} s at {times[worst]:.2f} s: the wave there "
            "is made up"
        )


def _median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None
