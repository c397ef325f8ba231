"""Dynamic quantisation against the evaluator of the `onnx` package, and by its words."""

from typing import Any

import numpy as np
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

from tsm_ref.reference import dynamic


def by_onnx(x: Any) -> list[Any]:
    node = helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"])
    float32, uint8 = 1, 2
    outputs = [("q", uint8), ("scale", float32), ("zero", uint8)]
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", float32, None)],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    return list(ReferenceEvaluator(model).run(None, {"x": x}))


@pytest.mark.parametrize("seed", range(8))
def test_steps_are_those_of_onnx(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = (rng.normal(rng.normal(), 10.0 ** rng.integers(-6, 6), (3, 40))).astype(np.float32)
    x = np.abs(x) if seed == 2 else -np.abs(x) if seed == 3 else x
    q, scale, zero = dynamic.dynamic_quantize_linear(x)
    wanted = by_onnx(x)
    assert np.float32(scale) == wanted[1]
    assert zero == wanted[2]
    np.testing.assert_array_equal(q, wanted[0])


def test_zeros_alone_have_the_scale_one() -> None:
    assert dynamic.dynamic_steps(np.zeros(3)) == (1, 0)
    q, _, _ = dynamic.dynamic_quantize_linear(np.zeros(3))
    assert not q.any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_spoils_its_clip_and_no_other(bad: float) -> None:
    x = np.ones((2, 3, 4), np.float32)
    x[1, 0, 0] = bad
    found = dynamic.dynamic_linear(x, np.ones((2, 3), np.int8), np.ones(2))
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1]).all()


def test_every_clip_has_a_range_of_its_own() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 6, 3, 5, 5)).astype(np.float32)
    x[1] *= 100
    weight = rng.integers(-127, 128, (4, 3, 1, 3, 3)).astype(np.int8)
    how = (weight, np.full(4, 0.01), rng.normal(size=4), 1, (0, 1, 1), 1, 2)
    both = dynamic.dynamic_conv(x, *how)
    for i in range(2):
        np.testing.assert_array_equal(both[i : i + 1], dynamic.dynamic_conv(x[i : i + 1], *how))
