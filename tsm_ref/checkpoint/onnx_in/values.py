"""The values of an ONNX file as its interpretation sees them, and how a shift is read off one.

While a file is interpreted, a tensor is one of three things: a constant; a `View`, which is a value
of our graph with its axes N, C, T, H, W permuted and folded together; or `Moved`, an array of the
tensor's shape in which every element is the number of the element that it was copied from, and -1
for zero. Reshapes, slices, pads and scatters just carry these numbers along. Where a layer reads
them, `explain` looks for the axes and the shift that give exactly these numbers.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.checkpoint.finish import Step
from tsm_ref.checkpoint.views import Groups
from tsm_ref.passes.streaming import FAR

Codes = NDArray[np.int64]
Array = NDArray[Any]
Shape = tuple[int, ...]

ZERO = -1
AXES: Mapping[int, str] = {5: "NCTHW", 3: "NCT", 2: "NC"}


@dataclass(frozen=True)
class Base:
    """A value of our graph: its name, its size along each of its axes, the number of element 0."""

    name: str
    shape: Shape
    start: int
    axes: str

    @property
    def size(self) -> Mapping[str, int]:
        """The size of each axis by its letter."""
        return dict(zip(self.axes, self.shape, strict=True))

    def codes(self) -> Codes:
        """The numbers of all its elements."""
        return self.start + np.arange(prod(self.shape)).reshape(self.shape)


@dataclass(frozen=True)
class View:
    """A value of our graph in the layout of the file: the letters folded into each axis."""

    base: Base
    groups: Groups

    @property
    def shape(self) -> Shape:
        """The shape in the file."""
        size = self.base.size
        return tuple(prod(size[letter] for letter in group) for group in self.groups)

    def letters(self, axis: int) -> tuple[str, ...]:
        """The letters of an axis whose size is above 1."""
        return tuple(letter for letter in self.groups[axis] if self.base.size[letter] > 1)

    def codes(self) -> Codes:
        """The numbers of its elements, in the layout of the file."""
        order = [letter for group in self.groups for letter in group]
        order += [letter for letter in self.base.axes if letter not in order]
        turned = self.base.codes().transpose([self.base.axes.index(letter) for letter in order])
        return turned.reshape(self.shape)

    def transposed(self, perm: Sequence[int]) -> "View":
        """The same value with the file's axes in another order."""
        return View(self.base, tuple(self.groups[axis] for axis in perm))

    def reshaped(self, shape: Shape) -> "View | None":
        """The same value folded in another way; None where the new axes cut through the letters.

        >>> base = Base("x", (2, 3, 4, 5, 5), 0, "NCTHW")
        >>> frames = View(base, (("N", "T"), ("C",), ("H",), ("W",)))
        >>> frames.reshaped((2, 4, 3, 25)).groups
        (('N',), ('T',), ('C',), ('H', 'W'))
        """
        letters = [letter for group in self.groups for letter in group]
        groups = regroup([self.base.size[letter] for letter in letters], letters, shape)
        return None if groups is None else View(self.base, groups)


@dataclass(frozen=True)
class Finishing:
    """An answer of our graph, and what the file does with it behind the network."""

    view: View
    steps: tuple[Step, ...]

    @property
    def shape(self) -> Shape:
        """The shape in the file."""
        x = np.broadcast_to(np.float32(0), self.view.shape)
        for step in self.steps:
            x = step.apply(x)
        return x.shape

    def then(self, step: Step) -> "Finishing":
        """The answer behind one more step."""
        return Finishing(self.view, (*self.steps, step))


@dataclass(frozen=True)
class Moved:
    """Elements of values of our graph in some order, by their numbers."""

    codes: Codes

    @property
    def shape(self) -> Shape:
        """The shape in the file."""
        return self.codes.shape


@dataclass(frozen=True)
class Whole:
    """Whole numbers of the file: the reals that they stand for, and how these were rounded.

    ``value`` is a `View` or `Moved` of ``scale * (q - zero_point)``.
    """

    value: "View | Moved"
    dtype: str
    scale: float
    zero_point: int

    @property
    def shape(self) -> Shape:
        """The shape in the file."""
        return self.value.shape


@dataclass(frozen=True)
class LookedUp:
    """Whole numbers as places in a table, and what stood there once the file has looked it up."""

    places: Whole
    table: Array | None = None

    @property
    def shape(self) -> Shape:
        """The shape in the file."""
        return self.places.shape


@dataclass(frozen=True)
class Explained:
    """What numbers mean: a value of our graph, shifted by `d`, in a layout."""

    groups: Groups
    d: tuple[int, ...]
    fill: str
    segment: int


def regroup(sizes: Sequence[int], letters: Sequence[str], shape: Shape) -> Groups | None:
    """Cut a row of letters so that the products of their sizes are `shape`; None if they are not.

    A letter of size 1 goes to an axis of size 1 where the next one is, else to the axis before.

    >>> regroup([2, 4, 3, 1, 1], "NTCHW", (8, 3))
    (('N', 'T'), ('C', 'H', 'W'))
    """
    groups: list[tuple[str, ...]] = []
    place = 0
    for axis, wanted in enumerate(shape):
        group: list[str] = []
        product = 1
        following = shape[axis + 1] if axis + 1 < len(shape) else 0
        while place < len(letters):
            size = sizes[place]
            if size == 1 and product == wanted and (group or wanted > 1) and following == 1:
                break
            if product * size > wanted or (wanted == 1 and group and following):
                break
            if wanted == 1 and size > 1:
                break
            product *= size
            group.append(letters[place])
            place += 1
        if product != wanted:
            return None
        groups.append(tuple(group))
    return tuple(groups) if place == len(letters) else None


