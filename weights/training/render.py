"""The renderer of the generator: poses and pictures in, frames out (plain loops, Numba)."""

import math

import numpy as np
from numba import njit


@njit(cache=True, fastmath=True, inline="always")
def _bilinear(picture, x, y, out):
    """Sample a torus (n, n, C) of bytes at (x, y), pixel centres at halves, into out[:C]."""
    n = picture.shape[0]
    x -= 0.5
    y -= 0.5
    fx, fy = math.floor(x), math.floor(y)
    ax, ay = np.float32(x - fx), np.float32(y - fy)
    x0, y0 = int(fx) & (n - 1), int(fy) & (n - 1)
    x1, y1 = (x0 + 1) & (n - 1), (y0 + 1) & (n - 1)
    one = np.float32(1)
    for k in range(picture.shape[2]):
        top = (one - ax) * picture[y0, x0, k] + ax * picture[y0, x1, k]
        low = (one - ax) * picture[y1, x0, k] + ax * picture[y1, x1, k]
        out[k] = (one - ay) * top + ay * low


@njit(cache=True, fastmath=True, inline="always")
def _sample(p0, p1, p2, p3, level, x, y, out):
    """Sample one of four pyramid levels at (x, y), given in pixels of level 0."""
    if level == 0:
        _bilinear(p0, x, y, out)
    elif level == 1:
        _bilinear(p1, x * 0.5, y * 0.5, out)
    elif level == 2:
        _bilinear(p2, x * 0.25, y * 0.25, out)
    else:
        _bilinear(p3, x * 0.125, y * 0.125, out)


@njit(cache=True, fastmath=True)
def _level(scale):
    """The pyramid level for a view that covers `scale` canvas pixels per output pixel."""
    return max(0, min(3, math.floor(math.log2(max(scale, 1e-6)) + 0.5)))


