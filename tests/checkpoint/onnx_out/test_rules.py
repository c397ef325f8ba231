"""One op after another as ONNX: it computes there what it does here, and comes back."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from tests.checkpoint.onnx_out.networks import CASES, SMALL, inputs_of, weights_for
from tsm_ref.checkpoint import export_onnx
from tsm_ref.checkpoint.onnx_out.rules import RULES, TYPED
from tsm_ref.engine.on_numpy.engine import NumpyEngine
from tsm_ref.engine.oracle import run_with_bound
from tsm_ref.errors import CheckpointError
from tsm_ref.graph import Graph
from tsm_ref.ops_table import DYNAMIC, OPS


def test_every_op_has_a_rule() -> None:
    assert {*RULES, *TYPED} == set(OPS) - {"FusedConv", "History"}
    here = {*RULES, "TemporalShift", "SpatialShift"} - {*DYNAMIC}  # those are in test_dynamic
    assert here == {n.op for g in CASES.values() for n in g.nodes}


@pytest.mark.parametrize("graph", CASES.values(), ids=CASES)
def test_an_op_computes_in_onnx_what_it_does_here(graph: Graph) -> None:
    weights, x = weights_for(graph), inputs_of(graph, {**SMALL, "A": 1})
    sizes = {**SMALL, "A": 1}
    model = onnx.load_from_string(export_onnx(graph, weights, sizes=sizes))
    found = ReferenceEvaluator(model).run(list(graph.outputs), x)
    bounds = run_with_bound(graph, weights, x, 2**-24)
    for name, values in zip(graph.outputs, found, strict=True):
        assert values.shape == bounds[name].value.shape
        error = np.abs(values - bounds[name].value)
        assert (error <= np.maximum(bounds[name].tolerance(), 1e-30)).all()


NOT_READ = ("oftmax", "Consensus", "FrameTuple")


@pytest.mark.parametrize(
    "graph", [g for n, g in CASES.items() if not any(part in n for part in NOT_READ)], ids=str
)
def test_an_op_comes_back(graph: Graph, back: Any) -> None:
    sizes = {**SMALL, "A": 1}
    weights, x = weights_for(graph), inputs_of(graph, sizes)
    found = back(export_onnx(graph, weights, sizes=sizes))
    given = {view.value: view.to_graph(x[view.name]) for view in found.inputs}
    ours = NumpyEngine(graph, weights).run(x)
    theirs = NumpyEngine(found.graph, found.weights).run(given)
    for view in found.outputs:
        np.testing.assert_array_equal(view.to_file(theirs[view.value]), ours[view.name])


def test_frames_behind_each_other_are_told_and_not_guessed(back: Any) -> None:
    graph = CASES["FrameTuple"]
    with pytest.raises(CheckpointError):
        back(export_onnx(graph, {}, sizes=SMALL))
