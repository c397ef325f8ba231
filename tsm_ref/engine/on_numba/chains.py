"""Which layers run together, some frames at a time, so that values stay in the cache."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from tsm_ref.engine.on_numba.lowering import (
    DEPTHWISE,
    DIRECT,
    ELEMENTWISE,
    GROUPED,
    POOL,
    WINOGRAD,
    Layer,
    Shapes,
)
from tsm_ref.graph import Graph

__all__ = ["Chain", "chains"]


@dataclass(frozen=True)
class Chain:
    """Layers that are run together, some frames at a time, so that values stay in the cache.

    The first layer may read other frames than its own, and runs `ahead` frames before the others:
    the last layer may then overwrite the input of the first.
    """

    layers: tuple[Layer, ...]
    by_frame: bool = False
    ahead: int = 0


def chains(layers: Sequence[Layer], graph: Graph, shapes: Shapes) -> list[Chain]:
    """Return the layers in chains: a chain ends with a residual, or before a temporal op."""
    found: list[list[Layer]] = [[]]
    for layer in layers:
        alone = not _frame_by_frame(layer, shapes)
        if alone or _shifts(layer):
            found.append([])
        found[-1].append(layer)
        if alone or layer.residual is not None:
            found.append([])
    return [_chain(tuple(part), graph, shapes) for part in found if part]


def _frame_by_frame(layer: Layer, shapes: Shapes) -> bool:
    """Return whether each frame of the value needs one frame of the input, but for a shift."""
    node = layer.node
    if layer.kind == POOL:
        return True
    if layer.kind == ELEMENTWISE:
        together = node.op in ("Add", "Mul")
        return together and len({shapes[name][2] for name in node.inputs}) == 1
    if layer.kind not in (DIRECT, GROUPED, WINOGRAD, DEPTHWISE):
        return False
    still = shapes[node.inputs[1]][2] == 1 and node.attr("strides")[0] == 1
    unpadded = node.attr("pads")[0] == node.attr("pads")[3] == 0
    return still and unpadded and node.attr("activation") in ("", "Relu", "Clip")


def _shifts(layer: Layer) -> bool:
    node = layer.first
    return node.op == "FusedConv" and any(node.attr("d"))


def _chain(layers: tuple[Layer, ...], graph: Graph, shapes: Shapes) -> Chain:
    """Run by frames where the values are larger than the weights that every frame reads again."""
    if len(layers) == 1 or shapes[layers[0].name][2] == 1:
        return Chain(layers)
    names = {layers[0].x, *(layer.name for layer in layers)}
    widest = max(prod(shapes[name]) for name in names)
    weights = sum(
        prod(graph.parameters[layer.node.inputs[1]])
        * ((layer.tile + 2) ** 2 / 9 if layer.kind == WINOGRAD else 1)
        for layer in layers
        if layer.node.op == "FusedConv"
    )
    first = layers[0].first
    d = first.attr("d") if _shifts(layers[0]) else ()
    turning = any(d) and first.attr("fill") == "circular"
    return Chain(layers, 2 * weights <= widest and not turning, max(0, *d, 0))
