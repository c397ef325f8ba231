"""TSN and TSM ResNets, wide ones, ResNeXts, -vd and non-local ones (He et al. 2015, 2018).

The shift stands in front of the first convolution of the residual branch (placement ``blockres``,
"residual shift"), or in front of the whole block, skip path included (``block``, "in-place shift"),
or nowhere (``none``: TSN). Convolution strides are PyTorch's, on the 3x3 of a bottleneck; those of
the paper and of Keras, on its first 1x1, are an option; so is ResNet-vd (He et al. 2018, "Bag of
tricks", figure 2), which PaddleVideo's ppTSM is. See Lin, Gan, Han 2019, sections 3 and 4.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tsm_ref.graph import Graph
from tsm_ref.models.builder import Builder
from tsm_ref.profile import ShiftRule


@dataclass(frozen=True)
class ResNetSpec:
    """The numbers that make one residual network.

    ``blocks`` per stage; stage ``i`` has ``width * 2**i`` planes and stride ``strides[i]``.
    ``stride_first`` puts the stride of a bottleneck on its first convolution, ``conv_bias`` gives
    every convolution a bias, ``epsilon`` is that of the batch norms. ``deep_stem`` is three
    convolutions of ``stem_kernel`` instead of one, the first two of half the width;
    ``pool_shortcut`` puts the stride of a skip path into an average pool in front of its
    convolution; ``slope`` > 0 makes every ReLU a leaky one; ``project_first`` gives the first
    block a convolution as its skip path, where its shape is kept. The middle of a bottleneck has
    ``inner`` channels per plane, in ``groups`` (Zagoruyko, Komodakis 2016; Xie et al. 2017).
    """

    blocks: tuple[int, ...]
    bottleneck: bool = False
    width: int = 64
    strides: tuple[int, ...] = (1, 2, 2, 2)
    stem_kernel: int = 7
    stem_stride: int = 2
    stem_pool: bool = True
    stride_first: bool = False
    conv_bias: bool = False
    epsilon: float = 1e-5
    deep_stem: bool = False
    pool_shortcut: bool = False
    slope: float = 0.0
    project_first: bool = False
    inner: float = 1.0
    groups: int = 1

    def __post_init__(self) -> None:
        if not 0 < len(self.blocks) <= len(self.strides):
            raise ValueError(
                f"`blocks` (={self.blocks}) must name 1 to {len(self.strides)} stages, by stride"
            )

    @property
    def expansion(self) -> int:
        """Output channels of a block per plane."""
        return 4 if self.bottleneck else 1


@dataclass(frozen=True)
class NonLocalSpec:
    """A non-local block: its mode, and what implementations differ in.

    ``bias`` of its output convolution, a ``norm`` behind it, keys and values ``pooled`` 2x2.
    """

    mode: str = "embedded_gaussian"
    bias: bool = True
    norm: bool = True
    pooled: bool = True


_VD = ResNetSpec((1, 1, 1, 1), stem_kernel=3, deep_stem=True, slope=0.01)

RESNETS = {
    "resnet18": ResNetSpec((2, 2, 2, 2)),
    "resnet34": ResNetSpec((3, 4, 6, 3)),
    "resnet50": ResNetSpec((3, 4, 6, 3), bottleneck=True),
    "resnet101": ResNetSpec((3, 4, 23, 3), bottleneck=True),
    "resnet152": ResNetSpec((3, 8, 36, 3), bottleneck=True),
    "wide-resnet50": ResNetSpec((3, 4, 6, 3), bottleneck=True, inner=2.0),
    "wide-resnet101": ResNetSpec((3, 4, 23, 3), bottleneck=True, inner=2.0),
    "resnext50-32x4d": ResNetSpec((3, 4, 6, 3), bottleneck=True, inner=2.0, groups=32),
    "resnext101-32x4d": ResNetSpec((3, 4, 23, 3), bottleneck=True, inner=2.0, groups=32),
    "resnext101-32x8d": ResNetSpec((3, 4, 23, 3), bottleneck=True, inner=4.0, groups=32),
    "resnet18-vd": replace(_VD, blocks=(2, 2, 2, 2), project_first=True),
    "resnet34-vd": replace(_VD, blocks=(3, 4, 6, 3), project_first=True),
    "resnet50-vd": replace(_VD, blocks=(3, 4, 6, 3), bottleneck=True, pool_shortcut=True),
    "resnet101-vd": replace(_VD, blocks=(3, 4, 23, 3), bottleneck=True, pool_shortcut=True),
}
"""The published networks.

