"""The interpretation of an ONNX file: node after node, into the nodes of our graph.

A `Reading` is one attempt under one assumption about what the axes of the inputs mean. Ops that
move elements are carried out on the numbers of the elements; ops that compute become nodes of our
graph, in front of which a shift is put where the numbers tell one. An attempt that fails says why;
one that succeeds hands back what it made, `Finished`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tsm_ref.checkpoint.contents import FileState, shown
from tsm_ref.checkpoint.finish import Step
from tsm_ref.checkpoint.onnx_in.budget import Broken, Budget, NotUnderstood
from tsm_ref.checkpoint.onnx_in.building import Building
from tsm_ref.checkpoint.onnx_in.guard import OnnxModel, OnnxNode
from tsm_ref.checkpoint.onnx_in.in_space import explain_in_space
from tsm_ref.checkpoint.onnx_in.moves import (
    FOLDS,
    MOVES,
    REPORTS,
    Call,
    checked,
    permutation,
    target_shape,
)
from tsm_ref.checkpoint.onnx_in.selection import Selection, pieces, selection
from tsm_ref.checkpoint.onnx_in.values import (
    ZERO,
    Base,
    Codes,
    Finishing,
    LookedUp,
    Moved,
    View,
    Whole,
    explain,
    explain_state,
)
from tsm_ref.errors import CheckpointError
from tsm_ref.graph import Node
from tsm_ref.ops_table import Shape
from tsm_ref.passes.whole_numbers import Rounded

Array = NDArray[Any]


@dataclass(frozen=True)
class Scores:
    """How much each place of `theta` looks at each place of `phi`, inside a non-local block."""

    theta: Base
    phi: Base
    mode: str = ""

    @property
    def shape(self) -> Shape:
        """The shape in the file: (N, places, places)."""
        n, _, *here = self.theta.shape
        return n, prod(here), prod(self.phi.shape[2:])


Value = Any
"""An array (a constant), a `View`, a `Moved`, `Scores`, or a `Finishing`."""


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


class Finished(NamedTuple):
    """What a file turned out to be: the nodes that an output depends on, and all they need.

    ``outputs`` are views of our values by the names of the file and what it does with them, or
    constants; ``read`` names the values and tensors that the nodes read, the inputs of the graph
    among them.
    """

    nodes: tuple[Node, ...]
    parameters: Mapping[str, Array]
    outputs: Mapping[str, "Finishing | Array"]
    states: tuple[FileState, ...]
    parts: Mapping[str, Part]
    read: frozenset[str]
    steps: Mapping[str, Rounded] = {}


class Reading(Building):
    """One attempt to read a model; `run` hands back what came of it."""

    def __init__(
        self, model: OnnxModel, layers: Mapping[str, Any], budget: Budget | None = None
    ) -> None:
        super().__init__()
        self.model = model
        self.values: dict[str, Value] = dict(model.constants)
        self.scales: dict[str, tuple[View, float]] = {}
        self.means: dict[str, Base] = {}
        self.frames: dict[str, Base] = {}
        self.flat: dict[tuple[str, str], Base] = {}
        self.integers: dict[str, tuple[Array, Array, int]] = {}
        self.steps: dict[str, Rounded] = {}
        self.done = 0
        self._layers = layers
        self._states: list[State] = []
        self._parts: dict[str, Part] = {}
        self._budget = budget or Budget(model.size)
        self._readers = Counter(name for node in model.nodes for name in node.inputs)

    def add_input(self, name: str, base_shape: Shape, groups: tuple[tuple[str, ...], ...]) -> None:
        """Declare a graph input; `base_shape` is (N, C, T, H, W), (N, C, T) or (N, C)."""
        try:
            self.values[name] = View(self.value(name, base_shape), groups)
        except ValueError as error:
            raise Broken(f"the input {shown(name)}: {error}") from None

    def run(self) -> Finished:
        """Interpret every node; raises `NotUnderstood`, or `Broken` where no other try can help."""
        last = {name: i for i, node in enumerate(self.model.nodes) for name in node.inputs}
        kept = set(self.model.outputs)
        for place, node in enumerate(self.model.nodes):
            try:
                results = self._carry_out(node)
            except CheckpointError:
                raise
            except (
                ValueError, TypeError, KeyError, IndexError, OverflowError, ArithmeticError,
                MemoryError, AttributeError, RuntimeError,
            ) as error:  # fmt: skip
                raise NotUnderstood(f"the node {node}: {error}") from None
            for name, value in zip(node.outputs, results, strict=False):
                if name in last or name in kept:
                    self.values[name] = value
            for name in node.inputs:
                if last[name] == place and name not in kept:
                    self.values.pop(name, None)
            self.done = place + 1
        return self._finished()

    # What nodes read

    def data(self, node: OnnxNode, place: int) -> View:
        """An input that must be a value of our graph; a shift is made where it is shifted."""
        value = self.values.get(node.inputs[place])
        if isinstance(value, np.ndarray):
            raise Broken(
                f"the node {node} no longer depends on the input of the graph: its operand "
                f"{shown(node.inputs[place])} is a constant. This export is broken (an old "
                "exporter drops the assignments of a shift); export again with opset 11 or newer"
            )
        return self.resolved(value, node.inputs[place], str(node))

    def resolved(self, value: Value, name: str, reader: str) -> View:
        """A value as a `View`; numbers of elements are explained first."""
        if isinstance(value, View):
            return value
        if not isinstance(value, Moved):
            raise NotUnderstood(f"{reader} cannot read {shown(name)}")
        view = self._explained(value.codes, name)
        if view is None and self._repeats(value.codes):
            raise NotUnderstood(
                f"{reader} reads some pixels several times ({shown(name)}): windows or crops that "
                "are cut out of one picture and joined are not read; export the network for one"
            )
        if view is None:
            raise NotUnderstood(
                f"what {reader} reads ({shown(name)}) is no temporal shift and no known layout"
            )
        self.values[name] = view
        return view

    def constant(self, node: OnnxNode, place: int) -> Array | None:
        """An input that must be a constant; None where it is absent."""
        if place >= len(node.inputs) or not node.inputs[place]:
            return None
        value = self.values[node.inputs[place]]
        if not isinstance(value, np.ndarray):
            raise NotUnderstood(f"the node {node} needs a constant as operand {place}")
        return value

    def call(self, node: OnnxNode) -> Call:
        """The node with the opset of the file."""
        return Call(node, self.model.opset, most=self._budget.one)

    def only_reader(self, tensor: str) -> bool:
        """True where one node reads a tensor, and it is no output."""
        return self._readers[tensor] == 1 and tensor not in self.model.outputs

    # Carrying out

    def _carry_out(self, node: OnnxNode) -> Sequence[Value]:
        inputs = [self.values[name] if name else None for name in node.inputs]
        while inputs and inputs[-1] is None:
            inputs.pop()
        fixed = all(isinstance(v, np.ndarray) or v is None for v in inputs)
        if node.op in REPORTS:
            shape = self.values[node.inputs[0]].shape
            whole = node.op == "Shape"
            part = shape[slice(node.attrs.get("start"), node.attrs.get("end"))]
            return [np.array(part if whole else prod(shape), np.int64)]
        if fixed and (node.op in MOVES or node.op in FOLDS):
            function = MOVES[node.op][0] if node.op in MOVES else FOLDS[node.op]
            with np.errstate(all="ignore"):
                return self._spent(
                    self._several(function(self.call(node), [_array(v) for v in inputs]))
                )
        if node.op == "Gather" and isinstance(inputs[1], LookedUp) and fixed_table(inputs[0]):
            return [replace(inputs[1], table=inputs[0])]
        if node.op in MOVES and any(isinstance(value, Whole) for value in inputs):
            return self._move_whole(node, inputs)
        if node.op in MOVES:
            return self._move(node, inputs)
        if node.op in self._layers:
            results: Sequence[Value] = self._layers[node.op](self, node)
            return results
        raise NotUnderstood(f"the node {node} is supported on constants only")

    def _move_whole(self, node: OnnxNode, inputs: list[Value]) -> Sequence[Value]:
        """Whole numbers that are moved about: the reals that they stand for are."""
        first = next(value for value in inputs if isinstance(value, Whole))
        reals: list[Value] = []
        for place, value in enumerate(inputs):
            if isinstance(value, Whole):
                if (value.scale, value.zero_point) != (first.scale, first.zero_point):
                    raise NotUnderstood(f"the node {node} joins values of different scales")
                reals.append(value.value)
            elif isinstance(value, np.ndarray) and self._is_whole(node, place, value):
                reals.append(np.asarray(value.astype(np.float32) - first.zero_point))
            else:
                reals.append(value)
        bare = (
            node.op == "Pad" and len(reals) < 3 and node.attrs.get("mode", "") in ("", "constant")
        )
        if bare and first.zero_point:
            raise NotUnderstood(f"the node {node} pads whole numbers with another than their zero")
        found = self._move(node, reals)
        return [replace(first, value=value) if isinstance(value, View | Moved)
                else value for value in found]  # fmt: skip

    def _is_whole(self, node: OnnxNode, place: int, value: Array) -> bool:
        """True for a constant that is joined to whole numbers, and is no index or shape."""
        joined = node.op == "Concat" or (node.op == "Pad" and place == 2)
        return joined or (node.op.startswith("Scatter") and place == 2)

    def _move(self, node: OnnxNode, inputs: list[Value]) -> Sequence[Value]:
        call = replace(self.call(node), zero=ZERO)
        x = inputs[0]
        if isinstance(x, View):
            if node.op == "Identity":
                return [x]
            if node.op == "Transpose":
                return [x.transposed(permutation(call, len(x.groups)))]
            if node.op in ("Reshape", "Flatten", "Squeeze", "Unsqueeze"):
                rest = [None, *(_array(v) for v in inputs[1:])]
                folded = x.reshaped(target_shape(call, rest, x.shape))
                if folded is not None:
                    return [folded]
        if isinstance(x, Finishing):
            if node.op == "Identity":
                return [x]
            rest = [None, *(_array(v) for v in inputs[1:])]
            return [_finishing_moved(node, x, target_shape(call, rest, x.shape))]
        function, places = MOVES[node.op]
        arrays = [
            self._codes(v) if not places or i in places else _array(v) for i, v in enumerate(inputs)
        ]
        return [
            np.broadcast_to(np.float32(0), part.shape)
            if (part.size and part.max() == ZERO)
            else Moved(part)
            for part in self._spent(self._several(function(call, arrays)))
        ]

    def _codes(self, value: Value) -> Codes:
        """A value as numbers of elements; zeros are `ZERO`."""
        checked(value.shape, self._budget.one)
        if isinstance(value, np.ndarray):
            if np.any(value):
                raise NotUnderstood("joins a constant that is not zero to data")
            return np.broadcast_to(np.int64(ZERO), value.shape)
        if isinstance(value, Moved):
            return value.codes
        self._budget.spend(prod(value.shape))
        codes: Codes = value.codes()
        return codes

    def _repeats(self, codes: Codes) -> bool:
        """True where an element stands at several places."""
        self._budget.spend(8 * codes.size)
        used = np.sort(codes[codes != ZERO])
        return bool((np.diff(used) == 0).any())

    def _spent(self, parts: list[Array]) -> list[Array]:
        self._budget.spend(sum(part.size for part in parts if part.flags.owndata))
        return parts

    def _several(self, result: "Array | list[Array]") -> list[Array]:
        return [np.asarray(part) for part in (result if isinstance(result, list) else [result])]

    def _explained(self, codes: Codes, name: str) -> View | None:
        self._budget.spend(4 * codes.size)
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
        self._budget.spend(8 * codes.size)
        parts = pieces(codes, [base.start for base in self.bases.values()])
        bases = [self.owner(int(part.max())) for part in parts]
        found = [explain(part, base) for part, base in zip(parts, bases, strict=True)]
        known = [one for one in found if one is not None]
        alike = {(one.groups, base.axes) for one, base in zip(known, bases, strict=False)}
        kinds = {(one.fill, one.segment) for one in known if any(one.d)} or {("zero", 0)}
        if not parts or len(known) < len(parts) or len(alike) > 1 or len(kinds) > 1:
            return None
        base = bases[0]
        for i, other in enumerate(bases[1:], start=1):
            base = self.joined(base, other, f"{name}.joined.{i}")
        d, (fill, segment) = tuple(v for one in known for v in one.d), kinds.pop()
        if any(d):
            base = self.shifted(base, name, d, fill, segment)
        return View(base, known[0].groups)

    def _crossed(self, codes: Codes, base: Base, name: str) -> View | None:
        """A value whose channels were moved along height and width; None where they were not."""
        self._budget.spend(8 * codes.size)
        found = explain_in_space(codes, base)
        if found is None:
            return None
        dh, dw, fill = found.dh, found.dw, found.fill
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
        self._budget.spend(8 * codes.size)
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
            if name not in self._parts:
                self._parts[name] = Part(base.name, None, spans["H"], spans["W"])
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
        if name not in self._parts:
            self._parts[name] = Part(base.name, (start, stop))
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
                        (s.kept, s.start) == (kept, start) for s in self._states
                    ):
                        raise NotUnderstood(f"the state {shown(state.name)} keeps a strange past")
                    self._states.append(State(state.name, kept, start, stop))
                    return View(base, groups)
        return None

    # The result

    def _finished(self) -> Finished:
        states = self._handed_on()
        gone = {state.output for state in states}
        outputs = {name: self._output(name) for name in self.model.outputs if name not in gone}
        answers = [answer for answer in outputs.values() if isinstance(answer, Finishing)]
        live = {answer.view.base.name for answer in answers}
        nodes = []
        for node in reversed(self.nodes):
            if node.name in live:
                live.update(node.inputs)
                nodes.append(node)
        read = frozenset(live)
        parameters = {name: w for name, w in self.parameters.items() if name in read}
        return Finished(
            tuple(nodes[::-1]), parameters, outputs, states, self._parts, read, self.steps
        )

    def _handed_on(self) -> tuple[FileState, ...]:
        """The states, each with the output that hands it on."""
        found = []
        for state in self._states:
            wanted = state.kept.codes()[:, state.start : state.stop].reshape(-1)
            shape = next(s for n, s in self.model.inputs if n == state.input)
            for name in self.model.outputs:
                value = self.values[name]
                if not isinstance(value, View | Moved) or len(value.shape) != len(shape):
                    continue
                codes = value.codes() if isinstance(value, View) else value.codes
                if np.array_equal(codes.reshape(-1), wanted):
                    place = (state.kept.name, state.start, state.stop)
                    found.append(FileState(state.input, name, *place, shape))
                    break
            else:
                raise NotUnderstood(f"no output hands the state {shown(state.input)} on")
        return tuple(found)

    def _output(self, name: str) -> "Finishing | Array":
        value = self.values[name]
        if isinstance(value, np.ndarray | Finishing):
            return value
        view = self.resolved(value, name, f"the output {shown(name)}")
        base, groups = view.base, view.groups
        if base.size["C"] == 1:  # one channel, folded into an axis that is there without it
            groups = tuple(tuple(v for v in g if v != "C") if len(g) > 1 else g for g in groups)
        if base.axes == "NCT" and base.size["C"] == 1 and groups == (("N",), ("T",)):
            base = self.emit("Squeeze", name, [base.name], "NT", axes=(1,))
        return Finishing(View(base, groups), ())


def fixed_table(value: Value) -> bool:
    """True for a constant with an entry for each value of 8 bits."""
    return isinstance(value, np.ndarray) and value.shape == (256,) and value.dtype.itemsize == 1


def _finishing_moved(node: OnnxNode, x: Finishing, shape: Shape) -> Finishing:
    """An answer behind the network in another shape: axes of size 1 come and go."""
    if shape == x.shape:
        return x
    for axis in range(max(len(shape), len(x.shape))):
        for op in ("Squeeze", "Unsqueeze"):
            if op == "Squeeze" and x.shape[axis : axis + 1] != (1,):
                continue
            moved = x.then(Step(op, axis)) if axis <= len(x.shape) else x
            if moved.shape == shape:
                return moved
    raise NotUnderstood(f"the node {node} moves the classes of an answer about")


def _array(value: Value) -> Any:
    if value is not None and not isinstance(value, np.ndarray):
        raise ValueError("needs constants where it has data")
    return value
