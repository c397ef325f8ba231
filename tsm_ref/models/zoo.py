"""The architectures by name, and one function that builds any of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial, wraps
from inspect import signature
from typing import Any

from tsm_ref.errors import UsageError
from tsm_ref.graph import Graph
from tsm_ref.models.big_small import build_big_small
from tsm_ref.models.bn_inception import build_bn_inception
from tsm_ref.models.c3d import build_c3d
from tsm_ref.models.eco import build_eco_lite
from tsm_ref.models.mobilenet_v2 import build_mobilenet_v2
from tsm_ref.models.mobilenet_v3 import ROWS, build_mobilenet_v3
from tsm_ref.models.mobileone import MOBILEONES, build_mobileone
from tsm_ref.models.p3d import P3DS, build_p3d
from tsm_ref.models.pp_lcnet import build_pp_lcnet
from tsm_ref.models.resnet import RESNETS, build_resnet
from tsm_ref.models.resnet_3d import CLIP_RESNETS, build_clip_resnet, build_i3d
from tsm_ref.models.rfcn import build_rfcn
from tsm_ref.models.s3d import build_s3d
from tsm_ref.models.ts_can import build_efficient_phys, build_ts_can
from tsm_ref.profile import ShiftRule


@dataclass(frozen=True)
class Architecture:
    """One family: its builder, where its shifts may stand, whose conventions it follows.

    ``profile`` is a name of `tsm_ref.profile.PROFILES`; ``classifies`` tells whether it has
    classes, and ``classes`` how many unless told; ``clip`` are the frames and the pixels of its
    published clips, where they are others than the profile's. The builder takes ``shift`` and
    ``name``, and ``num_classes`` where it classifies.
    """

    build: Callable[..., Graph]
    placements: tuple[str, ...] = ("blockres", "none")
    profile: str = "mit"
    classifies: bool = True
    classes: int = 400
    clip: tuple[int, int] | None = None

    @property
    def shifts(self) -> bool:
        """Whether there is a place for a shift in it: networks that convolve in time have none."""
        return self.placements != ("none",)


def _unplaced(build: Callable[..., Graph]) -> Callable[..., Graph]:
    """A builder of a family with one place for its shifts: without them its rule is none."""

    @wraps(build)  # the options are those of the builder
    def call(*, placement: str, shift: ShiftRule, **options: Any) -> Graph:
        return build(shift=ShiftRule("none") if placement == "none" else shift, **options)

    return call


_PLACES = ("blockres", "block", "none")


def _convolving(build: Callable[..., Graph], frames: int, size: int) -> Architecture:
    """A network that convolves in time, where others shift."""

    def call(*, placement: str, shift: ShiftRule, **options: Any) -> Graph:
        return build(**options)

    return Architecture(call, ("none",), profile="tsn", clip=(frames, size))


def _pulse(*heads: str) -> Architecture:
    return Architecture(
        _unplaced(partial(build_ts_can, heads=heads)), profile="mtts-can", classifies=False
    )


def _changed(name: str, **options: Any) -> Architecture:
    """A residual network with an option that makes another one of it."""
    return Architecture(partial(build_resnet, RESNETS[name], **options), _PLACES)


ARCHITECTURES: Mapping[str, Architecture] = {
    **{
        name: Architecture(
            partial(build_resnet, spec),
            _PLACES,
            profile="paddle" if name.endswith("-vd") else "mit",
        )
        for name, spec in RESNETS.items()
    },
    "resnet50-nl": _changed("resnet50", non_local="embedded_gaussian"),
    "resnet50-tpool": _changed("resnet50", temporal_pool=True),
    "bninception": Architecture(_unplaced(build_bn_inception), ("block", "none")),
    "mobilenetv2": Architecture(_unplaced(build_mobilenet_v2)),
    **{
        f"mobilenetv3-{size}": Architecture(_unplaced(partial(build_mobilenet_v3, size)))
        for size in ROWS
    },
    "pptsm-mobilenetv2": Architecture(
        _unplaced(partial(build_mobilenet_v2, expand_first=True)), profile="paddle"
    ),
    "pptsm-mobilenetv3": Architecture(
        _unplaced(partial(build_mobilenet_v3, form="paddle")), profile="paddle"
    ),
    **{
        name: Architecture(_unplaced(partial(build_mobileone, spec)), profile="mmaction2")
        for name, spec in MOBILEONES.items()
    },
    "pp-lcnet": Architecture(_unplaced(build_pp_lcnet), profile="paddle"),
    **{
        f"rfcn_{name}": Architecture(
            _unplaced(partial(build_rfcn, RESNETS[name])), profile="rfcn", classes=30
        )
        for name in ("resnet18", "resnet50", "resnet101")
    },
    "c3d": _convolving(build_c3d, 16, 112),
    **{
        name: _convolving(partial(build_clip_resnet, spec), 32 if "34" in name else 16, 112)
        for name, spec in CLIP_RESNETS.items()
    },
    **{name: _convolving(partial(build_p3d, blocks), 16, 160) for name, blocks in P3DS.items()},
    "i3d-resnet50": _convolving(build_i3d, 32, 224),
    "s3d": _convolving(build_s3d, 16, 224),
    "eco-lite": _convolving(build_eco_lite, 16, 224),
    "ts-can": _pulse("pulse"),
    "mtts-can": _pulse("pulse", "respiration"),
    "efficient-phys": Architecture(
        _unplaced(build_efficient_phys), profile="mtts-can", classifies=False
    ),
    "big-small": Architecture(_unplaced(build_big_small), profile="big-small", classifies=False),
}
"""Every architecture that `build_graph` and `tsm_ref.build` know."""


def architecture_named(name: str) -> Architecture:
    """An architecture by name; raises `UsageError` for an unknown one, with the known ones."""
    if name not in ARCHITECTURES:
        nearest = f"the nearest is {near}; " if (near := _nearest(name)) else ""
        known = ", ".join(ARCHITECTURES)
        raise UsageError(f"there is no architecture {name!r}; {nearest}known are {known}")
    return ARCHITECTURES[name]


def _nearest(name: str) -> str | None:
    """The known name that is meant: in other letters, cut short, or mistyped."""
    small = str(name).casefold()
    begun = [known for known in ARCHITECTURES if small and known.startswith(small)]
    near = begun or get_close_matches(small, ARCHITECTURES, 1, cutoff=0.7)
    return near[0] if near else None


def options_of(architecture: str) -> dict[str, Any]:
    """The options of one architecture alone, by name, with what they are unless given.

    >>> options_of("mobilenetv2")["width"]
    1.0
    """
    known = signature(architecture_named(architecture).build).parameters.values()
    common = ("shift", "placement", "name", "num_classes")
    return {
        each.name: each.default
        for each in known
        if each.kind is each.KEYWORD_ONLY and each.name not in common
    }


def check_options(architecture: str, given: Mapping[str, Any]) -> None:
    """Raise `UsageError` for an option that an architecture has not, or of another kind."""
    known = options_of(architecture)
    for name, value in given.items():
        if name not in known:
            more = f"; beside those of all, it has {', '.join(known)}" if known else ""
            raise UsageError(f"cannot build {architecture!r}: it has no option {name!r}{more}")
        if wanted := _wanted(known[name], value):
            what = f"`{name}` (={value!r})"
            raise UsageError(f"cannot build {architecture!r}: {what} must be {wanted}")


def _wanted(default: Any, value: Any) -> str:
    """Return what an option with such a default must be; empty where the value is that."""
    if isinstance(default, bool):
        return "" if isinstance(value, bool) else "True or False"
    kept = f"(it is {default} unless given)"
    if isinstance(default, int):
        least = min(default, 1)
        fits = type(value) is int and least <= value < 2**31
        return "" if fits else f"a whole number from {least} to {2**31 - 1} {kept}"
    if isinstance(default, float):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return "" if number and 0 <= value < float("inf") else f"a number from 0 {kept}"
    if isinstance(default, tuple):
        return "" if _alike(default, value) else f"{_sequence_like(default)} {kept}"
    return ""


def _alike(default: tuple[Any, ...], value: Any) -> bool:
    """Whether a value is a sequence such as an option is unless given: of sizes, or of names."""
    if not isinstance(value, tuple | list):
        return False
    if isinstance(default[0], str):
        return bool(value) and all(isinstance(name, str) and name.strip() for name in value)
    sizes = all(type(size) is int and 1 <= size < 2**31 for size in value)
    return sizes and len(value) == len(default)


def _sequence_like(default: tuple[Any, ...]) -> str:
    kind = "names" if isinstance(default[0], str) else f"{len(default)} whole numbers from 1"
    return f"a sequence of {kind}"


def build_graph(
    architecture: str,
    *,
    placement: str,
    shift: ShiftRule,
    num_classes: int | None = None,
    **options: Any,
) -> Graph:
    """The graph of an architecture by name; `options` go to its builder (``width``, ``hidden``).

    Raises `UsageError` for an unknown name, a placement that the family does not have, and
    ``num_classes`` where there are no classes, or not where there are, and a fold that no layer is
    wide enough for.

    >>> build_graph("mobilenetv2", num_classes=27, placement="none", shift=ShiftRule()).name
    'tsn-mobilenetv2'
    """
    family = architecture_named(architecture)
    if placement not in family.placements:
        raise UsageError(
            f"{architecture} has the placements {', '.join(family.placements)}, not {placement!r}"
        )
    if (num_classes is not None) != family.classifies:
        has = "needs `num_classes`" if family.classifies else "has no classes to number"
        raise UsageError(f"{architecture} {has}")
    name = architecture
    if family.classifies and family.shifts:
        name = f"{'tsn' if placement == 'none' else 'tsm'}-{architecture}"
    if family.classifies:
        options["num_classes"] = num_classes
    graph = family.build(placement=placement, shift=shift, name=name, **options)
    _check_moved(graph, family.shifts and placement != "none", shift, options)
    return graph


def _check_moved(graph: Graph, shifts: bool, shift: ShiftRule, options: Mapping[str, Any]) -> None:
    """Raise `UsageError` where every fold is empty: the network would not see time, or space."""
    ops = {node.op for node in graph.nodes}
    asked = {"SpatialShift": options.get("spatial_shift", 0)}
    if shifts and shift.rule != "none":
        asked["TemporalShift"] = shift.divisor
    for op, parts in asked.items():
        if parts and op not in ops:
            name = "fold_div" if op == "TemporalShift" else "spatial_shift"
            raise UsageError(
                f"`{name}` (={parts}) is more than any layer has channels: nothing would be shifted"
            )
