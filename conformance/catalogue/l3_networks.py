"""L3: small whole networks with seeded weights, within the bound propagated through them."""

from typing import Any

import numpy as np

from conformance.catalogue._questions import composed
from conformance.questions.arrays import Array
from conformance.questions.case import Problem, Register, Setting, case
from conformance.questions.data import (
    draw_weights,
    mobilenet_shapes,
    normal,
    resnet_shapes,
    ts_can_shapes,
)

LOGITS = "logits = mean over t of fc(mean over h, w of blocks(stem(x)))"
MOBILE = ((1, 8, 1), (3, 16, 2), (3, 16, 1), (2, 24, 2), (2, 24, 1), (2, 24, 1), (3, 17, 1))


def network_case(id: str, requirement: str = "MUST", **options: Any) -> Register:
    """A case about the operation `network`."""
    options = {"operation": "network", "formula": LOGITS, "architecture": "resnet"} | options
    return case(f"L3.network.{id}", requirement, **options)


def resnet(
    s: Setting,
    block: str,
    blocks: tuple[int, ...],
    width: int,
    *,
    clip: tuple[int, int, int, int] = (2, 5, 16, 14),
    stem_kernel: int = 3,
    shifted: bool = True,
    classes: int = 6,
    operation: str = "network",
) -> Problem:
    """A residual network; `clip` is (N, T, H, W)."""
    shapes = resnet_shapes(block, blocks, width, classes, stem_kernel)
    attributes = {
        "architecture": "resnet",
        "block": block,
        "blocks": list(blocks),
        "width": width,
        "stem_kernel": stem_kernel,
        "stem_pool": stem_kernel == 7,
        "classes": classes,
        "shifted": shifted,
        "fold_div": s.conventions.fold_div,
        "placement": s.conventions.placement,
    }
    return ask(s, shapes, attributes, frames(s, clip), operation)


def mobilenet(
    s: Setting,
    first: int,
    blocks: tuple[tuple[int, int, int], ...],
    last: int,
    *,
    width: float = 0.0,
    clip: tuple[int, int, int, int] = (2, 5, 18, 22),
    classes: int = 5,
    operation: str = "network",
) -> Problem:
    """A MobileNetV2; a block is (expansion, output channels, stride)."""
    attributes = {
        "architecture": "mobilenet_v2",
        "expansions": [b[0] for b in blocks],
        "channels": [first, *(b[1] for b in blocks), last],
        "strides": [b[2] for b in blocks],
        "classes": classes,
        "fold_div": s.conventions.fold_div,
    }
    shapes = mobilenet_shapes(first, blocks, last, classes)
    return ask(s, shapes, attributes, frames(s, clip), operation)


def ts_can(s: Setting, filters: tuple[int, int], hidden: int, N: int = 2, T: int = 4) -> Problem:
    """A TS-CAN on 36x36 pictures; one appearance frame per motion frame."""
    shapes = ts_can_shapes(filters, hidden)
    attributes = {
        "architecture": "ts_can",
        "filters": list(filters),
        "hidden": hidden,
        "fold_div": s.conventions.fold_div,
        "flatten": s.conventions.flatten,
    }
    more = {"appearance": normal(s.rng, (N, 3, T, 36, 36))}
    return ask(s, shapes, attributes, frames(s, (N, T, 36, 36)), "network", more)


def any_network(s: Setting, clip: tuple[int, int, int, int], operation: str = "network") -> Problem:
    """A small network of the architecture that the testee is, on a clip (N, T, H, W)."""
    if s.architecture == "mobilenet_v2":
        return mobilenet(s, 8, MOBILE, 32, clip=clip, operation=operation)
    return resnet(s, "basic", (1, 1), 12, clip=clip, operation=operation)


def ask(
    s: Setting,
    shapes: dict[str, tuple[int, ...]],
    attributes: dict[str, Any],
    x: Array,
    operation: str = "network",
    more: dict[str, Array] | None = None,
) -> Problem:
    """A network of these weights on a clip."""
    weights = draw_weights(s.rng, shapes)
    return Problem((composed(s, operation, x, weights, attributes, more=more),))


def frames(s: Setting, clip: tuple[int, int, int, int]) -> Array:
    """A clip that changes from frame to frame: (N, T, H, W) -> (N, 3, T, H, W).

    It has the sizes that a testee is made for, except for one frame, which is a question of its
    own.
    """
    n, t, h, w = clip
    t = s.size("frames", t) if t > 1 else t
    h, w = s.size("height", h), s.size("width", w)
    moving = np.cumsum(normal(s.rng, (n, 3, t, h, w)), axis=2, dtype=np.float64)
    return np.asarray(moving / np.sqrt(np.arange(1, t + 1))[:, None, None], np.float32)


@network_case("basic", defect="errors of shift, block and head that cancel in one layer")
def basic(s: Setting) -> Problem:
    """A small ResNet of basic blocks."""
    return resnet(s, "basic", (2, 1), 12)


@network_case("bottleneck", defect="stages are wired in a wrong order, or strides misplaced")
def bottleneck(s: Setting) -> Problem:
    """A small ResNet of bottlenecks in three stages."""
    return resnet(s, "bottleneck", (1, 2, 1), 6)


@network_case("stem", defect="the stem pools without padding, or pads on one side")
def stem(s: Setting) -> Problem:
    """The 7x7 stem with its max pool in front of one stage, on an odd picture."""
    return resnet(s, "basic", (1, 1), 10, clip=(2, 4, 25, 30), stem_kernel=7)


@network_case("deep", defect="n_round is ignored: a third stage of 23 blocks is shifted in each")
def deep(s: Setting) -> Problem:
    """A third stage of 23 blocks, as in ResNet-101, of which every second is shifted."""
    return resnet(s, "basic", (1, 1, 23), 3, clip=(1, 6, 8, 8))


@network_case("unshifted", "SHOULD", defect="a network without shifts (TSN) is shifted")
def unshifted(s: Setting) -> Problem:
    """The same network without a shift, which is TSN."""
    return resnet(s, "basic", (1, 1), 12, shifted=False)


@network_case(
    "mobilenet",
    "SHOULD",
    architecture="mobilenet_v2",
    defect="the wrong blocks are shifted, or ReLU6 is a ReLU",
)
def mobilenet_small(s: Setting) -> Problem:
    """A small MobileNetV2 with three blocks that are shifted and four that are not."""
    return mobilenet(s, 8, MOBILE, 32)


@network_case(
    "ts-can",
    "SHOULD",
    architecture="ts_can",
    formula="pulse = dense(tanh(dense(flatten(gated motion branch))))",
    defect="the mask is not normalised, or the picture is flattened channels first",
)
def ts_can_small(s: Setting) -> Problem:
    """A small TS-CAN with both branches."""
    return ts_can(s, (6, 9), 8)


@network_case("one-frame", architecture="network", defect="a network cannot run on one frame")
def one_frame(s: Setting) -> Problem:
    """T = 1."""
    return any_network(s, (3, 1, 16, 18))


@network_case(
    "frame-logits",
    "SHOULD",
    operation="frame_logits",
    architecture="network",
    formula="logits[n, k, t] = fc(mean over h, w of blocks(stem(x)))[n, k, t]",
    defect="logits per frame are in a wrong order of clips and frames",
)
def frame_logits(s: Setting) -> Problem:
    """The logits of every frame, before the consensus."""
    return any_network(s, (2, 5, 16, 18), "frame_logits")
