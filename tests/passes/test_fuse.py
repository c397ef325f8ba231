"""Fusing: what is taken into a convolution, what is not, and that no value changes."""

import numpy as np
import pytest
from hypothesis import given

from tests.judging import U64, written_out
from tests.strategies import ACTIVATIONS, graphs
from tsm_ref.engine.oracle import run_oracle, run_with_bound
from tsm_ref.graph import Graph, Input, Node
from tsm_ref.models import RESNETS, build_mobilenet_v2, build_resnet, build_ts_can, random_weights
from tsm_ref.passes import fuse, optimize

X = (Input("x", ("N", 4, "T", "H", "W")),)
SHAPES = {"w": (4, 4, 1, 3, 3), "v": (4, 4, 1, 3, 3), "t": (4, 4, 3, 1, 1), "p": (1, 4, 1, 1, 1)}
SAME = {"pads": (0, 1, 1, 0, 1, 1)}
SHIFT = Node("s", "TemporalShift", ("x",), {"d": (-1, 1, 2, 0), "fill": "replicate", "segment": 2})


def network(*nodes: Node, outputs=None) -> Graph:
    used = {name for node in nodes for name in node.inputs}
    shapes = {name: shape for name, shape in SHAPES.items() if name in used}
    return Graph("g", X, nodes, outputs or (nodes[-1].name,), shapes)


def conv(name: str, x: str, weight: str = "w", **attrs) -> Node:
    return Node(name, "Conv", (x, weight), attrs or SAME)


def relu(name: str, x: str) -> Node:
    return Node(name, "Relu", (x,))


def add(name: str, a: str, b: str) -> Node:
    return Node(name, "Add", (a, b))


def fused(graph: Graph) -> Graph:
    """The fused graph, after a check that it computes what the graph computed, bit for bit.

    In float64 and with the same convolutions, written out again, there is nothing to round
    differently: the added bias is 0.
    """
    weights = {n: v.astype(np.float64) for n, v in random_weights(graph, 3).items()}
    x = {"x": np.random.default_rng(1).standard_normal((2, 4, 6, 5, 7))}
    result, made = fuse(graph, weights)
    assert {name: value.shape for name, value in made.items()} == result.parameters
    expected = run_oracle(graph, weights, x)
    found = run_oracle(written_out(result), made, x)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)
    return result


def summary(graph: Graph) -> dict[str, tuple]:
    """What each node has become: op, inputs without weights, activation, whether it shifts."""
    return {
        node.name: (
            node.op,
            *(name for name in node.inputs if name not in graph.parameters),
            *([node.attrs["activation"]] if "activation" in node.attrs else []),
            *(["shifted"] if node.op == "FusedConv" and "d" in node.attrs else []),
        )
        for node in graph.nodes
    }


def test_everything_around_a_convolution_is_taken_in():
    block = [SHIFT, conv("c", "s"), add("a", "c", "x"), relu("r", "a")]
    result = fused(network(*block))
    assert summary(result) == {"r": ("FusedConv", "x", "x", "Relu", "shifted")}
    attrs = result.nodes[0].attrs
    assert (attrs["d"], attrs["fill"], attrs["segment"]) == ((-1, 1, 2, 0), "replicate", 2)
    assert attrs["pads"] == SAME["pads"]


@pytest.mark.parametrize("swap", [False, True])
def test_the_later_of_two_convolutions_takes_the_sum(swap):
    pair = ("c2", "c1") if swap else ("c1", "c2")
    result = fused(network(conv("c1", "x"), conv("c2", "x", "v"), add("a", *pair), relu("r", "a")))
    assert summary(result) == {"c1": ("FusedConv", "x"), "r": ("FusedConv", "x", "c1", "Relu")}


def test_the_convolution_with_the_shorter_sums_takes_the_other_in():
    """The 1x1 convolution comes first, and yet is where the sum is made."""
    sizes = {"short": (4, 4, 1, 1, 1), "long": (4, 4, 1, 3, 3)}
    nodes = [
        Node("c1", "Conv", ("x", "short"), {}),
        Node("c2", "Conv", ("x", "long"), SAME),
        add("a", "c1", "c2"),
    ]
    assert summary(fused(Graph("g", X, tuple(nodes), ("a",), sizes))) == {
        "c2": ("FusedConv", "x"),
        "a": ("FusedConv", "x", "c2"),
    }


@pytest.mark.parametrize(("op", "attrs"), ACTIVATIONS[1:])
def test_every_activation_with_its_numbers(op, attrs):
    result = fused(network(conv("c", "x"), Node("r", op, ("c",), attrs)))
    assert summary(result) == {"r": ("FusedConv", "x", op)}
    assert all(result.nodes[0].attrs[name] == value for name, value in attrs.items())


def test_defaults_are_written_out():
    result = fused(network(conv("c", "x"), Node("r", "LeakyRelu", ("c",))))
    assert result.nodes[0].attrs["alpha"] == 0.01


