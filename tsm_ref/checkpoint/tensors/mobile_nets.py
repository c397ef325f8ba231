"""Networks for phones by their names and shapes: MobileNetV2, MobileOne, PP-LCNetV2."""

from collections.abc import Iterable
from functools import partial

from tsm_ref.checkpoint.tensors.fitting import Network, Shapes, classes_of, one_place, stored
from tsm_ref.checkpoint.tensors.names import Translation
from tsm_ref.errors import CheckpointError
from tsm_ref.graph import Graph
from tsm_ref.models import (
    MOBILEONES,
    MobileOneSpec,
    build_mobilenet_v2,
    build_mobilenet_v3,
    build_mobileone,
    build_pp_lcnet,
)
from tsm_ref.models import mobilenet_v3 as v3
from tsm_ref.models.mobilenet_v3 import ROWS
from tsm_ref.models.mobileone import reparameterized
from tsm_ref.models.pp_lcnet import DEPTHS, FIXED
from tsm_ref.profile import Profile

WIDTHS = (1.0, 0.75, 0.5, 0.35, 0.25, 0.1, 1.25, 1.3, 1.4)
"""The width multipliers in which MobileNetV2 is published."""


def mobilenet_v2(shapes: Shapes, profile: Profile, found: Translation) -> Network:
    """The width whose shapes are those of the file, or the nearest by the first layer."""
    classes = classes_of(shapes, "classifier.weight", found.naming.turned)
    rule = one_place(profile, "a MobileNetV2 shifts inside its blocks")
    kind = "tsn" if rule.rule == "none" else "tsm"
    graphs = [
        build_mobilenet_v2(
            num_classes=classes,
            width=width,
            shift=rule,
            expand_first="features.1.conv.6.weight" in shapes,
            name=f"{kind}-mobilenetv2",
        )
        for width in WIDTHS
    ]
    return Network(_nearest(graphs, shapes))


def mobilenet_v3(shapes: Shapes, profile: Profile, found: Translation) -> Network:
    """Size and width by what fits best; the form by whose names they are."""
    rule = one_place(profile, "a MobileNetV3 shifts inside its blocks")
    kind = "tsn" if rule.rule == "none" else "tsm"
    form = found.naming.family.split()[0].removesuffix("Video").lower()
    graphs = [
        build_mobilenet_v3(
            size,
            num_classes=classes_of(shapes, "classifier.weight", found.naming.turned),
            width=width,
            form=form,
            shift=rule,
            name=f"{kind}-mobilenetv3-{size}",
        )
        for size in ROWS
        for width in WIDTHS
    ]
    graph = _nearest(graphs, shapes)
    fixed = {name: make for name, make in v3.FIXED.items() if name in graph.parameters}
    return Network(graph, fixed)


def _nearest(graphs: Iterable[Graph], shapes: Shapes) -> Graph:
    """The graph of which the fewest tensors are missing or have another shape."""

    def misses(graph: Graph) -> int:
        return sum(shapes.get(name) != stored(shape) for name, shape in graph.parameters.items())

    return min(graphs, key=misses)


def mobileone(shapes: Shapes, profile: Profile) -> Network:
    """The form that the names are of: trained with branches, or single convolutions."""
    counts = [
        len({name.split(".")[1] for name in shapes if name.startswith(f"stage{stage}.")}) // 2
        for stage in range(1, 5)
    ]

    def rows(block: str) -> int:
        names = (f"{block}.branch_{kind}.weight" for kind in ("reparam", "conv_list.0.conv"))
        return next((shapes[name][0] for name in names if shapes.get(name)), 1)

    spec = MobileOneSpec(
        channels=tuple(rows(f"stage{stage}.1") for stage in range(1, 5)),
        depths=tuple(counts),
        gated=tuple(
            sum(f"stage{stage}.{2 * i}.se.conv1.conv.weight" in shapes for i in range(count))
            for stage, count in enumerate(counts, start=1)
        ),
        stem=rows("stage0.0"),
    )
    lists = "stage1.0.branch_conv_list."
    branches = len({name.split(".")[3] for name in shapes if name.startswith(lists)})
    rule = one_place(profile, "a MobileOne shifts in front of its convolutions")
    kind = next((name for name, known in MOBILEONES.items() if known == spec), "mobileone")
    build = partial(
        build_mobileone,
        spec,
        num_classes=classes_of(shapes, "fc.weight"),
        shift=rule,
        name=f"{'tsn' if rule.rule == 'none' else 'tsm'}-{kind}",
    )
    single = build()
    return (
        Network(build(branches=branches), {}, (single, reparameterized))
        if branches
        else Network(single)
    )


def pp_lcnet(shapes: Shapes, profile: Profile) -> Network:
    """Width and features from the first and the last convolution, blocks from their names."""
    classes = classes_of(shapes, "fc.weight", turned=True)
    first, last = (shapes.get(f"{name}.weight", ())[:1] for name in ("stem.0.conv", "last_conv"))
    depths = [
        len({name.split(".")[2] for name in shapes if name.startswith(f"stages.{stage}.")})
        for stage in range(len(DEPTHS))
    ]
    frames, segments = shapes.get("attention.fc.bias", ())[:1], profile.sampling.segments
    if frames and frames[0] != segments:
        raise CheckpointError(
            f"the attention over time weighs {frames[0]} frames, and {segments} are sampled: give "
            f"a profile of {frames[0]} segments, or name the file ..._{frames[0]}f"
        )
    rule = one_place(profile, "a PP-LCNetV2 shifts in front of its third stage")
    try:
        graph = build_pp_lcnet(
            num_classes=classes,
            width=(first[0] if first else 32) / 32,
            depths=depths,
            hidden=last[0] if last else 1280,
            attention=frames[0] if frames else 0,
            shift=rule,
            name=f"{'tsn' if rule.rule == 'none' else 'tsm'}-pp-lcnet",
        )
    except ValueError as error:
        raise CheckpointError(f"the tensors make no PP-LCNetV2: {error}") from None
    return Network(graph, {name: FIXED[name] for name in graph.parameters if name in FIXED})
