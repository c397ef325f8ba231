"""Render the sample clips of `weights/samples/`: `python -m weights.training.samples`.

Four short films of procedural scenes with a known camera: three single moves, and a tour of
several moves whose truth is written beside it.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from . import motion
from .render import render
from .scenes import fractal_noise, paint_leaves, pyramid, stencil

Array = NDArray[Any]

WIDTH, HEIGHT, RATE = 320, 180, 24
WORLD = 1024
EASE = 0.25  # seconds that a move takes to start and to stop
# Velocity per second of each label: widths, heights, log scale, radians.
PACE = {0: 0.22, 1: 0.30, 2: 0.38, 3: 0.42}
INKS = (  # one palette per film, paper first
    ("f2e8cf", "386641", "6a994e", "a7c957", "bc4749", "e9c46a"),
    ("e8eef2", "1d3557", "457b9d", "a8dadc", "e63946", "f4a261"),
    ("fdf0d5", "003049", "669bbc", "c1121f", "f2a65a", "8d99ae"),
    ("dfe7e0", "264653", "2a9d8f", "e9c46a", "f4a261", "e76f51"),
)
FILMS = {
    "pan_left": (21, [("pan left", 3.5)]),
    "zoom_in": (22, [("zoom in", 3.5)]),
    "roll_clockwise": (23, [("roll clockwise", 3.5)]),
    "tour": (
        24,
        [
            ("static", 2.0),
            ("pan right", 2.5),
            ("zoom in", 2.5),
            ("roll counter-clockwise", 2.5),
            ("tilt up", 2.5),
            ("static", 2.0),
        ],
    ),
}


def plan(moves: list[tuple[str, float]]) -> tuple[Array, list[dict[str, Any]]]:
    """Velocities per frame (frames - 1, 4) and the truth as segments in seconds."""
    parts, truth, start = [], [], 0.0
    for name, seconds in moves:
        label = motion.CLASSES.index(name)
        steps = round(seconds * RATE)
        v = np.zeros((steps, 4))
        if label:
            edge = np.minimum(np.arange(steps) + 0.5, steps - np.arange(steps) - 0.5) / RATE
            axis = motion.AXIS[label]
            v[:, axis] = motion.SIGN[label] * PACE[axis] / RATE * np.clip(edge / EASE, 0, 1)
        parts.append(v)
        truth.append({"start": round(start, 3), "end": round(start + seconds, 3), "label": name})
        start += seconds
    return np.concatenate(parts)[:-1], truth


def paper_cut(rng: np.random.Generator, inks: tuple[str, ...]) -> Array:
    """A canvas (WORLD, WORLD, 3) of bytes: many cut-out shapes of a few colours on grainy paper."""
    palette = np.array([[int(ink[k : k + 2], 16) for k in (0, 2, 4)] for ink in inks]) / 255
    grain = fractal_noise(rng, WORLD, 1.3)
    img = (palette[0] + 0.04 * grain).astype(np.float32)
    count = 420
    size = np.sort(rng.uniform(9, 16, count) * rng.uniform(0.004, 1, count) ** -0.5)[::-1]
    stretch = np.exp(rng.normal(0, 0.25, count))
    place = rng.uniform(0, WORLD, (2, count))
    geometry = np.stack(
        [rng.choice(4, count), *place, size * stretch, size / stretch, rng.uniform(0, 3.14, count)],
        axis=1,
    )
    colour = np.concatenate(
        [palette[rng.integers(1, len(palette), count)], rng.normal(0, 0.06, (count, 2))], axis=1
    )
    stripes = np.where(rng.random(count) < 0.15, rng.integers(3, 7, count), 0)
    style = np.stack([np.full(count, 0.03), np.full(count, 1.5), np.ones(count), stripes], axis=1)
    paint_leaves(img, grain, geometry, colour, style)
    return (np.clip(img, 0, 1) * 255).astype(np.uint8)


def film(seed: int, velocity: Array) -> Array:
    """Frames (T, HEIGHT, WIDTH, 3) of bytes: cut-out shapes, a nearer layer, one walker."""
    rng = np.random.default_rng(seed)
    inks = INKS[seed % len(INKS)]
    back, near, skin = (
        tuple(p[0] for p in pyramid(paper_cut(rng, inks)[None]))
        for inks in (inks, inks[::-1], inks)
    )
    mask = tuple(p[0] for p in pyramid(stencil(rng, WORLD)[None]))
    extent = (WIDTH * 1.1, HEIGHT * 1.1)
    poses = motion.trajectory(velocity, extent)
    poses[:, :2] += rng.uniform(0, WORLD, 2)
    nearer = motion.trajectory(velocity, extent, parallax=1.4)
    nearer[:, :2] += rng.uniform(0, WORLD, 2)
    n = len(poses)
    walker = np.zeros((n, 1, 6))
    walker[:, 0, 0] = 0.25 * np.sin(np.arange(n) / RATE * 1.3)
    walker[:, 0, 1] = 0.2 + 0.03 * np.cos(np.arange(n) / RATE * 5)
    walker[:, 0, 2:] = 0.05, 0.11, 1.0, 0.0
    out = np.zeros((n, HEIGHT, WIDTH, 3), np.float32)
    render(back, poses, near, mask, nearer, extent, walker, np.array([0]), skin, 1, out)
    return np.clip(out + 0.5, 0, 255).astype(np.uint8)


def encode(frames: Array, path: Path, crf: int) -> None:
    """Write an H.264 file whose bytes depend on the frames and the encoder alone."""
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {"crf": str(crf), "preset": "veryslow", "threads": "1"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def main() -> None:
    """Render every film."""
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "samples")
    ap.add_argument("--crf", type=int, default=24)
    args = ap.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name, (seed, moves) in FILMS.items():
        velocity, truth = plan(moves)
        path = args.out / f"{name}.mp4"
        encode(film(seed, velocity), path, args.crf)
        print(f"{path.name}: {len(velocity) + 1} frames, {path.stat().st_size / 1024:.0f} KiB")
        if len(moves) > 1:
            text = json.dumps({"video": path.name, "segments": truth}, indent=1)
            path.with_suffix(".json").write_text(text + "\n")


if __name__ == "__main__":
    main()
