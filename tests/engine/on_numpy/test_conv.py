"""Convolutions of the NumPy engine, against the oracle's shift, convolution and activations."""

import tracemalloc
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.judging import U32, assert_within
from tests.strategies import ACTIVATIONS, EXACT, FILLS, ConvCase, conv_cases
from tsm_ref import reference as ref
from tsm_ref.engine.on_numpy import conv as room
from tsm_ref.engine.on_numpy.conv import conv_step
from tsm_ref.graph import Node
from tsm_ref.reference import bounds
from tsm_ref.reference.bounded import Bounded

CLAMPS = {"LeakyRelu": "leaky_relu", "HardSwish": "hard_swish", "HardSigmoid": "hard_sigmoid"}


def computed(case: ConvCase, arrays: list[np.ndarray], dtype=np.float32) -> np.ndarray:
    """What the engine makes of each clip; the output is full of NaN before."""
    x, weight, bias, *residual = (value.astype(dtype) for value in arrays)
    y = np.full(case.y, np.nan, dtype)
    for n in range(len(x)):
        skip = residual[0][n] if residual else None
        conv_step(case.node, x[n], weight, bias, skip, y[n])()
    return y


def shifted(x: np.ndarray, attrs: dict) -> np.ndarray:
    """The oracle's shift, in each segment by itself."""
    if "d" not in attrs:
        return x
    length = attrs["segment"] or x.shape[2]
    parts = [x[:, :, t : t + length] for t in range(0, x.shape[2], length)]
    moved = [ref.temporal_shift(part, attrs["d"], attrs["fill"]) for part in parts]
    return np.concatenate(moved, axis=2)


def expected(case: ConvCase, arrays: list[np.ndarray], u: float = U32) -> Bounded:
    """The oracle's result, step by step, with its bound."""
    x, weight, bias, *residual = arrays
    attrs = case.node.attrs
    pads = tuple(zip(attrs["pads"][:3], attrs["pads"][3:], strict=True))
    window = attrs["strides"], pads, attrs["dilations"], attrs["group"]
    y = bounds.conv(Bounded.exact(shifted(x, attrs)), weight, bias, *window, u=u)
    if residual:
        y = bounds.add(y, Bounded.exact(residual[0]), u=u)
    op = attrs["activation"]
    if op == "Clip":
        return Bounded(np.clip(y.value, attrs["min"], attrs["max"]), y.variance)
    if op == "LeakyRelu":
        return bounds.leaky_relu(y, attrs["alpha"], u=u)
    return getattr(bounds, CLAMPS.get(op, op.lower()))(y, u=u) if op else y


@given(conv_cases(EXACT), st.sampled_from([64, 700, 1 << 20]), st.sampled_from([1, 8, 256]))
def test_integers_are_exact_in_blocks_of_any_size(case, block, columns):
    """Small integers leave nothing to rounding: every bit is decided by which values are summed."""
    arrays = case.arrays(integers=True)
    with patch.multiple(room, BLOCK_BYTES=block, PASS_BYTES=block, MIN_COLUMNS=columns):
        y = computed(case, arrays)
    np.testing.assert_array_equal(y, expected(case, arrays).value)


@given(conv_cases())
def test_every_convolution_is_within_the_bound_of_the_oracle(case):
    arrays = case.arrays()
    assert expected(case, arrays).used(computed(case, arrays)) <= 1


KINDS = {
    "pointwise": ((2, 24, 6, 20, 17), (9, 24, 1, 1, 1), {}),
    "pointwise, strided": ((1, 24, 6, 20, 17), (9, 24, 1, 1, 1), {"strides": (1, 2, 2)}),
    "pointwise, strided in time": ((1, 8, 9, 6, 5), (9, 8, 1, 1, 1), {"strides": (2, 1, 1)}),
    "depthwise, strided in time": (
        (1, 8, 9, 6, 5),
        (8, 1, 1, 3, 3),
        {"strides": (2, 1, 1), "group": 8},
    ),
    "dense": ((2, 24, 6, 20, 17), (9, 24, 1, 3, 3), {"pads": (0, 1, 1, 0, 1, 1)}),
    "grouped": ((1, 24, 6, 20, 17), (8, 6, 1, 3, 3), {"group": 4, "pads": (0, 1, 0, 0, 0, 1)}),
    "depthwise": ((2, 24, 6, 20, 17), (24, 1, 1, 3, 3), {"group": 24, "pads": (0, 1, 1, 0, 1, 1)}),
    "depthwise, strided": (
        (1, 24, 6, 21, 17),
        (24, 1, 1, 5, 5),
        {"group": 24, "pads": (0, 2, 1, 0, 1, 2), "strides": (1, 2, 2)},
    ),
    "temporal": ((1, 24, 7, 9, 8), (9, 24, 3, 1, 1), {"pads": (1, 0, 0, 1, 0, 0)}),
    "dilated in time": (
        (1, 6, 9, 5, 6),
        (4, 6, 3, 1, 1),
        {"pads": (2, 0, 0, 1, 0, 0), "dilations": (3, 1, 1)},
    ),
    "dilated in space": (
        (2, 6, 3, 13, 14),
        (4, 6, 1, 3, 2),
        {"pads": (0, 2, 1, 0, 0, 3), "dilations": (1, 2, 5), "strides": (1, 2, 1)},
    ),
    "3-D, strided in time": (
        (1, 8, 9, 9, 8),
        (9, 8, 3, 3, 3),
        {"pads": (2, 1, 1, 0, 1, 1), "strides": (2, 1, 1)},
    ),
}


