"""Networks for phones, with the names that frameworks give their tensors."""

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.checkpoint.tensors.renamed_networks import tensors_of
from tests.checkpoint.tensors.test_mmengine import CONFIG, sources, written
from tests.checkpoint.torch_writer import zip_file
from tsm_ref.checkpoint import load_checkpoint
from tsm_ref.checkpoint.facts import Facts
from tsm_ref.checkpoint.tensors.names import translate
from tsm_ref.checkpoint.tensors.networks import network_for, stored_shape
from tsm_ref.errors import CheckpointError
from tsm_ref.graph import Graph
from tsm_ref.models import (
    MobileOneSpec,
    build_mobilenet_v2,
    build_mobilenet_v3,
    build_mobileone,
    random_weights,
)
from tsm_ref.models import mobilenet_v3 as v3
from tsm_ref.models.mobilenet_v3 import LARGE
from tsm_ref.models.mobileone import reparameterized
from tsm_ref.profile import PROFILES, ShiftRule

Shapes = dict[str, tuple[int, ...]]

# MobileOne, as MMAction2's MobileOneTSM and mmpretrain's MobileOneBlock name it

S4 = {1: (64, 192, 2, 0), 2: (192, 448, 8, 0), 3: (448, 896, 10, 5), 4: (896, 2048, 1, 1)}
"""Channels before and behind a stage, pairs of blocks, and how many of the last have a gate."""


def norm(place: str, channels: int) -> Shapes:
    roles = ("weight", "bias", "running_mean", "running_var")
    return {f"{place}.{role}": (channels,) for role in roles}


def block(
    place: str, new: int, old: int, kernel: int, *, kept: bool, deployed: bool, gated: bool = False
) -> Shapes:
    """The tensors of a block; ``old`` are the channels that one filter sees."""
    found: Shapes = {}
    if deployed:
        found[f"{place}.branch_reparam.weight"] = (new, old, kernel, kernel)
        found[f"{place}.branch_reparam.bias"] = (new,)
    else:
        sizes = {"branch_conv_list.0": kernel} | ({"branch_scale": 1} if kernel == 3 else {})
        for branch, size in sizes.items():
            found[f"{place}.{branch}.conv.weight"] = (new, old, size, size)
            found |= norm(f"{place}.{branch}.norm", new)
        found |= norm(f"{place}.branch_norm", new) if kept else {}
    if gated:
        narrow = new // 16  # 56, 128 and 28: whole eighths, or rounded to them
        narrow = {28: 32}.get(narrow, narrow)
        for i, (to, of) in enumerate(((narrow, new), (new, narrow)), start=1):
            found[f"{place}.se.conv{i}.conv.weight"] = (to, of, 1, 1)
            found[f"{place}.se.conv{i}.conv.bias"] = (to,)
    return found


def mobileone_s4(*, deployed: bool, classes: int = 400) -> Shapes:
    """Every tensor of the published network, with its shape; each block stands in a shift."""
    form: Any = {"deployed": deployed}
    found = block("backbone.stage0.net", 64, 3, 3, kept=False, **form)
    for stage, (old, new, pairs, gates) in S4.items():
        for i in range(pairs):
            before, gated = old if i == 0 else new, i >= pairs - gates
            place = f"backbone.stage{stage}.{{}}.net"
            found |= block(
                place.format(2 * i), before, 1, 3, kept=i > 0, gated=gated, **form
            ) | block(
                place.format(2 * i + 1), new, before, 1, kept=before == new, gated=gated, **form
            )
    return found | {"cls_head.fc_cls.weight": (classes, 2048), "cls_head.fc_cls.bias": (classes,)}


@pytest.mark.parametrize(("deployed", "parameters"), [(False, 13_721_848), (True, 13_608_952)])
def test_every_tensor_of_mobileone_s4_has_its_place(deployed: bool, parameters: int) -> None:
    theirs = mobileone_s4(deployed=deployed)
    found = translate(theirs)
    shapes = {ours: theirs[name] for ours, name in found.names.items()}
    network = network_for(shapes, PROFILES["mmaction2"], found, Facts())
    graph = network.graph
    assert {n: stored_shape(n, s, found) for n, s in graph.parameters.items()} == shapes
    assert (graph.name, graph.parameter_count) == ("tsm-mobileone-s4", parameters)
    assert len(list(graph.select("TemporalShift"))) == 42
    assert network.runs_as is None if deployed else network.runs_as


SMALL = MobileOneSpec((16, 16, 24, 32), depths=(1, 2, 2, 1), gated=(0, 0, 1, 1), stem=8)


def mobileone_names(name: str) -> str:
    """Every block stands in a shift, the stem too, which has no number."""
    if name.startswith("fc."):
        return f"cls_head.fc_cls.{name[3:]}"
    stage, number, rest = name.split(".", 2)
    return f"backbone.{stage}.net.{rest}" if stage == "stage0" else (
        f"backbone.{stage}.{number}.net.{rest}"
    )  # fmt: skip


