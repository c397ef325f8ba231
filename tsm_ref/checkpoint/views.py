"""How a foreign file lays out its inputs and outputs, and the way from there to NCTHW and back.

A file may want ``(N*T, C, H, W)`` where the graph wants ``(N, C, T, H, W)``. A `FileView` says so
in the notation that people write on paper, one group of axis letters per axis of the file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.checkpoint.finish import Step
from tsm_ref.errors import GraphError

Array = NDArray[Any]
Groups = tuple[tuple[str, ...], ...]
Dim = int | str


@dataclass(frozen=True)
class FileView:
    """One input or output of a file: its name and shape there, and the value that it is here.

    ``groups`` lists, for each axis of the file, the letters of ``axes`` that are folded into it;
    ``sizes`` holds the letters whose size the file fixes. Of an input that a file cuts into two
    (TS-CAN's motion and appearance in six channels) a view takes the ``channels`` from, to, and of
    one that it crops the ``rows`` and ``columns``. ``dtype`` is the type that the file declares,
    ``steps`` are what it does with an output behind the network.

    >>> view = FileView("input", "x", (8, 3, 2, 2), (("N", "T"), ("C",), ("H",), ("W",)), "NCTHW",
    ...                 {"T": 4})
    >>> str(view)
    'input (N*T, C, H, W)'
    >>> view.to_graph(np.zeros((8, 3, 2, 2))).shape
    (2, 3, 4, 2, 2)
    """

    name: str
    value: str
    shape: tuple[Dim, ...]
    groups: Groups
    axes: str
    sizes: Mapping[str, int]
    channels: tuple[int, int] | None = None
    rows: tuple[int, int] | None = None
    columns: tuple[int, int] | None = None
    dtype: str = "float32"
    steps: tuple[Step, ...] = ()

    def __str__(self) -> str:
        return f"{self.name} ({', '.join('*'.join(group) or '1' for group in self.groups)})"

    def to_graph(self, array: Array) -> Array:
        """An input as the graph wants it; raises `GraphError` where the file declares otherwise."""
        given = array.shape
        fits = len(given) == len(self.shape) and all(
            isinstance(dim, str) or dim == size for dim, size in zip(self.shape, given, strict=True)
        )
        if not fits:
            raise GraphError(f"the input {self.name!r} has shape {given}; expected {self._shown()}")
        letters = [letter for group in self.groups for letter in group]
        split = [
            size
            for group, total in zip(self.groups, given, strict=True)
            for size in self._split(group, total)
        ]
        missing = [axis for axis in self.axes if axis not in letters]
        full = array.reshape(*split, *[1] * len(missing))
        order = letters + missing
        turned = full.transpose([order.index(axis) for axis in self.axes])
        cuts = {"C": self.channels, "H": self.rows, "W": self.columns}
        return turned[tuple(slice(*(cuts.get(axis) or (None,))) for axis in self.axes)]

    def to_file(self, array: Array) -> Array:
        """An output of the graph as the file declares it."""
        sizes = dict(zip(self.axes, array.shape, strict=True))
        letters = [letter for group in self.groups for letter in group]
        rest = [axis for axis in self.axes if axis not in letters]
        turned = array.transpose([self.axes.index(axis) for axis in letters + rest])
        shape = [prod(sizes[letter] for letter in group) for group in self.groups]
        result = turned.reshape(shape)
        for step in self.steps:
            result = step.apply(result)
        return np.ascontiguousarray(result).reshape(result.shape)

    def _split(self, group: Sequence[str], total: int) -> list[int]:
        """The sizes of the letters folded into one axis; at most one of them is open."""
        known = prod(self.sizes[letter] for letter in group if letter in self.sizes)
        free = [letter for letter in group if letter not in self.sizes]
        if len(free) > 1 or total % known or (not free and total != known):
            folded = "*".join(group) or "1"
            raise GraphError(
                f"the input {self.name!r} has {total} along {folded}, "
                f"which must be a multiple of {known}"
            )
        return [self.sizes.get(letter, total // known) for letter in group]

    def _shown(self) -> str:
        return f"({', '.join(str(dim) for dim in self.shape)})"
