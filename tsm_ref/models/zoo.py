"""The architectures by name, and one function that builds any of them."""

from collections.abc import Callable, Mapping
from typing import Any

from tsm_ref.errors import UsageError
from tsm_ref.graph import Graph
from tsm_ref.models.mobilenet_v2 import build_mobilenet_v2
from tsm_ref.models.resnet import RESNETS, ResNetSpec, build_resnet
from tsm_ref.models.ts_can import build_ts_can
from tsm_ref.profile import ShiftRule


def _resnet(spec: ResNetSpec) -> Callable[..., Graph]:
    def build(*, num_classes: int, placement: str, shift: ShiftRule, **options: Any) -> Graph:
        return build_resnet(
            spec, num_classes=num_classes, placement=placement, shift=shift, **options
        )

    return build


def _mobilenet_v2(*, num_classes: int, placement: str, shift: ShiftRule, **options: Any) -> Graph:
    if placement == "block":
        raise UsageError("a MobileNetV2 has the placements 'blockres' and 'none', not 'block'")
    rule = ShiftRule("none") if placement == "none" else shift
    return build_mobilenet_v2(num_classes=num_classes, shift=rule, **options)


def _ts_can(heads: tuple[str, ...]) -> Callable[..., Graph]:
    def build(*, num_classes: int, placement: str, shift: ShiftRule, **options: Any) -> Graph:
        return build_ts_can(heads=heads, shift=shift, **options)

    return build


ARCHITECTURES: Mapping[str, Callable[..., Graph]] = {
    **{name: _resnet(spec) for name, spec in RESNETS.items()},
    "mobilenetv2": _mobilenet_v2,
    "ts-can": _ts_can(("pulse",)),
    "mtts-can": _ts_can(("pulse", "respiration")),
}
"""Every architecture that `build_graph` and `tsm_ref.build` know."""


def build_graph(
    architecture: str, *, num_classes: int, placement: str, shift: ShiftRule, **options: Any
) -> Graph:
    """The graph of an architecture by name; `options` go to its builder (``width``, ``hidden``).

    Raises `UsageError` for an unknown name, listing the known ones.
    """
    if architecture not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise UsageError(f"there is no architecture {architecture!r}; known are {known}")
    prefix = "tsn" if placement == "none" and architecture.startswith(("res", "mob")) else "tsm"
    name = architecture if "ts-can" in architecture else f"{prefix}-{architecture}"
    return ARCHITECTURES[architecture](
        num_classes=num_classes, placement=placement, shift=shift, name=name, **options
    )
