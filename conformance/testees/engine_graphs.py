"""The graphs of tsm_ref that our engines need to answer the suite's questions."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from conformance.questions.arrays import Array
from conformance.questions.conventions import Conventions
from conformance.testees import engine_quantised
from tsm_ref.graph import Graph, Input, Node
from tsm_ref.models.builder import Builder
from tsm_ref.models.resnet import ResNetSpec, build_resnet
from tsm_ref.models.ts_can import build_ts_can
from tsm_ref.profile import Preprocess, Profile, Sampling

Weights = Mapping[str, Array]


class FreeRule:
    """A `tsm_ref.profile.ShiftRule` for any conventions: the builders ask for no more than this."""

    segment = 0

    def __init__(self, conventions: Conventions, fold_div: int) -> None:
        self.conventions, self.divisor = conventions, fold_div
        self.fill = conventions.fill
        self.rule = "paddle" if conventions.every_block else "mit"

    def d(self, channels: int) -> Array:
        """The shift of each channel."""
        return self.conventions.d(channels, self.divisor)


def rule(conventions: Conventions, fold_div: int) -> Any:
    """The shift rule of some conventions as the builders of the package want it."""
    return FreeRule(conventions, fold_div)


def one_node(
    op: str, arrays: list[Array], data: int, attributes: Mapping[str, Any]
) -> tuple[Graph, dict[str, Array], dict[str, Array]]:
    """A graph of one op, its inputs and its parameters."""
    given = {f"x{i}": array for i, array in enumerate(arrays)}
    names = list(given)
    inputs = tuple(Input(name, ("N", *given[name].shape[1:])) for name in names[:data])
    shapes = {name: given[name].shape for name in names[data:]}
    graph = Graph(op, inputs, (Node("y", op, tuple(names), attributes),), ("y",), shapes)
    return graph, {n: given[n] for n in names[:data]}, {n: given[n] for n in names[data:]}


def block(channels: int, weights: Weights, a: Mapping[str, Any], conventions: Conventions) -> Graph:
    """One residual block as a graph."""
    b = Builder("block")
    x = b.input("x", ("N", channels, "T", "H", "W"))
    shift = rule(conventions, a["fold_div"])
    if a["kind"] == "inverted_residual":
        expansion = weights["conv.0.weight"].shape[0] // weights["conv.0.weight"].shape[1]
        last = "conv.6.weight" if "conv.6.weight" in weights else "conv.3.weight"
        outputs = weights[last].shape[0]
        return b.graph([inverted(b, x, "block", outputs, expansion, a["stride"], shift)])
    shifted = b.shift(x, "block.shift", shift)
    y, count = shifted, 3 if a["kind"] == "bottleneck" else 2
    strided = 2 if a["kind"] == "bottleneck" else 1
    for i in range(1, count + 1):
        kernel = weights[f"conv{i}.weight"]
        y = b.conv(
            y,
            f"block.conv{i}",
            kernel.shape[0],
            kernel=kernel.shape[-1],
            stride=a["stride"] if i == strided else 1,
            padding=kernel.shape[-1] // 2,
        )
        y = b.batch_norm(y, f"block.bn{i}")
        y = b.relu(y, f"block.relu{i}") if i < count else y
    skip = shifted if a["placement"] == "block" else x
    if "downsample.0.weight" in weights:
        outputs = weights["downsample.0.weight"].shape[0]
        skip = b.conv(skip, "block.downsample.0", outputs, kernel=1, stride=a["stride"])
        skip = b.batch_norm(skip, "block.downsample.1")
    return b.graph([b.relu(b.add(y, skip, "block.add"), "block.relu")])


def inverted(
    b: Builder, x: str, name: str, outputs: int, expansion: int, stride: int, shift: Any
) -> str:
    """MobileNetV2's block with its shift and its skip."""
    skips = stride == 1 and b.channels(x) == outputs
    hidden, y, i = b.channels(x) * expansion, x, 0
    if expansion > 1:
        y = b.shift(x, f"{name}.shift", shift) if skips else x
        y, i = conv_bn_relu6(b, y, f"{name}.conv", 0, hidden, kernel=1), 3
    y = conv_bn_relu6(b, y, f"{name}.conv", i, hidden, kernel=3, stride=stride, groups=hidden)
    y = b.conv(y, f"{name}.conv.{i + 3}", outputs, kernel=1)
    y = b.batch_norm(y, f"{name}.conv.{i + 4}")
    return b.add(y, x, f"{name}.add") if skips else y


def conv_bn_relu6(
    b: Builder,
    x: str,
    name: str,
    index: int,
    channels: int,
    *,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
) -> str:
    """Convolution, batch norm, ReLU6, numbered as the layers of one sequence."""
    x = b.conv(
        x,
        f"{name}.{index}",
        channels,
        kernel=kernel,
        stride=stride,
        padding=kernel // 2,
        groups=groups,
    )
    return b.relu6(b.batch_norm(x, f"{name}.{index + 1}"), f"{name}.{index + 2}")


def network(a: Mapping[str, Any], conventions: Conventions) -> Graph:
    """A network as a graph."""
    shift = rule(conventions, a["fold_div"])
    if a["architecture"] == "ts_can":
        return build_ts_can(shift=shift, filters=tuple(a["filters"]), hidden=a["hidden"])
    if a["architecture"] == "mobilenet_v2":
        return mobilenet_v2(a, shift)
    spec = ResNetSpec(
        tuple(a["blocks"]),
        a["block"] == "bottleneck",
        a["width"],
        (1, *[2] * (len(a["blocks"]) - 1)),
        a["stem_kernel"],
        2 if a["stem_kernel"] == 7 else 1,
        a["stem_pool"],
    )
    placement = a["placement"] if a["shifted"] else "none"
    return build_resnet(spec, num_classes=a["classes"], placement=placement, shift=shift)


