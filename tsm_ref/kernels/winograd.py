"""3x3 convolution with stride 1 by Winograd's minimal filtering, F(2x2, 3x3) and F(4x4, 3x3).

An output tile of ``m x m`` pixels needs an input tile of ``(m + 2) x (m + 2)``::

    Y = A^T [ sum over channels of (G g G^T) * (B^T d B) ] A

The weights ``G g G^T`` are transformed once, when the network is planned. Then each of the
``(m + 2)^2`` positions is an ordinary matrix product over the channels: 4 multiplications per
output instead of 9 for m = 2, 2.25 for m = 4, at the price of weights 1.8 or 4 times as large and
a rounding error of a few (m = 2) or some ten (m = 4) times that of the direct sum.

Transforms work on the 16 channels of a block at once. Tiles are taken in blocks whose transformed
inputs and products stay in the second-level cache.

Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2016 (points 0, 1, -1,
infinity and 0, 1, -1, 2, -2, infinity).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.kernels.blocked import FLOAT_BYTES, PIXEL, Layout, aligned
from tsm_ref.kernels.cache import compiled
from tsm_ref.kernels.conv import convolve, pack_matrix, plan_convolution
from tsm_ref.kernels.machine import BLOCK, HOST
from tsm_ref.kernels.plans import Plan, planned
from tsm_ref.kernels.tables import groups, segments
from tsm_ref.kernels.vector import Emitter, Value, address, count, generated, integer_at, real

FILTER = {
    2: np.array([[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]]),
    4: np.array(
        [
            [1 / 4, 0, 0],
            [-1 / 6, -1 / 6, -1 / 6],
            [-1 / 6, 1 / 6, -1 / 6],
            [1 / 24, 1 / 12, 1 / 6],
            [1 / 24, -1 / 12, 1 / 6],
            [0, 0, 1],
        ]
    ),
}
"""G, the transform of the filter, by tile size m."""

WINOGRAD = np.dtype(
    [
        ("tile", np.int64),  # m: output pixels of a tile in each direction, 2 or 4
        ("x", np.int64),  # addresses; the input has a border of zeros
        ("y", np.int64),
        ("residual", np.int64),  # 0: none
        ("x_row", np.int64),  # strides in bytes
        ("y_row", np.int64),
        ("y_block", np.int64),
        ("residual_row", np.int64),
        ("residual_block", np.int64),
        ("planes", np.int64),  # address of the offset of each block of channels of each frame
        ("tiles", np.int64),  # address of the table of tiles, `TILE_FIELDS`
        ("tile_count", np.int64),
        ("tile_block", np.int64),  # tiles that are transformed together
        ("block_count", np.int64),  # blocks of tiles
        ("in_blocks", np.int64),  # blocks of input and output channels
        ("out_blocks", np.int64),
        ("weights", np.int64),  # address of what `transform_weights` returns
        ("bias", np.int64),
        ("product", np.int64),  # index of the plan of a product of `tile_block` tiles
        ("last_product", np.int64),  # and of the tiles that remain
        ("scratch", np.int64),  # address of `scratch_bytes` for each part
        ("scratch_size", np.int64),
        ("low", np.float32),
        ("high", np.float32),
    ],
    align=True,
)
"""A planned Winograd convolution, for `run_winograd`."""

TILE_FIELDS = ("frame", "x", "y", "residual", "rows", "columns")
"""A row of the table of tiles: frame of the output, byte offsets in the plane of the input, in the
output and in the residual, and how many rows and columns of the tile lie inside the output."""

_TILE_BYTES = 8 * len(TILE_FIELDS)
TILE_BLOCK = 28
"""Tiles that should be transformed together: enough for the micro-kernel, at small scratch."""
_LARGE_BLOCK = 64
_LARGE_FILTERS = 512 * 1024 // FLOAT_BYTES
"""Filters of a position that every block of tiles has to fetch anew, so that blocks are larger."""


def tiles(
    x: Layout, y: Layout, m: int, residual: Layout | None = None, padding: int = 1
) -> NDArray[np.int64]:
    """Return the table of the tiles that cover every frame of `y`.

    >>> y = Layout(frames=2, channels=16, height=6, width=6)
    >>> x = Layout(frames=2, channels=16, height=6, width=6, before=1, after=3)
    >>> tiles(x, y, m=4)[3].tolist()
    [0, 2816, 1792, 1792, 2, 2]
    """
    r = residual or y
    rows = [
        (frame, x.at(y=row - padding, x=column - padding), y.at(frame, 0, row, column),
         r.at(frame, 0, row, column), min(m, y.height - row), min(m, y.width - column))
        for frame in range(y.frames)
        for row in range(0, y.height, m)
        for column in range(0, y.width, m)
    ]  # fmt: skip
    return np.array(rows, np.int64)


def scratch_bytes(m: int, tile_block: int, in_blocks: int, out_blocks: int) -> int:
    """Return the bytes of working memory of one thread.

    The positions of one tile are written together; an odd number of cache lines from one to the
    next spreads them over the sets of the cache.
    """
    lines = (tile_block * in_blocks | 1) + (tile_block * out_blocks | 1)
    return (m + 2) ** 2 * lines * PIXEL


def transform_weights(weights: NDArray[Any], m: int) -> NDArray[np.float32]:
    """Return ``G g G^T`` of (Cout, Cin, 1, 3, 3), packed position by position.

    Computed in float64 and rounded once, some output channels at a time: the whole would take
    many times the memory of the weights.
    """
    g = FILTER[m]
    c_out, c_in = weights.shape[:2]
    size = -(-c_out // BLOCK) * BLOCK * c_in
    packed = aligned((m + 2) ** 2 * size * FLOAT_BYTES).view(np.float32).reshape(-1, size)
    for begin in range(0, c_out, HOST.panel):
        some = weights[begin : begin + HOST.panel, :, 0].astype(np.float64)
        u = np.einsum("ia,ocab,jb->ijoc", g, some, g, optimize=True).astype(np.float32)
        for position, matrix in zip(packed, u.reshape(-1, *u.shape[2:]), strict=True):
            panels = pack_matrix(matrix)
            position[begin * c_in : begin * c_in + len(panels)] = panels
    return packed.ravel()


def choose_tile_block(per_frame: int, frames: int, filters: int = 0, parts: int = 1) -> int:
    """Return how many tiles are transformed together: part of a frame, or of some whole frames.

    `filters` is the number of input channels times that of output channels. Blocks of whole frames
    are about equal and, if there are frames enough, a multiple of the `parts` that share them.

    >>> [choose_tile_block(n, 8) for n in (196, 49, 16, 4)]
    [28, 49, 32, 32]
    >>> choose_tile_block(16, 8, filters=512 * 512), choose_tile_block(4, 8, parts=2)
    (64, 16)
    """
    wanted = _LARGE_BLOCK if filters > _LARGE_FILTERS else TILE_BLOCK
    if per_frame > wanted:
        sizes = [n for n in range(1, 2 * wanted) if per_frame % n == 0]
        return min(sizes, key=lambda n: (abs(n - wanted), -n))
    blocks = max(1, round(frames / -(-wanted // per_frame)))
    blocks = min(frames, -(-blocks // parts) * parts)
    return per_frame * -(-frames // blocks)


def plan_product(in_channels: int, out_channels: int, tile_count: int) -> Plan:
    """Plan the product of one position of `tile_count` tiles with its weights."""
    x = Layout(1, in_channels, 1, tile_count)
    y = Layout(1, out_channels, 1, tile_count)
    here = np.zeros((1, 1, in_channels), np.int64)
    nothing = np.zeros(0, np.float32)
    zeros = np.zeros(y.blocks * BLOCK, np.float32)
    return plan_convolution(x, y, nothing, zeros, segments(x, here, [0], 0), groups(x, y), PIXEL)


def plan_winograd(
    x: Layout,
    y: Layout,
    m: int,
    weights: NDArray[np.float32],
    bias: NDArray[np.float32],
    planes: NDArray[np.int64],
    residual: Layout | None = None,
    /,
    padding: int = 1,
    by_frame: bool = False,
    parts: int = 1,
    **fields: Any,
) -> tuple[Plan, list[Plan]]:
    """Plan a Winograd convolution, and the products that it needs (one or two).

    ``planes[frame of y, block]`` is the byte offset of the plane that this frame reads for a block
    of channels. `fields` are the addresses, the limits of the result, and the indices of the
    products in the table of convolutions.
    """
    table = tiles(x, y, m, residual, padding)
    filters = x.channels * y.channels
    frames = 1 if by_frame else y.frames
    tile_block = choose_tile_block(len(table) // y.frames, frames, filters, parts)
    sizes = [tile_block] + [len(table) % tile_block] * (len(table) % tile_block > 0)
    plan = planned(
        WINOGRAD,
        **{"low": -np.inf, "high": np.inf, **fields},
        tile=m,
        x_row=x.row,
        y_row=y.row,
        y_block=y.block,
        residual_row=(residual or y).row,
        residual_block=(residual or y).block,
        planes=np.ascontiguousarray(planes),
        tiles=table,
        tile_count=len(table),
        tile_block=tile_block,
        block_count=-(-len(table) // tile_block),
        in_blocks=x.blocks,
        out_blocks=y.blocks,
        weights=weights,
        bias=bias,
        scratch_size=scratch_bytes(m, tile_block, x.blocks, y.blocks),
    )
    return plan, [plan_product(x.channels, y.channels, size) for size in sizes]


def run_winograd(
    layers: NDArray[Any], products: NDArray[Any], index: int, first: int, last: int, part: int
) -> None:
    """Compute blocks of tiles ``first .. last - 1`` of a planned `WINOGRAD`, as thread `part`."""
    layer = layers[index]
    positions = (layer.tile + 2) ** 2
    v = layer.scratch + part * layer.scratch_size
    for block in range(first, last):
        begin = block * layer.tile_block
        tile_count = min(layer.tile_block, layer.tile_count - begin)
        whole = tile_count == layer.tile_block
        product = products[layer.product if whole else layer.last_product]
        v_position = (layer.in_blocks * tile_count | 1) * PIXEL  # odd: see `scratch_bytes`
        m_position = (layer.out_blocks * tile_count | 1) * PIXEL
        m = v + positions * v_position
        _transform_inputs(layer, begin, tile_count, v, v_position)
        for position in range(positions):
            weights = layer.weights + position * product.depth * product.channels * FLOAT_BYTES
            x, y = v + position * v_position, m + position * m_position
            convolve(product, x, y, weights, product.bias, 0, product.group_count, False, True)
        _transform_outputs(layer, begin, tile_count, m, m_position)


def _transform_inputs(layer: Any, begin: int, tile_count: int, v: int, v_position: int) -> None:
    for block in range(layer.in_blocks):
        for i in range(tile_count):
            row = layer.tiles + (begin + i) * _TILE_BYTES
            plane = integer_at(row) * layer.in_blocks + block
            x = layer.x + integer_at(layer.planes + 8 * plane) + integer_at(row + 8)
            to = v + (block * tile_count + i) * PIXEL
            if layer.tile == 4:
                _input_4(x, layer.x_row, to, v_position)
            else:
                _input_2(x, layer.x_row, to, v_position)


def _transform_outputs(layer: Any, begin: int, tile_count: int, m: int, m_position: int) -> None:
    for block in range(layer.out_blocks):
        bias = layer.bias + block * PIXEL
        for i in range(tile_count):
            row = layer.tiles + (begin + i) * _TILE_BYTES
            y = layer.y + integer_at(row + 16) + block * layer.y_block
            residual = 0
            if layer.residual != 0:
                residual = layer.residual + integer_at(row + 24) + block * layer.residual_block
            rows, columns = integer_at(row + 32), integer_at(row + 40)
            start = m + (block * tile_count + i) * PIXEL
            if layer.tile == 4:
                _output_4(start, m_position, y, layer.y_row, residual, layer.residual_row, bias,
                          rows, columns, layer.low, layer.high)  # fmt: skip
            else:
                _output_2(start, m_position, y, layer.y_row, residual, layer.residual_row, bias,
                          rows, columns, layer.low, layer.high)  # fmt: skip


def _input_rows_2(emit: Emitter, d: list[Value]) -> list[Value]:
    """Write ``B^T d`` for m = 2."""
    return [
        emit.minus(d[0], d[2]),
        emit.plus(d[1], d[2]),
        emit.minus(d[2], d[1]),
        emit.minus(d[1], d[3]),
    ]


def _output_rows_2(emit: Emitter, m: list[Value]) -> list[Value]:
    """Write ``A^T m`` for m = 2."""
    return [
        emit.plus(emit.plus(m[0], m[1]), m[2]),
        emit.minus(emit.minus(m[1], m[2]), m[3]),
    ]


def _input_rows_4(emit: Emitter, d: list[Value]) -> list[Value]:
    """Write ``B^T d`` for m = 4; the rows of points +p and -p share their even and odd halves."""
    minus_4, minus_5 = emit.constant(-4), emit.constant(-5)
    four, two, minus_2 = emit.constant(4), emit.constant(2), emit.constant(-2)
    even_1, odd_1 = emit.fma(d[2], minus_4, d[4]), emit.fma(d[1], minus_4, d[3])
    even_2, odd_2 = emit.minus(d[4], d[2]), emit.minus(d[3], d[1])
    return [
        emit.fma(d[0], four, emit.fma(d[2], minus_5, d[4])),
        emit.plus(even_1, odd_1),
        emit.minus(even_1, odd_1),
        emit.fma(odd_2, two, even_2),
        emit.fma(odd_2, minus_2, even_2),
        emit.fma(d[1], four, emit.fma(d[3], minus_5, d[5])),
    ]


def _output_rows_4(emit: Emitter, m: list[Value]) -> list[Value]:
    """Write ``A^T m`` for m = 4, from sums and differences of the pairs of points."""
    sum_1, difference_1 = emit.plus(m[1], m[2]), emit.minus(m[1], m[2])
    sum_2, difference_2 = emit.plus(m[3], m[4]), emit.minus(m[3], m[4])
    return [
        emit.plus(emit.plus(m[0], sum_1), sum_2),
        emit.fma(difference_2, emit.constant(2), difference_1),
        emit.fma(sum_2, emit.constant(4), sum_1),
        emit.plus(emit.fma(difference_2, emit.constant(8), difference_1), m[5]),
    ]


_Rows = Callable[[Emitter, list[Value]], list[Value]]


def _two_sided(emit: Emitter, rows: _Rows, matrix: list[list[Value]]) -> list[list[Value]]:
    """Apply a transform to the columns of a matrix of vectors, then to its rows."""
    columns = [rows(emit, [row[j] for row in matrix]) for j in range(len(matrix[0]))]
    return [rows(emit, list(row)) for row in zip(*columns, strict=True)]


def _input_transform(m: int, rows: _Rows) -> Any:
    n = m + 2

    @generated(address, count, address, count)
    def transform(emit: Emitter, x: Value, x_row: Value, v: Value, v_position: Value) -> None:
        start, to = emit.bytes_at(x), emit.bytes_at(v)
        lines = [emit.move(start, emit.times(x_row, i)) for i in range(n)]
        for part in range(0, PIXEL, emit.bytes):
            d = [[emit.load(line, j * PIXEL + part) for j in range(n)] for line in lines]
            for i, row in enumerate(_two_sided(emit, rows, d)):
                for j, value in enumerate(row):
                    place = emit.move(to, emit.times(v_position, i * n + j))
                    emit.store(value, place, part)

    return transform


def _with_residual(emit: Emitter, value: Value, residual: Value, line: Value, at: int) -> Value:
    """Write the sum of a value and of the residual at an offset, if there is a residual."""

    def added() -> list[Value]:
        return [emit.plus(value, emit.load(line, at))]

    return emit.choose(emit.nonzero(residual), added, lambda: [value])[0]


def _output_transform(m: int, rows: _Rows) -> Any:
    n = m + 2

    @generated(
        address, count, address, count, address, count, address, count, count, real, real
    )  # fmt: skip
    def transform(
        emit: Emitter, start: Value, position: Value, y: Value, y_row: Value, residual: Value,
        residual_row: Value, bias: Value, inside_rows: Value, inside_columns: Value,
        low: Value, high: Value,
    ) -> None:  # fmt: skip
        products, out, extra = (emit.bytes_at(a) for a in (start, y, residual))
        places = [
            [emit.move(products, emit.times(position, i * n + j)) for j in range(n)]
            for i in range(n)
        ]
        lower, upper = emit.splat(low), emit.splat(high)
        for part in range(0, PIXEL, emit.bytes):
            values = [[emit.load(place, part) for place in row] for row in places]
            shift = emit.load(emit.bytes_at(bias), part)
            for i, row in enumerate(_two_sided(emit, rows, values)):
                line = emit.move(out, emit.times(y_row, i))
                other = emit.move(extra, emit.times(residual_row, i))
                for j, value in enumerate(row):
                    inside = emit.both(
                        emit.less(emit.integer(i), inside_rows),
                        emit.less(emit.integer(j), inside_columns),
                    )
                    with emit.when(inside):
                        place = j * PIXEL + part
                        total = _with_residual(emit, value, residual, other, place)
                        total = emit.clamp(emit.plus(total, shift), lower, upper)
                        emit.store(total, line, place)

    return transform


_input_2 = _input_transform(2, _input_rows_2)
_input_4 = _input_transform(4, _input_rows_4)
_output_2 = _output_transform(2, _output_rows_2)
_output_4 = _output_transform(4, _output_rows_4)

_transform_inputs = compiled()(_transform_inputs)
_transform_outputs = compiled()(_transform_outputs)
run_winograd = compiled()(run_winograd)
