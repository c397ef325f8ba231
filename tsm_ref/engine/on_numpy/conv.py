"""Convolutions of the NumPy engine: BLAS products over contiguous rows of T*H*W columns.

In NCTHW a channel of one clip is one row. A 1x1 convolution is therefore one matrix product, and
any other becomes one after its taps have been laid out as rows (`im2col`). Both work through the
columns in blocks that stay in the cache, so that bias, residual and activation meet a block while
it is there. What is laid out goes to one panel, which all layers use one after the other. A shift
is taken care of meanwhile: a shifted channel is the same row, read H*W columns earlier or later.
"""

import math
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from tsm_ref.engine.on_numpy.activations import InPlace, activation
from tsm_ref.engine.on_numpy.frames import ShiftedFrames, copy_frames
from tsm_ref.graph import Node
from tsm_ref.op_rules import CONV_ATTRS
from tsm_ref.ops_table import OPS

Array = NDArray[Any]
Step = Callable[[], None]
Finish = Callable[[Array, Array | None, slice], None]

BLOCK_BYTES = 1 << 22
"""Bytes of a block that is worked on at once.

A product packs the weights again for every block, so a block in the L3 cache beats one in L2.
"""
PASS_BYTES = 1 << 20
"""Bytes over which a depthwise convolution goes tap by tap: about one L2 cache."""
MIN_COLUMNS = 256
"""Columns below which a matrix product spends its time on packing the weights again."""


def conv_step(
    node: Node, x: Array, weight: Array, bias: Array, residual: Array | None, y: Array
) -> Step:
    """The step that computes a `FusedConv` from ``x`` (C, T, H, W) into ``y`` (O, T', H', W').

    All arrays are bound now; calling the step only computes.
    """
    attr = {name: node.attrs.get(name, default) for name, default in CONV_ATTRS.items()}
    fused = OPS["FusedConv"]
    d, fill, segment = (fused.value(node.attrs, name) for name in ("d", "fill", "segment"))
    frames = ShiftedFrames(x, d, fill, segment)
    finish = _finisher(bias, activation(fused.value(node.attrs, "activation"), node.attrs))
    group, kernel = attr["group"], weight.shape[2:]
    if group == 1 and kernel == (1, 1, 1) and attr["strides"][0] == 1 and not any(attr["pads"]):
        return _pointwise(frames, weight, attr["strides"][1:], finish, residual, y)
    if group == x.shape[0] == y.shape[0] and _is_spatial(kernel, attr):
        return _depthwise(frames, weight, attr, finish, residual, y)
    return _grouped(frames, weight, attr, finish, residual, y)


_memory = threading.local()


def _panel(shape: Sequence[int], dtype: np.dtype[Any]) -> Array:
    """The panel of this thread, in which every layer lays out its blocks; it holds nothing."""
    size = math.prod(shape)
    panel: Array | None = getattr(_memory, "panel", None)
    if panel is None or panel.nbytes < size * dtype.itemsize:
        panel = _memory.panel = np.empty(size * dtype.itemsize, np.uint8)
    return panel[: size * dtype.itemsize].view(dtype).reshape(shape)


def _is_spatial(kernel: tuple[int, ...], attr: dict[str, Any]) -> bool:
    """True where a frame is made of one frame, and no tap is skipped."""
    return bool(kernel[0] == 1 == attr["strides"][0] and attr["dilations"] == (1, 1, 1))


def _finisher(bias: Array, activate: InPlace | None) -> Finish:
    """Bias, residual and activation, applied in place to a block (O, columns...)."""

    def finish(block: Array, residual: Array | None, channels: slice) -> None:
        block += bias[channels].reshape(-1, *[1] * (block.ndim - 1))
        if residual is not None:
            block += residual
        if activate is not None:
            activate(block)

    return finish


