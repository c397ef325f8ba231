"""Graphs as JSON: there and back, and what is no graph."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import damaged, graphs
from tsm_ref.errors import GraphError
from tsm_ref.graph import Graph, Input, Node
from tsm_ref.graph_json import from_json, to_json
from tsm_ref.models import build_mobilenet_v2, build_ts_can


@given(graphs())
def test_a_graph_survives_json(drawn):
    g, _ = drawn
    assert from_json(to_json(g)) == g
    assert from_json(json.dumps(json.loads(to_json(g)), indent=1)) == g


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "3", '"graph"', "{}", "[" * 100_000, '{"name": "g"}', "1" * 5000],
)
def test_what_is_no_graph_is_a_graph_error(text):
    with pytest.raises(GraphError, match="not a graph"):
        from_json(text)


SMALL = Graph(
    "g",
    (Input("x", ("N", 3, "T", "H", "W")),),
    (
        Node("conv", "Conv", ("x", "w"), {"pads": (0, 1, 1, 0, 1, 1)}),
        Node("relu", "Relu", ("conv",)),
        Node("sum", "Add", ("relu", "conv")),
    ),
    ("sum",),
    {"w": (4, 3, 1, 3, 3)},
)
NETWORKS = [SMALL, build_mobilenet_v2(num_classes=2), build_ts_can()]


@given(st.sampled_from(NETWORKS).flatmap(lambda g: damaged(json.loads(to_json(g)))))
def test_a_damaged_graph_is_refused_or_is_a_graph(tree):
    """Whatever is put anywhere: a GraphError, or a graph whose shapes can be asked for."""
    try:
        found = from_json(json.dumps(tree))
        size = {"N": 1, "T": 20, "A": 1, "H": 36, "W": 36}
        shapes = {
            i.name: tuple(size.get(d, 5) if isinstance(d, str) else d for d in i.shape)
            for i in found.inputs
        }
        assert found.multiply_adds(shapes).keys() == found.node.keys()
    except GraphError:
        return
    assert found.parameter_count >= 0
    assert from_json(to_json(found)) == found
