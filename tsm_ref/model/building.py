"""A model of an architecture by name, with random, seeded weights."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from tsm_ref.errors import GraphError, UsageError
from tsm_ref.model.model import Model
from tsm_ref.models import architecture_named, build_graph, check_options, random_weights
from tsm_ref.passes.features import with_heads
from tsm_ref.passes.relations import with_relations
from tsm_ref.profile import PROFILES, Sampling, ShiftRule

__all__ = ["build"]

HEADS = ("mean", "trn")
"""What `build` can make of the frames of a clip."""
MOST = 2**31 - 1
"""The most classes, parameters or seeds that `build` accepts."""


def build(
    architecture: str,
    *,
    num_classes: int | Mapping[str, int] | None = None,
    segments: int | None = None,
    placement: str | None = None,
    causal: bool = False,
    fold_div: int | None = None,
    fill: str | None = None,
    frame_depth: int | None = None,
    head: str = "mean",
    seed: int = 0,
    engine: str = "auto",
    threads: int = 1,
    precision: str = "float32",
    **options: Any,
) -> Model:
    """A model of random, seeded weights with sane batch-norm statistics.

    ``architecture`` is a name of `tsm_ref.models.ARCHITECTURES`; ``num_classes`` defaults to 400,
    those of a detector to 30, ``segments`` to 8 frames and ``fold_div`` to 8 (none, 20 and 3 for
    TS-CAN; none, 3 and 3 for BigSmall). ``fill`` is the family's, circular for BigSmall and zero
    for all others.
    ``frame_depth`` are the frames within which the networks of a pulse shift: all, unless given.
    ``placement`` is "blockres" unless given, or "none" for networks that convolve in time (C3D,
    I3D, R(2+1)D, P3D, S3D, ECO-Lite), which have nothing to shift, and clips of their own length
    and size.
    ``head`` is "mean", TSN's average of the logits over time, or "trn", the multi-scale relations
    of TRN (`tsm_ref.passes.relations`), for clips of ``segments`` frames.
    ``options`` go to the architecture, such as ``width`` of MobileNetV2. A mapping of names to
    numbers of classes makes several heads, such as ``num_classes={"verb": 97, "noun": 300}``.

    Raises `UsageError` for an unknown architecture or an option that cannot be.

    >>> build("resnet18", num_classes=5, engine="numpy").graph.parameter_count
    11179077
    """
    family = architecture_named(architecture)
    check_options(architecture, options)
    base = PROFILES[family.profile]
    placement = family.placements[0] if placement is None else placement
    if num_classes is None and family.classifies:
        num_classes = family.classes
    heads = dict(num_classes) if isinstance(num_classes, Mapping) else {}
    counts = [("num_classes", classes, 1) for classes in (heads.values() or [num_classes])]
    for name, value, least in (*counts, ("seed", seed, 0)):
        if value is not None and (type(value) is not int or not least <= value <= MOST):
            raise UsageError(f"`{name}` (={value!r}) must be a whole number of {least} to {MOST}")
    if head not in HEADS or (head != "mean" and (heads or not family.classifies)):
        raise UsageError(
            f'`head` (={head!r}) must be one of {", ".join(HEADS)}, and "trn" is for one head of '
            "classes"
        )
    if not family.shifts and (causal or fold_div or fill or frame_depth):
        raise UsageError(f"{architecture} convolves in time: there is no shift to be set")
    frames, size = family.clip or (base.sampling.segments, None)
    segments = frames if segments is None else segments
    placement = placement or family.placements[0]
    spec = base.preprocess
    if options.get("in_channels") == 10:
        flow = PROFILES["mit-flow"].preprocess
        spec = replace(spec, mean=flow.mean, std=flow.std)
    if size is not None:
        spec = replace(spec, short_side=size * 8 // 7, crop=(size, size))
    try:
        shift = ShiftRule(
            "online" if causal else base.shift.rule,
            base.shift.divisor if fold_div is None else fold_div,
            base.shift.fill if fill is None else fill,
            (frame_depth or segments) if base.shift.segment and not causal else 0,
        )
        profile = base.with_changes(
            family="tsm_ref",
            shift=shift,
            placement=placement,
            sampling=Sampling("uniform", segments),
            preprocess=spec,
        )
        count = 1 if isinstance(num_classes, Mapping) else num_classes
        graph = build_graph(
            architecture, num_classes=count, placement=placement, shift=shift, **options
        )
        graph = with_heads(graph, heads) if heads else graph
        if head == "trn":
            graph = with_relations(graph, segments, int(count or 0))
    except (ValueError, TypeError, GraphError) as error:
        said = str(error).replace("`divisor`", "`fold_div`")
        raise UsageError(f"cannot build {architecture!r}: {said}") from None
    if graph.parameter_count > MOST:
        raise UsageError(f"{graph.parameter_count:,} parameters were asked for; at most {MOST:,}")
    how: dict[str, Any] = {"engine": engine, "threads": threads, "precision": precision}
    return Model(graph, partial(random_weights, graph, seed), profile, **how)