def mobilenet_v2(a: Mapping[str, Any], shift: Any) -> Graph:
    """A MobileNetV2 with the blocks of a case."""
    b = Builder("mobilenet")
    x = b.input("x", ("N", 3, "T", "H", "W"))
    first, *inner, last = a["channels"]
    x = conv_bn_relu6(b, x, "features.0", 0, first, kernel=3, stride=2)
    for i, (expansion, channels, stride) in enumerate(
        zip(a["expansions"], inner, a["strides"], strict=True), start=1
    ):
        x = inverted(b, x, f"features.{i}", channels, expansion, stride, shift)
    x = conv_bn_relu6(b, x, f"features.{len(inner) + 1}", 0, last, kernel=1)
    return b.graph([b.head(x, "classifier", a["classes"])])


def shifted_blocks(blocks: Any, placement: str, conventions: Conventions) -> Array:
    """Which blocks of a ResNet graph have a shift, in order."""
    spec = ResNetSpec(tuple(blocks), width=8)
    graph = build_resnet(spec, num_classes=2, placement=placement, shift=rule(conventions, 8))
    names = {node.name for node in graph.select("TemporalShift")}
    return np.array(
        [
            int(f"layer{stage + 1}.{i}.shift" in names)
            for stage, count in enumerate(blocks)
            for i in range(count)
        ]
    )


def tensors(graph: Graph, weights: Weights, flatten: str = "hwc") -> dict[str, Array]:
    """The case's weights under the graph's names, kernels with their axis of time.

    Raises KeyError for a weight that is missing and ValueError for one of another shape.
    """
    found = {}
    for name, shape in graph.parameters.items():
        value = weights[name.removeprefix("block.")]
        if name == "dense1.weight" and flatten == "chw":
            value = _channels_last(value, weights["motion_conv4.weight"].shape[0])
        if value.ndim == 4:
            value = value[:, :, None]
        if value.shape != shape:
            raise ValueError(f"`{name}` has shape {value.shape}; {shape} is needed")
        found[name] = value
    return found


def _channels_last(dense: Array, channels: int) -> Array:
    """A dense weight for a picture flattened (C, H, W), as one for a picture flattened (H, W, C).

    The graphs of the package flatten as Keras does.
    """
    side = round((dense.shape[1] / channels) ** 0.5)
    return dense.reshape(-1, channels, side, side).transpose(0, 2, 3, 1).reshape(dense.shape)


def recognition_profile(how: Mapping[str, Any]) -> Profile:
    """The package's profile for the question about a film."""
    sizes = ("short_side", "resize", "long_side", "crop", "crop_offset")
    names = (*sizes, "channel_order", "scale", "mean", "std")
    return Profile(
        placement=how["placement"],
        sampling=Sampling(how["policy"], how["segments"]),
        preprocess=Preprocess(**{name: how[name] for name in names}),
        average=how["average"],
        labels=tuple(f"class {k}" for k in range(how["classes"])),
    )


class ChunkStream:
    """A `Stream` of ours with chunks and outputs as the scripts of the suite want them."""

    def __init__(
        self, testee: Any, subject: str, weights: Weights, attributes: Mapping[str, Any]
    ) -> None:
        self.testee, self.subject, self.weights = testee, subject, weights
        self.attributes = attributes
        self.stream: Any = None
        self.to_real: Callable[[Array], Array] = np.asarray

    def step(self, chunk: Array) -> Array:
        """(N, C, t, H, W) -> (N, K, t, ...)."""
        if self.stream is None:
            self._open(chunk)
        y: Array = self.stream.steps(self.to_real(chunk))
        return np.moveaxis(y, 1, 2)

    def reset(self) -> None:
        """Forget everything."""
        if self.stream is not None:
            self.stream.reset()

    @property
    def state(self) -> Any:
        """All that the stream remembers; nothing before the first frame."""
        return None if self.stream is None else self.stream.state

    @state.setter
    def state(self, saved: Any) -> None:
        if saved is None:
            self.reset()
        else:
            self.stream.state = saved

    def _open(self, chunk: Array) -> None:
        from tsm_ref.engine.stream.stream import Stream

        conventions = self.testee.conventions.streaming
        if self.subject == "temporal_shift":
            d = conventions.d(chunk.shape[1], self.attributes["fold_div"])
            shift = {"d": tuple(int(v) for v in d), "fill": "zero"}
            shape = ("N", chunk.shape[1], "T", "H", "W")
            nodes = (Node("y", "TemporalShift", ("x",), shift),)
            graph = Graph("shift", (Input("x", shape),), nodes, ("y",), {})
            weights: Weights = {}
        elif self.subject == "quantised_shift":
            graph = engine_quantised.shift_alone(chunk.shape[1], self.attributes, conventions)
            zero = self.attributes["zero_point"]
            weights, self.to_real = {}, lambda x: x.astype(np.float32) - np.float32(zero)
        elif self.subject == "quantised_network":
            graph, weights = engine_quantised.network(self.weights, self.attributes, conventions)
        else:
            graph = network(self.attributes, conventions)
            assert graph.frame_logits is not None
            graph = graph.with_outputs([graph.frame_logits])
            weights = tensors(graph, self.weights)
        self.stream = Stream(self.testee.make(graph, weights), len(chunk))
