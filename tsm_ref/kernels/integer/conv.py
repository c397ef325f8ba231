"""Convolutions of whole numbers: panels of inputs against tiles of weights.

::

    for each block of panels              (packed once; they stay in a near cache)
        for each block of tiles           (its weights stay in the second one)
            for each panel: all tiles of the block

Sums are exact, so neither the blocks nor the number of threads can change a result.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tsm_ref.kernels.cache import compiled
from tsm_ref.kernels.integer.bytes import order_of, pack_tile
from tsm_ref.kernels.integer.pack import COLUMNS, GROUP, PANEL_SLACK, STEP_BYTES, pack
from tsm_ref.kernels.integer.tile import REAL, call_tiles
from tsm_ref.kernels.integer.units import UNIT, Unit

Array = NDArray[Any]

ROWS = UNIT.rows
_PACKED_BYTES, _WEIGHT_BYTES = (1 << 15, 1 << 24) if UNIT.bytes else (1 << 17, 1 << 17)
"""Of panels and tiles in a block. Products of bytes take so long that their weights, read in order,
come from afar in time, and all tiles are one block."""


class IntegerConvolution(NamedTuple):
    """A layer, ready to run: what `run_integer_convolution` reads."""

    places: NDArray[np.int64]  # addresses of inputs: (groups, frames, k); see `pack.pack`
    runs: NDArray[np.int64]
    begins: NDArray[np.int64]  # where the runs of each panel begin
    weights: NDArray[np.uint8]  # see `PackedWeights`
    starts: NDArray[np.int64]
    bias: NDArray[np.int32]  # (groups, rows of all tiles)
    factor: NDArray[np.float32]
    y: NDArray[np.uint8]  # the bytes of the outputs
    columns: int  # outputs of a channel
    group_outputs: int  # channels that it makes
    stride: int  # between the inputs of neighbouring outputs
    flip: int  # 128 where the inputs are signed
    input_zero: int  # the zero point of inputs that were flipped
    form: int  # see `tile`
    zero: int  # zero point, and the ends of a result before it is added
    low: np.float32
    high: np.float32
    code: int  # of the tiles

    @property
    def panels(self) -> int:
        """The pieces that threads share."""
        return len(self.begins) - 1


@compiled()
def _call(
    layer: IntegerConvolution, x: int, g: int, tile: int, count: int, y: int, y_row: int
) -> None:
    """Compute `count` whole tiles to the address `y`."""
    row, weights = tile * ROWS, layer.weights.ctypes.data + layer.starts[g, tile]
    call_tiles(
        layer.code, x, weights, layer.places.shape[2] // GROUP, count,
        layer.bias[g, row:].ctypes.data, layer.factor[g, row:].ctypes.data, y, y_row, layer.form,
        layer.zero, layer.low, layer.high,
    )  # fmt: skip


@compiled()
def _tiles(
    layer: IntegerConvolution, x: int, g: int, tile: int, count: int, panel: int, scratch: Array
) -> None:
    """Compute some tiles over a panel: to their place, or by way of `scratch` at the edges."""
    size = 4 if layer.form == REAL else 1
    columns = min(COLUMNS, layer.columns - panel * COLUMNS)
    rows = min(count * ROWS, layer.group_outputs - tile * ROWS)
    row_bytes = layer.columns * size
    place = (g * layer.group_outputs + tile * ROWS) * row_bytes + panel * COLUMNS * size
    whole = rows // ROWS if columns == COLUMNS else 0
    if whole:
        _call(layer, x, g, tile, whole, layer.y.ctypes.data + place, row_bytes)
    if whole == count:
        return
    done = whole * ROWS
    scratch_row = COLUMNS * size
    _call(layer, x, g, tile + whole, count - whole, scratch.ctypes.data, scratch_row)
    for row in range(done, rows):
        source, target = (row - done) * scratch_row, place + row * row_bytes
        for i in range(columns * size):
            layer.y[target + i] = scratch[source + i]


@compiled()
def tiles_of_block(weight_bytes: int, groups: int, tiles: int) -> int:
    """How many tiles of a group a block has; all where there are few, as scratch is for them.

    >>> tiles_of_block(1 << 12, 1, 32), tiles_of_block(1 << 40, 1, 32)
    (32, 1)
    """
    return max(1, min(tiles, _WEIGHT_BYTES * groups * tiles // weight_bytes))


@compiled()
def run_integer_convolution(layer: IntegerConvolution, first: int, last: int) -> None:
    """Compute panels ``first .. last - 1`` of a layer."""
    groups, tiles, steps = *layer.starts.shape, layer.places.shape[2] // GROUP
    panel_bytes = steps * STEP_BYTES
    block = max(1, min(last - first, _PACKED_BYTES // panel_bytes))
    packed = np.empty(block * panel_bytes + PANEL_SLACK, np.uint8)
    tile_block = tiles_of_block(len(layer.weights), groups, tiles)
    scratch = np.empty(tile_block * ROWS * COLUMNS * 4, np.uint8)
    for begin in range(first, last, block):
        end = min(begin + block, last)
        for g in range(groups):
            for panel in range(begin, end):
                pack(
                    layer.places[g], layer.runs, layer.begins[panel], layer.begins[panel + 1],
                    layer.stride, layer.flip, layer.input_zero,
                    packed.ctypes.data + (panel - begin) * panel_bytes,
                )  # fmt: skip
            for tile in range(0, tiles, tile_block):
                count = min(tile_block, tiles - tile)
                for panel in range(begin, end):
                    x = packed.ctypes.data + (panel - begin) * panel_bytes
                    _tiles(layer, x, g, tile, count, panel, scratch)


class PackedWeights(NamedTuple):
    """The weights of all tiles as a unit reads them, one behind the other."""

    data: NDArray[np.uint8]
    starts: NDArray[np.int64]  # where each begins: (groups, tiles)
    order: NDArray[np.int64]  # which input is where in a panel: (groups, k of whole steps)


def pack_weights(matrix: Array, groups: int, unit: Unit = UNIT) -> PackedWeights:
    """Weights (outputs, k) as the tiles of the unit read them.

    >>> pack_weights(np.ones((ROWS + 1, 9), np.int8), 1).starts.shape
    (1, 2)
    """
    count, size = unit.chunks(matrix.shape[1])
    full = np.zeros((groups, len(matrix) // groups, count * size * unit.group), matrix.dtype)
    full[..., : matrix.shape[1]] = matrix.reshape(*full.shape[:2], -1)
    order = np.array([order_of(own) if unit.bytes else np.arange(full.shape[2]) for own in full])
    ordered = np.take_along_axis(full, order[:, None], axis=2)
    tiles = pack_tiles(ordered.reshape(len(matrix), -1), groups, unit)
    pieces = [pack_tile(tile, 4 * unit.columns) if unit.bytes else tile.reshape(-1).view(np.uint8)
              for group in tiles for tile in group]  # fmt: skip
    starts = np.cumsum([0, *map(len, pieces)])[:-1]
    return PackedWeights(np.concatenate(pieces), starts.reshape(tiles.shape[:2]), order)


def pack_tiles(matrix: Array, groups: int, unit: Unit = UNIT) -> Array:
    """Weights (outputs, k) as the tiles read them: (groups, tiles, steps, rows, in the group).

    Where a unit takes several steps at once, these lie row by row.

    >>> pack_tiles(np.ones((ROWS + 1, UNIT.group * UNIT.depth + 1), np.int8), 1).shape[1:3]
    (2, 2)
    """
    outputs, k = len(matrix) // groups, matrix.shape[1]
    tiles, (chunks, size) = -(-outputs // unit.rows), unit.chunks(k)
    full = np.zeros((groups, tiles * unit.rows, chunks * size * unit.group), unit.weight_type)
    full[:, :outputs, :k] = matrix.reshape(groups, outputs, k)
    cut = full.reshape(groups, tiles, unit.rows, chunks, size * unit.group).swapaxes(2, 3)
    shape = (groups, tiles, chunks * size, unit.rows, unit.group)
    return np.ascontiguousarray(cut).reshape(shape)


def pack_rows(vector: Array, groups: int) -> Array:
    """A vector (outputs,) as rows of whole tiles: (groups, rows)."""
    outputs = len(vector) // groups
    full = np.zeros((groups, -(-outputs // ROWS) * ROWS), vector.dtype)
    full[:, :outputs] = vector.reshape(groups, outputs)
    return full
