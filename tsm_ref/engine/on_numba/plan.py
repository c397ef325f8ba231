"""Turns the layers of a network into a program over one site, for one shape of input.

Where a value is needed in both of its forms, conversions stand between the programs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.engine.on_numba import lowering
from tsm_ref.engine.on_numba.chains import Chain
from tsm_ref.engine.on_numba.crew import Crew
from tsm_ref.engine.on_numba.emit import EMIT, clear_border
from tsm_ref.engine.on_numba.lowering import Layer
from tsm_ref.engine.on_numba.pieces import Piece
from tsm_ref.engine.on_numba.site import Site
from tsm_ref.engine.on_numba.weights import PackedWeights
from tsm_ref.engine.on_numpy.blas import BlasThreads
from tsm_ref.engine.on_numpy.ops import STEPS
from tsm_ref.errors import GraphError
from tsm_ref.graph import Graph
from tsm_ref.kernels import move
from tsm_ref.kernels.blocked import Layout
from tsm_ref.kernels.program import Assembler, Program
from tsm_ref.ops_table import Shape

Array = NDArray[Any]
Step = Callable[[], None]


def _zero_border(blocked: Array, layout: Layout) -> None:
    rows, columns = layout.before + layout.height, layout.before + layout.width
    blocked[:, :, : layout.before] = blocked[:, :, rows:] = 0
    blocked[:, :, :, : layout.before] = blocked[:, :, :, columns:] = 0


@dataclass(frozen=True)
class Stage:
    """A program of kernels, or one NumPy step."""

    program: Program | None = None
    step: Step | None = None
    names: Sequence[str] = ()  # of the layers that the steps of the program belong to

    def run(self, crew: Crew, alive: object) -> None:
        """Run it; see `Crew.run`."""
        if self.program is not None:
            crew.run(self.program, alive)
        elif self.step is not None:
            with BlasThreads(1):  # its sums depend on how many there are
                self.step()


@dataclass(frozen=True)
class NumbaPlan:
    """A network bound to one shape: where values lie, and what to run."""

    stages: Sequence[Stage]
    inputs: Mapping[str, Callable[[Array], None]]
    outputs: Mapping[str, Callable[[Array], None]]
    shapes: Mapping[str, Shape]  # of the outputs, for one clip
    arena_bytes: int
    owned: object  # what the programs point to


class Planner:
    """Makes the plan of one clip of one shape."""

    def __init__(
        self,
        graph: Graph,
        weights: PackedWeights,
        shapes: Mapping[str, Shape],
        threads: int,
    ) -> None:
        self.graph, self.shapes = graph, shapes
        layers = self._lower()
        self.site = Site(graph, weights, shapes, threads, layers)
        self.assemblers = [self.site.assembler]
        self.stages: list[Stage] = []
        self._made = {layer.name: layer for layer in layers}
        self._converted: set[tuple[str, bool]] = set()

    def _lower(self) -> list[Layer]:
        return lowering.lower(self.graph, self.shapes)

    def plan(self) -> NumbaPlan:
        """Emit every layer."""
        filled = {}
        for entry in self.graph.inputs:
            filled[entry.name] = self._input(entry.name)
        for chain in self.site.chains:
            self._emit(chain)
        outputs = {name: self._output(name) for name in self.graph.outputs}
        self._flush()
        shapes = {name: self.shapes[name][1:] for name in self.graph.outputs}
        arena = self.site.arena
        owned = (arena, self.assemblers, self.site.owned)
        return NumbaPlan(self.stages, filled, outputs, shapes, arena.nbytes, owned)

    def _emit(self, chain: Chain) -> None:
        """Add the steps of a chain: layer after layer, or some frames of all layers at a time."""
        for layer in chain.layers:  # first: a conversion ends the program that pieces belong to
            for name in layer.reads(self.graph):
                self._convert(name, plain=layer.kind == lowering.NUMPY)
        pieces = []
        for layer in chain.layers:
            pieces.append(self._pieces(layer))
            self.site.assembler.owner = layer.name
            if not chain.by_frame:
                for kind, index, _ in pieces[-1]:
                    self.site.assembler.part(kind, index)
            if layer.name in self.site.layouts and layer.name not in self.site.same:
                clear_border(self.site, layer.name)
        if not chain.by_frame:
            return
        threads = self.site.threads
        frames = self.shapes[chain.layers[0].name][2]
        turns, behind = -(-frames // threads), -(-chain.ahead // threads)
        for turn in range(turns + behind):
            for i, layer_pieces in enumerate(pieces):
                own = turn - (behind if i else 0)
                if 0 <= own < turns:
                    first = own * threads
                    self.site.assembler.owner = chain.layers[i].name
                    self._frames(layer_pieces, first, min(frames, first + threads), frames)

    def _pieces(self, layer: Layer) -> list[Piece]:
        """The planned kernels of a layer; what has none becomes steps of another kind."""
        if layer.kind == lowering.NUMPY:
            self._numpy_step(layer)
        elif layer.kind == lowering.HISTORY:
            self._recall(layer)
        else:
            return EMIT[layer.kind](self.site, layer)
        return []

    def _frames(self, pieces: Sequence[Piece], first: int, last: int, frames: int) -> None:
        """Add the steps of frames ``first .. last - 1`` of one layer."""
        for kind, index, frame in pieces:
            if frame is None:
                self.site.assembler.part(kind, index, first, frames, last - first)
            elif first <= frame < last:
                self.site.assembler.part(kind, index)

    # Conversions

    def _five(self, name: str) -> Shape:
        """Return the shape of a value as (1, C, T, H, W) of its layout."""
        layout = self.site.layouts[name]
        return (1, layout.channels, layout.frames, layout.height, layout.width)

    def _input(self, name: str) -> Callable[[Array], None]:
        plain = self.site.plain_array(name) if self.site.needs_plain(name) else None
        blocked = self.site.blocked_array(name) if name in self.site.layouts else None
        layout, shape = self.site.layouts.get(name), self._five(name) if blocked is not None else ()

        def fill(x: Array) -> None:
            if plain is not None:
                np.copyto(plain, x, casting="same_kind")
            if blocked is not None and layout is not None:
                _zero_border(blocked, layout)
                five = np.ascontiguousarray(x, np.float32).reshape(shape)
                move.fill_blocked(five, blocked, layout.before)

        return fill

    def _output(self, name: str) -> Callable[[Array], None]:
        if name not in self.site.layouts:
            plain = self.site.plain_array(name)
            return lambda y: np.copyto(y, plain)
        blocked, layout, shape = (
            self.site.blocked_array(name),
            self.site.layouts[name],
            self._five(name),
        )
        return lambda y: move.read_blocked(blocked, layout.before, y.reshape(shape))

    def _convert(self, name: str, plain: bool) -> None:
        """Make the other form of a value, where the layer that reads it needs that one."""
        maker = self._made.get(name)
        if maker is None:
            return
        from_plain = maker.kind == lowering.NUMPY
        if plain == from_plain or (name, plain) in self._converted:
            return
        self._converted.add((name, plain))
        self._flush()
        blocked, layout = self.site.blocked_array(name), self.site.layouts[name]
        five = self.site.plain_array(name).reshape(self._five(name))
        before = layout.before
        if from_plain:

            def step() -> None:
                blocked[...] = 0
                move.fill_blocked(five, blocked, before)
        else:

            def step() -> None:
                move.read_blocked(blocked, before, five)

        self.stages.append(Stage(step=step))

    # Steps

    def _numpy_step(self, layer: Layer) -> None:
        """Add a step of the NumPy engine."""
        self._flush()
        node = layer.node
        arrays = [
            self.site.weight(name) if name in self.graph.parameters else self.site.plain_array(name)
            for name in node.inputs
        ]
        step = STEPS[node.op](node, arrays, self.site.plain_array(node.name))
        self.stages.append(Stage(step=step))

    def _recall(self, layer: Layer) -> None:
        """Add the steps of a ``History``; see `tsm_ref.engine.on_numba.steps`."""
        raise GraphError(f"node {layer.name!r} (History) belongs to a step graph, not to a clip")

    def _flush(self) -> None:
        """End the program that is being assembled."""
        if self.site.assembler.steps:
            names = tuple(self.site.assembler.owners)
            self.stages.append(Stage(program=self.site.assembler.program(), names=names))
            self.site.assembler = Assembler()
            self.assemblers.append(self.site.assembler)
