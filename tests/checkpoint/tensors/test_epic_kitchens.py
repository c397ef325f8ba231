"""The action models of EPIC-Kitchens-55: MIT's networks with classifiers of verbs and of nouns.

Names, shapes and the settings at the top of a file are those of their own code, run with random
weights: a TSM of ResNet-50 has 322 tensors, 53 of which are counters.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tsm_ref
from tests.checkpoint.tensors.renamed_networks import tensors_of
from tests.checkpoint.tensors.test_inception_nets import shapes_of_mit
from tests.checkpoint.torch_writer import zip_file
from tsm_ref.checkpoint.facts import Facts
from tsm_ref.checkpoint.tensors.names import translate
from tsm_ref.checkpoint.tensors.networks import network_for, stored_shape
from tsm_ref.models import ResNetSpec, build_resnet
from tsm_ref.profile import PROFILES

Shapes = dict[str, tuple[int, ...]]

CLASSES = {"verb": 125, "noun": 352}
SETTINGS = {"model_type": "tsm", "segment_count": 8, "modality": "RGB", "arch": "resnet50",
            "shift_place": "blockres", "shift_div": 8}  # fmt: skip


def heads(features: int) -> Shapes:
    found: Shapes = {}
    for name, classes in CLASSES.items():
        found |= {f"fc_{name}.weight": (classes, features), f"fc_{name}.bias": (classes,)}
    return found


def resnet50(channels: int) -> Shapes:
    """Every tensor of their TSM of ResNet-50; each first convolution of a block is marked."""
    found: Shapes = {}

    def layer(conv: str, norm: str, shape: tuple[int, ...]) -> None:
        found[f"base_model.{conv}.weight"] = shape
        roles = ("weight", "bias", "running_mean", "running_var")
        found.update({f"base_model.{norm}.{role}": shape[:1] for role in roles})
        found[f"base_model.{norm}.num_batches_tracked"] = ()

    layer("conv1", "bn1", (64, channels, 7, 7))
    read = 64
    for stage, count in enumerate((3, 4, 6, 3)):
        planes = 64 * 2**stage
        for i in range(count):
            place = f"layer{stage + 1}.{i}"
            layer(f"{place}.conv1.net", f"{place}.bn1", (planes, read, 1, 1))
            layer(f"{place}.conv2", f"{place}.bn2", (planes, planes, 3, 3))
            layer(f"{place}.conv3", f"{place}.bn3", (4 * planes, planes, 1, 1))
            if i == 0:
                place += ".downsample"
                layer(f"{place}.0", f"{place}.1", (4 * planes, read, 1, 1))
            read = 4 * planes
    return found | heads(2048)


def bn_inception() -> Shapes:
    """Their TSN of BNInception, whose names are MIT's."""
    plain = {k.removeprefix("module."): v for k, v in shapes_of_mit().items() if "new_fc" not in k}
    return plain | heads(1024)


@pytest.mark.parametrize(
    ("theirs", "profile", "kind", "parameters"),
    [
        (resnet50(3), "mit", "tsm-resnet50", 24_485_405),
        (resnet50(10), "mit", "tsm-resnet50", 24_507_357),
        (bn_inception(), "tsn", "tsn-bninception", 10_759_165),
    ],
    ids=["TSM of pictures", "TSM of flow", "TSN of BNInception"],
)
def test_every_tensor_has_its_place(
    theirs: Shapes, profile: str, kind: str, parameters: int
) -> None:
    assert kind != "tsm-resnet50" or len(theirs) == 322
    found = translate(theirs)
    shapes = {ours: theirs[name] for ours, name in found.names.items()}
    graph = network_for(shapes, PROFILES[profile], found, Facts()).graph
    assert {n: stored_shape(n, s, found) for n, s in graph.parameters.items()} == shapes
    assert (graph.name, graph.outputs) == (kind, tuple(CLASSES))
    assert graph.parameter_count == parameters


NARROW = ResNetSpec((1, 2, 1, 1), bottleneck=True, width=8)


@pytest.fixture
def tensors() -> dict[str, Any]:
    """A narrow network of MIT's with one classifier."""

    def rename(name: str) -> str:
        if name.startswith("fc."):
            return name.replace("fc.", "new_fc.")
        marked = name.replace(".conv1.", ".conv1.net.") if name.startswith("layer") else name
        return f"base_model.{marked}"

    return tensors_of(build_resnet(NARROW, num_classes=5), rename)


def with_two(tensors: dict[str, Any], rng: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tensors with a classifier of 5 verbs, which is the one there was, and one of 7 nouns."""
    plain = {k: v for k, v in tensors.items() if not k.startswith("new_fc.")}
    verb = {"weight": tensors["new_fc.weight"], "bias": tensors["new_fc.bias"]}
    noun = {"weight": rng.normal(size=(7, 256)), "bias": rng.normal(size=7)}
    noun = {role: value.astype(np.float32) for role, value in noun.items()}
    both = {f"fc_{name}.{role}": value for name, head in (("verb", verb), ("noun", noun))
            for role, value in head.items()}  # fmt: skip
    return plain | both, noun


def test_two_classifiers_read_the_features_that_one_does(
    tmp_path: Path, tensors: dict[str, Any], rng: Any
) -> None:
    both, noun = with_two(tensors, rng)
    (tmp_path / "one.pth").write_bytes(zip_file({"state_dict": tensors}))
    (tmp_path / "two.pth.tar").write_bytes(zip_file({**SETTINGS, "state_dict": both}))
    with pytest.warns(UserWarning, match="fold_div|segments"):
        one = tsm_ref.load(tmp_path / "one.pth", engine="numpy")
    two = tsm_ref.load(tmp_path / "two.pth.tar", engine="numpy")  # says all that it means
    clip = rng.normal(size=(2, 3, 8, 48, 40)).astype(np.float32)
    found = two.head_logits(clip)
    assert list(found) == ["verb", "noun"]
    np.testing.assert_array_equal(found["verb"], one(clip))
    right = one.features(clip) @ noun["weight"].T + noun["bias"]
    np.testing.assert_allclose(found["noun"], right, rtol=1e-4, atol=1e-4)


def test_the_file_tells_its_shift_and_its_frames(
    tmp_path: Path, tensors: dict[str, Any], rng: Any
) -> None:
    both, _ = with_two(tensors, rng)
    settings = {**SETTINGS, "segment_count": 16, "shift_div": 4, "shift_place": "blockres"}
    (tmp_path / "four.pth.tar").write_bytes(zip_file({**settings, "state_dict": both}))
    model = tsm_ref.load(tmp_path / "four.pth.tar", engine="numpy")
    assert model.profile.sampling.segments == 16
    assert model.profile.shift.divisor == 4
    assert [int((shift.d != 0).sum()) for shift in model.shifts][:2] == [4, 16]
