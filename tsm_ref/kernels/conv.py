"""Convolution from tables: one loop nest around the matrix micro-kernel for every kind of layer.

The loops keep a panel of weights in the first cache while it passes over a block of groups::

    for each block of groups            (their inputs stay in the second cache)
        for each panel of channels
            for each block of segments  (its weights stay in the first cache)
                micro-kernel: all groups of the block

Bias, residual and clamp happen in the micro-kernel, in registers.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.kernels.blocked import FLOAT_BYTES, PIXEL, Layout, aligned
from tsm_ref.kernels.cache import compiled
from tsm_ref.kernels.machine import BLOCK, HOST
from tsm_ref.kernels.microkernel import GROUP_FIELDS, call_matrix, codes
from tsm_ref.kernels.plans import Plan, planned
from tsm_ref.kernels.tables import Table
from tsm_ref.kernels.vector import integer_at

CONVOLUTION = np.dtype(
    [
        ("x", np.int64),  # addresses of input, output and residual (0: none)
        ("y", np.int64),
        ("residual", np.int64),
        ("y_block", np.int64),  # bytes between blocks of channels
        ("residual_block", np.int64),
        ("groups", np.int64),  # address of the group table
        ("group_count", np.int64),
        ("group_block", np.int64),  # groups that are computed for all channels before the next
        ("segments", np.int64),  # address of the segment table
        ("segment_count", np.int64),  # segments of one output frame
        ("segment_block", np.int64),  # segments between two stores of the sums
        ("weights", np.int64),  # address of what `pack_weights` returns
        ("depth", np.int64),  # inputs of each output: the sum of the lengths of the segments
        ("channels", np.int64),  # output channels, a multiple of 16
        ("bias", np.int64),
        ("step", np.int64),  # bytes between neighbouring pixels of a run in the input
        ("panel_code", np.int64),  # the two addresses of `microkernel.codes`
        ("block_code", np.int64),
        ("low", np.float32),
        ("high", np.float32),
    ],
    align=True,
)
"""A planned convolution, for `convolve`."""

_GROUP_BYTES = 8 * len(GROUP_FIELDS)
_SEGMENT_BYTES = 16
_PANEL = HOST.panel
_GROUPS = 64  # groups that pass over a panel of weights before the next panel
_DEPTH = 256  # inputs whose weights are kept in the first cache
_INFINITY = np.float32(np.inf)


def convolve(
    layer: Any, x: int, y: int, weights: int, bias: int, first: int, last: int, resume: bool,
    finish: bool,
) -> None:  # fmt: skip
    """Compute groups ``first .. last - 1`` of a planned `CONVOLUTION`.

    The addresses are given beside the plan, so that one plan serves all the products of a Winograd
    convolution and all the chunks of a fused block. `resume` continues the sums found in the
    output; `finish` adds the residual and clamps.
    """
    for begin in range(first, last, layer.group_block):
        groups = layer.groups + begin * _GROUP_BYTES
        group_count = min(layer.group_block, last - begin)
        channel = 0
        while channel < layer.channels:
            width = _PANEL if layer.channels - channel >= _PANEL else BLOCK
            _panel(
                layer, groups, group_count, x, y, weights + channel * layer.depth * FLOAT_BYTES,
                bias + channel * FLOAT_BYTES, channel, width, resume, finish,
            )  # fmt: skip
            channel += width


def _panel(
    layer: Any, groups: int, group_count: int, x: int, y: int, weights: int, bias: int,
    channel: int, width: int, resume: bool, finish: bool,
) -> None:  # fmt: skip
    """Compute one panel of output channels for a block of groups."""
    block = channel // BLOCK
    y += block * layer.y_block
    for done in range(0, layer.segment_count, layer.segment_block):
        count = min(layer.segment_block, layer.segment_count - done)
        segments = layer.segments + done * _SEGMENT_BYTES
        residual, low, high = 0, -_INFINITY, _INFINITY
        if finish and done + count == layer.segment_count:
            low, high = layer.low, layer.high
            if layer.residual != 0:
                residual = layer.residual + block * layer.residual_block
        going_on = 1 if resume or done > 0 else 0
        call_matrix(
            layer.panel_code if width == _PANEL else layer.block_code,
            groups, group_count, x, y, residual, layer.y_block, layer.residual_block,
            segments, count, weights, bias, going_on, layer.step, low, high,
        )  # fmt: skip
        for segment in range(count):
            length = integer_at(segments + segment * _SEGMENT_BYTES + 8)
            weights += length * width * FLOAT_BYTES


def run_convolution(layers: NDArray[Any], index: int, first: int, last: int) -> None:
    """Compute groups ``first .. last - 1`` of a planned `CONVOLUTION`."""
    layer = layers[index]
    convolve(layer, layer.x, layer.y, layer.weights, layer.bias, first, last, False, True)


def pack_weights(weights: NDArray[Any], lanes: int = BLOCK) -> NDArray[np.float32]:
    """Return (Cout, Cin, kT, kH, kW) as the micro-kernel reads them: panels of [depth][panel].

    The depth is in the order of the segments: block of `lanes` input channels, temporal tap, row,
    column, channel. Output channels are filled up to a multiple of 16.
    """
    c_out, c_in = weights.shape[:2]
    parts = [weights[:, c : c + lanes] for c in range(0, c_in, lanes)]
    depth = [np.moveaxis(part, 1, -1).reshape(c_out, -1) for part in parts]
    return pack_matrix(np.concatenate(depth, axis=1))


def pack_matrix(matrix: NDArray[Any]) -> NDArray[np.float32]:
    """Return (channels, depth) as panels of [depth][panel], the last one perhaps 16 wide."""
    channels = -(-len(matrix) // BLOCK) * BLOCK
    depth = matrix.shape[1]
    packed = aligned(channels * depth * FLOAT_BYTES).view(np.float32)
    full = np.zeros((channels, depth), np.float32)
    full[: len(matrix)] = matrix
    begin = 0
    while begin < channels:
        width = _PANEL if channels - begin >= _PANEL else BLOCK
        panel = full[begin : begin + width].T
        packed[begin * depth : (begin + width) * depth] = panel.ravel()
        begin += width
    return packed


def unpack_weights(
    packed: NDArray[np.float32], shape: Sequence[int], lanes: int = BLOCK
) -> NDArray[np.float32]:
    """Return the weights of a `shape` (Cout, Cin, kT, kH, kW) that were packed: the exact inverse.

    >>> w = np.arange(40 * 20 * 9.0, dtype=np.float32).reshape(40, 20, 1, 3, 3)
    >>> bool((unpack_weights(pack_weights(w), w.shape) == w).all())
    True
    """
    c_out, c_in, *kernel = shape
    depth = c_in * int(np.prod(kernel))
    channels = -(-c_out // BLOCK) * BLOCK
    begins = list(range(0, channels - channels % _PANEL, _PANEL))
    begins += list(range(len(begins) * _PANEL, channels, BLOCK))
    rows = [
        packed[begin * depth : end * depth].reshape(depth, -1).T
        for begin, end in pairwise([*begins, channels])
    ]
    matrix = np.concatenate(rows)[:c_out]
    weights = np.empty(shape, np.float32)
    for c in range(0, c_in, lanes):
        part = min(lanes, c_in - c)
        taps = matrix[:, c * depth // c_in : (c + part) * depth // c_in]
        weights[:, c : c + part] = np.moveaxis(taps.reshape(c_out, *kernel, part), -1, 1)
    return weights


def pack_bias(bias: NDArray[Any]) -> NDArray[np.float32]:
    """Return a bias filled up with zeros to a multiple of 16 channels."""
    packed = aligned(-(-len(bias) // BLOCK) * PIXEL).view(np.float32)
    packed[: len(bias)] = bias
    return packed


def plan_convolution(
    x: Layout,
    y: Layout,
    weights: NDArray[np.float32],
    bias: NDArray[np.float32],
    segments: Table,
    groups: Table,
    step: int,
    residual: Layout | None = None,
    /,
    in_place: bool = False,
    **fields: Any,
) -> Plan:
    """Plan a convolution; `fields` are the addresses and the limits of the result.

    `weights` and `bias` are packed, `segments` and `groups` come from `tables`, `step` is the
    distance in bytes of the inputs of neighbouring outputs. `in_place` says that the residual is
    the output's own memory: then the sums may not be parked there, and are taken in one go.
    """
    depth = int(segments[0, :, 1].sum())
    segment_count = segments.shape[1]
    pieces = 1 if in_place else max(1, round(depth / _DEPTH))
    panel_code, block_code = codes()
    return planned(
        CONVOLUTION,
        **{"low": -np.inf, "high": np.inf, **fields},
        y_block=y.block,
        residual_block=(residual or y).block,
        groups=groups,
        group_count=len(groups),
        group_block=_GROUPS,
        segments=segments,
        segment_count=segment_count,
        segment_block=-(-segment_count // pieces),
        weights=weights,
        depth=depth,
        channels=len(bias),
        bias=bias,
        step=step,
        panel_code=panel_code,
        block_code=block_code,
    )


_panel = compiled()(_panel)
convolve = compiled()(convolve)
run_convolution = compiled()(run_convolution)
