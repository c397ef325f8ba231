"""Virtual camera moves over real footage: a test set whose pictures no generator drew.

A window moves over one real frame (*frozen*), or over the frames of a real clip while they play
(*live*).  Live windows are used only where the footage does not cut; they count as *still camera*
where the footage's own motion, measured by registration, is below the static margin, and as
*handheld* elsewhere.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from numba import njit
from numpy.typing import NDArray

from . import motion
from .generator import shows_motion
from .registration import register

Array = NDArray[Any]

CLIPS = ("archery.avi", "arm_wrestling.mp4")
SPEEDS = {"slow": (0.008, 0.015), "medium": (0.015, 0.035), "fast": (0.035, 0.080)}
GROUPS = ("frozen", "still", "handheld")
STRIDES = (1, 2, 3)  # live footage is read every 1 to 3 frames
SUPERSAMPLE = 4


def decode(path: Path) -> Array:
    """All frames (N, H, W, 3) of a video, RGB bytes."""
    with av.open(str(path)) as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


@njit(cache=True, fastmath=True)
def look(frame, cx, cy, ex, ey, phi, supersample, out):
    """Sample the window of a pose from a frame (H, W, 3) into out (S, S, 3): box-averaged."""
    height, width = frame.shape[:2]
    size = out.shape[0]
    co, si = math.cos(phi), math.sin(phi)
    fine = size * supersample
    out[:] = 0
    for j in range(fine):
        v = ((j + 0.5) / fine - 0.5) * ey
        for i in range(fine):
            u = ((i + 0.5) / fine - 0.5) * ex
            x = min(max(cx + co * u - si * v - 0.5, 0.0), width - 1.001)
            y = min(max(cy + si * u + co * v - 0.5, 0.0), height - 1.001)
            x0, y0 = int(x), int(y)
            ax, ay = x - x0, y - y0
            for k in range(3):
                top = (1 - ax) * frame[y0, x0, k] + ax * frame[y0, x0 + 1, k]
                low = (1 - ax) * frame[y0 + 1, x0, k] + ax * frame[y0 + 1, x0 + 1, k]
                out[j // supersample, i // supersample, k] += (1 - ay) * top + ay * low
    out /= supersample * supersample


def squash(frame: Array, size: int = 64) -> Array:
    """The whole frame as (size, size, 3) bytes."""
    out = np.zeros((size, size, 3), np.float32)
    height, width = frame.shape[:2]
    look(frame, width / 2, height / 2, width, height, 0.0, SUPERSAMPLE, out)
    return np.clip(out + 0.5, 0, 255).astype(np.uint8)


@dataclass
class Footage:
    """A real clip, its own motion between neighbouring frames (N-1, 4) and its cuts (N-1,)."""

    name: str
    frames: Array
    own: Array
    cut: Array

    @classmethod
    def open(cls, path: Path) -> "Footage":
        """Decode a clip and measure its own motion."""
        frames = decode(path)
        small = np.stack([squash(f) for f in frames])
        own = register(small[:-1], small[1:])
        jump = np.abs(np.diff(small.astype(np.float32), axis=0)).mean((1, 2, 3))
        return cls(path.name, frames, own, jump > 28)

    def camera(self, first: int, stride: int) -> str:
        """`still` or `handheld` over the frames of one live window, or `cut`."""
        last = first + stride * (motion.FRAMES - 1)
        if self.cut[first:last].any():
            return "cut"
        steps = self.own[first:last].reshape(-1, stride, 4).sum(1)
        drift = np.abs(motion.speed(steps.mean(0))).max()
        tremble = np.abs(motion.speed(steps)).max()
        calm = drift <= motion.STATIC_MAX / 2 and tremble <= motion.STATIC_MAX * 2
        return "still" if calm else "handheld"

    def motion(self, first: int, stride: int) -> Array:
        """The footage's own velocities (T - 1, 4) in one window, in units of the whole frame."""
        if not stride:
            return np.zeros((motion.FRAMES - 1, 4))
        last = first + stride * (motion.FRAMES - 1)
        return self.own[first:last].reshape(-1, stride, 4).sum(1)

    def windows(self, group: str) -> list[tuple[int, int]]:
        """First frame and stride of every window of a group; a frozen one never advances."""
        if group == "frozen":
            return [(first, 0) for first in range(len(self.frames))]
        return [
            (first, stride)
            for stride in STRIDES
            for first in range(len(self.frames) - stride * (motion.FRAMES - 1))
            if self.camera(first, stride) == group
        ]


