"""Layers without weights that go over values one by one, or only move them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.engine.on_numba.lowering import Layer, limits_of
from tsm_ref.engine.on_numba.pieces import Array, Piece, activated, kept, planes_of
from tsm_ref.engine.on_numba.site import Site
from tsm_ref.graph import Node
from tsm_ref.kernels import move
from tsm_ref.kernels.blocked import PIXEL, Layout, aligned
from tsm_ref.kernels.elementwise import IDENTITY, MASKED, PRODUCT, SCALED, SUM, plan_elementwise
from tsm_ref.kernels.machine import BLOCK
from tsm_ref.kernels.plans import planned
from tsm_ref.kernels.pool import MEAN, plan_pool
from tsm_ref.kernels.program import COPY_STEP, ELEMENTWISE_STEP, POOL_STEP

__all__ = ["added", "concatenated", "elementwise", "flattened"]


def elementwise(site: Site, layer: Layer) -> list[Piece]:
    """A node whose values each come from one place of its inputs."""
    node = layer.node
    if node.op in ("Add", "Mul"):
        return _binary(site, layer)
    if node.op == "TemporalShift":
        planes, copies = planes_of(site, layer, site.layouts[layer.x])
        return [*copies, *_planned(site, layer, IDENTITY, planes=planes)]
    if node.op == "BatchNormalization":
        parameters = [site.weight(name) for name in node.inputs[1:]]
        return _planned(site, layer, SCALED, z=_gain_and_offset(node, *parameters))
    if node.op == "AttentionMask":
        return _mask(site, layer)
    low, high = limits_of(node)
    pieces = _planned(site, layer, IDENTITY, low=low, high=high)
    return activated(site, layer, pieces, node.op)


def added(site: Site, layer: Layer, other: str, limits: dict[str, float]) -> list[Piece]:
    """Add a value to that of a layer, where it is."""
    y = site.layouts[layer.name]
    at = site.blocked(layer.name)
    plan = plan_elementwise(
        SUM, y, y, site.layouts[other], x=at, z=site.blocked(other), y=at, **limits
    )
    return kept(site, ELEMENTWISE_STEP, plan)


def concatenated(site: Site, layer: Layer) -> list[Piece]:
    """The planes of two values, one behind the other."""
    pieces, first = [], 0
    for name in layer.node.inputs:
        x = site.layouts[name]
        pieces += _planned(site, layer, IDENTITY, name, first * site.layouts[layer.name].block)
        first += x.blocks
    return pieces


def flattened(site: Site, layer: Layer) -> list[Piece]:
    """(C, T, H, W) to one row of T pixels of H W C channels, channels fastest, block by block."""
    x, y = site.layouts[layer.x], site.layouts[layer.name]
    pieces: list[Piece] = []
    for frame in range(x.frames):
        for block in range(x.blocks):
            plan = planned(
                move.COPY,
                x=site.blocked(layer.x) + x.at(frame, block),
                y=site.blocked(layer.name) + y.at(0, block, 0, frame),
                count=x.height,
                x_step=x.row,
                y_step=x.width * x.blocks * y.block,
                pieces=x.width,
                x_piece=PIXEL,
                y_piece=x.blocks * y.block,
                size=PIXEL,
            )
            pieces += kept(site, COPY_STEP, plan)
    return pieces


def _planned(
    site: Site,
    layer: Layer,
    kind: int,
    name: str = "",
    offset: int = 0,
    *,
    layout: Layout | None = None,
    planes: NDArray[np.int64] | None = None,
    **fields: Any,
) -> list[Piece]:
    """An operation on the value `name`, or the first that is read, into that of the layer.

    `layout` is that of a second operand, whose address is the field ``z``.
    """
    source = name or layer.x
    plan = plan_elementwise(
        kind,
        site.layouts[source],
        site.layouts[layer.name],
        layout,
        planes,
        x=site.blocked(source),
        y=site.blocked(layer.name) + offset,
        **fields,
    )
    return kept(site, ELEMENTWISE_STEP, plan)


def _binary(site: Site, layer: Layer) -> list[Piece]:
    """A sum or product; the operand that has the shape of the result is the first."""
    node = layer.node
    full, other = node.inputs
    if site.shapes[full] != site.shapes[layer.name]:
        full, other = other, full
    kind = SUM if node.op == "Add" else PRODUCT
    layout, at = site.layouts[other], site.blocked(other)
    return _planned(site, layer, kind, full, layout=layout, z=at)


def _mask(site: Site, layer: Layer) -> list[Piece]:
    """The mean of every plane, and half of its inverse times the plane (`AttentionMask`)."""
    x, at = site.layouts[layer.x], site.address(f"{layer.name} means")
    means = Layout(x.frames, 1, 1, 1)
    plan = plan_pool(x, means, MEAN, (x.height, x.width), x=site.blocked(layer.x), y=at)
    return [
        *kept(site, POOL_STEP, plan),
        *_planned(site, layer, MASKED, layout=means, z=at),
    ]


def _gain_and_offset(node: Node, *parameters: Array) -> Array:
    """A batch normalisation as [block][gain, offset][channel]."""
    scale, bias, mean, variance = (p.astype(np.float64) for p in parameters)
    gain = scale / np.sqrt(variance + node.attr("epsilon"))
    blocks = -(-len(gain) // BLOCK)
    packed = aligned(2 * blocks * PIXEL).view(np.float32).reshape(blocks, 2, BLOCK)
    for i, values in enumerate((gain, bias - mean * gain)):
        filled = np.zeros(blocks * BLOCK)
        filled[: len(values)] = values
        packed[:, i] = filled.reshape(blocks, BLOCK)
    return packed
