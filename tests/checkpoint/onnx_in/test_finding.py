"""Which movements of elements are a shift, and which are none."""

import numpy as np
import pytest

from tests.checkpoint.onnx_in.sketch import C, Check, Sketch, T, d_of, refusal


def test_a_shift_with_two_readers_is_one_shift(check: Check) -> None:
    s = Sketch((8, 3, 12, 12))
    x = s.reshape(s.shift(s.stem(), 144), -1, C, 12, 12)
    a, b = (s.do("Conv", x, s.random(C, C, 1, 1)) for _ in range(2))
    assert len(d_of(check(s, s.head(s.do("Add", s.do("Add", a, b), x))))) == 1


def test_a_shift_that_mixes_clips_is_no_shift(check: Check) -> None:
    """Rows are moved across the border of the clips."""
    s = Sketch((8, 3, 12, 12))
    x = s.stem()
    x = s.do("Concat", s.cut(x, 1, 8, 0), s.cut(x, 0, 1, 0), axis=0)
    y = s.reshape(s.shift(s.stem(), 144), -1, C, 12, 12)
    text = refusal(check, s, s.head(s.do("Conv", s.do("Add", x, y), s.random(C, C, 1, 1))))
    assert "no temporal shift and no known layout" in text


@pytest.mark.parametrize("axis", [2, 3])
def test_pictures_that_are_joined_beside_each_other_are_no_channels(
    check: Check, axis: int
) -> None:
    """No weight behind them could tell: what is joined must be the channels."""
    s = Sketch((8, 3, 12, 12))
    text = refusal(check, s, s.do("Relu", s.do("Concat", s.stem(), s.stem(), axis=axis)))
    assert "no temporal shift and no known layout" in text


def test_channels_that_are_swapped_are_no_shift(check: Check) -> None:
    s = Sketch((8, 3, 12, 12))
    x = s.do("Gather", s.stem(), s.const(np.array([1, 0, *range(2, C)])), axis=1)
    found = check(s, s.head(s.do("Conv", x, s.random(C, C, 1, 1))))
    assert d_of(found) == []
    swap = found.weights[found.graph.nodes[2].inputs[1]][:, :, 0, 0, 0]
    np.testing.assert_array_equal(swap, np.eye(C)[[1, 0, *range(2, C)]])


def test_pictures_that_are_mirrored_are_no_shift(check: Check) -> None:
    s = Sketch((8, 3, 12, 12))
    x = s.do("Gather", s.stem(), s.const(np.arange(12)[::-1].copy()), axis=3)
    text = refusal(check, s, s.head(s.do("Conv", x, s.random(C, C, 1, 1))))
    assert "no temporal shift and no known layout" in text


def test_a_constant_among_data_is_no_shift(check: Check) -> None:
    s = Sketch((8, 3, 12, 12))
    x = s.do("Concat", s.cut(s.stem(), 0, 7, 1), s.const(np.ones((8, 1, 12, 12))), axis=1)
    text = refusal(check, s, s.head(s.do("Conv", x, s.random(C, C, 1, 1))))
    assert "joins a constant that is not zero to data" in text


def test_padding_with_ones_is_no_shift(check: Check) -> None:
    s = Sketch((8, 3, 12, 12))
    pads = s.const(np.array([0, 1, 0, 0, 0, 0, 0, 0]))
    x = s.cut(s.do("Pad", s.stem(), pads, s.const(np.float32(1))), 0, C, 1)
    text = refusal(check, s, s.head(s.do("Conv", x, s.random(C, C, 1, 1))))
    assert "pads with 1.0" in text


def test_two_fills_in_one_shift_are_no_shift(check: Check) -> None:
    """The first fold goes round, the second is filled with zeros."""
    s = Sketch((8, 3, 12, 12))
    x = s.reshape(s.stem(), -1, T, C, 144)
    first = s.cut(x, 0, 1, 2)
    first = s.do("Concat", s.cut(first, 1, 9, 1), s.cut(first, 0, 1, 1), axis=1)
    rest = s.cut(s.reshape(s.shift(s.reshape(x, -1, C, 12, 12), 144), -1, T, C, 144), 1, C, 2)
    x = s.reshape(s.do("Concat", first, rest, axis=2), -1, C, 12, 12)
    text = refusal(check, s, s.head(s.do("Conv", x, s.random(C, C, 1, 1))))
    assert "no temporal shift and no known layout" in text


def test_a_state_that_nothing_hands_on(check: Check) -> None:
    s = Sketch((2, 3, 12, 12))
    s.inputs["old"] = (2, 1, 12, 12)
    x = s.do("Concat", "old", s.cut(s.stem(), 1, C, 1), axis=1)
    rows = s.do("Flatten", s.do("GlobalAveragePool", s.do("Conv", x, s.random(C, C, 1, 1))))
    text = refusal(check, s, s.do("Gemm", rows, s.random(5, C), transB=1))
    assert "no output hands the state 'old' on" in text