def clear_label(velocity: Array) -> int | None:
    """The label of what a camera did at velocities (n, 4), None where that can be disputed.

    Clear is a mean speed of half of SPEED_MIN or more, twice that of any other component and not
    lost in the shake; a shake of SPEED_MIN or more that goes nowhere; or nearly no motion at all.
    """
    speed = motion.speed(velocity)
    mean, shake = np.abs(speed.mean(0)), math.sqrt((speed**2).sum(1).mean())
    second, main = np.sort(mean)[-2:]
    if main <= motion.STATIC_MAX and shake <= 4 * motion.STATIC_MAX:
        return motion.STATIC
    if main <= 0.25 * shake and shake > motion.SPEED_MIN:
        return motion.HANDHELD
    if main >= motion.SPEED_MIN / 2 and main >= 2 * second and main > 0.7 * shake:
        return motion.class_of(velocity.mean(0) * motion.SPEED_MAX / main)
    return None


@dataclass
class Case:
    """One virtual move: its frames (T, S, S, 3), its label and where it comes from."""

    frames: Array
    label: int
    footage: str
    group: str  # frozen, still or handheld
    speed: str
    seen: int | None = None  # the label of the virtual and the footage's own motion together


def inside(
    rng: np.random.Generator, poses: Array, extent: tuple[float, float], size: tuple[int, int]
) -> Array | None:
    """The poses somewhere on a picture of a (height, width), or None if a view would leave it."""
    height, width = size
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) / 2 * extent
    co, si, m = np.cos(poses[:, 3:]), np.sin(poses[:, 3:]), poses[:, 2:3]
    x = poses[:, :1] + m * (co * corners[:, 0] - si * corners[:, 1])
    y = poses[:, 1:2] + m * (si * corners[:, 0] + co * corners[:, 1])
    if np.ptp(x) > width - 2 or np.ptp(y) > height - 2:
        return None
    shift_x = rng.uniform(1 - x.min(), width - 1 - x.max())
    shift_y = rng.uniform(1 - y.min(), height - 1 - y.max())
    return poses + np.array([shift_x, shift_y, 0.0, 0.0])


def virtual_move(
    rng: np.random.Generator,
    footage: Footage,
    windows: list[tuple[int, int]],
    label: int,
    speed: str,
    group: str,
    size: int,
) -> Case | None:
    """Draw moves until one stays inside the picture and shows texture; None if none does."""
    height, width = footage.frames.shape[1:3]
    low, high = SPEEDS[speed]
    for _ in range(400):
        velocity = motion.random_move(rng, label, low, high)
        first, stride = windows[rng.integers(len(windows))]
        share = rng.uniform(0.35, 0.85)
        extent = (share * width, share * height)
        poses = motion.trajectory(velocity, extent)
        poses[:, 3] += rng.normal(0, 0.05)
        placed = inside(rng, poses, extent, (height, width))
        if placed is None:
            continue
        out = np.zeros((motion.FRAMES, size, size, 3), np.float32)
        for t, (cx, cy, m, phi) in enumerate(placed):
            frame = footage.frames[first + stride * t]
            look(frame, cx, cy, m * extent[0], m * extent[1], phi, SUPERSAMPLE, out[t])
        if shows_motion(out[motion.FRAMES // 2]):
            frames = np.clip(out + 0.5, 0, 255).astype(np.uint8)
            own = footage.motion(first, stride) / (share, share, 1, 1)
            return Case(frames, label, footage.name, group, speed, clear_label(velocity + own))
    return None


def plain_windows(footage: Footage, stride: int, size: int) -> list[Case]:
    """Real camera work: whole frames, no virtual move, labelled by registration where it is clear.

    Clear: no cut, and the main speed is below the static margin or at least SPEED_MIN and twice any
    other.  Nobody else knows the truth, so this measures agreement.
    """
    cases = []
    small = [squash(f, size) for f in footage.frames]
    for first in range(0, len(small) - stride * (motion.FRAMES - 1), 2):
        if footage.camera(first, stride) == "cut":
            continue
        last = first + stride * (motion.FRAMES - 1)
        velocity = footage.own[first:last].sum(0) / (motion.FRAMES - 1)
        low, high = np.sort(np.abs(motion.speed(velocity)))[-2:]
        if high > motion.STATIC_MAX and (high < motion.SPEED_MIN or high < 2 * low):
            continue
        frames = np.stack(small[first : last + 1 : stride])
        label = motion.class_of(velocity)
        cases.append(Case(frames, label, footage.name, "own motion", f"every {stride}"))
    return cases


def build(folder: Path, seed: int = 7, per: int = 10, size: int = 64) -> list[Case]:
    """The real test set: `per` moves for each clip, group, speed and label."""
    cases = []
    for k, name in enumerate(CLIPS):
        footage = Footage.open(folder / name)
        rng = np.random.default_rng([seed, k])
        for group in GROUPS:
            windows = footage.windows(group)
            for speed in SPEEDS:
                for label in range(motion.CLEAN):
                    for _ in range(per if windows else 0):
                        case = virtual_move(rng, footage, windows, label, speed, group, size)
                        if case is not None:
                            cases.append(case)
        for stride in STRIDES:
            cases += plain_windows(footage, stride, size)
    return cases
