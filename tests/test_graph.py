"""Graphs: what they refuse, and what they know of shapes, costs and outputs."""

from dataclasses import replace
from typing import Any

import pytest

from tsm_ref.errors import GraphError
from tsm_ref.graph import Graph, Input, Node, Scores
from tsm_ref.models import build_mobilenet_v2, build_ts_can

X = Input("x", ("N", 3, "T", "H", "W"))
CONV = Node("conv", "Conv", ("x", "w"), {"pads": (0, 1, 1, 0, 1, 1)})
RELU = Node("relu", "Relu", ("conv",))
SUM = Node("sum", "Add", ("relu", "conv"))
WEIGHT = {"w": (4, 3, 1, 3, 3)}


def graph(*nodes: Node, inputs=(X,), outputs=None, parameters=WEIGHT) -> Graph:
    return Graph("g", inputs, nodes, (nodes[-1].name,) if outputs is None else outputs, parameters)


def test_a_graph_knows_who_reads_what():
    g = graph(CONV, RELU, SUM)
    assert g.node["relu"] is RELU
    assert g.consumers == {"x": (CONV,), "w": (CONV,), "conv": (RELU, SUM), "relu": (SUM,)}
    assert list(g.select("Add")) == [SUM]
    assert RELU.rule.inputs == ("x",)


def test_a_value_that_is_read_twice_by_a_node_has_one_reader():
    double = Node("double", "Add", ("conv", "conv"))
    assert graph(CONV, double).consumers["conv"] == (double,)


def test_shapes_and_multiply_adds_of_every_node():
    g = graph(CONV, RELU, SUM)
    x = {"x": (2, 3, 5, 8, 6)}
    assert g.shapes(x) == {
        "x": (2, 3, 5, 8, 6),
        "w": (4, 3, 1, 3, 3),
        **dict.fromkeys(("conv", "relu", "sum"), (2, 4, 5, 8, 6)),
    }
    assert g.multiply_adds(x) == {"conv": 2 * 4 * 5 * 8 * 6 * 3 * 9, "relu": 0, "sum": 0}


def test_statistics_are_not_counted_as_parameters():
    norm = Node("bn", "BatchNormalization", ("conv", "scale", "bias", "mean", "var"))
    shapes = WEIGHT | dict.fromkeys(("scale", "bias", "mean", "var"), (4,))
    g = graph(CONV, norm, parameters=shapes)
    assert g.statistics == {"mean", "var"}
    assert g.parameter_count == 4 * 3 * 9 + 4 + 4


def test_frame_logits_are_what_the_consensus_averages():
    assert build_mobilenet_v2(num_classes=5).frame_logits == "classifier"
    assert build_ts_can().frame_logits is None


def test_frame_logits_are_the_output_where_nothing_averages_them():
    network = build_mobilenet_v2(num_classes=5)
    per_frame = replace(network, nodes=network.nodes[:-1], outputs=("classifier",))
    assert per_frame.frame_logits == "classifier"
    assert per_frame.with_outputs(["flatten"]).frame_logits is None
    assert per_frame.with_outputs(["flatten", "classifier"]).frame_logits is None


def test_other_nodes_and_outputs():
    g = graph(CONV, RELU, SUM)
    shorter = g.with_nodes([Node("relu", "Relu", ("x",)), Node("sum", "Relu", ("relu",))])
    assert shorter.parameters == {}
    assert g.with_outputs(["relu", "sum", "relu"]).outputs == ("relu", "sum")
    assert g.outputs == ("sum",)


CAN = [Input("a", ("N", 1, "T", 4, 4)), Input("b", ("N", 1, "S", 4, 4))]
MUL = Node("y", "Mul", ("a", "b"))
BAD_CALLS = [
    ((X,), CONV, {}, r"the inputs are \['x'\], not \[\]"),
    ((X,), CONV, {"y": (1, 3, 8, 4, 4)}, r"the inputs are \['x'\], not \['y'\]"),
    ((X,), CONV, {"x": (1, 3, 8, 4)}, r"input 'x' has shape \(1, 3, 8, 4\); expected \(N, 3, T"),
    ((X,), CONV, {"x": (1, 4, 8, 4, 4)}, r"input 'x' has shape .*expected \(N=1, 3, T, H, W\)"),
    ((X,), CONV, {"x": (0, 3, 8, 4, 4)}, "input 'x' has shape"),
    ((X,), CONV, {"x": (1, 3, 8, 0, 4)}, "input 'x' has shape"),
    ((X,), CONV, {"x": ()}, "input 'x' has shape"),
    (CAN, MUL, {"a": (2, 1, 5, 4, 4), "b": (3, 1, 5, 4, 4)}, "equally many clips"),
    (CAN, MUL, {"a": (2, 1, 5, 4, 4), "b": (2, 1, 3, 4, 4)}, r"node 'y' \(Mul\): the shapes"),
]


