"""The graph up to a layer computes what the whole graph has there."""

import numpy as np
import pytest

from tsm_ref.engine.oracle import run_oracle
from tsm_ref.errors import UsageError
from tsm_ref.graph import Graph, Input, Node
from tsm_ref.models import (
    RESNETS,
    build_graph,
    build_mobilenet_v2,
    build_resnet,
    random_weights,
)
from tsm_ref.passes.features import features, head_input, layers, with_heads
from tsm_ref.profile import ShiftRule


@pytest.fixture(scope="module")
def graph() -> Graph:
    return build_mobilenet_v2(num_classes=3, width=0.35)


def two_pulses() -> Graph:
    return build_graph("mtts-can", placement="none", shift=ShiftRule("none"))


def test_the_head_reads_what_is_flat() -> None:
    assert head_input(build_resnet(RESNETS["resnet50"], num_classes=5)) == "flatten"
    assert head_input(build_mobilenet_v2(num_classes=5)) == "flatten"


def test_a_layer_is_the_mean_over_height_and_width_of_its_value(graph, rng) -> None:
    weights = random_weights(graph, 0)
    x = rng.standard_normal((2, 3, 4, 32, 32))
    for layer in ("features.3", "features.5.conv.0", "flatten", None):
        cut = features(graph, layer)
        (output,) = cut.outputs
        value = output.removesuffix(" features")
        whole = run_oracle(graph.with_outputs([value]), weights, {"x": x})[value]
        expected = whole.mean((-2, -1)) if whole.ndim == 5 else whole
        kept = {name: weights[name] for name in cut.parameters}
        np.testing.assert_allclose(run_oracle(cut, kept, {"x": x})[output], expected, rtol=1e-12)


def test_what_is_behind_the_layer_is_left_out(graph) -> None:
    cut = features(graph, "features.3")
    assert len(cut.nodes) < len(graph.nodes) / 3
    assert "classifier.weight" not in cut.parameters
    assert cut.nodes[-3].name == [n for n in layers(graph) if n.startswith("features.3.")][-1]


def test_an_input_that_is_not_needed_is_not_asked_for() -> None:
    cut = features(two_pulses(), "attention1")
    assert [entry.name for entry in cut.inputs] == ["appearance"]


def test_a_block_is_not_taken_for_one_whose_number_it_begins(graph) -> None:
    (output,) = features(graph, "features.1").outputs
    assert output.startswith("features.1.")


def test_a_layer_that_does_not_exist_is_answered_with_those_that_do(graph) -> None:
    with pytest.raises(UsageError, match=r"no layer 'features\.99'; the nearest are .*features\.9"):
        features(graph, "features.99")
    with pytest.raises(UsageError, match=r"`layer` \(=3\) must be the name of a layer"):
        features(graph, 3)
    with pytest.raises(UsageError, match=r"no layer 'x'; there are features\.0, .*features\.18, a"):
        features(graph, "x")
    with pytest.raises(UsageError, match="'consensus' has no features per frame"):
        features(graph, "consensus")


def test_two_heads_of_one_trunk_have_the_same_features_and_others_are_asked_for() -> None:
    entry = (Input("x", ("N", 4, "T")),)
    nodes = (Node("verb", "Linear", ("x", "v")), Node("noun", "Linear", ("x", "n")))
    shapes = {"v": (2, 4), "n": (3, 4)}
    assert head_input(Graph("g", entry, nodes, ("verb", "noun"), shapes)) == "x"
    with pytest.raises(UsageError, match=r"pulse, respiration .* different features"):
        features(two_pulses())


def test_a_network_without_weights_has_no_head() -> None:
    graph = Graph("g", (Input("x", ("N", 4, "T")),), (Node("y", "Relu", ("x",)),), ("y",), {})
    with pytest.raises(UsageError, match="no head"):
        features(graph)


def test_the_answer_is_no_layer() -> None:
    nodes = (Node("fc", "Linear", ("x", "w")), Node("share", "Softmax", ("fc",)))
    graph = Graph("g", (Input("x", ("N", 4, "T")),), nodes, ("share",), {"w": (2, 4)})
    assert layers(graph) == ("fc",)
    with pytest.raises(UsageError, match="no layer of frames"):
        features(graph, "share")


@pytest.mark.parametrize("name", ["", " ", 1])
def test_a_head_has_a_name(graph: Graph, name: object) -> None:
    with pytest.raises(UsageError, match=f"the head {name!r} must have a name"):
        with_heads(graph, {name: 2})  # type: ignore[dict-item]
