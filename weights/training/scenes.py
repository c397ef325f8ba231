"""Procedural pictures to point a camera at: tileable canvases with the statistics of photographs.

A canvas is a torus, so that no path leaves it.  It is built from noise with a 1/f^a spectrum, a
*dead leaves* pile of overlapping shapes whose sizes follow a power law, shading and stripes.
"""

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]

LEVELS = 4  # of the pyramid that a canvas is sampled from


def fractal_noise(rng: np.random.Generator, n: int, exponent: float, channels: int = 3) -> Array:
    """Noise (n, n, channels) whose amplitude falls as frequency**-exponent; unit variance."""
    f = np.hypot(np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n)[None, :])
    f[0, 0] = 1.0
    amplitude = f**-exponent
    amplitude[0, 0] = 0.0
    white = rng.standard_normal((channels, n, n))
    out = np.fft.irfft2(np.fft.rfft2(white) * amplitude, s=(n, n))
    return np.moveaxis(out / out.std(axis=(1, 2), keepdims=True), 0, -1).astype(np.float32)


@njit(cache=True, fastmath=True)
def paint_leaves(img, grain, geometry, colour, style):
    """Paint shapes over a torus, in order.

    geometry: kind, x, y, half axes a and b, angle.  colour: rgb and its slope along a and b.
    style: grain strength, edge softness in pixels, opacity, stripes per shape.
    """
    n = img.shape[0]
    for i in range(len(geometry)):
        kind = int(geometry[i, 0])
        x0, y0 = int(geometry[i, 1]), int(geometry[i, 2])
        a, b = geometry[i, 3], geometry[i, 4]
        co, si = math.cos(geometry[i, 5]), math.sin(geometry[i, 5])
        reach = min(int(math.sqrt(a * a + b * b)) + 2, n // 2 - 1)
        for dy in range(-reach, reach + 1):
            for dx in range(-reach, reach + 1):
                u = (co * dx + si * dy) / a
                v = (co * dy - si * dx) / b
                if kind == 0:
                    inside = 1.0 - math.sqrt(u * u + v * v)
                elif kind == 1:
                    inside = 1.0 - max(abs(u), abs(v))
                elif kind == 2:
                    inside = 1.0 - abs(u) - abs(v)
                else:
                    inside = 0.5 - max(v, max(0.87 * u - 0.5 * v, -0.87 * u - 0.5 * v))
                cover = inside * min(a, b) / style[i, 1]
                if cover <= 0.0:
                    continue
                cover = min(cover, 1.0) * style[i, 2]
                shade = colour[i, 3] * u + colour[i, 4] * v
                if style[i, 3] > 0.0:
                    shade += 0.3 * (math.floor((u + 1.0) * style[i, 3]) % 2) - 0.15
                y, x = (y0 + dy) % n, (x0 + dx) % n
                gy, gx = (2 * y + 61 * i) % n, (2 * x + 97 * i) % n
                for k in range(3):
                    ink = colour[i, k] + shade + style[i, 0] * grain[gy, gx, k]
                    img[y, x, k] += cover * (ink - img[y, x, k])


def leaves(rng: np.random.Generator, n: int, palette: Array) -> tuple[Array, Array, Array]:
    """Random parameters for `paint_leaves`: 8 to 260 shapes, big ones mostly at the bottom."""
    count = round(math.exp(rng.uniform(math.log(8), math.log(260))))
    size = rng.uniform(3, 9) * rng.uniform(0.0015, 1, count) ** -rng.uniform(0.35, 0.75)
    size = np.sort(np.minimum(size, 0.37 * n))[::-1]
    if rng.random() < 0.3:
        size = rng.permutation(size)
    stretch = np.exp(rng.normal(0, rng.choice([0.2, 0.6, 1.2]), count))
    upright = rng.random() < 0.4
    angle = rng.choice([0, math.pi / 2], count) if upright else rng.uniform(0, math.pi, count)
    kinds = rng.choice(4, size=rng.integers(1, 5))
    geometry = np.stack(
        [
            rng.choice(kinds, count),
            rng.uniform(0, n, count),
            rng.uniform(0, n, count),
            np.clip(size * np.sqrt(stretch), 1.2, 0.39 * n),
            np.clip(size / np.sqrt(stretch), 1.2, 0.39 * n),
            angle,
        ],
        axis=1,
    )
    ink = palette[rng.integers(len(palette), size=count)] + rng.normal(0, 0.08, (count, 3))
    colour = np.concatenate([ink, rng.normal(0, 0.12, (count, 2))], axis=1)
    style = np.stack(
        [
            rng.choice([0, 0.02, 0.06, 0.15], count),
            rng.choice([1, 1.5, 4], count),
            rng.uniform(0.6, 1, count),
            np.where(rng.random(count) < 0.08, rng.integers(2, 9, count), 0),
        ],
        axis=1,
    )
    return geometry, colour, style


def canvas(rng: np.random.Generator, n: int = 512) -> Array:
    """One picture (n, n, 3) of bytes, n a power of two."""
    palette = rng.uniform(0, 1, (rng.integers(2, 7), 3)) * rng.uniform(0.3, 1)
    palette += rng.uniform(0, 0.3)
    grey = rng.uniform(0, 1)
    palette = grey * palette.mean(1, keepdims=True) + (1 - grey) * palette
    colours = rng.normal(0, 1, (3, 3)) * rng.uniform(0.05, 0.5) + 1 / math.sqrt(3)
    grain = fractal_noise(rng, n, rng.uniform(0.9, 1.7)) @ colours.astype(np.float32) / 1.7
    img = palette[0].astype(np.float32) + grain * np.float32(rng.choice([0.03, 0.08, 0.15, 0.25]))
    if rng.random() < 0.9:
        paint_leaves(img, grain, *leaves(rng, n, palette))
    if rng.random() < 0.5:
        img *= 1 + 0.25 * fractal_noise(rng, n, 2.2, 1)
    low, high = np.percentile(img, [1, 99])
    return (np.clip((img - low) / (high - low + 1e-6), 0, 1) * 255).astype(np.uint8)


def stencil(rng: np.random.Generator, n: int = 512) -> Array:
    """A ragged opacity mask (n, n, 1) of bytes that covers 8 to 35 % of its torus."""
    z = fractal_noise(rng, n, rng.uniform(1.5, 2.3), 1)
    edge = np.quantile(z, rng.uniform(0.65, 0.92))
    return (np.clip((z - edge) * rng.choice([3, 10, 40]) + 0.5, 0, 1) * 255).astype(np.uint8)


def pyramid(pictures: Array) -> list[Array]:
    """Pictures (B, n, n, C) of bytes and their 2, 4, 8 times smaller box averages."""
    levels = [pictures]
    for _ in range(LEVELS - 1):
        x = levels[-1].astype(np.uint16)
        x = x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]
        levels.append(((x + 2) // 4).astype(np.uint8))
    return levels


class Bank:
    """A seeded set of canvases and stencils; the scenes of a data set are drawn from one bank."""

    def __init__(self, seed: int, canvases: int = 200, stencils: int = 24, n: int = 512) -> None:
        rng = np.random.default_rng([seed, 1])
        self.n, self.canvases, self.stencils = n, canvases, stencils
        self.pictures = pyramid(np.stack([canvas(rng, n) for _ in range(canvases)]))
        self.masks = pyramid(np.stack([stencil(rng, n) for _ in range(stencils)]))
