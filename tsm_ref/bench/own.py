"""A model file of one's own as a workload: ``python -m tsm_ref.bench MODEL``.

Our engines open the file as `tsm_ref.load` does. Where it is an ONNX, ONNX Runtime opens the same
file: both get the inputs that the file declares, and both must answer as the NumPy engine does in
float64.
"""

import importlib
import json
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.bench.peers import Runner
from tsm_ref.bench.workloads import Workload
from tsm_ref.engine.on_numpy.engine import NumpyEngine
from tsm_ref.errors import UsageError
from tsm_ref.graph import Graph
from tsm_ref.model import Model, load
from tsm_ref.model.file_form import FileForm

__all__ = ["NOTE", "OwnModel", "open_own", "own_model", "prepare_peer"]

Array = NDArray[Any]
NOTE = "own.json"
"""What a folder holds where its workload is a file of one's own."""


@dataclass(frozen=True)
class OwnModel(Workload):
    """A model file at the size of its profile; ``model`` is it, open on the NumPy engine."""

    path: str = ""
    profile: str | None = None
    model: Any = None

    @property
    def is_onnx(self) -> bool:
        """Whether the file can be given to ONNX Runtime as it is."""
        return self.path.lower().endswith(".onnx") and self._form is not None

    @property
    def _form(self) -> FileForm | None:
        """What the file declares; None where it takes clips as we do, or frame by frame."""
        form: FileForm | None = self.model.form
        return None if form is None or form.states or self.online else form

    @property
    def _clips(self) -> int:
        """How many clips the file takes at once; one where it leaves that open."""
        form = self._form
        if form is None:
            return 1
        (view,) = form.inputs
        for group, size in zip(view.groups, view.shape, strict=True):
            if "N" in group and isinstance(size, int):
                return size // prod(view.sizes[letter] for letter in group if letter != "N")
        return 1

    def graph(self) -> Graph:
        """The network of the file."""
        found: Graph = self.model.graph
        return found

    def weights(self) -> dict[str, Array]:
        """The weights of the file."""
        return dict(self.model.weights)

    def clip(self, seed: int = 7) -> Array:
        """A seeded clip of the shape that the profile makes; bytes where the file takes bytes."""
        (shape,) = self.model.input_shapes(self._clips).values()
        clip: Array = np.random.default_rng(seed).standard_normal(shape, np.float32)
        form = self.model.form
        if form is not None and form.takes_bytes(self.graph().inputs[0].name):
            clip = (128 + 40 * clip).clip(0, 255).round()
        return clip

    def gflop(self) -> float:
        """Work of one timed call in 10^9 floating-point operations, two per multiply-add."""
        clip = self.clip()[:, :, : self.timed_frames]
        costs = self.graph().multiply_adds({self.graph().inputs[0].name: clip.shape})
        return 2e-9 * sum(costs.values())

    def prepare(self, folder: Path) -> None:
        """Write the clip, the expected answer in float64, and where the file is."""
        folder.mkdir(parents=True, exist_ok=True)
        graph, clip, form = self.graph(), self.clip(), self._form
        note: dict[str, Any] = {"path": self.path, "profile": self.profile, "online": self.online}
        if form is not None:
            (view,) = form.inputs
            given = view.to_file(clip).astype(view.dtype)
            exact = NumpyEngine(graph, self.weights(), np.float64)
            wide = given.astype(np.float64)
            twin = FileForm(graph, exact, form.inputs, form.outputs, form.states)
            expected = twin.run({view.name: wide})[form.outputs[0].name]
            np.save(folder / "input.npy", given)
            note |= {"input": view.name, "output": form.outputs[0].name}
        else:
            value = graph.frame_logits if self.online else graph.outputs[0]
            wanted = graph.with_outputs([value or graph.outputs[0]])
            engine = NumpyEngine(wanted, self.weights(), np.float64)
            expected = engine.run({graph.inputs[0].name: clip})[wanted.outputs[0]]
        np.save(folder / "clip.npy", clip)
        np.save(folder / "expected.npy", expected[0].T if self.online else expected.reshape(1, -1))
        (folder / NOTE).write_text(json.dumps(note), encoding="utf-8")


def own_model(path: str, profile: str | None = None, *, online: bool = False) -> OwnModel:
    """A file, or a model that ships, as a workload; `online` times it one frame at a time.

    Raises `CheckpointError` as `tsm_ref.load`, and `UsageError` for a model of several inputs, and
    for one that cannot answer frame by frame.

    >>> own_model("camera-motion", online=True).name
    'camera-motion, online'
    """
    model = load(path, profile=profile, engine="numpy")
    if len(model.graph.inputs) != 1:
        names = ", ".join(entry.name for entry in model.graph.inputs)
        raise UsageError(f"{path}: it has the inputs {names}, and only models of one are timed")
    if online:
        _check_online(path, model)
    _, _, frames, height, _ = next(iter(model.input_shapes().values()))
    name = f"{path}, online" if online else path
    classes = len(model.labels)
    return OwnModel(
        *(name, model.graph.name, classes, frames, height),
        online=online, path=path, profile=profile, model=model,
    )  # fmt: skip


def _check_online(path: str, model: Model) -> None:
    """Raise where a model does not answer after every frame."""
    late = model.stream().delay
    if late:
        raise UsageError(
            f"{path}: it looks {late} frames ahead, so it does not answer frame by frame; without "
            "--online whole clips are timed"
        )
    if model.graph.frame_logits is None:
        raise UsageError(f"{path}: it has no logits per frame, so --online has nothing to compare")


def open_own(engine: str, folder: Path, threads: int) -> Runner:
    """Open the file that a folder notes, on one of our engines."""
    note = json.loads((folder / NOTE).read_text("utf-8"))
    model = load(note["path"], profile=note["profile"], engine=engine, threads=threads)
    if note["online"]:
        stream: Any = model.stream()
        return Runner("tsm_ref", stream.step, lambda x: np.ascontiguousarray(x[0]), stream.reset)
    if "input" not in note:
        return Runner("tsm_ref", model, lambda x: np.ascontiguousarray(x.swapaxes(0, 1)[None]))
    given = np.load(folder / "input.npy")
    return Runner(
        "tsm_ref", lambda x: model.run({note["input"]: x})[note["output"]], lambda _: given
    )


def prepare_peer(engine: str, folder: Path) -> None:
    """See that another runtime can open the file; raises `UsageError` where it cannot."""
    note = json.loads((folder / NOTE).read_text("utf-8"))
    if engine != "onnxruntime" or "input" not in note or not note["path"].endswith(".onnx"):
        raise UsageError(f"{engine} cannot open this file: ONNX Runtime opens ONNX files")


def open_peer(engine: str, folder: Path, threads: int) -> Runner:
    """Open an ONNX file as it is with ONNX Runtime."""
    prepare_peer(engine, folder)
    note = json.loads((folder / NOTE).read_text("utf-8"))
    ort: Any = importlib.import_module("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    session = ort.InferenceSession(note["path"], options, providers=["CPUExecutionProvider"])
    given = np.load(folder / "input.npy")

    def run(x: Array) -> Array:
        (answer,) = session.run([note["output"]], {note["input"]: x})
        return np.asarray(answer)

    return Runner(f"onnxruntime {ort.__version__}", run, lambda _: given)
