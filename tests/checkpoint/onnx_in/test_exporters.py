"""Files that the exporters themselves write, where they are installed, beside their modules."""

import io
import os
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tsm_ref
from tsm_ref.errors import CheckpointError

pytestmark = pytest.mark.filterwarnings("ignore")
T, K, SIDE = 4, 5, 16
CLIP = np.random.default_rng(7).normal(size=(1, T, 3, SIDE, SIDE)).astype(np.float32)


@pytest.fixture
def torch() -> Any:
    module = pytest.importorskip("torch")
    module.manual_seed(3)
    return module


def shifted(torch: Any, x: Any, style: str) -> Any:
    """MIT's shift of rows of pictures, as three projects write it down."""
    rows, channels, height, width = x.shape
    f = channels // 8
    x = x.view(-1, T, channels, height, width)
    if style == "assign":
        y = torch.zeros_like(x)
        y[:, :-1, :f] = x[:, 1:, :f]
        y[:, 1:, f : 2 * f] = x[:, :-1, f : 2 * f]
        y[:, :, 2 * f :] = x[:, :, 2 * f :]
    elif style == "pad":
        padded = torch.nn.functional.pad(x, (0, 0, 0, 0, 0, 0, 1, 1))
        parts = padded[:, 2:, :f], padded[:, :-2, f : 2 * f], padded[:, 1:-1, 2 * f :]
        y = torch.cat(parts, 2)
    else:
        first, second, rest = x[:, :, :f], x[:, :, f : 2 * f], x[:, :, 2 * f :]
        first = torch.cat((first[:, 1:], (first - first)[:, :1]), 1)
        second = torch.cat(((second - second)[:, :1], second[:, :-1]), 1)
        y = torch.cat((first, second, rest), 2)
    return y.view(rows, channels, height, width)


def network(torch: Any, style: str = "pad", end: str = "", begin: str = "") -> Any:
    """A residual network with one shift, and what people put in front of it and behind it."""
    nn = torch.nn

    class Network(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU())
            self.conv1, self.conv2 = nn.Conv2d(16, 8, 1), nn.Conv2d(8, 16, 3, 1, 1)
            self.drop, self.fc = nn.Dropout(0.5), nn.Linear(16, K)
            self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]))
            self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]))

        def forward(self, x: Any) -> Any:
            if begin == "bytes":
                x = ((x.float() / 255 - self.mean) / self.std).permute(0, 1, 4, 2, 3)
            elif begin == "flip":
                x = x[:, :, [2, 1, 0]]
            elif begin == "crop":
                x = x[..., 2:-2, 2:-2]
            x = self.stem(x.reshape(-1, *x.shape[2:]))
            y = self.conv2(torch.relu(self.conv1(shifted(torch, x, style))))
            x = self.drop(torch.relu(x + y).mean((2, 3)))
            logits = self.fc(x).view(-1, T, K)
            if end == "max":
                return logits.max(1).values
            if end == "last":
                return logits[:, -1]
            logits = logits.mean(1)
            if end == "views":
                return logits.view(1, -1, K).softmax(2).mean(1)
            if end == "argmax":
                return logits.argmax(1)
            if end == "topk":
                return logits.topk(3)
            return {"softmax": logits.softmax, "log": logits.log_softmax}.get(
                end, lambda axis: logits
            )(1)

    made = Network()
    with torch.no_grad():  # statistics, as a training leaves them
        made.train()(torch.tensor(clip_for(begin, end)))
    return made.eval()


def clip_for(begin: str, end: str) -> Any:
    if begin == "bytes":
        pixels = np.random.default_rng(8).integers(0, 256, (1, T, SIDE, SIDE, 3))
        return pixels.astype(np.uint8)
    return np.concatenate([CLIP, -CLIP, CLIP[:, ::-1]], 1) if end == "views" else CLIP


Right = Callable[..., tsm_ref.Model]


@pytest.fixture
def right(torch: Any, tmp_path: Path) -> Right:
    """Export a module, import the file, and compare with the module itself."""

    def check(module: Any, clip: Any, **options: Any) -> tsm_ref.Model:
        path = tmp_path / "model.onnx"
        buffer = io.BytesIO()
        torch.onnx.export(
            module, (torch.tensor(clip),), buffer, input_names=["x"], **{"dynamo": False, **options}
        )
        path.write_bytes(buffer.getvalue())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = tsm_ref.load(path, engine="numpy")
        with torch.no_grad():
            wanted = module(torch.tensor(clip))
        wanted = [wanted] if hasattr(wanted, "shape") else list(wanted)
        for found, value in zip(model.run({"x": clip}).values(), wanted, strict=True):
            np.testing.assert_allclose(found, value.numpy(), rtol=1e-3, atol=1e-5)
        return model

    return check


@pytest.mark.parametrize("opset", [11, 13, 17, 18, 20])
@pytest.mark.parametrize("style", ["assign", "pad", "minus"])
def test_a_shift_in_every_opset(style: str, opset: int, torch: Any, right: Right) -> None:
    model = right(network(torch, style), CLIP, opset_version=opset)
    assert [shift.d.tolist() for shift in model.shifts] == [[-1, -1, 1, 1, *[0] * 12]]