@pytest.mark.parametrize(("inputs", "node", "shapes", "message"), BAD_CALLS)
def test_a_call_that_does_not_fit_names_the_input_or_the_node(inputs, node, shapes, message):
    parameters = WEIGHT if node is CONV else {}
    with pytest.raises(GraphError, match=message):
        graph(node, inputs=tuple(inputs), parameters=parameters).shapes(shapes)


def test_a_named_dimension_has_one_value():
    square = Input("x", ("N", 3, "T", "S", "S"))
    g = graph(CONV, inputs=(square,))
    assert g.shapes({"x": (1, 3, 2, 6, 6)})["conv"] == (1, 4, 2, 6, 6)
    with pytest.raises(GraphError, match=r"expected \(N=1, 3, T=2, S=6, S=6\)"):
        g.shapes({"x": (1, 3, 2, 6, 7)})


BAD_GRAPHS = [
    (lambda: graph(CONV, CONV), r"node 'conv' \(Conv\): the name is taken"),
    (lambda: graph(Node("x", "Relu", ("x",)), parameters={}), "the name is taken"),
    (lambda: graph(RELU, CONV), r"node 'relu' \(Relu\): reads 'conv', which nothing before it"),
    (lambda: graph(Node("y", "Relu", ("y",)), parameters={}), "reads 'y', which nothing before"),
    (lambda: graph(Node("y", "Gelu", ("x",))), r"node 'y' \(Gelu\): unknown op; known are Add, "),
    (lambda: graph(Node("y", "Relu", ("x", "x"))), r"node 'y' \(Relu\): takes x; 2 inputs"),
    (lambda: graph(Node("y", "Conv", ("x", "w"), {"pad": 1})), "unknown attribute 'pad'"),
    (lambda: graph(CONV, outputs=("y",)), "the output 'y' is made by no node"),
    (lambda: graph(CONV, outputs=("w",)), "the output 'w' is made by no node"),
    (lambda: graph(CONV, inputs=(X, X)), "have the same name"),
    (lambda: graph(CONV, inputs=(X, Input("w", ("N",)))), "have the same name"),
    (lambda: graph(CONV, inputs=(Input("x", ()),)), "input 'x' has shape"),
    (lambda: graph(CONV, inputs=(Input("x", (2, 3, 4, 5, 6)),)), "the batch comes first"),
    (lambda: Graph("g", (), (), (), {}), "no input"),
    (lambda: graph(CONV, Node("c", "Conv", ("conv", "x"))), "the weight 'x' must be a parameter"),
    (lambda: graph(Node("y", "Relu", ("w",))), "the x 'w' must be a value, not a parameter"),
    (lambda: graph(Node("y", "Add", ("w", "w"))), "it reads parameters only"),
]


@pytest.mark.parametrize(("make", "message"), BAD_GRAPHS)
def test_a_graph_that_cannot_be_is_refused(make, message):
    with pytest.raises(GraphError, match=message):
        make()


def after_linear(*ops: tuple[str, dict[str, Any]]) -> Graph:
    """A linear layer, and what follows it."""
    nodes = [Node("k", "Linear", ("x", "w"))]
    for place, (op, attrs) in enumerate(ops):
        nodes.append(Node(f"y{place}", op, (nodes[-1].name,), attrs))
    inputs = (Input("x", ("N", 4, "T")),)
    return Graph("g", inputs, tuple(nodes), (nodes[-1].name,), {"w": (5, 4)})


MEAN = ("Consensus", {})


@pytest.mark.parametrize(
    ("ops", "kind", "logits", "frames"),
    [
        ((), "logits", "k", "k"),
        ((MEAN,), "logits", "y0", "k"),
        ((MEAN, ("Softmax", {})), "probabilities", "y0", "k"),
        ((MEAN, ("LogSoftmax", {})), "log-probabilities", "y0", "k"),
        ((MEAN, ("Sigmoid", {})), "independent probabilities", "y0", "k"),
        ((("Softmax", {}), MEAN), "probabilities", None, "k"),
        ((("Softmax", {}),), "probabilities", "k", "k"),
        ((("Softmax", {"axis": 2}),), "logits", "y0", None),
        ((("Relu", {}),), "logits", "y0", None),
    ],
)
def test_what_an_output_is_stands_in_the_graph(
    ops: Any, kind: str, logits: str | None, frames: str | None
) -> None:
    assert after_linear(*ops).scores == Scores(kind, logits, frames)
