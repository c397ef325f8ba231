"""The intermediate representation: a network is a list of nodes over named values.

Every architecture, ONNX file and Keras file becomes the same thing: a `Graph` of the few dozen ops
of `tsm_ref.ops_table`. A graph holds no numbers: `parameters` names the tensors it needs and their
shapes, and the weights travel beside it as a dictionary of arrays. That is what lets a checkpoint
be checked before one byte of it is read.

A node has exactly one output, which carries the node's own name; nodes stand in an order in which
every input exists already. Both together make a graph acyclic by construction.

Values are laid out NCTHW: ``(N, C, T, H, W)`` up to the head, ``(N, K, T)`` for logits per frame,
and ``(N, K)`` after the consensus.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import Any

from tsm_ref.errors import GraphError
from tsm_ref.ops_table import OPS, PARAMETER_ROLES, Op, Shape

Dim = int | str


@dataclass(frozen=True)
class Input:
    """A graph input; a dimension is a number, or a name such as ``"T"`` that a call binds."""

    name: str
    shape: tuple[Dim, ...]


@dataclass(frozen=True)
class Node:
    """One operation; its output is the value that carries the node's name."""

    name: str
    op: str
    inputs: tuple[str, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def rule(self) -> Op:
        """The row of the op table."""
        return OPS[self.op]

    def attr(self, name: str) -> Any:
        """An attribute, or its default where the node does not say.

        >>> Node("pool", "MaxPool", ("x",), {"kernel_shape": (1, 3, 3)}).attr("strides")
        (1, 1, 1)
        """
        return self.rule.value(self.attrs, name)


@dataclass(frozen=True)
class ValueType:
    """What the numbers of a value are: float32, or whole numbers that stand for real ones.

    A quantised one is ``scale * (q - zero_point)``.
    """

    dtype: str = "float32"
    scale: float = 1.0
    zero_point: int = 0

    @property
    def quantised(self) -> bool:
        """True where whole numbers stand for real ones."""
        return self.dtype != "float32"


SQUASHES: Mapping[str, str] = {
    "Softmax": "probabilities",
    "LogSoftmax": "log-probabilities",
    "Sigmoid": "independent probabilities",
}
"""The ops that turn logits into something else, and what they turn them into."""


@dataclass(frozen=True)
class Scores:
    """What an output says of the classes: ``kind`` is "logits" or a value of `SQUASHES`.

    ``logits`` is the value with the logits per clip, None where only frames have any, and
    ``frames`` the one with the logits per frame, None where there is none.
    """

    kind: str
    logits: str | None
    frames: str | None


@dataclass(frozen=True)
class Graph:
    """A network without its weights.

    ``parameters`` maps the name of each tensor that the nodes read to its shape.

    >>> relu = Node("y", "Relu", ("x",))
    >>> graph = Graph("tiny", (Input("x", ("N", 3, "T", "H", "W")),), (relu,), ("y",), {})
    >>> graph.shapes({"x": (1, 3, 8, 4, 4)})["y"]
    (1, 3, 8, 4, 4)
    """

    name: str
    inputs: tuple[Input, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    parameters: Mapping[str, Shape]

    def __post_init__(self) -> None:
        _check(self)

    @cached_property
    def node(self) -> Mapping[str, Node]:
        """The nodes by name."""
        return {node.name: node for node in self.nodes}

    @cached_property
    def consumers(self) -> Mapping[str, tuple[Node, ...]]:
        """For every value, the nodes that read it, in order."""
        readers: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                readers.setdefault(name, []).append(node)
        return {name: tuple(nodes) for name, nodes in readers.items()}

    def only_reader(self, name: str) -> Node | None:
        """The one node that reads a value; None for an output, and where several nodes do."""
        readers = self.consumers.get(name, ())
        return readers[0] if len(readers) == 1 and name not in self.outputs else None

    @cached_property
    def types(self) -> Mapping[str, ValueType]:
        """The type of every value; raises `GraphError` where a node reads one that it cannot."""
        known = {entry.name: ValueType() for entry in self.inputs}
        for node in self.nodes:
            try:
                known[node.name] = _output_type(node, known)
            except ValueError as error:
                raise GraphError(f"node {node.name!r} ({node.op}): {error}") from None
        return known

    @cached_property
    def quantised(self) -> bool:
        """True where some value is quantised."""
        return any(value.quantised for value in self.types.values())

    @cached_property
    def parameter_types(self) -> Mapping[str, tuple[str, ...]]:
        """The types that every parameter may have; `GraphError` where its readers disagree."""
        found: dict[str, tuple[str, ...]] = dict.fromkeys(self.parameters, ("float32",))
        first: dict[str, str] = {}
        for node in self.nodes:
            for name, role in zip(node.inputs, node.rule.inputs, strict=False):
                if name in found:
                    wanted = node.rule.stored_types(role.rstrip("?"), node.attrs)
                    if name in first and wanted != found[name]:
                        raise GraphError(
                            f"{first[name]!r} and {node.name!r} read {name!r} in different types"
                        )
                    found[name], first[name] = wanted, node.name
        return found

    def select(self, op: str) -> Iterator[Node]:
        """The nodes of one op, in order."""
        return (node for node in self.nodes if node.op == op)

    @cached_property
    def scores(self) -> "Scores":
        """What the first output says of the classes, and the logits that it was made of."""
        return self.scores_of(self.outputs[0])

    def scores_of(self, output: str) -> "Scores":
        """What any value says of the classes, as that of an output of several heads."""
        kind, logits = self._unsquashed(output, rounded=True)
        node = self.node.get(logits)
        if node is None or node.op != "Consensus":
            per_frame = node is not None and node.op in (
                "Linear",
                "QLinearMatMul",
                "DynamicQuantizeMatMul",
            )
            return Scores(kind, logits, logits if per_frame else None)
        inner, frames = self._unsquashed(node.inputs[0])
        if inner == "logits":
            return Scores(kind, logits, frames)
        return Scores(inner if kind == "logits" else kind, None, frames)

    def _unsquashed(self, value: str, rounded: bool = False) -> tuple[str, str]:
        """What a value is, and the value in front of the softmax or its like that made it.

        ``rounded``: what rounds either, or a mean over time, to 8 bits at the end is left out too.
        """
        node, kind = self.node.get(value), "logits"
        while node is not None:
            if node.op in SQUASHES and node.attrs.get("axis", 1) == 1:
                kind = SQUASHES[node.op] if kind == "logits" else kind
                value = node.inputs[0]
            elif rounded and (real := self._rounded_from(node)) is not None:
                value = real
            else:
                break
            node = self.node.get(value)
        return kind, value

    def _rounded_from(self, node: "Node") -> str | None:
        """The mean over time, or the softmax or its like, that a value is the rounding of."""
        for op in ("DequantizeLinear", "QuantizeLinear"):
            if node.op != op or node.inputs[0] not in self.node:
                return None
            node = self.node[node.inputs[0]]
        return node.name if node.op in ("Consensus", *SQUASHES) else None

    @property
    def frame_logits(self) -> str | None:
        """The value with the logits per frame ``(N, K, T)``; None where there is none.

        It is what the consensus averages, or the only output where a linear layer comes last.
        """
        if self.scores.frames is not None and len(self.outputs) == 1:
            return self.scores.frames
        return next((node.inputs[0] for node in self.select("Consensus")), None)

    def shapes(self, inputs: Mapping[str, Sequence[int]]) -> dict[str, Shape]:
        """The shape of every value and parameter for inputs of these shapes.

        Raises `GraphError` where an input is missing, contradicts its declaration, or does not fit
        a node; the message names the node.
        """
        known: dict[str, Shape] = dict(self.parameters) | _bind(self.inputs, inputs)
        for node in self.nodes:
            try:
                known[node.name] = node.rule.shape([known[i] for i in node.inputs], node.attrs)
            except (ValueError, IndexError) as error:
                raise GraphError(f"node {node.name!r} ({node.op}): {error}") from None
        return known

    def multiply_adds(self, inputs: Mapping[str, Sequence[int]]) -> dict[str, int]:
        """Multiply-accumulates of every node for inputs of these shapes (one MAC is two FLOPs)."""
        shapes = self.shapes(inputs)
        return {
            node.name: node.rule.macs(
                [shapes[i] for i in node.inputs], shapes[node.name], node.attrs
            )
            for node in self.nodes
        }

    @cached_property
    def statistics(self) -> frozenset[str]:
        """Parameters that are measured rather than trained: running means and variances."""
        return frozenset(
            name
            for node in self.nodes
            for name, role in zip(node.inputs, node.rule.inputs, strict=False)
            if role in node.rule.statistics
        )

    @property
    def parameter_count(self) -> int:
        """Trainable numbers, counted as the papers count them (no running statistics)."""
        return sum(
            prod(shape) for name, shape in self.parameters.items() if name not in self.statistics
        )

    def with_nodes(
        self, nodes: Iterable[Node], parameters: Mapping[str, Shape] | None = None
    ) -> "Graph":
        """The same graph with other nodes; parameters that nothing reads any more are left out."""
        nodes = tuple(nodes)
        used = {name for node in nodes for name in node.inputs}
        offered = self.parameters if parameters is None else parameters
        kept = {name: shape for name, shape in offered.items() if name in used}
        return replace(self, nodes=nodes, parameters=kept)

    def with_outputs(self, outputs: Iterable[str]) -> "Graph":
        """The same graph with other outputs."""
        return replace(self, outputs=tuple(dict.fromkeys(outputs)))


def _check(graph: Graph) -> None:
    """Refuse a graph whose names, ops or attributes do not fit together."""
    if not graph.inputs:
        raise GraphError("the graph has no input")
    for entry in graph.inputs:
        if not entry.shape or not (isinstance(entry.shape[0], str) or entry.shape[0] == 1):
            raise GraphError(
                f"input {entry.name!r} has shape {entry.shape}; the batch comes first, as a name"
            )
    known = [i.name for i in graph.inputs] + list(graph.parameters)
    if len(set(known)) != len(known):
        raise GraphError("two inputs or parameters of the graph have the same name")
    names = set(known)
    for node in graph.nodes:
        where = f"node {node.name!r} ({node.op})"
        if node.op not in OPS:
            raise GraphError(f"{where}: unknown op; known are {', '.join(sorted(OPS))}")
        if node.name in names:
            raise GraphError(f"{where}: the name is taken already")
        for name in node.inputs:
            if name not in names:
                raise GraphError(f"{where}: reads {name!r}, which nothing before it makes")
        try:
            node.rule.check(len(node.inputs), node.attrs)
            _check_roles(node, graph.parameters)
        except ValueError as error:
            raise GraphError(f"{where}: {error}") from None
        names.add(node.name)
    for name in graph.outputs:
        if name not in names or name in graph.parameters:
            raise GraphError(f"the output {name!r} is made by no node")
    _ = graph.types, graph.parameter_types


def _check_roles(node: Node, parameters: Mapping[str, Shape]) -> None:
    """Raise `ValueError` where a weight would have to be computed, or a value be stored."""
    for name, role in zip(node.inputs, node.rule.inputs, strict=False):
        stored = role.rstrip("?") in PARAMETER_ROLES
        if stored != (name in parameters) and role not in ("a", "b"):
            kind = "a parameter" if stored else "a value, not a parameter"
            raise ValueError(f"the {role.rstrip('?')} {name!r} must be {kind}")
    if all(name in parameters for name in node.inputs):
        raise ValueError("it reads parameters only, and no value")


def _output_type(node: Node, known: Mapping[str, ValueType]) -> ValueType:
    """The type of what a node makes; `ValueError` where it reads a value that it cannot."""
    values = [known[name] for name in node.inputs if name in known]
    dtype = node.rule.output_type([value.dtype for value in values], node.attrs)
    for role, name in zip(node.rule.inputs, node.inputs, strict=False):
        if name in known:
            _check_steps(node, role, name, known[name])
    if not node.rule.gives:
        return values[0]
    if "y_scale" not in node.rule.attrs or dtype == "float32":
        return ValueType(dtype)
    zero = node.attr("y_zero_point")
    least, most = (0, 255) if dtype == "uint8" else (-128, 127)
    if not least <= zero <= most:
        raise ValueError(f"the zero point {zero} is not one of {dtype}: {least} to {most}")
    if "low" in node.rule.attrs and max(node.attr("low"), least) > min(node.attr("high"), most):
        ends = f"{node.attr('low')} .. {node.attr('high')}"
        raise ValueError(f"it is clamped to {ends}, where {dtype} has no value")
    return ValueType(dtype, node.attr("y_scale"), zero)


def _check_steps(node: Node, role: str, name: str, value: ValueType) -> None:
    """Raise `ValueError` where a node takes a value for another one than was made."""
    for what, made in (("scale", value.scale), ("zero_point", value.zero_point)):
        attr = f"{role}_{what}"
        if attr in node.rule.attrs and node.attr(attr) != made:
            raise ValueError(f"its {attr} is {node.attr(attr)}, but {name!r} was made with {made}")


def _bind(declared: Sequence[Input], given: Mapping[str, Sequence[int]]) -> dict[str, Shape]:
    """Match the shapes of a call with the declared inputs; a named dimension has one value."""
    wanted = [i.name for i in declared]
    if set(given) != set(wanted):
        raise GraphError(f"the inputs are {wanted}, not {sorted(given)}")
    bound: dict[str, int] = {}
    batches = {tuple(given[name])[:1] for name in wanted}
    if len(batches) > 1:
        found = ", ".join(f"{name!r} {tuple(given[name])}" for name in wanted)
        raise GraphError(f"the inputs must hold equally many clips; their shapes are {found}")
    for entry in declared:
        shape = tuple(int(size) for size in given[entry.name])
        fits = len(shape) == len(entry.shape) and all(
            size > 0 and size == (bound.setdefault(dim, size) if isinstance(dim, str) else dim)
            for dim, size in zip(entry.shape, shape, strict=True)
        )
        if not fits:
            expected = ", ".join(
                f"{dim}={bound[dim]}" if dim in bound else str(dim) for dim in entry.shape
            )
            raise GraphError(f"input {entry.name!r} has shape {shape}; expected ({expected})")
    return {entry.name: tuple(int(size) for size in given[entry.name]) for entry in declared}
