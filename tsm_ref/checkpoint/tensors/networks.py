"""Which network tensors of these names and shapes are.

Names are ours here (`tsm_ref.checkpoint.tensors.names`), shapes those of the file.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tsm_ref.checkpoint.contents import Float32
from tsm_ref.checkpoint.facts import Facts
from tsm_ref.checkpoint.tensors.names import Translation
from tsm_ref.errors import CheckpointError
from tsm_ref.graph import Graph
from tsm_ref.models import (
    RESNETS,
    NonLocalSpec,
    ResNetSpec,
    build_big_small,
    build_efficient_phys,
    build_mobilenet_v2,
    build_pp_lcnet,
    build_resnet,
    build_ts_can,
)
from tsm_ref.models.big_small import HEADS
from tsm_ref.models.pp_lcnet import DEPTHS, FIXED
from tsm_ref.models.ts_can import dense_side
from tsm_ref.ops_table import Shape
from tsm_ref.profile import Profile, ShiftRule

WIDTHS = (1.0, 0.75, 0.5, 0.35, 0.25, 0.1, 1.25, 1.3, 1.4)
"""The width multipliers in which MobileNetV2 is published."""

FRAME_SIZES = (36, 72, 96, 128, 64, 48)
"""The sizes of frames for which networks of a pulse are trained, the usual ones first."""

Shapes = Mapping[str, Shape]


@dataclass(frozen=True)
class Network:
    """A graph, and how to make those of its tensors that no file holds: they are never learned."""

    graph: Graph
    fixed: Mapping[str, Callable[[Shape], Float32]] = field(default_factory=dict)


def network_for(shapes: Shapes, profile: Profile, found: Translation, facts: Facts) -> Network:
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
        graph = _resnet(shapes, profile, found, stem, facts)
        return _with_plain_shortcuts(graph, shapes)
    if "motion_conv1.weight" in shapes:
        return Network(_pulse(shapes, profile))
    if "small_conv1.weight" in shapes:
        return Network(_big_small(shapes, profile))
    known = (
        "ResNet (conv1, layer1, fc), MobileNetV2 (features, classifier), PP-LCNetV2 (stem), "
        "TS-CAN (motion_conv1), BigSmall (small_conv1)"
    )
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


def _non_local(shapes: Shapes, found: Translation, facts: Facts) -> dict[str, NonLocalSpec]:
    """The blocks with a non-local one behind them, and what kind it is.

    Without a query of its own it is "gaussian". Whether a softmax follows is in no tensor; MIT's
    code has no other mode. Keys and values that are pooled stand in a list, so their names are
    numbered.
    """
    places = [
        match[1]
        for name in shapes
        if (match := re.fullmatch(r"(layer\d\.\d+)\.nl\.g\.weight", name))
    ]
    if not places:
        return {}
    first = f"{places[0]}.nl"
    if f"{first}.theta.weight" not in shapes:
        facts.say("the names of the tensors", non_local="gaussian")
    elif found.naming.family == "MIT":
        facts.suggest("the convention mit", non_local="embedded_gaussian")
    else:
        facts.assume(non_local="embedded_gaussian")
    spec = NonLocalSpec(
        facts.get("non_local"),
        bias=f"{first}.W.bias" in shapes,
        norm=f"{first}.bn.weight" in shapes,
        pooled=".g.0." in found.names[f"{first}.g.weight"],
    )
    return dict.fromkeys(places, spec)


def _resnet(
    shapes: Shapes,
    profile: Profile,
    found: Translation,
    stem: str,
    facts: Facts,
) -> Graph:
    """Blocks, planes and stem as the shapes show them; strides as every published ResNet has.

    A stem of several convolutions is that of ResNet-vd; PaddleVideo's is leaky, and the skip paths
    of its basic blocks have strides where others have pools.
    """
    non_local = _non_local(shapes, found, facts)
    blocks: list[int] = []
    while f"layer{len(blocks) + 1}.0.conv1.weight" in shapes and len(blocks) < 8:
        stage = f"layer{len(blocks) + 1}"
        blocks.append(sum(f"{stage}.{i}.conv1.weight" in shapes for i in range(200)))
    first, deep, turned = shapes[stem], stem == "conv1.0.weight", found.naming.turned
    if len(first) != 4:
        raise CheckpointError(f"the tensor {stem!r} has shape {first}; it must have four axes")
    large = deep or first[2] == 7
    bottleneck = "layer1.0.conv3.weight" in shapes
    if bottleneck and found.naming.family == "MMAction2":
        facts.assume(strides="pytorch")
    spec = ResNetSpec(
        tuple(blocks),
        bottleneck=bottleneck,
        stride_first=facts.get("strides") == "caffe",
        width=first[0] * (2 if deep else 1),
        strides=(1, 2, 2, 2, 2, 2, 2, 2)[: len(blocks)],
        stem_kernel=first[2],
        stem_stride=2 if large else 1,
        stem_pool=large,
        deep_stem=deep,
        pool_shortcut=deep and (bottleneck or not turned),
        project_first=not bottleneck and "layer1.0.downsample.0.weight" in shapes,
        slope=0.01 if deep and turned else 0.0,
        **_inner(shapes, bottleneck),
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


def _inner(shapes: Shapes, bottleneck: bool) -> dict[str, Any]:
    """How wide the middle of a bottleneck is, and in how many groups."""
    first, last = (shapes.get(f"layer1.0.conv{i}.weight", ()) for i in (2, 3))
    if not bottleneck or len(first) != 4 or len(last) != 4 or not first[1] or last[0] < 4:
        return {}
    return {"inner": first[0] / (last[0] // 4), "groups": max(1, first[0] // first[1])}


def _pulse(shapes: Shapes, profile: Profile) -> Graph:
    """TS-CAN, MTTS-CAN or EfficientPhys; the size of the frames from the dense layer.

    PyTorch's features of a frame have the channels first.
    """
    wide, narrow = (shapes.get(f"motion_conv{i}.weight", ())[:1] for i in (4, 1))
    hidden, features = (*shapes.get("dense1.weight", ()), 0, 0)[:2]
    filters = ((narrow or (32,))[0], (wide or (64,))[0])
    sizes = [size for size in FRAME_SIZES if filters[1] * dense_side(size) ** 2 == features]
    if not sizes:
        raise CheckpointError(
            f"the dense layer takes {features} numbers of a frame, which is no known size: known "
            f"are frames of {', '.join(map(str, FRAME_SIZES))} pixels"
        )
    rule = ShiftRule("none") if profile.placement == "none" else profile.shift
    common: dict[str, Any] = {"shift": rule, "filters": filters, "hidden": hidden, "size": sizes[0]}
    if "appearance_conv1.weight" not in shapes:
        return build_efficient_phys(**common)
    heads = ("pulse", "respiration")[: 2 if "dense1_respiration.weight" in shapes else 1]
    name = "ts-can" if len(heads) == 1 else "mtts-can"
    return build_ts_can(heads=heads, order="CHW", name=name, **common)


def _big_small(shapes: Shapes, profile: Profile) -> Graph:
    """BigSmall of any width; its heads and their numbers by the names of their last layers."""

    def rows(name: str, usual: int) -> int:
        return (*shapes.get(f"{name}.weight", ()), 0)[0] or usual

    numbers = {
        head: rows(f"dense2{suffix}", HEADS[head])
        for head, suffix in zip(HEADS, ("", "_respiration", "_action_units"), strict=True)
    }
    rule = ShiftRule("none") if profile.placement == "none" else profile.shift
    return build_big_small(
        heads=numbers,
        shift=rule,
        filters=(rows("small_conv1", 32), rows("small_conv4", 64)),
        hidden=rows("dense1", 128),
    )


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