def explain(codes: Codes, base: Base) -> Explained | None:
    """The layout and the shift that make exactly these numbers out of a value; None without one."""
    if codes.size != prod(base.shape):
        return None
    for groups in layouts(codes.shape, base):
        order = [letter for group in groups for letter in group]
        split = codes.reshape([base.size[letter] for letter in order])
        rest = [letter for letter in base.axes if letter not in order]
        full = split.reshape(*split.shape, *[1] * len(rest))
        names = order + rest
        found = shift_in_time(full.transpose([names.index(letter) for letter in base.axes]), base)
        if found is not None:
            return Explained(groups, *found)
    return None


def layouts(shape: Shape, base: Base) -> Iterator[Groups]:
    """Every way to fold the axes of a value into a shape."""
    size = base.size
    wide = [letter for letter in base.axes if size[letter] > 1]
    narrow = [letter for letter in base.axes if size[letter] == 1]
    for order in permutations(wide):
        groups = regroup([size[letter] for letter in order], order, shape)
        if groups is not None:
            yield _with_narrow(groups, shape, narrow)


def _with_narrow(groups: Groups, shape: Shape, narrow: list[str]) -> Groups:
    """Give the axes of size 1 the letters of size 1, the last axis the last letter."""
    left = list(narrow)
    filled = []
    for group, size in zip(reversed(groups), reversed(shape), strict=True):
        filled.append((left.pop(),) if size == 1 and not group and left else group)
    return tuple(reversed(filled))


def shift_in_time(codes: Codes, base: Base) -> tuple[tuple[int, ...], str, int] | None:
    """The shift that makes these numbers, in the axes of the value, out of its own."""
    own = base.codes()
    if np.array_equal(codes, own):
        return (0,) * base.shape[1], "zero", 0
    if len(base.shape) < 3:
        return None
    source = _frames_read(codes, own)
    if source is None:
        return None
    frames = base.shape[2]
    for segment in (0, *(s for s in range(2, frames) if frames % s == 0)):
        for fill in ("zero", "replicate", "circular"):
            d = _shift_of(source, fill, segment or frames)
            if d is not None and np.array_equal(codes, read_frames(own, source)):
                return d, fill, segment
    return None


def _frames_read(codes: Codes, own: Codes) -> Codes | None:
    """For each channel and frame, the frame that is read (-1: zero), judged at one place."""
    read, numbers = (v.reshape(*v.shape[:3], -1)[-1, :, :, -1] for v in (codes, own))
    stride = int(numbers[0, 1] - numbers[0, 0]) if numbers.shape[1] > 1 else 1
    source = np.where(read == ZERO, ZERO, (read - numbers[:, :1]) // stride)
    inside = (source >= ZERO) & (source < numbers.shape[1])
    rows = np.arange(len(numbers))[:, None]
    if not inside.all() or not np.array_equal(
        np.where(source == ZERO, ZERO, numbers[rows, source]), read
    ):
        return None
    return source


def _shift_of(source: Codes, fill: str, segment: int) -> tuple[int, ...] | None:
    """One `d` per channel that reads these frames under a fill; None where a channel has none.

    A channel that is zero at all times is read from `FAR` away: how far, the file does not tell.
    """
    frames = source.shape[1]
    t = np.arange(frames)
    first = t - t % segment
    tables: dict[bytes, int] = {}
    for d in sorted(range(-segment, segment + 1), key=lambda d: (-abs(d), d)):
        inside = t % segment - d
        if fill == "zero":
            row = np.where((inside >= 0) & (inside < segment), first + inside, ZERO)
        elif fill == "replicate":
            row = first + np.clip(inside, 0, segment - 1)
        else:
            row = first + inside % segment
        tables[row.astype(np.int64).tobytes()] = d
    if fill == "zero":
        tables[np.full(frames, ZERO, np.int64).tobytes()] = FAR
    found = [tables.get(np.ascontiguousarray(row).tobytes()) for row in source]
    return None if None in found else tuple(d for d in found if d is not None)


def read_frames(own: Codes, source: Codes) -> Codes:
    """The numbers of a value whose channel c reads frame ``source[c, t]`` at time t."""
    channels = np.arange(own.shape[1])[:, None]
    result = own[:, channels, source]
    result[:, source == ZERO] = ZERO
    return result


def explain_state(codes: Codes, kept: Base, state: Base) -> tuple[Groups, tuple[int, ...]] | None:
    """The layout and the channels in which a state takes the place of a value's own channels."""
    if codes.size != prod(kept.shape):
        return None
    own, other = kept.codes(), state.codes()
    for groups in layouts(codes.shape, kept):
        order = [letter for group in groups for letter in group]
        rest = [letter for letter in kept.axes if letter not in order]
        full = codes.reshape([kept.size[letter] for letter in order + rest])
        full = full.transpose([(order + rest).index(letter) for letter in kept.axes])
        channels = np.flatnonzero((full != own).any(axis=(0, *range(2, own.ndim))))
        if len(channels) == other.shape[1] and np.array_equal(
            full[:, channels].reshape(-1), other.reshape(-1)
        ):
            return groups, tuple(int(c) for c in channels)
    return None
