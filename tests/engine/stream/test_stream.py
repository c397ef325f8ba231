"""A stream gives what the clip gives, for every family, engine, chunking, batch and thread."""

import copy
import os
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tsm_ref
from tsm_ref.engine import make_engine
from tsm_ref.engine.oracle import run_with_bound
from tsm_ref.engine.stream.stream import Stream
from tsm_ref.errors import GraphError, NotStreamable, UsageError
from tsm_ref.graph import Graph, Input, Node
from tsm_ref.models import (
    ResNetSpec,
    build_graph,
    build_mobilenet_v2,
    build_resnet,
    build_ts_can,
    random_weights,
)
from tsm_ref.profile import ShiftRule

BASIC = ResNetSpec((1, 2), width=16, stem_kernel=3)
BOTTLENECK = ResNetSpec((2, 1), bottleneck=True, width=8, stem_pool=False)


def small_graph(*nodes, outputs=None):
    """A graph over (N, 24, T, H, W) whose parameters have the shapes in their names."""
    shapes = {
        "spatial": (24, 24, 1, 3, 3),
        "point": (24, 24, 1, 1, 1),
        "taps": (24, 24, 3, 1, 1),
        "cube": (24, 24, 3, 3, 3),
        "depth": (24, 1, 1, 3, 3),
        "halves": (24, 12, 1, 3, 3),
        "each": (24, 1, 3, 3, 3),
        "classes": (101, 24),
        "bias": (24,),
    }
    used = {name for node in nodes for name in node.inputs}
    return Graph(
        "small",
        (Input("x", ("N", 24, "T", "H", "W")),),
        nodes,
        outputs or (nodes[-1].name,),
        {name: shape for name, shape in shapes.items() if name in used},
    )


