"""L2: residual blocks: where the shift stands, what the skip path sees, which blocks have it."""

from typing import Any

from conformance.catalogue._questions import composed
from conformance.questions.case import Call, Problem, Question, Register, Setting, case
from conformance.questions.data import block_shapes, draw_weights, normal
from conformance.questions.judges import Bits
from conformance.questions.structure import Structure

BLOCK = "y = relu(skip(x) + bn(conv(... shift(x))))"
IN_PLACE = "blockres: skip(x); block: skip(shift(x))"


def block_case(id: str, *, defect: str, formula: str = BLOCK, **options: Any) -> Register:
    """A case about the operation `residual_block`."""
    architecture = "mobilenet_v2" if id.startswith("mobile") else "resnet"
    options = {"operation": "residual_block", "architecture": architecture} | options
    return case(f"L2.block.{id}", formula=formula, defect=defect, **options)


def block(
    s: Setting, kind: str, channels: int, planes: int, stride: int, T: int = 5, size: int = 6
) -> Problem:
    """One block with seeded weights on a clip of normal numbers."""
    weights = draw_weights(s.rng, block_shapes(kind, channels, planes, stride))
    x = normal(s.rng, (2, channels, T, size, size + 1))
    attributes = {
        "kind": kind,
        "stride": stride,
        "fold_div": s.conventions.fold_div,
        "placement": s.conventions.placement,
    }
    defaults = {"fold_div": s.conventions.fold_div, "placement": s.conventions.placement}
    return Problem((composed(s, "residual_block", x, weights, attributes, defaults=defaults),))


@block_case("basic", defect="the shift stands behind conv1, or the skip path is shifted")
def basic(s: Setting) -> Problem:
    """A basic block with an identity skip."""
    return block(s, "basic", 16, 16, 1)


@block_case("basic-downsample", defect="the downsampling convolution sees the shifted clip")
def basic_downsample(s: Setting) -> Problem:
    """The first block of a stage: stride 2, more channels, and a convolution in the skip path."""
    return block(s, "basic", 10, 14, 2)


@block_case("bottleneck", defect="the shift stands before conv2, as in other networks")
def bottleneck(s: Setting) -> Problem:
    """A bottleneck with an identity skip."""
    return block(s, "bottleneck", 24, 6, 1)


@block_case("bottleneck-downsample", defect="the stride is on conv1 (Caffe) instead of the 3x3")
def bottleneck_downsample(s: Setting) -> Problem:
    """A bottleneck with stride 2."""
    return block(s, "bottleneck", 18, 6, 2)


@block_case("one-frame", defect="a single frame is not shifted to zero, or the skip path is lost")
def one_frame(s: Setting) -> Problem:
    """T = 1: shifted channels vanish from the branch, and stay in the skip path."""
    return block(s, "basic", 17, 17, 1, T=1, size=5)


@block_case("mobile", defect="the shift is missing, or stands before the depthwise convolution")
def mobile(s: Setting) -> Problem:
    """An inverted residual with a skip path: shifted before its expanding convolution."""
    return block(s, "inverted_residual", 17, 17, 1)


@block_case("mobile-no-skip", defect="blocks without a skip path are shifted too")
def mobile_no_skip(s: Setting) -> Problem:
    """An inverted residual with stride 2, or with other outputs, is not shifted."""
    return Problem(
        block(s, "inverted_residual", 16, 16, 2).questions
        + block(s, "inverted_residual", 16, 12, 1).questions
    )


@case(
    "L2.placement.shifted-blocks",
    "SHOULD",
    operation="shifted_blocks",
    architecture="resnet",
    formula="block i is shifted when i % n_round == 0; n_round = 2 if layer3 has 23+ blocks",
    defect="deep networks are shifted in every block, or the count starts at 1",
)
def shifted_blocks(s: Setting) -> Problem:
    """Which blocks of ResNet-18, 50, 101 and 152 are shifted, as one row of 0 and 1 each."""
    rules = Structure()
    rules.conventions = s.conventions
    questions = []
    for blocks in ((2, 2, 2, 2), (3, 4, 6, 3), (3, 4, 23, 3), (3, 8, 36, 3)):
        row = rules.shifted_blocks(blocks, s.conventions.placement)
        attributes = {"blocks": list(blocks), "placement": s.conventions.placement}
        defaults = {"placement": s.conventions.placement}
        questions.append(Question(Call("shifted_blocks", {}, attributes, defaults), Bits(row)))
    return Problem(tuple(questions))
