"""Graphs to be written as ONNX: one for each op, and networks; their inputs and weights."""

from dataclasses import replace
from typing import Any

import numpy as np

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
from tsm_ref.passes.relations import with_relations
from tsm_ref.profile import ShiftRule

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


SMALL = {"T": 4, "H": 8, "W": 8}


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
