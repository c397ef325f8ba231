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
from tsm_ref.checkpoint.onnx_in.finding import Finding, Part
from tsm_ref.checkpoint.onnx_in.guard import OnnxModel, OnnxNode
from tsm_ref.checkpoint.onnx_in.moves import (
    FOLDS,
    MOVES,
    REPORTS,
    Call,
    checked,
    permutation,
    target_shape,
)
from tsm_ref.checkpoint.onnx_in.values import (
    ZERO,
    Base,
    Codes,
    Finishing,
    LookedUp,
    Moved,
    View,
    Whole,
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


class Reading(Finding):
    """One attempt to read a model; `run` hands back what came of it."""

    def __init__(
        self, model: OnnxModel, layers: Mapping[str, Any], budget: Budget | None = None
    ) -> None:
        super().__init__(model, budget or Budget(model.size))
        self.values: dict[str, Value] = dict(model.constants)
        self.scales: dict[str, tuple[View, float]] = {}
        self.means: dict[str, Base] = {}
        self.flat: dict[tuple[str, str], Base] = {}
        self.integers: dict[str, tuple[Array, Array, int]] = {}
        self.steps: dict[str, Rounded] = {}
        self.done = 0
        self._layers = layers
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
        view = self.explained(value.codes, name)
        if view is None and self.repeats(value.codes):
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
        return Call(node, self.model.opset, most=self.budget.one)

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
        checked(value.shape, self.budget.one)
        if isinstance(value, np.ndarray):
            if np.any(value):
                raise NotUnderstood("joins a constant that is not zero to data")
            return np.broadcast_to(np.int64(ZERO), value.shape)
        if isinstance(value, Moved):
            return value.codes
        if isinstance(value, LookedUp):
            raise NotUnderstood("moves about what it looked up before saying its scale")
        self.budget.spend(prod(value.shape))
        codes: Codes = value.codes()
        return codes

    def _spent(self, parts: list[Array]) -> list[Array]:
        self.budget.spend(sum(part.size for part in parts if part.flags.owndata))
        return parts

    def _several(self, result: "Array | list[Array]") -> list[Array]:
        return [np.asarray(part) for part in (result if isinstance(result, list) else [result])]

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
            tuple(nodes[::-1]), parameters, outputs, states, self.parts, read, self.steps
        )

    def _handed_on(self) -> tuple[FileState, ...]:
        """The states, each with the output that hands it on."""
        found = []
        for state in self.states:
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
