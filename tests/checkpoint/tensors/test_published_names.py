"""The tensors of MIT's and MMAction2's networks, by rules that their own code was held to.

Each rule gives every name and shape that the code in question gives, counters included; nothing of
ours is used to make one.
"""

from collections.abc import Iterator, Sequence

import pytest

from tsm_ref.checkpoint.facts import Facts
from tsm_ref.checkpoint.tensors.names import ignored, translate
from tsm_ref.checkpoint.tensors.networks import network_for, stored_shape
from tsm_ref.profile import PROFILES

Shape = tuple[int, ...]
Layer = tuple[str, str, Shape]
"""A convolution, its norm, and the shape of its kernel."""

STATISTICS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
INVERTED = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
            (6, 160, 3, 2), (6, 320, 1, 1))  # fmt: skip
SHIFTED = (3, 5, 6, 8, 9, 10, 12, 13, 15, 16)
"""The features of a MobileNetV2 that the offline code marks."""


def bottlenecks(
    blocks: Sequence[int], mark: str, wrapped: Sequence[str] = (), every: int = 1
) -> Iterator[Layer]:
    """A ResNet; `mark` stands behind a shifted convolution or block, `wrapped` are non-local."""
    yield "conv1", "bn1", (64, 3, 7, 7)
    read = 64
    for stage, count in enumerate(blocks):
        planes = 64 * 2**stage
        for i in range(count):
            place = f"layer{stage + 1}.{i}"
            inside = f"{place}.block" if place in wrapped else place
            inside += ".net" if mark == "block" else ""
            behind = ".net" if mark == "blockres" and i % every == 0 else ""
            yield f"{inside}.conv1{behind}", f"{inside}.bn1", (planes, read, 1, 1)
            yield f"{inside}.conv2", f"{inside}.bn2", (planes, planes, 3, 3)
            yield f"{inside}.conv3", f"{inside}.bn3", (4 * planes, planes, 1, 1)
            if i == 0:
                down = f"{inside}.downsample"
                yield f"{down}.0", f"{down}.1", (4 * planes, read, 1, 1)
            read = 4 * planes


def inverted(marked: Sequence[int]) -> Iterator[Layer]:
    """A MobileNetV2, numbered through."""
    yield "features.0.0", "features.0.1", (32, 3, 3, 3)
    read, index = 32, 0
    for expansion, channels, count, _ in INVERTED:
        for _ in range(count):
            index += 1
            place, hidden, layer = f"features.{index}.conv", read * expansion, 0
            if expansion > 1:
                mark = ".net" if index in marked else ""
                yield f"{place}.0{mark}", f"{place}.1", (hidden, read, 1, 1)
                layer = 3
            yield f"{place}.{layer}", f"{place}.{layer + 1}", (hidden, 1, 3, 3)
            yield f"{place}.{layer + 3}", f"{place}.{layer + 4}", (channels, hidden, 1, 1)
            read = channels
    yield "features.18.0", "features.18.1", (1280, 320, 1, 1)


def attention(places: Sequence[str]) -> Iterator[tuple[str, Shape]]:
    """The non-local blocks behind some blocks of a ResNet-50."""
    for place in places:
        wide = 512 if place.startswith("layer2") else 1024
        name, half = f"{place}.nl", wide // 2
        for role in ("g.0", "theta", "phi.0"):
            yield f"{name}.{role}.weight", (half, wide, 1, 1, 1)
            yield f"{name}.{role}.bias", (half,)
        yield f"{name}.W.0.weight", (wide, half, 1, 1, 1)
        yield f"{name}.W.0.bias", (wide,)
        yield from normed(f"{name}.W.1", wide)


def normed(name: str, channels: int) -> Iterator[tuple[str, Shape]]:
    for role in STATISTICS:
        yield f"{name}.{role}", () if role == "num_batches_tracked" else (channels,)


def tensors(layers: Iterator[Layer], fc: str, head: Shape, root: str = "") -> dict[str, Shape]:
    """Every name with its shape."""
    found: dict[str, Shape] = {}
    for conv, norm, shape in layers:
        found[f"{root}{conv}.weight"] = shape
        found |= dict(normed(f"{root}{norm}", shape[0]))
    return found | {f"{fc}.weight": head, f"{fc}.bias": head[:1]}


def mmaction2(layers: Iterator[Layer]) -> dict[str, Shape]:
    """A ResNet whose convolutions and norms stand side by side in modules."""
    found: dict[str, Shape] = {}
    for conv, _, shape in layers:
        place = conv.removesuffix(".net").replace("downsample.0", "downsample")
        mark = ".net" if conv.endswith(".net") else ""
        found[f"backbone.{place}.conv{mark}.weight"] = shape
        found |= dict(normed(f"backbone.{place}.bn", shape[0]))
    return found | {"cls_head.fc_cls.weight": HEAD, "cls_head.fc_cls.bias": HEAD[:1]}


def others(places: Sequence[str], embedded: bool) -> dict[str, Shape]:
    """Its non-local blocks: without queries and keys of their own they are "gaussian"."""
    found: dict[str, Shape] = {}
    for place in places:
        wide = 512 if place.startswith("layer2") else 1024
        name, half = f"backbone.{place}.non_local_block", wide // 2
        for role in ("g.0", "theta", "phi.0") if embedded else ("g.0",):
            found[f"{name}.{role}.conv.weight"] = (half, wide, 1, 1, 1)
            found[f"{name}.{role}.conv.bias"] = (half,)
        found[f"{name}.conv_out.conv.weight"] = (wide, half, 1, 1, 1)
        found |= dict(normed(f"{name}.conv_out.bn", wide))
    return found


