"""L4: the networks that convolve in time, with which TSM was compared, in a few channels."""

from typing import Any

from conformance.catalogue._families import family, network
from conformance.catalogue.l4_pictures import INCEPTION, STEM, divided
from conformance.questions.case import Problem, Setting
from conformance.questions.data import normal

NARROWER = 16


@family("c3d", "c3d", defect="the last pool is not padded, or the first one pools time")
def c3d(s: Setting) -> Problem:
    """C3D of 16 frames, which are all that its dense layers take."""
    stages = [[4], [8], [16, 16], [32, 32], [32, 32]]
    attributes = {"stages": stages, "hidden": 12, "size": 32, "classes": 6}
    return network(s, "c3d", normal(s.rng, (1, 3, 16, 32, 32)), attributes)


def clip_resnet(s: Setting, architecture: str, kinds: list[str]) -> Problem:
    """A network of one basic block for each stage."""
    attributes = {
        "blocks": [1, 1, 1, 1],
        "kinds": kinds,
        "width": 4,
        "stem_middle": 45,
        "classes": 6,
    }
    return network(s, architecture, (1, 8, 32, 40), attributes)


@family("r3d", "r3d", defect="the stride in time is missing, or stands in the stem")
def r3d(s: Setting) -> Problem:
    """R3D: a ResNet of 3x3x3."""
    return clip_resnet(s, "r3d", ["3d"] * 4)


@family("mc3", "mc3", defect="the later stages, which leave time alone, stride in it")
def mc3(s: Setting) -> Problem:
    """MC3: 3x3x3 in the first stage, 1x3x3 behind it."""
    return clip_resnet(s, "mc3", ["3d", *["2d"] * 3])


@family("r2plus1d", "r2plus1d", defect="nothing stands between space and time, or time comes first")
def r2plus1d(s: Setting) -> Problem:
    """R(2+1)D: 1x3x3, a norm and a ReLU, 3x1x1."""
    return clip_resnet(s, "r2plus1d", ["2+1d"] * 4)


@family("i3d", "i3d", defect="other blocks are inflated, or frames are not pooled")
def i3d(s: Setting) -> Problem:
    """The inflated ResNet of I3D: some bottlenecks begin with 3x1x1."""
    attributes = {
        "blocks": [2, 2, 1, 2],
        "inflated": [[0, 1, 2], [0, 2], [0, 2, 4], [1]],
        "width": 4,
        "classes": 6,
    }
    return network(s, "i3d", (1, 6, 32, 40), attributes)


@family(
    "p3d",
    "p3d",
    formula="y = T(S(x)), S(x) + T(x) or S(x) + T(S(x)), block by block",
    defect="the three orders of space and time come in another turn",
)
def p3d(s: Setting) -> Problem:
    """P3D: bottlenecks whose 3x3x3 are a 1x3x3 and a 3x1x1, in three orders."""
    attributes = {"blocks": [1, 1, 1, 1], "orders": "ABC", "width": 4, "classes": 6}
    return network(s, "p3d", (1, 16, 32, 40), attributes)


S3D: dict[str, list[Any]] = {
    "0": ["separable", 64, 7, 2],
    "1": ["pool", [1, 3, 3], [1, 2, 2]],
    "2": ["single", 64],
    "3": ["separable", 192, 3, 1],
    "4": ["pool", [1, 3, 3], [1, 2, 2]],
    "5": ["block", [64, 96, 128, 16, 32, 32]],
    "6": ["block", [128, 128, 192, 32, 96, 64]],
    "7": ["pool", [3, 3, 3], [2, 2, 2]],
    "8": ["block", [192, 96, 208, 16, 48, 64]],
    "9": ["block", [160, 112, 224, 24, 64, 64]],
    "10": ["block", [128, 128, 256, 24, 64, 64]],
    "11": ["block", [112, 144, 288, 32, 64, 64]],
    "12": ["block", [256, 160, 320, 32, 128, 128]],
    "13": ["pool", [2, 2, 2], [2, 2, 2]],
    "14": ["block", [256, 160, 320, 32, 128, 128]],
    "15": ["block", [384, 192, 384, 48, 128, 128]],
}
"""The layers of S3D (Xie et al. 2018) by their numbers."""


@family("s3d", "s3d", defect="time comes before space, or neighbouring features are not averaged")
def s3d(s: Setting) -> Problem:
    """S3D of a sixteenth of the channels."""
    layers = {}
    for name, (kind, *numbers) in S3D.items():
        if kind == "block":
            numbers = [divided(numbers[0], NARROWER)]
        elif kind != "pool":
            numbers[0] //= NARROWER
        layers[name] = [kind, *numbers]
    return network(s, "s3d", (1, 32, 32, 32), {"layers": layers, "classes": 6})


@family("eco-lite", "eco_lite", defect="the skip path of a block sees what is behind its norm")
def eco_lite(s: Setting) -> Problem:
    """ECO-Lite: the beginning of BNInception, frame by frame, and 3x3x3 behind it."""
    attributes = {
        "stem": divided(list(STEM), NARROWER),
        "blocks": {name: divided(INCEPTION[name], NARROWER) for name in ("3a", "3b")},
        "ending": divided([64, 96], NARROWER),
        "width": 4,
        "classes": 6,
    }
    return network(s, "eco_lite", (1, 6, 48, 64), attributes)
