"""Residual networks that convolve over time: R3D, MC3, R(2+1)D and the inflated ResNet-50 of I3D.

They are what TSM was compared with (Lin, Gan, Han 2019, tables 2 and 3): the same blocks, whose
convolutions look at three frames, where TSM shifts channels and looks at one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tsm_ref.graph import Graph
from tsm_ref.models.builder import Builder


@dataclass(frozen=True)
class ClipResNetSpec:
    """A network of basic blocks (Tran et al. 2018, figure 1).

    ``kinds`` per stage: "3d" for 3x3x3, "2d" for 1x3x3 and "2+1d" for 1x3x3 and then 3x1x1.
    ``own_middle``: both convolutions of a block have a middle by their own channels, as in the
    authors' code; in torchvision that of the first serves both.
    """

    blocks: tuple[int, int, int, int]
    kinds: tuple[str, str, str, str]
    own_middle: bool = False


CLIP_RESNETS = {
    "r3d-18": ClipResNetSpec((2, 2, 2, 2), ("3d",) * 4),
    "mc3-18": ClipResNetSpec((2, 2, 2, 2), ("3d", "2d", "2d", "2d")),
    "r2plus1d-18": ClipResNetSpec((2, 2, 2, 2), ("2+1d",) * 4),
    "r2plus1d-34": ClipResNetSpec((3, 4, 6, 3), ("2+1d",) * 4, own_middle=True),
}
"""The published networks, those of 18 layers as torchvision has them, that of 34 as its authors.