@pytest.mark.parametrize("opset", [7, 8, 9, 10])
@pytest.mark.parametrize("style", ["pad", "minus"])
def test_a_whole_network_of_an_old_opset(style: str, opset: int, torch: Any, right: Right) -> None:
    """An assignment to a slice is lost there: `test_data.py` has such a file."""
    assert len(right(network(torch, style), CLIP, opset_version=opset).shifts) == 1


def test_several_clips_behind_an_open_axis(torch: Any, right: Right) -> None:
    """As mmdeploy writes them: the number of videos is open, each has three clips."""
    module, clip = network(torch, end="views"), clip_for("", "views")
    model = right(module, clip, opset_version=17, dynamic_axes={"x": {0: "videos"}})
    assert model.output == "probabilities"


def test_a_sum_over_windows_of_one_picture(torch: Any, right: Right) -> None:
    """Each window is an input of its own; a recognition, which would have to cut them, refuses."""
    inner = network(torch)

    class Windows(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Any) -> Any:
            return sum(self.inner(x[..., i : i + 12]) for i in (0, 2, 4)) / 3

    model = right(Windows().eval(), CLIP, opset_version=17)
    assert len(model.graph.inputs) == 3
    with pytest.raises(CheckpointError, match="does not label clips"):
        model.recognize("clip.mp4")


@pytest.mark.parametrize("style", ["assign", "pad", "minus"])
def test_the_new_exporter(style: str, torch: Any, right: Right) -> None:
    pytest.importorskip("onnxscript")
    model = right(network(torch, style), CLIP, dynamo=True, external_data=False)
    assert len(model.shifts) == 1


@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.parametrize(
    ("end", "kind"),
    [
        ("softmax", "probabilities"),
        ("log", "log-probabilities"),
        ("argmax", "class index"),
        ("topk", "top classes"),
        ("max", "logits"),
        ("last", "logits"),
        ("views", "probabilities"),
    ],
)
def test_what_comes_at_the_end(end: str, kind: str, dynamo: bool, torch: Any, right: Right) -> None:
    if dynamo:
        pytest.importorskip("onnxscript")
    more = {"dynamo": True, "external_data": False} if dynamo else {"opset_version": 17}
    assert right(network(torch, end=end), clip_for("", end), **more).output == kind


@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.parametrize("begin", ["bytes", "flip", "crop"])
def test_what_comes_first(begin: str, dynamo: bool, torch: Any, right: Right) -> None:
    if dynamo:
        pytest.importorskip("onnxscript")
    more = {"dynamo": True, "external_data": False} if dynamo else {"opset_version": 17}
    spec = right(network(torch, begin=begin), clip_for(begin, ""), **more).profile.preprocess
    if begin == "bytes":
        assert (spec.scale, spec.mean) == (1.0, (0.0, 0.0, 0.0))
    assert (spec.channel_order, spec.crop[0] if spec.crop else 0) == (
        "bgr" if begin == "flip" else "rgb",
        12 if begin == "crop" else SIDE,
    )


def test_training_mode(torch: Any, right: Right) -> None:
    module = network(torch).train()
    mode = torch.onnx.TrainingMode.TRAINING
    with pytest.raises(CheckpointError, match="in training mode"):
        right(module, CLIP, training=mode, opset_version=17, do_constant_folding=False)


@pytest.mark.parametrize("level", ["BASIC", "EXTENDED"])
def test_what_onnxruntime_has_optimised(
    level: str, torch: Any, right: Right, tmp_path: Path
) -> None:
    ort = pytest.importorskip("onnxruntime")
    expected = right(network(torch), CLIP, opset_version=17).run({"x": CLIP})
    options = ort.SessionOptions()
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    ort.InferenceSession(str(tmp_path / "model.onnx"), options, ["CPUExecutionProvider"])
    found = tsm_ref.load(tmp_path / "optimised.onnx", engine="numpy").run({"x": CLIP})
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-6)


def written(name: str, variable: str, needs: str, folder: Path) -> list[Path]:
    """The files that a script wrote with a Python that has its exporter, named by a variable."""
    python = os.environ.get(variable)
    if not python:
        pytest.skip(f"no exporter of others: set {variable} to a Python that has {needs}")
    script = Path(__file__).parent / f"write_with_{name}.py"
    subprocess.run([python, str(script), str(folder)], check=True, capture_output=True)
    return sorted(folder.glob("*.onnx"))


@pytest.mark.parametrize(
    ("name", "needs", "count"), [("keras", "tf2onnx", 27), ("paddle", "paddle2onnx", 12)]
)
def test_exporters_of_others(name: str, needs: str, count: int, tmp_path: Path) -> None:
    files = written(name, f"TSM_REF_{name.upper()}_PYTHON", needs, tmp_path)
    assert len(files) == count
    for path in files:
        with np.load(path.with_suffix(".npz")) as z:
            answer, *clips = [z[key] for key in z.files]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = tsm_ref.load(path, engine="numpy")
        names = dict.fromkeys(view.name for view in model.form.inputs)  # type: ignore[union-attr]
        (found,) = model.run(dict(zip(names, clips, strict=True))).values()
        np.testing.assert_allclose(found, answer.reshape(found.shape), rtol=1e-3, atol=1e-5)
        assert model.shifts, path.name
        if "rescaled" in path.name:
            assert model.profile.preprocess.scale == 1
