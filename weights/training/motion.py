"""What the camera does: the classes, the sign conventions, random moves and their 16 views.

The conventions stand here and nowhere else.  A frame is addressed by p = (px, py), both in
[-1/2, 1/2], x to the right and y down, whatever its pixel size or aspect ratio.  The camera's pose
at frame t is a centre c, a scale m and an angle phi, and the world point seen at p is

    c + m * R(phi) @ (ex * px, ey * py)            R(phi) = [[cos, -sin], [sin, cos]]

with (ex, ey) the size of the view in world units at m = 1.  One step from a frame to the next is a
velocity v = (x, y, zoom, roll), in frame widths, frame heights, log scale and radians:

    pan right           x > 0      the view moves right, the content moves left
    tilt down           y > 0      the view moves down, the content moves up
    zoom in             zoom > 0   m falls, the content grows
    roll clockwise      roll > 0   phi grows: the camera turns clockwise as seen from behind it,
                                   the content turns counter-clockwise on the screen

To first order the content seen at p in frame t + 1 was seen at p + d(p) in frame t, with a = ex/ey:

    d(p) = (x - zoom * px - roll * py / a,   y - zoom * py + roll * px * a)

Speed is the root mean square of d over a square frame, in widths per step: |x|, |y|, and
sqrt(1/6) * |zoom| or |roll|.  A camera is *static* when its steady speed is at most STATIC_MAX and
*moving* when its mean main speed is at least SPEED_MIN; nothing is drawn in between.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

CLASSES = (
    "static",
    "pan left",
    "pan right",
    "tilt up",
    "tilt down",
    "zoom in",
    "zoom out",
    "roll clockwise",
    "roll counter-clockwise",
    "handheld",
    "transition",
)
AXIS = (None, 0, 0, 1, 1, 2, 2, 3, 3, None, None)
SIGN = (0, -1, 1, -1, 1, 1, -1, 1, -1, 0, 0)
STATIC, HANDHELD, TRANSITION = 0, 9, 10
MOVES = range(1, 9)
CLEAN = 9  # classes of a camera that moves cleanly, or stands
FRAMES = 8

RMS = np.array([1.0, 1.0, math.sqrt(1 / 6), math.sqrt(1 / 6)])  # velocity -> speed, per component
STATIC_MAX = 0.0015
SPEED_MIN, SPEED_MAX = 0.008, 0.080
SPEED_MAX_CENTRED = 0.055  # zoom and roll: beyond it, little of the first view is left in the last


def label_map(factors: tuple[int, int, int, int], swap_xy: bool = False) -> Array:
    """Where each label goes when v is multiplied by `factors`, x and y exchanged first if asked."""
    order = (1, 0, 2, 3) if swap_xy else (0, 1, 2, 3)
    moved = np.arange(len(CLASSES))
    for label in MOVES:
        axis = order[AXIS[label]]
        sign = SIGN[label] * factors[axis]
        moved[label] = next(k for k in MOVES if AXIS[k] == axis and SIGN[k] == sign)
    return moved


MIRROR_X = label_map((-1, 1, 1, -1))
MIRROR_Y = label_map((1, -1, 1, -1))
TRANSPOSE = label_map((1, 1, 1, -1), swap_xy=True)
REVERSE = label_map((-1, -1, -1, -1))


def view(
    clip: Array, label: int, velocity: Array, aspect: float, code: int
) -> tuple[Array, int, Array, float]:
    """One of the 16 views of a clip (T, H, W, 3) that carry their label along; code 0 is itself.

    Bits of `code`: 1 mirrors x, 2 mirrors y, 4 transposes the picture, 8 reverses time. A label
    below 0 belongs to no class and stays.
    """
    given = label
    if code & 1:
        clip, label, velocity = clip[:, :, ::-1], MIRROR_X[label], velocity * (-1, 1, 1, -1)
    if code & 2:
        clip, label, velocity = clip[:, ::-1], MIRROR_Y[label], velocity * (1, -1, 1, -1)
    if code & 4:
        clip, label, aspect = clip.swapaxes(1, 2), TRANSPOSE[label], 1 / aspect
        velocity = velocity[:, [1, 0, 2, 3]] * (1, 1, 1, -1)
    if code & 8:
        clip, label, velocity = clip[::-1], REVERSE[label], -velocity[::-1]
    return clip, int(label if given >= 0 else given), velocity, aspect


def speed(velocity: Array) -> Array:
    """Signed speed of each component, in widths per step: (..., 4) -> (..., 4)."""
    return velocity * RMS


def class_of(velocity: Array) -> int:
    """The label of a steady velocity (4,): its fastest component, or static below the margin."""
    v = speed(np.asarray(velocity))
    axis = int(np.abs(v).argmax())
    if abs(v[axis]) < (STATIC_MAX + SPEED_MIN) / 2:
        return 0
    return next(k for k in MOVES if AXIS[k] == axis and SIGN[k] == np.sign(v[axis]))


def easing(rng: np.random.Generator, n: int) -> Array:
    """Non-negative step weights with mean 1; a profile is as likely as its reverse."""
    u = (np.arange(n) + 0.5) / n
    kind = rng.integers(7)
    w = np.ones(n)
    if kind == 2:
        w = 0.25 + u
    elif kind == 3:
        w = 0.2 + np.sin(math.pi * u)
    elif kind == 4:  # starts late, or (reversed) stops early
        w[: rng.integers(1, 1 + 3 * n // 7)] = 0
    elif kind == 5:  # uneven
        w = rng.uniform(0.5, 1.5, n)
    elif kind == 6:  # one repeated frame
        w[rng.integers(n)] = 0
    if rng.random() < 0.5:
        w = w[::-1]
    w = np.maximum(w + rng.normal(0, 0.05, n) * (w > 0), 0)
    return w / w.mean()


def shake(rng: np.random.Generator, size: float, n: int) -> Array:
    """Velocities (n, 4) of a hand that trembles around a pose: nothing accumulates."""
    pose = rng.normal(0, size, (n + 1, 4)) * (1, 1, 0.6, 0.6)
    if rng.random() < 0.5:
        pose[1:] = (pose[1:] + pose[:-1]) / 2
    return np.diff(pose, axis=0)


def random_move(
    rng: np.random.Generator,
    label: int,
    low: float = SPEED_MIN,
    high: float = SPEED_MAX,
    clutter: float = 1.0,
    n: int = FRAMES - 1,
) -> Array:
    """Velocities (n, 4) of a move of the given label, its speed log-uniform in [low, high].

    `clutter` scales the small confounding motions: steady ones of up to a quarter of the main
    speed on each other component, and the trembling of a hand.
    """
    v = np.zeros((n, 4))
    axis = AXIS[label]
    if axis is None:
        for k in range(4):
            if rng.random() < 0.3:
                v[:, k] += rng.uniform(-1, 1) * STATIC_MAX / RMS[k] * clutter / 2
        tremble = rng.choice([0, 0, 0.0005, 0.001, 0.002, 0.004])
    else:
        main = math.exp(rng.uniform(math.log(low), math.log(high)))
        if axis >= 2:
            main = min(main, SPEED_MAX_CENTRED)
        v[:, axis] = SIGN[label] * main / RMS[axis] * easing(rng, n)
        for k in range(4):
            if k != axis and rng.random() < 0.5:
                side = rng.uniform(-0.25, 0.25) * main / RMS[k]
                v[:, k] += side * easing(rng, n) * clutter
        tremble = rng.choice([0, 0.03, 0.1, 0.2]) * min(main, 0.02)
    return v + shake(rng, tremble * clutter, n) if tremble else v


def trajectory(
    velocity: Array, extent: tuple[float, float], parallax: float = 1.0, dolly: float = 1.0
) -> Array:
    """Poses (n + 1, 4) = (cx, cy, m, phi) of a camera that starts at the origin, at m near 1.

    `parallax` multiplies the translation and `dolly` the change of scale: a nearer layer.
    """
    n = len(velocity)
    log_scale = np.concatenate([[0.0], np.cumsum(-velocity[:, 2])]) * dolly
    log_scale -= log_scale.mean()
    phi = np.concatenate([[0.0], np.cumsum(velocity[:, 3])])
    phi -= phi.mean()
    scale = np.exp((log_scale[1:] + log_scale[:-1]) / 2) * parallax
    angle = (phi[1:] + phi[:-1]) / 2
    dx, dy = velocity[:, 0] * extent[0] * scale, velocity[:, 1] * extent[1] * scale
    step = np.stack(
        [np.cos(angle) * dx - np.sin(angle) * dy, np.sin(angle) * dx + np.cos(angle) * dy], 1
    )
    poses = np.zeros((n + 1, 4))
    poses[1:, :2] = np.cumsum(step, axis=0)
    poses[:, 2], poses[:, 3] = np.exp(log_scale), phi
    return poses