SAME = {"pads": (0, 1, 1, 0, 1, 1)}
BOTH = (-1,) * 5 + (1,) * 5 + (0,) * 14
FAMILIES = {
    "two values behind each other": lambda: small_graph(
        Node("s", "TemporalShift", ("x",), {"d": BOTH}),
        Node("a", "Conv", ("s", "spatial"), SAME),
        Node("j", "Concat", ("a", "x")),
        Node("t", "TemporalShift", ("j",), {"d": (1,) * 3 + (0,) * 45}),
        Node("y", "Concat", ("t", "a")),
    ),
    "resnet, causal": lambda: build_resnet(BASIC, num_classes=5, shift=ShiftRule("online")),
    "resnet, two folds of the past": lambda: build_resnet(
        BASIC, num_classes=5, placement="block", shift=ShiftRule("online_double", 4)
    ),
    "resnet, bi-directional": lambda: build_resnet(BASIC, num_classes=5),
    "resnet, replicate": lambda: build_resnet(
        BASIC, num_classes=5, shift=ShiftRule("mit", 8, "replicate")
    ),
    "bottleneck, unequal folds": lambda: build_resnet(
        BOTTLENECK, num_classes=5, shift=ShiftRule("paddle", 7)
    ),
    "bottleneck, in place, replicate": lambda: build_resnet(
        BOTTLENECK, num_classes=5, placement="block", shift=ShiftRule("mit", 8, "replicate")
    ),
    "no shift": lambda: build_resnet(BASIC, num_classes=5, placement="none"),
    "mobilenet, causal": lambda: build_mobilenet_v2(
        num_classes=5, width=0.35, shift=ShiftRule("online")
    ),
    "mobilenet, bi-directional": lambda: build_mobilenet_v2(num_classes=5, width=0.35),
    "ts-can": lambda: build_ts_can(
        heads=("pulse", "respiration"), filters=(8, 16), hidden=8, shift=ShiftRule("mtts_can", 3)
    ),
    "ts-can, replicate": lambda: build_ts_can(
        filters=(8, 16), hidden=8, shift=ShiftRule("mtts_can", 3, "replicate")
    ),
    "temporal taps": lambda: small_graph(
        Node("a", "Conv", ("x", "cube", "bias"), {"pads": (2, 1, 1, 0, 1, 1)}),
        Node("b", "Conv", ("a", "taps", "bias"), {"pads": (1, 0, 0, 1, 0, 0)}),
        Node("y", "Conv", ("b", "taps"), {"pads": (2, 0, 0, 2, 0, 0), "dilations": (2, 1, 1)}),
    ),
    "temporal taps without padding": lambda: small_graph(
        Node("y", "Conv", ("x", "taps", "bias")),
    ),
    "one tap with padding in time": lambda: small_graph(
        Node("s", "TemporalShift", ("x",), {"d": BOTH}),
        Node("a", "Conv", ("s", "point", "bias"), {"pads": (2, 0, 0, 0, 0, 0)}),
        Node("b", "Conv", ("a", "spatial", "bias"), {"pads": (0, 1, 1, 1, 1, 1)}),
        Node("c", "Conv", ("b", "depth"), {"pads": (1, 1, 1, 2, 1, 1), "group": 24}),
        Node("y", "TemporalShift", ("c",), {"d": BOTH}),
    ),
    "a stride in time": lambda: small_graph(
        Node("a", "Conv", ("x", "taps", "bias"), {"pads": (1, 0, 0, 1, 0, 0),
             "strides": (2, 1, 1)}),
        Node("s", "TemporalShift", ("a",), {"d": BOTH}),
        Node("c", "Conv", ("s", "spatial", "bias"), SAME),
        Node("y", "Add", ("c", "a")),
    ),
    "temporal pools": lambda: small_graph(
        Node("a", "Conv", ("x", "spatial", "bias"), SAME),
        Node("p", "MaxPool", ("a",), {"kernel_shape": (3, 1, 1), "strides": (2, 1, 1),
             "pads": (1, 0, 0, 1, 0, 0)}),
        Node("s", "TemporalShift", ("p",), {"d": BOTH}),
        Node("c", "Conv", ("s", "point", "bias")),
        Node("y", "AveragePool", ("c",), {"kernel_shape": (2, 2, 2), "strides": (1, 2, 2)}),
    ),
    "means that count the padding": lambda: small_graph(
        Node("y", "AveragePool", ("x",), {"kernel_shape": (3, 1, 1), "pads": (1, 0, 0, 1, 0, 0),
             "count_include_pad": True}),
    ),
    "two fills of one value": lambda: small_graph(
        Node("a", "Conv", ("x", "point", "bias")),
        Node("p", "MaxPool", ("a",), {"kernel_shape": (3, 1, 1), "pads": (1, 0, 0, 1, 0, 0)}),
        Node("s", "TemporalShift", ("a",), {"d": BOTH}),
        Node("c", "Conv", ("s", "point", "bias")),
        Node("r", "TemporalShift", ("a",), {"d": BOTH[::-1], "fill": "replicate"}),
        Node("e", "Conv", ("r", "spatial", "bias"), SAME),
        Node("f", "Add", ("c", "e")),
        Node("g", "Add", ("f", "p")),
        Node("y", "Add", ("g", "x")),
    ),
    "two fills of a value that also waits": lambda: small_graph(
        Node("a", "Conv", ("x", "point", "bias")),
        Node("r", "TemporalShift", ("a",), {"d": BOTH, "fill": "replicate"}),
        Node("w", "Add", ("r", "a")),
        Node("s", "TemporalShift", ("a",), {"d": (-1,) * 24}),
        Node("y", "Add", ("w", "s")),
    ),
    "branches that look differently far ahead": lambda: small_graph(
        Node("s", "TemporalShift", ("x",), {"d": (-3,) * 20 + (2,) * 4}),
        Node("a", "Conv", ("s", "point", "bias")),
        Node("t", "TemporalShift", ("a",), {"d": (-1,) * 24, "fill": "replicate"}),
        Node("m", "Mul", ("t", "x")),
        Node("y", "Add", ("m", "s")),
    ),
    "a shift before a depthwise convolution": lambda: small_graph(
        Node("a", "Conv", ("x", "point", "bias")),
        Node("s", "TemporalShift", ("a",), {"d": BOTH}),
        Node("b", "Conv", ("s", "depth", "bias"), {**SAME, "group": 24}),
        Node("y", "Conv", ("b", "point", "bias")),
    ),
    "groups of channels": lambda: small_graph(
        Node("a", "Conv", ("x", "each", "bias"), {"pads": (1, 1, 1, 1, 1, 1), "group": 24}),
        Node("s", "TemporalShift", ("a",), {"d": BOTH}),
        Node("b", "Conv", ("s", "halves", "bias"), {**SAME, "group": 2}),
        Node("y", "Conv", ("b", "halves"), {**SAME, "group": 2, "strides": (1, 2, 2)}),
    ),
    "probabilities": lambda: small_graph(
        Node("s", "TemporalShift", ("x",), {"d": BOTH}),
        Node("a", "Conv", ("s", "point", "bias")),
        Node("p", "GlobalAveragePool", ("a",)),
        Node("f", "Flatten", ("p",)),
        Node("k", "Linear", ("f", "classes")),
        Node("y", "Softmax", ("k",), {"axis": 1}),
    ),
    "outputs at different times": lambda: small_graph(
        Node("a", "Conv", ("x", "point", "bias")),
        Node("s", "TemporalShift", ("a",), {"d": BOTH}),
        Node("y", "Conv", ("s", "spatial", "bias"), SAME),
        outputs=("a", "y"),
    ),
}  # fmt: skip


