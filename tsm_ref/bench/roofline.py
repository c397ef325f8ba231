"""The limits of this machine, times per layer, and both in one plot."""

import importlib
import importlib.util
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tsm_ref.bench.workloads import Workload
from tsm_ref.engine.on_numba import lowering
from tsm_ref.engine.on_numba.engine import NumbaEngine
from tsm_ref.engine.on_numba.plan import NumbaPlan
from tsm_ref.errors import MissingDependency, UsageError, WriteError
from tsm_ref.graph import Graph
from tsm_ref.kernels.blocked import aligned
from tsm_ref.kernels.cache import compiled, config
from tsm_ref.kernels.machine import HOST
from tsm_ref.kernels.program import run
from tsm_ref.kernels.vector import Emitter, Value, address, count, generated

_CHAINS = 12  # independent sums: enough for a latency of 4 at two a cycle, and for 16 registers
_STEPS = 1 << 16
_REPEATS = 25


@generated(address, count)
def _write_chains(emit: Emitter, place: Value, steps: Value) -> None:
    """Write a loop of fused multiply-adds that nothing but the arithmetic holds up."""
    base = emit.bytes_at(place)
    factor, term = emit.load(base), emit.load(base, emit.bytes)
    sums = [emit.plus(term, emit.constant(i)) for i in range(_CHAINS)]
    with emit.loop(steps, *sums) as loop:
        loop.next = [emit.fma(total, factor, term) for total in loop.state]
    total = loop.next[0]
    for other in loop.next[1:]:
        total = emit.plus(total, other)
    emit.store(total, base)


def fma_chains(place: int, steps: int) -> None:
    """Carry out `steps` multiply-adds in each lane of each chain; operands and sum at `place`."""
    _write_chains(place, steps)


fma_chains = compiled()(fma_chains)


def measure_limits() -> dict[str, float]:
    """Return ``fma_gflops`` and ``memory_gbs`` of one core: the best of many short trials.

    Raises `UsageError` where Numba is told not to compile.
    """
    if config.DISABLE_JIT:
        raise UsageError("NUMBA_DISABLE_JIT is set, and only machine code measures the machine")
    operands = aligned(256).view(np.float32)
    operands[:] = 1e-3
    fma_chains(operands.ctypes.data, 1)
    least = _least(lambda: fma_chains(operands.ctypes.data, _STEPS))
    flop = 2 * HOST.lanes * _CHAINS * _STEPS
    source = np.ones(1 << 24, np.float32)  # 64 MiB: more than the caches hold
    memory = _least(lambda: source.sum(), 5)
    return {"fma_gflops": flop / least / 1e9, "memory_gbs": source.nbytes / memory / 1e9}


def _least(call: Callable[[], object], repeats: int = _REPEATS) -> float:
    """Seconds of the fastest of some calls."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def layer_times(job: Workload, repeats: int = 7) -> list[dict[str, Any]]:
    """Time every layer of the Numba engine alone, in the order of the network; minima.

    Each row has name, kind, ms, gflop, gflops, and bytes: values and weights, each moved once.
    """
    graph = job.graph()
    engine = NumbaEngine(graph, job.weights())
    clip = job.clip()[:, :, : job.timed_frames]
    given = {graph.inputs[0].name: clip.shape}
    engine.run({graph.inputs[0].name: clip})
    shapes = engine.graph.shapes(given)
    seconds = _seconds(engine.plan(given), repeats)
    work = engine.graph.multiply_adds(given)
    rows = []
    for layer in lowering.lower(engine.graph, shapes):
        if layer.name not in seconds:
            continue
        gflop = 2e-9 * sum(work[node.name] for node in layer.nodes)
        rows.append(
            {
                "name": layer.name,
                "kind": layer.describe(),
                "ms": 1e3 * seconds[layer.name],
                "gflop": gflop,
                "gflops": gflop / seconds[layer.name],
                "bytes": _bytes(layer, engine.graph, shapes),
            }
        )
    return rows


def _seconds(plan: NumbaPlan, repeats: int) -> dict[str, float]:
    """Seconds by layer: each step of the program is run alone, with what the steps before left."""
    found: dict[str, float] = {}
    for stage in plan.stages:
        if stage.program is None:
            continue
        program = stage.program
        for i, name in enumerate(stage.names):
            one = program._replace(steps=program.steps[i : i + 1].copy())
            found[name] = found.get(name, 0.0) + _least(partial(run, one, 0, 1, 0), repeats)
    return found


def _bytes(layer: lowering.Layer, graph: Graph, shapes: Mapping[str, Sequence[int]]) -> int:
    parameters = [n for node in layer.nodes for n in node.inputs if n in graph.parameters]
    names = [*layer.reads(graph), layer.name, *parameters]
    return 4 * sum(int(np.prod(shapes[name])) for name in names)


def check_plots(path: Path) -> None:
    """Raise where a plot cannot be drawn, before anything is measured.

    `MissingDependency` without matplotlib, `UsageError` for a kind of file that it does not write.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingDependency("matplotlib", "draw a roofline")
    kinds = importlib.import_module("matplotlib.backend_bases").FigureCanvasBase.filetypes
    kind = path.suffix.removeprefix(".").lower()
    if kind and kind not in kinds:
        raise UsageError(f"no plot can be a .{kind} file; known are {', '.join(sorted(kinds))}")


def plot(document: Mapping[str, Any], path: Path) -> None:
    """Draw the roofline of one core with every layer as a point, by operations per byte.

    Raises as `check_plots`, and `WriteError` where the file cannot be made.
    """
    check_plots(path)
    matplotlib: Any = importlib.import_module("matplotlib")
    matplotlib.use("Agg")
    figures: Any = importlib.import_module("matplotlib.pyplot")
    limits = document["machine"]["limits"]
    figure, axes = figures.subplots(figsize=(8, 5))
    intensity = np.geomspace(0.25, 1000, 200)
    roof = np.minimum(limits["fma_gflops"], intensity * limits["memory_gbs"])
    axes.loglog(intensity, roof, color="black", label="measured limits of one core")
    for model, layers in document["layers"].items():
        work = [row for row in layers if row["gflop"]]
        x = [row["gflop"] * 1e9 / row["bytes"] for row in work]
        sizes = [5 + 200 * row["ms"] / sum(r["ms"] for r in work) for row in work]
        axes.scatter(x, [row["gflops"] for row in work], s=sizes, alpha=0.6, label=model)
    axes.set_xlabel("operations per byte of values and weights")
    axes.set_ylabel("GFLOP/s of the plain network (Winograd can pass the roof)")
    axes.legend()
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise WriteError(f"{path}: {error}") from None
    finally:
        figures.close(figure)