def _pointwise(
    frames: ShiftedFrames,
    weight: Array,
    strides: Sequence[int],
    finish: Finish,
    residual: Array | None,
    y: Array,
) -> Step:
    """One product per block of rows; a shifted or strided input is gathered block by block."""
    outputs, channels = weight.shape[:2]
    w = np.ascontiguousarray(weight.reshape(outputs, channels))
    x = frames.x[:, :, :: strides[0], :: strides[1]]
    _, time, height, width = y.shape
    gather = frames.shifted or tuple(strides) != (1, 1)
    frame_count, row_count = row_blocks(time, height, width, (channels + outputs) * y.itemsize)
    work = []
    for t0 in range(0, time, frame_count):
        t1 = min(t0 + frame_count, time)
        for y0 in range(0, height, row_count):
            y1 = min(y0 + row_count, height)
            shape = (channels, t1 - t0, y1 - y0, width)
            source = x[:, :, y0:y1] if gather else x[:, t0:t1, y0:y1]
            target = y[:, t0:t1, y0:y1].reshape(outputs, -1)
            skip = None if residual is None else residual[:, t0:t1, y0:y1].reshape(outputs, -1)
            work.append((source, shape, frames.copies(t0, t1), target, skip))

    def step() -> None:
        for source, shape, copies, target, skip in work:
            if gather:
                gathered = _panel(shape, y.dtype)
                copy_frames(gathered, source, copies)
                source = gathered
            np.matmul(w, source.reshape(channels, -1), out=target)
            finish(target, skip, slice(None))

    return step


