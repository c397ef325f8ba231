"""The NumPy engine on every family of networks, held against the oracle and its bound."""

import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.judging import U32, U64, assert_all_within
from tests.strategies import damaged, graphs
from tsm_ref.engine.on_numpy.engine import NumpyEngine
from tsm_ref.engine.oracle import run_with_bound
from tsm_ref.engine.plan_cache import KEPT
from tsm_ref.errors import GraphError
from tsm_ref.graph import Graph, Input, Node
from tsm_ref.graph_json import from_json, to_json
from tsm_ref.models import (
    RESNETS,
    ResNetSpec,
    build_mobilenet_v2,
    build_resnet,
    build_ts_can,
    random_weights,
)
from tsm_ref.profile import ShiftRule

RULES = {
    "mit": ShiftRule("mit", 8),
    "causal": ShiftRule("online", 8),
    "causal, double": ShiftRule("online_double", 8),
    "paddle, uneven": ShiftRule("paddle", 7),
    "replicate, segments": ShiftRule("mit", 3, "replicate", segment=2),
    "circular": ShiftRule("roll", 4, "circular"),
}


NON_LOCAL = {
    "embedded_gaussian": ("layer2.0", "layer2.2", "layer3.0", "layer3.2", "layer3.4"),
    "gaussian": ("layer2.0",),
    "dot_product": ("layer2.0",),
}
"""Where the published network has its blocks; one of those that grow without trained weights."""


def narrow(name: str, **options) -> Graph:
    """A ResNet of the real depth and a quarter of the width."""
    return build_resnet(replace(RESNETS[name], width=16), num_classes=5, **options)


NETWORKS = {
    **{name: (narrow(name), (2, 3, 4, 48, 56)) for name in RESNETS},
    **{
        f"{name}, {placement}": (narrow(name, placement=placement), (1, 3, 4, 48, 40))
        for name in ("resnet18", "resnet50", "resnet101")
        for placement in ("none", "block")
    },
    **{
        f"resnet50, {kind}": (narrow("resnet50", shift=rule), (1, 3, 4, 48, 40))
        for kind, rule in RULES.items()
    },
    **{
        f"resnet50, non-local, {mode}": (
            narrow("resnet50", non_local=dict.fromkeys(blocks, mode)),
            (2, 3, 4, 48, 56),
        )
        for mode, blocks in NON_LOCAL.items()
    },
    "resnet50, full width": (
        build_resnet(RESNETS["resnet50"], num_classes=400),
        (1, 3, 4, 64, 64),
    ),
    "small pictures": (
        build_resnet(
            ResNetSpec((1, 1), width=8, stem_kernel=3, stem_stride=1, stem_pool=False),
            num_classes=3,
        ),
        (3, 3, 5, 19, 17),
    ),
    "one frame": (narrow("resnet18"), (2, 3, 1, 40, 40)),
    **{
        f"mobilenetv2, {width}": (
            build_mobilenet_v2(num_classes=5, width=width),
            (1, 3, 4, 64, 96),
        )
        for width in (0.35, 1.0, 1.4)
    },
    "mobilenetv2, causal, odd": (
        build_mobilenet_v2(num_classes=5, width=0.35, shift=RULES["causal"]),
        (2, 3, 3, 75, 61),
    ),
}


