"""The plain loops as a witness: what the fast paths compute is held against them."""

import numpy as np
import pytest
from hypothesis import given, settings

from tests.judging import U32
from tests.strategies import EXACT, conv_cases, graphs
from tsm_ref.engine import make_engine
from tsm_ref.engine.on_loops import LOOPS, TABLE, LoopsEngine
from tsm_ref.engine.on_numba.engine import NumbaEngine
from tsm_ref.engine.on_numba.lowering import lower
from tsm_ref.engine.on_numpy.engine import NumpyEngine
from tsm_ref.engine.on_numpy.ops import STEPS
from tsm_ref.engine.oracle import run_with_bound
from tsm_ref.engine.stream.stream import Stream
from tsm_ref.graph import Graph, Input, Node
from tsm_ref.kernels import loops
from tsm_ref.models import build_mobilenet_v2, build_ts_can, random_weights
from tsm_ref.models.resnet import ResNetSpec, build_resnet
from tsm_ref.profile import ShiftRule

NORMWISE = 2e-5
"""Error over output norm that the docs state for F(4x4, 3x3) in float32."""

FAST = {"numba": NumbaEngine, "numpy": NumpyEngine}

D = (1,) * 5 + (-1,) * 6 + (2,) * 3 + (0,) * 18
SAME = {"pads": (0, 1, 1, 0, 1, 1)}

LAYERS = {
    "direct": ((Node("y", "Conv", ("x", "point", "b")),), "direct"),
    "direct, strided": ((Node("y", "Conv", ("x", "wide", "b"), {**SAME, "strides": (1, 2, 2)}),),
                        "direct"),
    "temporal": ((Node("y", "Conv", ("x", "cube", "b"), {"pads": (1, 1, 1, 1, 1, 1)}),), "direct"),
    "winograd": ((Node("y", "Conv", ("x", "wide", "b"), SAME),), "winograd"),
    "depthwise": ((Node("y", "Conv", ("x", "each", "b"), {**SAME, "group": 32}),), "depthwise"),
    **{
        f"shift, {fill}": ((Node("s", "TemporalShift", ("x",), {"d": D, "fill": fill}),
                            Node("y", "Conv", ("s", "wide", "b"), SAME)), "winograd")
        for fill in ("zero", "replicate", "circular")
    },
    "batch norm": ((Node("c", "Conv", ("x", "point", "b")),
                    Node("y", "BatchNormalization", ("c", "scale", "b", "mean", "variance"))),
                   "direct"),
}  # fmt: skip
SHAPES = {
    "point": (32, 32, 1, 1, 1),
    "wide": (32, 32, 1, 3, 3),
    "cube": (32, 32, 3, 3, 3),
    "each": (32, 1, 1, 3, 3),
    **dict.fromkeys(("b", "scale", "mean", "variance"), (32,)),
}


def layer(nodes):
    used = {name for node in nodes for name in node.inputs}
    shapes = {name: shape for name, shape in SHAPES.items() if name in used}
    graph = Graph("layer", (Input("x", ("N", 32, "T", "H", "W")),), nodes, ("y",), shapes)
    rng = np.random.default_rng(7)
    weights = {n: rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
    if "variance" in weights:
        weights["variance"] = np.abs(weights["variance"]) + 0.5
    return graph, weights, {"x": rng.standard_normal((1, 32, 5, 14, 13)).astype(np.float32)}


def test_there_is_a_loop_for_every_op():
    assert LOOPS.keys() == STEPS.keys()


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("engine", FAST)
def test_a_fast_layer_is_what_its_loops_give_in_float64(name, engine):
    nodes, kind = LAYERS[name]
    graph, weights, x = layer(nodes)
    made = FAST[engine](graph, weights)
    if engine == "numba":
        (lowered,) = lower(made.graph, made.graph.shapes({"x": x["x"].shape}))
        assert lowered.kind == kind, "the layer is not carried out by what it is to be held against"
    expected = LoopsEngine(graph, weights, np.float64).run(x)["y"]
    bound = run_with_bound(graph, weights, x, U32)["y"].tolerance()
    error = np.abs(made.run(x)["y"] - expected)
    if (engine, kind) == ("numba", "winograd"):  # its transforms round more than any sum
        assert np.linalg.norm(error) <= NORMWISE * np.linalg.norm(expected)
    else:
        assert (error <= bound).all()


def test_a_folded_batch_norm_is_the_loop():
    nodes, _ = LAYERS["batch norm"]
    graph, weights, x = layer(nodes)
    w = {name: value.astype(np.float64) for name, value in weights.items()}
    c = loops.conv(x["x"].astype(np.float64), w["point"], w["b"])
    expected = loops.batch_norm(c, w["mean"], w["variance"], w["scale"], w["b"], 1e-5)
    bound = run_with_bound(graph, weights, x, U32)["y"].tolerance()
    for made in (NumbaEngine(graph, weights), NumpyEngine(graph, weights)):
        assert (np.abs(made.run(x)["y"] - expected) <= bound).all()


@settings(max_examples=10)
@given(graphs())
def test_any_network_is_within_the_bound(drawn):
    graph, shapes = drawn
    weights = random_weights(graph, 6)
    x = {"x": np.random.default_rng(0).standard_normal(shapes["x"]).astype(np.float32)}
    bounded = run_with_bound(graph, weights, x, U32)["consensus"]
    assert bounded.used(make_engine(graph, weights, "loops").run(x)["consensus"]) <= 1


@given(conv_cases(EXACT))
def test_any_convolution_of_whole_numbers_is_exact(case):
    """Small whole numbers are summed without rounding, in whatever order."""
    x, weight, bias, *residual = case.arrays(integers=True)
    operands = [x[0], weight, bias, *(value[0] for value in residual)]
    found = []
    for table in (TABLE, STEPS):
        found.append(np.empty(case.y[1:], np.float32))
        table["FusedConv"](case.node, operands, found[-1])()
    np.testing.assert_array_equal(*found)


NETWORKS = {
    "resnet": build_resnet(ResNetSpec((1, 1), width=8, stem_kernel=3), num_classes=3),
    "mobilenet": build_mobilenet_v2(num_classes=3, width=0.35),
    "replicate": build_resnet(
        ResNetSpec((1, 1), width=8, bottleneck=True), num_classes=3,
        shift=ShiftRule("mit", 8, "replicate"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_a_stream_of_loops_gives_what_the_clip_gives(name):
    graph = NETWORKS[name]
    graph = graph.with_outputs([graph.frame_logits])
    engine = make_engine(graph, random_weights(graph), "loops")
    x = np.random.default_rng(1).standard_normal((1, 3, 7, 32, 32)).astype(np.float32)
    stream = Stream(engine)
    parts = [stream.steps(x[:, :, :4]), stream.steps(x[:, :, 4:]), stream.flush()]
    found = np.concatenate([part for part in parts if part is not None], axis=1)
    expected = engine.run({"x": x})[graph.outputs[0]].swapaxes(1, 2)
    np.testing.assert_array_equal(found, expected)


def test_ts_can_on_loops():
    graph = build_ts_can(filters=(4, 6), hidden=8)
    weights, rng = random_weights(graph), np.random.default_rng(2)
    x = {"motion": rng.standard_normal((1, 3, 20, 36, 36)).astype(np.float32),
         "appearance": rng.standard_normal((1, 3, 1, 36, 36)).astype(np.float32)}  # fmt: skip
    bounded = run_with_bound(graph, weights, x, U32)["pulse"]
    assert bounded.used(make_engine(graph, weights, "loops").run(x)["pulse"]) <= 1
