"""Which network tensors of these names and shapes are.

Names are ours here (`tsm_ref.checkpoint.tensors.names`), shapes those of the file.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from tsm_ref.checkpoint.contents import Float32
from tsm_ref.checkpoint.tensors.names import Translation
from tsm_ref.errors import CheckpointError
from tsm_ref.graph import Graph
from tsm_ref.models import (
    RESNETS,
    ResNetSpec,
    build_mobilenet_v2,
    build_pp_lcnet,
    build_resnet,
)
from tsm_ref.models.pp_lcnet import DEPTHS, FIXED
from tsm_ref.ops_table import Shape
from tsm_ref.profile import Profile, ShiftRule

WIDTHS = (1.0, 0.75, 0.5, 0.35, 0.25, 0.1, 1.25, 1.3, 1.4)
"""The width multipliers in which MobileNetV2 is published."""

Shapes = Mapping[str, Shape]


@dataclass(frozen=True)
class Network:
    """A graph, and how to make those of its tensors that no file holds: they are never learned."""

    graph: Graph
    fixed: Mapping[str, Callable[[Shape], Float32]] = field(default_factory=dict)


def network_for(shapes: Shapes, profile: Profile, found: Translation, file_name: str) -> Network:
    """The network that tensors of these shapes fit into best; what does not fit is not said yet.

    Raises `CheckpointError` for tensors of no known architecture.
    """
    if "features.0.0.weight" in shapes:
        return Network(_mobilenet(shapes, profile))
    if "stem.1.dw_conv.conv.weight" in shapes:
        graph = _pp_lcnet(shapes, profile)
        return Network(graph, {name: FIXED[name] for name in graph.parameters if name in FIXED})
    stem = next((name for name in ("conv1.weight", "conv1.0.weight") if name in shapes), None)
    if stem and "layer1.0.conv1.weight" in shapes:
        graph = _resnet(shapes, profile, found, stem, _non_local(shapes, file_name))
        return _with_plain_shortcuts(graph, shapes)
    known = "ResNet (conv1, layer1, fc), MobileNetV2 (features, classifier), PP-LCNetV2 (stem)"
    raise CheckpointError(f"the tensors are those of no known architecture; known are {known}")


def stored_shape(name: str, shape: Shape, found: Translation) -> Shape:
    """The shape that a file gives a tensor: a 2-D convolution has no axis of time.

    The attention of PP-TSMv2 is a linear layer there, and a convolution in time here.
    """
    if name.startswith("attention.fc."):
        return (shape[2],) * (1 if name.endswith("bias") else 2)
    if len(shape) == 2 and found.naming.turned:
        return shape[::-1]
    return shape if _is_3d(name) else _stored(shape)


def _classes(shapes: Shapes, name: str, turned: bool = False) -> int:
    shape = shapes.get(name, ())
    if len(shape) != 2:
        raise CheckpointError(f"the tensor {name!r} is missing or not (classes, features)")
    return shape[1 if turned else 0]


def _non_local(shapes: Shapes, file_name: str) -> dict[str, str]:
    """The blocks with a non-local one behind them, and its mode.

    Without a query of its own it is "gaussian". Whether a softmax follows is in no tensor: only the
    name of a file says "dot-product".
    """
    soft = "dot_product" if re.search("dot.product", file_name) else "embedded_gaussian"
    return {
        match[1]: soft if f"{match[1]}.nl.theta.weight" in shapes else "gaussian"
        for name in shapes
        if (match := re.fullmatch(r"(layer\d\.\d+)\.nl\.g\.weight", name))
    }


def _resnet(
    shapes: Shapes,
    profile: Profile,
    found: Translation,
    stem: str,
    non_local: Mapping[str, str],
) -> Graph:
    """Blocks, planes and stem as the shapes show them; strides as every published ResNet has.

    A stem of several convolutions is that of ResNet-vd; PaddleVideo's is leaky.
    """
    blocks: list[int] = []
    while f"layer{len(blocks) + 1}.0.conv1.weight" in shapes and len(blocks) < 8:
        stage = f"layer{len(blocks) + 1}"
        blocks.append(sum(f"{stage}.{i}.conv1.weight" in shapes for i in range(200)))
    first, deep, turned = shapes[stem], stem == "conv1.0.weight", found.naming.turned
    if len(first) != 4:
        raise CheckpointError(f"the tensor {stem!r} has shape {first}; it must have four axes")
    large = deep or first[2] == 7
    spec = ResNetSpec(
        tuple(blocks),
        bottleneck="layer1.0.conv3.weight" in shapes,
        width=first[0] * (2 if deep else 1),
        strides=(1, 2, 2, 2, 2, 2, 2, 2)[: len(blocks)],
        stem_kernel=first[2],
        stem_stride=2 if large else 1,
        stem_pool=large,
        deep_stem=deep,
        pool_shortcut=deep,
        slope=0.01 if deep and turned else 0.0,
    )
    classes = _classes(shapes, "fc.weight", turned)
    odd = sorted(found.pooled - {"layer2"})
    if odd:
        raise CheckpointError(f"a pool over time stands in front of layer2, not of {odd[0]}")
    kind = next((name for name, known in RESNETS.items() if known == spec), "resnet")
    shifted = profile.placement != "none" and profile.shift.rule != "none"
    try:
        return build_resnet(
            spec,
            num_classes=classes,
            placement=profile.placement,
            shift=profile.shift,
            non_local=non_local,
            temporal_pool="layer2" in found.pooled,
            name=f"{'tsm' if shifted else 'tsn'}-{kind}{'-nl' if non_local else ''}",
        )
    except ValueError as error:
        raise CheckpointError(f"the tensors make no ResNet: {error}") from None


def _mobilenet(shapes: Shapes, profile: Profile) -> Graph:
    """The width whose shapes are those of the file, or the nearest by the first layer."""
    classes = _classes(shapes, "classifier.weight")
    if profile.placement == "block":
        raise CheckpointError("a MobileNetV2 shifts inside its blocks, not before them")
    rule = ShiftRule("none") if profile.placement == "none" else profile.shift
    kind = "tsn" if rule.rule == "none" else "tsm"
    graphs = [
        build_mobilenet_v2(num_classes=classes, width=w, shift=rule, name=f"{kind}-mobilenetv2")
        for w in WIDTHS
    ]

    def misses(graph: Graph) -> int:
        return sum(shapes.get(name) != _stored(shape) for name, shape in graph.parameters.items())

    return min(graphs, key=misses)


def _pp_lcnet(shapes: Shapes, profile: Profile) -> Graph:
    """Width and features from the first and the last convolution, blocks from their names."""
    classes = _classes(shapes, "fc.weight", turned=True)
    first, last = (shapes.get(f"{name}.weight", ())[:1] for name in ("stem.0.conv", "last_conv"))
    depths = [
        len({name.split(".")[2] for name in shapes if name.startswith(f"stages.{stage}.")})
        for stage in range(len(DEPTHS))
    ]
    frames, segments = shapes.get("attention.fc.bias", ())[:1], profile.sampling.segments
    if frames and frames[0] != segments:
        raise CheckpointError(
            f"the attention over time weighs {frames[0]} frames, and {segments} are sampled: give "
            f"a profile of {frames[0]} segments, or name the file ..._{frames[0]}f"
        )
    if profile.placement == "block":
        raise CheckpointError("a PP-LCNetV2 shifts in front of its third stage, not of its blocks")
    rule = ShiftRule("none") if profile.placement == "none" else profile.shift
    try:
        return build_pp_lcnet(
            num_classes=classes,
            width=(first[0] if first else 32) / 32,
            depths=depths,
            hidden=last[0] if last else 1280,
            attention=frames[0] if frames else 0,
            shift=rule,
            name=f"{'tsn' if rule.rule == 'none' else 'tsm'}-pp-lcnet",
        )
    except ValueError as error:
        raise CheckpointError(f"the tensors make no PP-LCNetV2: {error}") from None


def _stored(shape: Shape) -> Shape:
    """A 2-D convolution has no temporal axis in a file."""
    return (*shape[:2], *shape[3:]) if len(shape) == 5 and shape[2] == 1 else shape


def _is_3d(name: str) -> bool:
    """True for the convolutions of a non-local block, which everybody keeps in three dimensions."""
    return ".nl." in name


# Shortcuts without weights (He et al. 2015, option A, as CIFAR networks have them)


def _with_plain_shortcuts(graph: Graph, shapes: Shapes) -> Network:
    """The network, with shortcuts that are not learned where the file has none at all."""
    shortcuts = {name for name in graph.parameters if ".downsample." in name}
    if not shortcuts or shortcuts & set(shapes):
        return Network(graph)
    plain = {name for name in shortcuts if name.endswith(".0.weight")}
    return Network(_without_norms(graph, plain), dict.fromkeys(plain, _padding_shortcut))


def _without_norms(graph: Graph, shortcuts: set[str]) -> Graph:
    """The graph without the batch norms of these shortcuts."""
    norms = {
        node.name: node.inputs[0]
        for node in graph.select("BatchNormalization")
        if f"{node.inputs[0]}.weight" in shortcuts
    }
    return graph.with_nodes(
        replace(node, inputs=tuple(norms.get(name, name) for name in node.inputs))
        for node in graph.nodes
        if node.name not in norms
    )


def _padding_shortcut(shape: Shape) -> Float32:
    """A 1x1 convolution that keeps the channels and puts zeros before and after them."""
    weight = np.zeros(shape, np.float32)
    before = (shape[0] - shape[1]) // 2
    for channel in range(shape[1]):
        weight[before + channel, channel] = 1
    return weight
