"""What cameras show besides clean moves: `python -m weights.training.disturbed OUT`.

Shaking hands, joints of shots, changes of the light, empty pictures.

A *handheld* camera shakes by 1.2 % or more of the width (the root mean square of a step over frame
and time) and drifts by at most `DRIFT` of that. A shake of up to twice the speed of a move leaves
the move its name. A *transition* is a cut, a dissolve, a wipe, a flash, or a change of the light by
a factor of `FADED` or more. Snow and pictures without content belong to no class: `NOTHING`.
"""

import argparse
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import motion
from .generator import (
    SIZE,
    TRAIN_BANK,
    Clip,
    draw_shot,
    photograph,
    shape_of,
    stacked,
    write,
)
from .scenes import Bank

Array = NDArray[Any]

NOTHING = -1
DRIFT = 0.2
SLOWEST, FASTEST = 0.003, 0.12
"""Moves in windows of up to eight seconds, per step."""
FADED, LIT = 2.0, 0.2
"""The least change of the light that is a transition, and the most (in logarithm) of any other."""
SHARES = {"static": 1.0, "move": 8.0, "handheld": 1.2, "transition": 1.4, "nothing": 0.3}
"""How often each kind is drawn."""


@dataclass(frozen=True)
class Stage:
    """What one part of the training draws.

    ``shake`` are the least and the largest speed of a shaking hand, ``shaken`` the most by which a
    shake may exceed the move that it lies on, ``hands`` the share of moves from a hand,
    ``trembles`` the pose of a static camera, ``drift`` the most by which that drifts per component,
    ``crowds`` the share of clips in which several things move on their own.
    """

    shake: tuple[float, float]
    shaken: float
    hands: float
    trembles: tuple[float, ...]
    drift: float
    crowds: float


STAGES = (
    Stage((0.008, 0.05), 1.1, 0.35, (0, 0, 0.0005, 0.001, 0.002), 0.00075, 0.0),
    Stage((0.012, 0.05), 2.0, 0.5, (0, 0, 0.0005, 0.001, 0.002, 0.004), 0.0012, 0.4),
)
"""The first stage took hands that tilt for hands that shake, and trembling for a hand; the second
has what it lacked."""


def shake(rng: np.random.Generator, size: float, n: int = motion.FRAMES - 1) -> Array:
    """Velocities (n, 4) of a hand that goes nowhere: their root mean square speed is `size`."""
    memory = rng.uniform(0, 0.9)
    pose = rng.normal(size=(n + 1, 4))
    for t in range(1, n + 1):
        pose[t] = memory * pose[t - 1] + math.sqrt(1 - memory**2) * pose[t]
    if rng.random() < 0.5:  # breath and steps
        period, phase = rng.uniform(2.5, n, 4), rng.uniform(0, 2 * math.pi, 4)
        wave = np.sin(2 * math.pi * np.arange(n + 1)[:, None] / period + phase)
        pose += rng.uniform(0.5, 3) * wave
    weight = np.array([rng.uniform(0.3, 1), rng.uniform(0.3, 1), *rng.uniform(0, 0.4, 2)])
    v = np.diff(pose, axis=0) * weight / motion.RMS
    v -= v.mean(0)
    return v * size / math.sqrt((motion.speed(v) ** 2).sum(1).mean())


def shaken(rng: np.random.Generator, stage: Stage) -> Array:
    """Velocities (n, 4) of a handheld camera that is meant to stand."""
    size = math.exp(rng.uniform(*np.log(stage.shake)))
    drift = rng.uniform(-1, 1, 4) * DRIFT / 2 * size / motion.RMS
    return shake(rng, size) + drift


def still(rng: np.random.Generator, stage: Stage) -> Array:
    """Velocities (n, 4) of a camera that stands, and trembles less than a hand."""
    v = motion.random_move(rng, motion.STATIC, clutter=0.0)
    for k in range(4):
        if rng.random() < 0.3:
            v[:, k] += rng.uniform(-1, 1) * stage.drift / motion.RMS[k]
    tremble = rng.choice(stage.trembles)
    return v + motion.shake(rng, tremble, len(v)) if tremble else v


