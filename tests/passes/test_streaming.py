import numpy as np
import pytest

from tsm_ref.engine.on_numpy.engine import NumpyEngine
from tsm_ref.errors import GraphError, NotStreamable, UsageError
from tsm_ref.graph import Graph, Input, Node
from tsm_ref.models import (
    RESNETS,
    ResNetSpec,
    build_mobilenet_v2,
    build_resnet,
    build_ts_can,
    random_weights,
)
from tsm_ref.passes import optimize
from tsm_ref.passes.streaming import FAR, NEVER, streaming, without_lookahead
from tsm_ref.profile import ShiftRule

SPEC = ResNetSpec((1, 2), width=16, stem_pool=False)


X = (Input("x", ("N", 8, "T", "H", "W")),)


def graph_of(*nodes, inputs=X, outputs=None):
    shapes = {
        "w": (8, 8, 1, 1, 1),
        "t": (8, 8, 3, 1, 1),
        "f": (5, 8),
        "m": (1, 8, 4, 1, 1),
        "z": (8,),
    }
    used = {name for node in nodes for name in node.inputs}
    kept = {name: shape for name, shape in shapes.items() if name in used}
    return Graph("test", inputs, nodes, outputs or (nodes[-1].name,), kept)


@pytest.mark.parametrize(
    ("name", "delay"), [("resnet18", 8), ("resnet34", 16), ("resnet50", 16), ("resnet101", 18)]
)
def test_the_delay_is_the_number_of_shifted_blocks(name, delay):
    """conventions.md 3 counts them; each looks one frame ahead, and one back."""
    step = streaming(build_resnet(RESNETS[name], num_classes=5))
    assert (step.delay, step.receptive_field) == (delay, 2 * delay + 1)
    step = streaming(build_resnet(RESNETS[name], num_classes=5, shift=ShiftRule("online")))
    assert (step.delay, step.receptive_field) == (0, delay + 1)


@pytest.mark.parametrize("rule", ["online", "mit", "none"])
def test_the_receptive_field_is_what_a_changed_frame_reaches(rule):
    """By experiment: which outputs change when one frame of a clip does."""
    graph = build_resnet(SPEC, num_classes=3, shift=ShiftRule(rule, 4))
    step = streaming(graph)
    graph = graph.with_outputs([graph.frame_logits])
    engine = NumpyEngine(graph, random_weights(graph), np.float64)
    x = np.random.default_rng(0).standard_normal((1, 3, 15, 16, 16))
    before = engine.run({"x": x})[graph.outputs[0]]
    x[:, :, 7] += 1
    changed = np.abs(engine.run({"x": x})[graph.outputs[0]] - before).max(axis=(0, 1)) > 1e-12
    assert changed.sum() == step.receptive_field
    clock = step.clocks[step.outputs[0]]
    assert np.flatnonzero(changed).tolist() == list(range(7 - clock.last, 8 - clock.first))
    assert step.delay == clock.last


def test_a_stream_of_resnet50_keeps_every_frame_that_is_read_again():
    """The skip path waits one frame; the fold that reads the past is read two frames late."""
    step = streaming(build_resnet(RESNETS["resnet50"], num_classes=5))
    kept = [state for state in step.states if state.value == "layer1.0.relu"]
    assert [(s.start, s.stop, s.depth) for s in kept] == [(0, 32, 1), (32, 64, 2), (64, 256, 1)]


def test_a_causal_shift_keeps_its_folds_alone():
    step = streaming(build_mobilenet_v2(num_classes=5, shift=ShiftRule("online")))
    assert [(s.start, s.stop, s.depth) for s in step.states] == (
        [(0, 3, 1)] + [(0, 4, 1)] * 2 + [(0, 8, 1)] * 3 + [(0, 12, 1)] * 2 + [(0, 20, 1)] * 2
    )
    assert len({s.name for s in step.states}) == 10


def test_the_outputs_are_those_of_single_frames():
    graph = build_resnet(SPEC, num_classes=5)
    assert streaming(graph).outputs == (graph.frame_logits,)
    both = graph.with_outputs(["consensus", "fc", "layer1.0.relu"])
    assert streaming(both).outputs == ("fc", "layer1.0.relu")
    assert "layer2.1.relu" not in streaming(graph.with_outputs(["layer1.0.relu"])).graph.node


def test_strides_in_time_multiply_the_period():
    pool = {"kernel_shape": (3, 1, 1), "strides": (2, 1, 1), "pads": (1, 0, 0, 1, 0, 0)}
    step = streaming(
        graph_of(
            Node("p", "MaxPool", ("x",), pool),
            Node("s", "TemporalShift", ("p",), {"d": (-1,) * 8}),
            Node("y", "Conv", ("s", "t"), {"strides": (3, 1, 1)}),
        )
    )
    clock = step.clocks["y"]
    assert (clock.period, clock.delay) == (6, 1 + 2 * 1 + 2 * 2)
    assert (clock.first, clock.last) == (-1 + 2, 1 + 2 + 4)
    assert not step.steady