@cache
def family(name):
    graph = FAMILIES[name]()
    return graph, random_weights(graph, 3)


@cache
def engine(name, kind, threads=1):
    return make_engine(*family(name), kind, threads)


@cache
def per_frame(name, kind):
    """An engine that gives what a stream gives, for a clip."""
    graph, weights = family(name)
    wanted = [graph.frame_logits] if graph.frame_logits else graph.outputs
    return make_engine(graph.with_outputs(wanted), weights, kind)


def clip(graph, n, frames, seed=0):
    rng = np.random.default_rng(seed)
    size = 36 if len(graph.inputs) > 1 else 20
    return {
        entry.name: rng.standard_normal((n, entry.shape[1], frames, size, size)).astype("f4")
        for entry in graph.inputs
    }


def in_time(values):
    """Outputs of a clip as a stream gives them: frames second."""
    return {n: np.moveaxis(v, min(2, v.ndim - 1), 1) for n, v in values.items()}


def streamed(stream, x, cuts):
    """All outputs of a stream that is given a clip in pieces."""
    parts, start = [], 0
    for cut in cuts:
        piece = {name: value[:, :, start : start + cut] for name, value in x.items()}
        parts.append(stream.steps(piece))
        start += cut
    parts.append(stream.flush())
    found = {}
    for part in parts:
        if part is None:
            continue
        named = part if isinstance(part, dict) else {stream.outputs[0]: part}
        for name, value in named.items():
            if value is not None:
                found.setdefault(name, []).append(value)
    return {name: np.concatenate(values, axis=1) for name, values in found.items()}


CUTS = st.lists(st.integers(1, 11), min_size=1, max_size=4)


@pytest.mark.parametrize("name", FAMILIES)
@given(cuts=CUTS, n=st.sampled_from([1, 1, 2]), threads=st.sampled_from([1, 2]))
def test_numba_streams_equal_clips_bit_for_bit(name, cuts, n, threads):
    graph, _ = family(name)
    frames = sum(cuts)
    if name == "temporal taps without padding" and frames < 3:
        return
    if name == "temporal pools" and frames < 3:
        return
    x = clip(graph, n, frames, seed=frames)
    expected = in_time(per_frame(name, "numba").run(x))
    found = streamed(Stream(engine(name, "numba", threads), n), x, cuts)
    assert found.keys() == expected.keys()
    for output, value in expected.items():
        assert found[output].shape == value.shape
        assert found[output].tobytes() == value.tobytes()


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("cuts", [(1,) * 7, (5, 12, 1)])
def test_numpy_streams_equal_clips_within_the_derived_bound(name, cuts):
    graph, weights = family(name)
    x = clip(graph, 1, sum(cuts))
    wanted = [graph.frame_logits] if graph.frame_logits else graph.outputs
    bounded = run_with_bound(graph.with_outputs(wanted), weights, x, 2.0**-24)
    found = streamed(Stream(engine(name, "numpy")), x, cuts)
    for output, value in in_time({n: b.value for n, b in bounded.items()}).items():
        tolerance = in_time({output: bounded[output].tolerance()})[output]
        assert found[output].shape == value.shape
        assert (np.abs(found[output] - value) <= tolerance).all()


