"""Every op of the NumPy engine by itself, against the oracle's function of the same name."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.judging import U32, assert_within
from tests.strategies import FILLS
from tsm_ref import reference as ref
from tsm_ref.engine.on_numpy.engine import NumpyEngine
from tsm_ref.engine.on_numpy.ops import STEPS
from tsm_ref.graph import Graph, Input, Node
from tsm_ref.ops_table import OPS
from tsm_ref.reference import bounds
from tsm_ref.reference.bounded import Bounded

SHAPE = (2, 6, 4, 7, 5)


def values(*shape: int, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def alone(op: str, *arrays: np.ndarray, parameters: dict | None = None, **attrs) -> np.ndarray:
    """One op as a network, on arrays that become its inputs, and parameters that follow them."""
    parameters = parameters or {}
    inputs = {f"x{i}": array for i, array in enumerate(arrays)}
    node = Node("y", op, (*inputs, *parameters), attrs)
    declared = tuple(Input(name, ("N", *array.shape[1:])) for name, array in inputs.items())
    shapes = {name: array.shape for name, array in parameters.items()}
    graph = Graph("one", declared, (node,), ("y",), shapes)
    return NumpyEngine(graph, parameters).run(inputs)["y"]


def test_every_op_that_an_optimised_graph_may_hold_has_a_step():
    assert set(OPS) - set(STEPS) <= {"Conv", "History"}


ACTIVATIONS = {
    "Relu": ({}, bounds.relu),
    "LeakyRelu": ({"alpha": 0.2}, lambda x, u: bounds.leaky_relu(x, 0.2, u=u)),
    "HardSwish": ({}, bounds.hard_swish),
    "HardSigmoid": ({}, bounds.hard_sigmoid),
    "Tanh": ({}, bounds.tanh),
    "Sigmoid": ({}, bounds.sigmoid),
    "Clip": ({"min": 0.0, "max": 6.0}, bounds.relu6),
}


@pytest.mark.parametrize("op", ACTIVATIONS)
@pytest.mark.parametrize("shape", [SHAPE, (2, 6, 4)])
def test_activations(op, shape):
    attrs, function = ACTIVATIONS[op]
    x = 4 * values(*shape)
    assert_within(alone(op, x, **attrs), function(Bounded.exact(x), u=U32))


@pytest.mark.parametrize("op", ["Add", "Mul"])
@pytest.mark.parametrize(
    ("a", "b"),
    [
        (SHAPE, SHAPE),
        (SHAPE, (2, 6, 4, 1, 1)),
        (SHAPE, (2, 1, 1, 7, 5)),
        ((2, 6, 1, 7, 1), (2, 1, 4, 1, 5)),
        ((2, 6, 4), (2, 6, 1)),
    ],
)
def test_two_values_are_combined_as_numpy_broadcasts_them(op, a, b):
    left, right = values(*a), values(*b, seed=4)
    expected = left + right if op == "Add" else left * right
    np.testing.assert_array_equal(alone(op, left, right), expected)


@pytest.mark.parametrize("shape", [SHAPE, (2, 6, 4)])
def test_channels_stand_behind_others(shape):
    first, last = values(*shape), values(shape[0], 3, *shape[2:], seed=4)
    expected = np.concatenate((first, last), axis=1)
    np.testing.assert_array_equal(alone("Concat", first, last), expected)


@pytest.mark.parametrize("op", ["Add", "Mul"])
@pytest.mark.parametrize("shape", [(1, 6, 1, 1, 1), (1, 1, 1, 7, 5), (1, 6, 4, 7, 5)])
def test_a_stored_operand_meets_every_clip(op, shape):
    x, stored = values(*SHAPE), values(*shape, seed=4)
    expected = x + stored if op == "Add" else x * stored
    np.testing.assert_array_equal(alone(op, x, parameters={"p": stored}), expected)


@st.composite
def pools(draw):
    kernel = tuple(draw(st.integers(1, 3)) for _ in range(3))
    attrs = {
        "kernel_shape": kernel,
        "strides": tuple(draw(st.integers(1, 3)) for _ in range(3)),
        "pads": tuple(draw(st.integers(0, (k - 1) // 2)) for k in kernel) * 2,
        "ceil_mode": draw(st.booleans()),
    }
    return attrs, draw(st.integers(0, 2**31)), draw(st.booleans())


@given(pools())
def test_max_pools(drawn):
    attrs, seed, dilated = drawn
    dilations = (1, 2, 1) if dilated else (1, 1, 1)
    x = values(*SHAPE, seed=seed)
    pads = list(zip(attrs["pads"][:3], attrs["pads"][3:], strict=True))
    window = attrs["kernel_shape"], attrs["strides"], pads, dilations, attrs["ceil_mode"]
    y = alone("MaxPool", x, dilations=dilations, **attrs)
    np.testing.assert_array_equal(y, ref.max_pool(x, *window))


@given(pools())
def test_average_pools(drawn):
    attrs, seed, counted = drawn
    x = values(*SHAPE, seed=seed)
    pads = list(zip(attrs["pads"][:3], attrs["pads"][3:], strict=True))
    window = attrs["kernel_shape"], attrs["strides"], pads, attrs["ceil_mode"], counted
    y = alone("AveragePool", x, count_include_pad=counted, **attrs)
    assert bounds.avg_pool(Bounded.exact(x), *window, u=U32).used(y) <= 1


def test_a_global_pool_is_the_mean_of_every_picture():
    x = values(*SHAPE)
    y = alone("GlobalAveragePool", x)
    assert y.shape == (2, 6, 4, 1, 1)
    assert_within(y, bounds.global_avg_pool(Bounded.exact(x), keepdims=True, u=U32))


@pytest.mark.parametrize("order", ["CHW", "HWC"])
def test_flatten_names_the_order_of_its_axes(order):
    x = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    y = alone("Flatten", x, order=order)
    for n, c, t, h, w in np.ndindex(*SHAPE):
        row = (c * 7 + h) * 5 + w if order == "CHW" else (h * 5 + w) * 6 + c
        assert y[n, row, t] == x[n, c, t, h, w]


def test_squeeze_takes_an_axis_out():
    x = values(2, 1, 9)
    np.testing.assert_array_equal(alone("Squeeze", x, axes=(1,)), x[:, 0])


@pytest.mark.parametrize("bias", [False, True])
def test_a_linear_layer_works_per_frame(bias):
    x, weight = values(2, 40, 5), values(7, 40, seed=4)
    stored = {"w": weight} | ({"b": values(7, seed=5)} if bias else {})
    y = alone("Linear", x, parameters=stored)
    assert_within(y, bounds.linear(Bounded.exact(x), *stored.values(), u=U32))
    for t in range(5):
        frame = alone("Linear", np.ascontiguousarray(x[:, :, t : t + 1]), parameters=stored)
        assert frame.tobytes() == y[:, :, t : t + 1].tobytes()


@pytest.mark.parametrize("axis", [1, 2, -1])
def test_softmax(axis):
    x = 5 * values(2, 6, 4)
    assert_within(alone("Softmax", x, axis=axis), bounds.softmax(Bounded.exact(x), axis, u=U32))


@pytest.mark.parametrize("axis", [1, 2, -1])
def test_log_softmax(axis):
    x = 5 * values(2, 6, 4)
    bound = bounds.log_softmax(Bounded.exact(x), axis, u=U32)
    assert_within(alone("LogSoftmax", x, axis=axis), bound)


@pytest.mark.parametrize("over", ["max", "last"])
def test_consensus_copies_the_largest_or_the_last_frame(over):
    x = values(2, 6, 9)
    np.testing.assert_array_equal(
        alone("Consensus", x, over=over), x.max(2) if over == "max" else x[:, :, -1]
    )


def test_consensus_is_the_mean_over_time():
    x = values(2, 6, 9)
    assert_within(alone("Consensus", x), bounds.consensus(Bounded.exact(x), u=U32))


def test_batch_norm():
    x = values(*SHAPE)
    scale, bias, mean = (values(6, seed=seed) for seed in (4, 5, 6))
    variance = np.linspace(0.01, 3, 6, dtype=np.float32)
    stored = {"scale": scale, "bias": bias, "mean": mean, "variance": variance}
    y = alone("BatchNormalization", x, parameters=stored, epsilon=1e-3)
    oracle = bounds.batch_norm(Bounded.exact(x), mean, variance, scale, bias, 1e-3, u=U32)
    assert_within(y, oracle)


def test_attention_mask():
    x = np.abs(values(2, 1, 4, 7, 5)) + 0.1
    assert_within(alone("AttentionMask", x), bounds.attention_mask(Bounded.exact(x), u=U32))


@pytest.mark.parametrize("mode", ["embedded_gaussian", "gaussian", "dot_product"])
def test_non_local(mode):
    theta, phi, g = values(2, 3, 4, 4, 5), values(2, 3, 4, 2, 3, seed=4), values(2, 5, 4, 2, 3)
    oracle = bounds.non_local(*(Bounded.exact(v) for v in (theta, phi, g)), mode, u=U32)
    assert_within(alone("NonLocal", theta, phi, g, mode=mode), oracle)


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("segment", [0, 2, 3])
@pytest.mark.parametrize("space", [(4, 3), ()])
def test_a_shift_of_its_own(fill, segment, space):
    x, d = values(2, 6, 6, *space), (-1, 1, 0, 2, -7, 1)
    y = alone("TemporalShift", x, d=d, fill=fill, segment=segment)
    for t in range(0, 6, segment or 6):
        part = slice(t, t + (segment or 6))
        np.testing.assert_array_equal(y[:, :, part], ref.temporal_shift(x[:, :, part], d, fill))
