"""One function per kind of layer: from a node and the places of its values to planned kernels.

Each returns the pieces of the layer; see `tsm_ref.engine.on_numba.pieces`.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from tsm_ref.engine.on_numba import lowering
from tsm_ref.engine.on_numba.lowering import Layer, groups_together, limits_of, moves_of
from tsm_ref.engine.on_numba.pieces import Array, Piece, activated, kept, planes_of
from tsm_ref.engine.on_numba.site import Site
from tsm_ref.engine.on_numba.sources import frame_sources_of
from tsm_ref.engine.on_numba.values import added, concatenated, elementwise, flattened
from tsm_ref.graph import Node
from tsm_ref.kernels import move, tables
from tsm_ref.kernels.blocked import Layout
from tsm_ref.kernels.conv import pack_bias, pack_matrix, pack_weights, plan_convolution
from tsm_ref.kernels.depthwise import pack_depthwise, plan_depthwise
from tsm_ref.kernels.inverted import bind_inverted, plan_inverted
from tsm_ref.kernels.machine import BLOCK
from tsm_ref.kernels.plans import planned
from tsm_ref.kernels.pool import MAXIMUM, MEAN, MEAN_WITH_PADDING, plan_pool
from tsm_ref.kernels.program import (
    CONVOLUTION_STEP,
    COPY_STEP,
    DEPTHWISE_STEP,
    INVERTED_STEP,
    POOL_STEP,
    WINOGRAD_STEP,
)
from tsm_ref.kernels.winograd import plan_winograd, transform_weights


def _segments(
    site: Site, node: Node, x: Layout, start: int, moves: Array | None = None
) -> tables.Table:
    """Return the segments of a convolution whose input begins at address `start`."""
    kernel = site.shapes[node.inputs[1]][2:]
    return tables.segments(
        x,
        frame_sources_of(node, x, kernel[0]),
        [x.start(frame) for frame in range(x.frames)],
        site.zeros - start,
        (kernel[1], kernel[2]),
        node.attr("dilations")[1:],
        moves,
    )


def _direct(site: Site, layer: Layer) -> list[Piece]:
    node, x, y = layer.node, site.layouts[layer.x], site.layouts[layer.name]
    strides, pads = node.attr("strides"), node.attr("pads")
    start, end = site.blocked(layer.x), site.blocked(layer.name)
    residual, r, at = layer.residual, None, 0
    if residual is not None:
        r, at = site.layouts[residual], site.blocked(residual)
    segments = _segments(site, node, x, start, moves_of(layer))
    low, high = limits_of(node)
    plan = plan_convolution(
        x,
        y,
        site.pack(node.inputs[1], f"direct {x.lanes}", lambda w: pack_weights(w, x.lanes)),
        site.pack(node.inputs[2], "bias", pack_bias),
        segments,
        tables.groups(x, y, r, strides[1:], (-pads[1], -pads[2]), segments.shape[1]),
        x.pixel * strides[2],
        r,
        in_place=at == end,
        x=start,
        y=end,
        residual=at,
        low=low,
        high=high,
    )
    return activated(site, layer, kept(site, CONVOLUTION_STEP, plan), node.attr("activation"))


def _grouped(site: Site, layer: Layer) -> list[Piece]:
    """A convolution for every few groups that fill whole blocks of channels."""
    node, x, y = layer.node, site.layouts[layer.x], site.layouts[layer.name]
    strides, pads, weight = node.attr("strides"), node.attr("pads"), site.shapes[node.inputs[1]]
    start, end = site.blocked(layer.x), site.blocked(layer.name)
    count = node.attr("group") // groups_together(node.attr("group"), weight)
    weights = site.pack(
        node.inputs[1], "grouped", lambda w: _pack_groups(w, node.attr("group"), count)
    )
    bias = site.pack(node.inputs[2], "bias", pack_bias)
    part, blocks = replace(x, channels=x.channels // count), y.blocks // count
    sources = frame_sources_of(node, x, weight[2])
    r = site.layouts[layer.residual] if layer.residual is not None else None
    at = site.blocked(layer.residual) if layer.residual is not None else 0
    low, high = limits_of(node)
    pieces: list[Piece] = []
    made: dict[int, tables.Table] = {}
    for i in range(count):
        segments = tables.segments(
            part,
            sources[:, :, i * part.channels : (i + 1) * part.channels],
            [x.start(frame) + i * part.frame for frame in range(x.frames)],
            site.zeros - start,
            (weight[3], weight[4]),
            node.attr("dilations")[1:],
        )
        length = segments.shape[1]  # where channels are shifted, parts have more
        if length not in made:
            made[length] = tables.groups(x, y, r, strides[1:], (-pads[1], -pads[2]), length)
        plan = plan_convolution(
            x,
            y,
            weights[i],
            bias[i * blocks * BLOCK : (i + 1) * blocks * BLOCK],
            segments,
            made[length],
            x.pixel * strides[2],
            r,
            x=start,
            y=end + i * blocks * y.block,
            residual=at + i * blocks * r.block if r is not None else 0,
            low=low,
            high=high,
        )
        pieces += kept(site, CONVOLUTION_STEP, plan)
    return activated(site, layer, pieces, node.attr("activation"))


def _pack_groups(weights: Array, group: int, count: int) -> list[Array]:
    """Return the packed weights of `count` parts, with zeros from group to group."""
    together, (c_out, c_in) = group // count, (len(weights) // group, weights.shape[1])
    parts = []
    for part in weights.reshape(count, together, c_out, *weights.shape[1:]):
        whole = np.zeros((together, c_out, together, *weights.shape[1:]), np.float32)
        for i in range(together):
            whole[i, :, i] = part[i]
        shape = (together * c_out, together * c_in, *weights.shape[2:])
        parts.append(pack_weights(whole.reshape(shape)))
    return parts


def _winograd(site: Site, layer: Layer) -> list[Piece]:
    node, x, y, m = layer.node, site.layouts[layer.x], site.layouts[layer.name], layer.tile
    residual, r, at = layer.residual, None, 0
    if residual is not None:
        r, at = site.layouts[residual], site.blocked(residual)
    low, high = limits_of(node)
    planes, copies = planes_of(site, layer, x)
    plan, products = plan_winograd(
        x,
        y,
        m,
        site.pack(node.inputs[1], f"F{m}", lambda w: transform_weights(w, m)),
        site.pack(node.inputs[2], "bias", pack_bias),
        planes,
        r,
        x=site.blocked(layer.x),
        y=site.blocked(layer.name),
        residual=at,
        by_frame=site.by_frame(layer),
        parts=site.threads,
        scratch=site.address(f"{layer.name} scratch"),
        low=low,
        high=high,
    )
    index = site.assembler.keep_winograd(plan, products)
    return activated(site, layer, [*copies, (WINOGRAD_STEP, index, None)], node.attr("activation"))


def _depthwise(site: Site, layer: Layer) -> list[Piece]:
    node, x, y = layer.node, site.layouts[layer.x], site.layouts[layer.name]
    low, high = limits_of(node)
    limits, pads = {"low": low, "high": high}, node.attr("pads")
    planes, copies = planes_of(site, layer, x) if any(node.attr("d")) else (None, [])
    plan = plan_depthwise(
        x,
        y,
        site.pack(node.inputs[1], "depthwise", pack_depthwise),
        site.pack(node.inputs[2], "bias", pack_bias),
        site.shapes[node.inputs[1]][-1],
        node.attr("strides")[1],
        (pads[1], pads[2]),
        planes,
        x=site.blocked(layer.x),
        y=site.blocked(layer.name),
        **({} if layer.residual else limits),
    )
    pieces = [*copies, *kept(site, DEPTHWISE_STEP, plan)]
    if layer.residual is not None:
        pieces += added(site, layer, layer.residual, limits)
    return activated(site, layer, pieces, node.attr("activation"))


def _inverted(site: Site, layer: Layer) -> list[Piece]:
    expand, middle, project = layer.nodes
    x, y = site.layouts[layer.x], site.layouts[layer.name]
    residual, r, at = layer.residual, None, 0
    if residual is not None:
        r, at = site.layouts[residual], site.blocked(residual)
    start = site.blocked(layer.x)
    hidden = site.shapes[expand.name]
    weights = [site.weight(node.inputs[1]) for node in layer.nodes]
    plan = plan_inverted(
        x,
        y,
        (hidden[3], hidden[4]),
        (weights[0], weights[1], weights[2][:, :, 0, 0, 0]),
        (
            site.weight(expand.inputs[2]),
            site.weight(middle.inputs[2]),
            site.weight(project.inputs[2]),
        ),
        _segments(site, expand, x, start),
        middle.attr("strides")[1],
        (limits_of(expand), limits_of(middle), limits_of(project)),
        r,
        parts=site.threads,
        expand_step=expand.attr("strides")[1],
    )
    ring = site.working(plan.ring, plan.ring_bytes)
    rows = site.working("rows", plan.row_bytes)
    bind_inverted(plan, start, site.blocked(layer.name), at, ring, rows)
    return [(INVERTED_STEP, site.assembler.keep_inverted(plan), None)]


def _pool(site: Site, layer: Layer) -> list[Piece]:
    node, x, y = layer.node, site.layouts[layer.x], site.layouts[layer.name]
    if node.op == "GlobalAveragePool":
        kind, kernel, strides, pads = MEAN, (x.height, x.width), (1, 1), (0, 0, 0, 0)
    else:
        kernel, strides = node.attr("kernel_shape")[1:], node.attr("strides")[1:]
        all_pads = node.attr("pads")
        pads = (all_pads[1], all_pads[2], all_pads[4], all_pads[5])
        kind = MAXIMUM
        if node.op == "AveragePool":
            kind = MEAN_WITH_PADDING if node.attr("count_include_pad") else MEAN
    addresses = {"x": site.blocked(layer.x), "y": site.blocked(layer.name)}
    plan = plan_pool(x, y, kind, kernel, strides, pads, **addresses)
    return kept(site, POOL_STEP, plan)


def _linear(site: Site, layer: Layer) -> list[Piece]:
    """A fully connected layer is a 1x1 convolution of a row of frames."""
    node, x, y = layer.node, site.layouts[layer.x], site.layouts[layer.name]
    step = x.frame if x.frames > 1 or x.width == 1 else x.pixel
    here = np.zeros((1, 1, x.channels), np.int64)
    bias = np.zeros(y.channels, np.float32)
    if len(node.inputs) > 2:
        bias = site.weight(node.inputs[2])
    plan = plan_convolution(
        x,
        y,
        site.pack(node.inputs[1], "matrix", pack_matrix),
        pack_bias(bias),
        tables.segments(x, here, [0], 0),
        tables.row_groups(np.zeros((1, 4), np.int64), y.width, step),
        step,
        x=site.blocked(layer.x),
        y=site.blocked(layer.name),
    )
    return kept(site, CONVOLUTION_STEP, plan)


def _alias(site: Site, layer: Layer) -> list[Piece]:
    """Another name for the same memory: nothing to do."""
    return []


EMIT: Mapping[str, Callable[[Site, Layer], list[Piece]]] = {
    lowering.DIRECT: _direct,
    lowering.GROUPED: _grouped,
    lowering.WINOGRAD: _winograd,
    lowering.DEPTHWISE: _depthwise,
    lowering.INVERTED: _inverted,
    lowering.POOL: _pool,
    lowering.LINEAR: _linear,
    lowering.ELEMENTWISE: elementwise,
    lowering.CONCAT: concatenated,
    lowering.FLATTEN: flattened,
    lowering.ALIAS: _alias,
}
"""What adds a layer of each kind that has kernels to a plan."""


def clear_border(site: Site, name: str) -> None:
    """Fill the border of every plane of a value with zeros: its memory held others before."""
    layout, start, zeros = site.layouts[name], site.blocked(name), site.zeros
    planes = (layout.slots or layout.frames) * layout.blocks
    rows = layout.before + layout.height + layout.after
    strips = [
        (0, planes, layout.block, layout.before * layout.row),
        ((rows - layout.after) * layout.row, planes, layout.block, layout.after * layout.row),
        (0, planes * rows, layout.row, layout.before * layout.pixel),
        (layout.row - layout.after * layout.pixel, planes * rows, layout.row,
         layout.after * layout.pixel),
    ]  # fmt: skip
    for offset, count, step, size in strips:
        if size:
            plan = planned(
                move.COPY, x=zeros, y=start + offset, count=count, y_step=step, pieces=1, size=size
            )
            site.assembler.step(COPY_STEP, plan)