@pytest.mark.parametrize("branches", [0, 1, 4])
def test_mobileone_runs_as_single_convolutions(branches: int, tmp_path: Path) -> None:
    trained = build_mobileone(SMALL, num_classes=5, branches=branches)
    path = tmp_path / "tsm_mobileone_shift8_1x1x8.pth"
    path.write_bytes(zip_file({"state_dict": tensors_of(trained, mobileone_names)}))
    found = load_checkpoint(path)
    single = build_mobileone(SMALL, num_classes=5)
    assert (found.graph.nodes, found.warnings) == (single.nodes, ())
    wanted = random_weights(trained, seed=4)
    if branches:
        wanted = reparameterized(single, wanted)
    for name, value in wanted.items():
        np.testing.assert_array_equal(found.weights[name], value)


def test_a_branch_that_is_missing_is_told(tmp_path: Path, refused: Any) -> None:
    """Without it the sum would be another one."""
    made = tensors_of(build_mobileone(SMALL, num_classes=5, branches=1), mobileone_names)
    path = tmp_path / "x_shift8_1x1x8.pth"
    gone = [name for name in made if "stage2.0.net.branch_scale" in name]
    path.write_bytes(zip_file({k: v for k, v in made.items() if k not in gone}))
    with refused(CheckpointError, "5 tensors are missing ('stage2.0.branch_scale"):
        load_checkpoint(path)


def test_a_configuration_whose_backbone_knows_fewer_frames(tmp_path: Path, refused: Any) -> None:
    """MMAction2's MobileOne of 16 frames shifts within windows of 8, as nothing tells it of 16."""
    made = tensors_of(build_mobileone(SMALL, num_classes=5), mobileone_names)
    config = CONFIG.replace("ResNetTSM", "MobileOneTSM").replace("style='caffe',", "arch='s4',")
    silent = config.replace("num_segments=16,\n", "")
    found = load_checkpoint(written(tmp_path, made, silent))
    assert found.profile.shift == ShiftRule("mit", 4, segment=8)
    assert sources(found)["frame_depth"] == (8, "the file (meta.cfg, model)")
    assert load_checkpoint(written(tmp_path, made, config)).profile.shift.segment == 0
    with refused(CheckpointError, "samples 16 frames, and its backbone shifts within 6"):
        load_checkpoint(
            written(tmp_path, made, config.replace("num_segments=16", "num_segments=6"))
        )


def test_a_mobileone_of_more_frames_that_says_nothing(tmp_path: Path) -> None:
    made = tensors_of(build_mobileone(SMALL, num_classes=5), mobileone_names)
    path = tmp_path / "tsm_mobileone_shift8_1x1x16.pth"
    path.write_bytes(zip_file({"state_dict": made}))
    found = load_checkpoint(path)
    assert found.profile.shift.segment == 8
    assert "--frame-depth 8" in found.warnings[0]
    named = load_checkpoint(path, PROFILES["mmaction2"])
    assert (named.profile.shift.segment, named.warnings[0]) == (
        8,
        found.warnings[0].replace("--fold-div 8 ", ""),
    )
    told = load_checkpoint(path, options={"frame_depth": 16})
    assert (told.profile.shift.segment, told.warnings) == (16, ())


# MobileNets, as PaddleVideo, torchvision and timm name them


def of_paddle(name: str) -> str:
    return re.sub(r"running_(mean|var)", lambda m: f"_{m[1].replace('var', 'variance')}", name)


