"""A network of the bench in several precisions: its files, and one measurement of one of them.

In int8 every engine runs one quantised network: ours as a model file, the other runtimes as the
ONNX QDQ that `tsm_ref.convert` writes of it. In float32 they get what the rest of the bench gives.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.bench import export
from tsm_ref.bench.ours import OURS, as_runner, open_ours, our_model
from tsm_ref.bench.peers import PEERS, Runner, open_openvino
from tsm_ref.bench.workloads import Workload, workload
from tsm_ref.checkpoint.onnx_out.export import export_onnx, export_onnx_stream
from tsm_ref.errors import UsageError
from tsm_ref.model import load, save
from tsm_ref.quantization import quantize
from tsm_ref.quantization.report import loss_of

__all__ = ["measure", "prepare"]

Array = NDArray[Any]

_CALIBRATION = (1, 2, 3, 4)
_CHECK = (11, 12, 13, 14)
"""Seeds of the clips that choose the steps, and of those that measure."""
_LACKING = {"onnxruntime": "its kernels for processors have no bfloat16"}


def prepare(request: Mapping[str, Any]) -> None:
    """Write the clips, our float32 logits of them, and the network in each precision.

    Raises `MissingDependency` for a runtime that is not installed, as `export.prepare`.
    """
    work, to = workload(request["model"]), Path(request["folder"])
    floats, whole = to / "float32", to / "int8"
    floats.mkdir(parents=True)
    whole.mkdir()
    np.savez(floats / "weights.npz", **work.weights())  # type: ignore[arg-type]
    clips = np.concatenate([work.clip(seed) for seed in _CHECK])
    np.save(to / "clips.npy", clips)
    np.save(to / "expected.npy", _answers(open_ours("numba", work, floats, 1), work, clips))
    for peer in request["peers"]:
        export.prepare(peer, work, floats)
    if "int8" in request["precisions"]:
        _quantised(work, floats, whole)


def _quantised(work: Workload, floats: Path, to: Path) -> None:
    """Quantise a network, and write it as our model file and as ONNX."""
    clips = [{"x": work.clip(seed)} for seed in _CALIBRATION]
    made = quantize(our_model("numba", work, floats, 1), clips, keep=(), timed=False)
    save(made, to / "network.h5")
    sizes = {"N": 1, "H": work.size, "W": work.size}
    graph, path = made.graph, to / "network.onnx"
    if work.online:
        if graph.frame_logits is not None:
            graph = graph.with_outputs([graph.frame_logits])
        export_onnx_stream(graph, made.weights, path, sizes=sizes)
    else:
        export_onnx(graph, made.weights, path, sizes={**sizes, "T": work.frames})
    _write_names(path, to)


def _write_names(path: Path, folder: Path) -> None:
    """Write what `peers.read_names` reads of an ONNX file."""
    import onnx

    graph = onnx.load(str(path)).graph
    inputs, outputs = ([entry.name for entry in each] for each in (graph.input, graph.output))
    shapes = [[d.dim_value for d in entry.type.tensor_type.shape.dim] for entry in graph.input]
    states = np.array(shapes[1:], dtype=np.int64)
    np.savez(folder / "names.npz", inputs=inputs, outputs=outputs, states=states)


def _answers(runner: Runner, work: Workload, clips: Array) -> Array:
    """The logits of clips, or of their frames one by one: (clips or frames, K)."""
    rows = []
    for clip in clips:
        runner.reset()
        rows += [np.array(runner.run(x)).reshape(1, -1) for x in _inputs(runner, work, clip)]
    return np.concatenate(rows)


def _inputs(runner: Runner, work: Workload, clip: Array) -> list[Any]:
    """A clip (3, T, H, W) as a runner takes it, frame by frame where it is online."""
    pictures = clip.swapaxes(0, 1)
    parts = np.split(pictures, len(pictures)) if work.online else [pictures]
    return [runner.take(np.ascontiguousarray(part)) for part in parts]


def measure(request: Mapping[str, Any], tolerance: float) -> dict[str, Any]:
    """Open one engine in one precision, compare its logits with our float32, and time it.

    The answer has ``error``, ``rms`` and ``agreement``, and ``wall`` and ``processor`` seconds of
    each call; in float32 it ``agrees`` if the error is within `tolerance`, else if it is finite.
    """
    work, folder = workload(request["model"]), Path(request["folder"])
    runner = _opened(request, work, folder)
    clips, expected = np.load(folder / "clips.npy"), np.load(folder / "expected.npy")
    got = _answers(runner, work, clips)
    loss = loss_of(expected, got)
    most = tolerance if request["precision"] == "float32" else np.finfo(np.float64).max
    agrees = bool(loss.largest <= most)
    answer = {"version": runner.version, "agrees": agrees, "error": loss.largest}
    answer |= {"agreement": loss.agreement, "rms": loss.rms, "wall": [], "processor": []}
    inputs = _inputs(runner, work, clips[0])
    if agrees:
        pairs = _timed(runner.run, inputs, request["runs"], request["seconds"])
        answer["wall"], answer["processor"] = map(list, zip(*pairs, strict=True))
    return answer


def _timed(
    run: Callable[[Any], Any], inputs: Sequence[Any], runs: int, seconds: float
) -> list[tuple[float, float]]:
    """Seconds of each call by the clock on the wall, and of all threads by the processor."""
    pairs: list[tuple[float, float]] = []
    began = time.perf_counter()
    while len(pairs) < runs or time.perf_counter() - began < seconds:
        x = inputs[len(pairs) % len(inputs)]
        wall, processor = time.perf_counter(), time.process_time()
        run(x)
        pairs.append((time.perf_counter() - wall, time.process_time() - processor))
    return pairs


def _named(runner: Runner, engine: str, precision: str) -> Runner:
    """The same runner, which says what multiplies bfloat16."""
    if precision != "bfloat16":
        return runner
    if engine == "numpy":
        return replace(runner, version="tsm_ref, rounding for float32")
    from tsm_ref.kernels.bfloat16 import units

    return replace(runner, version=f"tsm_ref, on {units.UNIT.name}")


def _opened(request: Mapping[str, Any], work: Workload, folder: Path) -> Runner:
    engine, precision, threads = (request[name] for name in ("engine", "precision", "threads"))
    by_itself = request["by_itself"]
    if precision == "bfloat16" and engine in _LACKING:
        raise UsageError(_LACKING[engine])
    if engine in OURS:
        if precision != "int8":
            runner = open_ours(engine, work, folder / "float32", threads, precision)
            return _named(runner, engine, precision)
        model = load(folder / "int8" / "network.h5", engine=engine, threads=threads)
        return as_runner(model, work.online)
    files = folder / ("int8" if precision == "int8" else "float32")
    opener = PEERS[engine]
    if engine == "openvino":
        wanted = "bf16" if precision == "bfloat16" else "f32"
        opener = partial(open_openvino, precision=None if by_itself else wanted)
    runner = opener(files, threads)
    if precision == "int8" and not work.online:
        return replace(runner, take=lambda x: np.ascontiguousarray(x.swapaxes(0, 1)[None]))
    return runner