def a_case(kind: str, **attrs) -> ConvCase:
    x, weight, own = KINDS[kind]
    whole = {"strides": (1, 1, 1), "pads": (0,) * 6, "dilations": (1, 1, 1), "group": 1}
    whole |= {"activation": "", **own, **attrs}
    pads, strides = whole["pads"], whole["strides"]
    reach = [d * (k - 1) + 1 for d, k in zip(whole["dilations"], weight[2:], strict=True)]
    y = [(x[i + 2] + pads[i] + pads[i + 3] - reach[i]) // strides[i] + 1 for i in range(3)]
    node = Node("y", "FusedConv", ("x", "w", "b", "r"), whole)
    return ConvCase(node, x, weight, (x[0], weight[0], *y), seed=7)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("op", "limits"), ACTIVATIONS)
def test_every_kind_applies_every_activation(kind, op, limits):
    case = a_case(kind, activation=op, **limits)
    arrays = case.arrays()
    assert_within(computed(case, arrays), expected(case, arrays))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("segment", [0, 3])
def test_every_kind_reads_through_every_shift(kind, fill, segment):
    channels, frames = KINDS[kind][0][1:3]
    d = tuple(int(v) for v in np.resize([-1, -1, 1, 0, 2, -3, 9], channels))
    segment = segment if frames % 3 == 0 else 0
    case = a_case(kind, d=d, fill=fill, segment=segment)
    arrays = case.arrays(integers=True)
    np.testing.assert_array_equal(computed(case, arrays), expected(case, arrays).value)


def test_float64_is_computed_in_float64():
    case = a_case("dense")
    arrays = case.arrays()
    y = computed(case, arrays, np.float64)
    assert_within(y, expected(case, arrays, np.finfo(np.float64).eps / 2))


def test_a_step_leaves_its_input_as_it_was():
    for kind in KINDS:
        case = a_case(kind, activation="Relu")
        arrays = case.arrays()
        kept = [value.copy() for value in arrays]
        computed(case, arrays)
        for value, before in zip(arrays, kept, strict=True):
            assert value.tobytes() == before.tobytes()


BIG = {
    "3x3": ((64, 8, 112, 112), (16, 64, 1, 3, 3), {"pads": (0, 1, 1, 0, 1, 1)}),
    "shifted 1x1": ((64, 8, 112, 112), (16, 64, 1, 1, 1), {"d": (-1, 1) * 32}),
    "depthwise": (
        (64, 8, 112, 112),
        (64, 1, 1, 3, 3),
        {"pads": (0, 1, 1, 0, 1, 1), "group": 64},
    ),
}


@pytest.mark.parametrize("kind", BIG)
def test_temporaries_are_blocks_not_the_whole_im2col(kind):
    """The im2col of the 3x3 would be 231 MB, a shifted copy of the input 26 MB."""
    shape, weight_shape, attrs = BIG[kind]
    x = np.ones(shape, np.float32)
    weight = np.ones(weight_shape, np.float32)
    bias = np.zeros(weight_shape[0], np.float32)
    y = np.zeros((weight_shape[0], *shape[1:]), np.float32)
    node = Node("y", "FusedConv", ("x", "w", "b"), attrs)
    room._memory.__dict__.clear()  # the panel counts too
    tracemalloc.start()
    try:
        conv_step(node, x, weight, bias, None, y)()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < room.BLOCK_BYTES + 5 * 2**20
    inner = np.prod(weight_shape[1:])  # of ones
    assert y[0, 4, 56, 56] == inner
