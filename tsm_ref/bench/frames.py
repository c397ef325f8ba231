"""A network as other runtimes see it: the frames of a clip are the pictures of a batch.

Two-dimensional layers treat every picture alike; a temporal shift has to be spelled out as slices,
zeros and concatenations along the batch axis, as published code does. A network that is fed one
frame at a time has one more input and output for each shift: the channels kept from the frame
before. Values are (T, C, H, W), after the global pool (T, C).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.engine.on_numpy.frames import folds
from tsm_ref.errors import UsageError
from tsm_ref.graph import Graph, Node
from tsm_ref.passes import optimize

Array = NDArray[Any]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Op:
    """One operation; `name` is the value that it makes, `inputs` are values, then tensors.

    The kinds, all that a format must be able to say, are ``conv`` (weight, bias; stride, pad,
    group), ``relu``, ``clip`` (low, high), ``add``, ``max_pool`` (kernel, stride, pad), ``mean``
    over the picture, ``linear`` (weight, bias), ``average`` over the batch, ``slice`` (axis, begin,
    end), ``pad`` (before, after: pictures of zeros) and ``concat`` (axis).
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class FrameNetwork:
    """Operations in order, the tensors they read, and the shape of every value."""

    inputs: list[str]
    outputs: list[str]
    ops: list[Op]
    tensors: dict[str, Array]
    shapes: dict[str, Shape]

    @property
    def states(self) -> list[Shape]:
        """The shapes of the inputs that carry state; the outputs end with their successors."""
        return [self.shapes[name] for name in self.inputs[1:]]


def as_frames(
    graph: Graph, weights: Mapping[str, Array], frames: int, size: int, online: bool = False
) -> FrameNetwork:
    """Rewrite a network with input ``x`` (1, 3, T, size, size) for runtimes without a time axis.

    An `online` one is one frame with its state, and answers with the logits of that frame.
    Raises `UsageError` for an operation that the timed networks do not have.

    >>> from tsm_ref.models import build_mobilenet_v2, random_weights
    >>> from tsm_ref.profile import ShiftRule
    >>> graph = build_mobilenet_v2(num_classes=5, shift=ShiftRule("online"))
    >>> network = as_frames(graph, random_weights(graph), 1, 64, online=True)
    >>> len(network.states), network.states[0]
    (10, (1, 3, 16, 16))
    """
    return _Rewriter(*optimize(graph, weights), frames, size, online).network


