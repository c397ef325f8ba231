"""Which frames a layer reads: the taps of a convolution in time, and the shift before it."""

import numpy as np
from numpy.typing import NDArray

from tsm_ref.graph import Node
from tsm_ref.kernels import tables
from tsm_ref.kernels.blocked import Layout
from tsm_ref.kernels.loops import CIRCULAR, REPLICATE, ZERO

__all__ = ["frame_sources_of", "mixed_blocks"]

_FILLS = {"zero": ZERO, "replicate": REPLICATE, "circular": CIRCULAR}


def frame_sources_of(node: Node, x: Layout, taps: int = 1) -> NDArray[np.int64]:
    """Return which frame each output frame of a convolution reads: (frames, taps, channels).

    A shift that is a node of its own reads like a convolution of one tap.
    """
    stride, dilation, pads = 1, 1, (0, 0)
    if node.op != "TemporalShift":
        stride, dilation = node.attr("strides")[0], node.attr("dilations")[0]
        pads = (node.attr("pads")[0], node.attr("pads")[3])
    return tables.frame_sources(
        1,
        x.frames,
        x.channels,
        np.array(node.attr("d")) if node.attr("d") else None,
        _FILLS[node.attr("fill")],
        taps,
        stride,
        dilation,
        pads,
        node.attr("segment"),
    )


def mixed_blocks(x: Layout, sources: NDArray[np.int64]) -> list[int]:
    """Return the blocks whose channels do not all come from one frame, in some output frame."""
    cuts = [sources[:, i * x.lanes : (i + 1) * x.lanes] for i in range(x.blocks)]
    return [i for i, cut in enumerate(cuts) if (cut != cut[:, :1]).any()]
