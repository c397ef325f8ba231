"""Writes the files that other runtimes open, each in a process of its own."""

import importlib
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from tsm_ref.bench.formats import write_ncnn, write_onnx
from tsm_ref.bench.frames import FrameNetwork, as_frames
from tsm_ref.bench.peers import PACKAGES, installed
from tsm_ref.bench.workloads import Workload
from tsm_ref.errors import MissingDependency


def prepare(name: str, workload: Workload, folder: Path) -> None:
    """Write the file that another runtime opens; raises `MissingDependency` without it."""
    if name not in installed():
        raise MissingDependency(PACKAGES[name], f"time {name}")
    with np.load(folder / "weights.npz") as file:
        weights = {key: file[key] for key in file.files}
    frames = workload.timed_frames
    network = as_frames(workload.graph(), weights, frames, workload.size, workload.online)
    _write_names(network, folder)
    _WRITERS[name](network, folder)


def _write_names(network: FrameNetwork, folder: Path) -> None:
    """Write what `peers.read_names` reads."""
    states = np.array(network.states, np.int64)
    np.savez(folder / "names.npz", inputs=network.inputs, outputs=network.outputs, states=states)


def _write_onnx(network: FrameNetwork, folder: Path) -> None:
    write_onnx(network, folder / "network.onnx")


def _write_mnn(network: FrameNetwork, folder: Path) -> None:
    _write_onnx(network, folder)
    command = [
        sys.executable, "-m", "MNN.tools.mnnconvert", "-f", "ONNX", "--bizCode", "tsm",
        "--modelFile", str(folder / "network.onnx"), "--MNNModel", str(folder / "network.mnn"),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)


def _write_tflite(network: FrameNetwork, folder: Path) -> None:
    write = importlib.import_module("tsm_ref.bench.tflite").write_tflite
    write(network, folder / "network.tflite")


def _write_ncnn(network: FrameNetwork, folder: Path) -> None:
    write_ncnn(network, folder / "network.ncnn.param", folder / "network.ncnn.bin")


def _write_torch(network: FrameNetwork, folder: Path) -> None:
    write = importlib.import_module("tsm_ref.bench.torch_module").write_torch
    write(network, folder / "network.torch")


_WRITERS: Mapping[str, Callable[[FrameNetwork, Path], None]] = {
    "onnxruntime": _write_onnx,
    "openvino": _write_onnx,
    "opencv": _write_onnx,
    "litert": _write_tflite,
    "mnn": _write_mnn,
    "ncnn": _write_ncnn,
    "torch": _write_torch,
}
