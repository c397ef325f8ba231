"""Depthwise convolutions of whole numbers: plane by plane, tap by tap."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tsm_ref.kernels.cache import compiled
from tsm_ref.kernels.integer_values import finish

Array = NDArray[Any]


class IntegerDepthwise(NamedTuple):
    """A layer, ready to run: what `run_integer_depthwise` reads."""

    x: Array  # (C, T, H, W), with the zero point around every frame
    sources: NDArray[np.int64]  # (C, T): the frame that a frame of y reads, or -1
    weights: NDArray[np.int32]  # (C, kH, kW)
    bias: NDArray[np.int32]  # of sums over x itself: the zero point is taken off
    factor: NDArray[np.float32]
    y: NDArray[np.uint8]  # (C, T, H, W)
    stride: int
    dilation: int
    input_zero: int
    zero: int
    low: np.float32
    high: np.float32

    @property
    def panels(self) -> int:
        """The pieces that threads share: planes."""
        channels, frames = self.y.shape[:2]
        return int(channels * frames)


@compiled()
def run_integer_depthwise(layer: IntegerDepthwise, first: int, last: int) -> None:
    """Compute planes ``first .. last - 1`` of a layer."""
    frames, height, width = layer.y.shape[1:]
    sums = np.empty((height, width), np.int32)
    for plane in range(first, last):
        c, t = plane // frames, plane % frames
        source = layer.sources[c, t]
        if source < 0:
            _nothing(layer, c, sums)
        else:
            sums[:] = layer.bias[c]
            for i in range(layer.weights.shape[1]):
                for row in range(height):
                    _row(
                        layer.x[c, source, row * layer.stride + i * layer.dilation],
                        layer.weights[c, i], layer.stride, layer.dilation, sums[row],
                    )  # fmt: skip
        finish(
            sums.reshape(-1), layer.factor[c], layer.y[c, t].reshape(-1), layer.zero, layer.low,
            layer.high,
        )  # fmt: skip


@compiled()
def _nothing(layer: IntegerDepthwise, c: int, sums: Array) -> None:
    """The sums over a frame that is not there: the zero point everywhere."""
    total = np.int32(0)
    for i in range(layer.weights.shape[1]):
        for j in range(layer.weights.shape[2]):
            total += layer.weights[c, i, j]
    sums[:] = layer.bias[c] + total * np.int32(layer.input_zero)


@compiled()
def _row(x: Array, weights: Array, stride: int, dilation: int, sums: Array) -> None:
    """Add the taps of one row of the kernel to a row of sums."""
    for j in range(len(weights)):
        taps = x[j * dilation :]
        weight = weights[j]
        if stride == 1:
            for i in range(len(sums)):
                sums[i] += weight * np.int32(taps[i])
        elif stride == 2:
            for i in range(len(sums)):
                sums[i] += weight * np.int32(taps[2 * i])
        else:
            for i in range(len(sums)):
                sums[i] += weight * np.int32(taps[stride * i])
