"""The baseline that learns nothing: robust Gauss-Newton registration of four motion parameters.

For each pair of neighbouring frames it finds the velocity (x, y, zoom, roll) of `motion.py` that
best explains the second by the first, from coarse to fine, and gives pixels that do not agree
(things that move on their own) a small weight.  The label follows from the mean velocity.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import motion

Array = NDArray[Any]

SIZES = (16, 32, 64)
ITERATIONS = 4


def grey(frames: Array, size: int) -> Array:
    """Luminance (P, size, size) in 0..1 of frames (P, S, S, 3), box-averaged, then smoothed."""
    p, s = frames.shape[:2]
    g = frames.astype(np.float32).mean(-1) / 255
    g = g.reshape(p, size, s // size, size, s // size).mean((2, 4))
    for axis in (1, 2):
        pad = [(0, 0), (0, 0), (0, 0)]
        pad[axis] = (1, 1)
        e = np.pad(g, pad, mode="edge")
        n = g.shape[axis]
        a, b, c = (np.take(e, np.arange(k, k + n), axis=axis) for k in range(3))
        g = 0.25 * a + 0.5 * b + 0.25 * c
    return g


def warp(g: Array, x: Array, y: Array) -> Array:
    """Bilinear samples of g (P, n, n) at positions x, y (P, n, n) in -1/2..1/2, edges repeated."""
    n = g.shape[1]
    fx = np.clip((x + 0.5) * n - 0.5, 0, n - 1)
    fy = np.clip((y + 0.5) * n - 0.5, 0, n - 1)
    x0, y0 = np.minimum(fx.astype(int), n - 2), np.minimum(fy.astype(int), n - 2)
    ax, ay = fx - x0, fy - y0
    at = y0 * n + x0
    flat = g.reshape(len(g), -1)
    rows = np.arange(len(g))[:, None, None]
    top = flat[rows, at] * (1 - ax) + flat[rows, at + 1] * ax
    low = flat[rows, at + n] * (1 - ax) + flat[rows, at + n + 1] * ax
    return top * (1 - ay) + low * ay


def register(first: Array, second: Array, sizes: tuple[int, ...] = SIZES) -> Array:
    """Velocities (P, 4) of pairs of square frames (P, S, S, 3), S a multiple of each size."""
    q = np.zeros((len(first), 4))
    for n in sizes:
        a, b = grey(first, n), grey(second, n)
        u = (np.arange(n) + 0.5) / n - 0.5
        py, px = np.meshgrid(u, u, indexing="ij")
        border = np.ones((n, n))
        border[[0, -1]] = border[:, [0, -1]] = 0
        for _ in range(ITERATIONS):
            x, y, zoom, roll = (q[:, k, None, None] for k in range(4))
            sx = px + x - zoom * px - roll * py
            sy = py + y - zoom * py + roll * px
            w = warp(a, sx, sy)
            gy, gx = np.gradient(w, 1 / n, axis=(1, 2))
            error = b - w
            error -= np.median(error, axis=(1, 2), keepdims=True)
            spread = 1.48 * np.median(np.abs(error), axis=(1, 2), keepdims=True) + 0.002
            weight = border * (np.abs(sx) < 0.5) * (np.abs(sy) < 0.5)
            weight = weight / (1 + (error / (2 * spread)) ** 2)
            jacobian = np.stack([gx, gy, -(gx * px + gy * py), gy * px - gx * py], axis=-1)
            jacobian = jacobian.reshape(len(a), -1, 4)
            weighted = (jacobian * weight.reshape(len(a), -1, 1)).transpose(0, 2, 1)
            h = weighted @ jacobian
            ridge = 1e-4 + 1e-3 * np.trace(h, axis1=1, axis2=2) / 4
            h += np.eye(4) * ridge[:, None, None]
            step = np.linalg.solve(h, weighted @ error.reshape(len(a), -1, 1))[..., 0]
            q += np.clip(step, -0.08, 0.08)
    return q


def velocities(clip: Array) -> Array:
    """Velocity of each step of a clip (T, S, S, 3): (T-1, 4)."""
    return register(clip[:-1], clip[1:])


def classify(clips: Array) -> Array:
    """Labels (N,) of clips (N, T, S, S, 3)."""
    return np.array([motion.class_of(velocities(c).mean(0)) for c in clips])
