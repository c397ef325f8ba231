"""Residual networks by their names and shapes: stages, stems, skip paths, non-local blocks."""

import re
from dataclasses import replace
from typing import Any

import numpy as np

from tsm_ref.checkpoint.contents import Float32
from tsm_ref.checkpoint.facts import Facts
from tsm_ref.checkpoint.tensors.fitting import Network, Shapes, classes_of
from tsm_ref.checkpoint.tensors.names import Translation
from tsm_ref.errors import CheckpointError
from tsm_ref.graph import Graph
from tsm_ref.models import RESNETS, NonLocalSpec, ResNetSpec, build_resnet
from tsm_ref.ops_table import Shape
from tsm_ref.profile import Profile


def resnet(shapes: Shapes, profile: Profile, found: Translation, facts: Facts) -> Network:
    """Blocks, planes and stem as the shapes show them; strides as every published ResNet has.

    A stem of several convolutions is that of ResNet-vd; PaddleVideo's is leaky, and the skip paths
    of its basic blocks have strides where others have pools.
    """
    stem = "conv1.weight" if "conv1.weight" in shapes else "conv1.0.weight"
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
    classes = classes_of(shapes, "fc.weight", turned)
    odd = sorted(found.pooled - {"layer2"})
    if odd:
        raise CheckpointError(f"a pool over time stands in front of layer2, not of {odd[0]}")
    kind = next((name for name, known in RESNETS.items() if known == spec), "resnet")
    shifted = profile.placement != "none" and profile.shift.rule != "none"
    try:
        graph = build_resnet(
            spec,
            num_classes=classes,
            placement=profile.placement,
            shift=profile.shift,
            non_local=non_local,
            temporal_pool="layer2" in found.pooled,
            in_channels=first[1],
            name=f"{'tsm' if shifted else 'tsn'}-{kind}{'-nl' if non_local else ''}",
        )
    except ValueError as error:
        raise CheckpointError(f"the tensors make no ResNet: {error}") from None
    return _with_plain_shortcuts(graph, shapes)


def _inner(shapes: Shapes, bottleneck: bool) -> dict[str, Any]:
    """How wide the middle of a bottleneck is, and in how many groups."""
    first, last = (shapes.get(f"layer1.0.conv{i}.weight", ()) for i in (2, 3))
    if not bottleneck or len(first) != 4 or len(last) != 4 or not first[1] or last[0] < 4:
        return {}
    return {"inner": first[0] / (last[0] // 4), "groups": max(1, first[0] // first[1])}


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
