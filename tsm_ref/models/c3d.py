"""C3D (Tran et al. 2015): eight 3x3x3 convolutions and three dense layers, no batch norm."""

from tsm_ref.graph import Graph
from tsm_ref.models.builder import Builder

FRAMES, SIZE = 16, 112
"""Frames and pixels of the clips that the network was made for: its dense layers see all of one."""

LAYERS = ((1,), (2,), (4, 4), (8, 8), (8, 8))
"""Channels of the convolutions in front of each pool, in widths."""


def build_c3d(
    *, num_classes: int, width: int = 64, hidden: int = 4096, size: int = SIZE, name: str = "c3d"
) -> Graph:
    """C3D over ``x`` (N, 3, 16, size, size) with logits of shape (N, num_classes).

    The first pool keeps the frames, the last one pads H and W by one, as the authors' models do.
    78.4 M parameters for 101 classes and 38.5 G multiply-adds are what is published of it.

    >>> build_c3d(num_classes=101).parameter_count
    78409573
    """
    b = Builder(name)
    x = b.input("x", ("N", 3, FRAMES, size, size))
    for stage, widths in enumerate(LAYERS, start=1):
        for letter, channels in zip("ab", widths, strict=False):
            layer = f"conv{stage}{letter if len(widths) > 1 else ''}"
            x = b.conv(x, layer, channels * width, kernel=3, frames=3, padding=1, bias=True)
            x = b.relu(x, f"{layer}.relu")
        window = (1 if stage == 1 else 2, 2, 2)
        edge = (0, 1, 1) * 2 if stage == len(LAYERS) else (0,) * 6
        x = b.node(
            "MaxPool",
            f"pool{stage}",
            [x],
            b.channels(x),
            kernel_shape=window,
            strides=window,
            pads=edge,
        )
    side = (size // 2**4 + 2) // 2
    x = b.node("Flatten", "flatten", [x], b.channels(x) * side**2)
    for layer in ("fc6", "fc7"):
        x = b.relu(b.linear(x, layer, hidden), f"{layer}.relu")
    x = b.linear(x, "fc8", num_classes)
    return b.graph([b.node("Consensus", "consensus", [x], num_classes)])
