"""What a testee says it implements: which neighbour in time, how many channels, which pixels.

Implementations of TSM differ and none is wrong. A profile writes down what one family does; a
testee is judged against the profile that it declares, never against somebody else's.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.errors import UsageError
from tsm_ref.reference import folds_mit, folds_online, folds_paddle

RULES = ("mit", "online", "paddle")
MAX_FOLD_DIV = 256
"""Every clip of the suite has a few times as many channels."""
CHOICES: Mapping[str, tuple[str, ...]] = {
    "rule": RULES,
    "fill": ("zero", "replicate", "circular"),
    "placement": ("blockres", "block"),
    "sampler": ("uniform", "twice", "val", "dense", "mmaction2", "paddle"),
    "resize": ("pil", "opencv"),
    "long_side": ("floor", "half_up", "four_thirds"),
    "crop_offset": ("round", "floor"),
    "channel_order": ("rgb", "bgr"),
    "average": ("logits", "probabilities"),
}


@dataclass(frozen=True)
class Profile:
    """One family's conventions; every field is told to a testee whose operation depends on it.

    ``rule`` and ``fold_div`` give the shift of every channel (`d`); ``every_block`` is True where
    deep networks are shifted in each block and not in every second one (Paddle).

    >>> PROFILES["mit"].d(6, fold_div=4), PROFILES["paddle"].d(6, fold_div=4)
    (array([-1,  1,  0,  0,  0,  0]), array([ 1, -1, -1,  0,  0,  0]))
    """

    name: str = "mit"
    rule: str = "mit"
    fold_div: int = 8
    fill: str = "zero"
    placement: str = "blockres"
    every_block: bool = False
    sampler: str = "uniform"
    resize: str = "pil"
    long_side: str = "floor"
    crop_offset: str = "round"
    channel_order: str = "rgb"
    scale: float = 1 / 255
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    average: str = "logits"

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            object.__setattr__(self, name, _per_colour(name, getattr(self, name)))
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise UsageError(
                    f"the profile field `{name}` (={getattr(self, name)!r}) must be one of "
                    f"{', '.join(allowed)}"
                )
        if type(self.fold_div) is not int or not 1 <= self.fold_div <= MAX_FOLD_DIV:
            raise UsageError(
                f"the profile field `fold_div` (={self.fold_div!r}) must be a whole number from 1 "
                f"to {MAX_FOLD_DIV}"
            )
        if type(self.every_block) is not bool:
            raise UsageError(
                f"the profile field `every_block` (={self.every_block!r}) must be true or false"
            )
        if not _is_number(self.scale) or not self.scale:
            raise UsageError(
                f"the profile field `scale` (={self.scale!r}) must be a number other than 0"
            )

    def d(self, channels: int, fold_div: int | None = None) -> NDArray[np.int64]:
        """The shift of each channel in frames: +1 reads the past, -1 the future."""
        div = self.fold_div if fold_div is None else fold_div
        if self.rule == "paddle":
            return folds_paddle(channels, 1 / div)
        return folds_online(channels, div) if self.rule == "online" else folds_mit(channels, div)

    @property
    def streaming(self) -> "Profile":
        """The causal profile that this family streams with: past in the first fold, zero start."""
        return replace(self, rule="online", fill="zero")

    def as_dict(self) -> dict[str, Any]:
        """The profile as plain values for JSON."""
        return asdict(self)


def _per_colour(name: str, value: Any) -> tuple[float, ...]:
    """Three numbers; a standard deviation divides, and is no zero."""
    three = isinstance(value, (list, tuple)) and len(value) == 3 and all(map(_is_number, value))
    if not three or (name == "std" and not all(value)):
        need = "three numbers" + (" other than 0" if name == "std" else "")
        raise UsageError(f"the profile field `{name}` (={value!r}) must be {need}")
    return tuple(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and type(value) is not bool and isfinite(value)


def profile_of(value: Any) -> Profile:
    """A profile from its name, or from an object with a known ``name`` and changed fields.

    Raises `UsageError` naming what is unknown.

    >>> profile_of({"name": "mit", "fold_div": 4}).fold_div
    4
    """
    if isinstance(value, Profile):
        return value
    given = {"name": value} if isinstance(value, str) else value
    known = {field.name for field in fields(Profile)}
    if not isinstance(given, Mapping) or given.get("name", "mit") not in tuple(PROFILES):
        raise UsageError(f"there is no profile {value!r}; known are {', '.join(PROFILES)}")
    unknown = sorted(set(given) - known)
    if unknown:
        raise UsageError(f"a profile has no field {unknown[0]!r}; known are {sorted(known)}")
    return replace(PROFILES[given.get("name", "mit")], **given)


PROFILES: Mapping[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile("mit"),
        Profile(
            "mmaction2",
            sampler="mmaction2",
            resize="opencv",
            long_side="half_up",
            crop_offset="floor",
            scale=1.0,
            mean=(123.675, 116.28, 103.53),
            std=(58.395, 57.12, 57.375),
            average="probabilities",
        ),
        Profile(
            "paddle", rule="paddle", every_block=True, sampler="paddle", long_side="four_thirds"
        ),
        Profile("mtts-can", fold_div=3),
        Profile("replicate", fold_div=3, fill="replicate"),
        Profile("circular", fill="circular"),
        Profile("online", rule="online", channel_order="bgr"),
        Profile("block", placement="block"),
    )
}
"""The conventions of the public implementations by name."""
