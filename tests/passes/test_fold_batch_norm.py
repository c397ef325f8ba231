"""Folding batch norms: the network computes what it computed, with fewer nodes."""

import numpy as np
import pytest
from hypothesis import given

from tests.judging import U64
from tests.strategies import graphs
from tsm_ref.engine.oracle import run_oracle, run_with_bound
from tsm_ref.graph import Graph, Input, Node
from tsm_ref.models import RESNETS, build_mobilenet_v2, build_resnet, random_weights
from tsm_ref.passes import fold_batch_norm

NORM = ("scale", "bias", "mean", "var")
X = (Input("x", ("N", 3, "T", "H", "W")),)
SHAPES = {"w": (4, 3, 1, 1, 1), "c": (4,), **dict.fromkeys(NORM, (4,))}


def network(*nodes: Node, outputs=None) -> Graph:
    used = {name for node in nodes for name in node.inputs}
    shapes = {name: shape for name, shape in SHAPES.items() if name in used}
    return Graph("g", X, nodes, outputs or (nodes[-1].name,), shapes)


def norm(x: str, name: str = "bn", **attrs) -> Node:
    return Node(name, "BatchNormalization", (x, *NORM), attrs)


def numbers(graph: Graph) -> dict[str, np.ndarray]:
    """Weights in which no constant of the formula is a 0 or a 1 that would hide its absence."""
    rng = np.random.default_rng(5)
    return {name: rng.uniform(0.3, 2.0, shape) for name, shape in graph.parameters.items()}


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("epsilon", [1e-5, 0.5])
def test_the_folded_numbers_by_hand(bias, epsilon):
    """W s and (b - mean) s + shift with s = scale / sqrt(var + epsilon), channel by channel."""
    conv = Node("conv", "Conv", ("x", "w", "c") if bias else ("x", "w"))
    graph = network(conv, norm("conv", epsilon=epsilon))
    weights = numbers(graph)
    folded, made = fold_batch_norm(graph, weights)
    (node,) = folded.nodes
    assert (node.name, node.op) == ("bn", "Conv")
    assert folded.parameters == {name: value.shape for name, value in made.items()}
    kernel, offset = (made[name] for name in node.inputs[1:])
    for o in range(4):
        s = weights["scale"][o] / (weights["var"][o] + epsilon) ** 0.5
        own = weights["c"][o] if bias else 0.0
        assert offset[o] == pytest.approx((own - weights["mean"][o]) * s + weights["bias"][o])
        assert kernel[o] == pytest.approx(weights["w"][o] * s)


def test_float32_is_rounded_once():
    graph = network(Node("conv", "Conv", ("x", "w")), norm("conv"))
    weights = {name: value.astype(np.float32) for name, value in numbers(graph).items()}
    exact = {name: value.astype(np.float64) for name, value in weights.items()}
    _, narrow = fold_batch_norm(graph, weights)
    _, wide = fold_batch_norm(graph, exact)
    for name, value in narrow.items():
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, wide[name].astype(np.float32))


@pytest.mark.parametrize(
    ("nodes", "outputs"),
    [
        ([Node("conv", "Conv", ("x", "w")), Node("r", "Relu", ("conv",)), norm("r")], None),
        ([Node("conv", "Conv", ("x", "w")), norm("conv"), Node("r", "Relu", ("conv",))], None),
        ([Node("conv", "Conv", ("x", "w")), norm("conv")], ("conv", "bn")),
        ([Node("conv", "Conv", ("x", "w")), norm("conv"), norm("conv", "bn2")], ("bn", "bn2")),
    ],
    ids=["behind a relu", "read by another", "asked for", "read by two"],
)
def test_a_convolution_that_something_else_sees_is_left_alone(nodes, outputs):
    graph = network(*nodes, outputs=outputs or ("bn",))
    folded, _ = fold_batch_norm(graph, numbers(graph))
    assert folded == graph


def test_a_batch_norm_of_an_input_is_left_alone():
    shapes = dict.fromkeys(NORM, (3,))
    graph = Graph("g", X, (norm("x"),), ("bn",), shapes)
    assert fold_batch_norm(graph, numbers(graph))[0] == graph


def test_a_kernel_that_two_convolutions_share_is_folded_for_each():
    one, two = Node("one", "Conv", ("x", "w")), Node("two", "Conv", ("x", "w"))
    graph = network(one, norm("one"), two, Node("sum", "Add", ("bn", "two")))
    weights = numbers(graph)
    x = {"x": np.random.default_rng(0).standard_normal((1, 3, 2, 4, 4))}
    folded, made = fold_batch_norm(graph, weights)
    expected = run_oracle(graph, weights, x)["sum"]
    np.testing.assert_allclose(run_oracle(folded, made, x)["sum"], expected, rtol=1e-12)


@given(graphs())
def test_any_network_computes_what_it_computed(drawn):
    graph, shapes = drawn
    weights = {name: v.astype(np.float64) for name, v in random_weights(graph, 2).items()}
    x = {"x": np.random.default_rng(1).standard_normal(shapes["x"])}
    before = run_with_bound(graph, weights, x, U64)
    after = run_oracle(*fold_batch_norm(graph, weights), x)
    assert all(bounded.used(after[name]) <= 1 for name, bounded in before.items())


@pytest.mark.parametrize(
    "graph",
    [
        build_resnet(RESNETS["resnet50"], num_classes=2),
        build_resnet(RESNETS["resnet34"], num_classes=2, placement="block"),
        build_mobilenet_v2(num_classes=2),
    ],
    ids=lambda graph: graph.name,
)
def test_no_batch_norm_is_left_in_the_networks_people_use(graph):
    folded, weights = fold_batch_norm(graph, random_weights(graph))
    norms = list(graph.select("BatchNormalization"))
    assert norms
    assert not list(folded.select("BatchNormalization"))
    assert len(folded.nodes) == len(graph.nodes) - len(norms)
    assert set(weights) == set(folded.parameters)
    assert not folded.statistics
