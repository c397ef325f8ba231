"""Calls that take turns, so that what slows the machine slows all of them."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from tsm_ref.bench.worker import pin

__all__ = ["Call", "interleaved", "pinned", "quartiles"]

Call = Callable[[], object]


@contextmanager
def pinned(cores: Sequence[int]) -> Iterator[None]:
    """Keep this process on some cores meanwhile, where the system can."""
    before = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    pin(list(cores))
    try:
        yield
    finally:
        pin(before)


def interleaved(calls: Mapping[str, Call], rounds: int) -> dict[str, list[float]]:
    """Seconds of every call: each is called once untimed, then once in each round.

    >>> found = interleaved({"a": list, "b": dict}, 3)
    >>> [(name, len(seconds)) for name, seconds in found.items()]
    [('a', 3), ('b', 3)]
    """
    for call in calls.values():
        call()
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            begin = time.perf_counter()
            call()
            found[name].append(time.perf_counter() - begin)
    return found


def quartiles(times: Sequence[float], base: Sequence[float]) -> tuple[float, float, float]:
    """The lower quartile, the median and the upper quartile of the ratios of the rounds.

    >>> quartiles([2.0, 6.0, 2.0], [1.0, 2.0, 4.0])
    (1.25, 2.0, 2.5)
    """
    low, middle, high = np.percentile(
        [a / b for a, b in zip(times, base, strict=True)], (25, 50, 75)
    )
    return float(low), float(middle), float(high)
