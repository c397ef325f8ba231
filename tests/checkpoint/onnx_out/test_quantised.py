"""Quantised networks as ONNX files: read back bit for bit, and what onnxruntime makes of them."""

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given

import tsm_ref
from tests.quantised_networks import clip, network
from tests.whole_graphs import whole_graphs
from tsm_ref.checkpoint import export_onnx, export_onnx_stream
from tsm_ref.checkpoint.onnx_in.load import SUPPORTED
from tsm_ref.convert import convert
from tsm_ref.engine.on_numpy.engine import NumpyEngine
from tsm_ref.engine.stream.stream import Stream
from tsm_ref.errors import GraphError, UsageError
from tsm_ref.graph import Graph, Input, Node
from tsm_ref.passes import optimize
from tsm_ref.quantization import quantize

SIZES = {"T": 7, "H": 13, "W": 11}


def small(architecture: str, causal: bool = False) -> tsm_ref.Model:
    options: dict[str, Any] = {"width": 0.35} if architecture == "mobilenetv2" else {}
    model = tsm_ref.build(
        architecture, num_classes=5, causal=causal, segments=4, engine="numpy", **options
    )
    return quantize(model, frames(3), keep=(), equalise=False, timed=False)


def frames(count: int, seed: int = 0) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    shape = (count, 1, 3, 4, 48, 48)
    return [{"x": x} for x in rng.standard_normal(shape).astype(np.float32)]


@pytest.mark.parametrize("fill", ["zero", "replicate", "circular"])
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_what_is_read_back_gives_the_same_bits(tmp_path, dtype, fill) -> None:
    graph, weights = network(fill, dtype=dtype)
    export_onnx(graph, weights, tmp_path / "m.onnx", sizes=SIZES)
    found = tsm_ref.load(tmp_path / "m.onnx", engine="numpy")
    expected = NumpyEngine(graph, weights).run(clip())["logits"]
    again = found.run(clip())["logits"]
    np.testing.assert_array_equal(again, expected)
    assert [n.op for n in found.graph.nodes if n.op.startswith("QLinear")] == [
        n.op for n in graph.nodes if n.op.startswith("QLinear")
    ]


@given(whole_graphs())
def test_any_network_of_whole_numbers_that_is_written_is_read_to_the_bit(
    tmp_path_factory, case
) -> None:
    graph, weights, x = case
    path = tmp_path_factory.mktemp("network") / "m.onnx"
    export_onnx(graph, weights, path, sizes=dict(zip("THW", x.shape[2:], strict=True)))
    expected = NumpyEngine(graph, weights).run({"x": x})["logits"]
    found = tsm_ref.load(path, engine="numpy")
    np.testing.assert_array_equal(found.run({"x": x})["logits"], expected)
    assert not {"Conv", "Linear", "Add", "Mul"} & {node.op for node in found.graph.nodes}


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("behind", ["MaxPool", "TemporalShift", "SpatialShift"])
def test_what_moves_the_entries_of_a_table_is_read(tmp_path, dtype, behind) -> None:
    """Nobody makes reals of them, so a pair of nodes tells their scale."""
    x, made = ({f"{role}_scale": 0.25, f"{role}_zero_point": 3} for role in "xy")
    attrs = {
        "MaxPool": {"kernel_shape": (1, 2, 2)},
        "TemporalShift": {"d": (1, 0, -1), "x_zero_point": 3},
        "SpatialShift": {"dh": (1, 0, 0), "dw": (0, -1, 0), "x_zero_point": 3},
    }
    nodes = (
        Node("q", "QuantizeLinear", ("x",), {"dtype": dtype, **made}),
        Node("table", "LookUp", ("q", "t"), {"dtype": "uint8", **made}),
        Node("moved", behind, ("table",), attrs[behind]),
        Node("again", "LookUp", ("moved", "t"), {"dtype": "uint8", **made}),
        Node("flat", "Flatten", ("again",)),
        Node("logits", "DequantizeLinear", ("flat",), x),
    )
    clips = Input("x", ("N", 3, "T", "H", "W"))
    graph = Graph("moved", (clips,), nodes, ("logits",), {"t": (256,)})
    weights = {"t": np.random.default_rng(0).permutation(256).astype(np.uint8)}
    export_onnx(graph, weights, tmp_path / "m.onnx", sizes=SIZES)
    found = tsm_ref.load(tmp_path / "m.onnx", engine="numpy")
    expected = NumpyEngine(graph, weights).run(clip())["logits"]
    np.testing.assert_array_equal(found.run(clip())["logits"], expected)
    assert [node.op for node in found.graph.nodes][:4] == [node.op for node in nodes][:4]


def test_what_litert_rounds_is_read_back_and_told(tmp_path) -> None:
    graph, weights = network(litert=True)
    with pytest.warns(UserWarning, match="4 sums and means are rounded as LiteRT does"):
        export_onnx(graph, weights, tmp_path / "m.onnx", sizes=SIZES)
    found = tsm_ref.load(tmp_path / "m.onnx", engine="numpy")
    expected = NumpyEngine(graph, weights).run(clip())["logits"]
    np.testing.assert_array_equal(found.run(clip())["logits"], expected)
    rules = [node.attr("rule") for node in found.graph.nodes if "rule" in node.attrs]
    assert rules == ["xnnpack", "tflite", "xnnpack", "xnnpack"]


