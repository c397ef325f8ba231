"""BNInception with temporal shifts, TSN's first backbone, of MIT's TSM too (Ioffe, Szegedy 2015).

Ten blocks of parallel branches whose channels stand one behind the other. Every convolution has a
bias, a norm and a ReLU; in MIT's code the ReLU works in place, so that what reads the norm reads it
behind the ReLU. A block changes the number of channels, so that the shift stands in front of the
whole of it (placement ``block``), from the second on: pictures are not shifted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tsm_ref.graph import Graph
from tsm_ref.models.builder import Builder
from tsm_ref.profile import ShiftRule


@dataclass(frozen=True)
class Inception:
    """The channels of the branches of a block: 1x1, 3x3 and its reduction, two 3x3, a pool.

    ``pool`` is "mean" or "max", and ``projected`` its 1x1 convolution; without one the block halves
    height and width, and has no 1x1 branch.
    """

    single: int
    reduced: int
    wide: int
    double_reduced: int
    double: int
    pool: str
    projected: int

    def narrower(self, divisor: int) -> "Inception":
        """The same block with as many times fewer channels."""
        numbers: dict[str, Any] = {k: v // divisor for k, v in vars(self).items() if k != "pool"}
        return replace(self, **numbers)


BLOCKS = {
    "3a": Inception(64, 64, 64, 64, 96, "mean", 32),
    "3b": Inception(64, 64, 96, 64, 96, "mean", 64),
    "3c": Inception(0, 128, 160, 64, 96, "max", 0),
    "4a": Inception(224, 64, 96, 96, 128, "mean", 128),
    "4b": Inception(192, 96, 128, 96, 128, "mean", 128),
    "4c": Inception(160, 128, 160, 128, 160, "mean", 128),
    "4d": Inception(96, 128, 192, 160, 192, "mean", 128),
    "4e": Inception(0, 128, 192, 192, 256, "max", 0),
    "5a": Inception(352, 192, 320, 160, 224, "mean", 128),
    "5b": Inception(352, 192, 320, 192, 224, "max", 128),
}


def build_bn_inception(
    *,
    num_classes: int,
    shift: ShiftRule | None = None,
    in_channels: int = 3,
    divisor: int = 1,
    name: str = "tsm-bninception",
) -> Graph:
    """A BNInception over ``x`` (N, 3, T, H, W) with logits (N, num_classes).

    ``in_channels`` is 10 for a network of optical flow; ``divisor`` makes all layers as many times
    narrower.

    >>> build_bn_inception(num_classes=1000).parameter_count
    11295240
    """
    b, rule = Builder(name), shift or ShiftRule("mit")
    x = b.input("x", ("N", in_channels, "T", "H", "W"))
    x = beginning(b, x, tuple(BLOCKS), rule, divisor)
    return b.graph([b.head(x, "fc", num_classes)])


def beginning(
    b: Builder,
    x: str,
    blocks: Sequence[str],
    rule: ShiftRule | None = None,
    divisor: int = 1,
) -> str:
    """The stem and these blocks behind it, each but the stem shifted where there is a rule."""
    rule = rule or ShiftRule("none")
    x = conv_norm_relu(b, x, "conv1_7x7_s2", 64 // divisor, kernel=7, stride=2)
    x = _halved(b, x, "pool1_3x3_s2")
    x = b.shift(x, "conv2.shift", rule)
    x = conv_norm_relu(b, x, "conv2_3x3_reduce", 64 // divisor)
    x = conv_norm_relu(b, x, "conv2_3x3", 192 // divisor, kernel=3)
    x = _halved(b, x, "pool2_3x3_s2")
    for block in blocks:
        place = f"inception_{block}"
        x = _block(b, b.shift(x, f"{place}.shift", rule), place, BLOCKS[block].narrower(divisor))
    return x


def _block(b: Builder, x: str, name: str, spec: Inception) -> str:
    stride = 1 if spec.projected else 2
    branches = [conv_norm_relu(b, x, f"{name}_1x1", spec.single)] if spec.single else []
    y = conv_norm_relu(b, x, f"{name}_3x3_reduce", spec.reduced)
    branches.append(conv_norm_relu(b, y, f"{name}_3x3", spec.wide, kernel=3, stride=stride))
    y = conv_norm_relu(b, x, f"{name}_double_3x3_reduce", spec.double_reduced)
    y = conv_norm_relu(b, y, f"{name}_double_3x3_1", spec.double, kernel=3)
    branches.append(
        conv_norm_relu(b, y, f"{name}_double_3x3_2", spec.double, kernel=3, stride=stride)
    )
    if not spec.projected:
        branches.append(_halved(b, x, f"{name}_pool"))
    else:
        y = _pool(b, x, f"{name}_pool", spec.pool)
        branches.append(conv_norm_relu(b, y, f"{name}_pool_proj", spec.projected))
    return b.concat(branches, name)


def conv_norm_relu(
    b: Builder, x: str, name: str, channels: int, *, kernel: int = 1, stride: int = 1
) -> str:
    """A convolution with a bias, its norm and its ReLU."""
    x = b.conv(x, name, channels, kernel=kernel, stride=stride, padding=kernel // 2, bias=True)
    return b.relu(b.batch_norm(x, f"{name}_bn"), f"{name}.relu")


def _halved(b: Builder, x: str, name: str) -> str:
    """The maximum of 3x3 pixels, every second of them; windows may end outside."""
    window = {"kernel_shape": (1, 3, 3), "strides": (1, 2, 2), "ceil_mode": True}
    return b.node("MaxPool", name, [x], b.channels(x), **window)


def _pool(b: Builder, x: str, name: str, kind: str) -> str:
    """3x3 pixels around each one; those outside count as zeros in a mean."""
    window = {"kernel_shape": (1, 3, 3), "strides": (1, 1, 1), "pads": (0, 1, 1, 0, 1, 1)}
    if kind == "max":
        return b.node("MaxPool", name, [x], b.channels(x), **window)
    return b.node("AveragePool", name, [x], b.channels(x), count_include_pad=True, **window)
