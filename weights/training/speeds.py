"""How the shipped model does at every speed: `python -m weights.training.speeds FOOTAGE_FOLDER`.

A virtual camera moves for up to six seconds over single pictures of real videos, at 25 frames a
second, from 0.05 % to 12 % of the width per seventh of a second (the step of a window of one
second); beside that it stands still, and pictures are joined by cuts, dissolves and fades or hit by
a flash. Each clip is judged as the plain command judges it, with windows of every length, and with
those of one second alone.
"""

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

import tsm_ref
from tsm_ref.model import Model
from tsm_ref.recognition import light
from tsm_ref.recognition.windows import ladder, settled
from tsm_ref.reference import softmax
from tsm_ref.video import frame_times, normalize

from . import motion
from .footage import inside, look
from .generator import shows_motion

Array = NDArray[Any]

RATE, FRAMES = 25.0, 150
STEP = 1 / (motion.FRAMES - 1)
"""Seconds from frame to frame of a window of one second: what a speed per step is measured in."""
SPEEDS = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.02, 0.05, 0.12)
STEADY = 0.0002
"""A camera that stands drifts by at most this per step."""
JOINTS = ("a cut", "a dissolve", "a fade", "a flash", "a fade-out", "no picture but noise")
JOINED = "static, "
TRAVEL = 1.5
"""How many of its own widths a view may travel over a picture; faster moves are shorter."""


def pictures(folder: Path) -> list[Array]:
    """Every 25th frame (H, W, 3) of the videos of a folder."""
    found: list[Array] = []
    for path in sorted(folder.iterdir()):
        with av.open(str(path)) as video:
            kept = (f for k, f in enumerate(video.decode(video=0)) if k % 25 == 0)
            found += [frame.to_ndarray(format="rgb24") for frame in kept]
    return found


def film(rng: np.random.Generator, picture: Array, velocity: Array) -> Array | None:
    """A view that moves over a picture (n + 1, 64, 64, 3) of floats; None if it would leave it."""
    height, width = picture.shape[:2]
    share = rng.uniform(0.3, 0.8)
    extent = (share * width, share * height)
    poses = motion.trajectory(velocity, extent)
    poses[:, 3] += rng.normal(0, 0.05)
    placed = inside(rng, poses, extent, (height, width))
    if placed is None:
        return None
    out = np.zeros((len(placed), 64, 64, 3), np.float32)
    for t, (cx, cy, scale, phi) in enumerate(placed):
        look(picture, cx, cy, scale * extent[0], scale * extent[1], phi, 2, out[t])
    return out if shows_motion(out[0]) else None


def moved(
    rng: np.random.Generator, scenes: list[Array], label: int, low: float, high: float
) -> Array:
    """A clip (n, 64, 64, 3) of bytes with one move of a speed in [low, high] per step, or none."""
    while True:
        speed = math.exp(rng.uniform(math.log(low), math.log(high)))
        per_frame = speed / STEP / RATE
        steps = FRAMES - 1
        if label:
            limit = (TRAVEL, TRAVEL, 0.9 * motion.RMS[2], math.inf)[motion.AXIS[label]]
            steps = max(24, int(min(steps, limit / per_frame)))
            velocity = motion.random_move(rng, label, per_frame, per_frame * 1.0001, n=steps)
        else:
            velocity = np.tile(rng.uniform(-1, 1, 4) / motion.RMS / 4 * per_frame, (steps, 1))
        clip = film(rng, scenes[rng.integers(len(scenes))], velocity)
        if clip is not None:
            return finished(rng, clip)


def joined(rng: np.random.Generator, scenes: list[Array], kind: str) -> Array:
    """Two pictures of a camera that stands, joined in one of the ways of `JOINTS`."""
    still = np.zeros((0, 4))
    found: list[Array] = []
    while len(found) < 2:
        clip = film(rng, scenes[rng.integers(len(scenes))], still)
        found += [] if clip is None else [clip]
    t, at = np.arange(FRAMES)[:, None, None, None], rng.integers(30, 120)
    first, second = found
    clip = np.where(t < at, first, second)
    if kind == "a dissolve":
        part = np.clip((t - at + 12) / 25, 0, 1)
        clip = first * (1 - part) + second * part
    elif kind == "a fade":
        clip = clip * np.clip(np.abs(t - at) / 15, 0, 1)
    elif kind == "a flash":
        clip = np.where((t >= at) & (t < at + 2), 250, first)
    elif kind == "a fade-out":
        clip = first * np.clip((FRAMES - 1 - t) / (RATE * rng.uniform(0.4, 4)), 0, 1)
    elif kind == "no picture but noise":
        clip = rng.integers(0, 256, (FRAMES, 64, 64, 1)).repeat(3, 3)
    return finished(rng, clip)