def clips(shape, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_family_is_within_the_bound_of_the_oracle(name):
    graph, shape = NETWORKS[name]
    graph = graph.with_outputs([graph.frame_logits, *graph.outputs])
    weights = random_weights(graph)
    x = {"x": clips(shape)}
    assert_all_within(NumpyEngine(graph, weights).run(x), run_with_bound(graph, weights, x, U32))


@pytest.mark.parametrize("heads", [("pulse",), ("pulse", "respiration")])
@pytest.mark.parametrize("appearances", [1, 40])
@pytest.mark.parametrize("fill", ["zero", "replicate"])
def test_ts_can_and_mtts_can(heads, appearances, fill):
    rule = ShiftRule("mtts_can", 3, fill, segment=20)
    graph = build_ts_can(heads=heads, shift=rule, filters=(8, 12), hidden=16)
    weights = random_weights(graph)
    x = {
        "motion": clips((2, 3, 40, 36, 36)),
        "appearance": clips((2, 3, appearances, 36, 36), 1),
    }
    y = NumpyEngine(graph, weights).run(x)
    assert {name: value.shape for name, value in y.items()} == dict.fromkeys(heads, (2, 40))
    assert_all_within(y, run_with_bound(graph, weights, x, U32))


@given(graphs())
def test_any_network_is_within_the_bound(drawn):
    graph, shapes = drawn
    weights = random_weights(graph, 6)
    x = {"x": clips(shapes["x"])}
    bounded = run_with_bound(graph, weights, x, U32)["consensus"]
    assert bounded.used(NumpyEngine(graph, weights).run(x)["consensus"]) <= 1


@given(graphs())
def test_float64_is_within_the_bound_of_float64(drawn):
    graph, shapes = drawn
    weights = {name: value.astype(np.float64) for name, value in random_weights(graph, 6).items()}
    x = {"x": clips(shapes["x"]).astype(np.float64)}
    bounded = run_with_bound(graph, weights, x, U64)["consensus"]
    y = NumpyEngine(graph, weights, np.float64).run(x)["consensus"]
    assert y.dtype == np.float64
    assert bounded.used(y) <= 1


@pytest.mark.parametrize("name", ["resnet18", "resnet50, circular", "mobilenetv2, causal, odd"])
def test_a_clip_has_the_same_bits_in_any_company(name):
    graph, shape = NETWORKS[name]
    engine = NumpyEngine(graph, random_weights(graph))
    x = clips((4, *shape[1:]))
    together = engine.run({"x": x})["consensus"]
    for n in range(4):
        alone = engine.run({"x": x[n : n + 1]})["consensus"]
        assert alone.tobytes() == together[n : n + 1].tobytes()
    assert engine.run({"x": x[::-1]})["consensus"].tobytes() == together[::-1].tobytes()


@pytest.mark.parametrize("name", ["resnet50, replicate, segments", "mobilenetv2, 0.35"])
def test_a_clip_leaves_nothing_behind(name):
    """An arena is used again: NaN in what an earlier clip wrote must not reach a later one."""
    graph, shape = NETWORKS[name]
    engine = NumpyEngine(graph, random_weights(graph))
    x = clips(shape)
    expected = engine.run({"x": x})["consensus"].tobytes()
    engine.run({"x": np.full(shape, np.nan, np.float32)})
    assert engine.run({"x": x})["consensus"].tobytes() == expected


def test_results_are_the_caller_s_own():
    graph, shape = NETWORKS["resnet18"]
    engine = NumpyEngine(graph, random_weights(graph))
    x = clips((1, *shape[1:]))
    kept = x.copy()
    first = engine.run({"x": x})["consensus"]
    before = first.copy()
    first[:] = 7
    assert (engine.run({"x": x})["consensus"] == before).all()
    engine.run({"x": x + 1})
    assert (first == 7).all()
    assert x.tobytes() == kept.tobytes()


def test_inputs_of_other_layouts_and_types():
    graph, shape = NETWORKS["one frame"]
    engine = NumpyEngine(graph, random_weights(graph))
    x = clips(shape)
    expected = engine.run({"x": x})["consensus"].tobytes()
    for same in (x.astype(np.float64), np.asfortranarray(x), x.tolist(), x[:, ::-1][:, ::-1]):
        assert engine.run({"x": same})["consensus"].tobytes() == expected


def test_values_inside_and_inputs_may_be_asked_for():
    graph, shape = NETWORKS["resnet18"]
    names = ["layer2.0.relu", "layer1.0.shift", "x", "consensus"]
    graph = graph.with_outputs(names)
    weights = random_weights(graph)
    x = {"x": clips(shape)}
    y = NumpyEngine(graph, weights).run(x)
    assert list(y) == names
    bounded = run_with_bound(graph, weights, x, U32)
    assert all(bounded[name].used(y[name]) <= 1 for name in names)


# Plans


def test_plans_are_kept_by_shape_and_the_oldest_goes_first():
    graph = narrow("resnet18")
    engine = NumpyEngine(graph, random_weights(graph))
    made = [engine.plan({"x": (1, 3, frames, 32, 32)}) for frames in (1, 2, 3, 4)]
    assert engine.plan({"x": (9, 3, 2, 32, 32)}) is made[1], "a batch has the plan of its clips"
    engine.plan({"x": (1, 3, 5, 32, 32)})
    assert engine.plan({"x": (1, 3, 2, 32, 32)}) is made[1]
    assert engine.plan({"x": (1, 3, 1, 32, 32)}) is not made[0]
    assert len(engine.plans.keys("clip")) == KEPT == 4


def test_an_evicted_plan_is_made_again_with_the_same_bits():
    graph = narrow("resnet18")
    engine = NumpyEngine(graph, random_weights(graph))
    x = clips((1, 3, 2, 32, 32))
    expected = engine.run({"x": x})["consensus"].tobytes()
    for side in range(33, 38):
        engine.run({"x": clips((1, 3, 2, side, 32))})
    assert engine.run({"x": x})["consensus"].tobytes() == expected


def test_memory_does_not_grow_with_the_batch_and_is_what_was_said():
    graph = build_mobilenet_v2(num_classes=5, width=0.35)
    engine = NumpyEngine(graph, random_weights(graph))
    shape = (3, 8, 96, 96)
    said = engine.memory_bytes({"x": (1, *shape)})
    engine.run({"x": clips((1, *shape))})
    x = clips((6, *shape))
    tracemalloc.start()
    try:
        engine.run({"x": x})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert engine.memory_bytes({"x": (6, *shape)}) == said
    assert peak < said / 10


def test_the_arena_of_a_resnet50_is_what_the_plan_promises():
    """150 MB of values together, in about 40."""
    graph = build_resnet(RESNETS["resnet50"], num_classes=400)
    engine = NumpyEngine(graph, random_weights(graph))
    assert engine.memory_bytes({"x": (1, 3, 8, 224, 224)}) < 60e6
    assert engine.fallbacks() is None


# What does not fit

BAD = [
    ({}, "the inputs are"),
    ({"y": clips((1, 3, 2, 32, 32))}, "the inputs are"),
    ({"x": clips((3, 2, 32, 32))}, r"input 'x' has shape \(3, 2, 32, 32\)"),
    ({"x": clips((1, 4, 2, 32, 32))}, "input 'x' has shape"),
    ({"x": clips((0, 3, 2, 32, 32))}, "input 'x' has shape"),
    ({"x": np.float32(1)}, "input 'x' has shape"),
    ({"x": clips((1, 3, 3, 32, 32))}, r"node 'layer1.0.\w+' .*not a multiple of the segment"),
    ({"x": clips((1, 3, 2, 32, 32)) * 1j}, "input 'x' .*complex"),
    ({"x": np.full((1, 3, 2, 32, 32), "a")}, "input 'x' "),
]


@pytest.mark.parametrize(("inputs", "message"), BAD)
def test_inputs_that_do_not_fit_are_named(inputs, message):
    graph = narrow("resnet18", shift=ShiftRule("mit", 8, segment=2))
    engine = NumpyEngine(graph, random_weights(graph))
    with pytest.raises(GraphError, match=message):
        engine.run(inputs)


@given(st.data(), graphs())
def test_what_knows_its_shapes_runs(data, drawn):
    """A graph out of a damaged file is refused when it is read or asked for shapes, or it runs."""
    graph, shapes = drawn
    tree = data.draw(damaged(json.loads(to_json(graph))))
    try:
        found = from_json(json.dumps(tree))
        expected = found.shapes(shapes)
    except GraphError:
        return
    if sum(np.prod(shape, dtype=float) for shape in expected.values()) > 1e6:
        return
    found = found.with_nodes(found.nodes)
    y = NumpyEngine(found, random_weights(found)).run({"x": clips(shapes["x"])})
    assert {name: value.shape for name, value in y.items()} == {
        name: expected[name] for name in found.outputs
    }


def test_a_picture_smaller_than_a_window_names_the_node():
    nodes = (Node("y", "MaxPool", ("x",), {"kernel_shape": (1, 5, 5)}),)
    graph = Graph("g", (Input("x", ("N", 1, "T", "H", "W")),), nodes, ("y",), {})
    with pytest.raises(GraphError, match=r"node 'y' \(MaxPool\): the window of 5 is larger"):
        NumpyEngine(graph, {}).run({"x": clips((1, 1, 1, 4, 9))})


def test_two_inputs_of_unequal_batches_are_refused():
    graph = build_ts_can(filters=(8, 12), hidden=16)
    engine = NumpyEngine(graph, random_weights(graph))
    with pytest.raises(GraphError, match="equally many clips"):
        engine.run({"motion": clips((3, 3, 20, 36, 36)), "appearance": clips((2, 3, 1, 36, 36))})