def _grouped(
    frames: ShiftedFrames,
    weight: Array,
    attr: dict[str, Any],
    finish: Finish,
    residual: Array | None,
    y: Array,
) -> Step:
    """Any convolution: per block of output rows, the taps become the rows of one panel.

    The input frames that a block needs are first copied, shifted, into a zero-padded scratch; a
    strided view of it then is the panel (C, kT, kH, kW) x (t, H', W'), group by group.
    """
    outputs, per_group, *kernel = weight.shape
    group = attr["group"]
    (st, sh, sw), (dt, dh, dw) = attr["strides"], attr["dilations"]
    before, after = attr["pads"][:3], attr["pads"][3:]
    channels, _, height, width = frames.x.shape
    taps = per_group * int(np.prod(kernel))
    w = np.ascontiguousarray(weight.reshape(group, outputs // group, taps))
    _, out_time, out_height, out_width = y.shape
    # Groups fall to this engine from the other too, where frames may not depend on their number.
    together = out_time if group == 1 else 1
    frame_count, row_count = row_blocks(together, out_height, out_width, taps * y.itemsize)
    depth = (frame_count - 1) * st + (kernel[0] - 1) * dt + 1
    scratch = np.zeros(
        (channels, depth, height + before[1] + after[1], width + before[2] + after[2]), y.dtype
    )
    inside = scratch[:, :, before[1] : before[1] + height, before[2] : before[2] + width]
    s = scratch.strides
    view_strides = (s[0], dt * s[1], dh * s[2], dw * s[3], st * s[1], sh * s[2], sw * s[3])

    def window(g: int, t: int, y0: int, rows: int) -> Array:
        """The taps of group `g` for `t` frames and `rows` rows from row `y0` on."""
        corner = scratch[g * per_group :, :, y0 * sh :]
        shape = (per_group, *kernel, t, rows, out_width)
        return as_strided(corner, shape, view_strides, writeable=False)

    def step() -> None:
        for t0 in range(0, out_time, frame_count):
            t1 = min(t0 + frame_count, out_time)
            start = t0 * st - before[0]
            stop = start + (t1 - t0 - 1) * st + (kernel[0] - 1) * dt + 1
            copy_frames(inside, frames.x, frames.copies(start, stop))
            for y0 in range(0, out_height, row_count):
                rows = min(row_count, out_height - y0)
                columns = (t1 - t0) * rows * out_width
                for g in range(group):
                    source = window(g, t1 - t0, y0, rows)
                    matrix = _panel((taps, columns), y.dtype)
                    np.copyto(matrix.reshape(source.shape), source)
                    part = slice(g * (outputs // group), (g + 1) * (outputs // group))
                    where = (part, slice(t0, t1), slice(y0, y0 + rows))
                    block = y[where].reshape(-1, columns)
                    np.matmul(w[g], matrix, out=block)
                    skip = None if residual is None else residual[where].reshape(-1, columns)
                    finish(block, skip, part)

    return step


def row_blocks(time: int, height: int, width: int, bytes_per_column: int) -> tuple[int, int]:
    """Frames and rows of one block: several whole frames, or some rows of a single one."""
    columns = max(MIN_COLUMNS, BLOCK_BYTES // bytes_per_column)
    if height * width <= columns:
        count = -(-time // max(1, columns // (height * width)))
        return -(-time // count), height
    count = -(-height // max(1, columns // width))
    return 1, -(-height // count)


def _depthwise(
    frames: ShiftedFrames,
    weight: Array,
    attr: dict[str, Any],
    finish: Finish,
    residual: Array | None,
    y: Array,
) -> Step:
    """One multiply and one add per tap, over long rows of a padded scratch.

    Rows of a padded image follow each other without a gap, so a tap is the whole image read at an
    offset; results at the padding are computed and not used. A stride s splits the scratch into
    s * s images of every s-th pixel, on which the stride is 1.
    """
    channels, _, height, width = frames.x.shape
    kernel_h, kernel_w = weight.shape[3:]
    _, sh, sw = attr["strides"]
    first, top, left = attr["pads"][:3]
    _, time, out_height, out_width = y.shape
    rows = max(-(-(height + top) // sh), out_height + (kernel_h - 1) // sh)
    cols = max(-(-(width + left) // sw), out_width + (kernel_w - 1) // sw)
    area = rows * cols
    reach = (kernel_h - 1) // sh * cols + (kernel_w - 1) // sw
    length = time * area - reach
    count = max(1, min(channels, PASS_BYTES // (2 * time * area * (sh * sw + 2) * y.itemsize)))
    scratch = np.zeros((sh * sw, count, time, rows, cols), y.dtype)
    flat = scratch.reshape(sh * sw, count, time * area)
    total = np.empty((count, time * area), y.dtype)
    term = np.empty((count, length), y.dtype)
    images = total.reshape(count, time, rows, cols)[..., :out_height, :out_width]
    taps = [
        (flat[i % sh * sw + j % sw, :, i // sh * cols + j // sw :][:, :length], i, j)
        for i in range(kernel_h)
        for j in range(kernel_w)
    ]
    copies = frames.copies(-first, time - first)
    planes = [
        (p, (a - top) % sh, (b - left) % sw, a, b)
        for p, (a, b) in enumerate((a, b) for a in range(sh) for b in range(sw))
    ]

    def fill(c0: int, c1: int) -> None:
        """Copy channels, shifted, into the images of every s-th pixel."""
        x = frames.x[c0:c1]
        part = _clip_copies(copies, c0, c1)
        for p, first_row, first_col, a, b in planes:
            source = x[:, :, first_row::sh, first_col::sw]
            r0, q0 = (first_row + top - a) // sh, (first_col + left - b) // sw
            r1, q1 = r0 + source.shape[2], q0 + source.shape[3]
            copy_frames(scratch[p, : c1 - c0, :, r0:r1, q0:q1], source, part)

    def step() -> None:
        for c0 in range(0, channels, count):
            c1 = min(c0 + count, channels)
            n = c1 - c0
            fill(c0, c1)
            acc, scaled = total[:n, :length], term[:n]
            for k, (source, i, j) in enumerate(taps):
                factor = weight[c0:c1, 0, 0, i, j, None]
                if k == 0:
                    np.multiply(source[:n], factor, out=acc)
                else:
                    np.multiply(source[:n], factor, out=scaled)
                    np.add(acc, scaled, out=acc)
            if residual is None:
                finish(acc, None, slice(c0, c1))
            else:
                finish(images[:n], residual[c0:c1], slice(c0, c1))
            np.copyto(y[c0:c1], images[:n])

    return step


def _clip_copies(
    copies: list[tuple[slice, slice, slice | None]], c0: int, c1: int
) -> list[tuple[slice, slice, slice | None]]:
    """The part of `copies` that concerns channels ``[c0, c1)``, counted from `c0`."""
    return [
        (slice(max(c.start, c0) - c0, min(c.stop, c1) - c0), frames, source)
        for c, frames, source in copies
        if c.start < c1 and c.stop > c0
    ]
