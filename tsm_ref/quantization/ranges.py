"""What the values of a network reach on clips, and the steps of 8 bits that are chosen from that.

Three rules choose how much of what was seen is kept; values beyond that are moved to the end:
``min-max`` keeps all of it, ``percentile`` all but one value in 10,000 at either end, and ``mse``
the part for which the mean squared error is smallest (Nagel et al. 2021, section 3.1).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.errors import CheckpointError
from tsm_ref.graph import ValueType

__all__ = ["METHODS", "Seen", "observed", "steps_of"]

Array = NDArray[Any]
Run = Callable[[Mapping[str, Array]], Mapping[str, Array]]

BINS = 2048
TAIL = 1e-4
"""The share of values at either end that ``percentile`` gives up."""
SHARES = np.linspace(0.1, 1.0, 91)
"""The shares of the range that ``mse`` tries."""
LEAST = 2.0**-100
"""The smallest step: a value that was never anything but zero has one too."""


@dataclass
class Seen:
    """What one value was on all clips: per channel its ends and its mean, and how often what."""

    low: Array
    high: Array
    total: Array
    count: int = 0
    counts: Array = field(default_factory=lambda: np.zeros(BINS))

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the largest value of any channel; zero is always between them."""
        return min(float(self.low.min()), 0.0), max(float(self.high.max()), 0.0)

    @property
    def largest(self) -> Array:
        """The largest absolute value of every channel (C,)."""
        return np.maximum(np.abs(self.low), np.abs(self.high))

    @property
    def mean(self) -> Array:
        """The mean of every channel (C,)."""
        return self.total / max(self.count, 1)

    def take(self, rows: Array) -> None:
        """Look at the values (C, n) of a clip for their ends and means."""
        self.low = np.minimum(self.low, rows.min(1))
        self.high = np.maximum(self.high, rows.max(1))
        self.total = self.total + rows.sum(1, dtype=np.float64)
        self.count += rows.shape[1]

    def sort(self, rows: Array) -> None:
        """Count the values of a clip by how large they are; the ends are known by then."""
        least, most = self.ends
        if most > least:
            self.counts += np.histogram(rows, BINS, (least, most))[0]


def observed(
    run: Run, values: Iterable[str], clips: Sequence[Mapping[str, Array]]
) -> dict[str, Seen]:
    """What the values are on all clips; `run` gives them (N, C, ...) for inputs by name.

    The clips go by twice: first for the ends, then for how often which value is between them.
    Raises `CheckpointError` for a value that is not finite.
    """
    names = tuple(values)
    found: dict[str, Seen] = {}
    for clip in clips:
        made = {**clip, **run(clip)}
        for name in names:
            rows = _rows(made[name])
            if not np.isfinite(rows).all():
                raise CheckpointError(f"the value {name!r} is not finite on a calibration clip")
            start = np.zeros(len(rows))
            found.setdefault(name, Seen(start, start, start)).take(rows)
    for clip in clips:
        made = {**clip, **run(clip)}
        for name in names:
            found[name].sort(_rows(made[name]))
    return found


def _rows(value: Array) -> Array:
    """(C, n) of (N, C, ...)."""
    return value.swapaxes(0, 1).reshape(value.shape[1], -1)


def steps_of(seen: Seen, method: str = "min-max", dtype: str = "uint8") -> ValueType:
    """Scale and zero point for what was seen, by one of `METHODS`.

    The zero point is a whole number, so that zero has no error; the ends move by less than a step.

    >>> seen = Seen(np.array([-1.0]), np.array([4.1]), np.zeros(1))
    >>> steps = steps_of(seen)
    >>> round(steps.scale, 3), steps.zero_point
    (0.02, 50)
    """
    least, most = METHODS[method](seen)
    scale = np.float32(max((most - least) / 255, LEAST))
    zero = int(np.clip(np.rint(-least / float(scale)), 0, 255))
    return ValueType(dtype, float(scale), zero - (128 if dtype == "int8" else 0))


def _whole(seen: Seen) -> tuple[float, float]:
    return seen.ends


def _percentile(seen: Seen) -> tuple[float, float]:
    least, most = seen.ends
    edges = np.linspace(least, most, BINS + 1)
    share = np.cumsum(seen.counts) / max(seen.counts.sum(), 1)
    low = edges[np.searchsorted(share, TAIL)] if least < 0 else 0.0
    high = edges[min(int(np.searchsorted(share, 1 - TAIL)) + 1, BINS)] if most > 0 else 0.0
    return min(float(low), 0.0), max(float(high), 0.0)


def _mean_squared(seen: Seen) -> tuple[float, float]:
    """Rounding costs a twelfth of a squared step, clamping the squared distance from the end."""
    least, most = seen.ends
    centres = least + (np.arange(BINS) + 0.5) * (most - least) / BINS
    best, chosen = np.inf, 1.0
    for share in SHARES:
        low, high = least * share, most * share
        beyond = np.maximum(low - centres, 0) + np.maximum(centres - high, 0)
        rounding = ((high - low) / 255) ** 2 / 12
        cost = float((seen.counts * np.where(beyond > 0, beyond**2, rounding)).sum())
        if cost < best:
            best, chosen = cost, float(share)
    return least * chosen, most * chosen


METHODS: Mapping[str, Callable[[Seen], tuple[float, float]]] = {
    "min-max": _whole,
    "percentile": _percentile,
    "mse": _mean_squared,
}
"""How much of what was seen is kept."""
