"""Quantised ONNX files of others: onnxruntime's own, to its bits, and what is wrong with one."""

import importlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tsm_ref
from tsm_ref.checkpoint import export_onnx, load_checkpoint
from tsm_ref.checkpoint.onnx_in.tensors import DTYPES, OTHER_TYPES
from tsm_ref.errors import CheckpointError
from tsm_ref.graph import Graph, Input, Node
from tsm_ref.infer import main

FRAMES = (1, 3, 4, 32, 32)


def clips(count: int, seed: int = 0) -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    return iter([{"x": rng.standard_normal(FRAMES).astype(np.float32)} for _ in range(count)])


@pytest.fixture(scope="module")
def exported(tmp_path_factory: Any) -> Path:
    """A MobileNetV2 of ours, batch norms folded, as people quantise it."""
    ort = pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("float")
    model = tsm_ref.build("mobilenetv2", num_classes=5, width=0.35, segments=4, engine="numpy")
    sizes = {"N": 1, "T": 4, "H": 32, "W": 32}
    export_onnx(model.graph, model.weights, folder / "f.onnx", sizes=sizes)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folder / "folded.onnx")
    ort.InferenceSession(folder / "f.onnx", options, providers=["CPUExecutionProvider"])
    return folder / "folded.onnx"


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
@pytest.mark.parametrize(
    ("values", "weights", "per_channel"),
    [("QUInt8", "QInt8", True), ("QInt8", "QInt8", False), ("QUInt8", "QUInt8", False)],
)
def test_what_onnxruntime_quantised_gives_its_bits(
    tmp_path: Path, exported: Path, form: str, values: str, weights: str, per_channel: bool
) -> None:
    """Its sums cannot saturate where weights have 7 bits; the mean of the logits rounds."""
    ort = pytest.importorskip("onnxruntime")
    q = importlib.import_module("onnxruntime.quantization")

    class Reader(q.CalibrationDataReader):  # type: ignore[misc, name-defined]
        left = clips(3)

        def get_next(self) -> Any:
            return next(self.left, None)

    path = tmp_path / "q.onnx"
    logging.disable(logging.WARNING)
    q.quantize_static(
        exported, path, Reader(), quant_format=q.QuantFormat[form], per_channel=per_channel,
        reduce_range=True, activation_type=q.QuantType[values], weight_type=q.QuantType[weights],
    )  # fmt: skip
    logging.disable(logging.NOTSET)
    x = next(clips(1, 9))
    (expected,) = ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, x)
    found = tsm_ref.load(path, engine="numpy")
    (answer,) = found.run(x).values()
    np.testing.assert_allclose(answer, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    ops = [node.op for node in found.graph.nodes]
    assert "Conv" not in ops
    assert len({name for name, v in found.weights.items() if v.dtype.kind == "i"}) > 50
    assert ops.count("TemporalShift") == 10
    assert found.profile.shift.divisor == 8


# Bad files


def model_of(**changes: Any) -> Any:
    """A convolution between its steps; what is given replaces what would be right."""
    rng = np.random.default_rng(0)
    tensors: dict[str, Any] = {
        "xs": np.float32(0.02), "xz": np.uint8(128),
        "w": rng.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8),
        "ws": np.full(4, 0.01, np.float32), "wz": np.zeros(4, np.int8),
        "ys": np.float32(0.05), "yz": np.uint8(7),
        "b": np.zeros(4, np.int32), "bs": np.full(4, np.float32(0.02) * np.float32(0.01)),
    }  # fmt: skip
    tensors.update({name: value for name, value in changes.items() if name in tensors})
    axis, steps = changes.get("axis", 0), changes.get("inputs", ["x", "xs", "xz"])
    nodes = [
        helper.make_node("QuantizeLinear", steps, ["q"], name="round"),
        helper.make_node("DequantizeLinear", ["q", changes.get("back", "xs"), "xz"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], name="weights", axis=axis),
        helper.make_node("DequantizeLinear", ["b", "bs"], ["bd"], axis=0),
        helper.make_node("Conv", ["d", "wd", "bd"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("QuantizeLinear", ["c", "ys", "yz"], ["cq"]),
        helper.make_node("DequantizeLinear", ["cq", "ys", "yz"], ["y"]),
    ]
    made = [
        value if isinstance(value, TensorProto) else numpy_helper.from_array(np.asarray(value), n)
        for n, value in tensors.items()
    ]
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", 1, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("y", 1, ["n", 4, 8, 8])],
        made,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def four_bits() -> Any:
    return helper.make_tensor("w", TensorProto.INT4, (4, 3, 3, 3), [1] * 108)


def eight_bit_floats() -> Any:
    return helper.make_tensor("w", TensorProto.FLOAT8E4M3FN, (4, 3, 3, 3), [1.0] * 108)


def test_the_good_one_is_read(tmp_path: Path) -> None:
    onnx.save(model_of(), tmp_path / "m.onnx")
    found = load_checkpoint(tmp_path / "m.onnx")
    assert [node.op for node in found.graph.nodes] == [
        "QuantizeLinear", "QLinearConv", "DequantizeLinear"
    ]  # fmt: skip
    assert found.weights[found.graph.nodes[1].inputs[1]].dtype == np.int8


def test_weights_with_a_zero_point_of_their_own_become_wider(tmp_path: Path) -> None:
    w = np.random.default_rng(0).integers(0, 256, (4, 3, 3, 3)).astype(np.uint8)
    wrong = model_of(w=w, wz=np.array([0, 100, 128, 255], np.uint8))
    onnx.save(wrong, tmp_path / "m.onnx")
    found = load_checkpoint(tmp_path / "m.onnx")
    kept = found.weights[found.graph.nodes[1].inputs[1]]
    assert kept.dtype == np.int16
    assert kept[3].max() <= 0 < kept[0].min() + 1


def test_a_bias_that_is_not_in_steps_leaves_the_layer_real(tmp_path: Path) -> None:
    onnx.save(model_of(b=np.arange(1, 5).astype(np.int32), bs=np.full(4, np.float32(0.3))),
              tmp_path / "m.onnx")  # fmt: skip
    found = load_checkpoint(tmp_path / "m.onnx")
    assert "Conv" in {node.op for node in found.graph.nodes}


@pytest.mark.parametrize("scale", [1e-42, 1e-38, 1e-30, 1e30])
def test_a_bias_that_int32_does_not_hold_stays_real(tmp_path: Path, scale: float) -> None:
    changes = {"b": np.arange(1, 5).astype(np.int32), "bs": np.full(4, scale, np.float32)}
    onnx.save(model_of(**changes), tmp_path / "m.onnx")
    found = load_checkpoint(tmp_path / "m.onnx")
    (node,) = found.graph.select("Conv")
    expected = (np.arange(1, 5).astype(np.float32) * np.float32(scale)).astype(np.float32)
    np.testing.assert_array_equal(found.weights[node.inputs[2]], expected)


TYPES = [n for n in TensorProto.DataType.values() if n not in DTYPES]


@pytest.mark.parametrize("number", TYPES, ids=TensorProto.DataType.Name)
def test_types_are_told_by_their_names(number: int) -> None:
    assert OTHER_TYPES[number] == TensorProto.DataType.Name(number).lower()


def test_a_cast_is_told_by_the_name_of_its_type(tmp_path: Path) -> None:
    model = model_of()
    model.graph.node[-3].input[0] = "cast"
    cast = helper.make_node("Cast", ["d"], ["cast"], to=TensorProto.FLOAT8E5M2)
    model.graph.node.insert(2, cast)
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(CheckpointError, match="turns data into the type float8e5m2"):
        load_checkpoint(tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"xs": np.float32(0)}, "has the scale 0; it must be positive and finite"),
        ({"xs": np.float32(-0.5)}, "has the scale -0.5"),
        ({"xs": np.float32(np.nan)}, "has the scale nan"),
        ({"ws": np.array([0.1, np.inf, 0.1, 0.1], np.float32)}, "has the scale inf"),
        ({"inputs": ["x"]}, "round"),
        ({"inputs": ["x", "", "xz"]}, "has no scale"),
        ({"inputs": ["x", "other", "xz"]}, "other"),
        ({"back": "ys"}, "it was made with 0.02 and 128"),
        ({"axis": 4}, "has the axis 4 for a tensor of 4 axes"),
        ({"axis": 1}, "has 4 scales for an axis of 3"),
        ({"ws": np.full(3, 0.1, np.float32), "wz": np.zeros(3, np.int8)}, "3 scales for an axis"),
        ({"wz": np.zeros(2, np.int8)}, "4 scales and 2 zero points"),
        ({"wz": np.zeros(4, np.uint8)}, "reads int8 values with a zero point of uint8"),
        ({"xz": np.float32(3)}, "has the types float32 and float32"),
        ({"xz": np.int32(3)}, "rounds to int32"),
        ({"xs": np.array([0.1, 0.2, 0.3], np.float32), "xz": np.zeros(3, np.uint8)}, "channel"),
        ({"xs": np.float32(1e-38)}, "none that is subnormal"),
        ({"w": four_bits()}, "has the type int4; supported are"),
        ({"w": eight_bit_floats()}, "has the type float8e4m3fn; supported are"),
        ({"ws": np.full(4, 3e38, np.float32)}, "holds a NaN or an infinity"),
        ({"bs": np.full(4, 3e38, np.float32), "b": np.full(4, 9, np.int32)}, "holds a NaN or"),
    ],
)
def test_steps_that_are_none_end_with_one_line(
    tmp_path: Path, capsys: Any, changes: dict[str, Any], sentence: str
) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(model_of(**changes), path)
    with pytest.raises(CheckpointError, match=sentence):
        load_checkpoint(path)
    assert main(["--model", str(path), "no.mp4"]) == 4
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_what_was_looked_up_and_moved_has_no_scale_yet(tmp_path: Path) -> None:
    steps = {"y_scale": 0.5, "y_zero_point": 3, "dtype": "uint8"}
    nodes = (
        Node("q", "QuantizeLinear", ("x",), steps),
        Node("t", "LookUp", ("q", "table"), steps),
        Node("s", "SpatialShift", ("t",), {"dh": (1, -1), "dw": (0, 0), "x_zero_point": 3}),
        Node("y", "DequantizeLinear", ("s",), {"x_scale": 0.5, "x_zero_point": 3}),
    )
    graph = Graph("g", (Input("x", ("N", 2, "T", 4, 4)),), nodes, ("y",), {"table": (256,)})
    path = tmp_path / "moved.onnx"
    export_onnx(graph, {"table": np.arange(256)[::-1].astype(np.uint8)}, path, sizes={"T": 2})
    assert tsm_ref.load(path, engine="numpy")
    model = onnx.load(path)
    said = [node for node in model.graph.node if node.output[0] in ("t/real", "t/again")]
    for node in said:
        model.graph.node.remove(node)
    for node in model.graph.node:
        node.input[:] = ["t" if name == said[-1].output[0] else name for name in node.input]
    onnx.save(model, path)
    with pytest.raises(CheckpointError, match="moves about what it looked up"):
        tsm_ref.load(path)
