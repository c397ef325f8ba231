"""BNInception as MIT's training script saves it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.checkpoint.tensors.renamed_networks import tensors_of
from tests.checkpoint.torch_writer import zip_file
from tsm_ref.checkpoint import load_checkpoint
from tsm_ref.checkpoint.facts import Facts
from tsm_ref.checkpoint.tensors.names import translate
from tsm_ref.checkpoint.tensors.networks import network_for, stored_shape
from tsm_ref.errors import CheckpointError
from tsm_ref.models import build_bn_inception, random_weights
from tsm_ref.profile import PROFILES, ShiftRule

# What a block reads, and the channels of its 1x1, 3x3 (reduced, wide), double 3x3 and projection.
BLOCKS = {
    "3a": (192, 64, 64, 64, 64, 96, 32),
    "3b": (256, 64, 64, 96, 64, 96, 64),
    "3c": (320, 0, 128, 160, 64, 96, 0),
    "4a": (576, 224, 64, 96, 96, 128, 128),
    "4b": (576, 192, 96, 128, 96, 128, 128),
    "4c": (576, 160, 128, 160, 128, 160, 128),
    "4d": (608, 96, 128, 192, 160, 192, 128),
    "4e": (608, 0, 128, 192, 192, 256, 0),
    "5a": (1056, 352, 192, 320, 160, 224, 128),
    "5b": (1024, 352, 192, 320, 192, 224, 128),
}

FOLDER = "TSM_something_RGB_BNInception_shift4_block_avg_segment16_e45"


def shapes_of_mit(classes: int = 174) -> dict[str, tuple[int, ...]]:
    """Every tensor of the network with its shape."""
    layers = {
        "conv1_7x7_s2": (64, 3, 7), "conv2_3x3_reduce": (64, 64, 1), "conv2_3x3": (192, 64, 3),
    }  # fmt: skip
    for block, (read, single, reduced, wide, first, double, pool) in BLOCKS.items():
        place = f"inception_{block}"
        if single:
            layers[f"{place}_1x1"] = (single, read, 1)
        layers[f"{place}_3x3_reduce"] = (reduced, read, 1)
        layers[f"{place}_3x3"] = (wide, reduced, 3)
        layers[f"{place}_double_3x3_reduce"] = (first, read, 1)
        layers[f"{place}_double_3x3_1"] = (double, first, 3)
        layers[f"{place}_double_3x3_2"] = (double, double, 3)
        if pool:
            layers[f"{place}_pool_proj"] = (pool, read, 1)
    found: dict[str, tuple[int, ...]] = {}
    for name, (new, old, kernel) in layers.items():
        place = f"module.base_model.{name}"
        found[f"{place}.weight"], found[f"{place}.bias"] = (new, old, kernel, kernel), (new,)
        for role in ("weight", "bias", "running_mean", "running_var"):
            found[f"{place}_bn.{role}"] = (new,)
    return found | {"module.new_fc.weight": (classes, 1024), "module.new_fc.bias": (classes,)}


def test_every_tensor_has_its_place() -> None:
    theirs = shapes_of_mit()
    found = translate(theirs)
    shapes = {ours: theirs[f"module.{name}"] for ours, name in found.names.items()}
    meant = PROFILES["mit"].with_changes(placement="block")
    graph = network_for(shapes, meant, found, Facts()).graph
    assert {n: stored_shape(n, s, found) for n, s in graph.parameters.items()} == shapes
    assert (graph.name, graph.parameter_count) == ("tsm-bninception", 11_295_240 - 826 * 1025)


@pytest.fixture
def tensors() -> Any:
    def rename(name: str) -> str:
        last = name.replace("fc.", "new_fc.")
        return f"module.{last}" if last != name else f"module.base_model.{name}"

    return tensors_of(build_bn_inception(num_classes=5), rename)


def written(folder: Path, tensors: Any, name: str) -> Path:
    (folder / name).mkdir()
    path = folder / name / "ckpt.best.pth.tar"
    path.write_bytes(zip_file({"state_dict": tensors, "arch": "BNInception"}))
    return path


def test_a_file_of_a_run(tmp_path: Path, tensors: Any) -> None:
    """The folder tells the shift; pictures are prepared as Caffe did: blue first, 0 to 255."""
    found = load_checkpoint(written(tmp_path, tensors, FOLDER))
    graph = build_bn_inception(num_classes=5, shift=ShiftRule("mit", 4))
    assert (found.graph.nodes, found.warnings) == (graph.nodes, ())
    assert (found.profile.placement, found.profile.sampling.segments) == ("block", 16)
    seen = found.profile.preprocess
    assert (seen.channel_order, seen.scale) == ("bgr", 1.0)
    assert (seen.mean, seen.std) == ((104.0, 117.0, 128.0), (1.0, 1.0, 1.0))
    for name, value in random_weights(graph, seed=4).items():
        np.testing.assert_array_equal(found.weights[name], value)


def test_a_profile_by_name_leaves_the_colours_to_the_network(tmp_path: Path, tensors: Any) -> None:
    path = written(tmp_path, tensors, "run")
    for name, shifts in (("mit", 11), ("tsn", 0)):
        found = load_checkpoint(path, PROFILES[name])
        assert len(list(found.graph.select("TemporalShift"))) == shifts
        assert found.profile.preprocess.channel_order == "bgr"


def test_a_run_without_a_shift(tmp_path: Path, tensors: Any) -> None:
    folder = "TSN_something_RGB_BNInception_avg_segment8_e45"
    found = load_checkpoint(written(tmp_path, tensors, folder))
    assert (found.graph.name, found.profile.placement) == ("tsn-bninception", "none")


def test_what_is_not_said_or_cannot_be(tmp_path: Path, tensors: Any, refused: Any) -> None:
    with refused(CheckpointError, "do not say whether and how", "give a profile"):
        load_checkpoint(written(tmp_path, tensors, "run"))
    with refused(CheckpointError, "shifts in front of whole blocks"):
        load_checkpoint(written(tmp_path, tensors, FOLDER.replace("block", "blockres")))