@pytest.mark.parametrize(("architecture", "causal"), [("resnet18", False), ("mobilenetv2", True)])
def test_networks_survive_conversion_bit_for_bit(tmp_path, architecture, causal) -> None:
    model = small(architecture, causal)
    tsm_ref.save(model, tmp_path / "m.h5")
    target = str(tmp_path / "m.onnx")
    lines = convert(str(tmp_path / "m.h5"), target, sizes={"T": 4, "H": 48, "W": 48})
    assert "equal bit for bit" in lines[-1]
    kinds = {tensor.data_type for tensor in onnx.load(target).graph.initializer}
    assert {onnx.TensorProto.INT8, onnx.TensorProto.INT32} <= kinds


@pytest.mark.parametrize("architecture", ["resnet18", "mobilenetv2"])
def test_onnxruntime_agrees_where_its_sums_do_not_saturate(tmp_path, architecture) -> None:
    """All layers but the mean of the logits give the same bits.

    Without VNNI it adds pairs of products in 16 bits: half of the weights' range cannot overflow.
    """
    ort = pytest.importorskip("onnxruntime")
    model = small(architecture)
    weights = {n: v // 2 if v.dtype == np.int8 else v for n, v in model.weights.items()}
    path = tmp_path / "m.onnx"
    export_onnx(model.graph, weights, path, sizes={"N": 1, "T": 4, "H": 48, "W": 48})
    x = frames(1, 5)[0]
    expected = NumpyEngine(model.graph, weights).run(x)["consensus"]
    for level in (ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
                  ort.GraphOptimizationLevel.ORT_ENABLE_ALL):  # fmt: skip
        options = ort.SessionOptions()
        options.graph_optimization_level = level
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        (found,) = session.run(None, x)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_one_step_of_a_stream_gives_the_bits_of_the_stream(tmp_path) -> None:
    model = small("mobilenetv2", causal=True)
    tsm_ref.save(model, tmp_path / "m.h5")
    lines = convert(str(tmp_path / "m.h5"), str(tmp_path / "s.onnx"), stream=True,
                    sizes={"H": 48, "W": 48})  # fmt: skip
    assert "frames, one by one" in lines[-1]
    assert "bit for bit" in lines[-1]
    again = tsm_ref.load(tmp_path / "s.onnx", engine="numpy")
    assert not {"Conv", "Linear", "Add"} & {node.op for node in again.graph.nodes}
    assert {state.steps is not None for state in again.form.states} == {True}  # type: ignore[union-attr]


@pytest.mark.parametrize("architecture", ["resnet18", "mobilenetv2"])
def test_onnxruntime_gives_our_bits_where_it_is_told_not_to_saturate(
    tmp_path, architecture
) -> None:
    """With weights of all 8 bits, on a processor without VNNI too."""
    ort = pytest.importorskip("onnxruntime")
    model = small(architecture)
    path = tmp_path / "m.onnx"
    export_onnx(model.graph, model.weights, path, sizes={"N": 1, "T": 4, "H": 48, "W": 48})
    options = ort.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    x = frames(1, 5)[0]
    (found,) = session.run(None, x)
    expected = NumpyEngine(model.graph, model.weights).run(x)["consensus"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_a_stream_keeps_reals_and_starts_at_zero(tmp_path) -> None:
    ort = pytest.importorskip("onnxruntime")
    model = small("mobilenetv2", causal=True)
    weights = {n: v // 2 if v.dtype == np.int8 else v for n, v in model.weights.items()}
    export_onnx_stream(model.graph, weights, tmp_path / "s.onnx", sizes={"N": 1, "H": 48, "W": 48})
    session = ort.InferenceSession(tmp_path / "s.onnx", providers=["CPUExecutionProvider"])
    states = {i.name: np.zeros(i.shape, np.float32) for i in session.get_inputs() if "state" in
              i.name}  # fmt: skip
    stream = Stream(NumpyEngine(model.graph, weights))
    x = frames(1, 5)[0]["x"]
    names = [output.name for output in session.get_outputs()]
    for t in range(4):
        made = dict(zip(names, session.run(None, {"x": x[:, :, t], **states}), strict=True))
        states = {name: made[name.replace("in", "out")] for name in states}
        expected = np.asarray(stream.step(x[0, :, t]))
        answer = next(value for name, value in made.items() if "state" not in name)
        np.testing.assert_allclose(answer.ravel(), expected.ravel(), atol=1e-5)


def test_weights_of_16_bits_need_a_newer_opset() -> None:
    graph, weights = network()
    weights = {**weights, "w1": weights["w1"].astype(np.int16) * 2}
    with pytest.raises(UsageError, match="need the opset 21"):
        export_onnx(graph, weights, sizes=SIZES)
    assert export_onnx(graph, weights, sizes=SIZES, opset=21)


def test_a_convolution_with_a_shift_inside_is_an_engines() -> None:
    graph, weights = network()
    with pytest.raises(GraphError, match="has a shift inside"):
        export_onnx(*optimize(graph, weights), sizes=SIZES)


def test_all_that_is_written_is_read() -> None:
    graph, weights = network(dtype="int8")
    model = onnx.load_from_string(export_onnx(graph, weights, sizes=SIZES))
    assert {node.op_type for node in model.graph.node} <= SUPPORTED
