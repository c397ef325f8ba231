"""What the axes of the inputs of an ONNX file may mean, the likely meanings first."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from tsm_ref.checkpoint.onnx_in.guard import Dim, OnnxModel
from tsm_ref.checkpoint.views import Groups
from tsm_ref.errors import CheckpointError

LAYOUTS: Mapping[int, tuple[Groups, ...]] = {
    5: (
        (("N",), ("T",), ("C",), ("H",), ("W",)),
        (("N",), ("C",), ("T",), ("H",), ("W",)),
        (("N",), ("T",), ("H",), ("W",), ("C",)),
        ((), ("N", "T"), ("C",), ("H",), ("W",)),
        ((), ("N", "T"), ("H",), ("W",), ("C",)),
        (("T",), ("N",), ("C",), ("H",), ("W",)),
        (("T",), ("N",), ("H",), ("W",), ("C",)),
    ),
    4: (
        (("N", "T"), ("C",), ("H",), ("W",)),
        (("N", "T"), ("H",), ("W",), ("C",)),
        (("N",), ("T", "C"), ("H",), ("W",)),
        (("T", "N"), ("C",), ("H",), ("W",)),
        (("T", "N"), ("H",), ("W",), ("C",)),
    ),
    3: ((("N",), ("T",), ("C",)), (("N",), ("C",), ("T",)), (("C",), ("H",), ("W",))),
    2: ((("N", "T"), ("C",)),),
}
"""What the axes of an input of so many axes may mean.

An axis of size 1 in front of ``N*T`` holds several clips or crops of one video; ``T*N`` is the
layout of recurrent networks, time first.
"""

MAX_FRAMES = 512
OPEN_PLACE = ((64, 96), (96, 64))
OPEN_BATCH = (2, 3)
OPEN_TIME = (8, 16)


@dataclass(frozen=True)
class Assumption:
    """What is assumed of the inputs: a layout for each, and a size for each letter of each."""

    groups: tuple[Groups, ...]
    sizes: tuple[Mapping[str, int], ...]


def assumptions(model: OnnxModel, variant: int) -> Iterator[Assumption]:
    """Every meaning of the inputs that their shapes allow; open sizes are bound by the variant."""
    shapes = [shape for _, shape in model.inputs]
    for rank in dict.fromkeys(map(len, shapes)):
        if rank not in LAYOUTS:
            raise CheckpointError(f"an input of {rank} axes is not supported; 2 to 5 are")
    mentioned = _mentioned(model)
    found = [
        Assumption(groups, sizes)
        for groups in _layouts(shapes)
        for sizes in _all_sizes(shapes, groups, mentioned, variant)
    ]
    yield from sorted(found, key=_unlikeliness)


def _layouts(shapes: Sequence[Sequence[Dim]]) -> Iterator[tuple[Groups, ...]]:
    """One layout per input; inputs of equally many axes have the same."""
    ranks = list(dict.fromkeys(len(shape) for shape in shapes))
    for choice in product(*(LAYOUTS[rank] for rank in ranks)):
        of_rank = dict(zip(ranks, choice, strict=True))
        yield tuple(of_rank[len(shape)] for shape in shapes)


def _all_sizes(
    shapes: Sequence[Sequence[Dim]],
    groups: Sequence[Groups],
    mentioned: Sequence[int],
    variant: int,
) -> Iterator[tuple[Mapping[str, int], ...]]:
    """Every number of frames that divides what the shapes fold together."""
    for count in _numbers(shapes, groups, mentioned):
        sizes = []
        for shape, layout in zip(shapes, groups, strict=True):
            sizes.append(_sizes(shape, layout, count, variant))
        batches = {entry.get("N", 1) for entry in sizes if entry}
        if all(sizes) and len(batches) <= 1:
            found = tuple(entry for entry in sizes if entry)
            yield found
            if any(len(layout) == 3 and "H" not in _letters(layout) for layout in groups):
                yield tuple({"H": 1, "W": 1, **entry} for entry in found)  # pools want places


def _letters(groups: Groups) -> str:
    return "".join(letter for group in groups for letter in group)


def _sizes(
    shape: Sequence[Dim], groups: Groups, frames: int | None, variant: int
) -> Mapping[str, int] | None:
    """The size of each letter; None where the shape does not allow so many frames."""
    opened = {
        "N": OPEN_BATCH[variant],
        "T": OPEN_TIME[variant],
        "H": OPEN_PLACE[variant][0],
        "W": OPEN_PLACE[variant][1],
        "C": 3,
    }
    sizes: dict[str, int] = {}
    for group, dim in zip(groups, shape, strict=True):
        if not group:
            if isinstance(dim, int) and dim > 1:
                return None
            continue
        if len(group) == 1:
            sizes[group[0]] = dim if isinstance(dim, int) else opened[group[0]]
            continue
        other = group[0] if group[1] == "T" else group[1]
        sizes["T"] = frames or 1
        if isinstance(dim, str):
            sizes[other] = opened[other]
        elif dim % sizes["T"]:
            return None
        else:
            sizes[other] = dim // sizes["T"]
    if () in groups and sizes.get("N") == 1:  # the same without that axis is tried already
        return None
    if "H" in sizes:
        sizes = {"N": 1, "T": 1, **sizes}  # a picture without an axis of clips or of time
    return sizes


def _numbers(
    shapes: Sequence[Sequence[Dim]], groups: Sequence[Groups], mentioned: Sequence[int]
) -> Sequence[int | None]:
    """Numbers of frames to try where they are folded with N or C: the divisors of such an axis.

    Where it is open, those that the file mentions.
    """
    folded = [
        dim
        for shape, layout in zip(shapes, groups, strict=True)
        for dim, group in zip(shape, layout, strict=True)
        if len(group) > 1
    ]
    if not folded:
        return [None]
    fixed = [dim for dim in folded if isinstance(dim, int)]
    if len(fixed) < len(folded):
        return mentioned
    top = min(min(fixed), MAX_FRAMES)
    return [t for t in range(1, top + 1) if all(dim % t == 0 for dim in fixed)]


def _mentioned(model: OnnxModel) -> list[int]:
    """The small whole numbers among the constants of a file."""
    arrays = [*model.constants.values()]
    arrays += [v for n in model.nodes for v in n.attrs.values() if isinstance(v, np.ndarray)]
    arrays += [np.array(n.attrs.get("shape", (1,))) for n in model.nodes]
    found = {int(v) for a in arrays if a.dtype.kind == "i" and a.size <= 16 for v in a.reshape(-1)}
    return sorted({1} | {v for v in found if 0 < v <= MAX_FRAMES})


def _unlikeliness(assumption: Assumption) -> tuple[int, int]:
    """Pictures have one to four channels, and clips come first; other layouts are tried later."""
    odd = sum(not 1 <= sizes["C"] <= 4 for sizes in assumption.sizes[:1])
    rare = any(
        () in groups or _letters(groups).startswith("TN") or _letters(groups) == "CHW"
        for groups in assumption.groups
    )
    return odd + rare, int(rare)
