import numpy as np
import pytest

import tsm_ref
from tsm_ref.engine import alone
from tsm_ref.engine.on_numba.chains import chains
from tsm_ref.engine.on_numba.engine import NumbaEngine
from tsm_ref.engine.on_numba.lowering import lower
from tsm_ref.engine.on_numpy.engine import NumpyEngine
from tsm_ref.graph import Graph, Input, Node
from tsm_ref.models import RESNETS, build_mobilenet_v2, build_resnet, random_weights
from tsm_ref.models.builder import Builder
from tsm_ref.models.pp_lcnet import build_pp_lcnet
from tsm_ref.passes.fold_batch_norm import fold_batch_norm
from tsm_ref.profile import ShiftRule

NETWORKS = {
    "resnet18": (
        lambda: build_resnet(RESNETS["resnet18"], num_classes=7),
        (2, 3, 3, 48, 56),
    ),
    "resnet50 by frames": (
        lambda: build_resnet(RESNETS["resnet50"], num_classes=7),
        (1, 3, 8, 96, 96),
    ),
    "resnet50 in place, circular": (
        lambda: build_resnet(
            RESNETS["resnet50"],
            num_classes=7,
            placement="block",
            shift=ShiftRule("paddle", 7, fill="circular"),
        ),
        (1, 3, 4, 64, 40),
    ),
    "resnet18 replicate, segments": (
        lambda: build_resnet(
            RESNETS["resnet18"],
            num_classes=7,
            shift=ShiftRule("mit", 3, fill="replicate", segment=2),
        ),
        (1, 3, 4, 80, 64),
    ),
    "mobilenet": (
        lambda: build_mobilenet_v2(num_classes=7, width=0.35, shift=ShiftRule("online")),
        (1, 3, 5, 64, 96),
    ),
    "mobilenet, odd": (
        lambda: build_mobilenet_v2(num_classes=7, width=0.35),
        (1, 3, 2, 75, 61),
    ),
}


