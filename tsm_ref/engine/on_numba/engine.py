"""The Numba engine: any graph, with kernels that compile once and then outrun the runtimes.

The graph is optimised and its layers are chosen once; for every input shape a plan is made once:
weights in the order in which the kernels read them, values in one arena, the layers as one program
that threads run without Python. Ops that have no kernel are steps of the NumPy engine. Clips of a
batch run one after another, so memory does not grow with N and no result depends on it.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tsm_ref.engine.inputs import real_arrays, warn_if_lost
from tsm_ref.engine.on_numba import lowering
from tsm_ref.engine.on_numba.crew import Crew
from tsm_ref.engine.on_numba.plan import NumbaPlan, Planner
from tsm_ref.engine.on_numba.steps import NumbaSteps
from tsm_ref.engine.on_numba.weights import PackedWeights
from tsm_ref.engine.plan_cache import PlanCache
from tsm_ref.engine.stream.ticks import Timeline
from tsm_ref.errors import GraphError, UsageError
from tsm_ref.graph import Graph
from tsm_ref.kernels import cache
from tsm_ref.ops_table import Shape
from tsm_ref.passes import optimize

Array = NDArray[Any]


class NumbaEngine:
    """Runs a graph with compiled kernels, in float32, on one or more threads.

    ``again`` reads the weights once more: with it, weights need not be kept for the rare case that
    another image size calls for another algorithm.

    >>> from tsm_ref.models import build_mobilenet_v2, random_weights
    >>> graph = build_mobilenet_v2(num_classes=3, width=0.35)
    >>> engine = NumbaEngine(graph, random_weights(graph))
    >>> clip = np.zeros((1, 3, 4, 32, 32), np.float32)
    >>> engine.run({"x": clip})["consensus"].shape
    (1, 3)
    """

    name = "numba"

    def __init__(
        self, graph: Graph, weights: Mapping[str, Array], threads: int = 1,
        again: Callable[[], Mapping[str, Array]] | None = None,
    ) -> None:  # fmt: skip
        if cache.config.DISABLE_JIT:
            raise UsageError(
                "NUMBA_DISABLE_JIT is set, and the engine 'numba' is machine code; use 'numpy'"
            )
        self.graph, plain = optimize(graph, weights)
        self.crew = Crew(threads)
        more = None if again is None else lambda: optimize(graph, again())[1]
        self.weights = PackedWeights(self.graph, plain, more)
        self.plans = PlanCache()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """An engine of its own over the same weights: plans hold addresses, so it makes its own."""
        twin = copy.copy(self)
        twin.plans, twin.crew = PlanCache(), Crew(self.crew.threads)
        return twin

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs for one batch of inputs, NCTHW; raises `GraphError` for bad shapes."""
        with self.plans.turn:
            return self._results(real_arrays(inputs))

    def _results(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        shapes = {name: value.shape for name, value in arrays.items()}
        try:
            plan = self.plan(shapes)
        except GraphError:
            self.graph.shapes(shapes)  # says the same of the shapes as they were given
            raise
        batch = next(iter(shapes.values()))[0]
        if batch < 1 or any(shape[:1] != (batch,) for shape in shapes.values()):
            self.graph.shapes(shapes)  # says which input does not fit
        results = {
            name: np.empty((batch, *shape), np.float32) for name, shape in plan.shapes.items()
        }
        for n in range(batch):
            for name, value in arrays.items():
                plan.inputs[name](value[n])
            for stage in plan.stages:
                stage.run(self.crew, plan)
            for name, result in results.items():
                plan.outputs[name](result[n])
        warn_if_lost(arrays, results)
        return results

    def plan(self, shapes: Mapping[str, Sequence[int]]) -> NumbaPlan:
        """The plan for one clip of these input shapes, made at the first call."""
        key = tuple((name, (1, *shape[1:])) for name, shape in sorted(shapes.items()))

        def make() -> NumbaPlan:
            known = self.graph.shapes(dict(key))
            return Planner(self.graph, self.weights, known, self.crew.threads).plan()

        return self.plans.get("clip", key, make)

    def steps(self, line: Timeline, shapes: Mapping[str, Shape]) -> NumbaSteps:
        """A step graph made ready to run; see `Engine.steps`."""
        frames = tuple(shapes[entry.name] for entry in line.step.graph.inputs)
        make = partial(NumbaSteps, self.weights, self.crew, line, shapes)
        return self.plans.get((line, frames[0][2]), frames, make)

    def memory_bytes(self, shapes: Mapping[str, Sequence[int]]) -> int:
        """Bytes of the arena for one clip of these input shapes."""
        with self.plans.turn:
            return self.plan(shapes).arena_bytes

    def fallbacks(self) -> list[str]:
        """Nodes that the NumPy engine computes, in the plans made so far."""
        known: dict[str, None] = {}
        for key in self.plans.keys("clip"):
            for layer in lowering.lower(self.graph, self.graph.shapes(dict(key))):
                if layer.kind == lowering.NUMPY:
                    known[layer.name] = None
        return list(known)

    def units(self) -> Mapping[str, str]:
        """All of it is the vector unit of `tsm_ref.kernels.machine`."""
        return {}

    def remarks(self) -> list[str]:
        """There are none."""
        return []
