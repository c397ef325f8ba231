"""What the axes of the inputs of an ONNX file may mean, the likely meanings first."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tsm_ref.checkpoint.onnx_in.guard import Dim, OnnxModel
from tsm_ref.checkpoint.views import Groups
from tsm_ref.errors import CheckpointError

LAYOUTS: Mapping[int, tuple[Groups, ...]] = {
    5: (
        (("N",), ("T",), ("C",), ("H",), ("W",)),
        (("N",), ("C",), ("T",), ("H",), ("W",)),
        (("N",), ("T",), ("H",), ("W",), ("C",)),
    ),
    4: (
        (("N", "T"), ("C",), ("H",), ("W",)),
        (("N", "T"), ("H",), ("W",), ("C",)),
        (("N",), ("T", "C"), ("H",), ("W",)),
    ),
    3: ((("N",), ("T",), ("C",)), (("N",), ("C",), ("T",))),
    2: ((("N", "T"), ("C",)),),
}
"""What the axes of an input of so many axes may mean."""

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
    ranks = dict.fromkeys(len(shape) for _, shape in model.inputs)
    for rank in ranks:
        if rank not in LAYOUTS:
            raise CheckpointError(f"an input of {rank} axes is not supported; 2 to 5 are")
    numbers = _numbers(model)
    found = [
        Assumption(groups, sizes)
        for groups in _layouts([shape for _, shape in model.inputs])
        for sizes in _all_sizes([s for _, s in model.inputs], groups, numbers, variant)
    ]
    yield from sorted(found, key=_unlikeliness)


def _layouts(shapes: Sequence[Sequence[Dim]]) -> Iterator[tuple[Groups, ...]]:
    """One layout per input; inputs of equally many axes have the same."""
    first = LAYOUTS[len(shapes[0])] if shapes else ()
    for choice in first:
        yield tuple(
            choice if len(shape) == len(shapes[0]) else LAYOUTS[len(shape)][0] for shape in shapes
        )


def _all_sizes(
    shapes: Sequence[Sequence[Dim]],
    groups: Sequence[Groups],
    numbers: Sequence[int],
    variant: int,
) -> Iterator[tuple[Mapping[str, int], ...]]:
    """Every number of frames that divides what the shapes fold together."""
    frames = [None] if not any(len(g) > 1 for view in groups for g in view) else numbers
    for count in frames:
        sizes = []
        for shape, layout in zip(shapes, groups, strict=True):
            sizes.append(_sizes(shape, layout, count, variant))
        batches = {entry["N"] for entry in sizes if entry}
        if all(sizes) and len(batches) == 1:
            found = tuple(entry for entry in sizes if entry)
            yield found
            if any(len(shape) == 3 for shape in shapes):  # pools want places, if only one
                yield tuple({"H": 1, "W": 1, **entry} for entry in found)


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
    return sizes


def _numbers(model: OnnxModel) -> list[int]:
    """Numbers of frames to try where they are folded with N or C: what the file mentions."""
    if all(isinstance(dim, int) for _, shape in model.inputs for dim in shape):
        top = max((int(dim) for _, shape in model.inputs for dim in shape[:2]), default=1)
        return [t for t in range(1, min(top, MAX_FRAMES) + 1) if top % t == 0]
    arrays = [*model.constants.values()]
    arrays += [v for n in model.nodes for v in n.attrs.values() if isinstance(v, np.ndarray)]
    arrays += [np.array(n.attrs.get("shape", (1,))) for n in model.nodes]
    found = {int(v) for a in arrays if a.dtype.kind == "i" and a.size <= 16 for v in a.reshape(-1)}
    return sorted({1} | {v for v in found if 0 < v <= MAX_FRAMES})


def _unlikeliness(assumption: Assumption) -> int:
    """Pictures have one to four channels; other layouts are tried later."""
    return sum(not 1 <= sizes["C"] <= 4 for sizes in assumption.sizes[:1])
