"""Where the layers of one network are put up: what the values look like, and where they lie.

Values that kernels touch lie in an arena in the blocked layout; values that a NumPy step touches
lie there as (C, T, ...). A value that both touch has both forms.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.engine.arena import place
from tsm_ref.engine.on_numba import lowering
from tsm_ref.engine.on_numba.chains import chains
from tsm_ref.engine.on_numba.lowering import Layer
from tsm_ref.engine.on_numba.sources import frame_sources_of, mixed_blocks
from tsm_ref.engine.on_numba.weights import PackedWeights
from tsm_ref.graph import Graph
from tsm_ref.kernels.blocked import FLOAT_BYTES, PIXEL, Layout, aligned
from tsm_ref.kernels.machine import BLOCK
from tsm_ref.kernels.program import Assembler
from tsm_ref.kernels.winograd import plan_winograd
from tsm_ref.ops_table import Shape

__all__ = ["Site"]

Array = NDArray[Any]

_NOTHING = np.zeros(0, np.float32)


class Site:
    """Layouts, addresses, weights and the assembler: all that is needed to emit a layer.

    ``same`` names the value in whose memory another one is made, ``zeros`` is the address of as
    many zero bytes as any plane has.
    """

    def __init__(
        self,
        graph: Graph,
        weights: PackedWeights,
        shapes: Mapping[str, Shape],
        threads: int,
        layers: Sequence[Layer],
    ) -> None:
        self.shapes, self.threads = shapes, threads
        self.pack, self.weight = weights.pack, weights.get
        self.chains = chains(layers, graph, shapes)
        self.assembler = Assembler()
        self.layouts: dict[str, Layout] = {}
        self.same: dict[str, str] = {}
        self.owned: list[object] = []
        self._graph = graph
        self._layers = layers
        self._made = {layer.name: layer for layer in layers}
        self._readers = lowering.readers(layers, graph)
        self._workings: dict[object, Array] = {}
        self._choose_layouts()
        self._place()

    def address(self, key: str) -> int:
        """The address of a piece of the arena."""
        return int(self.arena.ctypes.data) + self._offsets[key]

    def blocked(self, name: str) -> int:
        """The address of the blocked form of a value."""
        return self.address(self.same.get(name, name))

    def blocked_array(self, name: str) -> Array:
        """The blocked form of a value, in its layout."""
        start, layout = self._offsets[self.same.get(name, name)], self.layouts[name]
        return self.arena[start : start + layout.size].view(np.float32).reshape(layout.shape)

    def plain_array(self, name: str) -> Array:
        """The form (C, T, ...) of a value."""
        shape, start = self.shapes[name][1:], self._offsets[f"{name} plain"]
        size = int(np.prod(shape)) * FLOAT_BYTES
        return self.arena[start : start + size].view(np.float32).reshape(shape)

    def needs_plain(self, name: str) -> bool:
        """Whether a NumPy step makes or reads a value."""
        maker = self._made.get(name)
        if maker is not None and maker.kind == lowering.NUMPY:
            return True
        return any(layer.kind == lowering.NUMPY for layer in self._readers.get(name, ()))

    def by_frame(self, layer: Layer) -> bool:
        """Whether a layer runs some frames at a time."""
        return any(layer in chain.layers for chain in self.chains if chain.by_frame)

    def working(self, kind: object, size: int) -> int:
        """The address of `size` zero bytes for each thread, shared by all of one kind.

        Zeros of a ring must survive from run to run, so it lies outside the arena.
        """
        held = self._workings.get(kind)
        if held is None or held.nbytes < size * self.threads:
            self._workings[kind] = held = aligned(size * self.threads)
            self.owned.append(held)
        return int(held.ctypes.data)

    # Layouts

    def _choose_layouts(self) -> None:
        for name in [*(entry.name for entry in self._graph.inputs), *self._made]:
            maker = self._made.get(name)
            fast = [r for r in self._readers.get(name, ()) if r.kind != lowering.NUMPY]
            if fast or (maker is not None and maker.kind != lowering.NUMPY):
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
        """How many frames need memory at once: few inside a chain that runs by frames."""
        for chain in self.chains:
            if chain.by_frame and maker in chain.layers and name not in self._graph.outputs:
                turns = 1
                if maker is chain.layers[0]:
                    turns += -(-chain.ahead // self.threads)
                slots = turns * self.threads
                inside = all(layer in chain.layers for layer in self._readers.get(name, ()))
                return slots if inside and slots < self.shapes[name][2] else 0
        return 0

    # Places

    def _place(self) -> None:
        """Give every form of every value its place in the arena."""
        alive: dict[str, tuple[int, int]] = {}
        sizes: dict[str, int] = {}
        # A chain is one moment: all its values are alive together.
        order = {layer.name: i for i, chain in enumerate(self.chains) for layer in chain.layers}
        end = len(self.chains)
        zeros = 0
        for name in [*(entry.name for entry in self._graph.inputs), *self._made]:
            reads = [order[layer.name] for layer in self._readers.get(name, ())]
            last = end if name in self._graph.outputs else max(reads, default=order.get(name, -1))
            span = (order.get(name, -1), last)
            if name in self.layouts:
                self._place_blocked(name, span, alive, sizes)
                zeros = max(zeros, self.layouts[name].block)
            if self.needs_plain(name):
                alive[f"{name} plain"] = span
                sizes[f"{name} plain"] = int(np.prod(self.shapes[name][1:])) * FLOAT_BYTES
        for layer in self._layers:
            for suffix, size in self._scratch(layer):
                alive[f"{layer.name} {suffix}"] = (order[layer.name], order[layer.name])
                sizes[f"{layer.name} {suffix}"] = size
        memory = place(sizes, alive)
        self.arena = aligned(memory.size + zeros + PIXEL * BLOCK)
        self._offsets = memory.offsets
        self.zeros = int(self.arena.ctypes.data) + memory.size

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
        """The value in whose memory `name` may be made: the residual it is added to."""
        layer = self._made.get(name)
        if layer is None:
            return None
        if layer.kind == lowering.ALIAS:
            return self.same.get(layer.x, layer.x)
        residual = layer.residual
        if (
            layer.kind not in (lowering.DIRECT, lowering.WINOGRAD)
            or residual is None
            or residual == layer.x
            or residual not in self._made
            or residual in self._graph.outputs
            or self.layouts.get(residual) != self.layouts[name]
            or self._readers[residual][-1] is not layer
        ):
            return None
        return self.same.get(residual, residual)

    def _scratch(self, layer: Layer) -> Iterable[tuple[str, int]]:
        if layer.kind == lowering.WINOGRAD:
            x, y = self.layouts[layer.x], self.layouts[layer.name]
            nothing = (_NOTHING, _NOTHING, np.zeros(0, np.int64))
            plan, _ = plan_winograd(x, y, layer.tile, *nothing, parts=self.threads)
            yield "scratch", int(plan.record["scratch_size"]) * self.threads
        if layer.node.op == "AttentionMask" and layer.kind == lowering.ELEMENTWISE:
            yield "means", self.layouts[layer.x].frames * PIXEL
        shifted = layer.node.op == "TemporalShift" and layer.kind == lowering.ELEMENTWISE
        if shifted or layer.kind in (lowering.WINOGRAD, lowering.DEPTHWISE):
            x, y = self.layouts[layer.x], self.layouts[layer.name]
            mixed = mixed_blocks(x, frame_sources_of(layer.node, x)[:, 0])
            yield "mixed", len(mixed) * y.frames * x.block
