"""How long a frame takes: percentiles, the first answer, and many cameras on one machine.

A stream is timed from the call of `step` with a preprocessed frame to its logits. Nothing is
averaged away: the percentiles are those of all timed calls of one process.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tsm_ref.bench.workloads import Workload
from tsm_ref.engine import make_engine
from tsm_ref.engine.stream.stream import Stream

__all__ = ["FIELDS", "STREAMS", "latencies", "lines"]

STREAMS = (1, 2, 4, 8, 16)
"""How many cameras are fed at once."""

FIELDS = {
    "model": "name of the network",
    "engine": "numba or numpy",
    "streams": "cameras whose frames go through in one call",
    "frames": "timed calls",
    "p50_ms": "a call for all streams: half of them took at most this long",
    "p95_ms": "95 % did",
    "p99_ms": "99 % did",
    "frames_per_second": "of all streams together, by the median",
    "first_ms": "the first call: plans are made; in an engine's first row, kernels are fetched too",
    "delay_frames": "frames that an output waits for a network that looks ahead",
    "state_bytes": "what is kept from frame to frame, for all streams",
}
"""The members of a row."""


def latencies(
    wanted: Workload,
    engine: str = "numba",
    *,
    threads: int = 1,
    streams: Sequence[int] = STREAMS,
    frames: int = 100,
    tell: Callable[[str], None] = lambda _: None,
) -> Iterator[dict[str, Any]]:
    """One row, see `FIELDS`, for each number of streams of one network."""
    graph = wanted.graph()
    made = make_engine(graph, wanted.weights(), engine, threads)
    clip = wanted.clip()
    for n in streams:
        tell(f"{wanted.name}, {engine}: {n} streams")
        stream = Stream(made, n)
        given = np.ascontiguousarray(np.repeat(clip, n, axis=0).transpose(2, 0, 1, 3, 4))
        taken = []
        for k in range(frames + stream.delay + 1):
            begin = time.perf_counter()
            stream.step(given[k % len(given)])
            taken.append(time.perf_counter() - begin)
        timed = np.array(taken[stream.delay + 1 :]) * 1000
        middle, most, nearly_all = np.percentile(timed, (50, 95, 99))
        yield {
            "model": wanted.name,
            "engine": engine,
            "streams": n,
            "frames": len(timed),
            "p50_ms": float(middle),
            "p95_ms": float(most),
            "p99_ms": float(nearly_all),
            "frames_per_second": float(n * 1000 / middle),
            "first_ms": taken[0] * 1000,
            "delay_frames": stream.delay,
            "state_bytes": stream.state_bytes,
        }


def lines(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The rows as a table."""
    head = ("model", "engine", "streams", "p50 ms", "p95 ms", "p99 ms", "frames/s", "first ms")
    yield "{:22} {:7} {:>7} {:>8} {:>8} {:>8} {:>9} {:>9}".format(*head)
    for row in rows:
        yield (
            f"{row['model']:22} {row['engine']:7} {row['streams']:7} {row['p50_ms']:8.2f} "
            f"{row['p95_ms']:8.2f} {row['p99_ms']:8.2f} {row['frames_per_second']:9.1f} "
            f"{row['first_ms']:9.1f}"
        )
