"""Procedural clips of a moving camera with known truth: `python -m weights.training.generator`.

One seed, one data set: clip `i` of seed `s` depends on (s, i), the bank's seed and the arguments,
on nothing else.
"""

import argparse
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import motion
from .render import compress, expose, least_texture, render, soften
from .scenes import Bank

Array = NDArray[Any]

SIZE = 64
MIN_TEXTURE = 2.5  # grey levels per pixel in three quarters of a frame; frozen before training
TRAIN_BANK, TEST_BANK = 1, 2


@dataclass
class Clip:
    """A clip (T, H, W, 3) of bytes and its truth; `aspect` is that before the squash."""

    frames: Array
    label: int
    velocity: Array
    aspect: float


def subposes(poses: Array, subframes: int, shutter: float) -> Array:
    """Poses in the middle of each part of an open shutter, centred on the frame: motion blur."""
    t = np.arange(len(poses))
    at = (t[:, None] + shutter * ((np.arange(subframes) + 0.5) / subframes - 0.5)).ravel()
    return np.stack([np.interp(at, t, poses[:, k]) for k in range(4)], axis=1)


def moving_objects(
    rng: np.random.Generator, poses: Array, extent: tuple[float, float], count: int, frames: int
) -> Array:
    """Things that move on their own in front of the scene: (len(poses), count, 6), see `render`.

    Most are carried by the camera's motion as the background is; some the camera follows, so that
    they stay on the screen while the world passes behind them.
    """
    n = len(poses)
    time = np.linspace(-0.5, 0.5, n) * (frames - 1)
    out = np.zeros((n, count, 6))
    ex, ey = extent
    middle = poses[n // 2]
    co, si = np.cos(poses[:, 3]), np.sin(poses[:, 3])
    for k in range(count):
        radius, stretch = rng.uniform(0.05, 0.30), math.exp(rng.normal(0, 0.4))
        at = rng.uniform(-0.55, 0.55, 2)
        followed = rng.random() < 0.25
        if followed:
            x, y, growth, turn = np.full(n, at[0]), np.full(n, at[1]), np.ones(n), np.zeros(n)
        else:
            u, v = at[0] * ex * middle[2], at[1] * ey * middle[2]
            cm, sm = math.cos(middle[3]), math.sin(middle[3])
            dx = middle[0] + cm * u - sm * v - poses[:, 0]
            dy = middle[1] + sm * u + cm * v - poses[:, 1]
            x = (co * dx + si * dy) / (poses[:, 2] * ex)
            y = (co * dy - si * dx) / (poses[:, 2] * ey)
            growth, turn = middle[2] / poses[:, 2], middle[3] - poses[:, 3]
        own = rng.normal(0, rng.choice([0, 0.01, 0.02, 0.04]), 2)
        x, y = x + own[0] * time, y + own[1] * time
        if rng.random() < 0.4:
            sway = rng.normal(0, 0.04, 2)
            phase = np.sin(rng.uniform(0.3, 1.5) * time + rng.uniform(0, 6.3))
            x, y = x + sway[0] * phase, y + sway[1] * phase
        growth = growth * np.exp(rng.normal(0, rng.choice([0, 0.02])) * time)
        angle = rng.uniform(0, math.pi) + turn + rng.normal(0, rng.choice([0, 0.05, 0.15])) * time
        a, b = radius * math.sqrt(stretch) * growth, radius / math.sqrt(stretch) * growth
        out[:, k] = np.stack([x, y, a, b, np.cos(angle), np.sin(angle)], axis=1)
    return out


def photograph(rng: np.random.Generator, x: Array, clutter: float) -> Array:
    """What a camera does to a clip (T, H, W, 3) of floats 0..255: bytes with its defects."""
    frames, height, width = x.shape[:3]

    def maybe(probability: float) -> bool:
        return bool(rng.random() < probability * clutter)

    if maybe(0.3):
        soften(x)
    contrast = rng.uniform(0.35 if maybe(1) else 0.8, 1.1)
    offset = rng.uniform(0, 255 * max(0.0, 1 - contrast))
    drift = rng.normal(0, rng.choice([0, 0.03, 0.12])) * np.linspace(-0.5, 0.5, frames)
    flicker = rng.normal(0, rng.choice([0, 0, 0.01, 0.03]), frames)
    tint = rng.normal(0, 0.06, 3)
    gain = contrast * np.exp(clutter * ((drift + flicker)[:, None] + tint))
    vignette = rng.uniform(0.1, 0.5) if maybe(0.25) else 0.0
    noise = rng.choice([0, 1, 2.5, 6]) * clutter
    expose(
        x, gain.astype(np.float32), np.float32(offset), vignette, noise,
        np.uint64(rng.integers(1, 2**62)),
    )  # fmt: skip
    if maybe(0.08):  # a caption or a logo, fixed to the screen
        h, w = rng.integers(height // 16, height // 5), rng.integers(width // 8, width)
        y, left = rng.integers(height - h), rng.integers(width - w + 1)
        ink = rng.random((h, w, 1)) < 0.5
        x[:, y : y + h, left : left + w] = np.where(ink, 235, 30)
    if maybe(0.06):  # letterbox
        bar = int(rng.integers(2, height // 7))
        edge = x if rng.random() < 0.5 else x.swapaxes(1, 2)
        edge[:, :bar] = edge[:, -bar:] = 0
    if maybe(0.3):
        x = compress(x, rng.uniform(2, 10))
    return np.clip(x + 0.5, 0, 255).astype(np.uint8)


def shows_motion(frame: Array) -> bool:
    """Whether at least three quarters of a frame (S, S, 3) have texture in every direction."""
    half = len(frame) // 2
    quarters = [frame[y : y + half, x : x + half] for y in (0, half) for x in (0, half)]
    return sorted(least_texture(q) for q in quarters)[1] >= MIN_TEXTURE


def make_clip(
    rng: np.random.Generator,
    bank: Bank,
    label: int,
    size: int = SIZE,
    low: float = motion.SPEED_MIN,
    high: float = motion.SPEED_MAX,
    clutter: float = 1.0,
    crowds: float = 0.0,
) -> Clip:
    """One clip of a static camera or a clean move, by its label.

    `crowds` is the share of clips in which two to six things move on their own.
    """
    velocity = motion.random_move(rng, label, low, high, clutter)
    shape = shape_of(rng)
    crowd = int(rng.integers(2, 7)) if crowds and rng.random() < crowds else 0
    x = draw_shot(rng, bank, velocity, shape, size, clutter, crowd)
    return Clip(photograph(rng, x, clutter), label, velocity.astype(np.float32), shape)


def shape_of(rng: np.random.Generator) -> float:
    """The aspect ratio of a random screen."""
    shape = rng.choice([1.0, 4 / 3, 3 / 4, 16 / 9, 9 / 16], p=[0.3, 0.25, 0.1, 0.25, 0.1])
    return float(shape * math.exp(rng.normal(0, 0.05)))


def draw_shot(
    rng: np.random.Generator,
    bank: Bank,
    velocity: Array,
    shape: float,
    size: int,
    clutter: float,
    crowd: int = 0,
) -> Array:
    """Frames (T, size, size, 3) of a scene; those without enough texture are redrawn.

    `crowd` is how many things move in front of it; 0 leaves that to chance.
    """
    for _ in range(8):
        scale = size * math.exp(rng.uniform(math.log(0.8), math.log(5.0)))  # canvas pixels in view
        extent = (scale * math.sqrt(shape), scale / math.sqrt(shape))
        x = draw_scene(rng, bank, velocity, extent, size, clutter, crowd)
        if shows_motion(x[len(x) // 2]):
            break
    return x


def draw_scene(
    rng: np.random.Generator,
    bank: Bank,
    velocity: Array,
    extent: tuple[float, float],
    size: int,
    clutter: float,
    crowd: int,
) -> Array:
    """Frames (T, size, size, 3) of floats 0..255 of a random scene under a camera's velocities."""
    n = len(velocity) + 1
    tilt = rng.normal(0, 0.1) if rng.random() < 0.7 else rng.uniform(0, 2 * math.pi)
    subframes = 3 if rng.random() < 0.25 * clutter else 1
    shutter = rng.uniform(0.3, 1.0)
    start = [*rng.uniform(0, bank.n, 2), 1.0, 0.0]

    def camera(parallax: float = 1.0, dolly: float = 1.0) -> Array:
        poses = motion.trajectory(velocity, extent, parallax, dolly)
        co, si = math.cos(tilt), math.sin(tilt)
        poses[:, :2] = poses[:, :2] @ np.array([[co, si], [-si, co]]) + start[:2]
        poses[:, 3] += tilt
        return subposes(poses, subframes, shutter)

    poses = camera()
    near = np.zeros((0, 4))
    if rng.random() < 0.4 * clutter:
        dolly = rng.uniform(1, 1.6) if rng.random() < 0.5 else 1.0
        near = camera(1 + rng.uniform(0.1, 1.0), dolly)
        near[:, :2] += rng.uniform(0, bank.n, 2)
        near[:, 2] *= rng.uniform(0.6, 1.2)
    count = int(rng.choice([0, 0, 1, 1, 2, 3])) if rng.random() < clutter else 0
    count = crowd or count
    objects = moving_objects(rng, poses, extent, count, n)
    back, layer, skin = ([p[i] for p in bank.pictures] for i in rng.integers(bank.canvases, size=3))
    which = int(rng.integers(bank.stencils))
    mask = [p[which] for p in bank.masks]
    out = np.zeros((n, size, size, 3), np.float32)
    render(
        tuple(back), poses, tuple(layer), tuple(mask), near, extent, objects,
        rng.integers(0, 4, max(count, 1)), tuple(skin), subframes, out,
    )  # fmt: skip
    return out


def make_set(
    seed: int,
    count: int,
    bank: Bank,
    size: int = SIZE,
    first: int = 0,
    labels: Sequence[int] = range(motion.CLEAN),
    **options: float,
) -> dict[str, Array]:
    """Clips first..first+count-1 of a seed, `labels` in turn: x (N, T, S, S, 3), y, v, aspect."""
    return stacked(
        make_clip(np.random.default_rng([seed, k]), bank, labels[k % len(labels)], size, **options)
        for k in range(first, first + count)
    )


def stacked(clips: Iterable[Clip]) -> dict[str, Array]:
    """Clips as arrays: x (N, T, S, S, 3), y (N,), v (N, T - 1, 4), aspect (N,)."""
    made = list(clips)
    return {
        "x": np.stack([clip.frames for clip in made]),
        "y": np.array([clip.label for clip in made], np.int64),
        "v": np.stack([clip.velocity for clip in made]),
        "aspect": np.array([clip.aspect for clip in made], np.float32),
    }


def write(folder: Path, data: dict[str, Array]) -> None:
    """A data set as a folder of .npy files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in data.items():
        np.save(folder / f"{name}.npy", value)


def main() -> None:
    """Render a data set."""
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("out", type=Path)
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--bank", type=int, default=TRAIN_BANK)
    ap.add_argument("--first", type=int, default=0)
    ap.add_argument("--count", type=int, default=1000)
    ap.add_argument("--size", type=int, default=SIZE)
    ap.add_argument("--low", type=float, default=motion.SPEED_MIN)
    ap.add_argument("--high", type=float, default=motion.SPEED_MAX)
    ap.add_argument("--clutter", type=float, default=1.0)
    ap.add_argument("--crowds", type=float, default=0.0)
    ap.add_argument("--labels", type=int, nargs="+", default=range(motion.CLEAN), help="in turn")
    a = ap.parse_args()
    start = time.time()
    bank = Bank(a.bank)
    drawn = time.time()
    options = {name: getattr(a, name) for name in ("low", "high", "clutter", "crowds")}
    data = make_set(a.seed, a.count, bank, a.size, a.first, a.labels, **options)
    write(a.out, data)
    rate = a.count / (time.time() - drawn)
    print(f"bank {drawn - start:.1f} s, {a.count} clips at {rate:.0f} clips/s -> {a.out}")


if __name__ == "__main__":
    main()
