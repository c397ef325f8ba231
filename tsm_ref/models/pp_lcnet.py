"""PP-LCNetV2 with one temporal shift, the network of PaddleVideo's PP-TSMv2 (Cui et al. 2021).

Depthwise separable blocks in four stages. Those of the last two are 5x5 windows that were trained
as the sum of a 5x5, a 3x3 and (at stride 1) a 1x1 window, each with a norm of its own; stage 3
gates its channels by their means. The shift stands once, in front of stage 3, and in front of the
shift may stand an attention over frames: ``x * sigmoid(W m + b)`` with `m` the mean of each frame.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tsm_ref.graph import Graph
from tsm_ref.models.builder import Builder
from tsm_ref.models.mobilenet_v2 import scaled_channels
from tsm_ref.ops_table import Shape
from tsm_ref.profile import ShiftRule

DEPTHS = (2, 2, 6, 2)
"""Blocks per stage of PP-LCNetV2 base, whose width is 1."""

KEPT = 0.8
"""What is left of the features: the dropout of 0.2 scales them when it no longer drops any."""

SHIFTED_STAGE = 2


@dataclass(frozen=True)
class _Stage:
    """One row of the network: half of its channels, its window, and what its blocks have."""

    channels: int
    kernel: int
    branches: bool = False
    gated: bool = False
    split: bool = False
    skip: bool = False


STAGES = (
    _Stage(64, 3),
    _Stage(128, 3),
    _Stage(256, 5, branches=True, gated=True, split=True),
    _Stage(512, 5, branches=True, skip=True),
)


def build_pp_lcnet(
    *,
    num_classes: int,
    width: float = 1.0,
    depths: Sequence[int] = DEPTHS,
    hidden: int = 1280,
    attention: int = 0,
    shift: ShiftRule | None = None,
    name: str = "tsm-pp-lcnet",
) -> Graph:
    """A PP-LCNetV2 over ``x`` (N, 3, T, H, W) with logits (N, num_classes).

    ``attention`` is the number of frames that the attention in front of the shift weighs, and the
    only one that the network then takes; 0 is none. ``hidden`` are the features of a frame.

    >>> build_pp_lcnet(num_classes=1000).parameter_count
    6687209
    """
    if len(depths) != len(STAGES):
        raise ValueError(f"`depths` (={tuple(depths)}) must be one number for each of 4 stages")
    rule = shift or ShiftRule("paddle", 8)
    b = Builder(name)
    x = b.input("x", ("N", 3, attention or "T", "H", "W"))
    x = _conv_bn(b, x, "stem.0", scaled_channels(32, width), kernel=3, stride=2)
    x = _block(b, x, "stem.1", scaled_channels(64, width), 1, _Stage(0, 3))
    for index, (stage, depth) in enumerate(zip(STAGES, depths, strict=True)):
        if index == SHIFTED_STAGE:
            x = _attention(b, x, attention) if attention else x
            x = b.shift(x, f"stages.{index}.shift", rule)
        for i in range(depth):
            channels = scaled_channels(2 * stage.channels, width)
            x = _block(b, x, f"stages.{index}.{i}", channels, 2 if i == 0 else 1, stage)
    x = b.node("GlobalAveragePool", "avgpool", [x], b.channels(x))
    x = b.relu(b.conv(x, "last_conv", hidden, kernel=1), "last_relu")
    x = b.node("Mul", "dropout", [x, b.parameter("dropout.scale", (1,) * 5)], hidden)
    x = b.linear(b.node("Flatten", "flatten", [x], hidden), "fc", num_classes)
    return b.graph([b.node("Consensus", "consensus", [x], num_classes)])


def _conv_bn(
    b: Builder, x: str, name: str, channels: int, *, activate: bool = True, **form: int
) -> str:
    x = b.conv_bn(x, name, channels, **form)
    return b.relu(x, f"{name}.relu") if activate else x


def _block(b: Builder, x: str, name: str, channels: int, stride: int, stage: _Stage) -> str:
    """Depthwise window, gate, 1x1 convolutions, and a skip where the shape is kept."""
    skip = stage.skip and stride == 1 and b.channels(x) == channels
    y = _depthwise(b, x, name, stride, stage)
    if stage.gated:
        y = _gate(b, y, f"{name}.se")
    if stage.split:
        y = _conv_bn(b, y, f"{name}.pw_conv_1", channels // 2)
        y = _conv_bn(b, y, f"{name}.pw_conv_2", channels)
    else:
        y = _conv_bn(b, y, f"{name}.pw_conv", channels)
    return b.add(y, x, f"{name}.add") if skip else y


def _depthwise(b: Builder, x: str, name: str, stride: int, stage: _Stage) -> str:
    """One window per channel, or the sum of smaller and smaller ones around the same pixel."""
    channels = b.channels(x)
    if not stage.branches:
        return _conv_bn(
            b,
            x,
            f"{name}.dw_conv",
            channels,
            kernel=stage.kernel,
            stride=stride,
            groups=channels,
        )
    total = ""
    for i, kernel in enumerate(range(stage.kernel, 0 if stride == 1 else 1, -2)):
        branch = f"{name}.dw_conv_list.{i}"
        y = _conv_bn(
            b, x, branch, channels, kernel=kernel, stride=stride, groups=channels, activate=False
        )
        total = b.add(total, y, f"{branch}.add") if total else y
    return b.relu(total, f"{name}.dw_relu")


def _gate(b: Builder, x: str, name: str) -> str:
    """Squeeze and excitation (Hu et al. 2018): each channel times a sigmoid of all their means."""
    channels = b.channels(x)
    y = b.node("GlobalAveragePool", f"{name}.avgpool", [x], channels)
    y = b.relu(b.conv(y, f"{name}.conv1", channels // 4, kernel=1, bias=True), f"{name}.relu")
    y = b.conv(y, f"{name}.conv2", channels, kernel=1, bias=True)
    y = b.node("Sigmoid", f"{name}.sigmoid", [y], channels)
    return b.node("Mul", name, [x, y], channels)


def _attention(b: Builder, x: str, frames: int) -> str:
    """``x * sigmoid(W m + b)``, the gate of each frame from the means of all frames.

    Written with convolutions in time: one over all frames makes a channel per frame, and one of
    fixed ones lays these channels out in time.
    """
    channels = b.channels(x)
    y = b.node("GlobalAveragePool", "attention.avgpool", [x], channels)
    y = _time_conv(b, y, "attention.mean", 1, 1)
    y = _time_conv(b, y, "attention.fc", frames, frames)
    y = _time_conv(b, y, "attention.frames", 1, frames, padding=frames - 1)
    bias = b.parameter("attention.fc.bias", (1, 1, frames, 1, 1))
    y = b.node("Add", "attention.add", [y, bias], 1)
    y = b.node("Sigmoid", "attention.sigmoid", [y], 1)
    return b.node("Mul", "attention", [x, y], channels)


def _time_conv(
    b: Builder, x: str, name: str, channels: int, kernel: int, *, padding: int = 0
) -> str:
    weight = b.parameter(f"{name}.weight", (channels, b.channels(x), kernel, 1, 1))
    pads = (padding, 0, 0, padding, 0, 0)
    return b.node("Conv", name, [x, weight], channels, pads=pads)


# Tensors that are not learned


def _reversed_identity(shape: Shape) -> NDArray[np.float32]:
    """Channel `t` of the only frame becomes frame `t`: its one stands where that frame meets it."""
    frames = shape[1]
    weight = np.zeros(shape, np.float32)
    weight[0, np.arange(frames), frames - 1 - np.arange(frames)] = 1
    return weight


FIXED: Mapping[str, Callable[[Shape], NDArray[np.float32]]] = {
    "attention.mean.weight": lambda shape: np.full(shape, 1 / shape[1], np.float32),
    "attention.frames.weight": _reversed_identity,
    "dropout.scale": lambda shape: np.full(shape, KEPT, np.float32),
}
"""The tensors of this network that no training changes, and how each is made from its shape."""
