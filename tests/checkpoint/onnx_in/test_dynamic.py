"""Dynamic quantisation: what onnxruntime's `quantize_dynamic` wrote, to its bits."""

import importlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import tsm_ref
from tsm_ref.checkpoint import export_onnx, load_checkpoint
from tsm_ref.engine.oracle import run_oracle
from tsm_ref.errors import CheckpointError, NotStreamable, UsageError
from tsm_ref.infer import main

pytestmark = pytest.mark.filterwarnings("ignore:.*round what they read by its range")
SIZES = {"N": 1, "T": 4, "H": 32, "W": 32}


def clip(seed: int = 9) -> Any:
    return np.random.default_rng(seed).standard_normal((1, 3, 4, 32, 32)).astype(np.float32)


@pytest.fixture(scope="module", params=["mobilenetv2", "resnet18"])
def exported(request: Any, tmp_path_factory: Any) -> Path:
    """A network of ours with its batch norms folded, as people quantise it."""
    ort = pytest.importorskip("onnxruntime")
    folder: Path = tmp_path_factory.mktemp("float")
    kind = {"width": 0.35} if request.param == "mobilenetv2" else {}
    model = tsm_ref.build(request.param, num_classes=5, segments=4, engine="numpy", **kind)
    export_onnx(model.graph, model.weights, folder / "f.onnx", sizes=SIZES)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folder / "folded.onnx")
    ort.InferenceSession(folder / "f.onnx", options, providers=["CPUExecutionProvider"])
    return folder / "folded.onnx"


@pytest.mark.parametrize(("weights", "per_channel"), [("QInt8", True), ("QUInt8", False)])
def test_what_onnxruntime_rounds_at_run_time_gives_its_bits(
    tmp_path: Path, exported: Path, weights: str, per_channel: bool
) -> None:
    """Its sums cannot saturate where weights have 7 bits."""
    ort = pytest.importorskip("onnxruntime")
    q = importlib.import_module("onnxruntime.quantization")
    path = tmp_path / "q.onnx"
    logging.disable(logging.WARNING)
    q.quantize_dynamic(
        exported, path, per_channel=per_channel, reduce_range=True,
        weight_type=q.QuantType[weights],
    )  # fmt: skip
    logging.disable(logging.NOTSET)
    x = clip()
    (wanted,) = ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x})
    model = tsm_ref.load(path, engine="numpy")
    (found,) = model.run({"x": x}).values()
    np.testing.assert_array_equal(found, wanted)
    assert not {"Conv", "Linear"} & {node.op for node in model.graph.nodes}
    assert model.shifts
    oracle = run_oracle(model.graph, model.weights, {model.graph.inputs[0].name: x}, np.float32)
    np.testing.assert_allclose(oracle[model.graph.outputs[0]], wanted, rtol=0, atol=1e-6)
    with pytest.raises(NotStreamable, match="by the range of the whole clip"):
        model.stream()
    tsm_ref.save(model, tmp_path / "q.h5")
    export_onnx(model.graph, model.weights, tmp_path / "again.onnx", sizes=SIZES)
    for other in ("q.h5", "again.onnx"):
        again = tsm_ref.load(tmp_path / other, engine="auto")
        assert np.array_equal(again(x), model(x)), other


def test_an_open_number_of_clips_is_not_written(tmp_path: Path) -> None:
    onnx.save(model_of(), tmp_path / "m.onnx")
    model = tsm_ref.load(tmp_path / "m.onnx", engine="numpy")
    with pytest.raises(UsageError, match="one clip: give N = 1"):
        export_onnx(model.graph, model.weights, sizes={"T": 1, "H": 8, "W": 8})


