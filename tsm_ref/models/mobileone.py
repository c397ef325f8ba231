"""MobileOne with temporal shifts, the network of MMAction2's MobileOneTSM (Vasu et al. 2022).

A block is one convolution, trained as the sum of several: some of its own size, a 1x1 one, and the
input itself where the shape is kept, each with a norm. All of them are linear, so that their sum is
one convolution with a bias: the form in which the network runs. The shift stands in front of every
block, of depthwise and pointwise ones alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tsm_ref.graph import Graph
from tsm_ref.models.builder import Builder
from tsm_ref.models.mobilenet_v2 import scaled_channels
from tsm_ref.profile import ShiftRule

EPSILON = 1e-5

Weights = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class MobileOneSpec:
    """The numbers of one network: pairs of blocks and channels per stage, and channels of the stem.

    The last ``gated`` pairs of a stage have squeeze and excitation.
    """

    channels: tuple[int, ...]
    depths: tuple[int, ...] = (2, 8, 10, 1)
    gated: tuple[int, ...] = (0, 0, 0, 0)
    stem: int = 64

    def __post_init__(self) -> None:
        if not len(self.channels) == len(self.depths) == len(self.gated) == 4:
            raise ValueError(f"`channels`, `depths` and `gated` of {self} must have four stages")


MOBILEONES = {
    "mobileone-s0": MobileOneSpec((48, 128, 256, 1024), stem=48),
    "mobileone-s1": MobileOneSpec((96, 192, 512, 1280)),
    "mobileone-s2": MobileOneSpec((96, 256, 640, 2048)),
    "mobileone-s3": MobileOneSpec((128, 320, 768, 2048)),
    "mobileone-s4": MobileOneSpec((192, 448, 896, 2048), gated=(0, 0, 5, 1)),
}
"""The published networks (table 2 of the paper)."""


def build_mobileone(
    spec: MobileOneSpec,
    *,
    num_classes: int,
    branches: int = 0,
    shift: ShiftRule | None = None,
    name: str = "tsm-mobileone",
) -> Graph:
    """A MobileOne over ``x`` (N, 3, T, H, W) with logits (N, num_classes).

    ``branches`` is the number of full-size convolutions in the sum of a block, as it is trained; 0
    is the form in which it runs, whose blocks are single convolutions.

    >>> build_mobileone(MOBILEONES["mobileone-s4"], num_classes=1000).parameter_count
    14838352
    """
    b = Builder(name, epsilon=EPSILON)
    rule = shift or ShiftRule("mit")
    x = b.input("x", ("N", 3, "T", "H", "W"))
    x = _block(b, x, "stage0.0", spec.stem, rule, 1 if branches else 0, kernel=3, stride=2)
    stages = zip(spec.channels, spec.depths, spec.gated, strict=True)
    for stage, (channels, depth, gated) in enumerate(stages, start=1):
        for i in range(depth):
            stride, gate = (2 if i == 0 else 1), i >= depth - gated
            place, narrow = f"stage{stage}.", b.channels(x)
            x = _block(
                b,
                x,
                f"{place}{2 * i}",
                narrow,
                rule,
                branches,
                kernel=3,
                stride=stride,
                groups=narrow,
                gated=gate,
            )
            x = _block(b, x, f"{place}{2 * i + 1}", channels, rule, branches, gated=gate)
    return b.graph([b.head(x, "fc", num_classes)])


def _block(
    b: Builder,
    x: str,
    name: str,
    channels: int,
    rule: ShiftRule,
    branches: int,
    *,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
    gated: bool = False,
) -> str:
    """Shift, one convolution or the sum of several, gate, ReLU."""
    x = b.shift(x, f"{name}.shift", rule)

    def conv(place: str, size: int, bias: bool) -> str:
        return b.conv(
            x,
            place,
            channels,
            kernel=size,
            stride=stride,
            padding=size // 2,
            groups=groups,
            bias=bias,
        )

    if branches:
        parts = {f"{name}.branch_conv_list.{i}": kernel for i in range(branches)}
        if kernel > 1:
            parts[f"{name}.branch_scale"] = 1
        terms = [
            b.batch_norm(conv(f"{place}.conv", size, False), f"{place}.norm")
            for place, size in parts.items()
        ]
        if stride == 1 and b.channels(x) == channels:
            terms.append(b.batch_norm(x, f"{name}.branch_norm"))
        y = terms[0]
        for i, term in enumerate(terms[1:]):
            y = b.add(y, term, f"{name}.add.{i}")
    else:
        y = conv(f"{name}.branch_reparam", kernel, True)
    return b.relu(_gate(b, y, f"{name}.se") if gated else y, f"{name}.act")


def _gate(b: Builder, x: str, name: str) -> str:
    """Squeeze and excitation (Hu et al. 2018) through a sixteenth of the channels."""
    channels = b.channels(x)
    narrow = scaled_channels(channels // 16, 1.0)
    y = b.node("GlobalAveragePool", f"{name}.avgpool", [x], channels)
    y = b.relu(b.conv(y, f"{name}.conv1.conv", narrow, kernel=1, bias=True), f"{name}.relu")
    y = b.conv(y, f"{name}.conv2.conv", channels, kernel=1, bias=True)
    return b.node("Mul", name, [x, b.node("Sigmoid", f"{name}.sigmoid", [y], channels)], channels)


# From the form that is trained to the one that runs


def reparameterized(graph: Graph, weights: Weights) -> dict[str, NDArray[np.float32]]:
    """The weights of a network of single convolutions, from those of the sums that were trained.

    ``graph`` is the network of single convolutions. A norm behind a convolution scales its filters,
    ``g / sqrt(v + eps)``, and a branch without a convolution is one whose filter has a single one;
    filters of a smaller size stand in the middle of those of a larger one. Computed in float64.
    """
    found: dict[str, NDArray[np.float32]] = {}
    for name, shape in graph.parameters.items():
        block, single, _ = name.partition(".branch_reparam.")
        if not single:
            found[name] = weights[name]
        elif name.endswith(".weight"):
            total, bias = np.zeros(shape), np.zeros(shape[0])
            for norm in _norms(weights, block):
                scale, offset = _affine(weights, norm)
                total += scale[:, None, None, None, None] * _filter(weights, norm, shape)
                bias += offset
            found[name] = total.astype(np.float32)
            found[f"{block}.branch_reparam.bias"] = bias.astype(np.float32)
    return {name: found[name] for name in graph.parameters}


def _norms(weights: Weights, block: str) -> list[str]:
    """The norms of the branches of a block."""
    end = ".running_var"
    return [
        name.removesuffix(end)
        for name in weights
        if name.startswith(f"{block}.branch_") and name.endswith(end)
    ]


def _affine(weights: Weights, norm: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    roles = ("weight", "bias", "running_mean", "running_var")
    gain, bias, mean, variance = (np.float64(weights[f"{norm}.{role}"]) for role in roles)
    scale = gain / np.sqrt(variance + EPSILON)
    return scale, bias - mean * scale


def _filter(weights: Weights, norm: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """The filters in front of a norm, as large as the block's: (out, in, 1, k, k)."""
    wide = np.zeros(shape)
    middle = shape[-1] // 2
    if norm.endswith(".branch_norm"):
        rows = np.arange(shape[0])
        wide[rows, rows % shape[1], 0, middle, middle] = 1
        return wide
    own = weights[f"{norm.removesuffix('.norm')}.conv.weight"]
    reach = own.shape[-1] // 2
    inside = slice(middle - reach, middle + reach + 1)
    wide[..., inside, inside] = own
    return wide
