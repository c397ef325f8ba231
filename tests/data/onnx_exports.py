"""Shifts as exporters write them into ONNX files: one small network in ten forms.

A convolution, a shift, a convolution, a mean over the picture, a linear layer, a mean over time.
The forms are those of docs/conventions.md, section 8; the answers come from plain NumPy.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from tests.checkpoint import frame_networks as nets

N, T, C, F, SIDE, K = 2, 4, 16, 2, 4, 5
"""Clips, frames, channels, channels of a fold, the side of the picture at the shift, classes."""

Array = Any
Write = Callable[["Nodes", str], str]


@dataclass
class Nodes:
    """A graph in the making; each method returns the name of its result."""

    nodes: list[NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)

    def constant(self, values: Array, dtype: Any = np.int64) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def add(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        names = [f"{op}_{len(self.nodes)}.{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, name=names[0], **attributes))
        return names[0] if outputs == 1 else names

    def reshape(self, x: str, *shape: int) -> str:
        return str(self.add("Reshape", x, self.constant(shape)))

    def cut(self, x: str, axis: int, start: int, stop: int) -> str:
        starts, stops, axes = (self.constant([v]) for v in (start, stop, axis))
        return str(self.add("Slice", x, starts, stops, axes))

    def join(self, axis: int, *parts: str) -> str:
        return str(self.add("Concat", *parts, axis=axis))


def scattered(b: Nodes, x: str) -> str:
    """MIT's code: slices of zeros are assigned one after another."""
    x = b.reshape(x, -1, T, C, SIDE, SIDE)
    y = b.add("ConstantOfShape", b.constant([N, T, C, SIDE, SIDE]))
    parts = (  # frames read, frames written, channels
        ((1, T), (0, T - 1), (0, F)),
        ((0, T - 1), (1, T), (F, 2 * F)),
        ((0, T), (0, T), (2 * F, C)),
    )
    for read, written, channels in parts:
        grid = np.meshgrid(np.arange(N), np.arange(*written), np.arange(*channels), indexing="ij")
        places = b.constant(np.stack(grid, -1))
        y = b.add("ScatterND", y, places, b.cut(b.cut(x, 1, *read), 2, *channels))
    return b.reshape(y, -1, C, SIDE, SIDE)


def subtracted(b: Nodes, x: str) -> str:
    """MMAction2: zeros are a value minus itself."""
    x = b.reshape(x, -1, T, C, SIDE * SIDE)
    left, middle, right = (b.cut(x, 2, *part) for part in ((0, F), (F, 2 * F), (2 * F, C)))
    first = b.cut(b.add("Sub", left, left), 1, 0, 1)
    second = b.cut(b.add("Sub", middle, middle), 1, 0, 1)
    left = b.join(1, b.cut(left, 1, 1, T), first)
    middle = b.join(1, second, b.cut(middle, 1, 0, T - 1))
    return b.reshape(b.join(2, left, middle, right), -1, C, SIDE, SIDE)


def padded(b: Nodes, x: str, *, starts: tuple[int, int]) -> str:
    """Paddle: time is padded on both ends, and three windows are cut out."""
    x = b.reshape(x, -1, T, C, SIDE, SIDE)
    x = b.add("Pad", x, b.constant([0, 1, 0, 0, 0, 0, 1, 0, 0, 0]), mode="constant")
    parts = ((starts[0], 0, F), (starts[1], F, 2 * F), (1, 2 * F, C))
    cuts = [b.cut(b.cut(x, 1, t, t + T), 2, begin, end) for t, begin, end in parts]
    return b.reshape(b.join(2, *cuts), -1, C, SIDE, SIDE)


def joined(b: Nodes, x: str, *, edge: bool) -> str:
    """`roll`, or the frame at the edge once more: no zeros anywhere."""
    x = b.reshape(x, -1, T, C, SIDE, SIDE)
    left, middle, right = (b.cut(x, 2, *part) for part in ((0, F), (F, 2 * F), (2 * F, C)))
    after, before = ((T - 1, T), (0, 1)) if edge else ((0, 1), (T - 1, T))
    left = b.join(1, b.cut(left, 1, 1, T), b.cut(left, 1, *after))
    middle = b.join(1, b.cut(middle, 1, *before), b.cut(middle, 1, 0, T - 1))
    return b.reshape(b.join(2, left, middle, right), -1, C, SIDE, SIDE)


def channels_last(b: Nodes, x: str) -> str:
    """Keras: channels last, in thirds, with zeros as constants."""
    third = C // 3
    x = b.reshape(b.add("Transpose", x, perm=[0, 2, 3, 1]), -1, T, SIDE, SIDE, C)
    sizes = b.constant([third, third, C - 2 * third])
    left, middle, right = b.add("Split", x, sizes, outputs=3, axis=4)
    zeros = b.constant(np.zeros((N, 1, SIDE, SIDE, third)), np.float32)
    left = b.join(1, b.cut(left, 1, 1, T), zeros)
    middle = b.join(1, zeros, b.cut(middle, 1, 0, T - 1))
    x = b.reshape(b.join(4, left, middle, right), -1, SIDE, SIDE, C)
    return str(b.add("Transpose", x, perm=[0, 3, 1, 2]))


