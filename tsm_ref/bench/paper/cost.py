"""Parameters, multiply-adds, latency and throughput of every network that `tsm_ref.build` knows.

Tables 2 and 4 of the paper. Each network is timed in turns with one and the same network, so that
its ratio to that one can be compared with the others'.
"""

import statistics
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import numpy as np

from tsm_ref.bench.paper.rounds import Call, interleaved, quartiles
from tsm_ref.model import Model, build
from tsm_ref.models import ARCHITECTURES

__all__ = ["BASE", "QUICK", "costs"]

Row = dict[str, Any]

BASE = "resnet50"
"""The network that all others take turns with."""

QUICK = ("mobilenetv2", "mobileone-s0", "s3d")
"""Those that a quick run times; of the others it counts."""


def costs(
    base: str = BASE,
    timed: Collection[str] | None = None,
    *,
    rounds: int,
    threads: int,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Row]:
    """One row for each architecture, for one clip of its published shape; by multiply-adds.

    All are timed in turns with `base`, unless only some are to be `timed`.
    """
    turn = _running(build(base, engine="numba", threads=threads))
    rows = []
    for number, name in enumerate(ARCHITECTURES, 1):
        model = build(name, engine="numba", threads=threads)
        row = _counted(name, model)
        rows.append(row)
        if timed is not None and name not in timed:
            continue
        tell(f"{number} of {len(ARCHITECTURES)}: {name}")
        times = interleaved({"base": turn, name: _running(model)}, rounds)
        seconds = statistics.median(times[name])
        row["median_ms"] = 1e3 * seconds
        row["clips_per_second"] = 1 / seconds
        row["base"] = base
        _, row["ratio"], _ = quartiles(times[name], times["base"])
    return sorted(rows, key=lambda row: -row["giga_multiply_adds"])


def _counted(name: str, model: Model) -> Row:
    shapes = model.input_shapes()
    _, _, frames, height, _ = max(shapes.values(), key=lambda shape: shape[2:])
    return {
        "architecture": name,
        "temporal": _temporal(name, model),
        "frames": frames,
        "size": height,
        "parameters": model.graph.parameter_count,
        "giga_multiply_adds": sum(model.graph.multiply_adds(shapes).values()) / 1e9,
        "median_ms": None,
        "clips_per_second": None,
        "ratio": None,
        "base": None,
    }


def _temporal(name: str, model: Model) -> str:
    if not ARCHITECTURES[name].shifts:
        return "convolution"
    return "shift" if model.shifts else "none"


def _running(model: Model) -> Call:
    rng = np.random.default_rng(7)
    given = {
        name: rng.standard_normal(shape, np.float32) for name, shape in model.input_shapes().items()
    }
    return partial(model.run, given)
