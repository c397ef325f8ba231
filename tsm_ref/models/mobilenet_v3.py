"""MobileNetV3 with temporal shifts (Howard et al. 2019), a network of PaddleVideo's ppTSM too.

Inverted residual blocks with squeeze and excitation and hard swish. The shift stands where it does
in MobileNetV2: in front of the expansion of every block with a skip. Paddle's network differs from
that of PyTorch in five numbers, which `MobileNetV3Form` holds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tsm_ref.graph import Graph
from tsm_ref.models.builder import Builder
from tsm_ref.models.mobilenet_v2 import scaled_channels
from tsm_ref.models.pp_lcnet import KEPT
from tsm_ref.ops_table import Shape
from tsm_ref.profile import ShiftRule

GATE_SLOPE = 0.2
"""The slope of the hard sigmoid in Paddle's gates; that of others is 1/6."""


@dataclass(frozen=True)
class Row:
    """A block: its window, its hidden channels, its channels, and what it has."""

    kernel: int
    hidden: int
    channels: int
    gated: bool
    swish: bool
    stride: int


LARGE = (
    Row(3, 16, 16, False, False, 1),
    Row(3, 64, 24, False, False, 2),
    Row(3, 72, 24, False, False, 1),
    Row(5, 72, 40, True, False, 2),
    Row(5, 120, 40, True, False, 1),
    Row(5, 120, 40, True, False, 1),
    Row(3, 240, 80, False, True, 2),
    Row(3, 200, 80, False, True, 1),
    Row(3, 184, 80, False, True, 1),
    Row(3, 184, 80, False, True, 1),
    Row(3, 480, 112, True, True, 1),
    Row(3, 672, 112, True, True, 1),
    Row(5, 672, 160, True, True, 2),
    Row(5, 960, 160, True, True, 1),
    Row(5, 960, 160, True, True, 1),
)
"""Table 1 of the paper."""

SMALL = (
    Row(3, 16, 16, True, False, 2),
    Row(3, 72, 24, False, False, 2),
    Row(3, 88, 24, False, False, 1),
    Row(5, 96, 40, True, True, 2),
    Row(5, 240, 40, True, True, 1),
    Row(5, 240, 40, True, True, 1),
    Row(5, 120, 48, True, True, 1),
    Row(5, 144, 48, True, True, 1),
    Row(5, 288, 96, True, True, 2),
    Row(5, 576, 96, True, True, 1),
    Row(5, 576, 96, True, True, 1),
)
"""Table 2 of the paper."""

ROWS = {"large": LARGE, "small": SMALL}


@dataclass(frozen=True)
class MobileNetV3Form:
    """What implementations differ in.

    ``expand_all`` gives the first block an expansion, though it widens nothing; ``whole_eighths``
    rounds the channels inside a gate to eighths; ``steep`` is a hard sigmoid of slope 0.2 instead
    of 1/6; ``hidden`` are the features of a frame in the large and the small network;
    ``hidden_bias`` and ``dropped`` belong to them: a bias, and a dropout that scales them by 0.8.
    """

    epsilon: float = 1e-3
    expand_all: bool = False
    whole_eighths: bool = True
    steep: bool = False
    hidden: tuple[int, int] = (1280, 1024)
    hidden_bias: bool = True
    dropped: bool = False


FORMS = {
    "torchvision": MobileNetV3Form(),
    "timm": MobileNetV3Form(epsilon=1e-5),
    "paddle": MobileNetV3Form(1e-5, True, False, True, (1280, 1280), False, True),
}