def test_clips_are_rounded_each_by_itself(tmp_path: Path) -> None:
    onnx.save(model_of(), tmp_path / "m.onnx")
    with pytest.warns(UserWarning, match="1 layers round what they read by its range"):
        model = tsm_ref.load(tmp_path / "m.onnx", engine="numpy")
    x = np.random.default_rng(1).normal(size=(2, 3, 8, 8)).astype(np.float32)
    x[1] *= 50
    (both,) = model.run({"x": x}).values()
    for i in range(2):
        (alone,) = model.run({"x": x[i : i + 1]}).values()
        np.testing.assert_array_equal(both[i], alone[0])


def test_a_weight_with_a_zero_point_for_each_channel(tmp_path: Path) -> None:
    w = np.random.default_rng(0).integers(0, 256, (4, 3, 3, 3)).astype(np.uint8)
    onnx.save(model_of(w=w, wz=np.array([0, 100, 128, 255], np.uint8)), tmp_path / "m.onnx")
    found = load_checkpoint(tmp_path / "m.onnx")
    weight = found.weights[found.graph.nodes[0].inputs[1]]
    assert weight.dtype == np.int16
    np.testing.assert_array_equal(weight[3, :, 0], w[3].astype(int) - 255)


def model_of(change: Callable[[list[Any]], Any] | None = None, **changes: Any) -> Any:
    """A convolution of values that are rounded by their range; what is given replaces the right."""
    rng = np.random.default_rng(0)
    tensors: dict[str, Any] = {
        "w": rng.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8), "wz": np.int8(0),
        "ws": np.float32(0.01), "b": rng.normal(size=(1, 4, 1, 1)).astype(np.float32),
    } | changes  # fmt: skip
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"], name="round"),
        helper.make_node("Mul", ["s", "ws"], ["both"], name="scales"),
        helper.make_node("ConvInteger", ["q", "w", "z", "wz"], ["acc"], name="sum", pads=[1] * 4),
        helper.make_node("Cast", ["acc"], ["real"], to=1),
        helper.make_node("Mul", ["real", "both"], ["made"], name="product"),
        helper.make_node("Add", ["made", "b"], ["y"], name="bias"),
    ]
    if change:
        change(nodes)
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", 1, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("y", 1, ["n", 4, 8, 8])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in tensors.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _reads(node: int, place: int, name: str) -> Callable[[list[Any]], Any]:
    return lambda nodes: nodes[node].input.__setitem__(place, name)


@pytest.mark.parametrize(
    ("change", "changes", "sentence"),
    [
        (None, {"ws": np.float32(0)}, "'scales' .* has a scale that is not positive and finite"),
        (None, {"ws": np.float32(-1)}, "has a scale that is not positive and finite"),
        (None, {"ws": np.float32(np.nan)}, "has a scale that is not positive and finite"),
        (None, {"ws": np.full((3, 1, 1), 0.1, np.float32)}, "has 3 scales for 4 channels"),
        (None, {"ws": np.full(4, 0.1, np.float32)}, "has 4 scales for 4 channels"),
        (None, {"wz": np.uint8(0)}, "has a zero point of uint8 for int8"),
        (None, {"wz": np.zeros(3, np.int8)}, "has 3 zero points for"),
        (None, {"w": np.ones((4, 3, 3, 3), np.int32)}, "has no weight of int8 or uint8"),
        (_reads(2, 2, "wz"), {}, "no DynamicQuantizeLinear has rounded, or with another zero"),
        (_reads(2, 0, "w"), {}, "no DynamicQuantizeLinear has rounded"),
        (_reads(4, 1, "ws"), {}, "multiplies sums or scales, but not with each other"),
        (_reads(4, 1, "x"), {}, "multiplies sums or scales, but not with each other"),
        (_reads(5, 0, "real"), {}, "'bias'"),
        (_reads(5, 0, "q"), {}, "'bias'"),
    ],
)
def test_what_is_wrong_ends_with_one_line(
    tmp_path: Path, capsys: Any, change: Any, changes: dict[str, Any], sentence: str
) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(model_of(change, **changes), path)
    with pytest.raises(CheckpointError, match=sentence):
        load_checkpoint(path)
    assert main(["--model", str(path), "no.mp4"]) == 4
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
