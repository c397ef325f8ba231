"""L4: the published architectures at full width, within the propagated bound, and in order."""

from conformance.catalogue import l3_networks as small
from conformance.questions.case import Problem, Register, Setting, case

STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
          (6, 160, 3, 2), (6, 320, 1, 1))  # fmt: skip
MOBILENET_V2 = tuple(
    (expansion, channels, stride if i == 0 else 1)
    for expansion, channels, count, stride in STAGES
    for i in range(count)
)
"""Expansion, output channels and stride of the 17 blocks (Sandler et al. 2018, table 2)."""


def full(id: str, architecture: str, requirement: str = "MUST", *, defect: str) -> Register:
    """A costly case about the operation `network`."""
    return case(
        f"L4.{id}",
        requirement,
        operation="network",
        formula=small.LOGITS,
        defect=defect,
        costly=True,
        architecture=architecture,
    )


@full("resnet50", "resnet", defect="an error that only shows through 16 shifted blocks")
def resnet50(s: Setting) -> Problem:
    """TSM-ResNet-50 with 27 classes on a clip of 3 frames of 64x48 pixels."""
    clip = (1, 3, 64, 48)
    return small.resnet(s, "bottleneck", (3, 4, 6, 3), 64, clip=clip, stem_kernel=7, classes=27)


@full(
    "mobilenet-v2", "mobilenet_v2", "SHOULD", defect="one of the ten shifts stands in a wrong block"
)
def mobilenet_v2(s: Setting) -> Problem:
    """TSM-MobileNetV2 with 27 classes on a clip of 4 frames of 64x80 pixels."""
    return small.mobilenet(s, 32, MOBILENET_V2, 1280, clip=(1, 4, 64, 80), classes=27)


@full("ts-can", "ts_can", "SHOULD", defect="the wiring of the two branches at full width")
def ts_can(s: Setting) -> Problem:
    """TS-CAN with 32 and 64 filters on a clip of 5 frames."""
    return small.ts_can(s, (32, 64), 128, N=1, T=5)
