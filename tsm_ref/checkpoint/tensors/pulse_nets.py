"""Networks of a pulse by their names and shapes: TS-CAN and its kin, BigSmall."""

from typing import Any

from tsm_ref.checkpoint.tensors.fitting import Network, Shapes
from tsm_ref.errors import CheckpointError
from tsm_ref.models import build_big_small, build_efficient_phys, build_ts_can
from tsm_ref.models.big_small import HEADS
from tsm_ref.models.ts_can import dense_side
from tsm_ref.profile import Profile, ShiftRule

FRAME_SIZES = (36, 72, 96, 128, 64, 48)
"""The sizes of frames for which networks of a pulse are trained, the usual ones first."""


def pulse(shapes: Shapes, profile: Profile) -> Network:
    """TS-CAN, MTTS-CAN or EfficientPhys; the size of the frames from the dense layer.

    PyTorch's features of a frame have the channels first.
    """
    wide, narrow = (shapes.get(f"motion_conv{i}.weight", ())[:1] for i in (4, 1))
    hidden, features = (*shapes.get("dense1.weight", ()), 0, 0)[:2]
    filters = ((narrow or (32,))[0], (wide or (64,))[0])
    sizes = [size for size in FRAME_SIZES if filters[1] * dense_side(size) ** 2 == features]
    if not sizes:
        raise CheckpointError(
            f"the dense layer takes {features} numbers of a frame, which is no known size: known "
            f"are frames of {', '.join(map(str, FRAME_SIZES))} pixels"
        )
    rule = ShiftRule("none") if profile.placement == "none" else profile.shift
    common: dict[str, Any] = {"shift": rule, "filters": filters, "hidden": hidden, "size": sizes[0]}
    if "appearance_conv1.weight" not in shapes:
        return Network(build_efficient_phys(**common))
    heads = ("pulse", "respiration")[: 2 if "dense1_respiration.weight" in shapes else 1]
    name = "ts-can" if len(heads) == 1 else "mtts-can"
    return Network(build_ts_can(heads=heads, order="CHW", name=name, **common))


def big_small(shapes: Shapes, profile: Profile) -> Network:
    """BigSmall of any width; its heads and their numbers by the names of their last layers."""

    def rows(name: str, usual: int) -> int:
        return (*shapes.get(f"{name}.weight", ()), 0)[0] or usual

    numbers = {
        head: rows(f"dense2{suffix}", HEADS[head])
        for head, suffix in zip(HEADS, ("", "_respiration", "_action_units"), strict=True)
    }
    rule = ShiftRule("none") if profile.placement == "none" else profile.shift
    graph = build_big_small(
        heads=numbers,
        shift=rule,
        filters=(rows("small_conv1", 32), rows("small_conv4", 64)),
        hidden=rows("dense1", 128),
    )
    return Network(graph)
