"""The cases, one module per level, and how they are found.

- `l0_shift`, `l0_identities`, `permanent`: the temporal shift
- `l1_convolution`, `l1_layers`, `l1_pooling`: single layers
- `l2_blocks`, `l3_networks`, `l4_architectures`: blocks and networks
- `l4_residual`, `l4_pictures`, `l4_clips`, `l4_faces`, `l4_objects`: the families of networks
- `l5_frames`, `l6_film`: frames, pixels, a video file
- `streaming`: frame by frame; `refusals`: invalid input
- `quantised_values`, `quantised_layers`, `quantised_networks`: layers of 8-bit numbers
- `litert_layers`: those that LiteRT rounds otherwise
- `sizes`, `memory`: the same operations at sizes and in kinds of memory where faults live
- `_questions`, `_families`, `_quantised`: what several of them ask

A module registers its cases when it is imported; `all_cases` imports every one.
"""

import difflib
from collections.abc import Iterable, Iterator
from importlib import import_module

from conformance.questions.case import CASES, Case
from conformance.questions.levels import LEVELS
from tsm_ref.errors import UsageError

MODULES = (
    "l0_shift",
    "l0_identities",
    "permanent",
    "l1_convolution",
    "l1_layers",
    "l1_pooling",
    "l2_blocks",
    "l3_networks",
    "l4_architectures",
    "l4_residual",
    "l4_pictures",
    "l4_clips",
    "l4_faces",
    "l4_objects",
    "l5_frames",
    "l6_film",
    "streaming",
    "quantised_values",
    "quantised_layers",
    "quantised_networks",
    "litert_layers",
    "sizes",
    "memory",
    "refusals",
)


def all_cases() -> Iterator[Case]:
    """Every case of the suite, level by level, in the order of the catalogue."""
    for module in MODULES:
        import_module(f"conformance.catalogue.{module}")
    order = list(LEVELS)
    yield from sorted(CASES.values(), key=lambda c: order.index(c.level))


def find_case(id: str) -> Case:
    """The case of this identifier; raises `UsageError` naming similar ones."""
    known = {c.id: c for c in all_cases()}
    if id not in known:
        close = difflib.get_close_matches(id, known, 3, 0.4)
        raise UsageError(f"there is no case {id!r}; similar are {', '.join(close) or 'none'}")
    return known[id]


def cases_of(levels: Iterable[str]) -> list[Case]:
    """The cases of some levels.

    >>> len(cases_of(["L6"])) < len(cases_of(["L5", "L6"]))
    True
    """
    wanted = set(levels)
    return [case for case in all_cases() if case.level in wanted]


def cases_named(prefixes: Iterable[str]) -> list[Case]:
    """The cases whose identifiers begin with one of these; `UsageError` for one that fits none."""
    beginnings = tuple(prefixes)
    for prefix in beginnings:
        if not any(case.id.startswith(prefix) for case in all_cases()):
            find_case(prefix)
    return [case for case in all_cases() if case.id.startswith(beginnings)]


def whole_levels(cases: Iterable[Case]) -> tuple[str, ...]:
    """The levels of which every case is among these: only of them a verdict can be given."""
    present = {case.id for case in cases}
    missing = {case.level for case in all_cases() if case.id not in present}
    found = {id.split(".")[0] for id in present}
    return tuple(level for level in LEVELS if level in found - missing)
