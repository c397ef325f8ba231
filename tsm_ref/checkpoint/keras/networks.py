"""Which network a Keras weight file holds: told by the names and shapes of its layers.

A weight file has no network in it. TS-CAN and MTTS-CAN are known by their attention masks, the
networks of Keras applications by their names. Those differ from PyTorch's: a ResNet has its strides
on the first 1x1 of a block, biases in every convolution and an epsilon of 1.001e-5; a MobileNetV2
pads as TensorFlow does, and has an epsilon of 1e-3. Their softmax is left out: logits come out.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import takewhile
from typing import NamedTuple

from tsm_ref.checkpoint.contents import shown
from tsm_ref.checkpoint.keras.layers import LayerTable, stored_shapes
from tsm_ref.checkpoint.tensors.mobile_nets import WIDTHS
from tsm_ref.errors import CheckpointError
from tsm_ref.graph import Graph
from tsm_ref.models import RESNETS, ResNetSpec, build_mobilenet_v2, build_resnet, build_ts_can
from tsm_ref.profile import Profile, ShiftRule

MAX_CHANNELS = 2**16
MAX_STAGES, MAX_BLOCKS = 8, 200

OPEN_RPPG = {
    "motion_conv1": "inner/d1/layers/conv2d",
    "motion_conv2": "inner/d1/layers/conv2d_1",
    "motion_conv3": "inner/d2/layers/conv2d",
    "motion_conv4": "inner/d2/layers/conv2d_1",
    "appearance_conv1": "inner/g1/layers/conv2d",
    "appearance_conv2": "inner/g1/layers/conv2d_1",
    "appearance_conv3": "inner/g2/layers/conv2d",
    "appearance_conv4": "inner/g2/layers/conv2d_1",
    "attention1": "inner/attn1/layers/conv2d",
    "attention2": "inner/attn2/layers/conv2d",
    "dense1": "inner/d/layers/dense",
    "dense2": "inner/d/layers/dense_1",
}
"""The layers of our TS-CAN in the files of open-rppg."""

EFFICIENT_PHYS = {"mc1", "mc2", "mc3", "mc4", "attc1", "attc2", "bn", "dense1", "dense2"}
"""The layers of another network of open-rppg, which norms each pixel and masks each channel."""

CREATED = (
    *("motion_conv1", "motion_conv2", "appearance_conv1", "appearance_conv2", "attention1"),
    *("motion_conv3", "motion_conv4", "appearance_conv3", "appearance_conv4", "attention2"),
)
"""The convolutions of TS-CAN as its code makes them: Keras numbers the names of layers so."""


class Match(NamedTuple):
    """The graph that a file matches, and what each of its layers is called there."""

    graph: Graph
    layers: Mapping[str, str]


def network_of(table: LayerTable, profile: Profile) -> Match:
    """The network that a file holds, as a profile shifts it.

    Raises `CheckpointError` for layers of no known network.

    >>> from tsm_ref.profile import PROFILES
    >>> network_of(LayerTable(True, {}), PROFILES["mit"])
    Traceback (most recent call last):
    tsm_ref.errors.CheckpointError: no known Keras network has these layers (there is none); \