def mobile() -> dict[str, Shape]:
    """Its MobileNetV2, numbered by stages; the mark stands around a convolution with its norm."""
    layers: list[tuple[str, Shape]] = [("conv1", (32, 3, 3, 3))]
    read, index = 32, 0
    for stage, (expansion, channels, count, _) in enumerate(INVERTED, start=1):
        for i in range(count):
            index += 1
            hidden, place = read * expansion, f"layer{stage}.{i}.conv"
            inner: list[Shape] = [(hidden, 1, 3, 3), (channels, hidden, 1, 1)]
            if expansion > 1:
                inner.insert(0, (hidden, read, 1, 1))
            for number, shape in enumerate(inner):
                mark = ".net" if number == 0 and index in SHIFTED else ""
                layers.append((f"{place}.{number}{mark}", shape))
            read = channels
    found: dict[str, Shape] = {}
    for place, shape in (*layers, ("conv2", (1280, 320, 1, 1))):
        found[f"backbone.{place}.conv.weight"] = shape
        found |= dict(normed(f"backbone.{place}.bn", shape[0]))
    return found | {"cls_head.fc_cls.weight": (400, 1280), "cls_head.fc_cls.bias": (400,)}


ROOT, FC, HEAD = "module.base_model.", "module.new_fc", (400, 2048)
R50, R101 = (3, 4, 6, 3), (3, 4, 23, 3)
PLACES = ("layer2.0", "layer2.2", "layer3.0", "layer3.2", "layer3.4")

NETWORKS = {
    "r50": tensors(bottlenecks(R50, "blockres"), FC, HEAD, ROOT),
    "r50-tsn": tensors(bottlenecks(R50, ""), FC, HEAD, ROOT),
    "r50-block": tensors(bottlenecks(R50, "block"), FC, HEAD, ROOT),
    "r50-nl": tensors(bottlenecks(R50, "blockres", PLACES), FC, HEAD, ROOT)
    | {f"{ROOT}{name}": shape for name, shape in attention(PLACES)},
    "r101": tensors(bottlenecks(R101, "blockres", every=2), FC, HEAD, ROOT),
    "mbv2": tensors(inverted(SHIFTED), FC, (400, 1280), ROOT),
    "online": tensors(inverted(()), "classifier", (27, 1280)),
    "mmaction2 r50": mmaction2(bottlenecks(R50, "blockres")),
    "mmaction2 r101": mmaction2(bottlenecks(R101, "blockres", every=2)),
    "mmaction2 embedded": mmaction2(bottlenecks(R50, "blockres", PLACES)) | others(PLACES, True),
    "mmaction2 gaussian": mmaction2(bottlenecks(R50, "blockres", PLACES)) | others(PLACES, False),
    "mmaction2 mobile": mobile(),
}

GAUSSIAN = sum(n * (wide * wide + wide // 2 + 2 * wide) for n, wide in ((2, 512), (3, 1024)))
"""The values and the output of five non-local blocks, and its norm."""

PUBLISHED = {
    "r50": ("mit", "tsm-resnet50", 16, 24_327_632),
    "r50-tsn": ("tsn", "tsn-resnet50", 0, 24_327_632),
    "r50-block": ("mit", "tsm-resnet50", 16, 24_327_632),
    "r50-nl": ("mit", "tsm-resnet50-nl", 16, 31_686_096),
    "r101": ("mit", "tsm-resnet101", 18, 44_549_160 - 600 * 2049),
    "mbv2": ("mit", "tsm-mobilenetv2", 10, 2_736_272),
    "online": ("mit-online", "tsm-mobilenetv2", 10, 2_258_459),
    "mmaction2 r50": ("mmaction2", "tsm-resnet50", 16, 24_327_632),
    "mmaction2 r101": ("mmaction2", "tsm-resnet101", 18, 44_549_160 - 600 * 2049),
    "mmaction2 embedded": ("mmaction2", "tsm-resnet50-nl", 16, 31_686_096 - 2 * 512 - 3 * 1024),
    "mmaction2 gaussian": ("mmaction2", "tsm-resnet50-nl", 16, 24_327_632 + GAUSSIAN),
    "mmaction2 mobile": ("mmaction2", "tsm-mobilenetv2", 10, 2_736_272),
}
"""The profile, the network, its shifts and its parameters."""


@pytest.mark.parametrize("name", NETWORKS)
def test_every_tensor_has_its_place(name: str) -> None:
    theirs = {n: s for n, s in NETWORKS[name].items() if not ignored(n)}
    profile, kind, shifts, parameters = PUBLISHED[name]
    found = translate(theirs)
    prefix = "module." if ROOT + "conv1.weight" in theirs or name == "mbv2" else ""
    shapes = {ours: theirs[prefix + there] for ours, there in found.names.items()}
    meant = PROFILES[profile]
    if found.placement:
        meant = meant.with_changes(placement=found.placement)
    graph = network_for(shapes, meant, found, Facts()).graph
    assert {n: stored_shape(n, s, found) for n, s in graph.parameters.items()} == shapes
    assert (graph.name, graph.parameter_count) == (kind, parameters)
    placed = {node.name.removesuffix(".shift") for node in graph.select("TemporalShift")}
    assert len(placed) == shifts
    if found.layers:
        assert placed == found.layers
