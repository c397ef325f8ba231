"""What the steps of several kinds of layers are made of.

A piece of a layer is (kind of step, index of the plan, frame). A frame of None means that the plan
can be run in equal parts, one for each frame.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.engine.on_numba.lowering import Layer
from tsm_ref.engine.on_numba.site import Site
from tsm_ref.engine.on_numba.sources import frame_sources_of, mixed_blocks
from tsm_ref.kernels import activation, move
from tsm_ref.kernels.blocked import FLOAT_BYTES, PIXEL, Layout
from tsm_ref.kernels.plans import Plan, planned
from tsm_ref.kernels.program import ACTIVATION_STEP, COPY_STEP

__all__ = ["Array", "Piece", "activated", "kept", "planes_of"]

Array = NDArray[Any]
Piece = tuple[int, int, int | None]

_ACTIVATIONS: Mapping[str, tuple[int, float | None, float]] = {
    "Tanh": (activation.TANH, 0.0, 0.0),
    "Sigmoid": (activation.SIGMOID, 0.0, 0.0),
    "LeakyRelu": (activation.LEAKY_RELU, None, 0.0),
    "HardSigmoid": (activation.HARD_SIGMOID, 1 / 6, 0.5),
    "HardSwish": (activation.HARD_SWISH, 1 / 6, 0.5),
}
"""Kind, alpha (None: the node's) and beta of the activations that are not clamps."""


def kept(site: Site, kind: int, plan: Plan) -> list[Piece]:
    """The piece that is all of a plan."""
    return [(kind, site.assembler.keep(kind, plan), None)]


def activated(site: Site, layer: Layer, pieces: list[Piece], name: str) -> list[Piece]:
    """Add an activation by its name, if it is not a clamp, which kernels apply themselves."""
    if name not in _ACTIVATIONS:
        return pieces
    kind, alpha, beta = _ACTIVATIONS[name]
    plan = planned(
        activation.ACTIVATION,
        kind=kind,
        x=site.blocked(layer.name),
        count=site.layouts[layer.name].size // PIXEL,
        alpha=layer.node.attr("alpha") if alpha is None else alpha,
        beta=beta,
    )
    return pieces + kept(site, ACTIVATION_STEP, plan)


def planes_of(site: Site, layer: Layer, x: Layout) -> tuple[NDArray[np.int64], list[Piece]]:
    """Return the offset of the plane that every frame reads for each block of channels.

    Where a temporal shift gives the channels of a block different frames, the plane is put
    together by copies, which come first.
    """
    sources = frame_sources_of(layer.node, x)[:, 0]
    start = site.blocked(layer.x)
    starts = np.array([x.start(frame) for frame in range(x.frames)])
    first = sources[:, :: x.lanes]
    offsets = starts[first] + np.arange(x.blocks) * x.block
    planes = np.where(first < 0, site.zeros - start, offsets)
    copies: list[Piece] = []
    for i, block in enumerate(mixed_blocks(x, sources)):
        for frame, row in enumerate(sources[:, block * x.lanes : (block + 1) * x.lanes]):
            mixed = site.address(f"{layer.name} mixed") + (i * len(sources) + frame) * x.block
            planes[frame, block] = mixed - start
            cuts = [0, *(1 + np.flatnonzero(np.diff(row))), len(row)]
            for a, b in pairwise(cuts):
                source = site.zeros
                if row[a] >= 0:
                    source = start + int(starts[row[a]]) + block * x.block
                lanes = (int(a) * FLOAT_BYTES, int(b) * FLOAT_BYTES)
                plan = _lane_copy(source, mixed, x.block // PIXEL, lanes)
                copies.append((COPY_STEP, site.assembler.keep(COPY_STEP, plan), frame))
    return planes, copies


def _lane_copy(x: int, y: int, pixels: int, lanes: tuple[int, int]) -> Plan:
    """Plan to copy the bytes ``lanes[0] .. lanes[1]`` of every pixel of a plane."""
    begin, end = lanes
    return planned(
        move.COPY,
        x=x + begin,
        y=y + begin,
        count=pixels,
        x_step=PIXEL,
        y_step=PIXEL,
        pieces=1,
        size=end - begin,
    )
