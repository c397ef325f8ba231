"""Quantised networks of the Numba engine: compiled steps over the plain layout of the NumPy engine.

Such a network is planned as the NumPy engine plans it, value by value and step by step; this room
makes the steps. A convolution reads its input where it lies, or, where it has taps beside each
other, a copy with the zero point around every frame. What has no kernel is a step of the NumPy
engine, on one thread of the BLAS. So neither threads nor the cut of a clip can change a bit.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from tsm_ref.engine.arena import Steps, dtype_of
from tsm_ref.engine.on_numba import whole_chains, whole_inputs, whole_sums, whole_values
from tsm_ref.engine.on_numba.crew import Crew
from tsm_ref.engine.on_numba.weights import LentWeights
from tsm_ref.engine.on_numba.whole_inputs import Kernel, Maker, Work
from tsm_ref.engine.on_numpy.engine import NumpyEngine
from tsm_ref.engine.on_numpy.ops import STEPS, Step, StepMaker
from tsm_ref.engine.on_numpy.steps import Take
from tsm_ref.graph import Graph, Node
from tsm_ref.kernels.cache import bound
from tsm_ref.kernels.integer import units
from tsm_ref.ops_table import Shape

__all__ = ["WholeNumbersEngine"]

Array = NDArray[Any]
Packed = TypeVar("Packed")


class WholeNumbersEngine(NumpyEngine):
    """Runs a quantised graph with compiled kernels, on one or more threads.

    >>> from tsm_ref.graph import Input
    >>> steps = {"y_scale": 0.5, "y_zero_point": 3, "dtype": "uint8"}
    >>> graph = Graph("g", (Input("x", ("N", 2)),), (Node("q", "QuantizeLinear", ("x",), steps),),
    ...               ("q",), {})
    >>> WholeNumbersEngine(graph, {}).run({"x": np.array([[0.5, 9.0]], np.float32)})["q"]
    array([[ 4, 21]], dtype=uint8)
    """

    name = "numba"

    def __init__(
        self, graph: Graph, weights: Mapping[str, Array], threads: int = 1,
        again: Callable[[], Mapping[str, Array]] | None = None,
    ) -> None:  # fmt: skip
        given = dict(weights)
        super().__init__(graph, given, threads=threads)
        if again is not None:
            self.weights = LentWeights(self.weights, given, again)
        self._room: Array | None = None
        self.crew = Crew(threads)
        self._packed: dict[tuple[str, str], Any] = {}
        self._left: dict[str, None] = {}
        self._units: dict[str, str] = {}
        self._taken: Array | None = None  # what is quantised already when its step comes

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """An engine of its own over the same weights; see `NumpyEngine`."""
        twin = super().__deepcopy__(memo)
        twin.crew, twin._left = Crew(self.crew.threads), dict(self._left)
        twin._units = dict(self._units)
        return twin

    @property
    def blas_threads(self) -> int:
        """One: the sums of a product depend on how many there are."""
        return 1

    @property
    def table(self) -> Mapping[str, StepMaker]:
        """What computes each op."""
        return {op: partial(self._step, self.makers.get(op)) for op in STEPS}

    @property
    def makers(self) -> Mapping[str, Maker]:
        """What has a kernel, in some cases or in all."""
        return MAKERS

    def fallbacks(self) -> list[str]:
        """Nodes that the NumPy engine computes, in the plans made so far."""
        return list(self._left)

    def units(self) -> Mapping[str, str]:
        """What multiplies in the convolutions and matrix products of the plans made so far."""
        return dict(self._units)

    def remarks(self) -> list[str]:
        """Why a better unit of the processor is not used, if one is not."""
        refusal = units.refused()
        return [f"AMX is not used: {refusal}"] if refusal else []

    def joined(self, graph: Graph, shapes: Mapping[str, Shape]) -> Steps:
        """The nodes of a graph in steps: inverted residual blocks are carried out as one."""
        return whole_chains.joined(graph, shapes, self.weights)

    @property
    def room(self) -> Array | None:
        """Memory for a copy of what is read by the step that is being made, if it needs one."""
        return self._room

    def rooms(self, graph: Graph, steps: Steps, shapes: Mapping[str, Shape]) -> Mapping[str, int]:
        """Bytes for the copies with padding that convolutions read."""
        sizes: dict[str, int] = {}
        for first, last in ((nodes[0], nodes[-1]) for nodes in steps):
            if first.op in ("QLinearConv", "FusedConv"):
                x = first.inputs[0]
                dtype = dtype_of(graph, x, self.dtype)
                sizes[last.name] = whole_inputs.room_of(first, shapes[x][1:], dtype)
        return {name: size for name, size in sizes.items() if size}

    def taker(self, graph: Graph, values: Mapping[str, Array]) -> Take:
        """What quantises the input where the caller has it, if that is the first step."""
        node = whole_inputs.entry(graph)
        if node is None or values[node.inputs[0]].dtype != np.float32:
            return super().taker(graph, values)
        y = values[node.name]

        def take(inputs: Mapping[str, Array]) -> None:
            for given in inputs.values():
                x = np.require(given, np.float32, ["C", "A", "W"])  # one type for Numba
                work = whole_values.quantized(node, x, y)
                self.crew.share(work.kernel, work.pieces)
                self._taken = y

        return take

    def _entry(self, run: Step, y: Array) -> Step:
        """The step that quantises, which is done where the input was taken so."""

        def step() -> None:
            if self._taken is not y:
                run()
            self._taken = None

        return step

    def step(
        self, nodes: Sequence[Node], arrays: Mapping[str, Array], room: Array | None = None
    ) -> Step:
        """What carries out the nodes of a step."""
        self._room = room
        if len(nodes) == 1:
            run = super().step(nodes, arrays, room)
            (node,) = nodes
            return self._entry(run, arrays[node.name]) if node.op == "QuantizeLinear" else run
        work = whole_chains.inverted_block(self, nodes, arrays)
        self._units |= dict.fromkeys([node.name for node in nodes[:3]], work.unit)
        return self._shared(work)

    def packed(self, node: Node, form: str, make: Callable[[], Packed]) -> Packed:
        """The weights of a node as its kernel reads them: made once for all plans."""
        key = (node.inputs[1], form)
        if key not in self._packed:
            self._packed[key] = make()
        found: Packed = self._packed[key]
        return found

    def _step(self, make: Maker | None, node: Node, inputs: Sequence[Array], y: Array) -> Step:
        work = make(self, node, inputs, y) if make is not None else None
        if work is None:
            if node.op not in ("Flatten", "Squeeze"):
                self._left[node.name] = None
            return STEPS[node.op](node, inputs, y)
        if work.unit:
            self._units[node.name] = work.unit
        return self._shared(work)

    def _shared(self, work: Work) -> Step:
        """A step that the threads do together."""
        works = [part for part in (work.before, work) if part is not None]
        parts = [part._replace(kernel=_bound(part.kernel)) for part in works]

        def step() -> None:
            for part in parts:
                self.crew.share(part.kernel, part.pieces)

        return step


def _bound(kernel: Kernel) -> Kernel:
    """A kernel whose arguments Numba need not look at again."""
    return bound(kernel.func, *kernel.args, more=(0, 0)) if isinstance(kernel, partial) else kernel


MAKERS: Mapping[str, Maker] = {**whole_sums.MAKERS, **whole_values.MAKERS}
