"""One measurement in a process of its own: ``python -m tsm_ref.bench.worker REQUEST``.

The request and the answer are JSON. A process that dies costs its row, not the run.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from tsm_ref.errors import TsmError
from tsm_ref.system import memory

_STARTED = time.perf_counter()

ANSWER = "tsm_ref.bench answer: "
"""What the line with the answer begins with; runtimes print lines of their own."""

TOLERANCE = 1e-4
"""Largest difference from float64, relative to the largest logit, of an engine that is timed."""


def compare(answer: Any, expected: Any) -> float:
    """The largest difference of two arrays relative to the largest expected value.

    Infinite where the shapes differ or a value is not finite.

    >>> import numpy as np
    >>> compare(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    0.5
    >>> compare(np.array([1.0, np.nan]), np.array([1.0, 4.0]))
    inf
    """
    import numpy as np

    if np.shape(answer) != np.shape(expected) or not np.isfinite(answer).all():
        return float("inf")
    scale = float(np.abs(expected).max()) or 1.0
    return float(np.abs(np.asarray(answer, np.float64) - expected).max()) / scale


def peak_memory() -> float:
    """The largest resident memory that this process has had, in MB of 2^20 bytes."""
    return memory.peak() / 2**20


def pin(cores: list[int]) -> None:
    """Keep this process on some cores, where the system can."""
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """Open, compare, and time an engine; the answer has ``agrees`` and, if so, the ``times``."""
    pin(request["cores"])
    started = time.perf_counter()
    import numpy as np

    folder = Path(request["folder"])
    imported = time.perf_counter()
    runner = open_engine(request["engine"], request["model"], folder, request["threads"])
    opened = time.perf_counter()
    clip = np.load(folder / "clip.npy")[0].swapaxes(0, 1)  # (T, 3, H, W)
    pictures = np.split(clip, len(clip)) if request["online"] else [clip]
    inputs = [runner.take(np.ascontiguousarray(picture)) for picture in pictures]
    del clip, pictures  # the memory that is measured should be the engine's
    ready = time.perf_counter()
    answers = [np.array(runner.run(inputs[0]))]
    first = time.perf_counter()
    answer = {
        "version": runner.version,
        "import_s": imported - started,
        "open_s": opened - imported,
        "first_s": first - ready,
        "cold_s": request["spawn_s"] + first - _STARTED,
    }
    answers += [np.array(runner.run(x)) for x in inputs[1:]]
    got = np.concatenate([a.reshape(1, -1) for a in answers])
    answer["error"] = compare(got, np.load(folder / "expected.npy"))
    answer["agrees"] = answer["error"] <= TOLERANCE
    if answer["agrees"]:
        answer["times"] = time_runs(runner.run, inputs, request["runs"], request["seconds"])
    answer["memory_mb"] = peak_memory()
    return answer


def open_engine(engine: str, model: str, folder: Path, threads: int) -> Any:
    """Open a network on an engine of ours or on another runtime."""
    from tsm_ref.bench.peers import PEERS

    if (folder / "own.json").exists():
        from tsm_ref.bench import own

        return (own.open_peer if engine in PEERS else own.open_own)(engine, folder, threads)
    if engine in PEERS:
        return PEERS[engine](folder, threads)
    from tsm_ref.bench.ours import open_ours
    from tsm_ref.bench.workloads import workload

    return open_ours(engine, workload(model), folder, threads)


def time_runs(run: Any, inputs: list[Any], runs: int, seconds: float) -> list[float]:
    """Seconds of each call: at least `runs`, and more as long as they fit into `seconds`."""
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < runs or time.perf_counter() - began < seconds:
        x = inputs[len(times) % len(inputs)]
        start = time.perf_counter()
        run(x)
        times.append(time.perf_counter() - start)
    return times


def prepare(request: dict[str, Any]) -> dict[str, Any]:
    """Write the file that an engine opens."""
    from tsm_ref.bench.export import prepare as write
    from tsm_ref.bench.own import NOTE, prepare_peer
    from tsm_ref.bench.workloads import workload

    if Path(request["folder"], NOTE).exists():
        prepare_peer(request["engine"], Path(request["folder"]))
        return {}
    write(request["engine"], workload(request["model"]), Path(request["folder"]))
    return {}


def _measure_precision(request: dict[str, Any]) -> dict[str, Any]:
    pin(request["cores"])
    from tsm_ref.bench import precision_runs

    return precision_runs.measure(request, TOLERANCE)


def _measure_memory(request: dict[str, Any]) -> dict[str, Any]:
    pin(request["cores"])
    from tsm_ref.bench import opening

    return opening.measure_memory(request)


def _prepare_precisions(request: dict[str, Any]) -> dict[str, Any]:
    from tsm_ref.bench import precision_runs

    precision_runs.prepare(request)
    return {}


_TASKS = {
    "measure": measure,
    "prepare": prepare,
    "measure precision": _measure_precision,
    "measure memory": _measure_memory,
    "prepare precisions": _prepare_precisions,
}


def main(text: str) -> None:
    """Carry out a request; what goes wrong is the answer's ``failed``, in one line."""
    request = json.loads(text)
    # Seconds from the start of this process to its first line of Python.
    request["spawn_s"] = max(0.0, time.time() - request["started"]) - (
        time.perf_counter() - _STARTED
    )
    try:
        answer = _TASKS[request["task"]](request)
    except TsmError as error:
        answer = {"failed": str(error)}
    except Exception as error:
        detail = (str(error).strip().splitlines() or [""])[0]
        answer = {"failed": f"{type(error).__name__}: {detail}"[:200]}
    print(ANSWER + json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
