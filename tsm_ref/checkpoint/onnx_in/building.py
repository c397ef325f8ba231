"""A graph of ours while it is made out of an ONNX file: its nodes, tensors and numbered values."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.checkpoint.contents import shown
from tsm_ref.checkpoint.onnx_in.budget import Broken
from tsm_ref.checkpoint.onnx_in.moves import checked
from tsm_ref.checkpoint.onnx_in.values import AXES, Base
from tsm_ref.graph import Node
from tsm_ref.ops_table import OPS, Shape

Array = NDArray[Any]

WHOLE = ("uint8", "int8", "int16")
"""The types of tensors that are kept as they are: tables, and weights of whole numbers."""


class Building:
    """The graph so far. Every element of every value has a number, by which it is known again."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.parameters: dict[str, Array] = {}
        self.bases: dict[str, Base] = {}
        self._starts: list[Base] = []
        self._next = 0
        self._shifts: dict[tuple[Any, ...], Base] = {}
        self._joins: dict[tuple[str, str], Base] = {}
        self._copies: dict[str, int] = {}
        self._rounded: dict[tuple[Any, ...], Base] = {}

    def emit(
        self, op: str, name: str, inputs: Sequence[str], letters: str | None = None, **attrs: Any
    ) -> Base:
        """Add a node to the graph; returns its value."""
        shapes = [
            self.bases[i].shape if i in self.bases else self.parameters[i].shape for i in inputs
        ]
        shape = OPS[op].shape(shapes, attrs)
        checked(shape)
        name = self._unused(name)
        self.nodes.append(Node(name, op, tuple(inputs), attrs))
        return self.value(name, shape, letters)

    def parameter(self, name: str, values: Array) -> str:
        """Keep a tensor for the weights; returns its name, a new one where the name is taken."""
        if str(values.dtype) not in WHOLE:
            values = np.asarray(values, np.float32)
        values = np.ascontiguousarray(values)
        if not np.isfinite(values).all():
            raise Broken(f"the tensor {shown(name)} holds a NaN or an infinity")
        old = self.parameters.get(name)
        if old is None or old.shape != values.shape or not np.array_equal(old, values):
            name = self._unused(name)
            self.parameters[name] = values
        return name

    def replace_last(self, base: Base, node: Node) -> Base:
        """Put another node in the place of the last one, whose value nothing else has read."""
        del self.bases[base.name]
        self.nodes[-1] = node
        made = replace(base, name=node.name)
        self.bases[node.name] = made
        self._starts[bisect_left(self._starts, base.start, key=lambda b: b.start)] = made
        return made

    def shifted(self, base: Base, name: str, d: tuple[int, ...], fill: str, segment: int) -> Base:
        """A value behind a shift; the same shift of the same value is made once."""
        key = (base.name, d, fill, segment)
        if key not in self._shifts:
            self._shifts[key] = self.emit(
                "TemporalShift", name, [base.name], base.axes, d=d, fill=fill, segment=segment
            )
        return self._shifts[key]

    def joined(self, base: Base, other: Base, name: str) -> Base:
        """The channels of a value with those of another behind them, made once."""
        key = (base.name, other.name)
        if key not in self._joins:
            self._joins[key] = self.emit("Concat", name, list(key), base.axes)
        return self._joins[key]

    def rounded(self, base: Base, name: str, dtype: str, scale: float, zero: int) -> Base:
        """The reals that a value rounded to whole numbers stands for; made once for the same."""
        key = (base.name, dtype, scale, zero)
        if key not in self._rounded:
            steps = {"dtype": dtype, "y_scale": scale, "y_zero_point": zero}
            whole = self.emit("QuantizeLinear", name, [base.name], base.axes, **steps)
            back = {"x_scale": scale, "x_zero_point": zero}
            made = self.emit("DequantizeLinear", f"{name}.back", [whole.name], base.axes, **back)
            self._rounded[key] = made
        return self._rounded[key]

    def origin(self, bases: Sequence[Base]) -> Base | None:
        """The value that all of these are roundings of, the last there is; None where none is."""
        lines = [[name for name, _ in self._line(base)] for base in bases]
        common = (name for name in lines[0] if all(name in line for line in lines))
        found = next(common, None)
        return None if found is None else self.bases[found]

    def rounded_like(self, value: Base, base: Base, origin: Base, name: str) -> Base:
        """A value rounded, one after another, to the steps that made `base` of `origin`."""
        line = self._line(base)
        made = [steps for each, steps in line[: [n for n, _ in line].index(origin.name)]]
        for steps in reversed(made):
            value = self.rounded(value, name, *steps)
        return value

    def steps_of(self, base: Base) -> tuple[Any, ...]:
        """The steps to which a value was rounded last; none where it was not."""
        return self._line(base)[0][1]

    def _line(self, base: Base) -> list[tuple[str, tuple[Any, ...]]]:
        """A value and all that it is a rounding of, each with its steps."""
        made = {made.name: key for key, made in self._rounded.items()}
        line, name = [], base.name
        while name in made:
            line.append((name, made[name][1:]))
            name = made[name][0]
        return [*line, (name, ())]

    def owners(self, codes: NDArray[np.int64]) -> list[Base]:
        """All values of which these are numbers of elements, without those of zeros."""
        found = np.unique(codes[codes >= 0])
        bases: list[Base] = []
        while found.size:
            bases.append(self.owner(int(found[0])))
            found = found[found >= bases[-1].start + prod(bases[-1].shape)]
        return bases

    def owner(self, code: int) -> Base:
        """The value of which this is the number of an element."""
        return self._starts[bisect_right(self._starts, code, key=lambda base: base.start) - 1]

    def value(self, name: str, shape: Shape, axes: str | None = None) -> Base:
        """A new value, whose elements get the next numbers."""
        base = Base(name, shape, self._next, axes or AXES[len(shape)])
        self._next += prod(checked(shape))
        self._starts.append(base)
        self.bases[name] = base
        return base

    def _unused(self, name: str) -> str:
        unique, count = name, self._copies.get(name, 1)
        while unique in self.bases or unique in self.parameters:
            count += 1
            unique = f"{name}#{count}"
        self._copies[name] = count
        return unique
