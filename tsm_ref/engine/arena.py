"""Where every value lives: lifetimes of values, and their places in one arena.

A value needs memory from the node that makes it to the last node that reads it. The map gives each
value an offset in one block so that values alive at the same time never overlap, and memory of dead
values is used again. So a ResNet-50, whose values take 150 MB together, runs in about 40.
"""

import math
from collections import ChainMap
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from tsm_ref.graph import Graph, Node
from tsm_ref.ops_table import Shape

Steps = Sequence[tuple[Node, ...]]
"""The nodes of a graph as they are carried out: those of a step as one."""

ALIGNMENT = 64
"""Bytes: one cache line, and one AVX-512 vector."""


Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class ArenaMap(Generic[Name]):
    """Byte offsets of blocks in one arena of `size` bytes."""

    offsets: Mapping[Name, int]
    size: int

    def arena(self) -> NDArray[np.uint8]:
        """The memory: zeros, with a cache line behind them that kernels may read."""
        return np.zeros(self.size + ALIGNMENT, np.uint8)


@dataclass(frozen=True)
class Memory:
    """The arena of a plan as arrays, without the axis of the batch."""

    values: Mapping[str, NDArray[Any]]  # the inputs, and what each step makes
    rooms: Mapping[str, NDArray[np.uint8]]  # what a step needs besides, by what it makes
    size: int  # of all in bytes

    def beside(self, weights: Any) -> Mapping[str, NDArray[Any]]:
        """The values and the weights by name; weights are looked up when they are asked for."""
        return ChainMap(dict(self.values), weights)


def dtype_of(graph: Graph, name: str, real: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype in which an engine that computes in `real` holds a value."""
    own = graph.types[name]
    return np.dtype(own.dtype) if own.quantised else real


def lowest(dtype: np.dtype[Any]) -> float | int:
    """What no value of a dtype is below."""
    return -np.inf if dtype.kind == "f" else int(np.iinfo(dtype).min)


def lifetimes(graph: Graph, steps: Steps | None = None) -> dict[str, tuple[int, int]]:
    """For every value made by a step or given as an input: the first and last step that needs it.

    A step is a node, unless `steps` says which nodes are carried out as one; then only the last of
    them makes a value. Inputs are born at step -1 and outputs live to the end.
    """
    steps = steps or [(node,) for node in graph.nodes]
    born = {entry.name: -1 for entry in graph.inputs}
    born |= {nodes[-1].name: step for step, nodes in enumerate(steps)}
    last = dict(born)
    for step, nodes in enumerate(steps):
        for name in (name for node in nodes for name in node.inputs):
            if name in last:
                last[name] = step
    for name in graph.outputs:
        last[name] = len(steps)
    return {name: (born[name], last[name]) for name in born}


def memory_of(
    graph: Graph, shapes: Mapping[str, Shape], steps: Steps, real: np.dtype[Any],
    rooms: Mapping[str, int] | None = None,
) -> Memory:  # fmt: skip
    """Memory for a graph of these shapes, carried out in these steps.

    ``rooms`` are bytes that a step needs while it runs, by the name of the value that it makes.

    >>> from tsm_ref.graph import Graph, Input, Node
    >>> graph = Graph("g", (Input("x", ("N", 4)),), (Node("y", "Relu", ("x",)),), ("y",), {})
    >>> shapes, steps = {"x": (1, 4), "y": (1, 4)}, [(graph.nodes[0],)]
    >>> memory_of(graph, shapes, steps, np.dtype("float32")).values["y"].shape
    (4,)
    """
    names = [*(entry.name for entry in graph.inputs), *(nodes[-1].name for nodes in steps)]
    types = {name: dtype_of(graph, name, real) for name in names}
    sizes = {n: math.prod(shapes[n][1:]) * types[n].itemsize for n in names}
    alive = lifetimes(graph, steps)
    homes = _homes(steps, sizes, alive)
    for name, home in homes.items():
        alive[home] = (alive[home][0], max(alive[home][1], alive[name][1]))
    at = {nodes[-1].name: step for step, nodes in enumerate(steps)}
    blocks = {(n, False): size for n, size in sizes.items() if n not in homes}
    blocks |= {(n, True): size for n, size in (rooms or {}).items()}
    places = place(blocks, {(n, room): (at[n],) * 2 if room else alive[n] for n, room in blocks})
    arena = places.arena()
    found = {key: arena[places.offsets[key] :][:size] for key, size in blocks.items()}
    values = {n: found[homes.get(n, n), False].view(types[n]).reshape(shapes[n][1:]) for n in names}
    return Memory(values, {n: found[n, True] for n in rooms or {}}, places.size)


IN_PLACE = ("QLinearAdd", "QLinearMul")
"""What may write its result over an operand of that size that nobody reads afterwards."""


def _homes(
    steps: Steps, sizes: Mapping[str, int], alive: Mapping[str, tuple[int, int]]
) -> dict[str, str]:
    """The values that lie where an operand lies, and which value that place is named after."""
    homes: dict[str, str] = {}
    for step, (*_, node) in enumerate(steps):
        if node.op in IN_PLACE and len(steps[step]) == 1:
            for name in node.inputs:
                if sizes.get(name) == sizes[node.name] and alive[name][1] == step:
                    homes[node.name] = homes.get(name, name)
                    break
    return homes


def place(sizes: Mapping[Name, int], alive: Mapping[Name, tuple[int, int]]) -> ArenaMap[Name]:
    """Place blocks of these byte sizes, each needed from a first to a last step.

    The largest first, each in the lowest gap that is free: the greedy-by-size strategy of
    Pisarchyk and Lee (2020).

    >>> place({"a": 64, "b": 64, "c": 64}, {"a": (0, 1), "b": (1, 2), "c": (2, 3)}).size
    128
    """
    placed: list[tuple[int, int, Name]] = []
    offsets: dict[Name, int] = {}
    for name in sorted(sizes, key=lambda n: (-sizes[n], n)):
        first, last = alive[name]
        offset = 0
        for start, end, other in sorted(placed):
            if alive[other][0] > last or alive[other][1] < first:
                continue
            if start - offset >= sizes[name]:
                break
            offset = max(offset, end)
        end = -(-(offset + sizes[name]) // ALIGNMENT) * ALIGNMENT
        placed.append((offset, end, name))
        offsets[name] = offset
    return ArenaMap(offsets, max((end for _, end, _ in placed), default=0))
