"""S3D (Xie et al. 2018): Inception whose 3x3x3 are a 1x3x3 and a 3x1x1 behind it."""

from tsm_ref.graph import Graph
from tsm_ref.models.builder import Builder

Branches = tuple[int, int, int, int, int, int]

BLOCKS: dict[int, Branches] = {
    5: (64, 96, 128, 16, 32, 32),
    6: (128, 128, 192, 32, 96, 64),
    8: (192, 96, 208, 16, 48, 64),
    9: (160, 112, 224, 24, 64, 64),
    10: (128, 128, 256, 24, 64, 64),
    11: (112, 144, 288, 32, 64, 64),
    12: (256, 160, 320, 32, 128, 128),
    14: (256, 160, 320, 32, 128, 128),
    15: (384, 192, 384, 48, 128, 128),
}
"""Channels by the number of the layer: 1x1; reduction and 3x3, twice; 1x1 behind a pool."""

POOLS = {1: ((1, 3, 3), (1, 2, 2)), 4: ((1, 3, 3), (1, 2, 2)), 7: ((3, 3, 3), (2, 2, 2)),
         13: ((2, 2, 2), (2, 2, 2))}  # fmt: skip
"""Windows and strides of the pools between them, padded to see every pixel alike."""


def build_s3d(*, num_classes: int, divisor: int = 1, name: str = "s3d") -> Graph:
    """S3D over ``x`` (N, 3, T, H, W) with logits (N, num_classes); T of 16 or more.

    The features of neighbouring eighths of the frames are averaged in twos before the mean over
    all, as torchvision does. ``divisor`` makes all layers as many times narrower.

    >>> build_s3d(num_classes=400).parameter_count
    8320048
    """
    b = Builder(name, epsilon=1e-3)
    x = b.input("x", ("N", 3, "T", "H", "W"))
    for layer in range(16):
        place = f"features.{layer}"
        if layer in POOLS:
            x = _pool(b, x, place, *POOLS[layer])
        elif layer in BLOCKS:
            x = _block(b, x, place, [width // divisor for width in BLOCKS[layer]])
        elif layer == 2:
            x = _conv(b, x, place, 64 // divisor)
        else:
            kernel, stride, width = (7, 2, 64) if layer == 0 else (3, 1, 192)
            x = _separable(b, x, place, width // divisor, kernel, stride)
    twos = {"kernel_shape": (2, 1, 1), "strides": (1, 1, 1)}
    x = b.node("AveragePool", "twos", [x], b.channels(x), **twos)
    return b.graph([b.head(x, "fc", num_classes)])


def _block(b: Builder, x: str, name: str, widths: list[int]) -> str:
    single, reduced, wide, narrow, small, projected = widths
    branches = [_conv(b, x, f"{name}.branch0", single)]
    for i, (before, behind) in enumerate(((reduced, wide), (narrow, small)), start=1):
        y = _conv(b, x, f"{name}.branch{i}.0", before)
        branches.append(_separable(b, y, f"{name}.branch{i}.1", behind, 3, 1))
    y = _pool(b, x, f"{name}.branch3.0", (3, 3, 3), (1, 1, 1))
    branches.append(_conv(b, y, f"{name}.branch3.1", projected))
    return b.concat(branches, name)


def _conv(b: Builder, x: str, name: str, channels: int) -> str:
    return b.norm_relu(b.conv(x, f"{name}.0", channels, kernel=1), f"{name}.1")


def _separable(b: Builder, x: str, name: str, channels: int, kernel: int, stride: int) -> str:
    """Over pixels, then over as many frames; each with its norm and its ReLU."""
    padding = kernel // 2
    x = b.conv(x, f"{name}.0.0", channels, kernel=kernel, stride=stride, padding=padding)
    x = b.norm_relu(x, f"{name}.0.1")
    x = b.conv(x, f"{name}.1.0", channels, kernel=1, frames=kernel, step=stride)
    return b.norm_relu(x, f"{name}.1.1")


def _pool(b: Builder, x: str, name: str, window: tuple[int, ...], strides: tuple[int, ...]) -> str:
    edge = tuple(size // 2 if size == 3 else 0 for size in window)
    return b.node(
        "MaxPool", name, [x], b.channels(x), kernel_shape=window, strides=strides, pads=edge * 2
    )
