"""What is between dequantize and quantize becomes a layer of whole numbers that means the same."""

import numpy as np
import pytest

from tsm_ref.engine.oracle import run_oracle
from tsm_ref.graph import Graph, Input, Node
from tsm_ref.passes import streaming, whole_numbers

X = {"x_scale": 0.04, "x_zero_point": 100}
IN = {"y_scale": 0.04, "y_zero_point": 100, "dtype": "uint8"}
OUT = {"y_scale": 0.07, "y_zero_point": -3, "dtype": "int8"}
BOTH = (Node("q", "QuantizeLinear", ("x",), IN), Node("d", "DequantizeLinear", ("q",), X))
SUM = Node("c", "QLinearConv", ("q", "w", "s", "b"), {**X, "dtype": "float32"})
CLIP = {"min": -0.5, "max": 1.0}
POOL = {"kernel_shape": (1, 2, 2)}
SHAPES = {"w": (4, 4, 1, 1, 1), "s": (4,), "b": (4,), "lw": (4, 4), "k": (1, 4, 1, 1, 1)}


def graph(*nodes, outputs=("y",)):
    used = {name for node in nodes for name in node.inputs}
    shapes = {name: shape for name, shape in SHAPES.items() if name in used}
    return Graph("g", (Input("x", ("N", 4, "T", "H", "W")),), nodes, outputs, shapes)


def weights(made):
    rng = np.random.default_rng(0)
    kinds = {"w": lambda s: rng.integers(-99, 99, s).astype(np.int8),
             "b": lambda s: rng.integers(-999, 999, s).astype(np.int32)}  # fmt: skip
    real = lambda s: rng.uniform(0.002, 0.01, s).astype(np.float32)  # noqa: E731
    return {n: kinds.get(n[-1], real)(shape) for n, shape in made.parameters.items()}


def after(*nodes):
    last = nodes[-1].name if nodes else "d"
    return (*BOTH, *nodes, Node("y", "QuantizeLinear", (last,), OUT))


BECOMES = {
    "sum": (after(SUM), ["QuantizeLinear", "QLinearConv"]),
    "sum and relu": (after(SUM, Node("r", "Relu", ("c",))), ["QuantizeLinear", "QLinearConv"]),
    "sum and two clamps": (
        after(SUM, Node("r", "Clip", ("c",), CLIP), Node("r2", "Relu", ("r",))),
        ["QuantizeLinear", "QLinearConv"],
    ),
    "sum and another function": (
        after(SUM, Node("r", "HardSwish", ("c",))),
        ["QuantizeLinear", "QLinearConv", "HardSwish", "QuantizeLinear"],
    ),
    "addition": (after(Node("a", "Add", ("d", "d"))), ["QuantizeLinear", "QLinearAdd"]),
    "product": (after(Node("a", "Mul", ("d", "d"))), ["QuantizeLinear", "QLinearMul"]),
    "addition of a real": (
        after(Node("a", "Add", ("d", "x"))),
        ["QuantizeLinear", "DequantizeLinear", "Add", "QuantizeLinear"],
    ),
    "addition of a constant": (
        after(Node("a", "Add", ("d", "k"))),
        ["QuantizeLinear", "DequantizeLinear", "Add", "QuantizeLinear"],
    ),
    "mean": (
        after(Node("m", "AveragePool", ("d",), POOL)),
        ["QuantizeLinear", "QLinearAveragePool"],
    ),
    "global mean": (
        after(Node("m", "GlobalAveragePool", ("d",)), Node("r", "Relu", ("m",))),
        ["QuantizeLinear", "QLinearGlobalAveragePool"],
    ),
    "other steps": (after(), ["QuantizeLinear", "LookUp"]),
    "functions": (
        after(Node("h", "HardSwish", ("d",)), Node("r", "Sigmoid", ("h",))),
        ["QuantizeLinear", "LookUp"],
    ),
    "maximum, then others": (
        after(Node("m", "MaxPool", ("d",), POOL)),
        ["QuantizeLinear", "MaxPool", "LookUp"],
    ),
    "shift, then a sum of two": (
        after(
            Node("t", "TemporalShift", ("d",), {"d": (1, -1, 0, 0)}),
            Node("a", "Add", ("t", "d")),
        ),
        ["QuantizeLinear", "TemporalShift", "QLinearAdd"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BECOMES)
def test_what_becomes_of_a_layer(name):
    nodes, ops = BECOMES[name]
    before = graph(*nodes)
    values = weights(before)
    made, kept = whole_numbers(before, values)
    assert [node.op for node in made.nodes] == ops
    assert set(kept) == set(made.parameters)
    x = {"x": np.random.default_rng(1).standard_normal((2, 4, 3, 6, 5)).astype(np.float32) * 3}
    expected = run_oracle(before, values, x, np.float32)["y"]
    found = run_oracle(made, kept, x, np.float32)["y"]
    assert found.dtype == expected.dtype == np.int8
    apart = np.abs(found.astype(int) - expected)
    exact = "LookUp" in ops or ops == [node.op for node in before.nodes]
    assert apart.max() <= (0 if exact else 1)
    assert (apart > 0).mean() < 0.01


def test_a_shift_between_equal_steps_is_one_of_whole_numbers():
    shift = Node("t", "TemporalShift", ("d",), {"d": (1, -1, 0, 0)})
    conv = Node("y", "QLinearConv", ("q2", "w", "s", "b"), {**X, **OUT})
    before = graph(*BOTH, shift, Node("q2", "QuantizeLinear", ("t",), IN), conv)
    made, _ = whole_numbers(before, weights(before))
    assert [node.op for node in made.nodes] == ["QuantizeLinear", "TemporalShift", "QLinearConv"]
    assert made.node["t.quantised"].attrs["x_zero_point"] == 100
    assert {state.zero_point for state in streaming(made).states} == {100}


def test_values_that_others_read_stay_real():
    for nodes, outputs in (
        (after(SUM), ("y", "c")),
        ((*after(SUM), Node("z", "Relu", ("c",))), ("y", "z")),
        (after(Node("m", "AveragePool", ("d",), POOL)), ("y", "m")),
    ):
        before = graph(*nodes, outputs=outputs)
        made, _ = whole_numbers(before, weights(before))
        assert made.node["y"].op == "QuantizeLinear"
        assert made.outputs == outputs


def test_an_output_keeps_its_name():
    before = graph(*BOTH, Node("y", "QuantizeLinear", ("d",), IN))
    made, kept = whole_numbers(before, {})
    assert made.outputs == ("y",)
    x = {"x": np.linspace(-9, 9, 4 * 60, dtype=np.float32).reshape(1, 4, 3, 4, 5)}
    found = run_oracle(made, kept, x, np.float32)["y"]
    np.testing.assert_array_equal(found, run_oracle(before, {}, x, np.float32)["y"])