def build_mobilenet_v3(
    size: str | Sequence[Row] = "large",
    *,
    num_classes: int,
    width: float = 1.0,
    form: str = "torchvision",
    shift: ShiftRule | None = None,
    name: str = "tsm-mobilenetv3",
) -> Graph:
    """A MobileNetV3 over ``x`` (N, 3, T, H, W) with logits (N, num_classes).

    ``size`` is a name of `ROWS`, or rows of one's own, with the features of the large network;
    ``form`` is one of `FORMS`.

    >>> [build_mobilenet_v3(size, num_classes=1000).parameter_count for size in ROWS]
    [5483032, 2542856]
    """
    named = size if isinstance(size, str) else "large"
    for word, value, known in (("size", named, ROWS), ("form", form, FORMS)):
        if value not in known:
            raise ValueError(f"`{word}` (={value!r}) must be one of {', '.join(known)}")
    rows = ROWS[size] if isinstance(size, str) else size
    rule, kind = shift or ShiftRule("mit"), FORMS[form]
    b = Builder(name, epsilon=kind.epsilon)
    x = b.input("x", ("N", 3, "T", "H", "W"))
    x = _conv_bn(b, x, "stem", scaled_channels(16, width), kernel=3, stride=2, act="HardSwish")
    for i, row in enumerate(rows):
        x = _block(b, x, f"blocks.{i}", row, width, rule, kind)
    last = scaled_channels(6 * rows[-1].channels, width)
    x = _conv_bn(b, x, "last", last, act="HardSwish")
    x = b.node("GlobalAveragePool", "avgpool", [x], last)
    hidden = kind.hidden[list(ROWS).index(named)]
    x = b.conv(x, "hidden", hidden, kernel=1, bias=kind.hidden_bias)
    x = b.node("HardSwish", "hidden.act", [x], hidden)
    if kind.dropped:
        x = b.node("Mul", "dropout", [x, b.parameter("dropout.scale", (1,) * 5)], hidden)
    x = b.linear(b.node("Flatten", "flatten", [x], hidden), "classifier", num_classes)
    return b.graph([b.node("Consensus", "consensus", [x], num_classes)])


def _block(
    b: Builder, x: str, name: str, row: Row, width: float, rule: ShiftRule, form: MobileNetV3Form
) -> str:
    """1x1 expand, depthwise window, gate, 1x1 project; a skip where the shape is kept."""
    hidden, channels = (scaled_channels(count, width) for count in (row.hidden, row.channels))
    skip = row.stride == 1 and b.channels(x) == channels
    act, y = "HardSwish" if row.swish else "Relu", x
    if form.expand_all or hidden != b.channels(x):
        y = b.shift(x, f"{name}.shift", rule) if skip else x
        y = _conv_bn(b, y, f"{name}.expand", hidden, act=act)
    y = _conv_bn(
        b,
        y,
        f"{name}.depthwise",
        hidden,
        kernel=row.kernel,
        stride=row.stride,
        groups=hidden,
        act=act,
    )
    y = _gate(b, y, f"{name}.gate", form) if row.gated else y
    y = _conv_bn(b, y, f"{name}.project", channels)
    return b.add(y, x, f"{name}.add") if skip else y


def _conv_bn(b: Builder, x: str, name: str, channels: int, *, act: str = "", **form: int) -> str:
    x = b.conv_bn(x, name, channels, **form)
    return b.node(act, f"{name}.act", [x], channels) if act else x


def _gate(b: Builder, x: str, name: str, form: MobileNetV3Form) -> str:
    """Squeeze and excitation through a quarter of the channels, with a hard sigmoid."""
    channels = b.channels(x)
    narrow = scaled_channels(channels // 4, 1.0) if form.whole_eighths else channels // 4
    y = b.node("GlobalAveragePool", f"{name}.avgpool", [x], channels)
    y = b.relu(b.conv(y, f"{name}.conv1", narrow, kernel=1, bias=True), f"{name}.relu")
    y = b.conv(y, f"{name}.conv2", channels, kernel=1, bias=True)
    if form.steep:
        slope, offset = (b.parameter(f"gate.{role}", (1,) * 5) for role in ("slope", "offset"))
        y = b.node("Mul", f"{name}.slope", [y, slope], channels)
        y = b.node("Add", f"{name}.offset", [y, offset], channels)
        y = b.node("Clip", f"{name}.sigmoid", [y], channels, min=0.0, max=1.0)
    else:
        y = b.node("HardSigmoid", f"{name}.sigmoid", [y], channels)
    return b.node("Mul", name, [x, y], channels)


def _full(value: float) -> Callable[[Shape], NDArray[np.float32]]:
    return lambda shape: np.full(shape, value, np.float32)


FIXED: Mapping[str, Callable[[Shape], NDArray[np.float32]]] = {
    "gate.slope": _full(GATE_SLOPE),
    "gate.offset": _full(0.5),
    "dropout.scale": _full(KEPT),
}
"""The tensors of Paddle's network that no training changes."""
