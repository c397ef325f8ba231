"""What the cases about families of networks share: how one is registered, and how it is asked."""

from collections.abc import Mapping
from typing import Any

from conformance.catalogue._questions import composed
from conformance.catalogue.l3_networks import LOGITS, frames
from conformance.questions.arrays import Array
from conformance.questions.case import Problem, Register, Setting, case
from conformance.questions.families import Drawn

Clip = tuple[int, int, int, int]
"""N, T, H, W."""


def family(id: str, architecture: str, *, defect: str, **options: Any) -> Register:
    """A case about a network that is asked of those who say that they are it."""
    options = {"operation": "network", "formula": LOGITS} | options
    return case(
        f"L4.{id}", "SHOULD", defect=defect, architecture=architecture, costly=True, **options
    )


def network(
    s: Setting,
    architecture: str,
    clip: Clip | Array,
    attributes: Mapping[str, Any],
    more: Mapping[str, Array] | None = None,
) -> Problem:
    """A network of the attributes, with seeded weights, on a clip of these sizes."""
    x = frames(s, clip) if isinstance(clip, tuple) else clip
    told = {"architecture": architecture, "fold_div": s.conventions.fold_div, **attributes}
    return Problem((composed(s, "network", x, Drawn(s.rng), told, more=more),))