def test_a_channel_that_reads_nothing_near_is_not_kept():
    graph = graph_of(Node("y", "TemporalShift", ("x",), {"d": (-1, -1, 1, 1, 0, 0, 0, 0)}))
    changed = without_lookahead(graph, "zero")
    assert changed.node["y"].attrs["d"] == (FAR, FAR, 1, 1, 0, 0, 0, 0)
    step = streaming(changed)
    assert step.delay == 0
    assert step.graph.node["y"].attrs["d"] == (NEVER, NEVER, 1, 1, 0, 0, 0, 0)
    assert [(s.start, s.stop, s.depth) for s in step.states] == [(2, 4, 1)]


def test_what_looks_nowhere_ahead_is_left_as_it_is():
    graph = graph_of(Node("y", "TemporalShift", ("x",), {"d": (1,) * 8}))
    assert without_lookahead(graph, "zero") is graph


def test_only_what_shifts_read_of_the_future_can_be_replaced():
    graph = graph_of(
        Node("s", "TemporalShift", ("x",), {"d": (-1,) * 8}),
        Node("y", "Conv", ("s", "t"), {"pads": (1, 0, 0, 1, 0, 0)}),
    )
    with pytest.raises(UsageError, match=r"'y' \(Conv\) looks ahead, and not by a shift"):
        without_lookahead(graph, "past")


def test_frozen_numbers_of_frames_become_free():
    fixed = (Input("x", (1, 8, 16, 10, 10)),)
    step = streaming(graph_of(Node("y", "Conv", ("x", "w")), inputs=fixed))
    assert step.graph.inputs[0].shape == (1, 8, "T", 10, 10)


POOL = {"kernel_shape": (3, 1, 1), "pads": (1, 0, 0, 1, 0, 0)}
REFUSED = {
    "a circular shift": (
        [Node("y", "TemporalShift", ("x",), {"d": (1,) * 8, "fill": "circular"})],
        r"'y' \(TemporalShift\).*reads the end of the clip at its beginning",
    ),
    "segments": (
        [Node("y", "TemporalShift", ("x",), {"d": (1,) * 8, "segment": 20})],
        r"'y' \(TemporalShift\).*inside segments of 20 frames",
    ),
    "attention": (
        [Node("y", "NonLocal", ("x", "x", "x"))],
        r"'y' \(NonLocal\).*its attention looks at the whole clip",
    ),
    "a softmax over time": (
        [Node("k", "Flatten", ("x",)), Node("y", "Softmax", ("k",), {"axis": 2})],
        r"'y' \(Softmax\).*its softmax is over time",
    ),
    "a softmax over the last axis": (
        [Node("k", "Flatten", ("x",)), Node("y", "Softmax", ("k",), {"axis": -1})],
        r"'y' \(Softmax\).*its softmax is over time",
    ),
    "a mean in the middle": (
        [
            Node("k", "Flatten", ("x",)),
            Node("c", "Consensus", ("k",)),
            Node("y", "Relu", ("c",)),
        ],
        r"'c' \(Consensus\).*the average over the whole clip is read by another node",
    ),
    "a squeezed axis of time": (
        [Node("y", "Squeeze", ("x",), {"axes": (2,)})],
        r"'y' \(Squeeze\).*drops the axis of time",
    ),
    "a mean over fewer frames at the ends": (
        [Node("y", "AveragePool", ("x",), POOL)],
        r"'y' \(AveragePool\).*over fewer frames at the ends",
    ),
    "a weight for each frame": (
        [Node("y", "Mul", ("x", "m"))],
        r"'y' \(Mul\).*'m' has a value for each of 4 frames",
    ),
    "padding of what a shift has filled": (
        [
            Node("b", "Relu", ("x",)),
            Node("y", "FusedConv", ("b", "w", "z"), {"d": (1,) * 8, "pads": (1, 0, 0, 0, 0, 0)}),
        ],
        r"'y' \(FusedConv\).*pads in time what its own shift has filled",
    ),
    "frames at different times": (
        [
            Node("a", "Conv", ("x", "w"), {"strides": (2, 1, 1)}),
            Node("y", "Add", ("a", "x")),
        ],
        r"'y' \(Add\).*frames at different times",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_finite_window_is_refused_by_name(name):
    nodes, words = REFUSED[name]
    with pytest.raises(NotStreamable, match=words):
        streaming(graph_of(*nodes))


def test_an_input_without_time_is_refused():
    flat = (Input("x", ("N", 8)),)
    with pytest.raises(NotStreamable, match="'x' has no axis of time"):
        streaming(graph_of(Node("y", "Relu", ("x",)), inputs=flat))


def test_published_ts_can_shifts_in_segments_and_is_refused():
    with pytest.raises(NotStreamable, match=r"'motion_shift1'.*segments of 20"):
        streaming(build_ts_can())


def test_a_history_means_nothing_in_a_clip():
    graph = graph_of(Node("y", "History", ("x",), {"d": (1,)}))
    with pytest.raises(GraphError, match=r"'y' \(History\) belongs to a step graph"):
        optimize(graph, {})
