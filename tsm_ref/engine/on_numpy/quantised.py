"""Quantised layers of the NumPy engine: whole numbers in float32, as long as float32 holds them.

BLAS knows no whole numbers. But a sum of products of whole numbers is exact in float32, in any
order, while no partial sum can reach 2^24; and how large one can become is known from the weights
before the first run. So the terms of a sum are cut into spans that cannot reach it, most often into
one or two, and the sums of the spans are added in float64. What is left of a layer is the formula
of `tsm_ref.reference.quantised`, on which the layers without products run as it is.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from tsm_ref.engine.exact import FORMULAS, factor_of
from tsm_ref.engine.on_numpy.conv import row_blocks
from tsm_ref.engine.on_numpy.frames import ShiftedFrames, copy_frames
from tsm_ref.graph import Node
from tsm_ref.ops_table import DYNAMIC
from tsm_ref.reference import dynamic, quantised

__all__ = ["QUANTISED"]

Array = NDArray[Any]
Step = Callable[[], None]
StepMaker = Callable[[Node, Sequence[Array], Array], Step]

EXACT = 1 << 24
"""Whole numbers up to here are numbers of float32, all of them."""


def _conv(node: Node, inputs: Sequence[Array], y: Array) -> Step:
    x, weight, scale, bias = inputs
    outputs, taps = len(weight), weight[0].size
    sums = _Sums(weight.reshape(outputs, taps), bias, _reach(node, x))
    return _by_blocks(node, x, weight, sums, _finisher(node, scale), y)


Finish = Callable[[Array, slice, Array], None]


def _by_blocks(
    node: Node, x: Array, weight: Array, sums: "_Sums", finish: Finish, y: Array
) -> Step:
    """A convolution: `finish` makes y of the sums, block by block."""
    outputs, width, *kernel = weight.shape
    group = node.attr("group")
    size, taps = outputs // group, weight[0].size
    windows = _Windows(node, x, kernel, y.shape)
    everything = slice(0, outputs)

    def groups(columns: Array, block: Array) -> None:
        for g in range(group):
            own = slice(g * size, (g + 1) * size)
            read = columns[g * width : (g + 1) * width].reshape(taps, -1)
            finish(sums.of(own, read), own, block[own])

    def channels(columns: Array, block: Array) -> None:
        finish(sums.by_channel(columns.reshape(outputs, taps, -1)), everything, block)

    compute = channels if group == x.shape[0] == outputs else groups

    def step() -> None:
        for where, columns in windows.blocks():
            block = np.empty((outputs, columns.shape[-1]), y.dtype)
            compute(columns, block)
            y[where] = block.reshape(y[where].shape)

    return step


def _matmul(node: Node, inputs: Sequence[Array], y: Array) -> Step:
    x, weight, scale, bias = inputs
    sums, finish = _Sums(weight, bias, _reach(node, x)), _finisher(node, scale)
    zero, everything = np.float32(node.attr("x_zero_point")), slice(0, len(weight))
    return lambda: finish(sums.of(everything, x.astype(np.float32) - zero), everything, y)


def _reach(node: Node, x: Array) -> int:
    """How large the whole numbers can be that a layer reads, less their zero point."""
    zero, (least, most) = node.attr("x_zero_point"), quantised.limits(str(x.dtype))
    return int(max(most - zero, zero - least))


def _dynamic(node: Node, inputs: Sequence[Array], y: Array) -> Step:
    """A layer whose steps are those of the range of what it reads (`tsm_ref.reference.dynamic`)."""
    x, weight, scale, *bias = inputs
    attrs = dict(node.attrs)
    if node.op == "DynamicQuantizeMatMul":  # a convolution of one place per frame
        x, y, weight = x[..., None, None], y[..., None, None], weight[..., None, None, None]
    plan = Node(node.name, "QLinearConv", node.inputs, {**attrs, "x_scale": 1.0})
    centred, factor = np.empty(x.shape, np.float32), np.empty((len(weight), 1), np.float32)
    offset = bias[0].reshape(-1, 1) if bias else None

    def finish(sums: Array, channels: slice, block: Array) -> None:
        with np.errstate(over="ignore"):
            np.multiply(sums, factor[channels], out=block, casting="unsafe")
            if offset is not None:
                block += offset[channels]

    none = np.zeros(len(weight), np.int32)
    sums = _Sums(weight.reshape(len(weight), -1), none, 255)
    run = _by_blocks(plan, centred, weight, sums, finish, y)

    def step() -> None:
        whole, steps, zero = dynamic.dynamic_quantize_linear(x)
        np.subtract(whole, np.float32(zero), out=centred)
        np.multiply(scale[:, None], steps, out=factor)
        run()

    return step


class _Windows:
    """Lays out what windows read, less the zero point, as columns of float32: block by block."""

    def __init__(self, node: Node, x: Array, kernel: Sequence[int], y: Sequence[int]) -> None:
        self._frames = ShiftedFrames(x, *(node.attr(n) for n in ("d", "fill", "segment")))
        self._strides, self._dilations = node.attr("strides"), node.attr("dilations")
        self._zero, self._kernel, self._y = node.attr("x_zero_point"), tuple(kernel), y
        pads, (channels, _, height, width) = node.attr("pads"), x.shape
        self._before = pads[0]
        terms = channels * int(np.prod(kernel))
        self._t, self._rows = row_blocks(y[1], y[2], y[3], terms * 4)
        depth = (self._t - 1) * self._strides[0] + (kernel[0] - 1) * self._dilations[0] + 1
        sides = (height + pads[1] + pads[4], width + pads[2] + pads[5])
        self._padded = np.zeros((channels, depth, *sides), np.float32)
        self._inside = self._padded[:, :, pads[1] : pads[1] + height, pads[2] : pads[2] + width]

    def blocks(self) -> Iterator[tuple[tuple[slice, ...], Array]]:
        """What of y is computed at once, and its columns (C, kT, kH, kW, places)."""
        _, time, height, _ = self._y
        for t in range(0, time, self._t):
            frames = min(self._t, time - t)
            self._read(t, frames)
            for first in range(0, height, self._rows):
                rows = min(self._rows, height - first)
                where = (slice(None), slice(t, t + frames), slice(first, first + rows))
                yield where, self._columns(frames, first, rows)

    def _read(self, t: int, frames: int) -> None:
        """Copy what `frames` frames of y read, shifted, to the inside of the padding."""
        start = t * self._strides[0] - self._before
        reach = (self._kernel[0] - 1) * self._dilations[0] + 1
        count = (frames - 1) * self._strides[0] + reach
        copies = self._frames.copies(start, start + count)
        copy_frames(self._inside, self._frames.x, copies, self._zero)
        if self._zero:
            inside = self._inside[:, :count]
            np.subtract(inside, np.float32(self._zero), out=inside)

    def _columns(self, frames: int, first: int, rows: int) -> Array:
        (st, sh, sw), (dt, dh, dw) = self._strides, self._dilations
        s = self._padded.strides
        view = as_strided(
            self._padded[:, :, first * sh :],
            (len(self._padded), *self._kernel, frames, rows, self._y[3]),
            (s[0], dt * s[1], dh * s[2], dw * s[3], st * s[1], sh * s[2], sw * s[3]),
            writeable=False,
        )
        return view.reshape(len(view), *self._kernel, -1)


class _Sums:
    """``bias + weight @ columns`` modulo 2^32, exactly, as float32(sum)."""

    def __init__(self, weight: Array, bias: Array, reach: int) -> None:
        self._weight = weight.astype(np.float32)
        self._bias = bias.astype(np.float64)[:, None]
        sizes = np.abs(weight.astype(np.int64)) * reach
        self._spans = _spans(sizes)
        largest = int((sizes.sum(axis=1) + np.abs(bias.astype(np.int64))).max(initial=0))
        self._wraps = largest >= 1 << 31
        self._plain = largest < EXACT

    def of(self, rows: slice, columns: Array) -> Array:
        """The sums of some outputs over columns (terms, n) of whole numbers."""
        weight = self._weight[rows]
        if self._plain:
            return weight @ columns + self._bias[rows].astype(np.float32)
        acc = np.repeat(self._bias[rows], columns.shape[1], axis=1)
        for span in self._spans:
            acc += weight[:, span] @ columns[span]
        return self._rounded(acc)

    def by_channel(self, columns: Array) -> Array:
        """The sums of every channel over its own columns (channels, terms, n)."""
        if self._plain:
            found = np.einsum("ck,ckn->cn", self._weight, columns)
            return np.asarray(found + self._bias.astype(np.float32))
        acc = np.repeat(self._bias, columns.shape[2], axis=1)
        for span in self._spans:
            acc += np.einsum("ck,ckn->cn", self._weight[:, span], columns[:, span])
        return self._rounded(acc)

    def _rounded(self, acc: Array) -> Array:
        if self._wraps:
            acc = acc.astype(np.int64).astype(np.int32)
        return acc.astype(np.float32)


def _spans(sizes: Array) -> list[slice]:
    """Cut the terms of the sums, whose absolute values are at most these, where float32 ends.

    >>> _spans(np.array([[10_000_000, 6_000_000, 6_000_000, 5_000_000]]))
    [slice(0, 2, None), slice(2, 4, None)]
    """
    found, start = [], 0
    total = np.zeros(len(sizes), np.int64)
    for k in range(sizes.shape[1]):
        total += sizes[:, k]
        if total.max(initial=0) >= EXACT:
            found.append(slice(start, k))
            start, total = k, sizes[:, k].copy()
    return [*found, slice(start, sizes.shape[1])]


def _finisher(node: Node, scale: Array) -> Callable[[Array, slice, Array], None]:
    """Steps 2 and 3 of `tsm_ref.reference.quantised`, in place on exact sums, into a block of y."""
    real = node.attrs["dtype"] == "float32"
    factor = factor_of(node, scale)[:, None]
    zero, low, high = (node.attr(name) for name in ("y_zero_point", "low", "high"))

    def finish(sums: Array, channels: slice, y: Array) -> None:
        with np.errstate(over="ignore"):
            sums *= factor[channels]
        if real:
            np.copyto(y, sums)
            return
        least, most = quantised.limits(str(y.dtype))
        np.clip(sums, max(low, least) - zero, min(high, most) - zero, out=sums)
        np.rint(sums, out=sums)
        sums += np.float32(zero)
        np.copyto(y, sums, casting="unsafe")

    return finish


def _by_formula(node: Node, inputs: Sequence[Array], y: Array) -> Step:
    formula = FORMULAS[node.op]
    operands = [x if node.op == "LookUp" and i else x[None] for i, x in enumerate(inputs)]
    return lambda: np.copyto(y, formula(node, *operands)[0])


QUANTISED: Mapping[str, StepMaker] = {
    **dict.fromkeys(FORMULAS, _by_formula),
    "QLinearConv": _conv,
    "QLinearMatMul": _matmul,
    **dict.fromkeys(DYNAMIC, _dynamic),
}
"""One maker of steps per quantised op."""
