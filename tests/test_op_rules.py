"""Shape rules and costs of every op, against windows that are counted and sums done by hand."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tsm_ref.op_attributes import ACTIVATIONS
from tsm_ref.op_rules import window_sizes
from tsm_ref.ops_table import OPS, InTime

X = (2, 6, 8, 14, 10)


def counted(size, kernel, stride, before, after, dilation, ceil):
    """Windows counted one by one, as PyTorch does: with `ceil` the last may hang over behind, by
    less than a stride, where it begins inside the input or the padding in front of it."""
    reach = dilation * (kernel - 1) + 1
    count, start = 0, 0
    while True:
        hangs_over = start + reach - (size + before + after)
        if not (hangs_over < stride and start < size + before if ceil else hangs_over <= 0):
            return count
        count, start = count + 1, start + stride


@given(
    st.integers(1, 20),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(0, 3),
    st.integers(0, 3),
    st.integers(1, 3),
    st.booleans(),
)
def test_window_sizes_are_the_windows_that_can_be_counted(
    size, kernel, stride, before, after, dilation, ceil
):
    reach = dilation * (kernel - 1) + 1
    assume(max(before, after) < reach or not ceil)  # pools refuse more padding than window
    window = [size], [kernel], [stride], [before, after], [dilation], ceil
    if reach > size + before + after:
        with pytest.raises(ValueError, match=f"the window of {reach} is larger"):
            window_sizes(*window)
    else:
        expected = counted(size, kernel, stride, before, after, dilation, ceil)
        assert window_sizes(*window) == (expected,)


PADS = {"pads": (0, 1, 1, 0, 1, 1)}


POOL = {"kernel_shape": (1, 3, 3), "strides": (1, 2, 2), **PADS}


WHOLE = {"x_scale": 0.5, "y_scale": 0.5, "dtype": "uint8"}


SHAPES = [
    ("Conv", [X, (9, 6, 1, 3, 3)], PADS, (2, 9, 8, 14, 10)),
    ("Conv", [X, (9, 6, 1, 3, 3), (9,)], {"strides": (1, 2, 2)}, (2, 9, 8, 6, 4)),
    ("Conv", [X, (8, 3, 3, 1, 1)], {"group": 2, "pads": (2, 0, 0, 0, 0, 0)}, (2, 8, 8, 14, 10)),
    ("Conv", [X, (8, 6, 3, 1, 1)], {"dilations": (2, 1, 1)}, (2, 8, 4, 14, 10)),
    ("MaxPool", [X], POOL, (2, 6, 8, 7, 5)),
    ("MaxPool", [X], POOL | {"pads": (0,) * 6, "ceil_mode": True}, (2, 6, 8, 7, 5)),
    ("AveragePool", [X], POOL | {"pads": (0,) * 6}, (2, 6, 8, 6, 4)),
    ("MaxPool", [X], {"kernel_shape": (3, 1, 1), "strides": (2, 1, 1)}, (2, 6, 3, 14, 10)),
    ("GlobalAveragePool", [X], {}, (2, 6, 8, 1, 1)),
    ("Flatten", [X], {}, (2, 840, 8)),
    ("Linear", [(2, 6, 8), (5, 6)], {}, (2, 5, 8)),
    ("Linear", [(2, 6, 8), (5, 6), (5,)], {}, (2, 5, 8)),
    ("FrameTuple", [(2, 5, 8)], {"frames": (0, 3, 7)}, (2, 15, 1)),
    ("Consensus", [(2, 5, 8)], {}, (2, 5)),
    ("Consensus", [(2, 5, 8)], {"over": "last"}, (2, 5)),
    ("LogSoftmax", [(2, 5)], {}, (2, 5)),
    ("Squeeze", [(2, 1, 8)], {"axes": (1,)}, (2, 8)),
    ("Add", [X, (2, 6, 8, 1, 1)], {}, X),
    ("Mul", [(2, 1, 1, 14, 10), (2, 6, 8, 1, 1)], {}, X),
    ("BatchNormalization", [X, *[(6,)] * 4], {}, X),
    ("TemporalShift", [X], {"d": (1,) * 6, "segment": 4}, X),
    ("AttentionMask", [X], {}, X),
    ("NonLocal", [X, (2, 6, 8, 7, 5), (2, 4, 8, 7, 5)], {}, (2, 4, 8, 14, 10)),
    ("FusedConv", [X, (9, 6, 1, 1, 1), (9,), (2, 9, 8, 14, 10)], {"d": (1,) * 6}, (2, 9, *X[2:])),
    *[(op, [X], {}, X) for op in ACTIVATIONS if op != "Clip"],
    ("QuantizeLinear", [X], {"y_scale": 0.5, "dtype": "int8"}, X),
    ("DequantizeLinear", [X], {"x_scale": 0.5}, X),
    ("QLinearConv", [X, (9, 6, 1, 3, 3), (9,), (9,)], WHOLE | PADS, (2, 9, 8, 14, 10)),
    ("QLinearMatMul", [(2, 6, 8), (5, 6), (5,), (5,)], WHOLE, (2, 5, 8)),
    ("QLinearAdd", [X, (2, 6, 8, 1, 1)], WHOLE | {"other_scale": 0.5}, X),
    ("QLinearMul", [X, X], WHOLE | {"other_scale": 0.5}, X),
    ("QLinearAveragePool", [X], WHOLE | POOL, (2, 6, 8, 7, 5)),
    ("QLinearGlobalAveragePool", [X], WHOLE, (2, 6, 8, 1, 1)),
    ("QLinearGlobalAveragePool", [X], WHOLE | {"rule": "xnnpack"}, (2, 6, 8, 1, 1)),
    ("QLinearAdd", [X, X], WHOLE | {"other_scale": 0.5, "rule": "xnnpack"}, X),
    ("LookUp", [X, (256,)], {"dtype": "uint8"}, X),
    ("DynamicQuantizeConv", [X, (9, 6, 1, 3, 3), (9,)], PADS, (2, 9, 8, 14, 10)),
    ("DynamicQuantizeConv", [X, (9, 6, 1, 3, 3), (9,), (9,)], PADS, (2, 9, 8, 14, 10)),
    ("DynamicQuantizeMatMul", [(2, 6, 8), (5, 6), (5,), (5,)], {}, (2, 5, 8)),
]


@pytest.mark.parametrize(("op", "inputs", "attrs", "expected"), SHAPES)
def test_shapes(op, inputs, attrs, expected):
    OPS[op].check(len(inputs), attrs)
    assert OPS[op].shape(inputs, attrs) == expected
    if OPS[op].keeps_shape:
        assert expected == inputs[0]
    if OPS[op].in_time is InTime.FRAME:
        frames = max(x[2:3] for x in inputs[: 1 + ("b" in OPS[op].inputs)])
        assert set(frames) <= set(expected)


REFUSED = [
    ("QLinearAdd", [X, X], WHOLE | {"other_scale": 0.5, "rule": "tflite"}, "cannot be added by"),
    ("QLinearAdd", [X, X], WHOLE | {"other_scale": 1e9, "rule": "xnnpack"}, "cannot be added by"),
    ("QLinearAveragePool", [X], WHOLE | POOL | PADS | {"rule": "xnnpack"}, "without padding"),
    ("QLinearGlobalAveragePool", [X], WHOLE | {"rule": "tflite", "y_scale": 9.0}, "in the steps"),
    ("Conv", [(2, 6, 8), (9, 6, 1, 3, 3)], {}, r"the input must be \(N, C, T, H, W\), not"),
    ("Conv", [X, (9, 6, 3, 3)], {}, "the weight must be"),
    ("Conv", [X, (9, 5, 1, 3, 3)], {}, "cannot read 6 channels"),
    ("Conv", [X, (9, 2, 1, 1, 1)], {"group": 3}, None),
    ("Conv", [X, (8, 2, 1, 1, 1)], {"group": 3}, "in 3 group"),
    ("Conv", [X, (9, 6, 1, 3, 3), (8,)], {}, r"the bias has shape \(8,\); expected \(9,\)"),
    ("Conv", [X, (9, 6, 9, 1, 1)], {}, "the window of 9 is larger than the padded size 8"),
    ("MaxPool", [(2, 6)], POOL, "the input must be"),
    ("MaxPool", [X], POOL | {"pads": (1, 0, 0, 0, 0, 0)}, "the padding .* must be smaller"),
    ("AveragePool", [X], POOL | {"pads": (0, 0, 0, 0, 0, 3)}, "the padding .* must be smaller"),
    ("GlobalAveragePool", [(2, 6, 8)], {}, "the input must be"),
    ("Flatten", [(2, 6, 8)], {}, "the input must be"),
    ("Linear", [(2, 6, 8), (5, 7)], {}, "cannot read"),
    ("Linear", [X, (5, 6)], {}, "cannot read"),
    ("Linear", [(2, 6, 8), (5, 6), (6,)], {}, "the bias has shape"),
    ("FrameTuple", [(2, 5, 8)], {"frames": (0, 8)}, r"are not in \(2, 5, 8\)"),
    ("FrameTuple", [X], {"frames": (0,)}, r"must be \(N, C, T\)"),
    ("Consensus", [X], {}, r"must be \(N, K, T\)"),
    ("Squeeze", [(2, 3, 8)], {"axes": (1,)}, "not all of size 1"),
    ("Squeeze", [(1, 1, 8)], {"axes": (0,)}, "the batch"),
    ("Squeeze", [(2, 1, 8)], {"axes": (3,)}, "not all of size 1"),
    ("Add", [X, (2, 6, 8)], {}, "cannot be combined"),
    ("Add", [X, (2, 5, 8, 14, 10)], {}, "cannot be combined"),
    ("Concat", [X, (2, 5, 8, 14, 9)], {}, "cannot be put together"),
    ("BatchNormalization", [X, (6,), (6,), (5,), (6,)], {}, r"must have shape \(6,\)"),
    ("TemporalShift", [X], {"d": (1,) * 5}, "5 shifts cannot move the 6 channels"),
    ("TemporalShift", [(2, 6)], {"d": (1,) * 6}, "cannot move"),
    ("TemporalShift", [X], {"d": (1,) * 6, "segment": 3}, "8 frames are not a multiple of"),
    ("NonLocal", [X, (2, 5, 8, 7, 5), (2, 4, 8, 7, 5)], {}, "do not fit together"),
    ("NonLocal", [X, (2, 6, 8, 7, 5), (2, 4, 8, 7, 4)], {}, "do not fit together"),
    ("NonLocal", [X, (3, 6, 8, 7, 5), (3, 4, 8, 7, 5)], {}, "do not fit together"),
    ("NonLocal", [X, (2, 6, 8), (2, 4, 8)], {}, "must be"),
    ("AttentionMask", [(2, 6, 8)], {}, "the input must be"),
    ("Softmax", [(2, 6, 8)], {"axis": 3}, "axis"),
    ("Softmax", [(2, 6, 8)], {"axis": 0}, "axis"),
    ("FusedConv", [X, (9, 6, 1, 1, 1), (9,), X], {}, "the residual has shape"),
    ("FusedConv", [X, (9, 6, 1, 1, 1), (9,)], {"d": (1,)}, "1 shifts cannot move"),
    ("QLinearConv", [X, (9, 6, 1, 1, 1), (9,), (9,)], {"d": (1,)}, "1 shifts cannot move"),
    ("QLinearConv", [X, (9, 6, 1, 1, 1), (6,), (9,)], {}, r"scales have shape \(6,\); expected"),
    ("QLinearMatMul", [(2, 6, 8), (5, 6), (5,), (6,)], {}, "the bias has shape"),
    ("QLinearMatMul", [(2, 6, 8), (5, 6), (6,), (5,)], {}, "scales have shape"),
    ("LookUp", [X, (255,)], {}, "the table has shape"),
]


@pytest.mark.parametrize(("op", "inputs", "attrs", "message"), REFUSED)
def test_what_does_not_fit_is_said(op, inputs, attrs, message):
    if message is None:
        OPS[op].shape(inputs, attrs)
        return
    with pytest.raises(ValueError, match=message):
        OPS[op].shape(inputs, attrs)


MACS = [
    ("Conv", [X, (9, 6, 1, 3, 3)], PADS, 2 * 9 * 8 * 14 * 10 * 6 * 9),
    ("Conv", [X, (6, 1, 1, 3, 3)], {"group": 6, **PADS}, 2 * 6 * 8 * 14 * 10 * 9),
    ("Conv", [X, (8, 6, 3, 1, 1)], {"strides": (2, 1, 1)}, 2 * 8 * 3 * 14 * 10 * 6 * 3),
    ("FusedConv", [X, (9, 6, 1, 1, 1), (9,)], {}, 2 * 9 * 8 * 14 * 10 * 6),
    ("Linear", [(2, 6, 8), (5, 6), (5,)], {}, 2 * 8 * 5 * 6),
    ("QLinearConv", [X, (9, 6, 1, 1, 1), (9,), (9,)], {}, 2 * 9 * 8 * 14 * 10 * 6),
    ("QLinearMatMul", [(2, 6, 8), (5, 6), (5,), (5,)], {}, 2 * 8 * 5 * 6),
    (
        "NonLocal",
        [X, (2, 6, 8, 7, 5), (2, 4, 8, 7, 5)],
        {},
        2 * (8 * 14 * 10) * (8 * 7 * 5) * (6 + 4),
    ),
    ("TemporalShift", [X], {"d": (1,) * 6}, 0),
    ("MaxPool", [X], POOL, 0),
    ("Add", [X, X], {}, 0),
    ("Concat", [X, X], {}, 0),
]


@pytest.mark.parametrize(("op", "inputs", "attrs", "expected"), MACS)
def test_multiply_accumulates(op, inputs, attrs, expected):
    output = OPS[op].shape(inputs, attrs)
    assert OPS[op].macs(inputs, output, attrs) == expected