APART = {
    "a value that is asked for": (
        [conv("c", "x"), relu("r", "c")],
        ("c", "r"),
        {"c": ("FusedConv", "x"), "r": ("Relu", "c")},
    ),
    "a value with two readers": (
        [conv("c", "x"), relu("r", "c"), add("a", "r", "c")],
        None,
        {"c": ("FusedConv", "x"), "r": ("Relu", "c"), "a": ("Add", "r", "c")},
    ),
    "a value added to itself": (
        [conv("c", "x"), add("a", "c", "c")],
        None,
        {"c": ("FusedConv", "x"), "a": ("Add", "c", "c")},
    ),
    "a stored operand": (
        [conv("c", "x"), add("a", "c", "p")],
        None,
        {"c": ("FusedConv", "x"), "a": ("Add", "c")},
    ),
    "a mean that is spread over the picture": (
        [Node("m", "GlobalAveragePool", ("x",)), conv("c", "m"), add("a", "x", "c")],
        None,
        {"m": ("GlobalAveragePool", "x"), "c": ("FusedConv", "m"), "a": ("Add", "x", "c")},
    ),
    "a picture over which a mean is spread": (
        [Node("m", "GlobalAveragePool", ("x",)), conv("c", "x"), add("a", "c", "m")],
        None,
        {"m": ("GlobalAveragePool", "x"), "c": ("FusedConv", "x"), "a": ("Add", "c", "m")},
    ),
    "a shift before temporal taps": (
        [SHIFT, conv("c", "s", "t", pads=(1, 0, 0, 1, 0, 0))],
        None,
        {"s": ("TemporalShift", "x"), "c": ("FusedConv", "s")},
    ),
    "a shift that a skip path reads": (
        [SHIFT, conv("c", "s"), add("a", "c", "s")],
        None,
        {"s": ("TemporalShift", "x"), "a": ("FusedConv", "s", "s")},
    ),
    "a shift that is asked for": (
        [SHIFT, conv("c", "s")],
        ("s", "c"),
        {"s": ("TemporalShift", "x"), "c": ("FusedConv", "s")},
    ),
}


@pytest.mark.parametrize("name", APART)
def test_what_something_else_sees_is_left_apart(name):
    nodes, outputs, expected = APART[name]
    assert summary(fused(network(*nodes, outputs=outputs))) == expected


def test_a_shift_that_two_convolutions_read_is_taken_into_both():
    nodes = [SHIFT, conv("c1", "s"), conv("c2", "s", "v"), add("a", "c1", "c2")]
    assert summary(fused(network(*nodes))) == {
        "c1": ("FusedConv", "x", "shifted"),
        "a": ("FusedConv", "x", "c1", "shifted"),
    }


def test_a_stride_in_time_goes_with_the_shift():
    fused(network(SHIFT, conv("c", "s", strides=(2, 1, 1))))


def test_a_shift_before_padding_in_time_is_left_apart():
    """With one tap, padding in time adds frames of zeros; a shift must not reach into them."""
    result = fused(network(SHIFT, conv("c", "s", pads=(1, 1, 1, 2, 1, 1), strides=(2, 1, 1))))
    assert summary(result) == {"s": ("TemporalShift", "x"), "c": ("FusedConv", "s")}


@given(graphs())
def test_any_network_computes_what_it_computed(drawn):
    graph, shapes = drawn
    weights = {name: v.astype(np.float64) for name, v in random_weights(graph, 2).items()}
    x = {"x": np.random.default_rng(1).standard_normal(shapes["x"])}
    before = run_with_bound(graph, weights, x, U64)
    for step in (fuse, optimize):
        result, made = step(graph, weights)
        assert result.shapes(shapes)["consensus"] == graph.shapes(shapes)["consensus"]
        assert not list(result.select("Conv"))
        after = run_oracle(written_out(result), made, x)
        assert all(bounded.used(after[name]) <= 1 for name, bounded in before.items())


FAMILIES = {
    # convolutions: the stem, those of the blocks, and one per stage whose skip path changes shape
    "resnet18": (build_resnet(RESNETS["resnet18"], num_classes=2), 1 + 2 * 8 + 3),
    "resnet50": (build_resnet(RESNETS["resnet50"], num_classes=2), 1 + 3 * 16 + 4),
    "resnet101": (build_resnet(RESNETS["resnet101"], num_classes=2), 1 + 3 * 33 + 4),
    "non-local": (
        build_resnet(
            RESNETS["resnet50"], num_classes=2, non_local={"layer2.0": "embedded_gaussian"}
        ),
        1 + 3 * 16 + 4 + 4,
    ),
    "mobilenetv2": (build_mobilenet_v2(num_classes=2), 1 + 2 + 3 * 16 + 1),
    "ts-can": (build_ts_can(), 4 + 4 + 2),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_only_convolutions_pools_and_the_head_are_left(name):
    """In a network that people use, every shift, norm, sum and activation is part of another."""
    graph, convolutions = FAMILIES[name]
    result, _ = optimize(graph, random_weights(graph))
    ops = [node.op for node in result.nodes]
    gone = {"TemporalShift", "BatchNormalization", "Conv", "Add", "Relu", "Clip"}
    assert gone.isdisjoint(ops)
    assert ops.count("FusedConv") == convolutions