@njit(cache=True, fastmath=True)
def render(back, poses, layer, mask, layer_poses, extent, objects, kinds, skin, subframes, out):
    """Draw len(out) frames, each the mean of `subframes` consecutive poses, into out (T, H, W, 3).

    back, layer, skin: pyramids of (n, n, 3); mask: a pyramid of (n, n, 1); poses, layer_poses
    (T * subframes, 4) and extent as in motion.py; objects (T * subframes, K, 6): centre, half axes
    in frame units, cosine and sine of the angle, in front of everything; len(layer_poses) may be 0.
    """
    frames, height, width = out.shape[0], out.shape[1], out.shape[2]
    ex, ey = extent
    rgb, ink = np.zeros(3, np.float32), np.zeros(3, np.float32)
    alpha = np.zeros(1, np.float32)
    share = np.float32(1.0 / subframes)
    for s in range(frames * subframes):
        frame = out[s // subframes]
        cx, cy, m, phi = poses[s]
        co, si = math.cos(phi) * m, math.sin(phi) * m
        level = _level(m * max(ex / width, ey / height))
        has_layer = len(layer_poses) > 0
        lx = ly = lc = ls = 0.0
        layer_level = 0
        if has_layer:
            lx, ly, lm, lphi = layer_poses[s]
            lc, ls = math.cos(lphi) * lm, math.sin(lphi) * lm
            layer_level = _level(lm * max(ex / width, ey / height))
        for yo in range(height):
            py = (yo + 0.5) / height - 0.5
            for xo in range(width):
                px = (xo + 0.5) / width - 0.5
                u, v = ex * px, ey * py
                _sample(
                    back[0], back[1], back[2], back[3], level,
                    cx + co * u - si * v, cy + si * u + co * v, rgb,
                )  # fmt: skip
                if has_layer:
                    wx, wy = lx + lc * u - ls * v, ly + ls * u + lc * v
                    _sample(mask[0], mask[1], mask[2], mask[3], layer_level, wx, wy, alpha)
                    cover = alpha[0] * np.float32(1 / 255)
                    if cover > 0.01:
                        _sample(layer[0], layer[1], layer[2], layer[3], layer_level, wx, wy, ink)
                        for k in range(3):
                            rgb[k] += cover * (ink[k] - rgb[k])
                for j in range(objects.shape[1]):
                    ox, oy, ra, rb, oc, os = objects[s, j]
                    dx, dy = px - ox, py - oy
                    reach = max(ra, rb) * 1.5
                    if abs(dx) > reach or abs(dy) > reach:
                        continue
                    a, b = (oc * dx + os * dy) / ra, (oc * dy - os * dx) / rb
                    if kinds[j] == 0:
                        inside = 1 - math.sqrt(a * a + b * b)
                    elif kinds[j] == 1:
                        inside = 1 - max(abs(a), abs(b))
                    elif kinds[j] == 2:
                        inside = 1 - abs(a) - 0.6 * abs(b)
                    else:
                        inside = 0.6 + 0.25 * math.sin(5 * b) - abs(a) - 0.1 * b * b
                    if inside <= 0:
                        continue
                    cover = np.float32(min(1.0, inside * min(ra, rb) * width))
                    _sample(
                        skin[0], skin[1], skin[2], skin[3], 1,
                        a * ra * 200 + 131 * j, b * rb * 200 + 71 * j, ink,
                    )  # fmt: skip
                    for k in range(3):
                        rgb[k] += cover * (ink[k] - rgb[k])
                for k in range(3):
                    frame[yo, xo, k] += rgb[k] * share


@njit(cache=True, fastmath=True)
def soften(clip):
    """Blur every frame (T, H, W, C) by the kernel (1, 2, 1) / 4 in x and y, in place."""
    frames, height, width, channels = clip.shape
    quarter, half = np.float32(0.25), np.float32(0.5)
    for t in range(frames):
        for k in range(channels):
            for y in range(height):
                before = clip[t, y, 0, k]
                for x in range(1, width - 1):
                    here = clip[t, y, x, k]
                    clip[t, y, x, k] = quarter * (before + clip[t, y, x + 1, k]) + half * here
                    before = here
            for x in range(width):
                before = clip[t, 0, x, k]
                for y in range(1, height - 1):
                    here = clip[t, y, x, k]
                    clip[t, y, x, k] = quarter * (before + clip[t, y + 1, x, k]) + half * here
                    before = here


@njit(cache=True, fastmath=True)
def expose(clip, gain, offset, vignette, noise, state):
    """Per-frame gain (T, 3) and offset, a vignette fixed to the screen, and white noise, in place.

    The noise is the sum of four bytes of a xorshift generator, close to a Gaussian.
    """
    frames, height, width = clip.shape[:3]
    amplitude = np.float32(noise / 147.8)
    for t in range(frames):
        for y in range(height):
            py = 2.0 * (y + 0.5) / height - 1.0
            for x in range(width):
                px = 2.0 * (x + 0.5) / width - 1.0
                shade = np.float32(1.0 - vignette * 0.5 * (px * px + py * py))
                for k in range(3):
                    value = (clip[t, y, x, k] * gain[t, k] + offset) * shade
                    if noise > 0:
                        state ^= (state << np.uint64(13)) & np.uint64(0xFFFFFFFFFFFFFFFF)
                        state ^= state >> np.uint64(7)
                        state ^= (state << np.uint64(17)) & np.uint64(0xFFFFFFFFFFFFFFFF)
                        four = (
                            (state & np.uint64(255))
                            + ((state >> np.uint64(8)) & np.uint64(255))
                            + ((state >> np.uint64(16)) & np.uint64(255))
                            + ((state >> np.uint64(24)) & np.uint64(255))
                        )
                        value += amplitude * (np.float32(four) - np.float32(510))
                    clip[t, y, x, k] = value


_k = np.arange(8)
DCT = (
    np.cos((2 * _k + 1) * _k[:, None] * np.pi / 16) * np.where(_k == 0, 0.125, 0.25)[:, None] ** 0.5
)
DCT = DCT.astype(np.float32)


def compress(clip, step):
    """Quantise the 8x8 cosine transform of each channel of (T, H, W, C): blocks and ringing."""
    frames, height, width, channels = clip.shape
    blocks = clip.reshape(frames, height // 8, 8, width // 8, 8, channels)
    blocks = blocks.transpose(0, 1, 3, 5, 2, 4)
    quanta = (step * (1 + 0.7 * np.add.outer(_k, _k))).astype(np.float32)
    coarse = np.rint(DCT @ blocks @ DCT.T / quanta) * quanta
    return (DCT.T @ coarse @ DCT).transpose(0, 1, 4, 2, 5, 3).reshape(clip.shape)


@njit(cache=True, fastmath=True)
def least_texture(frame):
    """Root of the smaller eigenvalue of the mean structure tensor, in grey levels per pixel.

    It is small when some direction of motion would leave the picture unchanged.
    """
    height, width = frame.shape[:2]
    xx = yy = xy = 0.0
    for y in range(height - 1):
        for x in range(width - 1):
            here = frame[y, x, 0] + frame[y, x, 1] + frame[y, x, 2]
            gx = (frame[y, x + 1, 0] + frame[y, x + 1, 1] + frame[y, x + 1, 2] - here) / 3.0
            gy = (frame[y + 1, x, 0] + frame[y + 1, x, 1] + frame[y + 1, x, 2] - here) / 3.0
            xx += gx * gx
            yy += gy * gy
            xy += gx * gy
    count = (height - 1) * (width - 1)
    xx, yy, xy = xx / count, yy / count, xy / count
    low = 0.5 * (xx + yy) - math.sqrt(0.25 * (xx - yy) ** 2 + xy * xy)
    return math.sqrt(max(low, 0.0))
