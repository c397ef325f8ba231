"""How the shipped model does at every speed: `python -m weights.training.speeds FOOTAGE_FOLDER`.

A virtual camera moves for up to six seconds over single pictures of real videos, at 25 frames a
second, from 0.05 % to 12 % of the width per seventh of a second (the step of a window of one
second); beside that it stands still, and pictures are joined by cuts, dissolves and fades or hit by
a flash. Each clip is judged as the plain command judges it, with windows of every length and finer
frames, and with those of one second alone.
"""

import argparse
import json
import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

import tsm_ref
from tsm_ref.model import Model
from tsm_ref.recognition import light
from tsm_ref.recognition.verdict import Verdict
from tsm_ref.recognition.windows import Ladder, ladder
from tsm_ref.reference import softmax
from tsm_ref.video import Windows, frame_times, normalize

from . import motion
from .footage import inside, look
from .generator import shows_motion

Array = NDArray[Any]

RATE, FRAMES = 25.0, 150
SIZE = 128
"""Films have twice the network's size, for windows that are asked again with finer frames."""
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
    """A view that moves over a picture (n + 1, S, S, 3) of floats; None if it would leave it."""
    height, width = picture.shape[:2]
    share = rng.uniform(0.3, 0.8)
    extent = (share * width, share * height)
    poses = motion.trajectory(velocity, extent)
    poses[:, 3] += rng.normal(0, 0.05)
    placed = inside(rng, poses, extent, (height, width))
    if placed is None:
        return None
    out = np.zeros((len(placed), SIZE, SIZE, 3), np.float32)
    for t, (cx, cy, scale, phi) in enumerate(placed):
        look(picture, cx, cy, scale * extent[0], scale * extent[1], phi, 1, out[t])
    return out if shows_motion(smaller(out[:1], SIZE // 2)[0]) else None


def smaller(clip: Array, size: int) -> Array:
    """A film (n, S, S, 3) at a size that divides its own: the means of squares of pixels."""
    k = clip.shape[1] // size
    return clip if k == 1 else clip.reshape(len(clip), size, k, size, k, 3).mean((2, 4))


def moved(
    rng: np.random.Generator, scenes: list[Array], label: int, low: float, high: float
) -> tuple[Array, Array]:
    """A clip (n, S, S, 3) of bytes with one move of a speed in [low, high] per step, or none.

    With it comes the velocity from frame to frame (n - 1, 4): moves begin late and end early.
    """
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
            return finished(rng, clip), velocity


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
        clip = rng.integers(0, 256, (FRAMES, SIZE, SIZE, 1)).repeat(3, 3)
    return finished(rng, clip)


def finished(rng: np.random.Generator, clip: Array) -> Array:
    """Bytes with the noise of a sensor, of up to 2.5 grey levels at half the size."""
    noisy = clip + rng.normal(0, 2 * rng.choice([0, 1, 2.5]), clip.shape)
    return np.clip(noisy + 0.5, 0, 255).astype(np.uint8)


def heard(model: Model, clip: Array) -> tuple[Ladder, Array, Array]:
    """The windows of a clip, the probabilities (W, K) of those that the command asks for, and what
    it says of each moment (M, K).
    """
    profile = model.profile
    rest, aimless = profile.no_event_index, profile.aimless_indices
    made = ladder(frame_times(len(clip), RATE), profile.sampling)
    verdict = Verdict(made, rest, aimless)
    said = np.zeros((len(made.rung), len(profile.labels)))

    def logits(pixels: Array) -> Array:
        return model(normalize(pixels, profile.preprocess))

    for row, scale in enumerate(made.scale):
        if verdict.needs(row):
            shown = smaller(clip[made.windows.indices[row]], SIZE // 2 * int(scale))
            pixels = np.rint(shown).astype(np.uint8)[:, None]
            (found,), _ = light.judged(pixels, logits, rest, aimless)
            said[row] = softmax(found.astype(np.float64), 0)
            verdict.hear(row, said[row])
    return made, said, said[verdict.speaking()]


def labels_of(velocity: Array) -> set[int]:
    """What may be said of a camera that has this mean velocity (4,) from frame to frame.

    Its fastest motion, and any half as fast; "static" below the slowest speed of the table.
    """
    speed = motion.speed(velocity) * STEP * RATE
    fastest = np.abs(speed).max()
    found = {
        label
        for label in motion.MOVES
        if speed[motion.AXIS[label]] * motion.SIGN[label] >= max(fastest / 2, STEADY)
    }
    return found | ({motion.STATIC} if fastest < SPEEDS[0] or not found else set())


def rights(velocity: Array, windows: Windows) -> Array:
    """Which labels are right (moments, K): of what happens in its window, or in half of it."""
    right = np.zeros((len(windows), len(motion.CLASSES)), bool)
    for row, (start, end) in enumerate(zip(windows.start, windows.end, strict=True)):
        inside = velocity[round(start * RATE) : max(round(end * RATE), 1)]
        middle = len(inside) // 2
        for part in (inside, inside[:middle], inside[middle:]):
            right[row, list(labels_of(part.mean(0)))] = True
    return right


def cases(
    rng: np.random.Generator, scenes: list[Array], count: int
) -> Iterator[tuple[str, int, Array, Array | None]]:
    """The name of a row of the table, the label, a clip and its velocity, None of joined ones."""
    for low, high in pairwise(SPEEDS):
        for k in range(count):
            label = motion.MOVES[k % len(motion.MOVES)]
            yield f"{low:.2%} to {high:.2%}", label, *moved(rng, scenes, label, low, high)
    for _ in range(count):
        yield "static", 0, *moved(rng, scenes, 0, STEADY / 4, STEADY)
    for kind in JOINTS:
        for _ in range(count // 2):
            yield f"{JOINED}{kind}", 0, joined(rng, scenes, kind), None


def judged(chances: Array, right: Array, whole: Array) -> dict[str, list[Any]]:
    """A clip of moments (M, K): whether all and each are right, and how sure each label is."""
    good = right[np.arange(len(chances)), chances.argmax(1)]
    return {
        "clips": [bool(whole[chances.mean(0).argmax()])],
        "moments": good.tolist(),
        "probabilities": chances.max(1).tolist(),
    }


def figures(found: dict[str, list[Any]]) -> dict[str, float]:
    """The shares of right clips and moments, and of moments that are wrong and above 95 %."""
    good, sure = np.array(found["moments"]), np.array(found["probabilities"])
    shares = {
        "clips": np.mean(found["clips"]),
        "moments": good.mean(),
        "sure and wrong": (~good & (sure > 0.95)).mean(),
    }
    return {name: round(float(share), 4) for name, share in shares.items()}


def calibration_error(sure: Array, good: Array, bins: int = 15) -> float:
    """The expected calibration error of probabilities (N,) whose labels are right or not (N,).

    The mean distance of probability and accuracy over bins of equal width (Guo et al. 2017).
    """
    place = np.minimum((sure * bins).astype(int), bins - 1)
    parts = [place == k for k in range(bins)]
    return float(sum(abs(sure[p].sum() - good[p].sum()) for p in parts) / len(sure))


def table(model: Model, scenes: list[Array], count: int, seed: int) -> dict[str, Any]:
    """The figures of every row, for windows of one second alone and of every length; and of all.

    What can be right of a join is no probability: the calibration is that of the other rows.
    """
    rows: dict[str, dict[str, dict[str, list[Any]]]] = {}
    moves = np.isin(np.arange(len(model.profile.labels)), motion.MOVES)
    for name, label, clip, velocity in cases(np.random.default_rng(seed), scenes, count):
        made, said, spoken = heard(model, clip)
        right = np.tile(~moves, (len(spoken), 1))  # where pictures are joined, or are none
        whole = right[0]
        if velocity is not None:
            right, whole = rights(velocity, made.shortest()), np.arange(len(moves)) == label
        row = rows.setdefault(name, {})
        for way, chances in (("one second", said[made.rung == 0]), ("every length", spoken)):
            for key, values in judged(chances, right, whole).items():
                row.setdefault(way, {}).setdefault(key, []).extend(values)
    single = [row["every length"] for name, row in rows.items() if not name.startswith(JOINED)]
    sure, good = (
        np.array([value for row in single for value in row[key]])
        for key in ("probabilities", "moments")
    )
    return {
        "rows": {
            name: {"clips": len(row["one second"]["clips"])}
            | {way: figures(found) for way, found in row.items()}
            for name, row in rows.items()
        },
        "moments": len(sure),
        "calibration error": round(calibration_error(sure, good), 4),
        "sure and wrong": round(float((~good & (sure > 0.95)).mean()), 4),
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
    for name, row in found["rows"].items():
        for way in ("one second", "every length"):
            shares = "  ".join(f"{key} {share:.1%}" for key, share in row[way].items())
            print(f"{name:28s} {row['clips']:4d}  {way:12s}  {shares}")
    shares = "  ".join(f"{k} {found[k]:.2%}" for k in ("calibration error", "sure and wrong"))
    print(f"of {found['moments']} moments: {shares}")
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
