"""TSN and TSM MobileNetV2 (Sandler et al. 2018; Lin, Gan, Han 2019, section 5).

The shift stands in front of the expanding 1x1 convolution of every inverted residual that expands
and has a skip: features 3, 5, 6, 8, 9, 10, 12, 13, 15 and 16.
"""

from collections.abc import Sequence
from typing import Any

from tsm_ref.graph import Graph
from tsm_ref.models.builder import Builder, Pads
from tsm_ref.profile import ShiftRule

STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, output channels, number of blocks and stride of the first (table 2 of the paper)."""


MAX_WIDTH = 16
"""The widest network that is built; the widest published is 1.4."""


def scaled_channels(channels: int, width: float, divisor: int = 8) -> int:
    """``channels * width`` rounded to a multiple of `divisor`, losing at most a tenth.

    >>> [scaled_channels(c, 0.35) for c in (16, 24, 320)]
    [8, 8, 112]
    """
    if not 0 < width <= MAX_WIDTH:
        raise ValueError(f"`width` (={width}) must be more than 0 and at most {MAX_WIDTH}")
    scaled = channels * width
    rounded = max(divisor, int(scaled + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * scaled else rounded


def build_mobilenet_v2(
    *,
    num_classes: int,
    width: float = 1.0,
    shift: ShiftRule | None = None,
    epsilon: float = 1e-5,
    same: tuple[int, int] | None = None,
    expand_first: bool = False,
    name: str = "tsm-mobilenetv2",
) -> Graph:
    """A MobileNetV2 over ``x`` (N, 3, T, H, W) with logits (N, num_classes).

    ``same`` is a height and a width: the convolutions pad frames of this size, and only of this
    size, as TensorFlow's SAME does. ``epsilon`` is that of the batch norms. ``expand_first`` gives
    the first block an expansion too, though it widens nothing, as PaddleVideo has it.

    >>> build_mobilenet_v2(num_classes=400).parameter_count
    2736272
    >>> build_mobilenet_v2(num_classes=27).parameter_count
    2258459
    """
    if same is not None and not _is_size(same):
        raise ValueError(f"`same` (={same!r}) must be a height and a width, in pixels")
    rule = shift or ShiftRule("mit")
    b = Builder(name, epsilon=epsilon)
    x = b.input("x", ("N", 3, "T", *(same or ("H", "W"))))
    sides = same
    first = scaled_channels(32, width)
    x = _conv_bn_relu6(b, x, "features.0", first, kernel=3, stride=2, padding=_pads(sides, 2))
    sides = _halved(sides, 2)
    index = 0
    for expansion, channels, count, first_stride in STAGES:
        for i in range(count):
            index += 1
            stride = first_stride if i == 0 else 1
            x = _inverted_residual(
                b,
                x,
                f"features.{index}",
                scaled_channels(channels, width),
                expansion,
                stride,
                shift=rule,
                padding=_pads(sides, stride),
                expand=expansion != 1 or expand_first,
            )
            sides = _halved(sides, stride)
    last = scaled_channels(1280, max(1.0, width))
    x = _conv_bn_relu6(b, x, f"features.{index + 1}", last, kernel=1)
    return b.graph([b.head(x, "classifier", num_classes)])


def _is_size(sides: Any) -> bool:
    """Whether these are a height and a width in pixels."""
    pair = isinstance(sides, Sequence) and len(sides) == 2
    return pair and all(type(side) is int and side > 0 for side in sides)


def _pads(sides: tuple[int, int] | None, stride: int) -> Pads:
    """The padding of a 3x3 window: 1 all around, or SAME, which leaves some out in front.

    SAME makes ``ceil(side / stride)`` windows; at stride 2 those of an even side start inside.
    """
    if sides is None or stride == 1:
        return (1, 1, 1, 1)
    return (sides[0] % 2, sides[1] % 2, 1, 1)


def _halved(sides: tuple[int, int] | None, stride: int) -> tuple[int, int] | None:
    return sides and (-(-sides[0] // stride), -(-sides[1] // stride))


def _conv_bn_relu6(
    b: Builder,
    x: str,
    name: str,
    channels: int,
    *,
    kernel: int,
    stride: int = 1,
    padding: int | Pads = 0,
    groups: int = 1,
    index: int = 0,
) -> str:
    """Convolution, batch norm, ReLU6, numbered as the layers of one sequence."""
    x = b.conv(
        x,
        f"{name}.{index}",
        channels,
        kernel=kernel,
        stride=stride,
        padding=padding,
        groups=groups,
    )
    return b.relu6(b.batch_norm(x, f"{name}.{index + 1}"), f"{name}.{index + 2}")


def _inverted_residual(
    b: Builder,
    x: str,
    name: str,
    channels: int,
    expansion: int,
    stride: int,
    *,
    shift: ShiftRule,
    padding: Pads,
    expand: bool,
) -> str:
    """1x1 expand, 3x3 depthwise, 1x1 project; a skip where the shape is kept."""
    skip = stride == 1 and b.channels(x) == channels
    hidden = b.channels(x) * expansion
    y, index = x, 0
    if expand:
        if skip:
            y = b.shift(x, f"{name}.shift", shift)
        y = _conv_bn_relu6(b, y, f"{name}.conv", hidden, kernel=1)
        index = 3
    y = _conv_bn_relu6(
        b,
        y,
        f"{name}.conv",
        hidden,
        kernel=3,
        stride=stride,
        padding=padding,
        groups=hidden,
        index=index,
    )
    y = b.conv(y, f"{name}.conv.{index + 3}", channels, kernel=1)
    y = b.batch_norm(y, f"{name}.conv.{index + 4}")
    return b.add(y, x, f"{name}.add") if skip else y
