"""Turns the layers of a network into a program over one arena, for one shape of input.

Values that kernels touch lie in the arena in the blocked layout; values that a NumPy step touches
lie there as (C, T, ...). A value that both touch has both forms, and conversions stand between.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.engine.arena import place
from tsm_ref.engine.on_numba import lowering
from tsm_ref.engine.on_numba.emit import (
    EMIT,
    Piece,
    clear_border,
    frame_sources_of,
    mixed_blocks,
)
from tsm_ref.engine.on_numba.lowering import Chain, Layer
from tsm_ref.engine.on_numba.weights import PackedWeights
from tsm_ref.engine.on_numpy.ops import STEPS
from tsm_ref.errors import GraphError
from tsm_ref.graph import Graph
from tsm_ref.kernels import move
from tsm_ref.kernels.blocked import FLOAT_BYTES, PIXEL, Layout, aligned
from tsm_ref.kernels.machine import BLOCK
from tsm_ref.kernels.program import Assembler, Program
from tsm_ref.kernels.winograd import plan_winograd
from tsm_ref.ops_table import Shape

Array = NDArray[Any]
Step = Callable[[], None]

_NOTHING = np.zeros(0, np.float32)


def _zero_border(blocked: Array, layout: Layout) -> None:
    rows, columns = layout.before + layout.height, layout.before + layout.width
    blocked[:, :, : layout.before] = blocked[:, :, rows:] = 0
    blocked[:, :, :, : layout.before] = blocked[:, :, :, columns:] = 0


@dataclass(frozen=True)
class Stage:
    """A run of kernels, or one NumPy step."""

    program: Program | None = None
    step: Step | None = None
    names: Sequence[str] = ()  # of the layers that the steps of the program belong to


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
        self.pack, self.weight = weights.pack, weights.get
        self.threads = threads
        self.layers = self._lower()
        self.readers = lowering.readers(self.layers, graph)
        self.chains = lowering.chains(self.layers, graph, shapes)
        self.layouts: dict[str, Layout] = {}
        self.assembler = Assembler()
        self.assemblers = [self.assembler]
        self.stages: list[Stage] = []
        self.workings: dict[object, Array] = {}
        self.owned: list[object] = []
        self.made = {layer.name: layer for layer in self.layers}
        self._converted: set[tuple[str, bool]] = set()
        self._choose_layouts()
        self._place()

    def _lower(self) -> list[Layer]:
        return lowering.lower(self.graph, self.shapes)

    def plan(self) -> NumbaPlan:
        """Emit every layer."""
        filled = {}
        for entry in self.graph.inputs:
            filled[entry.name] = self._input(entry.name)
        for chain in self.chains:
            self._emit(chain)
        outputs = {name: self._output(name) for name in self.graph.outputs}
        self._flush()
        shapes = {name: self.shapes[name][1:] for name in self.graph.outputs}
        owned = (self.arena, self.assemblers, self.owned)
        return NumbaPlan(self.stages, filled, outputs, shapes, self.arena.nbytes, owned)

    def _emit(self, chain: Chain) -> None:
        """Add the steps of a chain: layer after layer, or some frames of all layers at a time."""
        pieces = []
        for layer in chain.layers:
            for name in layer.reads(self.graph):
                self._convert(name, plain=layer.kind == lowering.NUMPY)
            pieces.append(EMIT[layer.kind](self, layer))
            self.assembler.owner = layer.name
            if not chain.by_frame:
                for kind, index, _ in pieces[-1]:
                    self.assembler.part(kind, index)
            if layer.name in self.layouts and layer.name not in self.same:
                clear_border(self, layer.name)
        if not chain.by_frame:
            return
        frames = self.shapes[chain.layers[0].name][2]
        turns, behind = -(-frames // self.threads), -(-chain.ahead // self.threads)
        for turn in range(turns + behind):
            for i, layer_pieces in enumerate(pieces):
                own = turn - (behind if i else 0)
                if 0 <= own < turns:
                    first = own * self.threads
                    self.assembler.owner = chain.layers[i].name
                    self._frames(layer_pieces, first, min(frames, first + self.threads), frames)

    def _frames(self, pieces: Sequence[Piece], first: int, last: int, frames: int) -> None:
        """Add the steps of frames ``first .. last - 1`` of one layer."""
        for kind, index, frame in pieces:
            if frame is None:
                self.assembler.part(kind, index, first, frames, last - first)
            elif first <= frame < last:
                self.assembler.part(kind, index)

    def by_frame(self, layer: Layer) -> bool:
        """Return whether a layer runs some frames at a time."""
        return any(layer in chain.layers for chain in self.chains if chain.by_frame)

    # Where values lie

    def _choose_layouts(self) -> None:
        for name in [*(entry.name for entry in self.graph.inputs), *self.made]:
            maker = self.made.get(name)
            fast = [r for r in self.readers.get(name, ()) if r.kind != lowering.NUMPY]
            if maker is not None and maker.kind == lowering.NUMPY and not fast:
                continue
            if maker is None and not fast:
                continue
            self.layouts[name] = self._layout(name, maker, fast)

    def _layout(self, name: str, maker: Layer | None, fast: Sequence[Layer]) -> Layout:
        shape = self.shapes[name]
        if maker is not None and maker.kind == lowering.ALIAS:
            return self.layouts[maker.x]
        if len(shape) == 3:  # (N, K, T): one row of T pixels
            return Layout(1, shape[1], 1, shape[2])
        borders = [lowering.border(layer, self.shapes) for layer in fast if layer.x == name]
        before = max((b for b, _ in borders), default=0)
        after = max((a for _, a in borders), default=0)
        interleaved = (
            maker is None
            and shape[1] < BLOCK // 2
            and all(layer.kind in (lowering.DIRECT, lowering.INVERTED) for layer in fast)
            and not any(layer.residual == name for layer in fast)
        )
        lanes = shape[1] if interleaved else BLOCK
        slots = self._slots(name, maker)
        height, width = shape[3:]
        return Layout(shape[2], shape[1], height, width, before, after, lanes, slots)

    def _slots(self, name: str, maker: Layer | None) -> int:
        """Return how many frames need memory at once: few inside a chain that runs by frames."""
        for chain in self.chains:
            if chain.by_frame and maker in chain.layers and name not in self.graph.outputs:
                turns = 1
                if maker is chain.layers[0]:
                    turns += -(-chain.ahead // self.threads)
                slots = turns * self.threads
                inside = all(layer in chain.layers for layer in self.readers.get(name, ()))
                return slots if inside and slots < self.shapes[name][2] else 0
        return 0

    def _place(self) -> None:
        """Give every form of every value its place in the arena."""
        alive: dict[str, tuple[int, int]] = {}
        sizes: dict[str, int] = {}
        self.same: dict[str, str] = {}
        # A chain is one moment: all its values are alive together.
        order = {layer.name: i for i, chain in enumerate(self.chains) for layer in chain.layers}
        end = len(self.chains)
        zeros = 0
        for name in [*(entry.name for entry in self.graph.inputs), *self.made]:
            reads = [order[layer.name] for layer in self.readers.get(name, ())]
            last = end if name in self.graph.outputs else max(reads, default=order.get(name, -1))
            span = (order.get(name, -1), last)
            if name in self.layouts:
                self._place_blocked(name, span, alive, sizes)
                zeros = max(zeros, self.layouts[name].block)
            if self._needs_plain(name):
                alive[f"{name} plain"] = span
                sizes[f"{name} plain"] = int(np.prod(self.shapes[name][1:])) * FLOAT_BYTES
        for layer in self.layers:
            for suffix, size in self._scratch(layer):
                alive[f"{layer.name} {suffix}"] = (order[layer.name], order[layer.name])
                sizes[f"{layer.name} {suffix}"] = size
        memory = place(sizes, alive)
        self.arena = aligned(memory.size + zeros + PIXEL * BLOCK)
        self.offsets = memory.offsets
        self.zeros = self.arena.ctypes.data + memory.size

    def _place_blocked(
        self, name: str, span: tuple[int, int], alive: dict[str, Any], sizes: dict[str, int]
    ) -> None:
        owner = self._same_memory(name)
        if owner is not None and owner in alive:
            self.same[name] = owner
            alive[owner] = (alive[owner][0], max(alive[owner][1], span[1]))
            return
        alive[name] = span
        sizes[name] = self.layouts[name].size

    def _same_memory(self, name: str) -> str | None:
        """Return the value in whose memory `name` may be made: the residual it is added to."""
        layer = self.made.get(name)
        if layer is None:
            return None
        if layer.kind == lowering.ALIAS:
            return self.same.get(layer.x, layer.x)
        residual = layer.residual
        if (
            layer.kind not in (lowering.DIRECT, lowering.WINOGRAD)
            or residual is None
            or residual == layer.x
            or residual not in self.made
            or residual in self.graph.outputs
            or self.layouts.get(residual) != self.layouts[name]
            or self.readers[residual][-1] is not layer
        ):
            return None
        return self.same.get(residual, residual)

    def _needs_plain(self, name: str) -> bool:
        maker = self.made.get(name)
        if maker is not None and maker.kind == lowering.NUMPY:
            return True
        return any(layer.kind == lowering.NUMPY for layer in self.readers.get(name, ()))

    def _scratch(self, layer: Layer) -> Iterable[tuple[str, int]]:
        if layer.kind == lowering.WINOGRAD:
            x, y = self.layouts[layer.x], self.layouts[layer.name]
            nothing = (_NOTHING, _NOTHING, np.zeros(0, np.int64))
            plan, _ = plan_winograd(x, y, layer.tile, *nothing, parts=self.threads)
            yield "scratch", int(plan.record["scratch_size"]) * self.threads
            mixed = mixed_blocks(x, frame_sources_of(layer.node, x)[:, 0])
            yield "mixed", len(mixed) * y.frames * x.block

    def address(self, key: str) -> int:
        """Return the address of a piece of the arena."""
        return self.arena.ctypes.data + self.offsets[key]

    def blocked(self, name: str) -> int:
        """Return the address of the blocked form of a value."""
        return self.address(self.same.get(name, name))

    def _blocked_array(self, name: str) -> Array:
        start, layout = self.offsets[self.same.get(name, name)], self.layouts[name]
        return self.arena[start : start + layout.size].view(np.float32).reshape(layout.shape)

    def _plain_array(self, name: str) -> Array:
        shape, start = self.shapes[name][1:], self.offsets[f"{name} plain"]
        size = int(np.prod(shape)) * FLOAT_BYTES
        return self.arena[start : start + size].view(np.float32).reshape(shape)

    # Conversions

    def _five(self, name: str) -> Shape:
        """Return the shape of a value as (1, C, T, H, W) of its layout."""
        layout = self.layouts[name]
        return (1, layout.channels, layout.frames, layout.height, layout.width)

    def _input(self, name: str) -> Callable[[Array], None]:
        plain = self._plain_array(name) if self._needs_plain(name) else None
        blocked = self._blocked_array(name) if name in self.layouts else None
        layout, shape = self.layouts.get(name), self._five(name) if blocked is not None else ()

        def fill(x: Array) -> None:
            if plain is not None:
                np.copyto(plain, x, casting="same_kind")
            if blocked is not None and layout is not None:
                _zero_border(blocked, layout)
                five = np.ascontiguousarray(x, np.float32).reshape(shape)
                move.fill_blocked(five, blocked, layout.before)

        return fill

    def _output(self, name: str) -> Callable[[Array], None]:
        if name not in self.layouts:
            plain = self._plain_array(name)
            return lambda y: np.copyto(y, plain)
        blocked, layout, shape = self._blocked_array(name), self.layouts[name], self._five(name)
        return lambda y: move.read_blocked(blocked, layout.before, y.reshape(shape))

    def _convert(self, name: str, plain: bool) -> None:
        """Make the other form of a value, where the layer that reads it needs that one."""
        maker = self.made.get(name)
        if maker is None:
            return
        from_plain = maker.kind == lowering.NUMPY
        if plain == from_plain or (name, plain) in self._converted:
            return
        self._converted.add((name, plain))
        self._flush()
        blocked, layout = self._blocked_array(name), self.layouts[name]
        five = self._plain_array(name).reshape(self._five(name))
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

    def numpy_step(self, layer: Layer) -> None:
        """Add a step of the NumPy engine."""
        self._flush()
        node = layer.node
        arrays = [
            self.weight(name) if name in self.graph.parameters else self._plain_array(name)
            for name in node.inputs
        ]
        step = STEPS[node.op](node, arrays, self._plain_array(node.name))
        self.stages.append(Stage(step=step))

    def recall(self, layer: Layer) -> None:
        """Add the steps of a ``History``; see `tsm_ref.engine.on_numba.steps`."""
        raise GraphError(f"node {layer.name!r} (History) belongs to a step graph, not to a clip")

    def working(self, kind: object, size: int) -> int:
        """Return the address of `size` zero bytes for each thread, shared by all of one kind.

        Zeros of a ring must survive from run to run, so it lies outside the arena.
        """
        held = self.workings.get(kind)
        if held is None or held.nbytes < size * self.threads:
            self.workings[kind] = held = aligned(size * self.threads)
            self.owned.append(held)
        return held.ctypes.data

    def _flush(self) -> None:
        """End the program that is being assembled."""
        if self.assembler.steps:
            names = tuple(self.assembler.owners)
            self.stages.append(Stage(program=self.assembler.program(), names=names))
            self.assembler = Assembler()
            self.assemblers.append(self.assembler)