def move(rng: np.random.Generator, stage: Stage, label: int) -> Array:
    """Velocities (n, 4) of a move: half of them slow, some of them from a hand."""
    low, high = (SLOWEST, 0.01) if rng.random() < 0.5 else (0.01, FASTEST)
    v = motion.random_move(rng, label, low, high)
    if rng.random() < stage.hands:
        main = abs(motion.speed(v.mean(0))[motion.AXIS[label]])
        v = v + shake(rng, min(rng.uniform(0.1, stage.shaken) * main, stage.shake[1]))
    return v


def any_motion(rng: np.random.Generator, stage: Stage) -> Array:
    """Velocities (n, 4) of one side of a joint."""
    kind = int(rng.choice(3, p=[0.45, 0.2, 0.35]))
    if kind == 2:
        return move(rng, stage, int(rng.integers(1, 9)))
    return (still, shaken)[kind](rng, stage)


def joint(rng: np.random.Generator, stage: Stage, bank: Bank, shape: float, size: int) -> Array:
    """Frames of one transition."""
    kind = rng.choice(["cut", "cuts", "dissolve", "wipe", "fade", "flash"],
                      p=[0.25, 0.08, 0.2, 0.07, 0.22, 0.18])  # fmt: skip
    t = np.arange(motion.FRAMES)[:, None, None, None]
    last = motion.FRAMES - 1
    if kind == "flash":
        return flashed(
            rng,
            draw_shot(
                rng, bank, (still, shaken)[int(rng.integers(2))](rng, stage), shape, size, 1.0
            ),
        )
    first = draw_shot(rng, bank, any_motion(rng, stage), shape, size, 1.0)
    if kind == "fade":
        return faded(rng, first)
    if kind == "cuts":
        for at in range(1, motion.FRAMES):
            if at == 1 or rng.random() < 0.5:
                first[at:] = draw_shot(rng, bank, any_motion(rng, stage), shape, size, 1.0)[at:]
        return first
    second = draw_shot(rng, bank, any_motion(rng, stage), shape, size, 1.0)
    if kind == "cut":
        return np.where(t < rng.integers(1, motion.FRAMES), first, second)
    if kind == "dissolve":
        width, middle = rng.uniform(1, 10), rng.uniform(0.5, last - 0.5)
        part = np.clip((t - middle) / width + 0.5, 0, 1)
        return (first * (1 - part) + second * part).astype(np.float32)
    edge = (np.arange(size) + 0.5) / size
    edge = edge[None, :, None] if rng.random() < 0.5 else edge[:, None, None]
    edge = edge if rng.random() < 0.5 else 1 - edge
    part = (t - rng.uniform(0, last - 1)) / rng.uniform(1.5, 6)
    part = part + max(0.0, 0.15 - float(part[-1].item()))
    return np.where(edge[None] < part, second, first)


def faded(rng: np.random.Generator, x: Array) -> Array:
    """A shot (T, S, S, 3) whose light goes, comes, or both, to black or to white."""
    t = np.arange(len(x)) + 0.0
    while True:
        width, at = rng.uniform(1, 14), rng.uniform(-1, len(x))
        sides = rng.choice(3)
        away = (np.abs(t - at), at - t, t - at)[sides]
        gain = np.clip(away / width, 0, 1)
        if gain.max() >= 0.5 and gain.max() >= FADED * gain.min():
            break
    gain = gain[:, None, None, None].astype(np.float32)
    white = np.float32(255 if rng.random() < 0.25 else 0)
    return white + (x - white) * gain


def flashed(rng: np.random.Generator, x: Array) -> Array:
    """A shot (T, S, S, 3) with one to three frames of quite another light."""
    x = x.copy()
    lit = rng.choice(len(x), rng.choice([1, 1, 2, 3]), replace=False)
    if rng.random() < 0.5:
        first = rng.integers(0, len(x) - len(lit) + 1)
        lit = np.arange(first, first + len(lit))
    kind = rng.integers(3)
    if kind == 0:
        x[lit] += (rng.uniform(200, 255) - x[lit]) * rng.uniform(0.6, 1)
    elif kind == 1:
        x[lit] = np.clip(x[lit] * rng.uniform(2, 5) + rng.uniform(0, 60), 0, 255)
    else:
        x[lit] *= rng.uniform(0, 0.4)
    return x


