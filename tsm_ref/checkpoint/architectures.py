"""Which network a file of tensors holds: its architecture from the shapes, its meaning from names.

A file of tensors does not say what its shifts do. Names that mark shifted layers say where they
stand; MIT's file names say how wide they are. Where neither tells, a profile must be given.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from tsm_ref.checkpoint.contents import Checkpoint, Float32, check_names, check_shapes, shown
from tsm_ref.checkpoint.disk import StrPath, sha256_of
from tsm_ref.checkpoint.key_maps import Translation, translate
from tsm_ref.checkpoint.tensor_files import TensorFile, read_float32
from tsm_ref.errors import CheckpointError
from tsm_ref.graph import Graph
from tsm_ref.models import RESNETS, ResNetSpec, build_mobilenet_v2, build_resnet
from tsm_ref.ops_table import Shape
from tsm_ref.profile import PROFILES, Profile, ShiftRule

WIDTHS = (1.0, 0.75, 0.5, 0.35, 0.25, 0.1, 1.25, 1.3, 1.4)
"""The width multipliers in which MobileNetV2 is published."""

Shapes = Mapping[str, Shape]


def load_tensors(file: TensorFile, path: StrPath, profile: Profile | None = None) -> Checkpoint:
    """Turn named tensors into a checkpoint: the network, its weights, and what they mean.

    ``profile`` says how the network shifts, samples and prepares, where names do not, or instead of
    what they say; the layers that names mark as shifted must be those that the network shifts.

    Raises `CheckpointError` for names of no known family, for a file that does not tell its shift,
    and for missing, unexpected or mis-shaped tensors: the first three, and how many.
    """
    found = translate(file.entries)
    meant = profile_for(found, Path(path).name, profile)
    shapes = {ours: file.entries[theirs].shape for ours, theirs in found.names.items()}
    graph = _graph_for(shapes, meant, found, Path(path).name)
    plain = _plain_shortcuts(graph, shapes)
    if plain:
        graph = _without_norms(graph, plain)
    wanted = {name: shape for name, shape in graph.parameters.items() if name not in plain}
    stored = {name: _stored_shape(name, shape, found) for name, shape in wanted.items()}
    _check_tensors(found, stored, shapes)
    _check_marks(graph, found, meant)
    weights = {}
    for name, shape in graph.parameters.items():
        if name in plain:
            weights[name] = _padding_shortcut(shape)
            continue
        theirs = found.names[name]
        values = read_float32(theirs, file.entries[theirs], stored[name])
        turned = values.T if stored[name] != shape and values.ndim == 2 else values
        weights[name] = np.ascontiguousarray(turned).reshape(shape)
    types = dict.fromkeys(file.entries[found.names[name]].type_name for name in wanted)
    return Checkpoint(
        graph=graph,
        weights=weights,
        profile=meant,
        sha256=sha256_of(path),
        storage="+".join(types),
        path=Path(path),
        format=f"{found.naming.family}, {file.format}",
        format_version=file.format_version,
        extra=dict(file.notes),
    )


def _check_tensors(found: Translation, wanted: Shapes, shapes: Shapes) -> None:
    """Names and shapes are those of the network; what is in the file is called as it is there."""
    theirs = {name: found.names.get(name, name) for name in (*wanted, *shapes)}
    check_names((theirs[name] for name in wanted), (theirs[name] for name in shapes))
    check_shapes(
        {theirs[name]: shape for name, shape in wanted.items()},
        {theirs[name]: shape for name, shape in shapes.items()},
    )


# What the file means


def profile_for(found: Translation, file_name: str, wanted: Profile | None) -> Profile:
    """The profile of a file: the wanted one, or what its names tell.

    Raises `CheckpointError` where they tell nothing: an offline network loads into an online graph
    without complaint, and is wrong.
    """
    if wanted is not None:
        if found.placement and wanted.placement != "none":
            return replace(wanted, placement=found.placement)
        return wanted
    naming = found.naming
    name = naming.profile if found.layers else naming.unmarked
    if naming.family == "PaddleVideo" and re.search("tsm", file_name, re.IGNORECASE):
        name = "paddle"
    if not name:
        raise CheckpointError(
            f"the names ({naming.family}) do not say whether and how the network shifts; "
            f"give a profile ({', '.join(PROFILES)})"
        )
    profile = replace(PROFILES[name], placement=found.placement or PROFILES[name].placement)
    try:
        return _with_file_name(profile, file_name)
    except ValueError as error:
        raise CheckpointError(
            f"the name of the file says what cannot be: {error}; rename it, or give a profile"
        ) from None


def _with_file_name(profile: Profile, file_name: str) -> Profile:
    """What MIT, MMAction2 and PaddleVideo encode in the names of their files."""
    sampling, shift = profile.sampling, profile.shift
    segments = re.search(r"segment(\d+)|1x1x(\d+)|_(\d+)f\b|(\d+)frames", file_name)
    if segments:
        count = int(next(group for group in segments.groups() if group))
        sampling = replace(sampling, segments=count)
        if shift.rule == "paddle":
            shift = replace(shift, divisor=count)
    if "dense" in file_name and sampling.policy == "uniform":
        sampling = replace(sampling, policy="dense")
    folds = re.search(r"shift(\d+)_", file_name)
    if folds and shift.rule == "mit":
        shift = replace(shift, divisor=int(folds[1]))
    return replace(profile, sampling=sampling, shift=shift)


def _check_marks(graph: Graph, found: Translation, profile: Profile) -> None:
    """The layers that names mark as shifted are those that the network shifts."""
    shifts = {node.name.removesuffix(".shift") for node in graph.select("TemporalShift")}
    if not found.layers or profile.shift.rule == "none" or profile.placement == "none":
        return
    odd = sorted(shifts ^ found.layers)
    if odd:
        raise CheckpointError(
            f"the names mark {len(found.layers)} layers as shifted and the network shifts "
            f"{len(shifts)}; {shown(odd[0])} is not in both"
        )


# The architecture


def _graph_for(shapes: Shapes, profile: Profile, found: Translation, file_name: str) -> Graph:
    if "features.0.0.weight" in shapes:
        return _mobilenet(shapes, profile)
    if "conv1.weight" in shapes and "layer1.0.conv1.weight" in shapes:
        return _resnet(shapes, profile, found, _non_local(shapes, file_name))
    known = "ResNet (conv1, layer1, fc) and MobileNetV2 (features, classifier)"
    raise CheckpointError(f"the tensors are those of no known architecture; known are {known}")


def _classes(shapes: Shapes, name: str) -> int:
    shape = shapes.get(name, ())
    if len(shape) != 2:
        raise CheckpointError(f"the tensor {name!r} is missing or not (classes, features)")
    return shape[0]


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
    shapes: Shapes, profile: Profile, found: Translation, non_local: Mapping[str, str]
) -> Graph:
    """Blocks, planes and stem as the shapes show them; strides as every published ResNet has."""
    blocks: list[int] = []
    while f"layer{len(blocks) + 1}.0.conv1.weight" in shapes and len(blocks) < 8:
        stage = f"layer{len(blocks) + 1}"
        blocks.append(sum(f"{stage}.{i}.conv1.weight" in shapes for i in range(200)))
    stem = shapes["conv1.weight"]
    if len(stem) != 4:
        raise CheckpointError(f"the tensor 'conv1.weight' has shape {stem}; it must have four axes")
    large = stem[2] == 7
    spec = ResNetSpec(
        tuple(blocks),
        bottleneck="layer1.0.conv3.weight" in shapes,
        width=stem[0],
        strides=(1, 2, 2, 2, 2, 2, 2, 2)[: len(blocks)],
        stem_kernel=stem[2],
        stem_stride=2 if large else 1,
        stem_pool=large,
    )
    turned = found.naming.turned
    classes = shapes.get("fc.weight", (0, 0))[-1] if turned else _classes(shapes, "fc.weight")
    if turned and len(blocks) > 2 and blocks[2] >= 23:
        raise CheckpointError("PaddleVideo shifts every block of a ResNet-101, which is not built")
    kind = next((name for name, known in RESNETS.items() if known == spec), "resnet")
    shifted = profile.placement != "none" and profile.shift.rule != "none"
    try:
        return build_resnet(
            spec,
            num_classes=classes,
            placement=profile.placement,
            shift=profile.shift,
            non_local=non_local,
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


def _stored(shape: Shape) -> Shape:
    """A 2-D convolution has no temporal axis in a file."""
    return (*shape[:2], *shape[3:]) if len(shape) == 5 and shape[2] == 1 else shape


def _is_3d(name: str) -> bool:
    """True for the convolutions of a non-local block, which everybody keeps in three dimensions."""
    return ".nl." in name


def _stored_shape(name: str, shape: Shape, found: Translation) -> Shape:
    turned = found.naming.turned and len(shape) == 2
    if turned:
        return shape[::-1]
    return shape if _is_3d(name) else _stored(shape)


# Shortcuts without weights (He et al. 2015, option A, as CIFAR networks have them)


def _plain_shortcuts(graph: Graph, shapes: Shapes) -> set[str]:
    """Shortcut convolutions of the graph, where the file has none at all."""
    shortcuts = {name for name in graph.parameters if ".downsample." in name}
    return set() if shortcuts & set(shapes) else {n for n in shortcuts if n.endswith(".0.weight")}


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
