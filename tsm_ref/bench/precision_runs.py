"""A network of the bench in several precisions: its files, and one measurement of one of them.

In int8 every engine runs one quantised network: ours as a model file, the other runtimes as the
ONNX QDQ that `tsm_ref.convert` writes of it. In float32 they get what the rest of the bench gives.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.bench.opening import inputs_of, opened
from tsm_ref.bench.ours import open_ours, our_model
from tsm_ref.bench.peers import Runner
from tsm_ref.bench.workloads import Workload, workload
from tsm_ref.checkpoint.onnx_out.export import export_onnx, export_onnx_stream
from tsm_ref.model import save
from tsm_ref.quantization import quantize
from tsm_ref.quantization.report import loss_of

__all__ = ["measure", "prepare"]

Array = NDArray[Any]

_CALIBRATION = (1, 2, 3, 4)
_CHECK = (11, 12, 13, 14)
"""Seeds of the clips that choose the steps, and of those that measure."""


def prepare(request: Mapping[str, Any]) -> None:
    """Write the clips, our float32 logits of them, and the network in each precision.

    `export.prepare` then writes what a runtime opens in float32 beside the weights in ``float32``.
    """
    work, to = workload(request["model"]), Path(request["folder"])
    floats, whole = to / "float32", to / "int8"
    floats.mkdir(parents=True)
    whole.mkdir()
    np.savez(floats / "weights.npz", **work.weights())  # type: ignore[arg-type]
    clips = np.concatenate([work.clip(seed) for seed in _CHECK])
    np.save(to / "clips.npy", clips)
    np.save(to / "expected.npy", _answers(open_ours("numba", work, floats, 1), work, clips))
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
        inputs = inputs_of(runner, clip, work.online)
        rows += [np.array(runner.run(x)).reshape(1, -1) for x in inputs]
    return np.concatenate(rows)


def measure(request: Mapping[str, Any], tolerance: float) -> dict[str, Any]:
    """Open one engine in one precision, compare its logits with our float32, and time it.

    The answer has ``error``, ``rms`` and ``agreement``, and ``wall`` and ``processor`` seconds of
    each call; in float32 it ``agrees`` if the error is within `tolerance`, else if it is finite.
    """
    work, folder = workload(request["model"]), Path(request["folder"])
    runner = opened(request, folder)
    clips, expected = np.load(folder / "clips.npy"), np.load(folder / "expected.npy")
    got = _answers(runner, work, clips)
    loss = loss_of(expected, got)
    most = tolerance if request["precision"] == "float32" else np.finfo(np.float64).max
    agrees = bool(loss.largest <= most)
    answer = {"version": runner.version, "agrees": agrees, "error": loss.largest}
    answer |= {"agreement": loss.agreement, "rms": loss.rms, "wall": [], "processor": []}
    inputs = inputs_of(runner, clips[0], work.online)
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
