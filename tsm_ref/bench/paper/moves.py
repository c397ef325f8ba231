"""Generated clips whose camera move is known, and how early the models that ship recognise it.

Figure 5 of the paper. A clip is eight views of one random picture, as the camera sees it that pans,
tilts, zooms or rolls at a steady speed: see the cards of the models for the classes.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.model import load
from tsm_ref.video.transforms import normalize

__all__ = ["MODELS", "early", "moving_clip"]

Array = NDArray[Any]
Row = dict[str, Any]

MODELS = ("camera-motion", "camera-motion-tsn")
"""The causal one that ships, and its twin without the shift."""

FRAMES, SIZE = 8, 64
SLOWEST, FASTEST = 0.008, 0.05
"""Root mean square of the motion over the picture from frame to frame, in widths."""

VELOCITIES = {
    "static": (0, 0, 0, 0),
    "pan left": (-1, 0, 0, 0),
    "pan right": (1, 0, 0, 0),
    "tilt up": (0, -1, 0, 0),
    "tilt down": (0, 1, 0, 0),
    "zoom in": (0, 0, 1, 0),
    "zoom out": (0, 0, -1, 0),
    "roll clockwise": (0, 0, 0, 1),
    "roll counter-clockwise": (0, 0, 0, -1),
}
"""x and y of the camera, the logarithm of its zoom, and its roll, each at a speed of 1."""


def moving_clip(label: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A clip (T, H, W, 3) of one move: the camera turns and zooms about the middle.

    >>> clip = moving_clip("static", np.random.default_rng(0))
    >>> clip.shape, bool((clip == clip[:1]).all())
    ((8, 64, 64, 3), True)
    """
    world = _world(rng)
    speed = math.exp(rng.uniform(math.log(SLOWEST), math.log(FASTEST)))
    x, y, zoom, roll = (speed * v for v in VELOCITIES[label])
    zoom, roll = math.sqrt(6) * zoom, math.sqrt(6) * roll
    across = (np.arange(SIZE) + 0.5) / SIZE - 0.5
    down = across[:, None]
    begin = rng.uniform(-math.pi, math.pi)
    frames = []
    for t in range(FRAMES):
        angle, scale = begin + roll * t, math.exp(-zoom * (t - (FRAMES - 1) / 2))
        # The camera's own x and y: a picture that lies turned under it is panned over straight.
        px, py = scale * across + x * t, scale * down + y * t
        u = math.cos(angle) * px - math.sin(angle) * py
        v = math.sin(angle) * px + math.cos(angle) * py
        frames.append(_seen(world, u, v))
    return np.array(frames)


def _world(rng: np.random.Generator) -> Array:
    """A picture without seams, about twice as wide as a view: noise of several sizes."""
    side = 2 * SIZE
    world = np.zeros((side, side, 3))
    for cells in (4, 8, 16, 32, 64):
        noise = rng.standard_normal((cells, cells, 3))
        at = np.arange(side) * cells / side
        world += _bilinear(noise, at[:, None], at[None]) * cells**-0.5
    found: Array = 127 + 45 * world / world.std()
    return found


def _seen(world: Array, u: Array, v: Array) -> NDArray[np.uint8]:
    seen = _bilinear(world, v * SIZE, u * SIZE)
    return seen.clip(0, 255).round().astype(np.uint8)


def _bilinear(picture: Array, row: Array, column: Array) -> Array:
    """The picture at places between its pixels; it goes on at its other side."""
    side = len(picture)
    top, left = np.floor(row).astype(int), np.floor(column).astype(int)
    a, b = (row - top)[..., None], (column - left)[..., None]
    rows, columns = (top % side, (top + 1) % side), (left % side, (left + 1) % side)
    upper = (1 - b) * picture[rows[0], columns[0]] + b * picture[rows[0], columns[1]]
    lower = (1 - b) * picture[rows[1], columns[0]] + b * picture[rows[1], columns[1]]
    found: Array = (1 - a) * upper + a * lower
    return found


def early(clips: int, *, threads: int, tell: Callable[[str], None] = lambda _: None) -> list[Row]:
    """Accuracy by the share of the frames seen, for so many clips of each class; seeded.

    The answer after t frames is the mean of the logits of the first t. Both models are causal: what
    they say of a frame is, bit for bit, what a stream says when it has come.
    """
    rng = np.random.default_rng(7)
    labels = [label for label in VELOCITIES for _ in range(clips)]
    tell(f"early recognition of {len(labels)} generated clips")
    pictures = [moving_clip(label, rng) for label in labels]
    rows = []
    for name in MODELS:
        model = load(name, threads=threads)
        truth = np.array([model.labels.index(label) for label in labels])
        given = np.concatenate(
            [normalize(each[:, None], model.profile.preprocess) for each in pictures]
        )
        logits = model.frame_logits(given)  # (N, T, K)
        so_far = logits.cumsum(1) / np.arange(1, FRAMES + 1)[:, None]
        right = so_far.argmax(2) == truth[:, None]
        rows += [
            {
                "model": name,
                "share": (t + 1) / FRAMES,
                "frames": t + 1,
                "accuracy": float(right[:, t].mean()),
                "clips": len(labels),
            }
            for t in range(FRAMES)
        ]
    return rows