class _Rewriter:
    """Walks over an optimised graph and writes the operations."""

    def __init__(
        self, graph: Graph, weights: Mapping[str, Array], frames: int, size: int, online: bool
    ) -> None:
        self.graph, self.weights, self.online = graph, weights, online
        self.network = FrameNetwork(["x"], [], [], {}, {"x": (frames, 3, size, size)})
        self.alias: dict[str, str] = {}
        self.carried: list[str] = []
        for node in graph.nodes:
            if node.op not in self.writers:
                raise UsageError(f"node {node.name!r}: other runtimes are not timed on {node.op}")
            self.writers[node.op](self, node)
        frame = [graph.frame_logits] if online and graph.frame_logits else []
        self.network.outputs = [self._value(n) for n in frame or graph.outputs] + self.carried

    def _value(self, name: str) -> str:
        return self.alias.get(name, name)

    def _add(
        self, kind: str, name: str, inputs: Sequence[str], shape: Sequence[int], **attrs: Any
    ) -> str:
        self.network.ops.append(Op(kind, name, tuple(inputs), attrs))
        self.network.shapes[name] = tuple(shape)
        return name

    def _tensor(self, name: str, value: Array) -> str:
        self.network.tensors[name] = np.ascontiguousarray(value, np.float32)
        return name

    def _convolution(self, node: Node) -> None:
        value, shapes = node.rule.value, self.network.shapes
        strides, pads, dilations = (value(node.attrs, n) for n in ("strides", "pads", "dilations"))
        weight = self.weights[node.inputs[1]]
        plain = weight.shape[2] == 1 == strides[0] and strides[1] == strides[2]
        square = len({*pads[1:3], *pads[4:]}) == 1 and not any(pads[::3])
        if not plain or not square or dilations != (1, 1, 1):
            raise UsageError(f"node {node.name!r}: other runtimes are not timed on such a Conv")
        x = self._shifted(node, self._value(node.inputs[0]))
        frames, _, height, width = shapes[x]
        kernel, stride, pad = weight.shape[3], strides[1], pads[1]
        sizes = [(n + 2 * pad - kernel) // stride + 1 for n in (height, width)]
        activation = value(node.attrs, "activation")
        steps = ["conv"] + ["add"] * (len(node.inputs) > 3) + ["act"] * bool(activation)
        names = [f"{node.name}.{step}" for step in steps[:-1]] + [node.name]
        tensors = [self._tensor(node.inputs[1], weight[:, :, 0])]
        tensors.append(self._tensor(node.inputs[2], self.weights[node.inputs[2]]))
        shape = (frames, len(weight), *sizes)
        group = value(node.attrs, "group")
        y = self._add("conv", names[0], [x, *tensors], shape, stride=stride, pad=pad, group=group)
        if "add" in steps:
            y = self._add("add", names[1], [y, self._value(node.inputs[3])], shape)
        if activation == "Relu":
            self._add("relu", node.name, [y], shape)
        elif activation == "Clip":
            low, high = (value(node.attrs, n) for n in ("min", "max"))
            self._add("clip", node.name, [y], shape, low=float(low), high=float(high))
        elif activation:
            raise UsageError(f"node {node.name!r}: other runtimes are not timed on {activation}")

    def _shifted(self, node: Node, x: str) -> str:
        """Write the shift in front of a convolution; return the value that it makes."""
        shape = self.network.shapes[x]
        parts = folds(node.attr("d"), shape[1])
        if all(part.d == 0 for part in parts):
            return x
        if node.attr("fill") != "zero":
            raise UsageError(f"node {node.name!r}: other runtimes are not timed on this fill")
        made = []
        for i, part in enumerate(parts):
            name = f"{node.name}.part{i}"
            some = (shape[0], part.stop - part.start, *shape[2:])
            y = self._add("slice", name, [x], some, axis=1, begin=part.start, end=part.stop)
            if part.d and self.online:
                y = self._carry(name, part.d)
            elif part.d:
                y = self._moved(y, part.d)
            made.append(y)
        return self._add("concat", f"{node.name}.shifted", made, shape, axis=1)

    def _carry(self, name: str, d: int) -> str:
        """The channels `name` of the frame before, from outside; those of this frame go out."""
        if d != 1:
            raise UsageError(f"a shift by {d} frames cannot run one frame at a time here")
        state = f"{name}.before"
        self.network.inputs.append(state)
        self.network.shapes[state] = self.network.shapes[name]
        self.carried.append(name)
        return state

    def _moved(self, x: str, d: int) -> str:
        shape = self.network.shapes[x]
        frames = shape[0]
        if abs(d) >= frames:
            raise UsageError(f"a shift by {d} frames leaves nothing of {frames} frames")
        begin, end = max(0, -d), frames - max(0, d)
        kept = (end - begin, *shape[1:])
        y = self._add("slice", f"{x}.kept", [x], kept, axis=0, begin=begin, end=end)
        return self._add("pad", f"{x}.moved", [y], shape, before=max(0, d), after=max(0, -d))

    def _max_pool(self, node: Node) -> None:
        x = self._value(node.inputs[0])
        kernel, stride, pad = (node.attr(n)[-1] for n in ("kernel_shape", "strides", "pads"))
        frames, channels, *sizes = self.network.shapes[x]
        shape = (frames, channels, *((n + 2 * pad - kernel) // stride + 1 for n in sizes))
        self._add("max_pool", node.name, [x], shape, kernel=kernel, stride=stride, pad=pad)

    def _mean(self, node: Node) -> None:
        x = self._value(node.inputs[0])
        self._add("mean", node.name, [x], self.network.shapes[x][:2])

    def _flatten(self, node: Node) -> None:
        self.alias[node.name] = self._value(node.inputs[0])

    def _linear(self, node: Node) -> None:
        x, weight = self._value(node.inputs[0]), self.weights[node.inputs[1]]
        bias = np.zeros(len(weight))
        if len(node.inputs) > 2:
            bias = self.weights[node.inputs[2]]
        tensors = [self._tensor(node.inputs[1], weight)]
        tensors.append(self._tensor(f"{node.name}.bias", bias))
        shape = (self.network.shapes[x][0], len(weight))
        self._add("linear", node.name, [x, *tensors], shape)

    def _consensus(self, node: Node) -> None:
        if self.online:
            return
        if node.attr("over") != "mean":
            raise UsageError(f"node {node.name!r} takes no mean over time; nothing else is timed")
        x = self._value(node.inputs[0])
        self._add("average", node.name, [x], (1, self.network.shapes[x][1]))

    writers: Mapping[str, Callable[["_Rewriter", Node], None]] = {
        "FusedConv": _convolution,
        "MaxPool": _max_pool,
        "GlobalAveragePool": _mean,
        "Flatten": _flatten,
        "Linear": _linear,
        "Consensus": _consensus,
    }
