"""The hypothesis strategies that tests share: convolutions, small networks, damaged JSON."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from tsm_ref.graph import Graph, Node
from tsm_ref.models.builder import Builder
from tsm_ref.profile import ShiftRule
from tsm_ref.reference import FILLS

ACTIVATIONS = (
    ("", {}),
    ("Relu", {}),
    ("Clip", {"min": -2.0, "max": 6.0}),
    ("LeakyRelu", {"alpha": 0.25}),
    ("HardSwish", {}),
    ("HardSigmoid", {}),
    ("Tanh", {}),
    ("Sigmoid", {}),
)
"""Every activation that a convolution can apply, with attributes."""

EXACT = ("", "Relu", "Clip", "LeakyRelu")
"""The activations that keep small integers exact, with the attributes above."""


@dataclass(frozen=True)
class ConvCase:
    """One `FusedConv`: its node, and the shapes of what it reads."""

    node: Node
    x: tuple[int, ...]
    weight: tuple[int, ...]
    y: tuple[int, ...]
    seed: int

    @property
    def residual(self) -> bool:
        return len(self.node.inputs) > 3

    def arrays(self, integers: bool = False) -> list[NDArray[np.float32]]:
        """x, weight, bias and, where the node adds one, a residual; seeded."""
        rng = np.random.default_rng(self.seed)
        shapes = [self.x, self.weight, (self.weight[0],), *([self.y] * self.residual)]
        if integers:
            drawn = [rng.integers(-8, 9, shape) for shape in shapes]
        else:
            drawn = [rng.standard_normal(shape) for shape in shapes]
        return [value.astype(np.float32) for value in drawn]


def sizes(least: int, most: int, axes: int = 3) -> st.SearchStrategy[tuple[int, ...]]:
    return st.tuples(*[st.integers(least, most)] * axes)


@st.composite
def conv_cases(draw: Any, activations: Sequence[str] = ()) -> ConvCase:
    """Groups or depthwise, strides, dilations and uneven pads on all axes, shifts, residuals."""
    group = draw(st.integers(1, 4))
    per_group = 1 if draw(st.booleans()) else draw(st.integers(1, 3))
    outputs = group * (1 if draw(st.booleans()) else draw(st.integers(1, 3)))
    flat = draw(st.booleans())
    kernel = (1 if flat else draw(st.integers(1, 3)), *draw(sizes(1, 3, 2)))
    strides = (1 if flat else draw(st.integers(1, 2)), *draw(sizes(1, 3, 2)))
    dilations = draw(st.sampled_from([(1, 1, 1), (1, 1, 1), (2, 1, 1), (1, 2, 1), (1, 1, 3)]))
    pads = tuple(draw(st.integers(0, k - 1)) for k in kernel * 2)
    reach = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    segment = draw(st.sampled_from([0, 0, 2, 3]))
    time = max(segment, 1) * draw(st.integers(-(-reach[0] // max(segment, 1)), 5))
    space = [draw(st.integers(r, r + 6)) for r in reach[1:]]
    x = (draw(st.integers(1, 2)), group * per_group, time, *space)
    y = [
        (size + pads[i] + pads[i + 3] - reach[i]) // strides[i] + 1 for i, size in enumerate(x[2:])
    ]
    known = [a for a in ACTIVATIONS if not activations or a[0] in activations]
    activation, limits = draw(st.sampled_from(known))
    attrs: dict[str, Any] = {
        "strides": strides,
        "pads": pads,
        "dilations": dilations,
        "group": group,
        "activation": activation,
        **limits,
    }
    if draw(st.booleans()):
        shifts = st.lists(st.integers(-3, 3), min_size=x[1], max_size=x[1])
        attrs |= {"d": tuple(draw(shifts)), "fill": draw(st.sampled_from(FILLS))}
        attrs["segment"] = segment
    inputs = ("x", "w", "b", "r") if draw(st.booleans()) else ("x", "w", "b")
    weight = (outputs, per_group, *kernel)
    node = Node("y", "FusedConv", inputs, attrs)
    return ConvCase(node, x, weight, (x[0], outputs, *y), draw(st.integers(0, 2**31)))


@st.composite
def shift_rules(draw: Any) -> ShiftRule:
    """Every fold rule, with any fill and divisor."""
    rules = ("mit", "online", "online_double", "paddle", "mtts_can", "roll")
    return ShiftRule(
        draw(st.sampled_from(rules)), draw(st.integers(2, 5)), draw(st.sampled_from(FILLS))
    )


@st.composite
def graphs(draw: Any) -> tuple[Graph, dict[str, tuple[int, ...]]]:
    """A small network of the ops that these networks are made of, and the shape of its input."""
    rule = draw(shift_rules())
    channels = draw(st.integers(2, 6))
    b = Builder("random")
    x = b.input("x", ("N", channels, "T", "H", "W"))
    for index in range(draw(st.integers(1, 5))):
        layer = draw(st.sampled_from(LAYERS))
        x = layer(draw, b, x, f"l{index}", rule)
    x = b.head(x, "fc", draw(st.integers(2, 4)))
    shape = (draw(st.integers(1, 2)), channels, draw(st.integers(1, 5)), *draw(sizes(4, 9, 2)))
    return b.graph([x]), {"x": shape}


def _conv(draw: Any, b: Builder, x: str, name: str, rule: ShiftRule) -> str:
    """A convolution, maybe shifted, maybe normalised, maybe activated."""
    kernel = draw(st.sampled_from([1, 3]))
    if draw(st.booleans()):
        x = b.shift(x, f"{name}.shift", rule)
    x = b.conv(
        x,
        f"{name}.conv",
        draw(st.integers(2, 6)),
        kernel=kernel,
        stride=draw(st.integers(1, 2)),
        padding=kernel // 2,
        bias=draw(st.booleans()),
    )
    return _maybe(draw, b, x, name)


def _depthwise(draw: Any, b: Builder, x: str, name: str, rule: ShiftRule) -> str:
    channels = b.channels(x)
    x = b.conv(x, f"{name}.conv", channels, kernel=3, padding=1, groups=channels)
    return _maybe(draw, b, x, name)


def _residual(draw: Any, b: Builder, x: str, name: str, rule: ShiftRule) -> str:
    """A residual block whose skip path sees the shift, or not; the sum in either order."""
    shifted = b.shift(x, f"{name}.shift", rule)
    skip = shifted if draw(st.booleans()) else x
    y = b.conv(shifted, f"{name}.conv", b.channels(x), kernel=3, padding=1)
    y = _maybe(draw, b, y, name)
    pair = (y, skip) if draw(st.booleans()) else (skip, y)
    return b.relu(b.add(*pair, f"{name}.add"), f"{name}.relu")


def _pool(draw: Any, b: Builder, x: str, name: str, rule: ShiftRule) -> str:
    op = draw(st.sampled_from(["MaxPool", "AveragePool"]))
    pads = (0, 1, 1, 0, 1, 1)
    return b.node(op, name, [x], b.channels(x), kernel_shape=(1, 3, 3), pads=pads)


def _gate(draw: Any, b: Builder, x: str, name: str, rule: ShiftRule) -> str:
    """Every channel multiplied by its own mean, squashed: a value with two kinds of readers."""
    channels = b.channels(x)
    gate = b.node("GlobalAveragePool", f"{name}.mean", [x], channels)
    gate = b.node("Sigmoid", f"{name}.gate", [gate], channels)
    return b.node("Mul", f"{name}.mul", [x, gate], channels)


def _broadcast(draw: Any, b: Builder, x: str, name: str, rule: ShiftRule) -> str:
    """The mean of every channel, convolved, added to all its places."""
    channels = b.channels(x)
    mean = b.node("GlobalAveragePool", f"{name}.mean", [x], channels)
    mean = b.conv(mean, f"{name}.conv", channels, kernel=1)
    pair = (x, mean) if draw(st.booleans()) else (mean, x)
    return b.add(*pair, f"{name}.add")


def _cross(draw: Any, b: Builder, x: str, name: str, rule: ShiftRule) -> str:
    """A shift along height and width, read by a pointwise convolution or by something else."""
    shifts = st.lists(st.integers(-4, 4), min_size=b.channels(x), max_size=b.channels(x))
    attrs = {"dh": tuple(draw(shifts)), "dw": tuple(draw(shifts)), "fill": rule.fill}
    x = b.node("SpatialShift", f"{name}.cross", [x], b.channels(x), **attrs)
    if draw(st.booleans()):
        return _maybe(draw, b, x, name)
    kernel = draw(st.sampled_from([1, 3]))
    return b.conv(x, f"{name}.conv", draw(st.integers(2, 6)), kernel=kernel, padding=kernel // 2)


LAYERS = (_conv, _conv, _cross, _depthwise, _residual, _pool, _gate, _broadcast)


def _maybe(draw: Any, b: Builder, x: str, name: str) -> str:
    """A batch norm and an activation, or not."""
    if draw(st.booleans()):
        x = b.batch_norm(x, f"{name}.bn")
    activation, limits = draw(st.sampled_from(ACTIVATIONS))
    return b.node(activation, f"{name}.act", [x], b.channels(x), **limits) if activation else x


GARBAGE: tuple[Any, ...] = (
    *(None, True, -1, 0, 2, 3, 2.5, 10**400, 2**40, float("inf"), float("nan")),
    *("", "x", "conv", "Conv", "l0.act", "zero", "circular", [], {}, [[]], [0], [None], {"a": 1}),
    *([1, 1, 1], [2, 1, 1], [-1, 1, 1], [1, 3, 3], [0, 1, 1, 0, 1, 1], ["x"] * 3),
)
"""What may stand where something else should in a file of JSON."""


def places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) of a tree of JSON."""
    if isinstance(tree, (dict, list)):
        for key in range(len(tree)) if isinstance(tree, list) else list(tree):
            yield tree, key
            yield from places(tree[key])


@st.composite
def damaged(draw: Any, tree: Any) -> Any:
    """A tree of JSON in which something is replaced, missing or there twice, up to three times."""
    tree = copy.deepcopy(tree)
    for _ in range(draw(st.integers(1, 3))):
        container, key = draw(st.sampled_from(list(places(tree))))
        action = draw(st.sampled_from(["put", "put", "drop", "double"]))
        if action == "put":
            container[key] = copy.deepcopy(draw(st.sampled_from(GARBAGE)))
        elif action == "drop":
            del container[key]
        elif isinstance(container, list):
            container.append(container[key])
    return tree