def finished(rng: np.random.Generator, clip: Array) -> Array:
    """Bytes with the noise of a sensor."""
    noisy = clip + rng.normal(0, rng.choice([0, 1, 2.5]), clip.shape)
    return np.clip(noisy + 0.5, 0, 255).astype(np.uint8)


def judged(model: Model, clip: Array, longest: float) -> Array:
    """The probabilities (moments, K) that the command finds for a clip."""
    profile = model.profile
    made = ladder(frame_times(len(clip), RATE), replace(profile.sampling, longest=longest))
    rest, aimless = profile.no_event_index, profile.aimless_indices
    assert rest is not None

    def logits(pixels: Array) -> Array:
        return model(normalize(pixels, profile.preprocess))

    said = [
        light.judged(clip[rows][:, None], logits, rest, aimless)[0][0]
        for rows in made.windows.indices
    ]
    chances = softmax(np.array(said, np.float64), 1)
    return np.asarray(chances[settled(made, list(chances), rest, aimless)])


def mistaken(said: Array, label: int, *, joined: bool) -> Array:
    """Which labels are wrong; where pictures are joined or there are none, all that name a move."""
    return np.isin(said, motion.MOVES) if joined else said != label


def cases(
    rng: np.random.Generator, scenes: list[Array], count: int
) -> Iterator[tuple[str, int, Array]]:
    """The name of a row of the table, the true label, and a clip."""
    for low, high in pairwise(SPEEDS):
        for k in range(count):
            label = motion.MOVES[k % len(motion.MOVES)]
            yield f"{low:.2%} to {high:.2%}", label, moved(rng, scenes, label, low, high)
    for _ in range(count):
        yield "static", 0, moved(rng, scenes, 0, STEADY / 4, STEADY)
    for kind in JOINTS:
        for _ in range(count // 2):
            yield f"{JOINED}{kind}", 0, joined(rng, scenes, kind)


def table(model: Model, scenes: list[Array], count: int, seed: int) -> dict[str, dict[str, Any]]:
    """Per row: clips, and for both ways the share of right clips, moments, and sure mistakes."""
    rows: dict[str, dict[str, list[Any]]] = {}
    for name, label, clip in cases(np.random.default_rng(seed), scenes, count):
        row = rows.setdefault(name, {})
        for way, longest in (("one second", 0.0), ("every length", model.profile.sampling.longest)):
            chances = judged(model, clip, longest)
            wrong = mistaken(chances.argmax(1), label, joined=name.startswith(JOINED))
            said = chances.mean(0).argmax(keepdims=True)
            missed = mistaken(said, label, joined=name.startswith(JOINED))
            row.setdefault(f"{way}: clips", []).extend(~missed)
            row.setdefault(f"{way}: moments", []).extend(~wrong)
            row.setdefault(f"{way}: sure and wrong", []).extend(wrong & (chances.max(1) > 0.95))
    return {
        name: {"clips": len(row["every length: clips"])}
        | {key: round(float(np.mean(values)), 4) for key, values in row.items()}
        for name, row in rows.items()
    }


def main() -> None:
    """Print the table, and keep it as JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("footage", type=Path, help="a folder of real videos")
    parser.add_argument("--model", default="camera-motion")
    parser.add_argument("--count", type=int, default=80, help="clips per row")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    found = table(tsm_ref.load(args.model), pictures(args.footage), args.count, args.seed)
    for name, row in found.items():
        figures = "  ".join(f"{key} {value:.1%}" for key, value in row.items() if key != "clips")
        print(f"{name:18s} {row['clips']:4d} clips  {figures}")
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
