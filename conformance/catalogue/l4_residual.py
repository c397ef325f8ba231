"""L4: residual networks with more than shifts, narrow ones of every kind that there is."""

from typing import Any

from conformance.catalogue._families import Clip, family, network
from conformance.questions.arrays import Array
from conformance.questions.case import Problem, Setting
from conformance.questions.data import normal

RELATIONS = ((0, 1, 2, 3), (0, 1, 2), (0, 2, 3), (1, 2, 3), (0, 1), (0, 3), (1, 3))
"""All frames, and three tuples of each number down to two: TRN's multi-scale head for 4 frames."""

SHORT: dict[str, Any] = {"block": "basic", "blocks": (1, 1), "width": 8}
"""Two blocks of two convolutions."""


def residual(
    s: Setting,
    architecture: str,
    *,
    clip: Clip | Array = (2, 5, 40, 48),
    block: str = "bottleneck",
    blocks: tuple[int, ...] = (1, 2),
    width: int = 4,
    **more: Any,
) -> Problem:
    """A narrow residual network with a stem of 7x7 and a pool."""
    attributes = {
        "block": block,
        "blocks": list(blocks),
        "width": width,
        "classes": 6,
        "shifted": True,
        "placement": s.conventions.placement,
        **more,
    }
    return network(s, architecture, clip, attributes)


@family(
    "non-local",
    "resnet_nl",
    formula="z = x + norm(W softmax(theta^T phi) g)",
    defect="attention is scaled by the square root of its width, or sees single frames",
)
def non_local(s: Setting) -> Problem:
    """A ResNet with a non-local block behind every second block of its later stages."""
    places = ["layer2.0", "layer3.0"]
    mode: dict[str, Any] = {"non_local": places, "mode": "embedded_gaussian"}
    return residual(s, "resnet_nl", block="basic", blocks=(1, 2, 1), width=8, **mode)


@family(
    "temporal-pool",
    "resnet_tpool",
    formula="y[t] = max(x[2t - 1], x[2t], x[2t + 1]) in front of the second stage",
    defect="frames are averaged, or every second one is dropped",
)
def temporal_pool(s: Setting) -> Problem:
    """A ResNet whose later stages see half of the frames."""
    return residual(s, "resnet_tpool", clip=(2, 6, 40, 48), temporal_pool=True)


@family(
    "resnet-vd",
    "resnet_vd",
    defect="the skip path strides where it should pool, or ReLU is no leaky one",
)
def resnet_vd(s: Setting) -> Problem:
    """The ResNet-vd of ppTSM: three convolutions as stem, pools in skip paths, leaky ReLU."""
    form: dict[str, Any] = {"deep_stem": True, "pool_shortcut": True, "slope": 0.01}
    return residual(s, "resnet_vd", clip=(2, 5, 36, 44), width=8, **form)


@family("resnext", "resnext", defect="groups are ignored, or their channels are interleaved")
def resnext(s: Setting) -> Problem:
    """A ResNeXt: the middle of a bottleneck is twice as wide, and in groups."""
    return residual(s, "resnext", groups=4, inner=2)


@family(
    "optical-flow",
    "resnet_flow",
    defect="horizontal and vertical motion change places, or frames are taken for colours",
)
def optical_flow(s: Setting) -> Problem:
    """A ResNet of optical flow: ten channels, five pairs of horizontal and vertical motion."""
    clip = normal(s.rng, (2, 10, 4, 40, 48))
    return residual(s, "resnet_flow", clip=clip, **SHORT)


@family(
    "spatial-shift",
    "resnet_cross",
    formula="out[c, h, w] = x[c, h - dh[c], w - dw[c]] behind the temporal shift",
    defect="rows and columns change places, or the skip path is shifted too",
)
def spatial_shift(s: Setting) -> Problem:
    """A ResNet with the two-dimensional extension: a cross of channels behind each shift."""
    return residual(s, "resnet_cross", spatial_shift=4)


@family(
    "trn",
    "resnet_trn",
    formula="sum over tuples of h_k(relu(g_k(relu(features of k frames))))",
    defect="frames of a tuple stand in another order, or channels are interleaved with frames",
)
def trn(s: Setting) -> Problem:
    """TRN: what is said of tuples of frames instead of an average, behind a ResNet."""
    head: dict[str, Any] = {
        "relations": [list(r) for r in RELATIONS],
        "hidden": 12,
        "bottleneck": 10,
    }
    clip = normal(s.rng, (2, 3, 4, 40, 48))
    return residual(s, "resnet_trn", clip=clip, shifted=False, **SHORT, **head)