def pptsm_v2(name: str) -> str:
    """Stages are ``conv2`` to ``conv8``; the first block of each has a name, others a number."""
    places = [(s + 2, b) for s, count in enumerate((1, 2, 3, 4, 3, 3, 1)) for b in range(count)]
    kinds = ("_conv", "_batch_norm")
    if name.startswith("classifier."):
        return name.replace("classifier", "backbone.out")
    _, feature, rest = name.split(".", 2)
    if feature in ("0", "18"):
        kind, role = rest.split(".")
        layer = "conv1" if feature == "0" else "conv9"
        return of_paddle(f"backbone.{layer}.{kinds[int(kind)]}.{role}")
    stage, number = places[int(feature) - 1]
    block = f"conv{stage}_{number + 1}" if number else "_first_block"
    _, layer, role = rest.split(".")
    part = ("_expand_conv", "_bottleneck_conv", "_linear_conv")[int(layer) // 3]
    return of_paddle(f"backbone.conv{stage}.{block}.{part}.{kinds[int(layer) % 3]}.{role}")


def pptsm_v3(name: str) -> str:
    for ours, theirs in (
        (r"^stem\.", "conv."), (r"^last\.", "last_second_conv."), (r"^hidden\.", "last_conv."),
        (r"^classifier\.", "fc."), (r"\.expand\.", ".expand_conv."),
        (r"\.depthwise\.", ".bottleneck_conv."), (r"\.gate\.", ".mid_se."),
        (r"\.project\.", ".linear_conv."),
    ):  # fmt: skip
        name = re.sub(ours, theirs, name)
    return of_paddle(f"backbone.{name}")


def torchvision_v3(name: str) -> str:
    """Layers of a block are numbered; the first block has no expansion, some have no gate."""
    kinds = {"conv": "0", "bn": "1", "conv1": "fc1", "conv2": "fc2"}
    first, _, rest = name.partition(".")
    if first in ("hidden", "classifier"):
        return f"classifier.{0 if first == 'hidden' else 3}.{rest}"
    if first != "blocks":
        layer, role = rest.split(".")
        return f"features.{0 if first == 'stem' else 16}.{kinds[layer]}.{role}"
    number, part, layer, role = rest.split(".")
    gated = LARGE[int(number)].gated
    parts = ["expand"] * (number != "0") + ["depthwise"] + ["gate"] * gated + ["project"]
    return f"features.{int(number) + 1}.block.{parts.index(part)}.{kinds[layer]}.{role}"


def timm_v3(name: str) -> str:
    """Stages of 1, 2, 3, 4, 2, 3 and 1 blocks, the last of which is the last convolution."""
    places = [(s, b) for s, count in enumerate((1, 2, 3, 4, 2, 3)) for b in range(count)]
    first, _, rest = name.partition(".")
    if first in ("stem", "last", "hidden"):
        to = {"stem": ("conv_stem", "bn1"), "last": ("blocks.6.0.conv", "blocks.6.0.bn1")}
        layer, _, role = rest.rpartition(".")
        return f"{to[first][layer == 'bn'] if layer else 'conv_head'}.{role}"
    if first != "blocks":
        return name
    number, part, layer, role = rest.split(".")
    place = "blocks.{}.{}".format(*places[int(number)])
    if part == "gate":
        return f"{place}.se.conv_{'reduce' if layer == 'conv1' else 'expand'}.{role}"
    parts = ["expand", "depthwise", "project"][number == "0" :]
    convs = ["conv_dw", "conv_pw"] if number == "0" else ["conv_pw", "conv_dw", "conv_pwl"]
    at = parts.index(part)
    return f"{place}.{convs[at] if layer == 'conv' else f'bn{at + 1}'}.{role}"


PADDLE_RULE = ShiftRule("paddle", 8)
MOBILE: dict[str, tuple[Graph, Any, str, str | None]] = {
    "ppTSM MobileNetV2": (
        build_mobilenet_v2(num_classes=5, shift=PADDLE_RULE, expand_first=True), pptsm_v2,
        "ppTSM_mv2_8f.pdparams", None,
    ),
    "ppTSM MobileNetV3": (
        build_mobilenet_v3(num_classes=5, shift=PADDLE_RULE, form="paddle"), pptsm_v3,
        "ppTSM_mv3_8f.pdparams", None,
    ),
    "ppTSM MobileNetV3 small": (
        build_mobilenet_v3("small", num_classes=5, shift=PADDLE_RULE, form="paddle"), pptsm_v3,
        "ppTSM_mv3_8f.pdparams", None,
    ),
    "torchvision MobileNetV3": (
        build_mobilenet_v3(num_classes=5), torchvision_v3, "mobilenet_v3.pth", "mit",
    ),
    "timm MobileNetV3": (
        build_mobilenet_v3(num_classes=5, form="timm"), timm_v3, "mobilenetv3.pth", "mit",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", MOBILE)
def test_a_mobilenet_is_recognised(kind: str, tmp_path: Path) -> None:
    graph, rename, file, profile = MOBILE[kind]
    path = tmp_path / file
    turned = profile is None
    made = {
        rename(name): value
        for name, value in tensors_of(graph, str, turned).items()
        if name not in v3.FIXED and not name.endswith("num_batches_tracked")
    }
    if kind.startswith("torchvision"):
        made["classifier.0.weight"] = made["classifier.0.weight"][:, :, 0, 0]
    path.write_bytes(zip_file(made) if profile else pickle.dumps(made, protocol=2))
    found = load_checkpoint(path, profile and PROFILES[profile])
    assert (found.graph.nodes, found.warnings) == (graph.nodes, ())
    for name, value in random_weights(graph, seed=4).items():
        np.testing.assert_array_equal(found.weights[name], value)


@pytest.mark.parametrize("kind", MOBILE)
def test_a_mobilenet_that_does_not_say_tsm_needs_a_profile(
    kind: str, tmp_path: Path, refused: Any
) -> None:
    graph, rename, _, _ = MOBILE[kind]
    path = tmp_path / "best.pth"
    path.write_bytes(zip_file({rename(name): np.zeros(3, np.float32) for name in graph.parameters}))
    with refused(CheckpointError, "do not say whether and how", "give a profile"):
        load_checkpoint(path)
