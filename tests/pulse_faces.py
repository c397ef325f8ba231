"""Videos of a face with a known pulse, and a network that reads it without having been trained."""

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.model import Model
from tsm_ref.models import build_ts_can
from tsm_ref.profile import PROFILES

Pixels = NDArray[np.uint8]


def face_video(beats: float, rate: float, seconds: float, side: int = 36, seed: int = 1) -> Pixels:
    """Frames (T, side, side, 3) of a soft, skin-coloured ellipse that pulses.

    Each frame is ``picture (1 - p(t) (0.33, 0.77, 0.53) 0.012 ellipse)`` with
    ``p = sin(2 pi f t) + 0.35 sin(4 pi f t - 0.6)``, plus noise of 0.004: about one step of 8 bits.
    """
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:side, 0:side] / (side - 1) - 0.5
    distance = np.sqrt((rows / 0.46) ** 2 + (columns / 0.36) ** 2)
    ellipse = (1 / (1 + np.exp((distance - 1) * 12)))[..., None]
    texture = 1 + 0.08 * rng.standard_normal((side, side, 1))
    picture = np.array([0.78, 0.57, 0.47]) * ellipse * texture + 0.15 * (1 - ellipse)
    phase = 2 * np.pi * beats / 60 * np.arange(round(seconds * rate)) / rate
    pulse = np.sin(phase) + 0.35 * np.sin(2 * phase - 0.6) if beats else np.zeros_like(phase)
    strength = 0.012 * np.array([0.33, 0.77, 0.53]) * ellipse
    frames = (
        picture * (1 - p * strength) + 0.004 * rng.standard_normal(picture.shape) for p in pulse
    )
    return np.stack([np.clip(np.rint(frame * 255), 0, 255).astype(np.uint8) for frame in frames])


def write_video(path: Path, frames: Pixels, times: Any) -> None:
    """A file of these frames at these seconds, without loss."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=30)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "bgr0"
        stream.codec_context.time_base = Fraction(1, 1000)
        for time, pixels in zip(times, frames, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="bgr0")
            frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def reader(order: str = "CHW", profile: str = "mtts-can", heads: Any = ("pulse",)) -> Model:
    """A TS-CAN whose weights pass the change of green in the middle on to its output.

    Every convolution takes the middle of its window, of the unshifted third channel but for the
    first, which takes green; gains are small, so that tanh does next to nothing; masks are even.
    """
    meant = PROFILES[profile]
    graph = build_ts_can(
        heads=heads, shift=meant.shift, filters=(3, 3), hidden=1, order=order, name="reader"
    )
    weights = {name: np.zeros(shape, np.float32) for name, shape in graph.parameters.items()}
    for i, (channel, gain) in enumerate(((1, 0.05), (2, 1.0), (2, 1.0), (2, 1.0)), start=1):
        weights[f"motion_conv{i}.weight"][2, channel, 0, 1, 1] = gain
    middle = np.zeros((3, 7, 7), np.float32)
    middle[2, 2:5, 2:5] = 1 / 9
    axes = (0, 1, 2) if order == "CHW" else (1, 2, 0)
    for suffix in ("", "_respiration")[: len(heads)]:
        weights[f"dense1{suffix}.weight"][0] = middle.transpose(axes).ravel()
        weights[f"dense2{suffix}.weight"][0] = -1.0  # less light comes back when blood comes in
    return Model(graph, lambda: weights, meant, name="reader", engine="numpy")


def within(found: Any, beats: float, most: float = 2.0) -> Mapping[str, float]:
    """The errors of all windows in beats a minute that are above `most`, by their beginning."""
    return {
        f"{one.start:g} s": one.rate - beats
        for one in found.pulse.windows
        if one.rate is None or abs(one.rate - beats) > most
    }