def test_every_output_arrives_delay_frames_late():
    graph, _ = family("resnet, bi-directional")
    stream = Stream(engine("resnet, bi-directional", "numpy"))
    x = clip(graph, 1, 6)["x"]
    assert stream.delay == 3  # one frame for each of the three shifts
    given = [stream.step(x[0, :, t]) is None for t in range(6)]
    assert given == [True, True, True, False, False, False]
    assert stream.flush().shape == (1, 3, 5)
    assert stream.frames.tolist() == [6]


def test_a_stride_in_time_gives_an_output_every_other_step():
    graph, _ = family("temporal pools")
    stream = Stream(engine("temporal pools", "numpy"))
    x = clip(graph, 1, 12)["x"]
    given = [stream.step(x[0, :, t]) is not None for t in range(12)]
    assert given[7:] in ([True, False] * 2 + [True], [False, True] * 2 + [False])


@pytest.mark.parametrize("kind", ["numpy", "numba"])
@pytest.mark.parametrize("name", ["resnet, replicate", "temporal taps", "a stride in time"])
def test_a_peek_changes_nothing(name, kind):
    graph, _ = family(name)
    x = clip(graph, 1, 14)["x"]
    other = np.full_like(x[0, :, 0], 7.0)
    expected, stream = Stream(engine(name, kind)), Stream(engine(name, kind))
    for t in range(14):
        for frame in (other, x[0, :, t]):
            peeked = stream.step(frame, update=False)
        wanted, found = expected.step(x[0, :, t]), stream.step(x[0, :, t])
        assert same(peeked, found)
        assert same(found, wanted)
    assert same(stream.mean, expected.mean)
    assert same(stream.flush(), expected.flush())


def same(a, b):
    return (a is None and b is None) or (a is not None and a.tobytes() == b.tobytes())


@pytest.mark.parametrize("kind", ["numpy", "numba"])
@pytest.mark.parametrize("name", ["resnet, bi-directional", "resnet, replicate", "temporal pools"])
def test_streams_of_a_batch_are_independent_and_reset_alone(name, kind):
    graph, _ = family(name)
    x = clip(graph, 3, 13)["x"]
    batch = Stream(engine(name, kind), 3)
    alone = [Stream(engine(name, kind)) for _ in range(3)]
    for t in range(13):
        if t == 5:
            batch.reset(1)
            alone[1].reset()
        found = batch.step(x[:, :, t])
        ones = [stream.step(x[i : i + 1, :, t]) for i, stream in enumerate(alone)]
        assert (found is None) == all(one is None for one in ones)
        for i, one in enumerate(ones):
            if one is not None:
                assert found[i : i + 1].tobytes() == one.tobytes()
            elif found is not None:
                assert np.isnan(found[i]).all()
    assert batch.frames.tolist() == [13, 8, 13]
    found = batch.flush()
    for i, stream in enumerate(alone):
        there = ~np.isnan(found[i]).reshape(len(found[i]), -1).any(axis=1)
        assert found[i][there].tobytes() == stream.flush().tobytes()


@pytest.mark.parametrize("kind", ["numpy", "numba"])
def test_a_copy_and_a_state_go_on_where_the_stream_was(kind):
    name = "bottleneck, in place, replicate"
    graph, _ = family(name)
    x = clip(graph, 2, 12)["x"]
    stream, third = Stream(engine(name, kind), 2), Stream(engine(name, kind), 2)
    for t in range(5):
        stream.step(x[:, :, t])
    saved, twin = stream.state, stream.copy()
    third.steps(x[:, :, 6:9])  # its own frames must not matter afterwards
    third.state = saved
    stream.steps(x[:, :, 8:])  # nor those of the original
    for value in saved.values():
        value[...] = 1
    expected = Stream(engine(name, kind), 2)
    expected.steps(x[:, :, :5])
    for t in range(5, 12):
        wanted = expected.step(x[:, :, t])
        assert same(twin.step(x[:, :, t]), wanted)
        assert same(third.step(x[:, :, t]), wanted)
    assert same(twin.mean, expected.mean)
    assert same(third.flush(), expected.flush())


