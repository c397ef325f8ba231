"""A whole clip at once against frame by frame: latency, memory, and the state between frames.

Table 5 and section 4.2 of the paper. The processes, their order, and the comparison with float64
before anything is timed are those of `tsm_ref.bench.runs`.
"""

from collections.abc import Callable, Sequence
from typing import Any

from tsm_ref.bench.runs import Settings, figures, measure_all
from tsm_ref.bench.workloads import workload
from tsm_ref.engine import make_engine
from tsm_ref.engine.stream.stream import Stream

__all__ = ["KINDS", "QUICK_KINDS", "online"]

Row = dict[str, Any]

KINDS = {
    "offline TSM": "tsm-resnet50",
    "online TSM": "online-resnet50",
    "TSN, frame by frame": "frames-resnet50",
}
"""What is compared, and the workload of each."""

QUICK_KINDS = {
    "offline TSM": "smoke-offline",
    "online TSM": "smoke-online",
    "TSN, frame by frame": "smoke-frames",
}
"""The same of tiny networks."""


def online(
    kinds: dict[str, str],
    *,
    rounds: int,
    threads: int,
    cores: Sequence[int],
    seconds: float,
    tell: Callable[[str], None],
) -> list[Row]:
    """One row for each kind; what went wrong with one is its ``failed``."""
    wanted = Settings(
        list(kinds.values()), ["numba"], rounds, threads, runs=3, seconds=seconds, cores=cores,
        first_start=False,
    )  # fmt: skip
    found = {
        row["model"]: row for row in figures(measure_all(wanted, tell), threads, 1.0)["results"]
    }
    rows = []
    for kind, name in kinds.items():
        job, row = workload(name), found[name]
        median = row["median_ms"]
        rows.append(
            {
                "kind": kind,
                "architecture": job.architecture,
                "frames_per_call": job.timed_frames,
                "median_ms": median,
                "ms_per_frame": None if median is None else median / job.timed_frames,
                "memory_mb": row["memory_mb"],
                "state_kb": _state(name) / 1024 if job.online else None,
                "error": row["error"],
                "failed": row["failed"],
            }
        )
    return rows


def _state(name: str) -> int:
    """Bytes that one stream keeps from frame to frame."""
    job = workload(name)
    engine = make_engine(job.graph(), job.weights(), "numpy")
    clip = job.clip()
    stream = Stream(engine, shapes={"x": clip[:, :, :1].shape})
    return stream.state_bytes
