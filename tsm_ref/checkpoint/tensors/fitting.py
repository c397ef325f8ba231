"""What the readers of every family share: what a network is that tensors fit into.

Names are ours here (`tsm_ref.checkpoint.tensors.names`), shapes those of the file.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tsm_ref.checkpoint.contents import Float32
from tsm_ref.errors import CheckpointError
from tsm_ref.graph import Graph
from tsm_ref.ops_table import Shape
from tsm_ref.profile import Profile, ShiftRule

Shapes = Mapping[str, Shape]
Weights = dict[str, Float32]


@dataclass(frozen=True)
class Network:
    """A graph, and how to make those of its tensors that no file holds: they are never learned.

    ``runs_as`` is another graph that computes the same with fewer tensors, where there is one, and
    what makes its weights.
    """

    graph: Graph
    fixed: Mapping[str, Callable[[Shape], Float32]] = field(default_factory=dict)
    runs_as: tuple[Graph, Callable[[Graph, Weights], Weights]] | None = None

    def running(self, weights: Weights) -> tuple[Graph, Weights]:
        """The graph and the weights that run."""
        if self.runs_as is None:
            return self.graph, weights
        graph, convert = self.runs_as
        return graph, convert(graph, weights)


def classes_of(shapes: Shapes, name: str, turned: bool = False) -> int:
    """The number of classes, from the shape of a classifier; ``turned`` is (features, classes)."""
    shape = shapes.get(name, ())
    if len(shape) != 2:
        raise CheckpointError(f"the tensor {name!r} is missing or not (classes, features)")
    return shape[1 if turned else 0]


def one_place(profile: Profile, where: str) -> ShiftRule:
    """The shift of a network that has one place for it, or none; raises for any other place."""
    if profile.placement == "block":
        raise CheckpointError(f"{where}, not in front of blocks")
    return ShiftRule("none") if profile.placement == "none" else profile.shift


def stored(shape: Shape) -> Shape:
    """A 2-D convolution has no temporal axis in a file."""
    return (*shape[:2], *shape[3:]) if len(shape) == 5 and shape[2] == 1 else shape
