"""Interleaved rounds of workers, and the figures that they amount to."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tsm_ref.bench.ours import OURS
from tsm_ref.bench.worker import ANSWER
from tsm_ref.bench.workloads import WITHOUT_SHIFT, workload

Say = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """What to run."""

    models: Sequence[str]
    engines: Sequence[str]
    rounds: int = 3
    threads: int = 1
    runs: int = 5
    seconds: float = 1.0
    cores: Sequence[int] = ()
    first_start: bool = True
    timeout: float = 600.0


@dataclass
class Measured:
    """The answers of all the workers of one engine on one model."""

    model: str
    engine: str
    answers: list[dict[str, Any]] = field(default_factory=list)
    failed: str | None = None
    first_start_s: float | None = None

    def add(self, answer: Mapping[str, Any]) -> None:
        """Take in an answer; a failure or a wrong output ends this pair."""
        if "failed" in answer:
            self.failed = str(answer["failed"])
        else:
            self.answers.append(dict(answer))
            if not answer["agrees"]:
                self.failed = f"wrong output: off by {answer['error']:.1e} of the largest logit"

    @property
    def times(self) -> list[float]:
        """Seconds of every timed call."""
        return [t for answer in self.answers for t in answer.get("times", ())]


def default_cores(threads: int) -> list[int]:
    """The first cores that this process may use; none where the system cannot say."""
    if not hasattr(os, "sched_getaffinity"):
        return []
    return sorted(os.sched_getaffinity(0))[:threads]


def run_worker(request: Mapping[str, Any], timeout: float, **environment: str) -> dict[str, Any]:
    """Start a worker and return its answer; one that crashes or hangs has ``failed``."""
    threads = str(request["threads"])
    limits = dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), threads
    )
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "2", "OPENCV_LOG_LEVEL": "ERROR"}
    command = [sys.executable, "-m", "tsm_ref.bench.worker"]
    full = json.dumps({**request, "started": time.time()})
    try:
        done = subprocess.run(
            [*command, full], capture_output=True, text=True, timeout=timeout, check=False,
            env={**os.environ, **limits, **quiet, **environment},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"failed": f"no answer after {timeout:.0f} s"}
    for line in reversed(done.stdout.splitlines()):
        if line.startswith(ANSWER):
            answer: dict[str, Any] = json.loads(line.removeprefix(ANSWER))
            return answer
    last = (done.stderr.strip().splitlines() or ["no output"])[-1]
    return {"failed": f"the process ended with {done.returncode}: {last}"[:200]}


def measure_all(settings: Settings, say: Say) -> list[Measured]:
    """Prepare every network, then run the rounds; `say` is told what happens."""
    pairs = [Measured(m, e) for m in settings.models for e in settings.engines]
    with tempfile.TemporaryDirectory(prefix="tsm_ref-bench-") as name:
        folder = Path(name)
        for model in settings.models:
            say(f"preparing {model}")
            workload(model).prepare(_place(folder, settings, model))
        for pair in pairs:
            answer = {} if pair.engine in OURS else _ask("prepare", pair, settings, folder)
            if "failed" in answer:
                pair.add(answer)
                say(f"{pair.model}: {pair.engine} is left out: {pair.failed}")
        if settings.first_start and "numba" in settings.engines:
            _first_start(pairs, settings, folder, say)
        for number in range(settings.rounds):
            for pair in pairs:
                if pair.failed is None:
                    pair.add(_ask("measure", pair, settings, folder))
                    say(f"round {number + 1}: {pair.model} {pair.engine} {_brief(pair)}")
    return pairs


def _place(folder: Path, settings: Settings, model: str) -> Path:
    """Where the files of a network lie: its name may be a path."""
    return folder / str(list(settings.models).index(model))


def _ask(
    task: str, pair: Measured, settings: Settings, folder: Path, **environment: str
) -> dict[str, Any]:
    request = {
        "task": task,
        "model": pair.model,
        "engine": pair.engine,
        "folder": str(_place(folder, settings, pair.model)),
        "online": workload(pair.model).online,
        "threads": settings.threads,
        "cores": list(settings.cores),
        "runs": settings.runs,
        "seconds": settings.seconds,
    }
    return run_worker(request, settings.timeout, **environment)


def _first_start(pairs: Sequence[Measured], settings: Settings, folder: Path, say: Say) -> None:
    """Start the Numba engine once with no compiled kernels to find; they serve every model."""
    pair = next(p for p in pairs if p.engine == "numba")
    with tempfile.TemporaryDirectory(prefix="tsm_ref-kernels-") as empty:
        answer = _ask("measure", pair, settings, folder, NUMBA_CACHE_DIR=empty)
    if "failed" not in answer:
        pair.first_start_s = float(answer["cold_s"])
        say(f"first start of the Numba engine: {pair.first_start_s:.1f} s")


def _brief(pair: Measured) -> str:
    if pair.failed is not None:
        return f"is left out: {pair.failed}"
    return f"{1e3 * statistics.median(pair.answers[-1]['times']):.2f} ms"


def figures(pairs: Sequence[Measured], threads: int, peak: float | None) -> dict[str, Any]:
    """Return rows, ratios and the price of the shift: the ``results`` of the JSON document.

    `peak` is what one core of this machine can do, in GFLOP/s; None leaves the shares out.
    """
    rows = [_row(pair, threads, peak) for pair in pairs]
    best = {row["model"]: _fastest_peer(rows, row["model"]) for row in rows}
    for row in rows:
        peer = best[row["model"]]
        row["ratio_to_fastest_peer"] = _ratio(row, peer, "median_ms")
        row["ratio_of_minima"] = _ratio(row, _fastest_peer(rows, row["model"], "min_ms"), "min_ms")
    ours = {row["model"]: row for row in reversed(rows) if row["engine"] in OURS}
    ours |= {row["model"]: row for row in rows if row["engine"] == "numba"}
    return {
        "results": rows,
        "fastest_peer": {m: row["engine"] if row else None for m, row in best.items()},
        "ratio_to_fastest_peer": {m: row["ratio_to_fastest_peer"] for m, row in ours.items()},
        "shift_overhead": _shift_overhead(rows),
    }


def _row(pair: Measured, threads: int, peak: float | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "model": pair.model,
        "engine": pair.engine,
        "version": pair.answers[0]["version"] if pair.answers else None,
        "failed": pair.failed,
        "error": max((a["error"] for a in pair.answers), default=None),
        "runs": len(pair.times),
        "median_ms": None,
        "min_ms": None,
        "gflops": None,
        "share_of_peak": None,
        "memory_mb": max((a["memory_mb"] for a in pair.answers), default=None),
        "cold_start_first_s": pair.first_start_s,
        "cold_start_s": None,
    }
    if pair.failed is None and pair.times:
        median, gflop = statistics.median(pair.times), workload(pair.model).gflop()
        row["median_ms"], row["min_ms"] = 1e3 * median, 1e3 * min(pair.times)
        row["gflops"] = gflop / median
        row["share_of_peak"] = gflop / median / (peak * threads) if peak else None
        cold = [a["cold_s"] for a in pair.answers]
        row["cold_start_s"] = statistics.median(cold[1:] or cold)
        if row["cold_start_first_s"] is None and pair.engine not in OURS:
            row["cold_start_first_s"] = cold[0]
    return row


def _fastest_peer(
    rows: Sequence[dict[str, Any]], model: str, by: str = "median_ms"
) -> dict[str, Any] | None:
    peers = [
        row for row in rows
        if row["model"] == model and row["engine"] not in OURS and row[by] is not None
    ]  # fmt: skip
    return min(peers, key=lambda row: float(row[by]), default=None)


def _ratio(row: Mapping[str, Any], peer: Mapping[str, Any] | None, by: str) -> float | None:
    if peer is None or row[by] is None:
        return None
    return float(row[by] / peer[by])


def _shift_overhead(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """How much longer a network takes with its shifts than without, per engine."""
    times = {(row["model"], row["engine"]): row for row in rows}
    found = []
    for (model, engine), row in times.items():
        without = times.get((WITHOUT_SHIFT.get(model, ""), engine))
        if without and row["median_ms"] is not None and without["median_ms"] is not None:
            found.append(
                {
                    "engine": engine,
                    "with": model,
                    "without": without["model"],
                    "overhead": row["median_ms"] / without["median_ms"] - 1,
                    "overhead_of_minima": row["min_ms"] / without["min_ms"] - 1,
                }
            )
    return found
