"""BNInception by its names and shapes."""

from tsm_ref.checkpoint.tensors.fitting import Network, Shapes, classes_of
from tsm_ref.errors import CheckpointError
from tsm_ref.models import build_bn_inception
from tsm_ref.profile import Profile, ShiftRule


def bn_inception(shapes: Shapes, profile: Profile) -> Network:
    """The network has one size; raises `CheckpointError` for a shift inside of its blocks."""
    if profile.placement == "blockres":
        raise CheckpointError(
            "a BNInception shifts in front of whole blocks (block): its blocks have no skip path, "
            "and MIT's code fails where a residual shift (blockres) is asked for"
        )
    rule = ShiftRule("none") if profile.placement == "none" else profile.shift
    first = shapes["conv1_7x7_s2.weight"]
    graph = build_bn_inception(
        num_classes=classes_of(shapes, "fc.weight"),
        shift=rule,
        in_channels=first[1] if len(first) == 4 else 3,
        name=f"{'tsn' if rule.rule == 'none' else 'tsm'}-bninception",
    )
    return Network(graph)