def lost(b: Nodes, x: str) -> str:
    """A broken export: what was assigned to the slices is gone, and zeros are left."""
    return b.reshape(
        b.add("ConstantOfShape", b.constant([N, T, C, SIDE, SIDE])), N * T, C, SIDE, -1
    )


def moved(x: Array, d: Array, fill: str) -> Array:
    """A clip (T, C, H, W), each channel late by its own number of frames."""
    y = np.zeros_like(x)
    for t in range(len(x)):
        for c, late in enumerate(d):
            source = t - late
            if fill == "replicate":
                source = min(max(source, 0), len(x) - 1)
            if fill == "circular" or 0 <= source < len(x):
                y[t, c] = x[source % len(x), c]
    return y


def folds(first: int, size: int = F) -> list[int]:
    """What each channel is late by: the first fold, its opposite, and the rest."""
    return [first] * size + [-first] * size + [0] * (C - 2 * size)


@dataclass(frozen=True)
class Form:
    """A way of writing a shift, the opset it is written in, and what it does."""

    write: Write
    opset: int
    d: list[int]
    fill: str = "zero"


FORMS = {
    "onnx-mit-scatter": Form(scattered, 11, folds(-1)),
    "onnx-mmaction2-minus": Form(subtracted, 11, folds(-1)),
    "onnx-paddle-pad": Form(partial(padded, starts=(0, 2)), 11, folds(1)),
    "onnx-mit-pad": Form(partial(padded, starts=(2, 0)), 13, folds(-1)),
    "onnx-roll": Form(partial(joined, edge=False), 17, folds(-1), "circular"),
    "onnx-edge": Form(partial(joined, edge=True), 13, folds(-1), "replicate"),
    "onnx-keras": Form(channels_last, 13, folds(-1, C // 3)),
    "onnx-tsn": Form(lambda b, x: x, 13, [0] * C),
}
"""Files that are read; `broken` and `online` make two more."""

WEIGHTS = nets.drawn({"a": (C, 3, 3, 3), "b": (C, C, 3, 3), "fc": (K, C), "bias": (K,)}, seed=3)
CLIPS = np.random.default_rng(5).standard_normal((N, T, 3, 2 * SIDE, 2 * SIDE)).astype(np.float32)


def model(write: Write, opset: int) -> ModelProto:
    """The network with a shift that is written so; frames and clips share the first axis."""
    b = Nodes()
    x = b.add("Conv", "input", "a", pads=[1] * 4, strides=[2, 2])
    x = write(b, b.add("Relu", x))
    x = b.add("Relu", b.add("Conv", x, "b", pads=[1] * 4))
    x = b.add("Flatten", b.add("GlobalAveragePool", x))
    x = b.reshape(b.add("Gemm", x, "fc", "bias", transB=1), -1, T, K)
    b.nodes.append(helper.make_node("ReduceMean", [x], ["logits"], axes=[1], keepdims=0))
    shapes = {"input": (N * T, 3, 2 * SIDE, 2 * SIDE), "logits": (N, K)}
    return finished(b, {"input": shapes["input"]}, {"logits": shapes["logits"]}, opset)


def online() -> ModelProto:
    """One frame, and what the shift keeps of the frame before, as an input and an output."""
    b = Nodes()
    x = b.add("Relu", b.add("Conv", "input", "a", pads=[1] * 4, strides=[2, 2]))
    rest = b.cut(x, 1, F, C)
    cut = [b.constant([v]) for v in (0, F, 1)]
    b.nodes.append(helper.make_node("Slice", [x, *cut], ["kept"]))
    x = b.add("Relu", b.add("Conv", b.join(1, "state", rest), "b", pads=[1] * 4))
    x = b.add("Flatten", b.add("GlobalAveragePool", x))
    b.nodes.append(helper.make_node("Gemm", [x, "fc", "bias"], ["logits"], transB=1))
    state = (1, F, SIDE, SIDE)
    inputs = {"input": (1, 3, 2 * SIDE, 2 * SIDE), "state": state}
    return finished(b, inputs, {"logits": (1, K), "kept": state}, 13)


def finished(b: Nodes, inputs: Any, outputs: Any, opset: int) -> ModelProto:
    declared = [
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in of.items()
        ]
        for of in (inputs, outputs)
    ]
    tensors = [numpy_helper.from_array(value, name) for name, value in WEIGHTS.items()]
    graph = helper.make_graph(b.nodes, "exported", *declared, [*tensors, *b.constants])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    made.ir_version = 8
    made.producer_name, made.producer_version = "tests.data.make", ""
    return made


def answer(d: list[int], fill: str) -> Array:
    """The logits (N, K) of `CLIPS` in float64."""
    a, b, fc, bias = (np.float64(WEIGHTS[name]) for name in ("a", "b", "fc", "bias"))
    clips = []
    for clip in np.float64(CLIPS):
        x = moved(nets.relu(nets.convolved(clip, a, 2)), d, fill)
        features = nets.relu(nets.convolved(x, b)).mean((2, 3))
        clips.append((features @ fc.T + bias).mean(0))
    return np.array(clips)
