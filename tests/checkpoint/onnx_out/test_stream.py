"""Networks as ONNX that take one frame at a time, and hand their state on."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from tests.checkpoint.onnx_out.networks import CASES, inputs_of, network, weights_for
from tsm_ref.checkpoint import export_onnx_stream
from tsm_ref.checkpoint.onnx_out.export import DELAY_KEY
from tsm_ref.engine.on_numpy.engine import NumpyEngine
from tsm_ref.engine.oracle import run_with_bound
from tsm_ref.errors import NotStreamable
from tsm_ref.graph import Graph
from tsm_ref.models.builder import Builder
from tsm_ref.passes.streaming import streaming, without_lookahead
from tsm_ref.profile import ShiftRule


def deeper() -> Graph:
    """Shifts by up to three frames, and a causal convolution in time."""
    b = Builder("deeper")
    x = b.relu(b.conv(b.input("x", ("N", 3, "T", "H", "W")), "c1", 8, kernel=3, padding=1), "r1")
    x = b.node("TemporalShift", "s", [x], 8, d=(2, 2, 1, 1, 0, 0, 3, 0), fill="zero", segment=0)
    x = b.relu(b.conv(x, "c2", 8, kernel=1), "r2")
    weight = b.parameter("t.weight", (8, 8, 3, 1, 1))
    return b.graph([b.head(b.node("Conv", "t", [x, weight], 8, pads=(2, 0, 0, 0, 0, 0)), "fc", 4)])


CAUSAL = {
    "mobilenetv2": network("mobilenetv2", ShiftRule("online"), width=0.35),
    "in place": network("resnet18", ShiftRule("online"), placement="block"),
    "deeper": deeper(),
}


@pytest.mark.parametrize("name", CAUSAL)
def test_steps_give_what_the_clip_gives(name: str) -> None:
    """Six steps of the file, judged by the oracle on the whole clip."""
    graph = CAUSAL[name]
    weights, place = weights_for(graph), {"H": 32, "W": 32}
    x = inputs_of(graph, {**place, "T": 6})["x"]
    model = onnx.load_from_string(export_onnx_stream(graph, weights, sizes=place))
    step = ReferenceEvaluator(model)
    states = {
        entry.name: np.zeros(
            [2, *(d.dim_value for d in entry.type.tensor_type.shape.dim[1:])], np.float32
        )
        for entry in model.graph.input[1:]
    }
    logits = str(graph.frame_logits)
    wanted = run_with_bound(graph.with_outputs([logits]), weights, {"x": x}, 2**-24)[logits]
    names = [entry.name for entry in model.graph.output]
    assert len(names) == 1 + len(states)
    for t in range(6):
        found = dict(zip(names, step.run(None, {"x": x[:, :, t], **states}), strict=True))
        error = np.abs(found["consensus"] - wanted.value[:, :, t])
        assert (error < wanted.tolerance()[:, :, t]).all()
        states = {name: found[name.replace("in", "out")] for name in states}


LATE = {
    "resnet18": network("resnet18"),
    "mobilenetv2": network("mobilenetv2", width=0.35),
    "without the future": without_lookahead(network("resnet18"), "zero"),
}


@pytest.mark.parametrize("frames", [1, 3, 12])
@pytest.mark.parametrize("name", LATE)
def test_a_network_that_looks_ahead_answers_late(name: str, frames: int) -> None:
    """From the first frame to the last answer, judged by the oracle on the whole clip."""
    graph = LATE[name]
    weights, place = weights_for(graph), {"H": 32, "W": 32}
    x = inputs_of(graph, {**place, "T": frames})["x"]
    model = onnx.load_from_string(export_onnx_stream(graph, weights, sizes=place))
    step, delay = ReferenceEvaluator(model), streaming(graph).delay
    kept = {entry.key: entry.value for entry in model.metadata_props}
    assert kept == ({DELAY_KEY: str(delay)} if delay else {})
    states = {
        entry.name: np.zeros([2, *(d.dim_value for d in entry.type.tensor_type.shape.dim[1:])])
        for entry in model.graph.input
        if entry.name.startswith("state")
    }
    states = {state: value.astype(np.float32) for state, value in states.items()}
    logits = str(graph.frame_logits)
    wanted = run_with_bound(graph.with_outputs([logits]), weights, {"x": x}, 2**-24)[logits]
    names = [entry.name for entry in model.graph.output]
    for tick in range(frames + delay):
        real = tick < frames
        frame = x[:, :, tick] if real else np.full_like(x[:, :, 0], 7)
        given = {"x": frame, **states} | ({"valid": np.float32([real] * 2)} if delay else {})
        found = dict(zip(names, step.run(None, given), strict=True))
        states = {n: found[n.replace("in", "out")] for n in states}
        if tick >= delay:
            error = np.abs(found["consensus"] - wanted.value[:, :, tick - delay])
            assert (error < wanted.tolerance()[:, :, tick - delay]).all()


@pytest.mark.parametrize("name", ["mobilenetv2", "in place"])
def test_the_steps_come_back_as_the_shifts_they_were(name: str, back: Any) -> None:
    graph = CAUSAL[name]
    weights = weights_for(graph)
    found = back(export_onnx_stream(graph, weights, sizes={"H": 32, "W": 32}))
    ours, theirs = (list(g.select("TemporalShift")) for g in (graph, found.graph))
    assert [node.attrs["d"] for node in theirs] == [node.attrs["d"] for node in ours]
    assert len(found.states) == len(ours)
    x = inputs_of(graph, {"T": 5, "H": 32, "W": 32})
    logits = str(graph.frame_logits)
    whole = NumpyEngine(graph.with_outputs([logits]), weights).run(x)[logits]
    lifted = NumpyEngine(found.graph, found.weights).run(x)[found.graph.outputs[0]]
    np.testing.assert_array_equal(lifted, whole)


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        (CASES["AveragePool in time"], "skips frames"),
        (network("resnet18", ShiftRule("online", 8, "replicate")), "does not start at zero"),
    ],
    ids=["skips", "replicates"],
)
def test_what_is_no_single_step_is_refused(graph: Graph, words: str) -> None:
    with pytest.raises(NotStreamable, match=words):
        export_onnx_stream(graph, weights_for(graph), sizes={"H": 32, "W": 32})
