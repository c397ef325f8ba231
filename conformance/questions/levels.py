"""The levels, what each is about, and the verdict: how far a testee gets without a gap."""

from collections.abc import Iterable, Mapping
from typing import Any

from tsm_ref.errors import UsageError

LEVELS: Mapping[str, str] = {
    "L0": "the temporal shift",
    "L1": "single layers",
    "L2": "blocks",
    "L3": "small networks",
    "L4": "full architectures",
    "L5": "frames and pixels",
    "L6": "a video file to JSON",
    "S": "streaming",
    "Q": "quantised layers",
    "R": "refusing invalid input",
}
"""Every level in order; L0 to L6 build on each other, S, Q and R stand beside them."""

LADDER = tuple(level for level in LEVELS if level.startswith("L"))


def parse_levels(text: str) -> tuple[str, ...]:
    """The levels that a request such as ``L3`` or ``L2,S,R`` or ``all`` means.

    A level of the ladder includes those below it. Raises `UsageError` for an unknown one.

    >>> parse_levels("L2,S")
    ('L0', 'L1', 'L2', 'S')
    """
    wanted: set[str] = set()
    for part in (part.strip() for part in text.split(",")):
        if part == "all":
            wanted.update(LEVELS)
        elif part in LADDER:
            wanted.update(LADDER[: LADDER.index(part) + 1])
        elif part in LEVELS:
            wanted.add(part)
        else:
            raise UsageError(
                f"`--level` (={part!r}) must be one of {', '.join(LEVELS)}, all, or several "
                "of them with commas"
            )
    return tuple(level for level in LEVELS if level in wanted)


def reached(results: Iterable[Any]) -> tuple[str, ...]:
    """The levels that hold, here and on every rung of the ladder below.

    A level holds if no case of it failed, and every MUST case passed: what is not required may be
    missing, and never wrong. A level without a case that passed is not reached; one whose cases all
    say nothing about the testee is passed over. A result needs ``level``, ``requirement`` and
    ``outcome``.
    """
    found: dict[str, list[Any]] = {}
    for result in results:
        if result.outcome != "not applicable":
            found.setdefault(result.level, []).append(result)
        else:
            found.setdefault(result.level, [])
    holds = {level: not any(map(_breaks, found[level])) for level in found}
    passes = {level: any(r.outcome == "passed" for r in found[level]) for level in found}
    ladder = []
    for level in LADDER:
        if level not in found or not holds[level]:
            break
        if passes[level]:
            ladder.append(level)
    beside = [v for v in LEVELS if v not in LADDER and v in found and holds[v] and passes[v]]
    return (*ladder, *beside)


def _breaks(result: Any) -> bool:
    """Whether a case keeps its level from holding."""
    if result.outcome in ("failed", "error"):
        return True
    return bool(result.requirement == "MUST" and result.outcome != "passed")


def verdict(levels: tuple[str, ...]) -> str:
    """The levels reached in words.

    >>> verdict(("L0", "L1", "S")), verdict(())
    ('L1 + S', 'no level')
    """
    ladder = [level for level in levels if level in LADDER]
    return " + ".join([*ladder[-1:], *(v for v in levels if v not in LADDER)]) or "no level"
