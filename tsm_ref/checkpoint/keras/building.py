"""The graph of a network of Keras in the making, and where each parameter is in the file."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tsm_ref.checkpoint.contents import shown
from tsm_ref.errors import CheckpointError
from tsm_ref.graph import Node
from tsm_ref.ops_table import OPS, Shape

WINDOWS = ("Conv", "MaxPool", "AveragePool")
BEFORE_MEAN = ("Linear", "Consensus")
"""What may read a mean over frames: linear layers are put in front of it."""


class Variable(NamedTuple):
    """Where a parameter is in the file: its layer, its name there, and its shape there.

    ``within`` is the model within the model that its layer belongs to.
    """

    layer: str
    name: str
    shape: Shape
    within: str = ""


@dataclass
class KerasNetwork:
    """A graph in the making, and for every parameter the layer and the variable that hold it.

    ``pads`` is the frame of zeros around a value, ``padded`` the value that an alias stands for;
    ``over_time`` are values of which the mean over frames is meant, and not taken yet. ``clips``:
    the network sees several frames. ``within`` is the model that the next layer belongs to.
    """

    nodes: list[Node] = field(default_factory=list)
    shapes: dict[str, Shape] = field(default_factory=dict)
    parameters: dict[str, Shape] = field(default_factory=dict)
    variables: dict[str, Variable] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    pads: dict[str, tuple[int, ...]] = field(default_factory=dict)
    padded: dict[str, str] = field(default_factory=dict)
    over_time: set[str] = field(default_factory=set)
    clips: bool = False
    within: str = ""

    def node(self, op: str, name: str, inputs: Sequence[str], **attrs: Any) -> str:
        """Add a node; returns its name."""
        known = {**self.shapes, **self.parameters}
        if op not in WINDOWS and any(value in self.pads for value in inputs):
            raise CheckpointError(f"the node {shown(name)} reads padding that no window takes in")
        if op not in BEFORE_MEAN and any(value in self.over_time for value in inputs):
            raise CheckpointError(
                f"the layer {shown(name)} reads a mean over frames: a linear layer, and an "
                "activation behind it, are supported there"
            )
        self.shapes[name] = OPS[op].shape([known[i] for i in inputs], attrs)
        plain = tuple(self.padded.get(value, value) for value in inputs)
        self.nodes.append(Node(name, op, plain, attrs))
        return name

    def parameter(self, layer: str, role: str, shape: Shape, stored: Shape | None = None) -> str:
        """A tensor of a layer; `stored` is its shape in the file, where it is not the usual one."""
        name = f"{layer}.{role}"
        self.parameters[name] = shape
        self.variables[name] = Variable(layer, role, stored or keras_shape(shape), self.within)
        return name


def keras_shape(shape: Shape) -> Shape:
    """The shape that Keras gives a tensor of our shape.

    >>> keras_shape((32, 3, 1, 5, 7)), keras_shape((128, 3136)), keras_shape((32,))
    ((5, 7, 3, 32), (3136, 128), (32,))
    """
    if len(shape) == 5:
        return (shape[3], shape[4], shape[1], shape[0])
    return shape[::-1]
