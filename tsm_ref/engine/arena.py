"""Where every value lives: lifetimes of values, and their places in one arena.

A value needs memory from the node that makes it to the last node that reads it. The map gives each
value an offset in one block so that values alive at the same time never overlap, and memory of dead
values is used again. So a ResNet-50, whose values take 150 MB together, runs in about 40.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.graph import Graph, Node

Steps = Sequence[tuple[Node, ...]]
"""The nodes of a graph as they are carried out: those of a step as one."""

ALIGNMENT = 64
"""Bytes: one cache line, and one AVX-512 vector."""


@dataclass(frozen=True)
class ArenaMap:
    """Byte offsets of values in one arena of `size` bytes."""

    offsets: Mapping[str, int]
    size: int

    def arena(self) -> NDArray[np.uint8]:
        """The memory: zeros, with a cache line behind them that kernels may read."""
        return np.zeros(self.size + ALIGNMENT, np.uint8)


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


def place_values(graph: Graph, sizes: Mapping[str, int], steps: Steps | None = None) -> ArenaMap:
    """Place values of these byte sizes, the largest first, each in the lowest gap that is free.

    (The greedy-by-size strategy of Pisarchyk and Lee 2020.) Those that no step makes, see
    `lifetimes`, get no place.

    >>> from tsm_ref.graph import Graph, Input, Node
    >>> chain = [Node(n, "Relu", (x,)) for n, x in [("a", "x"), ("b", "a"), ("c", "b")]]
    >>> graph = Graph("chain", (Input("x", ("N",)),), tuple(chain), ("c",), {})
    >>> place_values(graph, {"a": 100, "b": 100, "c": 100}).size
    256
    """
    alive = lifetimes(graph, steps)
    return place({name: size for name, size in sizes.items() if name in alive}, alive)


def place(sizes: Mapping[str, int], alive: Mapping[str, tuple[int, int]]) -> ArenaMap:
    """Place blocks of these byte sizes, each needed from a first to a last step.

    >>> place({"a": 64, "b": 64, "c": 64}, {"a": (0, 1), "b": (1, 2), "c": (2, 3)}).size
    128
    """
    placed: list[tuple[int, int, str]] = []
    offsets: dict[str, int] = {}
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