@pytest.mark.parametrize("kind", ["numpy", "numba"])
@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy])
def test_a_copy_by_the_library_is_a_copy(kind, how):
    name = "resnet, bi-directional"
    x = clip(family(name)[0], 1, 9)["x"]
    stream, expected = Stream(engine(name, kind)), Stream(engine(name, kind))
    expected.steps(x[:, :, :4])
    stream.steps(x[:, :, :4])
    twin = how(stream)
    stream.steps(x[:, :, 5:])
    assert same(twin.steps(x[:, :, 4:]), expected.steps(x[:, :, 4:]))


def test_a_state_means_the_same_to_both_engines():
    name = "mobilenet, bi-directional"
    graph, _ = family(name)
    x = clip(graph, 1, 16)["x"]
    one, other = Stream(engine(name, "numba")), Stream(engine(name, "numpy"))
    one.steps(x[:, :, :13])
    other.steps(np.zeros((1, 3, 1, 20, 20), np.float32))
    other.state = one.state
    for t in range(13, 16):
        np.testing.assert_allclose(other.step(x[:, :, t]), one.step(x[:, :, t]), atol=1e-5)


def test_frames_and_outputs_are_not_kept():
    name = "resnet, causal"
    graph, _ = family(name)
    x = clip(graph, 1, 4)["x"]
    expected, stream = Stream(engine(name, "numba")), Stream(engine(name, "numba"))
    frame = np.empty_like(x[0, :, 0])
    outputs = []
    for t in range(4):
        frame[...] = x[0, :, t]
        outputs.append(stream.step(frame))
        frame[...] = np.nan
    for t, output in enumerate(outputs):
        assert same(output, expected.step(x[0, :, t]))


@pytest.mark.parametrize(
    "name",
    ["resnet, causal", "resnet, replicate", "mobilenet, bi-directional", "two fills of one value"],
)
def test_a_frame_of_nonsense_is_forgotten_after_the_receptive_field(name):
    """A state is frames, not sums: what left the window in time has left for good."""
    graph, _ = family(name)
    stream, fresh = Stream(engine(name, "numba")), Stream(engine(name, "numba"))
    x = clip(graph, 1, stream.receptive_field + stream.delay)["x"]
    for _ in range(2):
        stream.step(x[:, :, 0])
        stream.step(np.full_like(x[:, :, 0], np.nan))
    for t in range(x.shape[2]):
        found, expected = stream.step(x[:, :, t]), fresh.step(x[:, :, t])
    assert np.isfinite(found).all()
    assert same(found, expected)


def test_the_running_mean_is_the_consensus_of_the_frames_so_far():
    name = "resnet, bi-directional"
    graph, _ = family(name)
    x = clip(graph, 1, 9)
    stream = Stream(engine(name, "numpy"))
    assert stream.mean is None
    stream.steps(x["x"])
    stream.flush()
    whole = engine(name, "numpy").run(x)[graph.outputs[0]]
    np.testing.assert_allclose(stream.mean, whole, rtol=1e-5, atol=1e-6)
    stream.reset()
    assert stream.mean is None


