"""Quantised layers of the Numba engine, as steps over the plain layout of the NumPy engine.

A quantised network is what the NumPy engine makes of it, value by value and step by step, but for
the steps that are compiled here. A convolution reads its input where it lies, or, where it has
taps beside each other, a copy with the zero point around every frame.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.engine.exact import factor_of
from tsm_ref.engine.on_numpy.frames import ShiftedFrames, folds
from tsm_ref.engine.on_numpy.ops import STEPS, Step, StepMaker
from tsm_ref.graph import Node
from tsm_ref.kernels import integer_conv, integer_pack, integer_tile
from tsm_ref.reference import quantised

__all__ = ["COMPILED"]

Array = NDArray[Any]


def _conv(node: Node, inputs: Sequence[Array], y: Array) -> Step:
    x, weight, scale, bias = inputs
    stride = node.attr("strides")[2]
    if stride > 2 or weight.dtype != np.int8:
        return STEPS[node.op](node, inputs, y)
    kernel, pads = weight.shape[2:], node.attr("pads")
    flat = kernel[1:] == (1, 1) and node.attr("strides")[1:] == (1, 1) and not any(pads)
    source = _Source(node, x, kernel, flat)
    outputs, columns = len(weight), int(np.prod(y.shape[1:]))
    group = node.attr("group")
    joined = flat and not any(node.attr("d")) and node.attr("strides")[0] == kernel[0] == 1
    shape = (1, y.shape[1] * y.shape[2], y.shape[3]) if joined else y.shape[1:]
    runs, begins = integer_pack.runs_of(shape, node.attr("strides"), source.width, flat)
    matrix = weight.reshape(outputs, -1)
    layer = integer_conv.IntegerConvolution(
        frames=source.addresses(),
        inputs=source.inputs(weight.shape[1]),
        runs=runs,
        begins=begins,
        weights=integer_conv.pack_weights(matrix, group),
        bias=integer_conv.pack_rows(_bias(bias, matrix, source), group),
        factor=integer_conv.pack_rows(factor_of(node, scale), group),
        y=y.reshape(-1).view(np.uint8),
        columns=columns,
        group_inputs=weight.shape[1],
        group_outputs=outputs // group,
        stride=stride,
        flip=source.flip,
        input_zero=source.zero,
        **_ending(node, y),
        code=integer_tile.code(),
    )

    def step() -> None:
        source.fill()
        integer_conv.run_integer_convolution(layer, 0, layer.panels)

    return step


def _bias(bias: Array, matrix: Array, source: "_Source") -> Array:
    """The bias of sums over what is packed, which is the inputs themselves or less their zero."""
    if integer_pack.GROUP == 2:
        return bias
    sums = matrix.astype(np.int64).sum(axis=1)
    return (bias.astype(np.int64) - source.zero * sums).astype(np.int32)


def _ending(node: Node, y: Array) -> dict[str, Any]:
    """How a sum becomes an output: fields of a planned layer."""
    if node.attr("dtype") == "float32":
        return {"form": integer_tile.REAL, "zero": 0, "low": np.float32(0), "high": np.float32(0)}
    least, most = quantised.limits(str(y.dtype))
    zero, low, high = (node.attr(name) for name in ("y_zero_point", "low", "high"))
    ends = (np.float32(v - zero) for v in (max(low, least), min(high, most)))
    return dict(zip(("form", "zero", "low", "high"), (integer_tile.WHOLE, zero, *ends), strict=True))


class _Source:
    """Where a layer reads its input: in place, or in a copy with the zero point around it."""

    def __init__(self, node: Node, x: Array, kernel: Sequence[int], flat: bool) -> None:
        self._node, self._x, self._kernel = node, x, tuple(kernel)
        signed = x.dtype == np.int8
        self.flip = 128 if signed else 0
        self.zero = node.attr("x_zero_point") + self.flip
        channels, frames, height, width = x.shape
        pads = node.attr("pads")
        zero = np.uint8(node.attr("x_zero_point") & 255)
        self._padded: Array | None = None
        if not flat:
            before, after = pads[1:3], pads[4:6]
            sides = (height + before[0] + after[0], width + before[1] + after[1])
            size = channels * frames * sides[0] * sides[1]
            memory = np.full(size + integer_pack.SLACK, zero, np.uint8)
            self._memory = memory
            self._padded = memory[:size].reshape(channels, frames, *sides)
            self._inside = self._padded[
                :, :, before[0] : before[0] + height, before[1] : before[1] + width
            ]
        self._values = x if self._padded is None else self._padded
        self.width = self._values.shape[3]
        plane = self._values.shape[2] * self.width
        self._nothing = np.full(plane + integer_pack.SLACK, zero, np.uint8)

    def fill(self) -> None:
        """Copy the input to the inside of the padding."""
        if self._padded is not None:
            np.copyto(self._inside, self._x.view(np.uint8))

    def addresses(self) -> NDArray[np.int64]:
        """The address of every frame that is read: (channels + 1, time)."""
        d, fill, segment, pads = (self._node.attr(n) for n in ("d", "fill", "segment", "pads"))
        channels, frames = self._x.shape[:2]
        shifted = ShiftedFrames(self._x, d, fill, segment)
        start, bytes_ = self._values.ctypes.data, self._values.strides
        time = range(-pads[0], frames + pads[3])
        found = np.full((channels + 1, len(time)), self._nothing.ctypes.data, np.int64)
        own = np.arange(channels) * bytes_[0] + start
        for fold in folds(d * channels if len(d) == 1 else d, channels):
            for i, t in enumerate(time):
                source = shifted.source(t, fold.d)
                if source >= 0:
                    where = slice(fold.start, fold.stop)
                    found[where, i] = own[where] + source * bytes_[1]
        return found

    def inputs(self, width: int) -> NDArray[np.int64]:
        """The channel and the tap of every k, in the order of the weights."""
        dt, dh, dw = self._node.attr("dilations")
        found = [
            (channel, t * dt, row * dh * self.width + column * dw)
            for channel in range(width)
            for t in range(self._kernel[0])
            for row in range(self._kernel[1])
            for column in range(self._kernel[2])
        ]
        found += [(-1, 0, 0)] * (-len(found) % integer_pack.GROUP)
        return np.array(found, np.int64)


COMPILED: Mapping[str, StepMaker] = {**STEPS, "QLinearConv": _conv}
"""One maker of steps per op; those that are not compiled are the NumPy engine's."""
