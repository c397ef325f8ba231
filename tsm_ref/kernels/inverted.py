"""The inverted residual block of MobileNetV2 in one pass: expand, depthwise, project.

A depthwise convolution multiplies little and moves much, so on its own it waits for memory. Fused,
the block never writes its wide hidden layer out: it is made in *tiles* (some rows of a large plane,
or whole small planes of some frames) and in *chunks* of hidden channels that stay in the cache::

    for each tile
        for each chunk of hidden channels
            expand the rows of the hidden layer that are new     into a ring of rows
            depthwise over the ring                              into a few rows
            project, continuing the sums of the chunks before

Rows of the ring outside the picture are a row of zeros, and every row has a zero pixel at either
end. What a tile needs is a row of three tables: groups to expand, rows of the depthwise
convolution, groups to project. Tiles and chunks change the order of the work, never the order of
a sum.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tsm_ref.kernels.blocked import FLOAT_BYTES, PIXEL, Layout
from tsm_ref.kernels.cache import compiled
from tsm_ref.kernels.conv import (
    convolve,
    pack_bias,
    pack_matrix,
    pack_weights,
    plan_convolution,
)
from tsm_ref.kernels.depthwise import DEPTHWISE, depthwise, pack_depthwise
from tsm_ref.kernels.machine import BLOCK
from tsm_ref.kernels.plans import Plan, planned
from tsm_ref.kernels.tables import Table, row_groups
from tsm_ref.kernels.vector import integer_at

TILE_FIELDS = ("expand", "expand_end", "row", "row_end", "project", "project_end")
"""A row of the table of tiles of a fused block: ranges of groups, rows and groups."""

INVERTED = np.dtype(
    [
        ("expand", np.int64),  # indices of the plans of the three convolutions
        ("depthwise", np.int64),
        ("project", np.int64),
        ("chunks", np.int64),  # chunks of hidden channels
        ("ring_chunk", np.int64),  # bytes between the rings of two chunks (0: they share one)
        ("tiles", np.int64),  # address of the table of tiles
        ("tile_count", np.int64),
        ("ring_size", np.int64),  # bytes of the ring, and of the rows behind it, of each part
        ("row_size", np.int64),
        ("strips", np.int64),  # address of (first, last) tile of each independent strip
        ("strip_count", np.int64),
    ],
    align=True,
)
"""A planned inverted residual block, for `run_inverted`."""

_TILE_BYTES = 8 * len(TILE_FIELDS)
_CACHE = 448 * 1024  # bytes of hidden values that should stay in the second-level cache
_CHUNK = 96  # hidden channels of a chunk, at most
_ROWS = 7  # output rows of a tile, at most


class Tiling(NamedTuple):
    """How a fused block is cut up."""

    rows: int  # output rows of a tile; all of them: whole planes
    frames: int  # frames of a tile of whole planes
    strips: int  # independent parts of a frame, for as many threads
    blocks: int  # blocks of hidden channels of a chunk: all of them unless planes are whole


def choose_tiling(
    hidden: int, plane: tuple[int, int], y: Layout, stride: int, parts: int
) -> Tiling:
    """Return a tiling that keeps the hidden layer in the second-level cache.

    Small planes are taken whole, in chunks of some `_CHUNK` channels; large ones by rows.
    """
    height, width = plane
    blocks = -(-hidden // BLOCK)
    row = (width + 2) * PIXEL
    chunk = max(n for n in range(1, blocks + 1) if blocks % n == 0 and n * BLOCK <= _CHUNK)
    frames = min(y.frames, _CACHE // (chunk * height * row))
    if frames and y.frames >= parts:
        return Tiling(y.height, min(frames, max(1, y.frames // parts)), 1, chunk)
    rows = max(
        n
        for n in range(1, _ROWS + 1)
        if n == 1 or (y.height % n == 0 and blocks * (n * stride + 2) * row <= _CACHE)
    )
    return Tiling(rows, 1, 1 if y.frames >= parts else parts, blocks)


class Tables(NamedTuple):
    """The tables of a fused block; offsets into the ring and the rows are within a chunk."""

    expand: Table
    rows: Table
    project: Table
    tiles: Table
    strips: Table
    ring_block: int  # bytes of the ring of one block of channels
    row_block: int  # bytes of the depthwise output of one block of channels
    whole: bool  # tiles are whole planes, so all chunks can use the same ring


def fused_tables(
    x: Layout,
    y: Layout,
    residual: Layout,
    hidden: tuple[int, int],
    stride: int,
    tiling: Tiling,
    segments_per_frame: int,
    step: tuple[int, int] = (1, 0),
) -> Tables:
    """Return the tables of a fused block.

    `hidden` is the height and width of the hidden layer, `step` the stride and the padding of the
    convolution that makes it: (1, 0) for a 1x1 convolution, (2, 1) for the stem of MobileNetV2.
    """
    return _Tabler(x, y, residual, hidden, stride, tiling, segments_per_frame, step).tables()


class _Tabler:
    """Builds `Tables` tile by tile."""

    def __init__(
        self, x: Layout, y: Layout, residual: Layout, hidden: tuple[int, int], stride: int,
        tiling: Tiling, segments_per_frame: int, step: tuple[int, int],
    ) -> None:  # fmt: skip
        self.x, self.y, self.residual = x, y, residual
        self.height, self.width = hidden
        self.stride, self.tiling, self.step = stride, tiling, step
        self.segments_per_frame = segments_per_frame
        self.whole = tiling.rows >= y.height and tiling.strips == 1
        per_tile = min(self.height, tiling.rows * stride + 2)
        self.slots = self.height * tiling.frames if self.whole else per_tile
        self.row = (self.width + 2) * PIXEL
        self.expand: list[Table] = []
        self.rows: list[Table] = []
        self.project: list[Table] = []
        self.tiles: list[tuple[int, ...]] = []
        self.strips: list[tuple[int, int]] = []
        self.ends = [0, 0, 0]

    def tables(self) -> Tables:
        frames = range(self.y.frames)
        if self.whole:
            for start in frames[:: self.tiling.frames]:
                first = len(self.tiles)
                some = frames[start : start + self.tiling.frames]
                self._tile([(f, 0, self.height, 0, self.y.height) for f in some])
                self.strips.append((first, len(self.tiles)))
        else:
            for frame in frames:
                for part in range(self.tiling.strips):
                    self._strip(frame, part)
        rows = self.tiling.rows if not self.whole else self.y.height * self.tiling.frames
        return Tables(
            np.concatenate(self.expand),
            np.concatenate(self.rows),
            np.concatenate(self.project),
            np.array(self.tiles, np.int64),
            np.array(self.strips, np.int64),
            (self.slots + 1) * self.row,
            rows * self.y.width * PIXEL,
            self.whole,
        )

    def _strip(self, frame: int, part: int) -> None:
        first = len(self.tiles)
        height, strips = self.y.height, self.tiling.strips
        begin, end = height * part // strips, height * (part + 1) // strips
        made = max(0, begin * self.stride - 1)
        for row in range(begin, end, self.tiling.rows):
            last = min(row + self.tiling.rows, end)
            needed = min((last - 1) * self.stride + 2, self.height)
            self._tile([(frame, made, needed, row, last)])
            made = needed
        self.strips.append((first, len(self.tiles)))

    def _slot(self, index: int, hidden_row: int) -> int:
        """Return the offset of a hidden row (its pixel -1) in the ring of one block."""
        if not 0 <= hidden_row < self.height:
            return self.slots * self.row  # the row of zeros
        if self.whole:
            return (index * self.height + hidden_row) * self.row
        return hidden_row % self.slots * self.row

    def _tile(self, planes: list[tuple[int, int, int, int, int]]) -> None:
        """Add a tile: for each frame (frame, hidden rows made, .. needed, first row, last row)."""
        expand, rows, project, done = [], [], [], 0
        stride, padding = self.step
        for index, (frame, made, needed, first, last) in enumerate(planes):
            segment = frame * self.segments_per_frame
            for h in range(made, needed):
                x = self.x.at(y=h * stride - padding, x=-padding)
                expand.append((x, self._slot(index, h) + PIXEL, 0, segment))
            for row in range(first, last):
                out = done * self.y.width * PIXEL
                above = row * self.stride - 1
                rows.append((*(self._slot(index, above + i) for i in range(3)), out))
                y, r = (layout.at(frame, 0, row) for layout in (self.y, self.residual))
                project.append((out, y, r, 0))
                done += 1
        tables = (
            row_groups(
                np.array(expand, np.int64).reshape(-1, 4), self.width, self.x.pixel * stride
            ),
            np.array(rows, np.int64),
            row_groups(np.array(project), self.y.width, PIXEL),
        )
        ranges = []
        for kind, (table, parts) in enumerate(
            zip(tables, (self.expand, self.rows, self.project), strict=True)
        ):
            parts.append(table)
            ranges += [self.ends[kind], self.ends[kind] + len(table)]
            self.ends[kind] += len(table)
        self.tiles.append(tuple(ranges))


class InvertedPlan(NamedTuple):
    """The four plans of a fused block, and the working memory that they need."""

    inverted: Plan
    expand: Plan
    depthwise: Plan
    project: Plan
    ring: tuple[int, int, int]  # blocks, rows, bytes of a row; zero before the first run
    row_bytes: int  # of the depthwise output, for each part

    @property
    def ring_bytes(self) -> int:
        """Bytes of the ring of each part; blocks with a ring of the same shape can share it."""
        return self.ring[0] * self.ring[1] * self.ring[2]


def plan_inverted(
    x: Layout,
    y: Layout,
    hidden: tuple[int, int],
    weights: tuple[NDArray[Any], NDArray[Any], NDArray[Any]],
    biases: tuple[NDArray[Any], NDArray[Any], NDArray[Any]],
    segments: Table,
    stride: int,
    limits: tuple[tuple[float, float], tuple[float, float], tuple[float, float]],
    residual: Layout | None = None,
    tiling: Tiling | None = None,
    parts: int = 1,
    expand_step: int = 1,
) -> InvertedPlan:
    """Plan a fused block; `weights` are (hidden, C, 1, k, k), (hidden, 1, 1, 3, 3), (Cout, hidden).

    `limits` clamp the results of the three convolutions. Addresses are bound afterwards, with
    `bind`, once the scratch memory is known.
    """
    first, middle, last = weights
    count = len(first)
    tiling = tiling or choose_tiling(count, hidden, y, stride, parts)
    blocks = -(-count // BLOCK)
    chunks, width = blocks // tiling.blocks, tiling.blocks * BLOCK
    kernel = first.shape[-1]
    step = (expand_step, kernel // 2)
    tables = fused_tables(x, y, residual or y, hidden, stride, tiling, segments.shape[1], step)
    expand_weights = _filled(first, blocks * BLOCK, axis=0)
    project_weights = _filled(last, blocks * BLOCK, axis=1)
    pieces = [slice(i * width, (i + 1) * width) for i in range(chunks)]
    middle_segments = np.array([[[i * tables.row_block, BLOCK] for i in range(tiling.blocks)]])
    ring_bytes = tables.ring_block * tiling.blocks * (1 if tables.whole else chunks)
    expand = plan_convolution(
        x,
        Layout(1, width, 1, tables.ring_block // PIXEL),
        np.concatenate([pack_weights(expand_weights[piece], x.lanes) for piece in pieces]),
        pack_bias(biases[0]),
        segments,
        tables.expand,
        x.pixel * expand_step,
        low=limits[0][0],
        high=limits[0][1],
    )
    expand.record["channels"] = width
    rows = planned(
        DEPTHWISE,
        x_block=tables.ring_block,
        y_block=tables.row_block,
        blocks=tiling.blocks,
        rows=tables.rows,
        row_count=len(tables.rows),
        width=y.width,
        size=3,
        stride=stride,
        weights=pack_depthwise(middle),
        bias=pack_bias(biases[1]),
        low=limits[1][0],
        high=limits[1][1],
    )
    project = plan_convolution(
        Layout(1, width, 1, tables.row_block // PIXEL),
        y,
        np.concatenate([pack_matrix(project_weights[:, piece]) for piece in pieces]),
        pack_bias(biases[2]),
        middle_segments,
        tables.project,
        PIXEL,
        residual,
        low=limits[2][0],
        high=limits[2][1],
    )
    row_bytes = tables.row_block * tiling.blocks
    inverted = planned(
        INVERTED,
        chunks=chunks,
        ring_chunk=0 if tables.whole else tables.ring_block * tiling.blocks,
        tiles=tables.tiles,
        tile_count=len(tables.tiles),
        ring_size=ring_bytes,
        row_size=row_bytes,
        strips=tables.strips,
        strip_count=len(tables.strips),
    )
    row = (hidden[1] + 2) * PIXEL
    shape = (ring_bytes // tables.ring_block, tables.ring_block // row, row)
    return InvertedPlan(inverted, expand, rows, project, shape, row_bytes)


def bind_inverted(plan: InvertedPlan, x: int, y: int, residual: int, ring: int, rows: int) -> None:
    """Write the addresses of input, output, residual (0: none) and working memory into a plan."""
    plan.expand.record["x"], plan.expand.record["y"] = x, ring
    plan.depthwise.record["x"], plan.depthwise.record["y"] = ring, rows
    plan.project.record["x"], plan.project.record["y"] = rows, y
    plan.project.record["residual"] = residual


def _filled(weights: NDArray[Any], size: int, axis: int) -> NDArray[Any]:
    """Return `weights` filled up with zeros to a size along one axis."""
    padding = [(0, 0)] * weights.ndim
    padding[axis] = (0, size - weights.shape[axis])
    return np.pad(weights, padding)


def run_inverted(
    layers: NDArray[Any], convolutions: NDArray[Any], depthwises: NDArray[Any], index: int,
    first: int, last: int, part: int,
) -> None:  # fmt: skip
    """Compute strips ``first .. last - 1`` of a planned `INVERTED`, as thread `part`.

    A strip is a sequence of tiles that share a ring; strips do not depend on each other.
    """
    layer = layers[index]
    expand, middle = convolutions[layer.expand], depthwises[layer.depthwise]
    project = convolutions[layer.project]
    for strip in range(first, last):
        begin = integer_at(layer.strips + 16 * strip)
        end = integer_at(layer.strips + 16 * strip + 8)
        for tile in range(begin, end):
            _tile(layer, expand, middle, project, tile, part)


def _tile(layer: Any, expand: Any, middle: Any, project: Any, tile: int, part: int) -> None:
    row = layer.tiles + tile * _TILE_BYTES
    for chunk in range(layer.chunks):
        channel = chunk * expand.channels
        ring = expand.y + part * layer.ring_size + chunk * layer.ring_chunk
        convolve(
            expand, expand.x, ring, expand.weights + channel * expand.depth * FLOAT_BYTES,
            expand.bias + channel * FLOAT_BYTES, integer_at(row), integer_at(row + 8), False, True,
        )  # fmt: skip
        block = chunk * middle.blocks
        y = middle.y + part * layer.row_size
        depthwise(middle, ring, y, block, integer_at(row + 16), integer_at(row + 24))
        weights = project.weights + chunk * project.depth * project.channels * FLOAT_BYTES
        convolve(
            project, y, project.y, weights, project.bias, integer_at(row + 32),
            integer_at(row + 40), chunk > 0, chunk == layer.chunks - 1,
        )  # fmt: skip


_tile = compiled()(_tile)
run_inverted = compiled()(run_inverted)
