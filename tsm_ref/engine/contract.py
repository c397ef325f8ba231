"""What every engine offers; nothing here knows which engines there are."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from tsm_ref.engine.plan_cache import PlanCache
from tsm_ref.engine.stream.ticks import Steps, Timeline
from tsm_ref.graph import Graph
from tsm_ref.ops_table import Shape

__all__ = ["Engine"]

Array = NDArray[Any]


class Engine(Protocol):
    """What every engine offers; arrays are NCTHW.

    Several threads may use one engine. They take turns: whoever runs it has ``plans.turn``.
    """

    name: str
    graph: Graph
    plans: PlanCache

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The graph's outputs for one batch of inputs; raises `GraphError` for bad shapes."""

    def steps(self, line: Timeline, shapes: Mapping[str, Shape]) -> Steps:
        """A step graph made ready to run; `shapes` are those of every value of one clip.

        All streams with the same time line and shapes have the same steps.
        """

    def memory_bytes(self, shapes: Mapping[str, Sequence[int]]) -> int:
        """Bytes of the buffers for one clip of these input shapes, weights not counted."""

    def fallbacks(self) -> list[str] | None:
        """Nodes that the NumPy engine computes, in the plans made so far.

        None from an engine that has no need of another one.
        """

    def units(self) -> Mapping[str, str]:
        """What multiplies in a node, where the processor decides that, in the plans made so far."""

    def remarks(self) -> list[str]:
        """What is worth knowing about how this processor computes here, a sentence each."""
