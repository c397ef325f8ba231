"""What numbers of elements mean: a shift, a window, channels of several values, a state.

A `Reading` carries elements about by their numbers. Where an op computes with them, the value
of our graph is looked for, and what has to be done to it, that gives exactly these numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import numpy as np

from tsm_ref.checkpoint.contents import shown
from tsm_ref.checkpoint.onnx_in.budget import Budget, NotUnderstood
from tsm_ref.checkpoint.onnx_in.building import Building
from tsm_ref.checkpoint.onnx_in.guard import OnnxModel
from tsm_ref.checkpoint.onnx_in.in_space import explain_in_space
from tsm_ref.checkpoint.onnx_in.selection import Selection, pieces, selection
from tsm_ref.checkpoint.onnx_in.values import (
    ZERO,
    Base,
    Codes,
    View,
    explain,
    explain_state,
)


@dataclass(frozen=True)
class State:
    """A state of a file that runs frame by frame: its input, and the channels that it keeps."""

    input: str
    kept: Base
    start: int
    stop: int


class Part(NamedTuple):
    """Some channels of an input of the file, or a window of it, as an input of our graph."""

    of: str
    channels: tuple[int, int] | None = None
    rows: tuple[int, int] | None = None
    columns: tuple[int, int] | None = None


class Finding(Building):
    """The graph so far, and how numbers of elements are found in it again."""

    def __init__(self, model: OnnxModel, budget: Budget) -> None:
        super().__init__()
        self.model = model
        self.frames: dict[str, Base] = {}
        self.states: list[State] = []
        self.parts: dict[str, Part] = {}
        self.budget = budget

    def repeats(self, codes: Codes) -> bool:
        """True where an element stands at several places."""
        self.budget.spend(8 * codes.size)
        used = np.sort(codes[codes != ZERO])
        return bool((np.diff(used) == 0).any())

    def explained(self, codes: Codes, name: str) -> View | None:
        """The value that gives these numbers, with all that it needs made; None without one."""
        self.budget.spend(4 * codes.size)
        high, low = int(codes.max()), int(codes[codes != ZERO].min())
        base, lowest = self.owner(high), self.owner(low)
        if base != lowest and (origin := self.origin(owners := self.owners(codes))):
            return self._rounded_in_parts(codes, owners, origin, name)
        if base != lowest:
            return self._with_state(
                codes, name, {base.name: base, lowest.name: lowest}
            ) or self._joined(codes, name)
        found = explain(codes, base)
        if found is None and base.name in dict(self.model.inputs):
            part, own = self._part(base, codes)
            found = explain(own, part)
            base = part if found else base
        if found is None:
            return self._crossed(codes, base, name) or self._selected(codes, base, name)
        if any(found.d):
            base = self.shifted(base, name, found.d, found.fill, found.segment)
        return View(base, found.groups)

    def _joined(self, codes: Codes, name: str) -> View | None:
        """Values whose channels stand one behind the other, and their shift; None where none do."""
        self.budget.spend(8 * codes.size)
        axis, parts = pieces(codes, [base.start for base in self.bases.values()])
        bases = [self.owner(int(part.max())) for part in parts]
        found = [explain(part, base) for part, base in zip(parts, bases, strict=True)]
        known = [one for one in found if one is not None]
        alike = {(one.groups, base.axes) for one, base in zip(known, bases, strict=False)}
        kinds = {(one.fill, one.segment) for one in known if any(one.d)} or {("zero", 0)}
        if not parts or len(known) < len(parts) or len(alike) > 1 or len(kinds) > 1:
            return None
        base = bases[0]
        if known[0].groups[axis][:1] != (base.axes[1],):  # they follow each other in space or time
            return None
        for i, other in enumerate(bases[1:], start=1):
            base = self.joined(base, other, f"{name}.joined.{i}")
        d, (fill, segment) = tuple(v for one in known for v in one.d), kinds.pop()
        if any(d):
            base = self.shifted(base, name, d, fill, segment)
        return View(base, known[0].groups)

    def _crossed(self, codes: Codes, base: Base, name: str) -> View | None:
        """A value whose channels were moved along height and width; None where they were not."""
        self.budget.spend(8 * codes.size)
        found = explain_in_space(codes, base)
        if found is None:
            return None
        dh, dw, fill = found.dh, found.dw, found.fill
        if any(found.in_time[0]):
            base = self.shifted(base, f"{name}.in_time", *found.in_time)
        moved = self.emit("SpatialShift", name, [base.name], dh=dh, dw=dw, fill=fill)
        return View(moved, found.groups)

    def _rounded_in_parts(
        self, codes: Codes, bases: Sequence[Base], origin: Base, name: str
    ) -> View | None:
        """A shift whose folds were rounded each to steps of its own: the sum of all of them.

        The shift comes first, as rounding moves nothing; then every rounding of it is zero but in
        the channels that are rounded so, and nothing is lost in the sum.
        """
        moved, width = codes.copy(), origin.size["C"]
        channels: list[set[int]] = []
        for base in bases:
            own = (codes >= base.start) & (codes < base.start + prod(base.shape))
            moved[own] += origin.start - base.start
            place = (codes[own] - base.start) // prod(base.shape[2:])
            channels.append(set(np.unique(place % width).tolist()))
        found = explain(moved, origin)
        if found is None or sum(map(len, channels)) > width:
            return None
        value = origin
        if any(found.d):
            value = self.shifted(origin, name, found.d, found.fill, found.segment)
        total: Base | None = None
        for base, part in zip(bases, channels, strict=True):
            made = self.rounded_like(value, base, origin, name)
            kept = np.isin(np.arange(width), list(part)).astype(np.float32)
            mask = self.parameter(f"{name}.part", kept.reshape(1, -1, *[1] * (len(base.shape) - 2)))
            made = self.emit("Mul", f"{name}.part", [made.name, mask], base.axes)
            total = (
                made if total is None
                else self.emit("Add", name, [total.name, made.name], base.axes)
            )  # fmt: skip
        steps = {self.steps_of(base) for base in bases}
        if total is not None and len(steps) == 1:
            total = self.rounded(total, f"{name}.whole", *steps.pop())
        return None if total is None else View(total, found.groups)

    def _selected(self, codes: Codes, base: Base, name: str) -> View | None:
        """A window of pixels, channels in another order, or the last frame; None where neither."""
        self.budget.spend(8 * codes.size)
        found = selection(codes, base)
        if found is None or not found.whole(base, "N"):
            return None
        last = base.size.get("T", 1) - 1
        if last and found.places["T"] == (last,) and found.whole(base, "C"):
            return self._last_frame(base, found, name)
        if "T" in base.axes and not found.whole(base, "T"):
            return None
        spans = {letter: found.span(letter) for letter in "HW" if letter in base.axes}
        if None in spans.values():
            return None
        if any(not found.whole(base, letter) for letter in spans):
            base = self._windowed(base, found)
        if not found.whole(base, "C"):
            if len(base.shape) != 5:
                return None
            order = found.places["C"]
            one_hot = np.eye(base.size["C"], dtype=np.float32)[list(order)]
            weight = self.parameter(f"{name}.order", one_hot[:, :, None, None, None])
            base = self.emit("Conv", f"{name}.channels", [base.name, weight])
        return View(base, found.groups)

    def _last_frame(self, base: Base, found: Selection, name: str) -> View | None:
        """The last frame of rows of features or logits, as a consensus takes it."""
        if any(base.size.get(letter, 1) > 1 for letter in "HW"):
            return None
        if base.axes == "NCTHW":
            base = self.emit("Flatten", f"{name}.flat", [base.name])
        made = self.emit("Consensus", name, [base.name], "NC", over="last")
        self.frames[made.name] = base
        return View(made, tuple(tuple(v for v in g if v in "NC") for g in found.groups))

    def _windowed(self, base: Base, found: Selection) -> Base:
        """A window of an input of the file; what was computed for all of it is for the window."""
        if base.name in dict(self.model.inputs):
            spans = {letter: found.span(letter) for letter in "HW"}
            name = f"{base.name}[{spans['H']}, {spans['W']}]"
            if name not in self.parts:
                self.parts[name] = Part(base.name, None, spans["H"], spans["W"])
                places = tuple(len(found.places[letter]) for letter in "HW")
                self.value(name, (*base.shape[:3], *places))
            return self.bases[name]
        node = next(n for n in reversed(self.nodes) if n.name == base.name)
        if node.op != "BatchNormalization" and not node.name.endswith(".channels"):
            raise NotUnderstood(f"a window of {shown(base.name)} is taken, inside of the network")
        before = self._windowed(self.bases[node.inputs[0]], found)
        inputs = [before.name, *node.inputs[1:]]
        return self.emit(node.op, f"{node.name}.window", inputs, **node.attrs)

    def _part(self, base: Base, codes: Codes) -> tuple[Base, Codes]:
        """Some channels of an input as an input of its own, and the numbers of its elements."""
        width, place = base.shape[1], prod(base.shape[2:])
        numbers = codes - base.start
        channel = numbers // place % width
        read = codes != ZERO
        start = int(channel.min(where=read, initial=width))
        stop = int(channel.max(where=read, initial=0)) + 1
        name = f"{base.name}[{start}:{stop}]"
        if name not in self.parts:
            self.parts[name] = Part(base.name, (start, stop))
            self.value(name, (base.shape[0], stop - start, *base.shape[2:]))
        part = self.bases[name]
        row = numbers // (place * width) * (stop - start) + channel - start
        return part, np.where(read, part.start + row * place + numbers % place, ZERO)

    def _with_state(self, codes: Codes, name: str, bases: Mapping[str, Base]) -> View | None:
        """Numbers that join a state input with a value: a causal shift, one frame at a time."""
        inputs = {entry for entry, _ in self.model.inputs}
        for kept in bases.values():
            for state in bases.values():
                if kept is state or state.name not in inputs or kept.shape[2] != 1:
                    continue
                found = explain_state(codes, kept, state)
                if found is not None:
                    groups, channels = found
                    d = tuple(int(c in channels) for c in range(kept.shape[1]))
                    base = self.shifted(kept, name, d, "zero", 0)
                    start, stop = channels[0], channels[-1] + 1
                    if stop - start != len(channels) or any(
                        (s.kept, s.start) == (kept, start) for s in self.states
                    ):
                        raise NotUnderstood(f"the state {shown(state.name)} keeps a strange past")
                    self.states.append(State(state.name, kept, start, stop))
                    return View(base, groups)
        return None
