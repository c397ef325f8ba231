"""The ops of the NumPy engine other than convolution: each becomes a step over bound arrays.

Arrays are those of one clip: (C, T, H, W), (C, T) or (K,).
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from tsm_ref.engine.arena import lowest
from tsm_ref.engine.on_numpy.activations import activation
from tsm_ref.engine.on_numpy.bfloat16 import round_into
from tsm_ref.engine.on_numpy.conv import conv_step
from tsm_ref.engine.on_numpy.frames import ShiftedFrames, copy_frames
from tsm_ref.engine.on_numpy.quantised import QUANTISED
from tsm_ref.graph import Node
from tsm_ref.op_attributes import ACTIVATIONS

Array = NDArray[Any]
Step = Callable[[], None]
StepMaker = Callable[[Node, Sequence[Array], Array], Step]


def _fused_conv(node: Node, inputs: Sequence[Array], y: Array) -> Step:
    x, weight, bias, *residual = inputs
    if node.attr("precision") == "float32":
        return conv_step(node, x, weight, bias, residual[0] if residual else None, y)
    factors = np.zeros_like(x)
    run = conv_step(node, factors, weight, bias, residual[0] if residual else None, y)

    def step() -> None:
        round_into(x, factors)
        run()

    return step


def _batch_norm(node: Node, inputs: Sequence[Array], y: Array) -> Step:
    x, scale, bias, mean, variance = inputs
    factor = scale / np.sqrt(variance.astype(np.float64) + node.attr("epsilon"))
    shape = (-1, *[1] * (x.ndim - 1))
    gain = factor.astype(y.dtype).reshape(shape)
    offset = (bias - mean * factor).astype(y.dtype).reshape(shape)

    def step() -> None:
        np.multiply(x, gain, out=y)
        np.add(y, offset, out=y)

    return step


def _activation(node: Node, inputs: Sequence[Array], y: Array) -> Step:
    apply = activation(node.op, node.attrs)

    def step() -> None:
        np.copyto(y, inputs[0])
        if apply is not None:
            apply(y)

    return step


def _softmax(node: Node, inputs: Sequence[Array], y: Array) -> Step:
    """Frame by frame, as `_linear`, unless it is over the frames or there are none."""
    x = inputs[0]
    axis = node.attr("axis")
    axis = (axis - 1 if axis > 0 else axis) % y.ndim
    logarithm = node.op == "LogSoftmax"
    work = [(x, y)]
    if axis != 1 and y.ndim > 1:
        work = [(x[:, t : t + 1], y[:, t : t + 1]) for t in range(y.shape[1])]

    def step() -> None:
        for source, target in work:
            np.subtract(source, source.max(axis=axis, keepdims=True), out=target)
            if logarithm:
                target -= np.log(np.exp(target).sum(axis=axis, keepdims=True))
                continue
            np.exp(target, out=target)
            np.divide(target, target.sum(axis=axis, keepdims=True), out=target)

    return step


def _binary(function: np.ufunc) -> StepMaker:
    """An op of two operands; one may be a parameter, which has a batch axis, of size 1."""

    def make(node: Node, inputs: Sequence[Array], y: Array) -> Step:
        a, b = (value[0] if value.ndim > y.ndim else value for value in inputs)
        return lambda: function(a, b, out=y)

    return make


def _concat(node: Node, inputs: Sequence[Array], y: Array) -> Step:
    def step() -> None:
        np.concatenate(inputs, axis=0, out=y)

    return step


def _windows(node: Node, x: Array, y: Array, dilations: Sequence[int]) -> tuple[Array, Array]:
    """A padded copy of `x`, and the view (C, T', H', W', kT, kH, kW) of its windows.

    Padding beyond the input, which ``ceil_mode`` may ask for, is added behind.
    """
    kernel, strides, pads = (node.attr(n) for n in ("kernel_shape", "strides", "pads"))
    reach = [
        (y.shape[i + 1] - 1) * strides[i] + dilations[i] * (kernel[i] - 1) + 1 for i in range(3)
    ]
    sizes = [max(reach[i], x.shape[i + 1] + pads[i] + pads[i + 3]) for i in range(3)]
    padded = np.empty((x.shape[0], *sizes), y.dtype)
    s = padded.strides
    steps = [strides[i] * s[i + 1] for i in range(3)]
    taps = [dilations[i] * s[i + 1] for i in range(3)]
    view = as_strided(padded, (*y.shape, *kernel), (s[0], *steps, *taps), writeable=False)
    return padded, view


def _inside(node: Node, x: Array, padded: Array) -> Array:
    pads = node.attr("pads")
    t, h, w = (slice(pads[i], pads[i] + x.shape[i + 1]) for i in range(3))
    return padded[:, t, h, w]


def _taps(view: Array) -> list[Array]:
    """The windows tap by tap: one (C, T', H', W') view per kernel position."""
    return [view[..., k, i, j] for k, i, j in np.ndindex(*view.shape[4:])]


def _max_pool(node: Node, inputs: Sequence[Array], y: Array) -> Step:
    """A maximum over a box is one over rows, then one over columns of those, then over frames."""
    x = inputs[0]
    dilations = node.attr("dilations")
    padded, _ = _windows(node, x, y, dilations)
    padded.fill(lowest(y.dtype))
    inside, values = _inside(node, x, padded), padded
    work: list[tuple[Array, list[Array]]] = []
    axes = [axis for axis in (2, 3, 1) if padded.shape[axis] != y.shape[axis]] or [2]
    for axis in axes:
        shape = (*values.shape[:axis], y.shape[axis], *values.shape[axis + 1 :])
        target = y if axis == axes[-1] else np.empty(shape, y.dtype)
        lines, stride = np.moveaxis(values, axis, 0), node.attr("strides")[axis - 1]
        starts = range(0, node.attr("kernel_shape")[axis - 1] * dilations[axis - 1],
                       dilations[axis - 1])  # fmt: skip
        taps = [
            lines[start : start + stride * (y.shape[axis] - 1) + 1 : stride] for start in starts
        ]
        work.append((target, [np.moveaxis(tap, 0, axis) for tap in taps]))
        values = target

    def step() -> None:
        np.copyto(inside, x)
        for target, (first, *others) in work:
            np.copyto(target, first)
            for tap in others:
                np.maximum(target, tap, out=target)

    return step


def _average_pool(node: Node, inputs: Sequence[Array], y: Array) -> Step:
    """The mean of each window; padding counts only if asked, what lies beyond it never does."""
    x = inputs[0]
    padded, view = _windows(node, x, y, (1, 1, 1))
    inside, taps = _inside(node, x, padded), _taps(view)
    padded.fill(0)
    if node.attr("count_include_pad"):
        pads = node.attr("pads")
        t, h, w = (slice(0, x.shape[i + 1] + pads[i] + pads[i + 3]) for i in range(3))
        padded[:, t, h, w] = 1
    else:
        inside.fill(1)
    divisor = np.add.reduce([tap.copy() for tap in taps])
    padded.fill(0)

    def step() -> None:
        np.copyto(inside, x)
        np.copyto(y, taps[0])
        for tap in taps[1:]:
            np.add(y, tap, out=y)
        np.divide(y, divisor, out=y)

    return step


def _global_average_pool(node: Node, inputs: Sequence[Array], y: Array) -> Step:
    x = inputs[0]
    return lambda: np.copyto(y, x.mean(axis=(2, 3), keepdims=True))


def _flatten(node: Node, inputs: Sequence[Array], y: Array) -> Step:
    """(C, T, H, W) -> (C*H*W, T), with the channels slowest (CHW) or fastest (HWC)."""
    x = inputs[0]
    c, t, h, w = x.shape
    if node.attr("order") == "CHW":
        source, target = x.transpose(0, 2, 3, 1), y.reshape(c, h, w, t)
    else:
        source, target = x.transpose(2, 3, 0, 1), y.reshape(h, w, c, t)
    return lambda: np.copyto(target, source)


def _squeeze(node: Node, inputs: Sequence[Array], y: Array) -> Step:
    return lambda: np.copyto(y, inputs[0].reshape(y.shape))


def _linear(node: Node, inputs: Sequence[Array], y: Array) -> Step:
    """One product per frame, so that a frame's result does not depend on how many there are."""
    x, weight, *bias = inputs

    def step() -> None:
        for t in range(x.shape[1]):
            y[:, t] = weight @ x[:, t]
        if bias:
            np.add(y, bias[0][:, None], out=y)

    return step


def _frame_tuple(node: Node, inputs: Sequence[Array], y: Array) -> Step:
    """(C, T) -> (k*C, 1), the channels of one frame behind those of the other."""
    x, frames = inputs[0], list(node.attrs["frames"])
    target = y.reshape(len(frames), -1)
    return lambda: np.copyto(target, x[:, frames].T)


def _temporal_shift(node: Node, inputs: Sequence[Array], y: Array) -> Step:
    frames = ShiftedFrames(inputs[0], *(node.attr(name) for name in ("d", "fill", "segment")))
    copies, zero = frames.copies(0, y.shape[1]), node.attr("x_zero_point")
    return lambda: copy_frames(y, frames.x, copies, zero)


def _spatial_shift(node: Node, inputs: Sequence[Array], y: Array) -> Step:
    """Copies of the channels that move alike; what comes from beyond the edge is zero."""
    x, fill, zero = inputs[0], node.attr("fill"), node.attr("x_zero_point")
    if fill != "zero":
        sources = [
            _from(np.array(node.attrs[name]), size, fill)
            for name, size in zip(("dh", "dw"), x.shape[2:], strict=True)
        ]
        rows, columns = sources[0][:, None, :, None], sources[1][:, None, None, :]
        channel, frame = np.ogrid[: x.shape[0], : x.shape[1]]
        where = (channel[..., None, None], frame[..., None, None], rows, columns)
        return lambda: np.copyto(y, x[where])
    copies, start = [], 0
    for pair, run in groupby(zip(node.attrs["dh"], node.attrs["dw"], strict=True)):
        stop = start + len(list(run))
        cuts = [_overlap(d, size) for d, size in zip(pair, x.shape[2:], strict=True)]
        (to_h, from_h), (to_w, from_w) = cuts
        copies.append((y[start:stop, :, to_h, to_w], x[start:stop, :, from_h, from_w]))
        start = stop

    def step() -> None:
        y.fill(zero)
        for target, source in copies:
            np.copyto(target, source)

    return step


def _overlap(d: int, size: int) -> tuple[slice, slice]:
    """Where the values of a shifted axis go, and where they come from."""
    d = max(-size, min(size, d))
    return slice(max(0, d), size + min(0, d)), slice(max(0, -d), size - max(0, d))


def _from(d: Array, size: int, fill: str) -> Array:
    """Which place of an axis each place of each channel is read from, (C, size)."""
    source = np.arange(size) - d[:, None]
    return source % size if fill == "circular" else source.clip(0, size - 1)


def _consensus(node: Node, inputs: Sequence[Array], y: Array) -> Step:
    over = node.attr("over")
    if over == "last":
        return lambda: np.copyto(y, inputs[0][:, -1])
    if over == "max":
        return lambda: np.copyto(y, inputs[0].max(axis=1))
    return lambda: np.copyto(y, inputs[0].mean(axis=1))


def _attention_mask(node: Node, inputs: Sequence[Array], y: Array) -> Step:
    x = inputs[0]

    def step() -> None:
        np.multiply(x, 0.5 / x.mean(axis=(2, 3), keepdims=True), out=y)

    return step


def _non_local(node: Node, inputs: Sequence[Array], y: Array) -> Step:
    """Attention over all places in time and space (Wang et al. 2018), a frame of rows at a time."""
    theta, phi, g = inputs
    keys, values = phi.reshape(phi.shape[0], -1), g.reshape(g.shape[0], -1)
    mode = node.attr("mode")

    def step() -> None:
        for t in range(theta.shape[1]):
            scores = theta[:, t].reshape(theta.shape[0], -1).T @ keys
            if mode == "dot_product":
                scores /= keys.shape[1]
            else:
                scores -= scores.max(axis=1, keepdims=True)
                np.exp(scores, out=scores)
                scores /= scores.sum(axis=1, keepdims=True)
            y[:, t] = (values @ scores.T).reshape(y[:, t].shape)

    return step


STEPS: Mapping[str, StepMaker] = {
    "FusedConv": _fused_conv,
    "BatchNormalization": _batch_norm,
    "Softmax": _softmax,
    "LogSoftmax": _softmax,
    "Add": _binary(np.add),
    "Mul": _binary(np.multiply),
    "Concat": _concat,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_average_pool,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Linear": _linear,
    "TemporalShift": _temporal_shift,
    "SpatialShift": _spatial_shift,
    "FrameTuple": _frame_tuple,
    "Consensus": _consensus,
    "AttentionMask": _attention_mask,
    "NonLocal": _non_local,
    **dict.fromkeys(ACTIVATIONS, _activation),
    **QUANTISED,
}
"""One maker of steps per op of an optimised graph."""
