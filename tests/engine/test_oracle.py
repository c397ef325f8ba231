"""The graph oracle: every rule against its definition, and a bound that tells right from wrong."""

import weakref

import numpy as np
import pytest
from hypothesis import given

from tests.judging import U32
from tests.strategies import FILLS, graphs
from tsm_ref import reference as ref
from tsm_ref.engine import oracle
from tsm_ref.engine.oracle import run_oracle, run_with_bound
from tsm_ref.errors import GraphError
from tsm_ref.graph import Graph, Input, Node
from tsm_ref.models import ResNetSpec, build_resnet, build_ts_can, random_weights
from tsm_ref.ops_table import OPS

SHAPE = (2, 4, 6, 5, 7)


def values(*shape: int, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def alone(op: str, *arrays: np.ndarray, parameters: dict | None = None, **attrs) -> np.ndarray:
    """One op by both of the oracle's ways, which must agree."""
    parameters = parameters or {}
    inputs = {f"x{i}": array for i, array in enumerate(arrays)}
    declared = tuple(Input(name, ("N", *array.shape[1:])) for name, array in inputs.items())
    shapes = {name: array.shape for name, array in parameters.items()}
    node = Node("y", op, (*inputs, *parameters), attrs)
    graph = Graph("one", declared, (node,), ("y",), shapes)
    y = run_oracle(graph, parameters, inputs)["y"]
    bounded = run_with_bound(graph, parameters, inputs, U32)["y"]
    np.testing.assert_array_equal(bounded.value, y)
    assert graph.shapes({name: a.shape for name, a in inputs.items()})["y"] == y.shape
    return y


def test_there_is_a_rule_for_every_op_that_a_network_is_written_in():
    assert set(OPS) - set(oracle._RULES) <= {"FusedConv", "History"}


def test_convolutions_by_loops():
    """Uneven pads, strides, dilations and groups reach the sum where ONNX says they do."""
    x, w, b = values(*SHAPE), values(6, 2, 2, 2, 3), values(6)
    y = alone(
        "Conv", x, parameters={"w": w, "b": b},
        strides=(2, 1, 3), pads=(1, 0, 2, 0, 1, 0), dilations=(1, 3, 1), group=2,
    )  # fmt: skip
    padded = np.pad(x, ((0, 0), (0, 0), (1, 0), (0, 1), (2, 0)))
    for n, o, t, i, j in np.ndindex(*y.shape):
        first = o // 3 * 2
        window = padded[n, first : first + 2, 2 * t : 2 * t + 2, i : i + 4 : 3, 3 * j : 3 * j + 3]
        assert y[n, o, t, i, j] == pytest.approx((window * w[o]).sum() + b[o])


def test_a_batch_norm_reads_its_numbers_in_the_order_of_the_table():
    x = values(*SHAPE)
    scale, bias, mean = (values(4, seed=s) for s in (4, 5, 6))
    var = np.array([0.1, 1, 2, 3.0])
    stored = {"scale": scale, "bias": bias, "mean": mean, "var": var}
    y = alone("BatchNormalization", x, parameters=stored, epsilon=0.25)
    for c in range(4):
        expected = (x[:, c] - mean[c]) / (var[c] + 0.25) ** 0.5 * scale[c] + bias[c]
        np.testing.assert_allclose(y[:, c], expected, rtol=1e-12)


ELEMENTWISE = {
    "Relu": ({}, lambda v: v * (v > 0)),
    "Clip": ({"min": -0.5, "max": 0.25}, lambda v: np.clip(v, -0.5, 0.25)),
    "LeakyRelu": ({"alpha": 0.3}, lambda v: np.where(v > 0, v, 0.3 * v)),
    "HardSigmoid": ({}, lambda v: np.clip(v / 6 + 0.5, 0, 1)),
    "HardSwish": ({}, lambda v: v * np.clip(v / 6 + 0.5, 0, 1)),
    "Tanh": ({}, np.tanh),
    "Sigmoid": ({}, lambda v: 1 / (1 + np.exp(-v))),
}


@pytest.mark.parametrize("op", ELEMENTWISE)
def test_activations(op):
    attrs, definition = ELEMENTWISE[op]
    x = 3 * values(*SHAPE)
    np.testing.assert_allclose(alone(op, x, **attrs), definition(x), rtol=1e-12, atol=1e-15)


def test_sums_products_and_softmax():
    a, b = values(*SHAPE), values(2, 4, 6, 1, 1, seed=4)
    np.testing.assert_array_equal(alone("Add", a, b), a + b)
    np.testing.assert_array_equal(alone("Mul", a, b), a * b)
    np.testing.assert_array_equal(alone("Concat", a, a), np.concatenate((a, a), axis=1))
    e = np.exp(a)
    np.testing.assert_allclose(alone("Softmax", a, axis=2), e / e.sum(2, keepdims=True))


def test_log_softmax_and_the_other_ways_over_time():
    a = values(2, 4, 6)
    e = np.exp(a)
    np.testing.assert_allclose(alone("LogSoftmax", a), np.log(e / e.sum(1, keepdims=True)))
    np.testing.assert_array_equal(alone("Consensus", a, over="max"), a.max(2))
    np.testing.assert_array_equal(alone("Consensus", a, over="last"), a[:, :, -1])


def test_pools_by_loops():
    x = values(*SHAPE)
    window = {"kernel_shape": (1, 3, 2), "strides": (1, 2, 2), "pads": (0, 1, 0, 0, 1, 1)}
    largest = alone("MaxPool", x, **window)
    mean = alone("AveragePool", x, **window)
    counted = alone("AveragePool", x, count_include_pad=True, **window)
    for n, c, t, i, j in np.ndindex(*largest.shape):
        rows = slice(max(2 * i - 1, 0), 2 * i + 2)
        inside = x[n, c, t, rows, 2 * j : 2 * j + 2]
        assert largest[n, c, t, i, j] == inside.max()
        assert mean[n, c, t, i, j] == pytest.approx(inside.mean())
        assert counted[n, c, t, i, j] == pytest.approx(inside.sum() / 6)
    dilated = alone("MaxPool", x, kernel_shape=(2, 1, 1), dilations=(3, 1, 1))
    np.testing.assert_array_equal(dilated, np.maximum(x[:, :, :3], x[:, :, 3:]))
    rounded_up = alone("MaxPool", x, kernel_shape=(1, 2, 2), strides=(1, 2, 2), ceil_mode=True)
    assert rounded_up.shape[3:] == (3, 4)


def test_the_head():
    x = values(*SHAPE)
    pooled = alone("GlobalAveragePool", x)
    np.testing.assert_allclose(pooled[..., 0, 0], x.mean((3, 4)), rtol=1e-12)
    w, b = values(3, 4), values(3)
    features = np.ascontiguousarray(pooled[..., 0, 0])
    logits = alone("Linear", features, parameters={"w": w, "b": b})
    expected = np.einsum("kc,nct->nkt", w, features) + b[:, None]
    np.testing.assert_allclose(logits, expected, rtol=1e-12)
    np.testing.assert_allclose(alone("Consensus", logits), logits.mean(2), rtol=1e-12)
    squeezed = alone("Squeeze", logits[:, :1], axes=(1,))
    np.testing.assert_array_equal(squeezed, logits[:, 0])


@pytest.mark.parametrize("order", ["CHW", "HWC"])
def test_flatten(order):
    x = values(*SHAPE)
    y = alone("Flatten", x, order=order)
    for n, c, t, i, j in np.ndindex(*SHAPE):
        row = (c * 5 + i) * 7 + j if order == "CHW" else (i * 7 + j) * 4 + c
        assert y[n, row, t] == x[n, c, t, i, j]


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("segment", [0, 1, 2, 3])
def test_a_shift_stays_inside_its_segment(fill, segment):
    x, d = values(*SHAPE), (-1, 2, 0, 1)
    y = alone("TemporalShift", x, d=d, fill=fill, segment=segment)
    for t in range(0, 6, segment or 6):
        part = x[:, :, t : t + (segment or 6)]
        expected = ref.temporal_shift(part, d, fill)
        np.testing.assert_array_equal(y[:, :, t : t + (segment or 6)], expected)


@pytest.mark.parametrize("fill", FILLS)
def test_a_spatial_shift_moves_rows_and_columns(fill):
    x, dh, dw = values(*SHAPE), (-1, 2, 0, 1), (0, 1, -3, 9)
    y = alone("SpatialShift", x, dh=dh, dw=dw, fill=fill)
    np.testing.assert_array_equal(y, ref.spatial_shift(x, dh, dw, fill))


def test_attention():
    m = np.abs(values(2, 1, 3, 5, 7)) + 0.1
    mask = alone("AttentionMask", m)
    np.testing.assert_allclose(mask, 0.5 * m / m.mean((3, 4), keepdims=True), rtol=1e-12)
    theta, phi, g = values(1, 2, 2, 3, 2), values(1, 2, 2, 2, 1, seed=4), values(1, 3, 2, 2, 1)
    y = alone("NonLocal", theta, phi, g)
    for t, i, j in np.ndindex(2, 3, 2):
        score = np.exp(np.einsum("c,cp->p", theta[0, :, t, i, j], phi[0].reshape(2, -1)))
        expected = g[0].reshape(3, -1) @ (score / score.sum())
        np.testing.assert_allclose(y[0, :, t, i, j], expected, rtol=1e-12)
    mean = alone("NonLocal", theta, phi, g, mode="dot_product")
    scores = np.einsum("cp,cq->pq", theta[0].reshape(2, -1), phi[0].reshape(2, -1)) / 4
    expected = (g[0].reshape(3, -1) @ scores.T).reshape(mean[0].shape)
    np.testing.assert_allclose(mean[0], expected, rtol=1e-12)


@given(graphs())
def test_float32_is_within_the_bound_of_float64(drawn):
    graph, shapes = drawn
    weights = random_weights(graph, 4)
    x = values(*shapes["x"]).astype(np.float32)
    bounded = run_with_bound(graph, weights, {"x": x}, U32)
    single = run_oracle(graph, weights, {"x": x}, np.float32)
    exact = run_oracle(graph, weights, {"x": x})
    for name in graph.outputs:
        assert single[name].dtype == np.float32
        assert bounded[name].used(single[name]) <= 1
        np.testing.assert_array_equal(bounded[name].value, exact[name])


def mistaken(graph: Graph, op: str, **attrs) -> Graph:
    """The same network with one attribute of one of its nodes changed."""
    first = next(graph.select(op)).name
    nodes = [
        Node(n.name, n.op, n.inputs, dict(n.attrs) | attrs) if n.name == first else n
        for n in graph.nodes
    ]
    return graph.with_nodes(nodes)


@pytest.mark.parametrize(
    ("op", "attrs"),
    [
        ("TemporalShift", {"d": (1,) * 2 + (-1,) * 2 + (0,) * 12}),
        ("TemporalShift", {"d": (-1,) * 1 + (1,) * 2 + (0,) * 13}),
        ("TemporalShift", {"fill": "circular"}),
        ("TemporalShift", {"segment": 2}),
        ("BatchNormalization", {"epsilon": 1e-3}),
        ("MaxPool", {"pads": (0, 0, 0, 0, 2, 2)}),
    ],
)
def test_the_bound_tells_a_network_that_is_wrong_in_one_attribute(op, attrs):
    narrow = build_resnet(ResNetSpec((2, 2), width=16), num_classes=5)
    weights = random_weights(narrow)
    x = {"x": values(1, 3, 4, 40, 40).astype(np.float32)}
    bounded = run_with_bound(narrow, weights, x, U32)["consensus"]
    assert bounded.used(run_oracle(narrow, weights, x, np.float32)["consensus"]) <= 1
    wrong = run_oracle(mistaken(narrow, op, **attrs), weights, x)["consensus"]
    assert bounded.used(wrong) > 3


def test_values_are_forgotten_once_nothing_reads_them(monkeypatch):
    """An oracle of a deep network must not hold every value of it."""
    alive, most = [], []

    def watched(function):
        def rule(*args):
            y = np.array(function(*args))
            alive.append(weakref.ref(y))
            most.append(sum(r() is not None for r in alive))
            return y

        return rule

    rules = {op: watched(rule) for op, rule in oracle._RULES.items()}
    monkeypatch.setattr(oracle, "_RULES", rules)
    nodes = [Node(f"v{i}", "Relu", (f"v{i - 1}" if i else "x",)) for i in range(20)]
    graph = Graph("g", (Input("x", ("N", 2)),), tuple(nodes), ("v19",), {})
    run_oracle(graph, {}, {"x": values(1, 2)})
    assert max(most) <= 2


def test_inputs_that_do_not_fit_are_named():
    graph = build_ts_can()
    weights = random_weights(graph)
    motion = values(1, 3, 20, 36, 36)
    with pytest.raises(GraphError, match="the inputs are"):
        run_oracle(graph, weights, {"motion": motion})
    with pytest.raises(GraphError, match="input 'appearance' has shape"):
        run_with_bound(
            graph, weights, {"motion": motion, "appearance": values(1, 3, 1, 36, 35)}, U32
        )


@pytest.mark.parametrize("fill", FILLS)
def test_a_quantised_convolution_is_behind_the_shift_that_it_has_taken_in(fill):
    steps = {"y_scale": 0.5, "y_zero_point": 3, "dtype": "uint8"}
    moves = {"d": (1, -1, 0), "fill": fill}
    read = {"x_scale": 0.5, "x_zero_point": 3}
    first = Node("q", "QuantizeLinear", ("x",), steps)
    shift = Node("s", "TemporalShift", ("q",), {**moves, "x_zero_point": 3})
    apart = Node("y", "QLinearConv", ("s", "w", "scale", "b"), {**read, **steps})
    one = Node("y", "QLinearConv", ("q", "w", "scale", "b"), {**read, **steps, **moves})
    weights = {
        "w": np.array([[3, -2, 5], [-1, 4, 2]], np.int8)[:, :, None, None, None],
        "scale": np.array([0.25, 0.5], np.float32),
        "b": np.array([2, -1], np.int32),
    }
    shapes = {name: weight.shape for name, weight in weights.items()}
    entry, x = Input("x", ("N", 3, "T", 2, 2)), {"x": 9 * values(1, 3, 4, 2, 2)}
    found = [
        run_oracle(Graph("g", (entry,), nodes, ("y",), shapes), weights, x)
        for nodes in ((first, shift, apart), (first, one))
    ]
    np.testing.assert_array_equal(found[1]["y"], found[0]["y"])
    assert len(np.unique(found[0]["y"])) > 8