@pytest.mark.parametrize("kind", ["numpy", "numba"])
@pytest.mark.parametrize("mode", ["zero", "past"])
def test_without_lookahead_is_the_changed_network_and_says_so(mode, kind):
    graph, weights = family("resnet, bi-directional")
    changed = graph.with_nodes(
        Node(n.name, n.op, n.inputs, {**n.attrs, "d": instead(n.attrs["d"], mode)})
        if n.op == "TemporalShift"
        else n
        for n in graph.nodes
    )
    x = clip(graph, 1, 7)
    wanted = make_engine(changed.with_outputs([graph.frame_logits]), weights, kind).run(x)
    with pytest.warns(UserWarning, match=f"lookahead='{mode}'.*published accuracy"):
        stream = Stream(engine("resnet, bi-directional", kind), lookahead=mode)
    assert stream.delay == 0
    found = stream.steps(x["x"])
    np.testing.assert_allclose(found, in_time(wanted)[graph.frame_logits], rtol=1e-4, atol=1e-5)


def instead(d, mode):
    """Beyond the clip there is the fill, which is zero."""
    return tuple(abs(v) if mode == "past" or v >= 0 else 1000 for v in d)


@pytest.mark.parametrize("mode", ["zero", "past"])
def test_a_causal_network_without_lookahead_is_itself(mode):
    stream = Stream(engine("resnet, causal", "numpy"), lookahead=mode)  # without a warning
    assert stream.lookahead is None


def test_lookahead_must_be_one_that_there_is():
    with pytest.raises(UsageError, match=r"`lookahead` \(='future'\) must be 'zero' or 'past'"):
        Stream(engine("resnet, bi-directional", "numpy"), lookahead="future")
    with pytest.raises(UsageError, match=r"the fill of .* is not zero: use 'past'"):
        Stream(engine("resnet, replicate", "numpy"), lookahead="zero")


def test_an_ended_stream_wants_a_reset():
    stream = Stream(engine("resnet, causal", "numpy"), 2)
    x = clip(family("resnet, causal")[0], 2, 3)["x"]
    assert stream.flush() is None
    before = stream.steps(x)
    assert stream.flush() is None  # nothing waits in a causal network
    for call in (lambda: stream.step(x[:, :, 0]), stream.flush):
        with pytest.raises(UsageError, match="stream 0 has ended: reset it"):
            call()
    stream.reset(0)
    with pytest.raises(UsageError, match="stream 1 has ended"):
        stream.step(x[:, :, 0])
    stream.reset()
    assert same(stream.steps(x), before)


def test_wrong_frames_and_numbers_are_refused():
    stream = Stream(engine("resnet, causal", "numpy"))
    for n in (0, -1, 1.5, "2", True):
        with pytest.raises(UsageError, match=rf"`n` \(={n!r}\) must be a whole number of streams"):
            Stream(engine("resnet, causal", "numpy"), n)
    with pytest.raises(UsageError, match="not known before the first"):
        print(stream.state_bytes)
    frame = np.zeros((3, 20, 20), np.float32)
    with pytest.raises(UsageError, match="'x' is uint8; preprocessed floats"):
        stream.step(frame.astype(np.uint8))
    with pytest.raises(GraphError, match=r"'x' has the shape \(2, 3, 20, 20\).*N=1"):
        stream.step(np.stack([frame, frame]))
    with pytest.raises(GraphError, match=r"the inputs are \['x'\], not \['y'\]"):
        stream.step({"y": frame})
    stream.step(frame)
    with pytest.raises(GraphError, match=r"\(3, 20, 24\); the stream has begun with \(3, 20, 20\)"):
        stream.step(np.zeros((3, 20, 24), np.float32))
    with pytest.raises(GraphError, match="'x' has rows of unequal lengths"):
        stream.step([[1.0, 2.0], [3.0]])
    for i in (1, -1, 0.0, "0"):
        with pytest.raises(UsageError, match=f"there is no stream {i!r}; there are 0 to 0"):
            stream.reset(i)
    with pytest.raises(UsageError, match="give them by name"):
        Stream(engine("ts-can", "numpy")).step(frame)


