"""The NumPy engine: any graph, from NumPy alone.

The graph is optimised once. For every input shape a plan is made once: all values get their places
in one arena, and every node becomes a step, a closure over views of that arena. A run copies a clip
in, calls the steps, and copies the outputs out. Clips of a batch run one after another, so memory
does not grow with N and no result depends on it.

Most of the time is spent in the BLAS library that NumPy comes with. OpenBLAS picks its code by the
processor unless the environment variable ``OPENBLAS_CORETYPE`` says otherwise: ``Haswell`` on a
processor with AVX-512 makes a ResNet-50 1.5 times as slow.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tsm_ref.engine.arena import Memory, Steps, dtype_of, memory_of
from tsm_ref.engine.inputs import real_arrays
from tsm_ref.engine.on_numpy.blas import BlasThreads
from tsm_ref.engine.on_numpy.ops import STEPS, Step, StepMaker
from tsm_ref.engine.on_numpy.steps import NumpySteps, Take
from tsm_ref.engine.plan_cache import PlanCache
from tsm_ref.engine.stream.ticks import Timeline
from tsm_ref.graph import Graph, Node
from tsm_ref.ops_table import Shape
from tsm_ref.passes import optimize

Array = NDArray[Any]


@dataclass(frozen=True)
class _Plan:
    """A graph bound to one input shape: its memory, and the steps over it."""

    memory: Memory
    take: Take
    steps: Sequence[Step]


class NumpyEngine:
    """Runs a graph with NumPy; computes in `dtype`, float32 unless a test asks for more.

    Matrix products take as many threads as are given, all else takes one.

    >>> from tsm_ref.models import build_mobilenet_v2, random_weights
    >>> graph = build_mobilenet_v2(num_classes=3, width=0.35)
    >>> engine = NumpyEngine(graph, random_weights(graph))
    >>> clip = np.zeros((1, 3, 4, 32, 32), np.float32)
    >>> engine.run({"x": clip})["consensus"].shape
    (1, 3)
    """

    name = "numpy"

    def __init__(
        self,
        graph: Graph,
        weights: Mapping[str, Array],
        dtype: DTypeLike = np.float32,
        threads: int = 1,
    ) -> None:
        self.graph, optimized = optimize(graph, weights)
        self.dtype = np.dtype(dtype)
        self.threads = threads
        self.weights: Mapping[str, Array] = {
            name: value.astype(self.dtype) if value.dtype.kind == "f" else value
            for name, value in optimized.items()
        }
        self.plans = PlanCache()

    @property
    def table(self) -> Mapping[str, StepMaker]:
        """What computes each op."""
        return STEPS

    def joined(self, graph: Graph, shapes: Mapping[str, Shape]) -> Steps:
        """The nodes of a graph in steps: here every node is one."""
        return [(node,) for node in graph.nodes]

    @property
    def blas_threads(self) -> int:
        """How many threads a matrix product may take; its sums depend on their number."""
        return self.threads

    def rooms(self, graph: Graph, steps: Steps, shapes: Mapping[str, Shape]) -> Mapping[str, int]:
        """Bytes of the arena that steps need while they run, by the names of their last nodes."""
        return {}

    def step(
        self, nodes: Sequence[Node], arrays: Mapping[str, Array], room: Array | None = None
    ) -> Step:
        """What carries out the nodes of a step.

        `arrays` are their operands and the result, `room` what `rooms` asks for.
        """
        (node,) = nodes
        operands = [arrays[name] for name in node.inputs]
        return self.table[node.op](node, operands, arrays[node.name])

    def taker(self, graph: Graph, values: Mapping[str, Array]) -> Take:
        """What puts the inputs of a clip, or of some ticks, where the steps read them."""

        def take(inputs: Mapping[str, Array]) -> None:
            for name, value in inputs.items():
                np.copyto(values[name], value, casting="same_kind")

        return take

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """An engine of its own over the same weights: steps hold arrays, so it makes its own."""
        twin = copy.copy(self)
        twin.plans = PlanCache()
        return twin

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs for one batch of inputs, NCTHW; raises `GraphError` for bad shapes."""
        with self.plans.turn, BlasThreads(self.blas_threads):
            return self._results(real_arrays(inputs))

    def _results(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        shapes = {name: value.shape for name, value in arrays.items()}
        key = tuple(sorted(shapes.items()))
        outputs = self.plans.get("outputs", key, lambda: self._output_shapes(shapes))
        plan = self.plan(shapes)
        batch = next(iter(shapes.values()))[0]
        results = {name: np.empty(outputs[name], self._dtype(name)) for name in self.graph.outputs}
        for n in range(batch):
            plan.take({name: value[n] for name, value in arrays.items()})
            for step in plan.steps:
                step()
            for name, result in results.items():
                result[n] = plan.memory.values[name]
        return results

    def plan(self, shapes: Mapping[str, Sequence[int]]) -> _Plan:
        """The plan for one clip of these input shapes, made at the first call."""
        key = tuple((name, (1, *shape[1:])) for name, shape in sorted(shapes.items()))
        return self.plans.get("clip", key, lambda: self._make_plan(dict(key)))

    def steps(self, line: Timeline, shapes: Mapping[str, Shape]) -> NumpySteps:
        """A step graph made ready to run; see `Engine.steps`."""
        frames = tuple(shapes[entry.name] for entry in line.step.graph.inputs)
        make = partial(NumpySteps, self, line, shapes)
        return self.plans.get((line, frames[0][2]), frames, make)

    def memory_bytes(self, shapes: Mapping[str, Sequence[int]]) -> int:
        """Bytes of the arena for one clip of these input shapes."""
        with self.plans.turn:
            return self.plan(shapes).memory.size

    def fallbacks(self) -> list[str] | None:
        """No node is left to another engine."""
        return None

    def units(self) -> Mapping[str, str]:
        """None is chosen here: NumPy and its BLAS library choose theirs."""
        return {}

    def remarks(self) -> list[str]:
        """Nothing depends on the processor."""
        return []

    def _output_shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        shapes = self.graph.shapes(inputs)
        return {name: shapes[name] for name in self.graph.outputs}

    def _dtype(self, name: str) -> np.dtype[Any]:
        return dtype_of(self.graph, name, self.dtype)

    def _make_plan(self, inputs: Mapping[str, Shape]) -> _Plan:
        shapes = self.graph.shapes(inputs)
        joined = self.joined(self.graph, shapes)
        rooms = self.rooms(self.graph, joined, shapes)
        memory = memory_of(self.graph, shapes, joined, self.dtype, rooms)
        arrays = memory.beside(self.weights)
        steps = [self.step(nodes, arrays, memory.rooms.get(nodes[-1].name)) for nodes in joined]
        return _Plan(memory, self.taker(self.graph, memory.values), steps)
