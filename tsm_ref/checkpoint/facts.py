"""What is known of a model file, fact by fact, and who says so.

A file of weights leaves much unsaid: how wide its shifts are, how many frames it was trained on.
Each fact comes from the first of these that tells it: the file itself, the name of the file, the
name of its folder, whoever loads it, the profile that was given; and what nobody tells is assumed,
with a warning that names the option which says otherwise. Two of the first four that disagree are
an error that names both.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from tsm_ref.errors import CheckpointError
from tsm_ref.profile import Preprocess, Profile, Sampling, ShiftRule

__all__ = ["FILE_FACTS", "OF_NETWORK", "OPTIONS", "Fact", "Facts", "facts_of_profile"]

NAMES: Mapping[str, str] = {
    "rule": "shift",
    "divisor": "fold_div",
    "segment": "frame_depth",
    "policy": "sampling",
}
"""What a field of a profile is called as a fact, where it is not called the same."""

PARTS: Mapping[str, Any] = {
    "shift": ShiftRule,
    "sampling": Sampling,
    "preprocess": Preprocess,
    "": Profile,
}
"""The parts of a profile, the last of which is the profile itself."""

FIELDS: Mapping[str, tuple[str, str]] = {
    NAMES.get(field.name, field.name): (part, field.name)
    for part, kind in PARTS.items()
    for field in fields(kind)
    if (part, field.name) not in (("", "family"), ("", "measured"), *(("", p) for p in PARTS))
}
"""The facts that a profile holds: the part that each is in, and its field there."""

OF_NETWORK = ("shift", "fold_div", "fill", "frame_depth", "placement", "strides", "non_local")
"""Facts that the weights were trained with; all others may be chosen anew for every run."""

FILE_FACTS = ("weights", "strides", "non_local")
"""Facts that only a reader of files needs: which set of weights, and what its network does.

``strides`` are "pytorch" (on the 3x3 of a bottleneck) or "caffe" (on its first 1x1); ``non_local``
is the mode of non-local blocks.
"""


OPTIONS = ("fold_div", "frame_depth", "placement", "segments", "average", "strides", "non_local")
"""Facts that whoever loads a file may tell; pixels are left to `tsm_ref.profile_files.changed`."""


@dataclass(frozen=True)
class Fact:
    """One fact about a model file: its name, its value, and who says so.

    >>> str(Fact("segments", 16, "the name of the folder"))
    'segments 16 (the name of the folder)'
    """

    name: str
    value: Any
    source: str

    def __str__(self) -> str:
        return f"{self.name} {_spoken(self.value)} ({self.source})"


class Facts:
    """The facts about one file; whoever speaks first is heard, and nobody may contradict.

    >>> facts = Facts()
    >>> facts.say("the file", fold_div=4)
    >>> facts.say("the option", fold_div=8)
    Traceback (most recent call last):
    tsm_ref.errors.CheckpointError: the file says that fold_div is 4, and the option says 8
    >>> facts.suggest("the profile", fold_div=8, segments=16)
    >>> [str(fact) for fact in facts]
    ['fold_div 4 (the file)', 'segments 16 (the profile)']
    """

    def __init__(self) -> None:
        self._facts: dict[str, Fact] = {}
        self._assumed: dict[str, Fact] = {}
        self._decided: set[str] = set()

    def decide(self, source: str, /, **facts: Any) -> None:
        """Facts that whoever loads the file is free to set, whatever others say."""
        for name, value in facts.items():
            self._facts[name] = Fact(name, value, source)
            self._decided.add(name)

    def say(self, source: str, /, **facts: Any) -> None:
        """Facts that a source knows; raises `CheckpointError` where another one contradicts."""
        for name, value in facts.items():
            known = self._facts.setdefault(name, Fact(name, value, source))
            if known.value != value and name not in self._decided:
                raise CheckpointError(
                    f"{known.source} says that {name} is {_spoken(known.value)}, and {source} says "
                    f"{_spoken(value)}"
                )

    def suggest(self, source: str, /, **facts: Any) -> None:
        """Facts that hold where nobody said anything else."""
        for name, value in facts.items():
            self._facts.setdefault(name, Fact(name, value, source))

    def assume(self, **facts: Any) -> None:
        """Facts that nobody told, to be warned of; what was told stays."""
        for name, value in facts.items():
            if name not in self._facts:
                self._facts[name] = self._assumed[name] = Fact(name, value, "assumed")

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a fact; `default` where it is not known."""
        return self._facts[name].value if name in self._facts else default

    def __contains__(self, name: str) -> bool:
        return name in self._facts

    def __iter__(self) -> Iterator[Fact]:
        return iter(self._facts.values())

    def over(self, base: Profile) -> Profile:
        """The profile with all facts; raises `CheckpointError` naming who says what cannot be."""
        for fact in self:
            try:
                _with(base, [fact])
            except ValueError as error:
                raise CheckpointError(f"{fact.source} says what cannot be: {error}") from None
        try:
            return _with(base, self)
        except ValueError as error:
            sources = ", ".join(dict.fromkeys(fact.source for fact in self))
            raise CheckpointError(f"together, {sources} say what cannot be: {error}") from None

    def warnings(self) -> tuple[str, ...]:
        """One sentence about everything that was assumed, with the options that say it."""
        if not self._assumed:
            return ()
        told = " ".join(
            f"--{fact.name.replace('_', '-')} {_spoken(fact.value)}"
            for fact in self._assumed.values()
        )
        return (
            f"neither the file nor its name tells, so this is assumed: {told} (give these options, "
            "or the right ones; another value is another network)",
        )


def _with(base: Profile, facts: Iterable[Fact]) -> Profile:
    """A profile with some facts changed, all at once."""
    parts: dict[str, dict[str, Any]] = {part: {} for part in PARTS}
    for fact in facts:
        if fact.name in FIELDS:
            part, field = FIELDS[fact.name]
            parts[part][field] = fact.value
    own = parts.pop("")
    made = {part: replace(getattr(base, part), **changes) for part, changes in parts.items()}
    return replace(base, **made, **own)


def _spoken(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        return ",".join(_spoken(part) for part in value[:4]) + (",..." if value[4:] else "")
    return str(value)


def facts_of_profile(profile: Profile, base: Profile | None = None) -> dict[str, Any]:
    """Every fact that a profile holds; with a base, those that differ from it."""
    found = {}
    for name, (part, field) in FIELDS.items():
        value = getattr(getattr(profile, part) if part else profile, field)
        usual = base and getattr(getattr(base, part) if part else base, field)
        if base is None or value != usual:
            found[name] = value
    return found