def test_a_state_that_does_not_fit_is_refused_and_changes_nothing():
    stream = Stream(engine("resnet, causal", "numpy"))
    x = clip(family("resnet, causal")[0], 1, 3)["x"]
    stream.steps(x)
    before = stream.state
    for change, words in (
        (lambda s: s.pop("ticks"), "'ticks' is not in both"),
        (lambda s: s.update(other=np.zeros(1)), "'other' is not in both"),
        (lambda s: s.update(ticks=np.zeros(2, np.int64)), r"'ticks' of the state is int64 \(2,\)"),
        (lambda s: s.update(ticks=np.full(1, -3)), "must be 0 or more"),
        (lambda s: s.update({k: v.astype("f8") for k, v in s.items() if "[" in k}), "float64"),
    ):
        state = stream.state
        change(state)
        with pytest.raises(UsageError, match=words):
            stream.state = state
    after = stream.state
    assert all(after[name].tobytes() == value.tobytes() for name, value in before.items())


def test_what_cannot_stream_is_refused_by_the_name_that_the_user_knows():
    rule = ShiftRule("mit", 8, "circular")
    graph = build_resnet(BASIC, num_classes=5, shift=rule)
    made = make_engine(graph, random_weights(graph), "numpy")
    with pytest.raises(NotStreamable, match=r"'layer1.0.shift' \(TemporalShift\).*circular"):
        Stream(made, source=graph)


@pytest.mark.parametrize("kind", ["numpy", "numba"])
def test_streams_share_their_plans_and_let_go_of_the_engine(kind):
    graph, weights = family("resnet, bi-directional")
    made = make_engine(graph, weights, kind)
    x = clip(graph, 1, 6)["x"]
    streams = [Stream(made) for _ in range(2)]
    expected = [Stream(engine("resnet, bi-directional", kind)) for _ in range(2)]
    for t in range(6):  # one after the other, with other frames
        for k, order in enumerate((t, 5 - t)):
            frame = x[:, :, order]
            assert same(streams[k].step(frame), expected[k].step(frame))
    assert streams[0]._steps[1] is streams[1]._steps[1]
    gone = weakref.ref(made)
    del made, streams
    assert gone() is None


@pytest.mark.parametrize("kind", ["numpy", "numba"])
def test_streams_of_one_engine_take_turns(kind):
    name = "mobilenet, causal"
    x = clip(family(name)[0], 4, 24)["x"]
    expected = [Stream(engine(name, kind)).steps(x[i : i + 1]) for i in range(4)]
    made = make_engine(*family(name), kind)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: Stream(made).steps(x[i : i + 1]), range(4)))
    assert all(same(a, b) for a, b in zip(found, expected, strict=True))


