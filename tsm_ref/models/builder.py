"""A small builder for graphs: layers are added in order, names and channel counts are kept."""

from collections.abc import Sequence
from typing import Any

from tsm_ref.graph import Dim, Graph, Input, Node
from tsm_ref.ops_table import Shape
from tsm_ref.profile import ShiftRule
from tsm_ref.reference import cross_folds

Pads = tuple[int, int, int, int]
"""Rows above, columns before, rows below, columns behind."""


def _thw(size: int, time: int = 1) -> tuple[int, int, int]:
    """A square spatial size, with its size in time in front."""
    return (time, size, size)


class Builder:
    """Collects nodes and parameter shapes; every layer method returns the name of its value.

    ``epsilon`` is that of every batch norm.

    >>> b = Builder("tiny")
    >>> x = b.input("x", ("N", 3, "T", "H", "W"))
    >>> x = b.relu(b.conv(x, "conv1", 8, kernel=3, padding=1), "relu1")
    >>> b.graph([x]).parameter_count
    216
    """

    def __init__(self, name: str, *, epsilon: float = 1e-5) -> None:
        self.name = name
        self.epsilon = epsilon
        self._inputs: list[Input] = []
        self._nodes: list[Node] = []
        self._parameters: dict[str, Shape] = {}
        self._channels: dict[str, int] = {}

    def graph(self, outputs: Sequence[str]) -> Graph:
        """The finished graph."""
        return Graph(
            self.name, tuple(self._inputs), tuple(self._nodes), tuple(outputs), self._parameters
        )

    def channels(self, value: str) -> int:
        """The number of channels of a value."""
        return self._channels[value]

    def input(self, name: str, shape: tuple[Dim, ...]) -> str:
        """A graph input; its second dimension must be a number of channels."""
        self._inputs.append(Input(name, shape))
        self._channels[name] = int(shape[1])
        return name

    def node(self, op: str, name: str, inputs: Sequence[str], channels: int, **attrs: Any) -> str:
        """Any op; `channels` is what the value has afterwards."""
        self._nodes.append(Node(name, op, tuple(inputs), attrs))
        self._channels[name] = channels
        return name

    def parameter(self, name: str, shape: Shape) -> str:
        """A tensor that the checkpoint must hold."""
        self._parameters[name] = shape
        return name

    def conv(
        self,
        x: str,
        name: str,
        channels: int,
        *,
        kernel: int,
        stride: int = 1,
        padding: int | Pads = 0,
        groups: int = 1,
        bias: bool = False,
        frames: int = 1,
        step: int = 1,
        dilation: int = 1,
    ) -> str:
        """A convolution; a 2-D one is the N-d one with temporal kernel 1.

        ``frames`` are those that it sees at once, an odd number of them and padded, ``step`` is its
        stride in time; ``dilation`` is in space.
        """
        sides = (padding,) * 4 if isinstance(padding, int) else padding
        shape = (channels, self.channels(x) // groups, *_thw(kernel, frames))
        inputs = [x, self.parameter(f"{name}.weight", shape)]
        if bias:
            inputs.append(self.parameter(f"{name}.bias", (channels,)))
        dilated = {"dilations": _thw(dilation)} if dilation > 1 else {}
        return self.node(
            "Conv",
            name,
            inputs,
            channels,
            strides=_thw(stride, step),
            pads=(frames // 2, *sides[:2], frames // 2, *sides[2:]),
            group=groups,
            **dilated,
        )

    def batch_norm(self, x: str, name: str) -> str:
        """Batch normalisation with running statistics, named as PyTorch names them."""
        channels = self.channels(x)
        roles = ("weight", "bias", "running_mean", "running_var")
        inputs = [x, *(self.parameter(f"{name}.{role}", (channels,)) for role in roles)]
        return self.node("BatchNormalization", name, inputs, channels, epsilon=self.epsilon)

    def conv_bn(
        self, x: str, name: str, channels: int, *, kernel: int = 1, stride: int = 1, groups: int = 1
    ) -> str:
        """A padded convolution ``name.conv`` and its batch normalisation ``name.bn``."""
        y = self.conv(
            x, f"{name}.conv", channels, kernel=kernel, stride=stride, padding=kernel // 2,
            groups=groups,
        )  # fmt: skip
        return self.batch_norm(y, f"{name}.bn")

    def shift(self, x: str, name: str, rule: ShiftRule) -> str:
        """A temporal shift; a rule that shifts nothing adds nothing."""
        d = rule.d(self.channels(x))
        if not d.any():
            return x
        return self.node(
            "TemporalShift",
            name,
            [x],
            self.channels(x),
            d=tuple(int(v) for v in d),
            fill=rule.fill,
            segment=rule.segment,
        )

    def spatial_shift(self, x: str, name: str, fold_div: int = 8, fill: str = "zero") -> str:
        """A shift by the folds of a cross, up, down, left and right; empty folds add nothing."""
        dh, dw = cross_folds(self.channels(x), fold_div)
        if not (dh.any() or dw.any()):
            return x
        attrs = {"dh": tuple(dh.tolist()), "dw": tuple(dw.tolist()), "fill": fill}
        return self.node("SpatialShift", name, [x], self.channels(x), **attrs)

    def relu(self, x: str, name: str) -> str:
        """``max(x, 0)``."""
        return self.node("Relu", name, [x], self.channels(x))

    def norm_relu(self, x: str, name: str) -> str:
        """A batch normalisation ``name`` and a ReLU ``name.relu`` behind it."""
        return self.relu(self.batch_norm(x, name), f"{name}.relu")

    def relu6(self, x: str, name: str) -> str:
        """``min(max(x, 0), 6)``."""
        return self.node("Clip", name, [x], self.channels(x), min=0.0, max=6.0)

    def add(self, a: str, b: str, name: str) -> str:
        """``a + b``."""
        return self.node("Add", name, [a, b], self.channels(a))

    def concat(self, branches: Sequence[str], name: str) -> str:
        """The channels of several values, one value's behind the other's."""
        x, *others = branches
        for i, branch in enumerate(others):
            end = f"{name}.{i}" if i < len(others) - 1 else name
            x = self.node("Concat", end, [x, branch], self.channels(x) + self.channels(branch))
        return x

    def linear(self, x: str, name: str, channels: int) -> str:
        """A fully connected layer per frame."""
        weight = self.parameter(f"{name}.weight", (channels, self.channels(x)))
        bias = self.parameter(f"{name}.bias", (channels,))
        return self.node("Linear", name, [x, weight, bias], channels)

    def head(self, x: str, fc: str, num_classes: int) -> str:
        """Global average pool, a linear layer per frame, and the mean of the logits over time."""
        channels = self.channels(x)
        x = self.node("GlobalAveragePool", "avgpool", [x], channels)
        x = self.node("Flatten", "flatten", [x], channels)
        x = self.linear(x, fc, num_classes)
        return self.node("Consensus", "consensus", [x], num_classes)

    def frame_head(
        self,
        x: str,
        head: str,
        *,
        hidden: int,
        numbers: int = 1,
        plain: bool = True,
        activation: str = "Tanh",
    ) -> str:
        """Two dense layers per frame, to one number (N, T) or several (N, K, T); named `head`.

        The layers are ``dense1`` and ``dense2``, with the name of the head behind unless `plain`.
        """
        suffix = "" if plain else f"_{head}"
        x = self.linear(x, f"dense1{suffix}", hidden)
        x = self.node(activation, f"dense1{suffix}.{activation.lower()}", [x], hidden)
        if numbers > 1:
            weight = self.parameter(f"dense2{suffix}.weight", (numbers, hidden))
            bias = self.parameter(f"dense2{suffix}.bias", (numbers,))
            return self.node("Linear", head, [x, weight, bias], numbers)
        x = self.linear(x, f"dense2{suffix}", numbers)
        return self.node("Squeeze", head, [x], numbers, axes=(1,))