known: TS-CAN of open-rppg, TS-CAN, MTTS-CAN, ResNet, MobileNetV2; of another one, save the whole \
model (model.save('model.keras')), which tells what its layers do
    """
    return _builder_of(table)(table, profile)


def check_known(table: LayerTable) -> None:
    """Raise `CheckpointError` for layers of no known network, whatever their profile may be."""
    _builder_of(table)


def _builder_of(table: LayerTable) -> Callable[[LayerTable, Profile], Match]:
    layers = table.layers
    for _, belongs, build in NETWORKS:
        if belongs(table):
            return build
    if set(layers) >= EFFICIENT_PHYS:
        raise CheckpointError(
            "this is the EfficientPhys of open-rppg, which is another network than that of the "
            "rPPG-Toolbox and is not read"
        )
    first = f"the first is {shown(layers[0])}" if layers else "there is none"
    known = ", ".join(name for name, _, _ in NETWORKS)
    raise CheckpointError(
        f"no known Keras network has these layers ({first}); known: {known}; of another one, save "
        "the whole model (model.save('model.keras')), which tells what its layers do"
    )


def rule_under(profile: Profile) -> ShiftRule:
    """The rule of a profile; none where it places no shift.

    >>> from tsm_ref.profile import PROFILES
    >>> rule_under(PROFILES["tsn"]).rule
    'none'
    """
    return ShiftRule("none") if profile.placement == "none" else profile.shift


def _kind(profile: Profile) -> str:
    return "tsn" if rule_under(profile).rule == "none" else "tsm"


def _misses(table: LayerTable, match: Match) -> int:
    """How many parameters are not in the file as the graph needs them."""
    found = {key: item.shape for key, item in table.variables.items()}
    keys = table.keys(match.graph.parameters, match.layers)
    wanted = stored_shapes(match.graph)
    return sum(found.get(keys[name]) != shape for name, shape in wanted.items())


# TS-CAN and MTTS-CAN


def _open_rppg(table: LayerTable, profile: Profile) -> Match:
    return Match(build_ts_can(shift=rule_under(profile)), OPEN_RPPG)


def _number(layer: str) -> int:
    """The number behind the name of a layer; the first has none."""
    digits = re.search(r"_(\d{1,9})$", layer)
    return int(digits[1]) if digits else 0


def _numbered(layers: Iterable[str]) -> list[str]:
    return sorted((x for x in layers if re.fullmatch(r"conv2d(_\d{1,9})?", x)), key=_number)


def _is_ts_can(table: LayerTable) -> bool:
    """True where a convolution of no name of its own makes a mask: 1x1, to one channel."""
    kernels = (table.kernel(layer) for layer in _numbered(table.layers))
    return any(len(k) == 4 and (*k[:2], k[3]) == (1, 1, 1) for k in kernels)


def _ts_can(table: LayerTable, profile: Profile) -> Match:
    """TS-CAN of one head or two; its sizes from the shapes, its order from the names."""
    if not table.named:
        raise CheckpointError(
            "the file keeps no names of its layers, so nothing tells which of its convolutions see "
            "the motion; save it again with a newer Keras, or as .h5"
        )
    convs = _numbered(table.layers)
    start = _number(convs[0])
    usual = ["conv2d", *(f"conv2d_{i}" for i in range(1, start + 20))]
    spare = (name for name in usual[start:] if name not in convs)
    convs = [*convs, *spare][: len(CREATED)]
    sizes = [k[3] for k in map(table.kernel, convs) if len(k) == 4 and k[:2] == (3, 3)]
    dense = sorted((x for x in table.layers if len(table.kernel(x)) == 2), key=_number)
    last = [layer for layer in dense if table.kernel(layer)[1] == 1]
    hidden = [layer for layer in dense if layer not in last]
    if not sizes or not hidden or not last or max(*sizes, 1) > MAX_CHANNELS:
        raise CheckpointError("the convolutions and dense layers are not those of a TS-CAN")
    for layers in (hidden, last):
        if len({_number(layer) for layer in layers}) < len(layers):
            names = " and ".join(map(shown, layers[:2]))
            raise CheckpointError(f"the names {names} do not tell which layer is of the pulse")
    heads = ("pulse", "respiration")[: max(len(hidden), len(last))]
    graph = build_ts_can(
        heads=heads,
        shift=rule_under(profile),
        filters=(sizes[0], sizes[-1]),
        hidden=table.kernel(hidden[0])[1],
        name="ts-can" if len(heads) == 1 else "mtts-can",
    )
    ends = {}
    for i, suffix in enumerate(("", "_respiration")[: len(heads)]):
        ends[f"dense1{suffix}"] = hidden[i] if i < len(hidden) else f"dense_{i}"
        ends[f"dense2{suffix}"] = last[i] if i < len(last) else f"output_{i + 1}"
    return Match(graph, dict(zip(CREATED, convs, strict=True)) | ends)


# Keras applications


def _classifier(table: LayerTable) -> tuple[str, int]:
    """The one dense layer of a file, whatever its name, and how many classes it tells apart."""
    dense = [layer for layer in table.layers if len(table.kernel(layer)) == 2]
    if len(dense) != 1:
        raise CheckpointError(
            f"the file has {len(dense)} dense layers; it must have one, the classifier"
        )
    return dense[0], table.kernel(dense[0])[1]


def _width(table: LayerTable, layer: str) -> int:
    kernel = table.kernel(layer)
    if len(kernel) != 4 or not 0 < kernel[3] <= MAX_CHANNELS:
        raise CheckpointError(f"the layer {shown(layer)} is missing or no convolution")
    return kernel[3]


def _blocks(found: Collection[str], stage: int) -> int:
    """How many blocks of a stage follow one another."""
    names = (f"conv{stage}_block{i}_1_conv" for i in range(1, MAX_BLOCKS + 1))
    return sum(1 for _ in takewhile(found.__contains__, names))


def _resnet(table: LayerTable, profile: Profile) -> Match:
    found = set(table.layers)
    if any("preact" in layer for layer in found):
        raise CheckpointError("a ResNet that normalises before its convolutions is not supported")
    counts = (_blocks(found, stage) for stage in range(2, 2 + MAX_STAGES))
    plain = (tuple(takewhile(bool, counts)), "conv2_block1_3_conv" in found)
    known = (name for name, spec in RESNETS.items() if (spec.blocks, spec.bottleneck) == plain)
    classifier, classes = _classifier(table)
    try:
        spec = ResNetSpec(
            *plain,
            width=_width(table, "conv1_conv"),
            stride_first=True,
            conv_bias=True,
            epsilon=1.001e-5,
        )
        graph = build_resnet(
            spec,
            num_classes=classes,
            placement=profile.placement,
            shift=profile.shift,
            name=f"{_kind(profile)}-{next(known, 'resnet')}",
        )
    except ValueError as error:
        raise CheckpointError(f"the layers make no ResNet: {error}") from None
    names = {"fc": classifier, "conv1": "conv1_conv", "bn1": "conv1_bn"}
    return Match(graph, _named(graph, names, resnet_layer))


def resnet_layer(ours: str) -> str:
    """What Keras applications call a layer in a block of a ResNet.

    >>> [resnet_layer(f"layer1.0.{part}") for part in ("conv1", "bn3", "downsample.1")]
    ['conv2_block1_1_conv', 'conv2_block1_3_bn', 'conv2_block1_0_bn']
    """
    stage, block, part = ours.removeprefix("layer").split(".", 2)
    ends = {"downsample.0": "0_conv", "downsample.1": "0_bn"}
    end = ends.get(part) or f"{part[-1]}_{part[:-1]}"
    return f"conv{int(stage) + 1}_block{int(block) + 1}_{end}"


def _mobilenet(table: LayerTable, profile: Profile) -> Match:
    """The width whose shapes are those of the file, padded for the frames of the profile."""
    size = profile.preprocess.frame_size
    if size == (0, 0):
        raise CheckpointError("how the network pads depends on a size of frames; give it a crop")
    if profile.placement == "block":
        raise CheckpointError("a MobileNetV2 shifts inside its blocks, not before them")
    classifier, classes = _classifier(table)

    def match(width: float) -> Match:
        graph = build_mobilenet_v2(
            num_classes=classes,
            width=width,
            shift=rule_under(profile),
            epsilon=1e-3,
            same=size,
            name=f"{_kind(profile)}-mobilenetv2",
        )
        return Match(graph, _named(graph, {"classifier": classifier}, mobilenet_layer))

    return min(map(match, WIDTHS), key=lambda made: _misses(table, made))


def mobilenet_layer(ours: str) -> str:
    """What Keras applications call a layer of a MobileNetV2.

    >>> [mobilenet_layer(f"features.{x}") for x in ("0.0", "1.conv.3", "2.conv.1", "18.1")]
    ['Conv1', 'expanded_conv_project', 'block_1_expand_BN', 'Conv_1_bn']
    """
    index, part = ours.removeprefix("features.").split(".", 1)
    if not part.startswith("conv."):
        return (("Conv1", "bn_Conv1") if index == "0" else ("Conv_1", "Conv_1_bn"))[int(part)]
    steps = ("depthwise", "project") if index == "1" else ("expand", "depthwise", "project")
    step, norm = divmod(int(part.removeprefix("conv.")), 3)
    start = "expanded_conv" if index == "1" else f"block_{int(index) - 1}"
    return f"{start}_{steps[step]}{'_BN' if norm else ''}"


def _named(graph: Graph, names: Mapping[str, str], rule: Callable[[str], str]) -> Mapping[str, str]:
    ours = dict.fromkeys(name.rpartition(".")[0] for name in graph.parameters)
    return {layer: names.get(layer) or rule(layer) for layer in ours}


NETWORKS: Sequence[
    tuple[str, Callable[[LayerTable], bool], Callable[[LayerTable, Profile], Match]]
] = (
    (
        "TS-CAN of open-rppg",
        lambda table: any(layer in OPEN_RPPG.values() for layer in table.layers),
        _open_rppg,
    ),
    ("TS-CAN, MTTS-CAN", _is_ts_can, _ts_can),
    ("ResNet", lambda table: "conv2_block1_1_conv" in table.layers, _resnet),
    (
        "MobileNetV2",
        lambda table: any(x in table.layers for x in ("expanded_conv_depthwise", "block_1_expand")),
        _mobilenet,
    ),
)
"""The networks that people publish as Keras weights: what tells one, and what makes its graph."""
