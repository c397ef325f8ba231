"""Networks of every family, and what a stream and a clip give of each."""

import os
from functools import cache

import numpy as np
import pytest
from hypothesis import strategies as st

from tsm_ref.engine import make_engine
from tsm_ref.graph import Graph, Input, Node
from tsm_ref.models import (
    ResNetSpec,
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
SLOW = pytest.mark.skipif(
    os.environ.get("TSM_REF_SLOW") != "1", reason="minutes of work: set TSM_REF_SLOW=1"
)


def same(a, b):
    """Whether two outputs have the same bits, or are both none."""
    return (a is None and b is None) or (a is not None and a.tobytes() == b.tobytes())
