"""What a checkpoint means: the facts about a trained TSM that its weights do not tell.

Two implementations that disagree on the shift direction, the frames they sample or the colours they
expect are both right, each for its own checkpoints. A `Profile` writes those facts down; it is
stored in our checkpoints, asked for where a foreign file is silent, and printed with every result.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from types import UnionType
from typing import Any, get_args, get_origin

import numpy as np
from numpy.typing import NDArray

from tsm_ref.errors import CheckpointError
from tsm_ref.reference import FILLS, folds

FOLD_RULES = ("none", "mit", "online", "online_double", "paddle", "mtts_can", "roll")
PLACEMENTS = ("none", "blockres", "block")
POLICIES = ("uniform", "twice", "val", "dense", "mmaction2", "paddle", "windows")
AVERAGES = ("logits", "probabilities")
LATER = ("multi_label", "threshold", "heads", "sure", "aimless", "slowest")
"""The fields that the first profiles did not have; their sampling had no ``finer``."""
PROFILE_KEY = "tsm_ref.profile"
"""Under what name files of other formats keep a profile of ours."""


@dataclass(frozen=True)
class ShiftRule:
    """How the channels of every shifted layer are folded: a rule, its divisor, and the fill.

    ``divisor`` is the ``fold_div`` of the rule; for ``paddle`` the shift ratio is ``1 / divisor``.
    ``segment`` > 0 keeps the shift inside each run of that many frames (TS-CAN).

    >>> ShiftRule("mit", 8).d(16)[:5]
    array([-1, -1,  1,  1,  0])
    """

    rule: str = "mit"
    divisor: float = 8
    fill: str = "zero"
    segment: int = 0

    def __post_init__(self) -> None:
        _require_types(self)
        _require(self.rule in FOLD_RULES, "rule", self.rule, f"one of {FOLD_RULES}")
        _require(self.fill in FILLS, "fill", self.fill, f"one of {FILLS}")
        _require(1 <= self.divisor < 1e30, "divisor", self.divisor, "1 or more")
        whole = self.rule == "paddle" or self.divisor == int(self.divisor)
        _require(whole, "divisor", self.divisor, f"a whole number for the rule {self.rule!r}")
        _require(0 <= self.segment < 2**31, "segment", self.segment, "0 or more frames")

    def __str__(self) -> str:
        segment = f", within {self.segment} frames" if self.segment else ""
        return f"{self.rule} (divisor {self.divisor:g}, fill {self.fill}{segment})"

    @property
    def causal(self) -> bool:
        """True where no channel reads the future."""
        return self.rule in ("none", "online", "online_double")

    def d(self, channels: int) -> NDArray[np.int64]:
        """The shift of each channel, in frames; +1 reads the past, -1 the future."""
        if self.rule == "none":
            return np.zeros(channels, np.int64)
        if self.rule == "paddle":
            return folds.folds_paddle(channels, 1 / self.divisor)
        build = getattr(folds, f"folds_{self.rule}")
        d: NDArray[np.int64] = build(channels, int(self.divisor))
        return d


@dataclass(frozen=True)
class Sampling:
    """Which frames of a video the network sees.

    ``policy`` names a rule of `tsm_ref.video.sampling`. ``windows`` cuts a long clip into windows
    of ``window`` seconds, one every ``stride`` seconds, each sampled uniformly into ``segments``
    frames. Where nothing happens in a window, windows twice, four times, ... as long are asked, up
    to ``longest`` seconds: slow motion needs time to be seen. 0 asks none. Where nothing happens in
    the longest either, they are asked again with frames ``finer`` times as high and wide, in which
    a motion covers as many times the pixels. 1 asks none.
    """

    policy: str = "uniform"
    segments: int = 8
    window: float = 0.0
    stride: float = 0.0
    longest: float = 0.0
    finer: int = 1

    def __post_init__(self) -> None:
        _require_types(self)
        _require(self.policy in POLICIES, "policy", self.policy, f"one of {POLICIES}")
        _require(0 < self.segments < 4096, "segments", self.segments, "1 to 4095 frames")
        if self.policy == "windows":
            for name in ("window", "stride"):
                value = getattr(self, name)
                _require(0 < value < 1e9, name, value, "a time in seconds")
        _require(0 <= self.longest < 1e9, "longest", self.longest, "a time in seconds, or 0")
        _require(1 <= self.finer <= 8, "finer", self.finer, "1 to 8 times")


@dataclass(frozen=True)
class Preprocess:
    """How a decoded frame becomes a network input: resize, crop, colour order, normalise.

    Either ``size`` (height, width) stretches the whole frame, or ``short_side`` scales it and
    ``crop`` cuts it. ``resize`` names the arithmetic of Pillow (antialiased) or of OpenCV,
    ``long_side`` how the longer side is rounded, ``crop_offset`` how a centre offset is.
    The values become ``(pixel / (1 / scale) - mean) / std`` per channel, in ``channel_order``.
    """

    short_side: int | None = 256
    size: tuple[int, int] | None = None
    resize: str = "pil"
    long_side: str = "floor"
    crop: tuple[int, int] | None = (224, 224)
    crops: str = "center"
    crop_offset: str = "round"
    channel_order: str = "rgb"
    scale: float = 1 / 255
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        _require_types(self)
        for name in ("size", "crop", "mean", "std"):
            value = getattr(self, name)
            object.__setattr__(self, name, value if value is None else tuple(value))
        _require(
            (self.size is None) != (self.short_side is None),
            "size",
            self.size,
            "given exactly when `short_side` is not",
        )
        short = self.short_side
        _require(short is None or 0 < short <= 8192, "short_side", short, "1 to 8192 pixels")
        _require(self.scale > 0, "scale", self.scale, "more than 0")
        for name in ("size", "crop"):
            value = getattr(self, name)
            good = value is None or (len(value) == 2 and all(0 < v <= 8192 for v in value))
            _require(good, name, value, "a height and a width of 1 to 8192 pixels")
        for name, choices in _PREPROCESS_CHOICES.items():
            _require(getattr(self, name) in choices, name, getattr(self, name), f"one of {choices}")
        _require(len(self.mean) == 3, "mean", self.mean, "three numbers")
        _require(len(self.std) == 3 and all(self.std), "std", self.std, "three numbers, none 0")

    def enlarged(self, times: int) -> "Preprocess":
        """The same with frames so many times as high and wide.

        >>> Preprocess().enlarged(2).crop
        (448, 448)
        """

        def larger(size: tuple[int, int] | None) -> tuple[int, int] | None:
            return size and (times * size[0], times * size[1])

        short = self.short_side and times * self.short_side
        return replace(self, short_side=short, size=larger(self.size), crop=larger(self.crop))

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width that reach the network; (0, 0) where they depend on the video."""
        return self.crop or self.size or (0, 0)


