"""Backbones without a shift, as torchvision and timm name them: TSN, and TSM by a profile."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.checkpoint.tensors.renamed_networks import tensors_of
from tests.checkpoint.torch_writer import zip_file
from tsm_ref.checkpoint import load_checkpoint
from tsm_ref.errors import CheckpointError
from tsm_ref.models import ResNetSpec, build_resnet, random_weights
from tsm_ref.profile import PROFILES

BLOCKS = (1, 2, 1, 1)
SPECS = {
    "basic": ResNetSpec(BLOCKS, width=16),
    "bottleneck": ResNetSpec(BLOCKS, bottleneck=True, width=8),
    "wide": ResNetSpec(BLOCKS, bottleneck=True, width=8, inner=2.0),
    "ResNeXt": ResNetSpec(BLOCKS, bottleneck=True, width=8, inner=2.0, groups=4),
    "ResNet-D of timm": ResNetSpec(
        BLOCKS, bottleneck=True, width=8, stem_kernel=3, deep_stem=True, pool_shortcut=True
    ),
}


def timm_d(name: str) -> str:
    """The stem is one list of convolutions and norms, and a pool is the first of a shortcut."""
    stem = {"conv1.0": "conv1.0", "bn1.0": "conv1.1", "conv1.1": "conv1.3", "bn1.1": "conv1.4",
            "conv1.2": "conv1.6", "bn1.2": "bn1"}  # fmt: skip
    for ours, theirs in stem.items():
        if name.startswith(f"{ours}."):
            return name.replace(ours, theirs, 1)
    return re.sub(r"\.downsample\.(\d)", lambda m: f".downsample.{int(m[1]) + 1}", name)


@pytest.mark.parametrize("kind", SPECS)
@pytest.mark.parametrize("profile", ["tsn", "mit"])
def test_backbones_without_a_shift(tmp_path: Path, kind: str, profile: str) -> None:
    placement = PROFILES[profile].placement
    graph = build_resnet(SPECS[kind], num_classes=5, placement=placement)
    rename = timm_d if "timm" in kind else str
    path = tmp_path / "resnet-0676ba61.pth"
    path.write_bytes(zip_file(tensors_of(graph, rename)))
    found = load_checkpoint(path, PROFILES[profile])
    assert found.graph.nodes == graph.nodes
    assert found.warnings == ()
    for key, value in random_weights(graph, seed=4).items():
        np.testing.assert_array_equal(found.weights[key], value)


def test_without_a_profile_it_is_asked_for(tmp_path: Path, refused: Any) -> None:
    path = tmp_path / "resnet.pth"
    path.write_bytes(zip_file(tensors_of(build_resnet(SPECS["wide"], num_classes=5), str)))
    with refused(CheckpointError, "do not say whether and how the network shifts"):
        load_checkpoint(path)
