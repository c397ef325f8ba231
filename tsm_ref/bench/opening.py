"""Opens an engine in a precision, in a process that imports nothing besides.

The memory of that process is the engine's: a runtime should not be charged for what is ours.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.bench.peers import PEERS, Runner, open_openvino
from tsm_ref.errors import UsageError
from tsm_ref.system import memory

__all__ = ["inputs_of", "measure_memory", "opened"]

Array = NDArray[Any]

_LACKING = {"onnxruntime": "its kernels for processors have no bfloat16"}


def opened(request: Mapping[str, Any], folder: Path) -> Runner:
    """The network in a folder (see `precision_runs.prepare`) on the engine that is asked for.

    Raises `UsageError` for a precision that a runtime does not have.
    """
    engine, precision, threads = (request[name] for name in ("engine", "precision", "threads"))
    if precision == "bfloat16" and engine in _LACKING:
        raise UsageError(_LACKING[engine])
    if engine not in PEERS:
        return _ours(request, folder)
    files = folder / ("int8" if precision == "int8" else "float32")
    opener = PEERS[engine]
    if engine == "openvino":
        wanted = "bf16" if precision == "bfloat16" else "f32"
        opener = partial(open_openvino, precision=None if request["by_itself"] else wanted)
    runner = opener(files, threads)
    if precision == "int8" and not request["online"]:
        return replace(runner, take=lambda x: np.ascontiguousarray(x.swapaxes(0, 1)[None]))
    return runner


def _ours(request: Mapping[str, Any], folder: Path) -> Runner:
    from tsm_ref.bench.ours import as_runner, open_ours
    from tsm_ref.bench.workloads import workload
    from tsm_ref.model import load

    engine, precision, threads = (request[name] for name in ("engine", "precision", "threads"))
    if precision != "int8":
        work = workload(request["model"])
        runner = open_ours(engine, work, folder / "float32", threads, precision)
        return _named(runner, engine, precision)
    model = load(folder / "int8" / "network.h5", engine=engine, threads=threads)
    return as_runner(model, request["online"])


def _named(runner: Runner, engine: str, precision: str) -> Runner:
    """The same runner, which says what multiplies bfloat16."""
    if precision != "bfloat16":
        return runner
    if engine == "numpy":
        return replace(runner, version="tsm_ref, rounding for float32")
    from tsm_ref.kernels.bfloat16 import units

    return replace(runner, version=f"tsm_ref, on {units.UNIT.name}")


def inputs_of(runner: Runner, clip: Array, online: bool) -> list[Any]:
    """A clip (3, T, H, W) as a runner takes it, frame by frame where it is online."""
    pictures = clip.swapaxes(0, 1)
    parts = np.split(pictures, len(pictures)) if online else [pictures]
    return [runner.take(np.ascontiguousarray(part)) for part in parts]


def measure_memory(request: Mapping[str, Any]) -> dict[str, Any]:
    """Open an engine and run a clip as often as is asked for: ``resident_mb`` and ``peak_mb``.

    Both are of the whole process, in MB of 2^20 bytes: what is in memory in the end, and the most
    that ever was; None where the system does not say.
    """
    folder = Path(request["folder"])
    runner = opened(request, folder)
    clip = np.load(folder / "clips.npy", mmap_mode="r")[0]
    inputs = inputs_of(runner, clip, request["online"])
    del clip
    for _ in range(request["runs"]):
        for x in inputs:
            runner.run(x)
    sizes = {"resident_mb": memory.resident(), "peak_mb": memory.peak()}
    return {name: size / 2**20 if size else None for name, size in sizes.items()}