_PREPROCESS_CHOICES: Mapping[str, tuple[str, ...]] = {
    "resize": ("pil", "opencv"),
    "long_side": ("floor", "half_up", "four_thirds"),
    "crops": ("center", "three", "three_longer", "five", "ten"),
    "crop_offset": ("round", "floor"),
    "channel_order": ("rgb", "bgr"),
}


@dataclass(frozen=True)
class Profile:
    """Everything that a set of weights means.

    ``family`` names whose conventions these are, ``placement`` where the shifts stand, ``average``
    whether views are averaged as ``logits`` or as ``probabilities``, ``labels`` the classes in
    index order, ``no_event`` the one of them that means that nothing happens, ``measured`` the
    accuracy that the weights are known to reach, in one line. With ``multi_label`` every class has
    a probability of its own (a sigmoid), and those from ``threshold`` on are said. Otherwise the
    best class is said from the probability ``sure`` on, and "unsure" below it. ``aimless`` are the
    labels of what happens without a direction: a shake, a cut. ``slowest`` is the speed, in widths
    of the frame from one frame that the network sees to the next, from which on it was taught that
    a motion is one; 0 where nobody knows. A network of several heads has the
    labels of each in ``heads``, as pairs of the name of its output and them.

    >>> Profile.from_json(PROFILES["mit"].to_json()) == PROFILES["mit"]
    True
    """

    family: str = "mit"
    shift: ShiftRule = field(default_factory=ShiftRule)
    placement: str = "blockres"
    sampling: Sampling = field(default_factory=Sampling)
    preprocess: Preprocess = field(default_factory=Preprocess)
    average: str = "logits"
    labels: tuple[str, ...] = ()
    no_event: str = ""
    measured: str = ""
    multi_label: bool = False
    threshold: float = 0.5
    heads: tuple[tuple[str, tuple[str, ...]], ...] = ()
    sure: float = 0.0
    aimless: tuple[str, ...] = ()
    slowest: float = 0.0

    def __post_init__(self) -> None:
        _require_types(self)
        object.__setattr__(self, "labels", tuple(self.labels))
        object.__setattr__(self, "aimless", tuple(self.aimless))
        heads = tuple((name, tuple(labels)) for name, labels in self.heads)
        object.__setattr__(self, "heads", heads)
        names = [name for name, _ in heads]
        _require(len(set(names)) == len(names), "heads", names, "different names of outputs")
        _require(0 < self.threshold < 1, "threshold", self.threshold, "between 0 and 1")
        _require(0 <= self.sure < 1, "sure", self.sure, "from 0 to less than 1")
        _require(0 <= self.slowest < 1, "slowest", self.slowest, "a share of the width, or 0")
        _require(
            set(self.aimless) <= set(self.labels), "aimless", self.aimless, "some of the labels"
        )
        if self.sampling.finer > 1:
            self.preprocess.enlarged(self.sampling.finer)  # which must be one, too
        if self.no_event:
            _require(self.no_event in self.labels, "no_event", self.no_event, "one of the labels")
        _require(self.placement in PLACEMENTS, "placement", self.placement, f"one of {PLACEMENTS}")
        _require(self.average in AVERAGES, "average", self.average, f"one of {AVERAGES}")

    def label_of(self, index: int, head: str = "") -> str:
        """The label of a class, of one head where there are several; its number without labels.

        >>> Profile(labels=("still", "moving")).label_of(1), Profile().label_of(1)
        ('moving', 'class 1')
        """
        labels = dict(self.heads).get(head, self.labels)
        return labels[index] if index < len(labels) else f"class {index}"

    @property
    def no_event_index(self) -> int | None:
        """The index of the class ``no_event``; None where no class means that nothing happens."""
        return self.labels.index(self.no_event) if self.no_event else None

    @property
    def aimless_indices(self) -> frozenset[int]:
        """The indices of the classes ``aimless``."""
        return frozenset(map(self.labels.index, self.aimless))

    def with_changes(self, **changes: Any) -> "Profile":
        """The same profile with some fields replaced.

        Of other labels, none is ``no_event`` or ``aimless`` yet, all are said however unsure, and
        what is too slow for them is not known.
        """
        labels = changes.get("labels", self.labels)
        if self.no_event not in labels:
            changes = {"no_event": ""} | changes
        if tuple(labels) != self.labels:
            changes = {"aimless": (), "sure": 0.0, "slowest": 0.0} | changes
        return replace(self, **changes)

    def as_dict(self, *, labels: bool = True) -> dict[str, Any]:
        """The profile as plain values for JSON; `labels` may be left out where they are long."""
        tree = asdict(self)
        if not labels:
            del tree["labels"], tree["heads"]
        return tree

    def to_json(self) -> str:
        """The profile as JSON text, from which `from_json` makes an equal one.

        What came later to profiles is written where it says something: older readers know the rest.
        """
        tree = self.as_dict()
        for name in LATER:
            if tree[name] == type(self).__dataclass_fields__[name].default:
                del tree[name]
        if self.sampling.finer == 1:
            del tree["sampling"]["finer"]
        return json.dumps(tree)

    @staticmethod
    def from_json(text: str) -> "Profile":
        """The profile that JSON text describes; raises `CheckpointError` for anything else."""
        try:
            tree = json.loads(text)
            parts = {"shift": ShiftRule, "sampling": Sampling, "preprocess": Preprocess}
            made = {name: _make(kind, tree.pop(name)) for name, kind in parts.items()}
            profile: Profile = _make(Profile, tree | made)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise CheckpointError(f"this is not a profile: {error}") from None
        return profile


