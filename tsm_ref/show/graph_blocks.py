"""A network as a reader sees it: steps, blocks of steps, and equal blocks as one.

A *step* is a node with what is done to its values one by one behind it (batch norm, activation). A
*block* lies between two values through which everything goes, so no name has to tell where a
residual begins and ends; steps in a row without a branch are parted where their names are.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from tsm_ref.graph import Graph, Node
from tsm_ref.ops_table import Shape

__all__ = ["Block", "Step", "blocks", "steps"]

BEHIND = {
    *("BatchNormalization", "Relu", "Clip", "LeakyRelu", "HardSwish", "HardSigmoid", "Tanh"),
    *("Sigmoid", "Softmax", "LogSoftmax", "Flatten", "Squeeze"),
}
"""Ops that are drawn with the node whose only value they change."""


@dataclass(frozen=True)
class Step:
    """A node and those behind it; ``inputs`` are the last nodes of other steps, or graph inputs."""

    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]

    @property
    def value(self) -> str:
        """The value that it gives."""
        return self.nodes[-1].name


@dataclass(frozen=True)
class Block:
    """Steps that belong together, and the names of the equal ones that follow at once."""

    name: str
    steps: tuple[Step, ...]
    repeats: tuple[str, ...] = ()


def steps(graph: Graph) -> list[Step]:
    """The steps of a network, in its order.

    >>> from tsm_ref.models import RESNETS, build_resnet
    >>> [node.op for node in steps(build_resnet(RESNETS["resnet18"], num_classes=5))[0].nodes]
    ['Conv', 'BatchNormalization', 'Relu']
    """
    home: dict[str, int] = {}
    found: list[list[Node]] = []
    for node in graph.nodes:
        values = [name for name in node.inputs if name not in graph.parameters]
        first = values[0]
        alone = len(values) == 1 and first in home and len(graph.consumers[first]) == 1
        if node.op in BEHIND and alone and first not in graph.outputs:
            found[home[first]].append(node)
            home[node.name] = home[first]
        else:
            home[node.name] = len(found)
            found.append([node])
    return [
        Step(tuple(nodes), tuple(n for n in nodes[0].inputs if n not in graph.parameters))
        for nodes in found
    ]


def blocks(graph: Graph, shapes: Mapping[str, Shape]) -> list[Block]:
    """The blocks of a network, in its order; equal ones that follow each other are one.

    >>> from tsm_ref.models import RESNETS, build_resnet
    >>> graph = build_resnet(RESNETS["resnet50"], num_classes=5)
    >>> [(b.name, b.repeats) for b in blocks(graph, graph.shapes({"x": (1, 3, 8, 64, 64)}))][1:3]
    [('layer1.0', ()), ('layer1.1', ('layer1.2',))]
    """
    made: list[Block] = []
    signs: list[object] = []
    for name, part in _parts(graph):
        sign = _signature(part, shapes)
        if made and signs[-1] == sign:
            last = made.pop()
            made.append(Block(last.name, last.steps, (*last.repeats, name)))
        else:
            made.append(Block(name, tuple(part), ()))
            signs.append(sign)
    return made


def _parts(graph: Graph) -> Iterator[tuple[str, list[Step]]]:
    """Runs of steps with a name: those between two cuts, and those in a row without a branch."""
    between = list(_between_cuts(graph))
    rows = groupby(between, key=lambda part: _place(part) if len(part) == 1 else id(part))
    for _, row in rows:
        part = [step for piece in row for step in piece]
        yield _name(part), part


def _between_cuts(graph: Graph) -> Iterator[list[Step]]:
    """The steps between two places where one value is all that anybody needs from before."""
    made = steps(graph)
    last = {name: i for i, step in enumerate(made) for name in step.inputs}
    last |= {name: len(made) for name in graph.outputs}
    live: set[str] = set()
    waiting = {entry.name for entry in graph.inputs}
    part: list[Step] = []
    for i, step in enumerate(made):
        part.append(step)
        waiting -= set(step.inputs)
        live = {name for name in (*live, *step.inputs, step.value) if last.get(name, -1) > i}
        if len(live) <= 1 and not waiting:
            yield part
            part = []
    if part:
        yield part


def _pieces(name: str) -> list[str]:
    return [piece for piece in re.split(r"[./]", name) if piece]


def _place(part: Sequence[Step]) -> tuple[str, ...]:
    """Where a step says that it stands: its name up to the first number, such as layer1.0."""
    pieces = _pieces(part[0].nodes[0].name)
    upto = next((i + 1 for i, piece in enumerate(pieces[:-1]) if piece.isdigit()), 0)
    return tuple(pieces[:upto])


def _name(part: Sequence[Step]) -> str:
    """What the names of the steps have in common, or the name of the first."""
    names = [_pieces(node.name) for step in part for node in step.nodes]
    common = []
    for pieces in zip(*names, strict=False):
        if len(set(pieces)) > 1:
            break
        common.append(pieces[0])
    if len(part) == 1 and len(part[0].nodes) == 1:
        return part[0].nodes[0].name
    if common:
        return ".".join(common)
    first, last = part[0].nodes[0].name, part[-1].value
    return first if len(part) == 1 else f"{first} to {last}"


def _signature(part: Sequence[Step], shapes: Mapping[str, Shape]) -> object:
    """Equal for parts that do the same to values of the same shapes."""
    number = {step.value: i for i, step in enumerate(part)}
    return [
        (
            [number.get(name, shapes[name]) for name in step.inputs],
            [(node.op, sorted(node.attrs.items()), shapes[node.name]) for node in step.nodes],
            [shapes[n] for node in step.nodes for n in node.inputs if n not in number],
        )
        for step in part
    ]