Their clips are of 112 pixels and 16 frames, or 32 for the deeper one.
"""

INFLATED = ((0, 1, 2), (0, 2), (0, 2, 4), (1,))
"""The blocks of each stage of an inflated ResNet-50 whose first convolution sees three frames."""


def middle_of(inputs: int, outputs: int) -> int:
    """Channels between 1x3x3 and 3x1x1 that make as many weights as 3x3x3 has.

    ``floor(27 in out / (9 in + 3 out))`` (Tran et al. 2018, section 3.5).

    >>> middle_of(64, 64), middle_of(64, 128)
    (144, 230)
    """
    return 27 * inputs * outputs // (9 * inputs + 3 * outputs)


def build_clip_resnet(
    spec: ClipResNetSpec, *, num_classes: int, width: int = 64, name: str = "r3d"
) -> Graph:
    """R3D, MC3 or R(2+1)D over ``x`` (N, 3, T, H, W) with logits (N, num_classes).

    Stage ``i`` has ``width * 2**i`` channels.

    >>> build_clip_resnet(CLIP_RESNETS["r2plus1d-18"], num_classes=400).parameter_count
    31505325
    """
    b = Builder(name)
    x = b.input("x", ("N", 3, "T", "H", "W"))
    if spec.kinds[0] == "2+1d":
        x = b.norm_relu(b.conv(x, "stem.0", 45, kernel=7, stride=2, padding=3), "stem.1")
        x = b.norm_relu(b.conv(x, "stem.3", width, kernel=1, frames=3), "stem.4")
    else:
        x = b.conv(x, "stem.0", width, kernel=7, stride=2, padding=3, frames=3)
        x = b.norm_relu(x, "stem.1")
    for stage, (count, kind) in enumerate(zip(spec.blocks, spec.kinds, strict=True)):
        for i in range(count):
            stride = 2 if stage and i == 0 else 1
            planes = width * 2**stage
            x = _basic(b, x, f"layer{stage + 1}.{i}", planes, stride, kind, spec.own_middle)
    return b.graph([b.head(x, "fc", num_classes)])


def _basic(
    b: Builder, x: str, name: str, planes: int, stride: int, kind: str, own_middle: bool
) -> str:
    """Two convolutions and the skip path; the stride is in time as well, but in "2d"."""
    step = 1 if kind == "2d" else stride
    middle = middle_of(b.channels(x), planes)
    y = _convolved(b, x, f"{name}.conv1", planes, (stride, step), kind, middle)
    y = b.norm_relu(y, f"{name}.bn1")
    middle = middle_of(planes, planes) if own_middle else middle
    y = _convolved(b, y, f"{name}.conv2", planes, (1, 1), kind, middle)
    y = b.batch_norm(y, f"{name}.bn2")
    if stride != 1 or b.channels(x) != planes:
        x = b.conv(x, f"{name}.downsample.0", planes, kernel=1, stride=stride, step=step)
        x = b.batch_norm(x, f"{name}.downsample.1")
    return b.relu(b.add(y, x, f"{name}.add"), f"{name}.relu")


def _convolved(
    b: Builder, x: str, name: str, planes: int, strides: tuple[int, int], kind: str, middle: int
) -> str:
    """3x3x3, 1x3x3, or 1x3x3 with a norm and 3x1x1; `strides` in space and in time."""
    stride, step = strides
    if kind != "2+1d":
        frames = 3 if kind == "3d" else 1
        return b.conv(x, name, planes, kernel=3, stride=stride, padding=1, frames=frames, step=step)
    x = b.conv(x, f"{name}.0", middle, kernel=3, stride=stride, padding=1)
    x = b.norm_relu(x, f"{name}.1")
    return b.conv(x, f"{name}.3", planes, kernel=1, frames=3, step=step)


def build_i3d(
    *,
    num_classes: int,
    blocks: Sequence[int] = (3, 4, 6, 3),
    width: int = 64,
    name: str = "i3d-resnet50",
) -> Graph:
    """The ResNet-50 of I3D over ``x`` (N, 3, T, H, W) with logits (N, num_classes).

    The stem sees five frames, and in every second block (`INFLATED`) the first 1x1 three; behind
    the first stage the maximum of two frames halves their number, and the last stage keeps its
    pixels. Sources: Carreira, Zisserman 2017; Wang et al. 2018, section 4 ("3x1x1"); Wang, Gupta
    2018, table 1. Parameters and multiply-adds of 32 frames of 224 pixels are those of Lin, Gan,
    Han 2019, table 2: 28.0 M and 153 G.

    >>> build_i3d(num_classes=400).parameter_count
    28043472
    """
    b = Builder(name)
    x = b.input("x", ("N", 3, "T", "H", "W"))
    x = b.conv(x, "conv1", width, kernel=7, stride=2, padding=3, frames=5)
    x = b.norm_relu(x, "bn1")
    x = b.node(
        "MaxPool",
        "maxpool",
        [x],
        width,
        kernel_shape=(1, 3, 3),
        strides=(1, 2, 2),
        pads=(0, 1, 1, 0, 1, 1),
    )
    for stage, count in enumerate(blocks):
        for i in range(count):
            stride = 2 if stage in (1, 2) and i == 0 else 1
            frames = 3 if i in INFLATED[stage] else 1
            x = _bottleneck(b, x, f"layer{stage + 1}.{i}", width * 2**stage, stride, frames)
        if stage == 0:
            halves = {"kernel_shape": (2, 1, 1), "strides": (2, 1, 1)}
            x = b.node("MaxPool", "pool2", [x], b.channels(x), **halves)
    return b.graph([b.head(x, "fc", num_classes)])


def _bottleneck(b: Builder, x: str, name: str, planes: int, stride: int, frames: int) -> str:
    y = b.conv(x, f"{name}.conv1", planes, kernel=1, frames=frames)
    y = b.norm_relu(y, f"{name}.bn1")
    y = b.conv(y, f"{name}.conv2", planes, kernel=3, stride=stride, padding=1)
    y = b.norm_relu(y, f"{name}.bn2")
    y = b.conv(y, f"{name}.conv3", 4 * planes, kernel=1)
    y = b.batch_norm(y, f"{name}.bn3")
    if stride != 1 or b.channels(x) != 4 * planes:
        x = b.conv(x, f"{name}.downsample.0", 4 * planes, kernel=1, stride=stride)
        x = b.batch_norm(x, f"{name}.downsample.1")
    return b.relu(b.add(y, x, f"{name}.add"), f"{name}.relu")