def _make(kind: Any, values: Mapping[str, Any]) -> Any:
    """Build a dataclass from a mapping, naming a field that it does not have."""
    unknown = sorted(set(values) - {f.name for f in fields(kind)})
    if unknown:
        raise ValueError(f"{kind.__name__} has no field {unknown[0]!r}")
    return kind(**values)


def _require_types(made: Any) -> None:
    """Every field is what its annotation says, so that what is saved can be loaded."""
    for f in fields(made):
        value = getattr(made, f.name)
        _require(_fits(value, f.type), f.name, value, f"of the type {_spoken(f.type)}")


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value is what an annotation says; whole numbers are floats, lists are tuples."""
    if get_origin(kind) is UnionType:
        return any(_fits(value, choice) for choice in get_args(kind))
    if get_origin(kind) is tuple:
        if not isinstance(value, list | tuple):
            return False
        first, *others = get_args(kind)
        if others and others[0] not in (Ellipsis, first):  # a pair of two kinds
            return len(value) == 2 and _fits(value[0], first) and _fits(value[1], others[0])
        return all(_fits(v, first) for v in value)
    if kind is float:
        number = isinstance(value, int | float) and type(value) is not bool
        return number and abs(value) < 1e30
    return type(value) is kind


def _spoken(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind)


def _require(condition: bool, name: str, value: object, accepted: str) -> None:
    if not condition:
        raise ValueError(f"`{name}` (={value!r}) must be {accepted}")


PROFILES: Mapping[str, Profile] = {
    "mit": Profile(),
    "mit-flow": Profile("mit-flow", preprocess=Preprocess(mean=(0.5,) * 3, std=(0.226,) * 3)),
    "mit-online": Profile(
        "mit-online", ShiftRule("online"), preprocess=Preprocess(channel_order="bgr")
    ),
    "mmaction2": Profile(
        "mmaction2",
        sampling=Sampling("mmaction2"),
        preprocess=Preprocess(
            resize="opencv",
            long_side="half_up",
            crop_offset="floor",
            scale=1.0,
            mean=(123.675, 116.28, 103.53),
            std=(58.395, 57.12, 57.375),
        ),
        average="probabilities",
    ),
    "paddle": Profile(
        "paddle",
        ShiftRule("paddle", 8),
        sampling=Sampling("paddle"),
        preprocess=Preprocess(long_side="four_thirds"),
    ),
    "tsn": Profile("tsn", ShiftRule("none"), "none"),
    "rfcn": Profile("rfcn", ShiftRule("online"), preprocess=Preprocess(short_side=600, crop=None)),
    "mtts-can": Profile(
        "mtts-can", ShiftRule("mtts_can", 3, "zero", segment=10), sampling=Sampling(segments=20)
    ),
    "big-small": Profile(
        "big-small", ShiftRule("mtts_can", 3, "circular", segment=3), sampling=Sampling(segments=3)
    ),
    "ts-can-rlap": Profile(
        "ts-can-rlap",
        ShiftRule("mtts_can", 3, "replicate", segment=20),
        sampling=Sampling(segments=20),
        labels=("pulse",),
    ),
}
"""The conventions of the public implementations by name."""
