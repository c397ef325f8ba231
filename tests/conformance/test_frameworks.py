"""PyTorch, Keras and ONNX as testees; each is imported only when it is used."""

import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from conformance.catalogue import cases_of, find_case
from conformance.exchange.onnx_layout import shift_nodes
from conformance.judging.results import Options
from conformance.judging.runner import run, run_case
from conformance.questions.conventions import PRESETS
from conformance.testees.frameworks import keras_layer, torch_module
from conformance.testees.in_process import InProcess
from conformance.testees.onnx import OnnxModels
from conformance.testees.parse import load_object, make_testee
from tsm_ref.errors import MissingDependency, UsageError

EXAMPLES = Path(__file__).resolve().parents[2] / "conformance" / "examples"


def test_no_framework_is_imported_by_the_suite():
    code = (
        "import sys, conformance.testees.parse, conformance.testees.frameworks\n"
        "from conformance.judging.runner import run\n"
        "print(sorted({'torch', 'keras', 'tensorflow', 'onnx', 'numba', 'av'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_pytorch_example_reaches_l0():
    pytest.importorskip("torch", reason="PyTorch is not installed")
    testee = InProcess(load_object(f"{EXAMPLES / 'pytorch_shift.py'}:Shift"))
    finished = run(testee, cases_of(["L0"]), Options(examples=5))
    assert [(r.id, r.message) for r in finished.results if r.outcome == "failed"] == []
    assert finished.reached == ("L0",)
    assert finished.declaration.language.startswith("PyTorch")


def test_an_object_over_tensors_offers_what_it_has():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")

    class Layers:
        def conv(self, x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
            return torch.nn.functional.conv3d(x, weight, bias, stride, padding, dilation, groups)

        def linear(self, x, weight, bias=None):
            return torch.nn.functional.linear(x.mT, weight, bias).mT

    testee = InProcess(torch_module(Layers(), operation="none"))
    for name in ("conv.taps", "conv.12-bit", "conv.bound", "conv.depthwise", "linear.exact"):
        result = run_case(find_case(f"L1.{name}"), testee, Options())
        assert (result.outcome, result.message) == ("passed", ""), name
    assert run_case(find_case("L1.relu.values"), testee, Options()).outcome == "unsupported"


class Layer:
    """What the adapter needs of a Keras layer: it is called, and has `call`."""

    def __call__(self, x, **rest):
        return self.call(x, **rest)

    def call(self, x, segments, fold_div=3):
        x = np.asarray(x).reshape(-1, segments, *x.shape[1:])
        f, y = x.shape[-1] // fold_div, np.zeros_like(x)
        y[:, :-1, ..., :f] = x[:, 1:, ..., :f]
        y[:, 1:, ..., f : 2 * f] = x[:, :-1, ..., f : 2 * f]
        y[..., 2 * f :] = x[..., 2 * f :]
        return y.reshape(-1, *y.shape[2:])


def test_a_keras_layer_gets_clips_with_channels_last(monkeypatch):
    keras = types.SimpleNamespace(
        __version__="3", Layer=Layer, ops=types.SimpleNamespace(convert_to_tensor=np.asarray)
    )
    monkeypatch.setitem(sys.modules, "keras", keras)
    finished = run(InProcess(keras_layer(Layer())), cases_of(["L0"]), Options(examples=5))
    assert finished.reached == ("L0",)
    assert finished.declaration.conventions == PRESETS["mtts-can"]


@pytest.mark.parametrize(("package", "wrap"), [("torch", torch_module), ("keras", keras_layer)])
def test_a_missing_framework_is_named_in_one_line(package, wrap, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependency, match=f"pip install {package}"):
        wrap(object())


def save_shift(path, d, T, **metadata):
    nodes, constants = shift_nodes(d, T)
    shape = ("N", len(d), T, "H", "W")
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy")
    graph = helper.make_graph(nodes, "shift", [x], [y], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    for key, value in metadata.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.save(model, path)


def test_an_onnx_model_is_judged_where_its_shapes_fit(tmp_path):
    d = PRESETS["mit"].d(19, 8)
    save_shift(tmp_path / "temporal_shift.onnx", d, 5, attributes='{"fold_div": 8}')
    testee = InProcess(OnnxModels(tmp_path / "temporal_shift.onnx"))
    outcomes = {
        name: run_case(find_case(f"L0.shift.{name}"), testee, Options()).outcome
        for name in ("directions", "special-values", "fold-divisor")
    }
    assert outcomes == {
        "directions": "passed",
        "special-values": "passed",
        "fold-divisor": "unsupported",
    }
    save_shift(tmp_path / "wrong.onnx", -d, 5, operation="temporal_shift")
    (tmp_path / "temporal_shift.onnx").unlink()
    result = run_case(find_case("L0.shift.directions"), InProcess(OnnxModels(tmp_path)), Options())
    assert "the direction is swapped" in result.diagnosis


def test_an_onnx_model_that_never_ends_fails_a_case_and_the_run_goes_on(tmp_path):
    x, y, v, w = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, tuple("NCTHW")) for name in "xyvw"
    )
    go, on = (helper.make_tensor_value_info(name, TensorProto.BOOL, ()) for name in ("go", "on"))
    number = helper.make_tensor_value_info("i", TensorProto.INT64, ())
    again = [helper.make_node("Identity", [a], [b]) for a, b in (("go", "on"), ("v", "w"))]
    body = helper.make_graph(again, "body", [number, go, v], [on, w])
    times = helper.make_tensor("times", TensorProto.INT64, (), [2**62])
    start = helper.make_tensor("start", TensorProto.BOOL, (), [True])
    loop = helper.make_node("Loop", ["times", "start", "x"], ["y"], body=body)
    graph = helper.make_graph([loop], "endless", [x], [y], [times, start])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, tmp_path / "temporal_shift.onnx")
    testee = make_testee(f"onnx:{tmp_path}")
    try:
        result = run_case(find_case("L0.shift.clips"), testee, Options(timeout=2))
    finally:
        testee.close()
    assert (result.outcome, result.message) == ("failed", "no reply within 2 seconds")


def test_a_file_that_is_no_model_is_refused(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(UsageError, match="is no ONNX model"):
        OnnxModels(tmp_path / "model.onnx")
