"""The tables that turn one micro-kernel into any convolution: groups of pixels, segments of inputs.

A convolution layer is planned once. Its *groups* say which output pixels are computed together
and where their inputs begin; its *segments* say which inputs each output needs, in the order in
which they are summed. Stride, padding, dilation, temporal kernels and temporal shifts change the
numbers in the tables and nothing else. (The fields are described in `microkernel`.)
"""

import itertools
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from tsm_ref.kernels.blocked import FLOAT_BYTES, PIXEL, Layout
from tsm_ref.kernels.loops import CIRCULAR, REPLICATE, ZERO, window_count
from tsm_ref.kernels.microkernel import GROUP_FIELDS, TILES

Table = NDArray[np.int64]

_STEP_COST = {1: 1.7, 2: 2.4, 4: 4.2}
"""Cost of one run of a tile by length, in pixels: sums in few registers wait for each other."""


@cache
def split_row(width: int) -> tuple[int, ...]:
    """Return the lengths of runs that cover a row of pixels at the least cost, longest first.

    >>> sum(split_row(36)), sum(split_row(1))
    (36, 1)
    """
    lengths = sorted({tile.length for tile in TILES}, reverse=True)
    best: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    for covered in range(1, width + 1):
        best.append(
            min(
                (best[covered - n][0] + _STEP_COST.get(n, n), (*best[covered - n][1], n))
                for n in lengths
                if n <= covered
            )
        )
    return tuple(sorted(best[width][1], reverse=True))


def groups(
    x: Layout,
    y: Layout,
    residual: Layout | None = None,
    stride: tuple[int, int] = (1, 1),
    first: tuple[int, int] = (0, 0),
    segments_per_frame: int = 0,
) -> Table:
    """Return the groups that compute every pixel of every frame of `y`.

    `first` is the input pixel at the first kernel tap of output pixel (0, 0): minus the padding.
    The offsets into `x` are within a frame, since the segments name the frame.
    """
    r = residual or y
    frame, row = (i.ravel() for i in np.indices((y.frames, y.height)))
    rows = np.stack(
        [
            x.at(y=first[0], x=first[1]) + row * stride[0] * x.row,
            _starts(y)[frame] + y.at() + row * y.row,
            _starts(r)[frame] + r.at() + row * r.row,
            frame * segments_per_frame,
        ],
        axis=1,
    )
    return row_groups(rows, y.width, x.pixel * stride[1])


def _starts(layout: Layout) -> Table:
    return np.array([layout.start(frame) for frame in range(layout.frames)], np.int64)


def row_groups(rows: NDArray[np.integer], width: int, x_step: int) -> Table:
    """Return the groups that compute rows of `width` pixels.

    Each of `rows` is (x offset, y offset, residual offset, first segment) of its first pixel;
    neighbouring pixels of a row are `x_step` bytes apart in the input. Rows that continue each
    other in memory are joined, and runs of different rows share a tile.

    >>> two = np.array([[0, 0, 0, 0], [7 * 64, 7 * 64, 7 * 64, 0]])
    >>> len(row_groups(two, width=7, x_step=64)) >= 1
    True
    """
    steps = np.array([x_step, PIXEL, PIXEL])
    tables = [np.empty((0, len(GROUP_FIELDS)), np.int64)]
    if not len(rows):
        return tables[0]
    for part in np.split(rows, np.flatnonzero(np.diff(rows[:, 3])) + 1):
        follows = (np.diff(part[:, :3], axis=0) == width * steps).all()
        length = width * len(part) if follows else width
        lines = part[:1] if follows else part
        tables.append(_line_groups(np.asarray(lines, np.int64), length, steps))
    return np.concatenate(tables)


