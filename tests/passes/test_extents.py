"""Sizes as formulas: equal extents must be equal shapes, at every size of the input."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import graphs
from tsm_ref.graph import Graph, Input, Node
from tsm_ref.models import RESNETS, build_mobilenet_v2, build_resnet
from tsm_ref.models.builder import Builder
from tsm_ref.passes.extents import extents


@given(graphs(), st.lists(st.tuples(*[st.integers(4, 30)] * 3), min_size=3, max_size=3))
def test_equal_extents_are_equal_shapes(drawn, sizes):
    graph, shapes = drawn
    known = extents(graph)
    names = [node.name for node in graph.nodes]
    for time, height, width in sizes:
        real = graph.shapes({"x": (2, shapes["x"][1], time, height, width)})
        alike = {}
        for name in names:
            assert alike.setdefault(known[name], real[name]) == real[name]


@pytest.mark.parametrize(
    "graph",
    [
        build_mobilenet_v2(num_classes=2),
        *[build_resnet(spec, num_classes=2) for spec in RESNETS.values()],
    ],
)
def test_both_sides_of_every_residual_are_known_to_be_alike(graph):
    known = extents(graph)
    sums = list(graph.select("Add"))
    assert sums
    assert all(known[a] == known[b] for a, b in (node.inputs for node in sums))


def test_numbers_are_computed():
    fixed = (Input("x", ("N", 3, 8, 20, 20)),)
    conv = Node("y", "Conv", ("x", "w"), {"strides": (1, 2, 2), "pads": (0, 1, 1, 0, 1, 1)})
    graph = Graph("g", fixed, (conv,), ("y",), {"w": (5, 3, 1, 3, 3)})
    assert extents(graph)["y"] == (("N", 0), 5, 8, 10, 10)


def test_a_window_that_cannot_be_is_like_no_other():
    fixed = (Input("x", ("N", 3, 1, 2, 2)),)
    nodes = [Node(name, "Conv", ("x", "w")) for name in "ab"]
    graph = Graph("g", fixed, tuple(nodes), ("a", "b"), {"w": (5, 3, 1, 3, 3)})
    known = extents(graph)
    assert known["a"] != known["b"]


def test_a_rounding_up_is_not_taken_for_a_rounding_down():
    b = Builder("b")
    x = b.input("x", ("N", 3, "T", "H", "W"))
    window = {"kernel_shape": (1, 2, 2), "strides": (1, 2, 2)}
    b.node("MaxPool", "down", [x], 3, **window)
    b.node("MaxPool", "up", [x], 3, ceil_mode=True, **window)
    known = extents(b.graph(["down", "up"]))
    assert known["down"] != known["up"]


def test_a_rounding_up_is_known_to_be_what_a_padded_convolution_makes():
    """``ceil((H - 2) / 2) + 1`` is ``floor((H - 1) / 2) + 1``, the 3x3 convolution of stride 2."""
    b = Builder("b")
    x = b.input("x", ("N", 3, "T", "H", "W"))
    window = {"kernel_shape": (1, 2, 2), "strides": (1, 2, 2)}
    b.node("AveragePool", "up", [x], 3, ceil_mode=True, **window)
    b.conv("x", "conv", 3, kernel=3, stride=2, padding=1)
    b.node("MaxPool", "padded", [x], 3, ceil_mode=True, pads=(0, 0, 0, 0, 1, 1), **window)
    known = extents(b.graph(["up", "conv", "padded"]))
    assert known["up"] == known["conv"] != known["padded"]


@pytest.mark.parametrize("pads", [(0,) * 6, (0, 1, 1, 0, 0, 0), (0, 0, 0, 0, 1, 1)])
@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 2), (3, 3), (2, 3), (3, 1)])
def test_equal_roundings_up_are_equal_shapes(kernel, stride, pads):
    b = Builder("b")
    x = b.input("x", ("N", 3, "T", "H", "W"))
    for name, ceil in (("down", False), ("up", True)):
        b.node(
            "MaxPool", name, [x], 3, kernel_shape=(1, kernel, kernel),
            strides=(1, stride, stride), pads=pads, ceil_mode=ceil,
        )  # fmt: skip
    for extra in range(-3, 4):
        padding = (extra + 3) // 2, (extra + 3) - (extra + 3) // 2
        b.node(
            "Conv", f"conv{extra}", ["x", b.parameter(f"w{extra}", (3, 3, 1, 1, 1))], 3,
            strides=(1, stride, stride), pads=(0, padding[0], padding[0], 0, *[padding[1]] * 2),
        )  # fmt: skip
    graph = b.graph(["down", "up"])
    known = extents(graph)
    for size in range(3, 12):
        real = graph.shapes({"x": (1, 3, 2, size, size)})
        for a in graph.node:
            for c in graph.node:
                assert known[a] != known[c] or real[a] == real[c]


def test_a_mean_is_spread_over_the_picture():
    b = Builder("b")
    x = b.input("x", ("N", 3, "T", "H", "W"))
    mean = b.node("GlobalAveragePool", "mean", [x], 3)
    b.node("Mul", "gate", [mean, x], 3)
    known = extents(b.graph(["gate"]))
    assert known["gate"] == known["x"] != known["mean"]
