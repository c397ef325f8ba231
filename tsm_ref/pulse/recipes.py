"""The published preprocessing of each network of a pulse: frames of a face to its inputs.

Every network is fed the changes from frame to frame, and most of them the appearance besides; how
both are normalised differs between the codes that trained them. One `Recipe` per code.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tsm_ref.errors import UsageError
from tsm_ref.graph import Graph
from tsm_ref.model import Model

__all__ = ["RECIPES", "Recipe", "Statistics", "depth_of", "recipe_for", "size_of"]

Float32 = NDArray[np.float32]
Inputs = dict[str, Float32]

EPSILON = 1e-7


class Statistics:
    """Mean and spread of frames, and the spread of their normalised differences, over a clip.

    >>> known = Statistics()
    >>> known.add(np.array([1.0, 3.0], np.float32).reshape(2, 1, 1, 1))
    >>> known.mean, known.spread
    (2.0, 1.0)
    """

    def __init__(self) -> None:
        self._sums = np.zeros((2, 3))  # count, sum and sum of squares: of frames, of differences

    @classmethod
    def over(cls, parts: Iterable["Statistics"]) -> "Statistics":
        """Those of all parts together."""
        made = cls()
        made._sums = np.sum([part._sums for part in parts], axis=0)
        return made

    def add(self, frames: Float32, following: Float32 | None = None) -> None:
        """Frames (T, H, W, 3), and the one behind them if there is one."""
        behind = frames if following is None else np.concatenate([frames, following[None]])
        for row, values in enumerate((frames, normalised_differences(behind))):
            wide = values.astype(np.float64)
            self._sums[row] += wide.size, wide.sum(), np.square(wide).sum()

    @property
    def mean(self) -> float:
        """The mean of all values of all frames."""
        return float(self._sums[0, 1] / self._sums[0, 0])

    @property
    def spread(self) -> float:
        """Their standard deviation; 1 where they are all the same."""
        return self._spread(0)

    @property
    def change(self) -> float:
        """The standard deviation of the normalised differences; 1 where nothing changes."""
        return self._spread(1)

    def _spread(self, row: int) -> float:
        count, total, squares = self._sums[row]
        variance = squares / max(count, 1) - (total / max(count, 1)) ** 2
        return float(np.sqrt(variance)) if variance > 1e-12 else 1.0


def normalised_differences(frames: Float32) -> Float32:
    """``(b - a) / (b + a)`` of each frame and the next, (T - 1, ...) (DeepPhys, equation 7)."""
    first, second = frames[:-1], frames[1:]
    return (second - first) / (second + first + np.float32(EPSILON))


@dataclass(frozen=True)
class Recipe:
    """How one code prepares frames.

    ``rate`` are the frames a second of what it was trained on, ``chunk`` the frames of one run,
    ``floor`` the least value of a pixel. ``inputs`` makes the inputs of a network of frames
    (T, H, W, 3) of 0 to 255, the frame behind them or None, the statistics of the clip, and the
    frames within which the network shifts.
    """

    name: str
    told: str
    rate: float
    chunk: int
    inputs: Callable[[Float32, Float32 | None, Statistics, int], Inputs]
    floor: float = 0.0


def _behind(frames: Float32, following: Float32 | None) -> Float32:
    return frames if following is None else np.concatenate([frames, following[None]])


def _filled(differences: Float32, count: int, *, repeat: bool) -> Float32:
    """Differences of so many frames; the last frame of a clip has the one before again, or none."""
    if len(differences) == count:
        return differences
    last = differences[-1:] if repeat else np.zeros_like(differences[-1:])
    return np.concatenate([differences, last])


def _nctHW(frames: Float32) -> Float32:  # noqa: N802 - the letters are those of the axes
    return np.ascontiguousarray(frames.transpose(3, 0, 1, 2)[None], np.float32)


def _open_rppg(frames: Float32, following: Float32 | None, known: Statistics, depth: int) -> Inputs:
    """Each difference over its own pixels, channel by channel; the mean of the frames."""
    motion = np.diff(_behind(frames, following) / np.float32(255), axis=0)
    mean, spread = (f(motion, axis=(1, 2), keepdims=True) for f in (np.mean, np.std))
    motion = _filled((motion - mean) / (spread + np.float32(1e-6)), len(frames), repeat=True)
    mean_frame = frames.mean(0, keepdims=True) / np.float32(255)
    return {"motion": _nctHW(motion), "appearance": _nctHW(mean_frame)}


def _standardised(
    frames: Float32, following: Float32 | None, known: Statistics, depth: int
) -> Inputs:
    """Normalised differences over their spread, and standardised frames, both of the clip."""
    motion = normalised_differences(_behind(frames, following)) / np.float32(known.change)
    return {
        "motion": _nctHW(_filled(motion, len(frames), repeat=False)),
        "appearance": _nctHW((frames - np.float32(known.mean)) / np.float32(known.spread)),
    }


def _differences(
    frames: Float32, following: Float32 | None, known: Statistics, depth: int
) -> Inputs:
    """The differences of standardised frames, which the published network takes itself."""
    motion = np.diff(_behind(frames, following), axis=0) / np.float32(known.spread)
    return {"motion": _nctHW(_filled(motion, len(frames), repeat=False))}


def _big_small(frames: Float32, following: Float32 | None, known: Statistics, depth: int) -> Inputs:
    """Each segment a clip: its first frame at full size, all its differences at a sixteenth."""
    count, side = len(frames) // depth, frames.shape[1]
    motion = normalised_differences(_behind(frames, following)) / np.float32(known.change)
    motion = _filled(motion, len(frames), repeat=False)
    small = motion.reshape(count, depth, side // 16, 16, side // 16, 16, 3).mean((3, 5))
    big = (frames[::depth] - np.float32(known.mean)) / np.float32(known.spread)
    return {
        "small": np.ascontiguousarray(small.transpose(0, 4, 1, 2, 3), np.float32),
        "big": np.ascontiguousarray(big[:, None].transpose(0, 4, 1, 2, 3), np.float32),
    }


RECIPES: Mapping[str, Recipe] = {
    made.name: made
    for made in (
        Recipe("open-rppg", "each difference standardised by itself", 30.0, 160, _open_rppg),
        Recipe("toolbox", "differences and frames standardised over all", 30.0, 180, _standardised),
        Recipe("mtts-can", "the same, no pixel below 1", 30.0, 180, _standardised, floor=1.0),
        Recipe("efficient-phys", "differences of standardised frames", 30.0, 180, _differences),
        Recipe("big-small", "two sizes, both standardised over all", 25.0, 180, _big_small),
    )
}
"""By the code that they are of: open-rppg, rPPG-Toolbox (``toolbox``, ``efficient-phys`` and
``big-small``) and MTTS-CAN. A clip is standardised as a whole, a stream over its window."""

TAKES = {
    ("motion", "appearance"): ("open-rppg", "toolbox", "mtts-can"),
    ("motion",): ("efficient-phys",),
    ("small", "big"): ("big-small",),
}
"""The inputs of a network, and the recipes that make them."""


def recipe_for(model: Model, name: str | None = None) -> tuple[Recipe, str]:
    """The recipe of a model, by name or by what the model is, and why it is that one.

    Raises `UsageError` for a model that finds no pulse, and for a recipe that makes other inputs.
    """
    takes = tuple(entry.name for entry in model.graph.inputs)
    if takes not in TAKES or "pulse" not in model.graph.outputs:
        raise UsageError(
            f"the model {model.name!r} finds no pulse: that do TS-CAN, MTTS-CAN, EfficientPhys and "
            "BigSmall"
        )
    known = TAKES[takes]
    if name is not None:
        if name not in known:
            raise UsageError(
                f"`recipe` (={name!r}) must be one of {', '.join(known)} for {model.name!r}"
            )
        return RECIPES[name], "as asked"
    if len(known) == 1:
        return RECIPES[known[0]], "by its inputs"
    if model.profile.family == "ts-can-rlap":
        return RECIPES["open-rppg"], "by its profile"
    keras = any(node.attrs.get("order") == "HWC" for node in model.graph.select("Flatten"))
    return RECIPES["mtts-can" if keras else "toolbox"], "by the order of its dense layers"


def size_of(graph: Graph) -> int:
    """The rows of the frames that a network sees."""
    wanted = next(entry for entry in graph.inputs if entry.name in ("motion", "big"))
    return int(wanted.shape[3])


def depth_of(model: Model) -> int:
    """The frames within which a model shifts; 1 where it does not."""
    return max((shift.segment for shift in model.shifts), default=1) or 1