def test_an_interrupted_step_has_not_happened(monkeypatch):
    name = "resnet, causal"
    x = clip(family(name)[0], 2, 6)["x"]
    stream, expected = Stream(engine(name, "numpy"), 2), Stream(engine(name, "numpy"), 2)
    stream.steps(x[:, :, :4])
    expected.steps(x[:, :, :4])
    steps = stream._steps[1]
    run, calls = steps.run, []

    def interrupted(*arguments):
        calls.append(1)
        run(*arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(steps, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        stream.step(np.full_like(x[:, :, 4], 9.0))
    for t in (4, 5):
        assert same(stream.step(x[:, :, t]), expected.step(x[:, :, t]))


@pytest.mark.parametrize(("kind", "threads"), [("numpy", 1), ("numba", 1), ("numba", 2)])
@pytest.mark.parametrize("call", ["flush", "reset", "state"])
def test_every_call_that_is_interrupted_leaves_the_stream_as_it_was(
    kind, threads, call, monkeypatch
):
    name = "resnet, bi-directional"
    x = clip(family(name)[0], 2, 9)["x"]
    stream, other = (Stream(engine(name, kind, threads), 2) for _ in range(2))
    stream.steps(x[:, :, :6])
    other.steps(x[:, :, 3:])
    before, expected = stream.state, stream.copy().flush()
    steps, done = stream._ready(1), []

    def interrupted(real):
        def call(*arguments):
            real(*arguments)
            done.append(1)
            if len(done) == 5:
                raise KeyboardInterrupt

        return call

    def begin():
        if call == "state":
            stream.state = other.state
        else:
            getattr(stream, call)()

    with monkeypatch.context() as patched:
        for method in ("run", "put"):
            patched.setattr(steps, method, interrupted(getattr(steps, method)))
        with pytest.raises(KeyboardInterrupt):
            begin()
    after = stream.state
    assert all((after[key] == before[key]).all() for key in before)
    assert same(stream.flush(), expected)


@pytest.mark.parametrize("kind", ["numpy", "numba"])
def test_buffers_of_mobilenet_are_the_ten_of_the_online_demo(kind):
    """conventions.md 6: 3x56x56, 4x28x28 twice, 8x14x14 three times, 12x14x14 and 20x7x7 twice."""
    graph = build_mobilenet_v2(num_classes=2, shift=ShiftRule("online"))
    made = make_engine(graph, random_weights(graph), kind)
    stream = Stream(made, shapes={"x": (1, 3, 1, 224, 224)})
    buffers = [value.shape for name, value in stream.state.items() if "[" in name]
    expected = [(3, 56)] + [(4, 28)] * 2 + [(8, 14)] * 3 + [(12, 14)] * 2 + [(20, 7)] * 2
    assert buffers == [(1, fold, 1, side, side) for fold, side in expected]
    assert stream.state_bytes == 4 * sum(f * side * side for f, side in expected) == 108_192
    assert (stream.delay, stream.receptive_field) == (0, 11)


SLOW = pytest.mark.skipif(
    os.environ.get("TSM_REF_SLOW") != "1", reason="minutes of work: set TSM_REF_SLOW=1"
)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("mobilenetv2", "online"),
        ("mobilenetv2", "mit"),
        pytest.param("resnet50", "online", marks=SLOW),
        pytest.param("resnet50", "mit", marks=SLOW),
    ],
)
def test_networks_of_full_size_stream_bit_for_bit(name, rule, threads):
    graph = build_graph(name, num_classes=400, placement="blockres", shift=ShiftRule(rule))
    graph = graph.with_outputs([graph.frame_logits])
    weights = random_weights(graph)
    made = make_engine(graph, weights, "numba", threads)
    x = {"x": np.random.default_rng(4).standard_normal((1, 3, 40, 224, 224)).astype("f4")}
    expected = in_time(make_engine(graph, weights, "numba").run(x))
    for cuts in ((1,) * 40, (17, 3, 20)):
        found = streamed(Stream(made), x, cuts)
        assert found[graph.outputs[0]].tobytes() == expected[graph.outputs[0]].tobytes()


SOAK = """
import os, numpy as np, tsm_ref

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

model = tsm_ref.load("camera-motion")
stream = model.stream()
rng = np.random.default_rng(9)
pool = rng.standard_normal((64, 3, 64, 64)).astype(np.float32)
order = rng.integers(0, 64, 100_000)
for t in order[:1000]:
    stream.step(pool[t])
before = resident()
for t in order[1000:]:
    last = stream.step(pool[t])
grown = resident() - before
fresh = model.stream()
for t in order[-stream.receptive_field :]:
    again = fresh.step(pool[t])
print(int(stream.frames[0]), last.tobytes() == again.tobytes(), grown)
"""
"""Afterwards the stream gives what a new one gives on the last frames of its causal window."""


@SLOW
def test_a_hundred_thousand_frames_in_flat_memory():
    """In a process of its own: the memory of this one breathes with the tests before."""
    done = subprocess.run([sys.executable, "-c", SOAK], capture_output=True, text=True, check=True)
    frames, identical, grown = done.stdout.split()
    assert (frames, identical) == ("100000", "True")
    assert int(grown) < 500_000


def test_frames_of_another_size_are_taken_as_long_as_none_was_given():
    model = tsm_ref.build("mobilenetv2", num_classes=3, width=0.35, causal=True, engine="numpy")
    stream, small = model.stream(), np.ones((3, 32, 32), np.float32)
    first = stream.step(small)  # the profile says 224
    with pytest.raises(GraphError, match=r"begun with \(3, 32, 32\)"):
        stream.step(np.ones((3, 64, 64), np.float32))
    stream.reset()
    stream.step(np.ones((3, 64, 64), np.float32))
    stream.reset()
    np.testing.assert_array_equal(stream.step(small), first)
