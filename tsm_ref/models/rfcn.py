"""R-FCN (Dai et al. 2016) with a TSM as its backbone: the online detector of the paper.

Everything in it is convolutional, so one graph gives all maps of a frame; what makes boxes of them
is `tsm_ref.reference.detection`. The shift of the backbone is causal: a frame needs none behind it.
"""

from typing import NamedTuple

from tsm_ref.graph import Graph
from tsm_ref.models.builder import Builder
from tsm_ref.models.resnet import ResNetSpec, n_round, residual_block, stem
from tsm_ref.profile import ShiftRule

ANCHORS = 9
"""Anchors at each place: three scales of three ratios."""
STRIDE = 16
"""Pixels of the picture from one place of a map to the next."""


class Maps(NamedTuple):
    """The outputs by what they are, each (N, channels, T, H / 16, W / 16), rounded up.

    ``objectness`` has the background of every anchor and then the object of every anchor,
    ``offsets`` the four of the first anchor, of the second and so on; ``scores`` has for each
    class, the background first, bins x bins maps, row by row; ``boxes`` as many for each of four
    offsets, which are those of all classes.
    """

    objectness: str = "objectness"
    offsets: str = "offsets"
    scores: str = "score_maps"
    boxes: str = "box_maps"


MAPS = Maps()


def build_rfcn(
    spec: ResNetSpec,
    *,
    num_classes: int,
    shift: ShiftRule | None = None,
    proposal: int = 512,
    reduced: int = 1024,
    bins: int = 7,
    name: str = "rfcn",
) -> Graph:
    """R-FCN over ``x`` of shape (N, 3, T, H, W), with the outputs `MAPS`.

    Proposals come of the fourth stage (conv4): a 3x3 convolution to ``proposal`` channels, and two
    1x1. The fifth keeps its pixels, with dilated 3x3 instead of a stride, and is ``reduced`` by a
    1x1 in front of the maps of ``bins`` x ``bins`` positions. ``num_classes`` does not count the
    background. Sources: Dai et al. 2016, sections 2 and 3; Ren et al. 2015, section 3.1; Lin, Gan,
    Han 2019, section 5.

    >>> from tsm_ref.models.resnet import RESNETS
    >>> graph = build_rfcn(RESNETS["resnet101"], num_classes=30)
    >>> graph.shapes({"x": (1, 3, 1, 600, 1000)})["score_maps"]
    (1, 1519, 1, 38, 63)
    """
    if min(proposal, reduced, bins) < 1:
        raise ValueError(
            f"`proposal` (={proposal}), `reduced` (={reduced}) and `bins` (={bins}) must be 1 or "
            "more"
        )
    b = Builder(name, epsilon=spec.epsilon)
    x = stem(b, b.input("x", ("N", 3, "T", "H", "W")), spec)
    rule = ShiftRule("online") if shift is None else shift
    *stages, last = range(len(spec.blocks))
    for stage in stages:
        x = _stage(b, x, stage, spec, rule)
    y = b.relu(b.conv(x, "rpn", proposal, kernel=3, padding=1, bias=True), "rpn.relu")
    b.conv(y, MAPS.objectness, 2 * ANCHORS, kernel=1, bias=True)
    b.conv(y, MAPS.offsets, 4 * ANCHORS, kernel=1, bias=True)
    x = _stage(b, x, last, spec, rule, dilation=2)
    x = b.relu(b.conv(x, "reduce", reduced, kernel=1, bias=True), "reduce.relu")
    b.conv(x, MAPS.scores, (num_classes + 1) * bins**2, kernel=1, bias=True)
    b.conv(x, MAPS.boxes, 4 * bins**2, kernel=1, bias=True)
    return b.graph(MAPS)


def _stage(
    b: Builder, x: str, stage: int, spec: ResNetSpec, rule: ShiftRule, dilation: int = 1
) -> str:
    """The blocks of a stage; a dilated one has no stride, and its 3x3 see as far as with one."""
    every = n_round(spec.blocks)
    for i in range(spec.blocks[stage]):
        x = residual_block(
            b,
            x,
            f"layer{stage + 1}.{i}",
            spec.width * 2**stage,
            spec.strides[stage] if i == 0 and dilation == 1 else 1,
            spec=spec,
            placement="blockres",
            shift=rule if i % every == 0 else ShiftRule("none"),
            dilation=dilation,
        )
    return x
