"""ONNX's own node tests: every one of an op that we support passes, on both engines."""

import warnings
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx.backend.base import Backend

from tsm_ref.checkpoint.onnx_in.load import SUPPORTED
from tsm_ref.errors import CheckpointError
from tsm_ref.model.onnx_backend import FORMS, TsmBackend, prepare, unsupported

COMPILED = ("Conv", "MaxPool", "AveragePool", "GlobalAveragePool", "Gemm", "Relu", "Clip")
"""Ops for which the Numba engine has kernels of its own."""


STEPS = (
    *("QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul"),
    *("DynamicQuantizeLinear", "ConvInteger", "MatMulInteger"),
)
"""Ops whose node tests give scales and zero points as inputs, or hold types that are refused, or
are half of what is one layer here: a rounding at run time and the product of whole numbers.
"""


@cache
def node_tests() -> dict[str, list[Any]]:
    """ONNX's node tests of one op each, by op."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.loader import load_model_tests

        found: dict[str, list[Any]] = {}
        for case in load_model_tests(kind="node"):
            if case.model is not None and len(case.model.graph.node) == 1:
                found.setdefault(case.model.graph.node[0].op_type, []).append(case)
    return found


def supported(op: str) -> Iterator[Any]:
    return (case for case in node_tests().get(op, []) if not unsupported(case.model))


def widened(value: Any) -> Any:
    from onnx import numpy_helper

    array = numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.asarray(value)
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def check(case: Any, engine: str) -> None:
    rep = prepare(case.model, engine=engine)
    for inputs, outputs in case.data_sets:
        with np.errstate(all="ignore"):
            made = rep.run(list(inputs))
        assert len(made) == len(outputs), case.name
        for found, expected in zip(made, map(widened, outputs), strict=True):
            assert found.shape == expected.shape, case.name
            np.testing.assert_allclose(
                found.astype(np.float64) if found.dtype.kind == "f" else found,
                expected,
                rtol=case.rtol,
                atol=case.atol,
                err_msg=case.name,
            )


@pytest.mark.parametrize("op", sorted(SUPPORTED))
def test_every_node_test_of_a_supported_op_passes(op: str) -> None:
    for case in supported(op):
        check(case, "numpy")


@pytest.mark.parametrize("op", COMPILED)
def test_they_pass_on_the_compiled_engine_too(op: str) -> None:
    assert any(supported(op))
    for case in supported(op):
        check(case, "numba")


def test_most_of_them_are_run() -> None:
    """What is left out is listed by op and form; a rule that grew too wide would show here."""
    run = Counter({op: sum(1 for _ in supported(op)) for op in SUPPORTED})
    whole = Counter({op: len(node_tests().get(op, [])) for op in SUPPORTED})
    assert sum(run.values()) >= 380
    casts = sum(whole[op] - run[op] for op in ("Cast", "CastLike"))
    steps = sum(whole[op] - run[op] for op in STEPS)
    assert whole.total() - run.total() - casts - steps <= 62
    never = {op for op in SUPPORTED if whole[op] and not run[op]}
    assert never <= {"Not", "PRelu", *STEPS}


def test_every_form_that_is_left_out_has_a_test_there() -> None:
    left_out = Counter(unsupported(case.model) for op in FORMS for case in node_tests().get(op, []))
    for op, forms in FORMS.items():
        for words, _ in forms:
            assert left_out[f"{op} {words}"], f"{op} {words}"


def test_the_backend_says_what_it_is() -> None:
    assert issubclass(TsmBackend, Backend)
    assert TsmBackend.supports_device("CPU")
    assert not TsmBackend.supports_device("CUDA")


def test_a_model_of_another_op_is_not_compatible() -> None:
    x, y = (helper.make_tensor_value_info(name, 1, [2, 3]) for name in "xy")
    for op, compatible in (("Relu", True), ("Det", False)):
        node = helper.make_node(op, ["x"], ["y"])
        model = helper.make_model(helper.make_graph([node], "g", [x], [y]))
        assert TsmBackend.is_compatible(model) is compatible
    with pytest.raises(CheckpointError, match="'Det' is not supported"):
        prepare(model)


def test_inputs_by_name_and_alone() -> None:
    x, y = (helper.make_tensor_value_info(name, 1, [2, 3]) for name in "xy")
    model = helper.make_model(
        helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    )
    value = np.array([[-1, 0, 1], [2, -2, 3]], np.float32)
    for given in ({"x": value}, [value], value):
        (found,) = TsmBackend.run_model(model, given)
        np.testing.assert_array_equal(found, np.maximum(value, 0))