def _line_groups(lines: Table, width: int, steps: Table) -> Table:
    """Return the groups of lines that have the same segments."""
    lengths = np.array(split_row(width))
    starts = np.append(0, np.cumsum(lengths)[:-1])
    found = []
    for length in sorted(set(lengths.tolist()), reverse=True):
        columns = starts[lengths == length]
        runs = np.repeat(lines[:, None], len(columns), axis=1)
        runs[:, :, :3] += columns[:, None] * steps
        runs = runs.reshape(-1, 4)
        double = TILES.index((2, length))
        single = TILES.index((1, length)) if (1, length) in TILES else double
        shape = np.full(-(-len(runs) // 2), double)
        if len(runs) % 2:
            shape[-1] = single
            runs = np.concatenate([runs, runs[-1:]])
        a, b = runs[0::2], runs[1::2]
        fields = [shape, a[:, 0], b[:, 0], a[:, 1], b[:, 1], a[:, 2], b[:, 2], a[:, 3]]
        found.append(np.stack(fields, axis=1))
    table = np.concatenate(found)
    return table[np.argsort(table[:, 3], kind="stable")]


def frame_sources(
    clips: int,
    frames: int,
    channels: int,
    d: NDArray[np.integer] | None = None,
    fill: int = ZERO,
    taps: int = 1,
    stride: int = 1,
    dilation: int = 1,
    pads: tuple[int, int] = (0, 0),
    segment: int = 0,
) -> NDArray[np.int64]:
    """Return which frame every output frame reads: (frames of the output, taps, channels).

    The frames of `clips` clips of `frames` frames lie one behind the other; -1 is a frame of zeros.
    A temporal shift by `d` comes first, inside each `segment` of frames (0: the whole clip); the
    temporal taps of the convolution read its result.

    >>> frame_sources(1, 3, 2, d=np.array([1, -1]))[:, 0].tolist()
    [[-1, 1], [0, 2], [1, -1]]
    """
    count = window_count(frames, *pads, taps, stride, dilation)
    read = np.arange(count)[:, None] * stride + np.arange(taps) * dilation - pads[0]
    shifts = np.zeros(channels, np.int64) if d is None else np.asarray(d, np.int64)
    length = segment or frames
    begin = read[:, :, None] // length * length
    index = read[:, :, None] - shifts - begin
    if fill == REPLICATE:
        source = begin + np.clip(index, 0, length - 1)
    elif fill == CIRCULAR:
        source = begin + index % length
    else:
        source = np.where((index < 0) | (index >= length), -1, begin + index)
    source = np.where(((read < 0) | (read >= frames))[:, :, None], -1, source)
    first = np.repeat(np.arange(clips) * frames, count)[:, None, None]
    every = np.tile(source, (clips, 1, 1))
    return np.where(every < 0, -1, every + first)


def segments(
    x: Layout,
    sources: NDArray[np.integer],
    places: Sequence[int],
    zeros: int,
    kernel: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    moves: NDArray[np.integer] | None = None,
) -> Table:
    """Return the segments of every output frame: (frames of y, segments per frame, 2).

    ``sources[t, k, c]`` is the frame that output frame `t` reads for channel `c` at temporal tap
    `k`: an index into `places`, which holds the byte offset of each input frame, or -1 for a frame
    of zeros, which lies at offset `zeros`. ``moves`` (channels, 2) are the rows and columns by
    which a spatial shift has moved each channel. The order is that of `pack_weights`: block of
    channels, temporal tap, row, column, channel.

    >>> x = Layout(frames=4, channels=32, height=7, width=7)
    >>> here = np.repeat(np.arange(4), 32).reshape(4, 1, 32)
    >>> segments(x, here, [t * x.frame for t in range(4)], zeros=-1)[1].tolist()
    [[6272, 16], [9408, 16]]
    """
    frames, taps, _ = sources.shape
    offsets = np.append(np.asarray(places, np.int64), 0)[sources]
    by = np.zeros((x.channels, 2), np.int64) if moves is None else np.asarray(moves, np.int64)
    back = by @ np.array([x.row, x.pixel])
    rows: list[list[tuple[int, int]]] = [[] for _ in range(frames)]
    for block in range(x.blocks):
        begin, end = block * x.lanes, min((block + 1) * x.lanes, x.channels)
        changes = (np.diff(sources[:, :, begin:end], axis=2) != 0).any(axis=(0, 1))
        changes |= np.diff(back[begin:end]) != 0
        cuts = [begin, *(begin + 1 + np.flatnonzero(changes)), end]
        for tap in range(taps):
            for v in range(kernel[0]):
                for u in range(kernel[1]):
                    place = v * dilation[0] * x.row + u * dilation[1] * x.pixel
                    for a, b in itertools.pairwise(cuts):
                        lane = (a - begin) * FLOAT_BYTES
                        for t in range(frames):
                            plane = offsets[t, tap, a] + block * x.block
                            base = plane if sources[t, tap, a] >= 0 else zeros
                            rows[t].append((base + place + lane - back[a], b - a))
    return _merged(np.array(rows, np.int64))


def _merged(table: Table) -> Table:
    """Join segments that follow each other in memory in every frame."""
    ends = table[:, :-1, 0] + table[:, :-1, 1] * FLOAT_BYTES
    begins = np.append(True, (ends != table[:, 1:, 0]).any(axis=0))
    first = np.flatnonzero(begins)
    lengths = np.add.reduceat(table[0, :, 1], first)
    merged = table[:, first].copy()
    merged[:, :, 1] = lengths
    return merged