def empty(rng: np.random.Generator, size: int) -> Array:
    """Frames of snow, or of one colour with little noise on it."""
    shape = (motion.FRAMES, size, size, 3)
    if rng.random() < 0.5:
        grain = int(rng.choice([1, 1, 2, 4]))
        count = -(-size // grain)
        snow = rng.uniform(0, 255, (motion.FRAMES, count, count, int(rng.choice([1, 3]))))
        snow = snow.repeat(grain, 1).repeat(grain, 2)[:, :size, :size]
        snow = (snow - 128) * rng.uniform(0.2, 1) + rng.uniform(90, 160)
        return np.broadcast_to(snow, shape).astype(np.float32)
    colour = rng.uniform(0, 255, 3) if rng.random() < 0.5 else np.full(3, rng.choice([0, 16, 255]))
    ramp = np.linspace(0, rng.normal(0, 20), motion.FRAMES)[:, None, None, None]
    noise = rng.normal(0, rng.choice([0, 0.7, 2]), shape)
    return (colour + ramp * rng.integers(2) + noise).astype(np.float32)


def pattern(rng: np.random.Generator, size: int) -> Array:
    """Frames of a test picture that stands: bars, a grid or a chessboard."""
    y, x = np.mgrid[:size, :size] / size
    bars = rng.integers(2, 10)
    kind = rng.integers(3)
    if kind == 0:
        index = (x * bars).astype(int) + (bars * (y > rng.uniform(0.5, 0.9)))
    elif kind == 1:
        index = (x * bars).astype(int) + (y * bars).astype(int)
        index %= 2
    else:
        index = (((x * bars) % 1 < 0.15) | ((y * bars) % 1 < 0.15)).astype(int)
    picture = rng.uniform(0, 255, (int(index.max()) + 1, 3))[index]
    frames = np.broadcast_to(picture, (motion.FRAMES, size, size, 3))
    return (frames + rng.normal(0, rng.choice([0, 1, 3]), frames.shape)).astype(np.float32)


def relit(rng: np.random.Generator, x: Array) -> Array:
    """A light that changes by less than a transition."""
    if rng.random() < 0.25:
        ramp = np.linspace(-0.5, 0.5, len(x)) if rng.random() < 0.7 else rng.normal(0, 0.4, len(x))
        x *= np.exp(rng.uniform(-LIT, LIT) * ramp)[:, None, None, None].astype(np.float32)
    return x


def make_clip(
    rng: np.random.Generator, bank: Bank, size: int = SIZE, stage: Stage = STAGES[-1]
) -> Clip:
    """One clip of a random kind, in the `SHARES`."""
    share = np.array(list(SHARES.values()))
    kind = list(SHARES)[rng.choice(len(share), p=share / share.sum())]
    shape = shape_of(rng)
    velocity = np.zeros((motion.FRAMES - 1, 4))
    if kind == "nothing":
        frames = np.clip(empty(rng, size) + 0.5, 0, 255).astype(np.uint8)
        return Clip(frames, NOTHING, velocity.astype(np.float32), shape)
    if kind == "transition":
        x, label = joint(rng, stage, bank, shape, size), motion.TRANSITION
    elif kind == "static" and rng.random() < 0.06:
        x, label = pattern(rng, size), motion.STATIC
    else:
        label = {"static": motion.STATIC, "handheld": motion.HANDHELD}.get(kind, 0)
        if kind == "move":
            label = int(rng.integers(1, 9))
            velocity = move(rng, stage, label)
        else:
            velocity = {"static": still, "handheld": shaken}[kind](rng, stage)
        crowd = int(rng.integers(2, 7)) if stage.crowds and rng.random() < stage.crowds else 0
        x = relit(rng, draw_shot(rng, bank, velocity, shape, size, 1.0, crowd))
    frames = photograph(rng, np.ascontiguousarray(x, np.float32), 1.0)
    return Clip(frames, label, velocity.astype(np.float32), shape)


def main() -> None:
    """Render a data set."""
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("out", type=Path)
    ap.add_argument("--stage", type=int, default=len(STAGES), choices=range(1, len(STAGES) + 1))
    ap.add_argument("--seed", type=int, default=20)
    ap.add_argument("--bank", type=int, default=TRAIN_BANK)
    ap.add_argument("--first", type=int, default=0)
    ap.add_argument("--count", type=int, default=1000)
    a = ap.parse_args()
    bank, stage = Bank(a.bank), STAGES[a.stage - 1]
    rngs = (np.random.default_rng([a.seed, k]) for k in range(a.first, a.first + a.count))
    write(a.out, stacked(make_clip(rng, bank, stage=stage) for rng in rngs))


if __name__ == "__main__":
    main()
