"""Cases in ONNX's own layout: ``CASE/model.onnx`` beside ``CASE/test_data_set_0/input_0.pb``.

Any ONNX backend runner can take them. This is the one format with expected outputs, because ONNX
test data has them; they are the oracle's, rounded to float32. Layers that ONNX has are written, and
the temporal shift as slices and a concatenation.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save_model

from conformance.questions.arrays import Array
from conformance.questions.case import Call, Case, Question, Setting, make_problem
from conformance.questions.judges import Bits, Values, Within

OPSET = 17
Made = tuple[list[Any], list[Any]]


def write_case(folder: Path, case: Case, setting: Setting) -> bool:
    """Write a case as ONNX test data; False where ONNX has no such op."""
    problem = make_problem(case, setting)
    written = False
    for i, question in enumerate(problem.questions):
        expected = _expected(question)
        made = _nodes(question.call, setting)
        if made is None or expected is None:
            continue
        name = case.id if len(problem.questions) == 1 else f"{case.id}.{i}"
        _write(folder / name, name, question.call, made, expected)
        written = True
    return written


def shift_nodes(d: Array, T: int) -> Made:
    """A zero-filled shift as one slice and pad per run of equal d, joined again."""
    nodes, parts, constants = [], [], []
    edges = [0, *(np.flatnonzero(np.diff(d)) + 1).tolist(), len(d)]
    for i, (low, high) in enumerate(pairwise(edges)):
        step = int(np.clip(d[low], -T, T))
        begin, end = max(-step, 0), T - max(step, 0)
        pads = [0, 0, max(step, 0), 0, 0, 0, 0, max(-step, 0), 0, 0]
        for key, value in (("from", [low, begin]), ("to", [high, end]), ("pads", pads)):
            constants.append(numpy_helper.from_array(np.array(value, np.int64), f"{key}{i}"))
        nodes.append(helper.make_node("Slice", ["x", f"from{i}", f"to{i}", "axes"], [f"part{i}"]))
        nodes.append(helper.make_node("Pad", [f"part{i}", f"pads{i}"], [f"moved{i}"]))
        parts.append(f"moved{i}")
    constants.append(numpy_helper.from_array(np.array([1, 2], np.int64), "axes"))
    nodes.append(helper.make_node("Concat", parts, ["y"], axis=1))
    return nodes, constants


def _nodes(call: Call, setting: Setting) -> Made | None:
    if call.operation == "temporal_shift" and setting.conventions.fill == "zero":
        x = call.inputs["x"]
        d = setting.conventions.d(x.shape[1], call.attributes["fold_div"])
        return shift_nodes(d, x.shape[2]) if x.ndim == 5 and x.dtype == np.float32 else None
    rule = _RULES.get(call.operation)
    if rule is None:
        return None
    op, attributes, inputs = rule(call)
    return [helper.make_node(op, inputs or list(call.inputs), ["y"], **attributes)], []


def _conv(call: Call) -> tuple[str, dict[str, Any], list[str]]:
    a = call.attributes
    where = {"strides": a["stride"], "pads": [*a["padding"]] * 2, "dilations": a["dilation"]}
    return "Conv", where | {"group": a["groups"]}, []


def _pool(op: str) -> Callable[[Call], tuple[str, dict[str, Any], list[str]]]:
    def rule(call: Call) -> tuple[str, dict[str, Any], list[str]]:
        a = call.attributes
        where: dict[str, Any] = {"kernel_shape": a["kernel"], "strides": a["stride"]}
        where |= {"pads": [*a["padding"]] * 2, "ceil_mode": int(a.get("ceil_mode", False))}
        if op == "AveragePool":
            where["count_include_pad"] = int(a.get("count_include_pad", True))
        return op, where, []

    return rule


def _batch_norm(call: Call) -> tuple[str, dict[str, Any], list[str]]:
    names = ["x", "scale", "shift", "mean", "variance"]
    return "BatchNormalization", {"epsilon": call.attributes["eps"]}, names


def _plain(op: str, **attributes: Any) -> Callable[[Call], tuple[str, dict[str, Any], list[str]]]:
    return lambda call: (op, attributes, [])


_RULES: Mapping[str, Callable[[Call], tuple[str, dict[str, Any], list[str]]]] = {
    "conv": _conv,
    "max_pool": _pool("MaxPool"),
    "avg_pool": _pool("AveragePool"),
    "batch_norm": _batch_norm,
    "relu": _plain("Relu"),
    "sigmoid": _plain("Sigmoid"),
    "tanh": _plain("Tanh"),
    "hard_swish": _plain("HardSwish"),
    "hard_sigmoid": _plain("HardSigmoid", alpha=1 / 6, beta=0.5),
    "leaky_relu": lambda call: ("LeakyRelu", {"alpha": call.attributes["slope"]}, []),
    "softmax": lambda call: ("Softmax", {"axis": call.attributes["axis"]}, []),
    "consensus": _plain("ReduceMean", axes=[2], keepdims=0),
    "global_avg_pool": _plain("ReduceMean", axes=[3, 4], keepdims=0),
}


def _expected(question: Question) -> Array | None:
    judge = question.judge
    if isinstance(judge, (Bits, Values)):
        return judge.expected
    if isinstance(judge, Within):
        return judge.expected.value.astype(judge.dtype)
    return None


def _write(folder: Path, name: str, call: Call, made: Made, expected: Array) -> None:
    nodes, constants = made
    inputs = [_value(key, x) for key, x in call.inputs.items()]
    graph = helper.make_graph(nodes, name, inputs, [_value("y", expected)], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = 8
    checker.check_model(model)
    data = folder / "test_data_set_0"
    data.mkdir(parents=True, exist_ok=True)
    save_model(model, folder / "model.onnx")
    for i, (key, x) in enumerate(call.inputs.items()):
        tensor = numpy_helper.from_array(np.ascontiguousarray(x), key)
        (data / f"input_{i}.pb").write_bytes(tensor.SerializeToString())
    tensor = numpy_helper.from_array(np.ascontiguousarray(expected), "y")
    (data / "output_0.pb").write_bytes(tensor.SerializeToString())


def _value(name: str, x: Array) -> Any:
    kind = helper.np_dtype_to_tensor_dtype(x.dtype) if x.size else TensorProto.FLOAT
    return helper.make_tensor_value_info(name, kind, x.shape)