Those of ``-vd`` are ppTSM's: leaky where PaddleVideo made them so, and with pools in the skip paths
of bottlenecks alone.
"""


def n_round(blocks: Sequence[int]) -> int:
    """Every how many blocks there is a shift: 2 where the third stage has 23 or more, else 1."""
    return 2 if len(blocks) > 2 and blocks[2] >= 23 else 1


def build_resnet(
    spec: ResNetSpec,
    *,
    num_classes: int,
    placement: str = "blockres",
    shift: ShiftRule | None = None,
    non_local: Mapping[str, NonLocalSpec | str] | str | None = None,
    temporal_pool: bool = False,
    in_channels: int = 3,
    spatial_shift: int = 0,
    name: str = "tsm-resnet",
) -> Graph:
    """A residual network over ``x`` of shape (N, 3, T, H, W) with logits of shape (N, num_classes).

    ``in_channels`` is 10 for a network of optical flow: five pairs of horizontal and vertical
    motion (Simonyan, Zisserman 2014; `tsm_ref.models.flow_filters`).

    ``non_local`` puts a non-local block behind a block such as ``layer2.0``, as it is specified, or
    the usual one of a mode (`tsm_ref.reference.non_local`); a mode alone puts one behind every
    second block of the second and third stage, as published. ``temporal_pool`` takes the maximum of
    three frames, every second frame, in front of the second stage: the stages from there on see
    half the frames.

    ``spatial_shift`` is the two-dimensional extension: behind the temporal shift of every residual
    branch, so many parts of the channels make a cross, one part each up, down, left and right
    (`tsm_ref.reference.cross_folds`; 8 shifts half of the channels), with the fill of the temporal
    one. No weight is added.

    >>> build_resnet(RESNETS["resnet50"], num_classes=400).parameter_count
    24327632
    """
    if placement not in ("none", "blockres", "block"):
        raise ValueError(f"`placement` (={placement!r}) must be 'none', 'blockres' or 'block'")
    if type(spatial_shift) is not int or spatial_shift < 0 or 0 < spatial_shift < 4:
        raise ValueError(
            f"`spatial_shift` (={spatial_shift!r}) must be the parts of the channels, 4 or more, "
            "or 0 for none"
        )
    if not isinstance(non_local, str | Mapping | None):
        raise ValueError(f"`non_local` (={non_local!r}) must be a mode, or modes by block")
    rule = ShiftRule("none") if placement == "none" else shift or ShiftRule("mit")
    b = Builder(name, epsilon=spec.epsilon)
    x = b.input("x", ("N", in_channels, "T", "H", "W"))
    x = stem(b, x, spec)
    # PaddleVideo shifts every block of a deep network too.
    if isinstance(non_local, str):
        non_local = dict.fromkeys(_published_places(spec), non_local)
    every = n_round(spec.blocks) if placement == "blockres" and rule.rule != "paddle" else 1
    for stage, (count, stride) in enumerate(zip(spec.blocks, spec.strides, strict=False)):
        planes = spec.width * 2**stage
        if temporal_pool and stage == 1:
            x = _temporal_pool(b, x)
        for i in range(count):
            place = f"layer{stage + 1}.{i}"
            x = residual_block(
                b,
                x,
                place,
                planes,
                stride if i == 0 else 1,
                spec=spec,
                placement=placement,
                shift=rule if i % every == 0 else ShiftRule("none"),
                project=spec.project_first and stage == i == 0,
                spatial_shift=spatial_shift,
            )
            if non_local and place in non_local:
                kind = non_local[place]
                wanted = kind if isinstance(kind, NonLocalSpec) else NonLocalSpec(kind)
                x = _non_local(b, x, f"{place}.nl", wanted)
    return b.graph([b.head(x, "fc", num_classes)])


def _published_places(spec: ResNetSpec) -> list[str]:
    """The blocks that have a non-local one behind them in MIT's and MMAction2's networks."""
    stages = enumerate(spec.blocks[1:3], start=2)
    return [f"layer{stage}.{i}" for stage, count in stages for i in range(0, count, 2)]


def _temporal_pool(b: Builder, x: str) -> str:
    window = {"kernel_shape": (3, 1, 1), "strides": (2, 1, 1), "pads": (1, 0, 0, 1, 0, 0)}
    return b.node("MaxPool", "temporal_pool", [x], b.channels(x), **window)


def _non_local(b: Builder, x: str, name: str, spec: NonLocalSpec) -> str:
    """``x + batch_norm(W attention(x))`` over all places of a clip (Wang et al. 2018, figure 2).

    Keys and values may be pooled 2x2 over H and W; queries and keys have half of the channels, but
    in the mode "gaussian", where they are the values themselves.
    """
    channels = b.channels(x)
    half = channels // 2

    def part(role: str) -> str:
        return b.conv(x, f"{name}.{role}", half, kernel=1, bias=True)

    def pooled(value: str, role: str) -> str:
        if not spec.pooled:
            return value
        width, window = b.channels(value), (1, 2, 2)
        return b.node(
            "MaxPool", f"{name}.{role}.pool", [value], width, kernel_shape=window, strides=window
        )

    theta, phi = (x, x) if spec.mode == "gaussian" else (part("theta"), part("phi"))
    inputs = [theta, pooled(phi, "phi"), pooled(part("g"), "g")]
    y = b.node("NonLocal", f"{name}.attention", inputs, half, mode=spec.mode)
    y = b.conv(y, f"{name}.W", channels, kernel=1, bias=spec.bias)
    y = b.batch_norm(y, f"{name}.bn") if spec.norm else y
    return b.add(y, x, name)


def stem(b: Builder, x: str, spec: ResNetSpec) -> str:
    """What is in front of the first stage: convolutions, and a pool."""
    half = spec.width // 2
    layers = {"1": spec.width}
    if spec.deep_stem:
        layers = {"1.0": half, "1.1": half, "1.2": spec.width}
    for i, (layer, width) in enumerate(layers.items()):
        x = b.conv(
            x,
            f"conv{layer}",
            width,
            kernel=spec.stem_kernel,
            stride=spec.stem_stride if i == 0 else 1,
            padding=spec.stem_kernel // 2,
            bias=spec.conv_bias,
        )
        x = _relu(b, b.batch_norm(x, f"bn{layer}"), f"relu{layer}", spec)
    if not spec.stem_pool:
        return x
    return b.node(
        "MaxPool",
        "maxpool",
        [x],
        spec.width,
        kernel_shape=(1, 3, 3),
        strides=(1, 2, 2),
        pads=(0, 1, 1, 0, 1, 1),
    )


def _relu(b: Builder, x: str, name: str, spec: ResNetSpec) -> str:
    if not spec.slope:
        return b.relu(x, name)
    return b.node("LeakyRelu", name, [x], b.channels(x), alpha=spec.slope)


def _shortcut(b: Builder, x: str, name: str, channels: int, stride: int, spec: ResNetSpec) -> str:
    """A strided 1x1 convolution, or a mean over as many pixels and a 1x1 convolution."""
    if spec.pool_shortcut and stride != 1:
        window = (1, stride, stride)
        x = b.node(
            "AveragePool",
            f"{name}.pool",
            [x],
            b.channels(x),
            kernel_shape=window,
            strides=window,
            ceil_mode=True,
        )
        stride = 1
    x = b.conv(x, f"{name}.0", channels, kernel=1, stride=stride, bias=spec.conv_bias)
    return b.batch_norm(x, f"{name}.1")


def residual_block(
    b: Builder,
    x: str,
    name: str,
    planes: int,
    stride: int,
    *,
    spec: ResNetSpec,
    placement: str,
    shift: ShiftRule,
    project: bool = False,
    dilation: int = 1,
    spatial_shift: int = 0,
) -> str:
    """A basic block (3x3, 3x3) or a bottleneck (1x1, 3x3, 1x1), with its shift and its skip.

    ``project`` gives it a convolution as its skip path in any case, ``dilation`` is that of 3x3;
    ``spatial_shift`` are the parts of a cross in the residual branch.
    """
    shifted = b.shift(x, f"{name}.shift", shift)
    skip = shifted if placement == "block" else x
    channels, bias = planes * spec.expansion, spec.conv_bias
    if spec.bottleneck:
        first, second = (stride, 1) if spec.stride_first else (1, stride)
        middle = int(planes * spec.inner)
        layers = [(middle, 1, first), (middle, 3, second), (channels, 1, 1)]
    else:
        layers = [(planes, 3, stride), (planes, 3, 1)]
    y = shifted
    if spatial_shift:
        y = b.spatial_shift(y, f"{name}.spatial_shift", spatial_shift, shift.fill)
    for i, (width, kernel, step) in enumerate(layers, start=1):
        y = b.conv(
            y,
            f"{name}.conv{i}",
            width,
            kernel=kernel,
            stride=step,
            padding=kernel // 2 * dilation,
            groups=spec.groups if spec.bottleneck and kernel == 3 else 1,
            bias=bias,
            dilation=dilation if kernel == 3 else 1,
        )
        y = b.batch_norm(y, f"{name}.bn{i}")
        if i < len(layers):
            y = _relu(b, y, f"{name}.relu{i}", spec)
    if project or stride != 1 or b.channels(skip) != channels:
        skip = _shortcut(b, skip, f"{name}.downsample", channels, stride, spec)
    return _relu(b, b.add(y, skip, f"{name}.add"), f"{name}.relu", spec)
