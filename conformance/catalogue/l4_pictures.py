"""L4: BNInception, MobileNetV3, MobileOne and PP-LCNetV2, many times narrower than published."""

from typing import Any

from conformance.catalogue._families import family, network
from conformance.questions.case import Problem, Setting
from conformance.questions.data import normal

INCEPTION: dict[str, list[Any]] = {
    "3a": [64, 64, 64, 64, 96, "mean", 32],
    "3b": [64, 64, 96, 64, 96, "mean", 64],
    "3c": [0, 128, 160, 64, 96, "max", 0],
    "4a": [224, 64, 96, 96, 128, "mean", 128],
    "4b": [192, 96, 128, 96, 128, "mean", 128],
    "4c": [160, 128, 160, 128, 160, "mean", 128],
    "4d": [96, 128, 192, 160, 192, "mean", 128],
    "4e": [0, 128, 192, 192, 256, "max", 0],
    "5a": [352, 192, 320, 160, 224, "mean", 128],
    "5b": [352, 192, 320, 192, 224, "max", 128],
}
"""The blocks of BNInception (Ioffe, Szegedy 2015): channels of each branch, and what is pooled."""
STEM = (64, 64, 192)
DIVISOR = 8


def divided(row: list[Any], divisor: int = DIVISOR) -> list[Any]:
    """The numbers of a row, as many times smaller."""
    return [value // divisor if isinstance(value, int) else value for value in row]


@family(
    "bninception",
    "bninception",
    defect="what reads a norm sees it in front of the ReLU, which works in place there",
)
def bninception(s: Setting) -> Problem:
    """A BNInception of an eighth of the channels, shifted in front of whole blocks."""
    attributes = {
        "stem": divided(list(STEM)),
        "blocks": {name: divided(row) for name, row in INCEPTION.items()},
        "classes": 6,
    }
    return network(s, "bninception", (1, 3, 64, 96), attributes)


V3: dict[str, Any] = {
    "stem": 16,
    "rows": [
        [3, 16, 16, 0, False, 1],
        [3, 48, 24, 0, False, 2],
        [5, 72, 24, 24, False, 1],
        [5, 72, 24, 24, True, 1],
        [3, 80, 32, 24, True, 2],
        [3, 96, 32, 24, True, 1],
    ],
    "classes": 6,
}
"""The beginning of a MobileNetV3: kernel, hidden channels, channels, those of the gate, swish,
stride."""


@family("mobilenet-v3", "mobilenet_v3", defect="hard swish is a swish, or a gate a plain sigmoid")
def mobilenet_v3(s: Setting) -> Problem:
    """A MobileNetV3 as PyTorch has it."""
    form = {"gate_slope": 1 / 6, "hidden_bias": True, "dropout": 1.0}
    form |= {"eps": 1e-3, "expand_all": False, "last": 192, "hidden": 1280}
    return network(s, "mobilenet_v3", (1, 3, 28, 36), V3 | form)


@family(
    "mobilenet-v3-paddle",
    "mobilenet_v3_paddle",
    defect="features are not scaled by the 0.8 that dropout leaves, or a gate has slope 1/6",
)
def mobilenet_v3_paddle(s: Setting) -> Problem:
    """A MobileNetV3 as ppTSM has it: steeper gates, of a quarter of the channels."""
    rows = [[*row[:3], row[1] // 4 if row[3] else 0, *row[4:]] for row in V3["rows"]]
    form = {"gate_slope": 0.2, "hidden_bias": False, "dropout": 0.8, "rows": rows}
    form |= {"eps": 1e-5, "expand_all": True, "last": 192, "hidden": 1280}
    return network(s, "mobilenet_v3_paddle", (1, 3, 28, 36), V3 | form)


@family(
    "mobileone",
    "mobileone",
    formula="y = relu(gate(sum of norm(conv_i(shift(x))) + norm(shift(x))))",
    defect="a branch is forgotten when the sum is made one convolution",
)
def mobileone(s: Setting) -> Problem:
    """A MobileOne with the weights that are trained: every block is a sum of branches."""
    attributes = {
        "stem": 16,
        "channels": [16, 16, 24, 32],
        "depths": [1, 2, 2, 1],
        "gated": [0, 0, 1, 1],
        "narrow": 8,
        "branches": 2,
        "classes": 6,
    }
    return network(s, "mobileone", (1, 4, 48, 64), attributes)


@family(
    "pp-lcnet",
    "pp_lcnet",
    defect="each block is shifted, or frames are weighed behind the shift",
)
def pp_lcnet(s: Setting) -> Problem:
    """PP-TSMv2: a PP-LCNetV2 of an eighth of the channels with one shift and frame attention."""
    stages = [
        [1, 16, 3, False, False, False, False],
        [1, 32, 3, False, False, False, False],
        [2, 64, 5, True, True, True, False],
        [2, 128, 5, True, False, False, True],
    ]
    attributes = {
        "stem": [8, 8],
        "stages": stages,
        "shifted_stage": 2,
        "hidden": 24,
        "dropout": 0.8,
        "classes": 6,
    }
    return network(s, "pp_lcnet", normal(s.rng, (2, 3, 4, 64, 96)), attributes)
