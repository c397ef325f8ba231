"""What a testee says it implements: which neighbour in time, how many channels, which pixels.

Implementations of TSM differ and none is wrong. `Conventions` are free fields that say what one
implementation does; a testee is judged against those that it declares, never against somebody
else's. The presets are shorthands for the public families, and every field may differ from them.

`tsm_ref.profile` says the same of checkpoints, and is not used on purpose: our own engines are
judged here, and a mistake in what they share with the judge could not be seen. Fields that mean the
same have the same names in both.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from itertools import pairwise
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.errors import UsageError

READS: Mapping[str, int] = {"past": 1, "future": -1, "none": 0}
"""What a fold of channels may read, as the d of its channels."""
MAX_FOLDS = 4
MAX_FOLD_DIV = 256
"""Every clip of the suite has a few times as many channels."""
CHOICES: Mapping[str, tuple[str, ...]] = {
    "fold_rule": ("floor", "ratio", "double"),
    "fill": ("zero", "replicate", "circular"),
    "placement": ("blockres", "block"),
    "flatten": ("hwc", "chw"),
    "policy": ("uniform", "twice", "val", "dense", "mmaction2", "paddle"),
    "resize": ("pil", "opencv"),
    "long_side": ("floor", "half_up", "four_thirds"),
    "crops": ("three", "three_longer"),
    "crop_offset": ("round", "floor"),
    "channel_order": ("rgb", "bgr"),
    "average": ("logits", "probabilities"),
}
"""The values of every field that is one of a few words."""


@dataclass(frozen=True)
class Conventions:
    """What one implementation does; every field is told to a testee whose operation depends on it.

    ``folds`` says what each fold of channels reads, the first channels first. Of C channels fold k
    (from 0) begins at channel ``k f`` and f is, by ``fold_rule``,

    ======  ====================  =============================================================
    floor   ``C // fold_div``     every fold is rounded down alike (MIT and its ports)
    double  ``2 C // fold_div``   a fold is twice the part that its divisor names
    ratio   ``C / fold_div``      not rounded: fold k begins at ``int(k C / fold_div)`` (Paddle)
    ======  ====================  =============================================================

    ``causal`` are the folds of the form that is streamed. ``every_block``: deep networks are
    shifted in each block and not in every second one. ``flatten``: the order in which TS-CAN
    flattens a picture. ``crops``: whether three crops step along the width by quarters of the
    margin (MIT) or lie at both ends and the middle of the longer side (MMAction2). The others are
    the fields of `tsm_ref.profile` by the same names.

    >>> PRESETS["mit"].d(6, fold_div=4), PRESETS["paddle"].d(6, fold_div=4)
    (array([-1,  1,  0,  0,  0,  0]), array([ 1, -1, -1,  0,  0,  0]))
    """

    name: str = "mit"
    folds: tuple[str, ...] = ("future", "past")
    fold_rule: str = "floor"
    fold_div: int = 8
    fill: str = "zero"
    causal: tuple[str, ...] = ("past",)
    placement: str = "blockres"
    every_block: bool = False
    flatten: str = "hwc"
    policy: str = "uniform"
    resize: str = "pil"
    long_side: str = "floor"
    crops: str = "three"
    crop_offset: str = "round"
    channel_order: str = "rgb"
    scale: float = 1 / 255
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    average: str = "logits"

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            object.__setattr__(self, name, _per_colour(name, getattr(self, name)))
        for name, known in (("folds", tuple(READS)), ("causal", ("past", "none"))):
            object.__setattr__(self, name, _folds(name, getattr(self, name), known))
        for name, allowed in CHOICES.items():
            _require(getattr(self, name) in allowed, self, name, f"one of {', '.join(allowed)}")
        whole = type(self.fold_div) is int and 1 <= self.fold_div <= MAX_FOLD_DIV
        _require(whole, self, "fold_div", f"a whole number from 1 to {MAX_FOLD_DIV}")
        _require(type(self.every_block) is bool, self, "every_block", "true or false")
        number = _is_number(self.scale) and self.scale != 0
        _require(number, self, "scale", "a number other than 0")

    def d(self, channels: int, fold_div: int | None = None) -> NDArray[np.int64]:
        """The shift of each channel in frames: +1 reads the past, -1 the future."""
        div = self.fold_div if fold_div is None else fold_div
        if div < 1:
            raise ValueError(f"`fold_div` (={div}) must be 1 or more")
        ends = [min(self._begin(k, channels, div), channels) for k in range(len(self.folds) + 1)]
        d = np.zeros(channels, np.int64)
        for reads, (begin, end) in zip(self.folds, pairwise(ends), strict=True):
            d[begin:end] = READS[reads]
        return d

    def _begin(self, k: int, channels: int, div: int) -> int:
        """The channel at which fold k begins."""
        if self.fold_rule == "ratio":  # Paddle multiplies in float32
            return int(np.float32(k * channels) * np.float32(1 / div))
        return k * ((2 if self.fold_rule == "double" else 1) * channels // div)

    @property
    def streaming(self) -> "Conventions":
        """The conventions of the form that is streamed: its causal folds, and a start from zero."""
        return replace(self, folds=self.causal, fill="zero")

    def as_dict(self) -> dict[str, Any]:
        """The conventions as plain values for JSON."""
        return {name: plain(value) for name, value in asdict(self).items()}


def plain(value: Any) -> Any:
    """A value as JSON knows it: tuples are lists."""
    return list(value) if isinstance(value, tuple) else value


def _require(good: bool, conventions: Conventions, name: str, needed: str) -> None:
    if not good:
        value = getattr(conventions, name)
        raise UsageError(f"the convention `{name}` (={value!r}) must be {needed}")


def _folds(name: str, value: Any, known: tuple[str, ...]) -> tuple[str, ...]:
    words = isinstance(value, (list, tuple)) and len(value) <= MAX_FOLDS
    if not words or not all(isinstance(v, str) and v in known for v in value):
        need = f"at most {MAX_FOLDS} words, each one of {', '.join(known)}"
        raise UsageError(f"the convention `{name}` (={value!r}) must be {need}")
    return tuple(value)


def _per_colour(name: str, value: Any) -> tuple[float, ...]:
    """Three numbers; a standard deviation divides, and is no zero."""
    three = isinstance(value, (list, tuple)) and len(value) == 3 and all(map(_is_number, value))
    if not three or (name == "std" and not all(value)):
        need = "three numbers" + (" other than 0" if name == "std" else "")
        raise UsageError(f"the convention `{name}` (={value!r}) must be {need}")
    return tuple(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and type(value) is not bool and isfinite(value)


def conventions_of(value: Any) -> Conventions:
    """Conventions from a preset's name, or from an object with a ``name`` and changed fields.

    A name may be followed by changes, as on the command line. Raises `UsageError` naming what is
    unknown.

    >>> conventions_of({"name": "mit", "fold_div": 4}).fold_div
    4
    >>> conventions_of("mit,folds=past+future,fold_div=4").d(6)
    array([ 1, -1,  0,  0,  0,  0])
    """
    if isinstance(value, Conventions):
        return value
    given = _spelled(value) if isinstance(value, str) else value
    known = {field.name for field in fields(Conventions)}
    if not isinstance(given, Mapping) or given.get("name", "mit") not in tuple(PRESETS):
        raise UsageError(f"there is no profile {value!r}; known are {', '.join(PRESETS)}")
    unknown = sorted(set(given) - known)
    if unknown:
        raise UsageError(f"there is no convention {unknown[0]!r}; known are {sorted(known)}")
    return replace(PRESETS[given.get("name", "mit")], **given)


def _spelled(text: str) -> dict[str, Any]:
    """``NAME,field=value,...``: numbers and booleans as in JSON, folds joined by +."""
    name, *changes = text.split(",")
    found: dict[str, Any] = {"name": name}
    for change in changes:
        field, equals, word = change.partition("=")
        if not equals:
            raise UsageError(f"`--profile` (={text!r}) must be NAME or NAME,field=value,...")
        found[field.strip()] = _value(field.strip(), word.strip())
    return found


def _value(field: str, word: str) -> Any:
    if field in ("folds", "causal"):
        return [part for part in word.split("+") if part]
    if field in ("mean", "std"):
        return [_number(part) for part in word.split("+")]
    return {"true": True, "false": False}.get(word, _number(word))


def _number(word: str) -> Any:
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word


PRESETS: Mapping[str, Conventions] = {
    conventions.name: conventions
    for conventions in (
        Conventions("mit"),
        Conventions("past-first", folds=("past", "future")),
        Conventions(
            "mmaction2",
            policy="mmaction2",
            resize="opencv",
            long_side="half_up",
            crops="three_longer",
            crop_offset="floor",
            scale=1.0,
            mean=(123.675, 116.28, 103.53),
            std=(58.395, 57.12, 57.375),
            average="probabilities",
        ),
        Conventions(
            "paddle",
            folds=("past", "future"),
            fold_rule="ratio",
            every_block=True,
            policy="paddle",
            long_side="four_thirds",
        ),
        Conventions("mtts-can", fold_div=3),
        Conventions("rppg-toolbox", fold_div=3, flatten="chw"),
        Conventions("replicate", fold_div=3, fill="replicate"),
        Conventions("circular", fill="circular"),
        Conventions("online", folds=("past",), channel_order="bgr"),
        Conventions("online-double", folds=("past", "past"), causal=("past", "past")),
        Conventions("future-only", folds=("future",)),
        Conventions("block", placement="block"),
    )
}
"""The conventions of the public implementations, and the common readings of the paper, by name."""