def clip(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_network_is_what_the_numpy_engine_computes_in_float64(name, threads):
    build, shape = NETWORKS[name]
    graph = build()
    weights = random_weights(graph)
    x = clip(shape)
    expected = NumpyEngine(graph, weights, np.float64).run({"x": x})["consensus"]
    engine = NumbaEngine(graph, weights, threads)
    y = engine.run({"x": x})["consensus"]
    assert np.abs(y - expected).max() <= 2e-5 * np.abs(expected).max()
    assert y.tobytes() == engine.run({"x": x})["consensus"].tobytes()
    assert all(
        engine.graph.node[n].op in ("Consensus", "TemporalShift") for n in engine.fallbacks()
    )


def test_blocks_that_share_a_convolution_are_not_both_fused():
    """As in MobileNetV1: every 1x1 convolution ends one block and begins the next."""
    graph = build_pp_lcnet(num_classes=3, width=0.25, depths=(3, 1, 1, 1))
    weights = random_weights(graph)
    engine = NumbaEngine(graph, weights)
    kinds = [
        layer.kind for layer in lower(engine.graph, engine.graph.shapes({"x": (1, 3, 4, 64, 64)}))
    ]
    assert kinds.count("inverted") == 3
    x = clip((1, 3, 4, 64, 64))
    expected = NumpyEngine(graph, weights, np.float64).run({"x": x})["consensus"]
    y = engine.run({"x": x})["consensus"]
    assert np.abs(y - expected).max() <= 2e-5 * np.abs(expected).max()


def test_a_residual_stage_runs_by_frames_and_whole_with_the_same_bits():
    graph = build_resnet(RESNETS["resnet50"], num_classes=7, placement="none")
    graph = graph.with_outputs([graph.frame_logits])
    weights = random_weights(graph)
    engine = NumbaEngine(graph, weights)
    x = clip((1, 3, 6, 96, 96))
    together = engine.run({"x": x})[graph.frame_logits]
    shapes = engine.graph.shapes({"x": x.shape})
    layers = lower(engine.graph, shapes)
    assert any(chain.by_frame for chain in chains(layers, engine.graph, shapes))
    for t in range(6):
        alone = engine.run({"x": x[:, :, t : t + 1]})[graph.frame_logits]
        assert alone.tobytes() == together[:, :, t : t + 1].tobytes()


def test_causal_networks_do_not_look_ahead():
    graph = build_resnet(RESNETS["resnet18"], num_classes=7, shift=ShiftRule("online"))
    graph = graph.with_outputs([graph.frame_logits])
    engine = NumbaEngine(graph, random_weights(graph), threads=2)
    x = clip((1, 3, 7, 64, 64))
    whole = engine.run({"x": x})[graph.frame_logits]
    part = engine.run({"x": x[:, :, :4]})[graph.frame_logits]
    assert part.tobytes() == whole[:, :, :4].tobytes()


@pytest.mark.parametrize("name", ["resnet18", "resnet50 by frames", "mobilenet"])
def test_bits_do_not_depend_on_threads_or_batch(name):
    build, shape = NETWORKS[name]
    graph = build()
    weights = random_weights(graph)
    x = np.concatenate([clip((1, *shape[1:]), seed) for seed in range(2)])
    expected = NumbaEngine(graph, weights).run({"x": x})["consensus"]
    for threads in (2, 3):
        engine = NumbaEngine(graph, weights, threads)
        assert engine.run({"x": x})["consensus"].tobytes() == expected.tobytes()
        for n in range(2):
            one = engine.run({"x": x[n : n + 1]})["consensus"]
            assert one.tobytes() == expected[n : n + 1].tobytes()
        with alone():
            assert engine.run({"x": x})["consensus"].tobytes() == expected.tobytes()


def test_a_clip_leaves_nothing_behind():
    """A value, a border or a ring that an earlier clip wrote must not reach a later one."""
    build, shape = NETWORKS["resnet18 replicate, segments"]
    graph = build()
    engine = NumbaEngine(graph, random_weights(graph))
    x = clip(shape)
    expected = engine.run({"x": x})["consensus"].tobytes()
    engine.run({"x": np.full(shape, np.nan, np.float32)})
    assert engine.run({"x": x})["consensus"].tobytes() == expected


def chain_of(*nodes: Node, channels=24, outputs=None, parameters=None):
    inputs = (Input("x", ("N", channels, "T", "H", "W")),)
    return Graph("test", inputs, nodes, outputs or (nodes[-1].name,), parameters or {})


PARAMETERS = {"w": (24, 24, 1, 3, 3), "b": (24,), "g": (24, 6, 1, 3, 3), "t": (24, 24, 3, 1, 1)}
PARAMETERS |= {"d": (24, 1, 1, 3, 3), "f": (5, 24), "v": (24,)}
SAME = {"pads": (0, 1, 1, 0, 1, 1)}
GRAPHS = {
    "tanh on a border": [
        Node("a", "Conv", ("x", "w", "b"), SAME),
        Node("tanh", "Tanh", ("a",)),
        Node("y", "Conv", ("tanh", "w", "b"), SAME),
    ],
    "sigmoid on a border": [
        Node("a", "Conv", ("x", "w", "b"), {**SAME, "strides": (1, 2, 2)}),
        Node("s", "Sigmoid", ("a",)),
        Node("y", "Conv", ("s", "w", "b"), SAME),
    ],
    "other activations": [
        Node("a", "Conv", ("x", "w", "b"), SAME),
        Node("l", "LeakyRelu", ("a",), {"alpha": 0.1}),
        Node("c", "Conv", ("l", "w", "b"), {**SAME, "strides": (1, 2, 2)}),
        Node("h", "HardSwish", ("c",)),
        Node("e", "Conv", ("h", "d", "b"), {**SAME, "group": 24}),
        Node("y", "HardSigmoid", ("e",)),
    ],
    "groups fall back and come back": [
        Node("a", "Conv", ("x", "w", "b"), SAME),
        Node("g1", "Conv", ("a", "g", "b"), {**SAME, "group": 4}),
        Node("c", "Conv", ("g1", "w", "b"), SAME),
        Node("y", "Add", ("c", "g1")),
    ],
    "temporal taps": [
        Node("a", "Conv", ("x", "t", "b"), {"pads": (2, 0, 0, 0, 0, 0)}),
        Node("y", "Conv", ("a", "t", "b"), {"pads": (1, 0, 0, 1, 0, 0), "strides": (2, 1, 1)}),
    ],
    "two readers of one value": [
        Node("a", "Conv", ("x", "w", "b"), SAME),
        Node("p", "AveragePool", ("a",), {"kernel_shape": (1, 2, 2), "strides": (1, 2, 2)}),
        Node("q", "MaxPool", ("a",), {"kernel_shape": (1, 3, 3), "strides": (1, 2, 2), **SAME}),
        Node("y", "Add", ("p", "q")),
    ],
    "a pool over time": [
        Node("a", "Conv", ("x", "w", "b"), SAME),
        Node("p", "MaxPool", ("a",), {"kernel_shape": (3, 1, 1), "pads": (1, 0, 0, 1, 0, 0)}),
        Node("y", "Conv", ("p", "w", "b"), SAME),
    ],
    "two linear layers": [
        Node("a", "Conv", ("x", "w", "b"), SAME),
        Node("m", "GlobalAveragePool", ("a",)),
        Node("k", "Flatten", ("m",)),
        Node("y", "Linear", ("k", "f")),
    ],
    "shift, then depthwise": [
        Node("s", "TemporalShift", ("x",), {"d": (1, -1) * 12}),
        Node("y", "Conv", ("s", "d", "b"), {**SAME, "group": 24}),
    ],
    "the input is added": [
        Node("a", "Conv", ("x", "w", "b"), SAME),
        Node("r", "Add", ("a", "x")),
        Node("y", "Relu", ("r",)),
    ],
}


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("threads", [1, 2])
def test_graphs_of_every_kind(name, threads):
    nodes = GRAPHS[name]
    used = {n for node in nodes for n in node.inputs}
    parameters = {k: s for k, s in PARAMETERS.items() if k in used}
    graph = chain_of(*nodes, parameters=parameters)
    rng = np.random.default_rng(1)
    weights = {k: (rng.standard_normal(s) / 8).astype(np.float32) for k, s in parameters.items()}
    x = clip((2, 24, 6, 10, 12), 5)
    expected = NumpyEngine(graph, weights, np.float64).run({"x": x})["y"]
    y = NumbaEngine(graph, weights, threads).run({"x": x})["y"]
    assert y.shape == expected.shape
    assert np.abs(y - expected).max() <= 1e-5 * np.abs(expected).max()


def test_values_inside_may_be_asked_for():
    graph = build_mobilenet_v2(num_classes=3, width=0.35)
    engine = NumbaEngine(graph, random_weights(graph))
    inside = [node.name for node in engine.graph.nodes if node.op == "FusedConv"][5]
    graph = graph.with_outputs(["consensus", inside])
    weights = random_weights(graph)
    x = clip((1, 3, 2, 32, 32))
    expected = NumpyEngine(graph, weights, np.float64).run({"x": x})
    y = NumbaEngine(graph, weights).run({"x": x})
    for name in expected:
        assert np.abs(y[name] - expected[name]).max() <= 1e-5 * np.abs(expected[name]).max()


def test_values_inside_may_be_asked_for_all_at_once():
    """A shift that is asked for is a step of its own, in the middle of what runs by frames."""
    model = tsm_ref.load("camera-motion")
    graph, weights = fold_batch_norm(model.graph, model.weights)
    inside = ["layer1.0.bn2", "layer2.0.bn2", "layer2.0.shift"]
    graph = graph.with_outputs([*graph.outputs, *inside])
    x = clip((1, 3, 8, 64, 64))
    expected = NumpyEngine(graph, weights, np.float64).run({"x": x})
    y = NumbaEngine(graph, weights).run({"x": x})
    for name in expected:
        assert np.abs(y[name] - expected[name]).max() <= 2e-5 * np.abs(expected[name]).max()


def test_weights_that_were_given_up_are_read_again_for_another_algorithm():
    """Winograd at one size and a direct sum at another: the bits are those of a new engine."""
    graph = build_resnet(RESNETS["resnet18"], num_classes=7)
    weights = random_weights(graph)
    reads = []

    def again():
        reads.append(1)
        return weights

    engine = NumbaEngine(graph, weights, again=again)
    engine.run({"x": clip((1, 3, 2, 112, 112))})
    kept = sum(value.nbytes for value in engine.weights.plain.values())
    assert kept < 0.1 * sum(value.nbytes for value in weights.values())
    assert not reads
    x = clip((1, 3, 2, 64, 64))
    y = engine.run({"x": x})["consensus"]
    assert reads
    assert y.tobytes() == NumbaEngine(graph, weights).run({"x": x})["consensus"].tobytes()


def test_a_pixel_that_leaves_float32_on_the_way_is_told() -> None:
    """One of 1e38 was NaN in silence: Winograd adds up a tile before it multiplies."""
    b = Builder("winograd")
    x = b.input("x", ("N", 16, "T", "H", "W"))
    graph = b.graph([b.head(b.conv(x, "conv", 32, kernel=3, padding=1), "fc", 4)])
    engine = NumbaEngine(graph, random_weights(graph))
    clip = np.zeros((1, 16, 1, 32, 32), np.float32)
    for value in (1e30, np.inf, np.nan):
        clip[0, 0, 0, 9, 9] = value
        engine.run({"x": clip})
    clip[0, 0, 0, 9, 9] = 1e38
    with pytest.warns(RuntimeWarning, match=r"not finite.*an input reaches 1e\+38"):
        engine.run({"x": clip})
