"""Convolutions of bfloat16: panels of inputs against tiles of weights, as for whole numbers.

The loops are those of `tsm_ref.kernels.integer.conv`. Every output is one sum, in the order of k
that its unit has: neither its panel nor its tile, neither blocks nor threads can change a bit.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tsm_ref.kernels.bfloat16.pack import COLUMNS, GROUP, PANEL_SLACK, STEP_BYTES, pack_bfloat16
from tsm_ref.kernels.bfloat16.tile import call_bfloat16_tiles
from tsm_ref.kernels.bfloat16.units import UNIT
from tsm_ref.kernels.cache import compiled

Array = NDArray[Any]

ROWS = UNIT.rows
_PACKED_BYTES = 1 << 17
_WEIGHT_BYTES = 1 << 17
_INFINITY = np.float32(np.inf)


class BFloat16Convolution(NamedTuple):
    """A layer, ready to run: what `run_bfloat16_convolution` reads."""

    frames: NDArray[np.int64]  # see `pack.pack`; offsets in bytes
    inputs: NDArray[np.int64]
    runs: NDArray[np.int64]
    begins: NDArray[np.int64]  # where the runs of each panel begin
    weights: Array  # (groups, tiles, steps, rows, 2), the bits of bfloat16
    bias: NDArray[np.float32]  # (groups, rows of all tiles)
    residual: NDArray[np.float32]  # as y, or empty
    y: NDArray[np.float32]  # (outputs * columns,)
    columns: int  # outputs of a channel
    group_inputs: int  # channels that a group reads
    group_outputs: int  # channels that it makes
    stride: int  # between the inputs of neighbouring outputs
    low: np.float32
    high: np.float32
    code: int  # of the tiles

    @property
    def panels(self) -> int:
        """The pieces that threads share."""
        return len(self.begins) - 1


@compiled()
def _tiles(
    layer: BFloat16Convolution, x: int, g: int, tile: int, count: int, panel: int, scratch: Array
) -> None:
    """Compute some tiles over a panel: to their place, or by way of `scratch` at the edges."""
    columns = min(COLUMNS, layer.columns - panel * COLUMNS)
    rows = min(count * ROWS, layer.group_outputs - tile * ROWS)
    whole = rows // ROWS if columns == COLUMNS else 0
    place = (g * layer.group_outputs + tile * ROWS) * layer.columns + panel * COLUMNS
    steps, added = layer.weights.shape[2], len(layer.residual) > 0
    if whole:
        residual = layer.residual.ctypes.data + 4 * place if added else 0
        call_bfloat16_tiles(
            layer.code, x, layer.weights[g, tile:].ctypes.data, steps, whole,
            layer.bias[g, tile * ROWS :].ctypes.data, residual, layer.y.ctypes.data + 4 * place,
            4 * layer.columns, layer.low, layer.high,
        )  # fmt: skip
    if whole == count:
        return
    call_bfloat16_tiles(
        layer.code, x, layer.weights[g, tile + whole :].ctypes.data, steps, count - whole,
        layer.bias[g, (tile + whole) * ROWS :].ctypes.data, 0, scratch.ctypes.data, 4 * COLUMNS,
        -_INFINITY, _INFINITY,
    )  # fmt: skip
    for row in range(whole * ROWS, rows):
        for i in range(columns):
            at = place + row * layer.columns + i
            value = scratch[(row - whole * ROWS) * COLUMNS + i]
            if added:
                value += layer.residual[at]
            if value < layer.low:
                value = layer.low
            if value > layer.high:
                value = layer.high
            layer.y[at] = value


@compiled()
def run_bfloat16_convolution(layer: BFloat16Convolution, first: int, last: int) -> None:
    """Compute panels ``first .. last - 1`` of a layer."""
    groups, tiles, steps = *layer.bias.shape, len(layer.inputs) // GROUP
    tiles //= ROWS
    panel_bytes = steps * STEP_BYTES
    block = max(1, min(last - first, _PACKED_BYTES // panel_bytes))
    packed = np.empty(block * panel_bytes + PANEL_SLACK, np.uint8)
    tile_block = max(1, _WEIGHT_BYTES // (steps * ROWS * 4))
    scratch = np.empty(tile_block * ROWS * COLUMNS, np.float32)
    for begin in range(first, last, block):
        end = min(begin + block, last)
        for g in range(groups):
            for panel in range(begin, end):
                pack_bfloat16(
                    layer.frames, layer.inputs, g * layer.group_inputs, layer.runs,
                    layer.begins[panel], layer.begins[panel + 1], layer.stride,
                    packed.ctypes.data + (panel - begin) * panel_bytes,
                )  # fmt: skip
            for tile in range(0, tiles, tile_block):
                count = min(tile_block, tiles - tile)
                for panel in range(begin, end):
                    x = packed.ctypes.data + (panel - begin) * panel_bytes
                    _tiles(layer, x, g, tile, count, panel, scratch)


def pack_bias(bias: Array, groups: int) -> NDArray[np.float32]:
    """A bias (outputs,) as rows of whole tiles: (groups, rows).

    >>> pack_bias(np.ones(2, np.float32), 2).shape == (2, ROWS)
    True
    """
    outputs = len(bias) // groups
    full = np.zeros((groups, -(-outputs // ROWS) * ROWS), np.float32)
    full[:, :outputs] = bias.reshape(groups, outputs)
    return full


def bits_of(weights: Array) -> NDArray[np.int16]:
    """The bits of numbers that are of bfloat16.

    >>> bits_of(np.float32([1.0, -2.0])).tolist()
    [16256, -16384]
    """
    bits = np.ascontiguousarray(weights, np.float32).view(np.uint32) >> 16
    return bits.astype(np.uint16).view(np.int16)
