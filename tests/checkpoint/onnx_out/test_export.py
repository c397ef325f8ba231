"""Our graphs as ONNX: accepted by the checker, equal in other evaluators, and ours again on return.

The judge is the evaluator of the onnx package, which shares no code with us; onnxruntime is a
second one where it is installed.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

import tsm_ref
from tsm_ref.checkpoint import export_onnx, export_onnx_stream, load_checkpoint
from tsm_ref.checkpoint.onnx_out.export import DELAY_KEY
from tsm_ref.checkpoint.onnx_out.rules import RULES, TYPED
from tsm_ref.engine.on_numpy.engine import NumpyEngine
from tsm_ref.engine.oracle import run_oracle, run_with_bound
from tsm_ref.errors import CheckpointError, GraphError, NotStreamable, UsageError, WriteError
from tsm_ref.graph import Graph, Input, Node
from tsm_ref.models import (
    RESNETS,
    ResNetSpec,
    build_graph,
    build_pp_lcnet,
    build_resnet,
    random_weights,
)
from tsm_ref.models.builder import Builder
from tsm_ref.ops_table import DYNAMIC, OPS
from tsm_ref.passes.relations import with_relations
from tsm_ref.passes.streaming import streaming, without_lookahead
from tsm_ref.profile import PROFILES, ShiftRule

SMALL = {"T": 4, "H": 8, "W": 8}

MIT = ShiftRule("mit")


def network(name: str, shift: ShiftRule = MIT, placement: str = "blockres", **more: Any) -> Graph:
    classes = None if name.endswith("ts-can") else 5
    return build_graph(name, num_classes=classes, placement=placement, shift=shift, **more)


SLIM = ResNetSpec((1, 2, 1, 1), bottleneck=True, width=8)


def attentive(mode: str) -> Graph:
    return build_resnet(SLIM, num_classes=5, non_local={"layer1.0": mode, "layer2.1": mode})


def lcnet(attention: int) -> Graph:
    return build_pp_lcnet(
        num_classes=5, width=0.25, depths=(1, 1, 2, 2), hidden=24, attention=attention
    )


NETWORKS: dict[str, tuple[Graph, dict[str, int]]] = {
    "resnet18": (network("resnet18"), {"T": 4, "H": 32, "W": 32}),
    "bottleneck": (build_resnet(SLIM, num_classes=5), {"T": 2, "H": 32, "W": 32}),
    "non-local": (attentive("embedded_gaussian"), {"T": 2, "H": 48, "W": 32}),
    "dot product": (attentive("dot_product"), {"T": 2, "H": 48, "W": 32}),
    "gaussian": (attentive("gaussian"), {"T": 2, "H": 48, "W": 32}),
    "in place": (network("resnet18", placement="block"), {"T": 3, "H": 32, "W": 32}),
    "circular": (network("resnet18", ShiftRule("mit", 4, "circular")), {"T": 4, "H": 32, "W": 32}),
    "replicate": (
        network("mobilenetv2", ShiftRule("paddle", 4, "replicate"), width=0.35),
        {"T": 4, "H": 32, "W": 32},
    ),
    "tsn": (network("mobilenetv2", placement="none", width=0.35), {"T": 3, "H": 32, "W": 32}),
    "vd": (
        build_resnet(replace(RESNETS["resnet50-vd"], width=8), num_classes=5),
        {"T": 3, "H": 50, "W": 36},
    ),
    "pool over time": (
        build_resnet(SLIM, num_classes=5, temporal_pool=True),
        {"T": 6, "H": 32, "W": 32},
    ),
    "pp-lcnet": (lcnet(0), {"T": 4, "H": 34, "W": 50}),
    "pp-lcnet, attention": (lcnet(4), {"H": 34, "W": 50}),
    "relations": (
        with_relations(build_resnet(SLIM, num_classes=5, placement="none"), 4, 5, hidden=6),
        {"T": 4, "H": 32, "W": 32},
    ),
    "ts-can": (network("ts-can", ShiftRule("mtts_can", 3, "zero", 10)), {"T": 20, "A": 1}),
    "mtts-can": (network("mtts-can", ShiftRule("mtts_can", 3, "replicate")), {"T": 6, "A": 6}),
}


def inputs_of(graph: Graph, sizes: dict[str, int], batch: int = 2) -> dict[str, Any]:
    rng = np.random.default_rng(5)
    shapes = {e.name: [{"N": batch, **sizes}.get(str(d), d) for d in e.shape] for e in graph.inputs}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture
def back(tmp_path: Path) -> Callable[..., Any]:
    """What our own importer reads out of the bytes."""

    def read(data: bytes) -> Any:
        (tmp_path / "m.onnx").write_bytes(data)
        return load_checkpoint(tmp_path / "m.onnx")

    return read


# One op after another


def after(op: str, *more: tuple[str, Any], name: str = "y", rank: int = 5, **attrs: Any) -> Graph:
    """A graph that is one node."""
    shape = ("N", 6, "T", "H", "W") if rank == 5 else ("N", 6, "T")
    parameters = dict(more)
    node = Node(name, op, ("x", *parameters), attrs)
    return Graph(op, (Input("x", shape),), (node,), (name,), parameters)


def norm(rank: int = 5) -> Graph:
    roles = ("scale", "bias", "mean", "variance")
    return after("BatchNormalization", *((r, (6,)) for r in roles), rank=rank, epsilon=1e-3)


def attention(mode: str) -> Graph:
    b = Builder("attention")
    x = b.input("x", ("N", 6, "T", "H", "W"))
    theta, phi, g = (b.conv(x, n, 4, kernel=1) for n in ("theta", "phi", "g"))
    phi, g = (
        b.node("MaxPool", f"{v}.pool", [v], 4, kernel_shape=(1, 2, 2), strides=(1, 2, 2))
        for v in (phi, g)
    )
    return b.graph([b.node("NonLocal", "y", [theta, phi, g], 4, mode=mode)])


def joined() -> Graph:
    """The channels of three values one behind the other, and a shift of all of them."""
    b = Builder("joined")
    x = b.input("x", ("N", 6, "T", "H", "W"))
    first, last = (b.conv(x, name, count, kernel=1) for name, count in (("p", 5), ("q", 4)))
    y = b.node("Concat", "both", [first, last], 9)
    y = b.node("Concat", "all", [y, x], 15)
    y = b.node("TemporalShift", "shift", [y], 15, d=(1, -1, 0) * 5, fill="zero")
    return b.graph([b.conv(y, "y", 3, kernel=1)])


def gated() -> Graph:
    """A value times one of a single frame and place, plus itself."""
    b = Builder("gated")
    x, m = b.input("x", ("N", 6, "T", "H", "W")), b.input("m", ("N", 6, "A", 1, 1))
    y = b.node("Mul", "mul", [x, m], 6)
    return b.graph([b.node("Add", "y", [y, x], 6)])


def squeezed() -> Graph:
    nodes = (Node("l", "Linear", ("x", "w")), Node("y", "Squeeze", ("l",), {"axes": (1,)}))
    return Graph("squeezed", (Input("x", ("N", 6, "T")),), nodes, ("y",), {"w": (1, 6)})


D = (-2, -1, 1, 2, 0, 9)
SAME = (0, 1, 1, 0, 1, 1)
CASES = {
    "Conv": after("Conv", ("w", (4, 3, 1, 3, 3)), ("b", (4,)), group=2, pads=SAME),
    "Conv strided": after(
        "Conv", ("w", (4, 6, 1, 2, 3)), strides=(1, 2, 1), pads=(0, 0, 2, 0, 1, 0)
    ),
    "Conv dilated": after("Conv", ("w", (4, 6, 1, 3, 3)), dilations=(1, 2, 2)),
    "Conv in time": after("Conv", ("w", (4, 6, 3, 1, 1)), pads=(1, 0, 0, 1, 0, 0)),
    "Conv 3-D": after("Conv", ("w", (4, 6, 2, 3, 3)), ("b", (4,)), strides=(2, 1, 1), pads=SAME),
    "BatchNormalization": norm(),
    "BatchNormalization of frames": norm(3),
    "Relu": after("Relu"),
    "Clip": after("Clip", min=-0.125, max=0.75),
    "LeakyRelu": after("LeakyRelu", alpha=0.1),
    "HardSwish": after("HardSwish"),
    "HardSigmoid": after("HardSigmoid"),
    "Tanh": after("Tanh"),
    "Sigmoid": after("Sigmoid"),
    "Softmax": after("Softmax", rank=3),
    "LogSoftmax": after("LogSoftmax", rank=3),
    "Add and Mul": gated(),
    "MaxPool": after("MaxPool", kernel_shape=(1, 3, 3), strides=(1, 2, 2), pads=SAME),
    "MaxPool in time": after(
        "MaxPool", kernel_shape=(3, 1, 1), strides=(2, 1, 1), pads=(1, 0, 0, 1, 0, 0)
    ),
    "AveragePool": after("AveragePool", kernel_shape=(1, 3, 3), pads=SAME),
    "AveragePool of all": after(
        "AveragePool", kernel_shape=(1, 3, 2), pads=SAME, count_include_pad=True
    ),
    "AveragePool in time": after("AveragePool", kernel_shape=(2, 2, 2), strides=(2, 2, 2)),
    "GlobalAveragePool": after("GlobalAveragePool"),
    "Flatten": after("Flatten"),
    "Flatten HWC": after("Flatten", order="HWC"),
    "Squeeze": squeezed(),
    "Linear": after("Linear", ("w", (3, 6)), ("b", (3,)), rank=3),
    "Linear without bias": after("Linear", ("w", (3, 6)), rank=3),
    "TemporalShift zero": after("TemporalShift", d=D),
    "TemporalShift replicate": after("TemporalShift", d=D, fill="replicate"),
    "TemporalShift circular": after("TemporalShift", d=D, fill="circular"),
    "TemporalShift in segments": after("TemporalShift", d=D, segment=2),
    "TemporalShift of frames": after("TemporalShift", rank=3, d=D),
    "SpatialShift zero": after("SpatialShift", dh=D, dw=D[::-1]),
    "SpatialShift replicate": after(
        "SpatialShift", dh=(-2, -1, 1, 2, 0, 0), dw=(2, 1, -1, -2, 0, 1), fill="replicate"
    ),
    "SpatialShift circular": after("SpatialShift", dh=D, dw=D[::-1], fill="circular"),
    "Consensus": after("Consensus", rank=3),
    "Consensus of the largest": after("Consensus", rank=3, over="max"),
    "Consensus of the last": after("Consensus", rank=3, over="last"),
    "FrameTuple": after("FrameTuple", rank=3, frames=(0, 2, 3)),
    "Concat": joined(),
    "AttentionMask": after("AttentionMask"),
    "NonLocal": attention("embedded_gaussian"),
    "NonLocal dot product": attention("dot_product"),
}


def weights_for(graph: Graph) -> dict[str, Any]:
    return random_weights(graph, seed=3)


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


# Whole networks


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


# One frame at a time


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
