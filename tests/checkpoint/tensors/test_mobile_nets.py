"""Networks for phones, with the names that frameworks give their tensors."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.checkpoint.tensors.test_architectures import tensors_of
from tests.checkpoint.tensors.test_mmengine import CONFIG, sources, written
from tests.checkpoint.torch_writer import zip_file
from tsm_ref.checkpoint import load_checkpoint
from tsm_ref.checkpoint.facts import Facts
from tsm_ref.checkpoint.tensors.names import translate
from tsm_ref.checkpoint.tensors.networks import network_for, stored_shape
from tsm_ref.errors import CheckpointError
from tsm_ref.models import MobileOneSpec, build_mobileone, random_weights
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
    told = load_checkpoint(path, options={"frame_depth": 16})
    assert (told.profile.shift.segment, told.warnings) == (16, ())
