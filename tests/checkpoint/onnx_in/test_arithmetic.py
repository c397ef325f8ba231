"""Sums and products in ONNX graphs, of values and of constants beside them."""

import numpy as np

from tests.checkpoint.onnx_in.sketch import C, Check, Sketch, ops, refusal


def test_hard_swish_written_out(check: Check) -> None:
    """x * clip(x + 3, 0, 6) / 6, as exporters wrote it before there was an op."""
    s = Sketch((8, 3, 12, 12))
    x = s.do("Conv", "x", s.random(C, 3, 3, 3))
    gate = s.do("Add", x, s.const(np.float32(3)))
    gate = s.do("Clip", gate, s.const(np.float32(0)), s.const(np.float32(6)))
    check(s, s.head(s.do("Div", s.do("Mul", x, gate), s.const(np.float32(6)))))


def test_squeeze_and_excitation(check: Check) -> None:
    s = Sketch((8, 3, 12, 12))
    x = s.stem()
    gate = s.do("Relu", s.do("Conv", s.do("GlobalAveragePool", x), s.random(4, C, 1, 1)))
    gate = s.do("HardSigmoid", s.do("Conv", gate, s.random(C, 4, 1, 1)), alpha=1 / 6)
    assert "Mul" in ops(check(s, s.head(s.do("Mul", gate, x))))


def test_normalising_constants(check: Check) -> None:
    """(1 - (x - mean) / std) * 2 + offset, per channel, before the first layer."""
    s = Sketch((8, 3, 12, 12))
    x = s.do("Sub", "x", s.const(np.array([[[0.4]], [[0.5]], [[0.6]]])))
    x = s.do("Div", x, s.const(np.full((1, 3, 1, 1), 0.25)))
    x = s.do("Sub", s.const(np.float32(1)), x)
    x = s.do("Add", s.do("Mul", s.const(np.float32(2)), x), s.const(np.zeros((3, 1, 1)) - 1))
    check(s, s.head(s.stem(x)))


def test_constants_with_a_number_for_each_frame(check: Check) -> None:
    """As an attention over time has them."""
    s = Sketch((2, 3, 4, 12, 12))
    x = s.do("Conv", "x", s.random(C, 3, 1, 3, 3))
    x = s.do("Relu", s.do("Add", x, s.random(1, 1, 4, 1, 1)))
    found = check(s, s.do("Mul", s.random(4, 1, 1), x))
    assert ops(found) == ["Conv", "Add", "Relu", "Mul"]


def test_subtracting_data(check: Check) -> None:
    s = Sketch((8, 3, 12, 12))
    check(s, s.head(s.do("Sub", s.stem(), s.stem())))


def test_a_bias_of_its_own_joins_its_convolution(check: Check) -> None:
    s = Sketch((8, 3, 12, 12))
    x = s.do("Add", s.do("Conv", "x", s.random(C, 3, 3, 3)), s.random(1, C, 1, 1))
    found = check(s, s.head(s.do("Relu", x)))
    assert ops(found)[:2] == ["Conv", "Relu"]
    assert len(found.graph.nodes[0].inputs) == 3


def test_constants_of_impossible_axes(check: Check) -> None:
    s = Sketch((8, 3, 12, 12))
    new = s.do("Unsqueeze", s.const(np.ones(3)), s.const(np.array([0, 0])))
    text = refusal(check, s, s.head(s.do("Add", s.stem(), new)))
    assert "the axes (0, 0) are not all different" in text
    s = Sketch((8, 3, 12, 12))
    deep = s.do("Unsqueeze", s.const(np.ones(3)), s.const(np.arange(39)))
    text = refusal(check, s, s.head(s.do("Add", s.stem(), s.do("Add", deep, deep))))
    assert "dimensions" in text


def test_constants_that_vary_in_space(check: Check) -> None:
    s = Sketch((8, 3, 12, 12))
    assert "varies along T, H or W" in refusal(
        check, s, s.head(s.do("Add", s.stem(), s.random(12, 12)))
    )


def test_dividing_by_data_or_zero(check: Check) -> None:
    s = Sketch((8, 3, 12, 12))
    assert "not the mean of a frame" in refusal(check, s, s.head(s.do("Div", s.stem(), s.stem())))
    s = Sketch((8, 3, 12, 12))
    assert "divides a constant, or by zero" in refusal(
        check, s, s.head(s.do("Div", s.stem(), s.const(np.float32(0))))
    )
