"""Our graphs as ONNX: accepted by the checker, equal in other evaluators, and ours again on return.

The judge is the evaluator of the onnx package, which shares no code with us; onnxruntime is a
second one where it is installed.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

import tsm_ref
from tests.checkpoint.onnx_out.networks import CASES, NETWORKS, SMALL, after, inputs_of, weights_for
from tsm_ref.checkpoint import export_onnx
from tsm_ref.engine.on_numpy.engine import NumpyEngine
from tsm_ref.engine.oracle import run_oracle, run_with_bound
from tsm_ref.errors import GraphError, UsageError, WriteError
from tsm_ref.graph import Graph
from tsm_ref.profile import PROFILES


@pytest.mark.parametrize("opset", [14, 17, 18, 21, onnx.defs.onnx_opset_version()])
def test_a_network_is_equal_in_every_opset(opset: int) -> None:
    graph, sizes = NETWORKS["replicate"]
    weights, x = weights_for(graph), inputs_of(graph, sizes)
    model = onnx.load_from_string(export_onnx(graph, weights, sizes=sizes, opset=opset))
    assert model.opset_import[0].version == opset
    (found,) = ReferenceEvaluator(model).run(None, x)
    bound = run_with_bound(graph, weights, x, 2**-24)["consensus"]
    assert (np.abs(found - bound.value) < bound.tolerance()).all()


def ops_of(graph: Graph) -> set[str]:
    """Ops; one that ONNX writes as several nodes comes back under the name of the last of them."""
    return {node.op for node in graph.nodes}


@pytest.mark.parametrize("batch", [None, 2], ids=["open batch", "fixed batch"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_comes_back_bit_for_bit(name: str, batch: int | None, back: Any) -> None:
    graph, sizes = NETWORKS[name]
    weights, x = weights_for(graph), inputs_of(graph, sizes)
    bound = {} if batch is None else {"N": batch}
    found = back(export_onnx(graph, weights, sizes={**sizes, **bound}))
    assert [view.name for view in found.outputs] == list(graph.outputs)
    given = {view.value: view.to_graph(x[view.name]) for view in found.inputs}
    ours = NumpyEngine(graph, weights).run(x)
    theirs = NumpyEngine(found.graph, found.weights).run(given)
    for view in found.outputs:
        np.testing.assert_array_equal(view.to_file(theirs[view.value]), ours[view.name])


REWRITTEN = {"pool over time", "pp-lcnet", "pp-lcnet, attention", "relations"}
"""Networks of which one op is several in ONNX, or a constant factor, which becomes a norm."""


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, (graph, _) in NETWORKS.items()
        if not {"AttentionMask", "NonLocal"} & ops_of(graph) and name not in REWRITTEN
    ],
)
def test_a_network_comes_back_as_the_same_graph(name: str, back: Any) -> None:
    graph, sizes = NETWORKS[name]
    sizes = {**sizes, "H": 64, "W": 64}
    found = back(export_onnx(graph, weights_for(graph), sizes=sizes)).graph
    assert found.parameters == graph.parameters
    for ours, theirs in zip(graph.nodes, found.nodes, strict=True):
        assert (ours.name, ours.op, ours.inputs) == (theirs.name, theirs.op, theirs.inputs)
        for key in {*ours.attrs, *theirs.attrs}:
            assert ours.attr(key) == theirs.attr(key)


@pytest.mark.parametrize("name", NETWORKS)
def test_onnxruntime_agrees(name: str) -> None:
    ort = pytest.importorskip("onnxruntime")
    graph, sizes = NETWORKS[name]
    weights, x = weights_for(graph), inputs_of(graph, sizes)
    session = ort.InferenceSession(export_onnx(graph, weights, sizes=sizes))
    bounds = run_with_bound(graph, weights, x, 2**-24)
    for output, found in zip(graph.outputs, session.run(list(graph.outputs), x), strict=True):
        assert (np.abs(found - bounds[output].value) < bounds[output].tolerance()).all()


def test_the_profile_travels_with_the_file(back: Any) -> None:
    graph, sizes = NETWORKS["resnet18"]
    profile = PROFILES["mmaction2"].with_changes(labels=("a", "b", "c", "d", "e"))
    data = export_onnx(graph, weights_for(graph), sizes=sizes, profile=profile)
    assert back(data).profile == profile


def test_the_same_graph_gives_the_same_bytes() -> None:
    graph, sizes = NETWORKS["tsn"]
    first, second = (export_onnx(graph, weights_for(graph), sizes=sizes) for _ in range(2))
    assert first == second


def test_the_file_is_written_whole(tmp_path: Path) -> None:
    graph = CASES["Relu"]
    path = tmp_path / "relu.onnx"
    data = export_onnx(graph, {}, path, sizes=SMALL)
    assert path.read_bytes() == data
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(WriteError):
        export_onnx(graph, {}, tmp_path / "no" / "relu.onnx", sizes=SMALL)


def test_what_cannot_be_written_is_said() -> None:
    graph = CASES["Relu"]
    with pytest.raises(UsageError, match="`sizes` does not say what 'T' is"):
        export_onnx(graph, {}, sizes={"H": 8, "W": 8})
    with pytest.raises(UsageError, match=r"`opset` \(=13\) must be 14 to [0-9]+"):
        export_onnx(graph, {}, sizes=SMALL, opset=13)
    fused = after("FusedConv", ("w", (6, 6, 1, 1, 1)), ("b", (6,)))
    with pytest.raises(GraphError, match=r"'y' \(FusedConv\) has no form in ONNX"):
        export_onnx(fused, weights_for(fused), sizes=SMALL)


def test_the_judge_itself_is_right_about_a_shift() -> None:
    """The oracle on the shift case, written out once by hand."""
    graph = CASES["TemporalShift zero"]
    x = inputs_of(graph, SMALL)["x"]
    y = run_oracle(graph, {}, {"x": x})["y"]
    np.testing.assert_array_equal(y[:, 1, :3], x[:, 1, 1:].astype(np.float64))
    assert not y[:, 1, 3].any()
    assert not y[:, 5].any()


@pytest.mark.parametrize("causal", [False, True])
def test_shifts_in_time_and_in_space_come_back_together(tmp_path: Path, causal: bool) -> None:
    model = tsm_ref.build(
        "resnet18", num_classes=5, segments=4, spatial_shift=8, causal=causal, engine="numpy"
    )
    export_onnx(model.graph, model.weights, tmp_path / "m.onnx", sizes={"T": 4, "H": 64, "W": 64})
    again = tsm_ref.load(tmp_path / "m.onnx", engine="numpy")
    for op in ("TemporalShift", "SpatialShift"):
        found, wanted = (
            [
                {k: n.attr(k) for k in ("d", "dh", "dw", "fill") if k in n.rule.attrs}
                for n in graph.select(op)
            ]
            for graph in (again.graph, model.graph)
        )
        assert found == wanted
        assert len(found) == 8
