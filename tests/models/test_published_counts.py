"""Parameters and multiply-adds of every architecture, as they are published.

Parameters are those of 1000 classes, where there are classes. Where another number of classes is
published, it is turned into that; where nothing is, it is counted from the sizes of the layers.
"""

import pytest

from tsm_ref.graph import Graph
from tsm_ref.models import ARCHITECTURES, build_efficient_phys, build_graph, build_ts_can
from tsm_ref.profile import ShiftRule

TORCHVISION = {
    "resnet18": (11_689_512, "1.814"),
    "resnet34": (21_797_672, "3.664"),
    "resnet50": (25_557_032, "4.089"),
    "resnet101": (44_549_160, "7.801"),
    "resnet152": (60_192_808, "11.514"),
    "wide-resnet50": (68_883_240, "11.398"),
    "wide-resnet101": (126_886_696, "22.753"),
    "resnext50-32x4d": (25_028_904, "4.230"),
    "resnext101-32x8d": (88_791_336, "16.414"),
    "mobilenetv2": (3_504_872, "0.301"),
    "mobilenetv3-large": (5_483_032, "0.217"),
    "mobilenetv3-small": (2_542_856, "0.057"),
    "r3d-18": (33_371_472 + 600 * 513, "40.697"),
    "mc3-18": (11_695_440 + 600 * 513, "43.351"),
    "r2plus1d-18": (31_505_325 + 600 * 513, "40.520"),
    "s3d": (8_320_048 + 600 * 1025, "17.979"),
}
"""Its tables of weights: parameters, and billions of multiply-adds of one picture or clip."""

STEM = 3 * 9 * 32 + 9 * 32 * 32 + 9 * 32 * 64 - 3 * 49 * 64 + 2 * 64
"""Three small convolutions and two norms more instead of one of 7x7, in a ResNet-vd."""


def detector(backbone: int, features: int) -> int:
    """R-FCN of 1000 classes: a ResNet without its classifier, and the convolutions behind it."""
    before, maps = features // 2, (1001 + 4) * 49
    proposals = 9 * before * 512 + 512 + (18 + 36) * 513
    reduced = features * 1024 + 1024 + maps * 1025
    return backbone - 1000 * (features + 1) + proposals + reduced


OTHERS = {
    "resnext101-32x4d": 44_177_704,  # timm
    "resnet18-vd": 11_689_512 + STEM + 64 * 64 + 2 * 64,  # ... and a first skip path
    "resnet34-vd": 21_797_672 + STEM + 64 * 64 + 2 * 64,
    "resnet50-vd": 25_557_032 + STEM,  # PaddleClas: 25.58 M
    "resnet101-vd": 44_549_160 + STEM,
    # Five non-local blocks: four convolutions through half the channels, a norm (Wang et al. 2018).
    "resnet50-nl": 25_557_032
    + sum(n * (4 * c * c // 2 + 3 * c // 2 + c + 2 * c) for n, c in ((2, 512), (3, 1024))),
    "resnet50-tpool": 25_557_032,
    "bninception": 11_295_240,  # the weights of TSN
    "pptsm-mobilenetv2": 3_504_872 + 32 * 32 + 2 * 32,  # one expansion more
    "pptsm-mobilenetv3": 5_480_206 + 3,  # as `test_mobilenet_v3` derives it; 3 are never trained
    "mobileone-s0": 2_078_504,  # Vasu et al. 2022, table 2: 2.1, 4.8, 7.8, 10.1, 14.8 M
    "mobileone-s1": 4_764_840,
    "mobileone-s2": 7_808_168,
    "mobileone-s3": 10_078_312,
    "mobileone-s4": 14_838_352,
    "pp-lcnet": 6_687_209,  # PaddleClas: 6.6 M of PP-LCNetV2 base
    "rfcn_resnet18": detector(11_689_512, 512),
    "rfcn_resnet50": detector(25_557_032, 2048),
    "rfcn_resnet101": detector(44_549_160, 2048),
    "c3d": 78_409_573 + 899 * 4097,  # MMAction2: 78.4 M of 101 classes
    "r2plus1d-34": 63_697_175 + 600 * 513,  # its authors: 63.7 M of 400 classes
    "p3d-63": 25_745_232 + 600 * 2049,
    "p3d-131": 48_088_400 + 600 * 2049,
    "p3d-199": 66_492_240 + 600 * 2049,  # its authors' definition
    "i3d-resnet50": 28_043_472 + 600 * 2049,  # Lin, Gan, Han 2019, table 2: 28.0 M
    "eco-lite": 37_503_856 + 600 * 513,
    "ts-can": 532_899,  # rPPG-Toolbox, as the three below
    "mtts-can": 532_899 + 3136 * 128 + 128 + 129,
    "efficient-phys": 467_337,
    "big-small": 2_142_478,
}


def graph_of(name: str) -> Graph:
    family = ARCHITECTURES[name]
    classes = {"num_classes": 1000} if family.classifies else {}
    return build_graph(name, placement="none", shift=ShiftRule("none"), **classes)


def test_every_architecture_is_held_to_a_number() -> None:
    assert {*TORCHVISION, *OTHERS} == set(ARCHITECTURES)


@pytest.mark.parametrize("name", TORCHVISION)
def test_what_torchvision_tells_of_its_weights(name: str) -> None:
    graph, (parameters, giga) = graph_of(name), TORCHVISION[name]
    assert graph.parameter_count == parameters
    frames, size = ARCHITECTURES[name].clip or (1, 224)
    counted = sum(graph.multiply_adds({"x": (1, 3, frames, size, size)}).values())
    assert f"{counted / 1e9:.3f}" == giga


@pytest.mark.parametrize("name", OTHERS)
def test_parameters(name: str) -> None:
    assert graph_of(name).parameter_count == OTHERS[name]


@pytest.mark.parametrize(
    ("size", "physical", "attentive"),
    [(36, 467_337, 532_899), (72, 2_163_081, 2_228_643), (96, 4_030_857, 4_096_419)],
)
def test_the_pulse_of_larger_pictures(size: int, physical: int, attentive: int) -> None:
    """The modules of the rPPG-Toolbox, counted in PyTorch."""
    assert build_efficient_phys(size=size).parameter_count == physical
    assert build_ts_can(size=size).parameter_count == attentive
