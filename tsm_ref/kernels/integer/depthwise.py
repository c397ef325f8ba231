"""Depthwise convolutions of whole numbers: sixteen neighbours of a row at once.

Taps are multiplied in pairs, as in `tsm_ref.kernels.integer.tile`: two bytes of every output with
two weights of 16 bits, into a sum of 32.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from tsm_ref.kernels.cache import compiled
from tsm_ref.kernels.integer.pack import (
    CHUNK,
    SLACK,
    interleaved,
    pad_plane,
    read_bytes,
)
from tsm_ref.kernels.integer.tile import SHORT, pair_products, picked, rounded, splat
from tsm_ref.kernels.vector import (
    FLOAT,
    INT32,
    Emitter,
    Value,
    address,
    count,
    generated,
    real,
)

Array = NDArray[Any]

KERNELS = (3, 5)
"""The sizes that there is code for; strides are 1 and 2."""


class IntegerDepthwise(NamedTuple):
    """A layer, ready to run: what `run_integer_depthwise` reads."""

    frames: NDArray[np.int64]  # addresses, see `pack.pack`
    x_size: tuple[int, int]  # of a frame
    sides: tuple[int, int, int, int]  # what is put around it, see `pack.pad_plane`
    weights: NDArray[np.int16]  # of each channel, see `pack_taps`
    bias: NDArray[np.int32]  # of sums over bytes without a sign: the zero point is taken off
    factor: NDArray[np.float32]
    y: NDArray[np.uint8]  # (C, T, H, W)
    size: int  # of the kernel
    stride: int
    flip: int
    input_zero: int
    zero: int
    low: np.float32
    high: np.float32

    @property
    def panels(self) -> int:
        """The pieces that threads share: planes."""
        channels, frames = self.y.shape[:2]
        return int(channels * frames)


def pack_taps(weight: Array) -> NDArray[np.int16]:
    """The weights (C, kH, kW) as pairs of taps, with a zero where one has no partner: (C, 2 n).

    >>> pack_taps(np.ones((4, 3, 3), np.int8)).shape
    (4, 10)
    """
    taps = weight.reshape(len(weight), -1).astype(np.int16)
    return np.pad(taps, ((0, 0), (0, taps.shape[1] % 2)))


def _generate(size: int, stride: int) -> Any:
    """The kernel of `CHUNK` outputs beside each other."""

    def write(
        emit: Emitter, x: Value, row: Value, weights: Value, bias: Value, factor: Value, y: Value,
        flip: Value, *ends: Value,
    ) -> None:  # fmt: skip
        taps = []
        for i in range(size):
            base = emit.move(emit.bytes_at(x), emit.times(row, i))
            taps += [_tap(emit, emit.move(base, emit.integer(j)), stride, flip)
                     for j in range(size)]  # fmt: skip
        taps.append(ir.Constant(taps[0].type, [0] * CHUNK))
        sums = _sums(emit, taps, weights, emit.load(emit.bytes_at(bias), 0, INT32))
        scale = emit.splat(emit.load(emit.bytes_at(factor), 0, FLOAT))
        values = [emit.product(emit.builder.sitofp(total, emit.vector), scale) for total in sums]
        result = rounded(emit, values, *ends)
        emit.builder.store(result, emit.pointer(emit.bytes_at(y), 0, result.type), align=1)

    types = [address, count, *[address] * 4, count, count, real, real]
    return generated(*types)(write)


def _tap(emit: Emitter, place: Value, stride: int, flip: Value) -> Value:
    """The bytes that a tap reads, as numbers of 16 bits without a sign."""
    values = read_bytes(emit, emit.builder.ptrtoint(place, ir.IntType(64)), stride)
    plain = emit.builder.xor(values, splat(emit, flip, values.type))
    return emit.builder.zext(plain, ir.VectorType(SHORT, CHUNK))


def _sums(emit: Emitter, taps: Sequence[Value], weights: Value, bias: Value) -> list[Value]:
    """The sums of `CHUNK` outputs, as vectors."""
    lanes, builder = emit.lanes, emit.builder
    kind = ir.VectorType(INT32, lanes)
    sums = [splat(emit, bias, kind)] * (CHUNK // lanes)
    for pair in range(len(taps) // 2):
        both = interleaved(emit, *taps[2 * pair : 2 * pair + 2])
        scalar = emit.load(emit.bytes_at(weights), 4 * pair, INT32)
        factor = builder.bitcast(splat(emit, scalar, kind), ir.VectorType(SHORT, 2 * lanes))
        for part in range(len(sums)):
            own = picked(emit, both, both, range(2 * lanes * part, 2 * lanes * (part + 1)))
            sums[part] = builder.add(sums[part], pair_products(emit, own, factor))
    return sums


_3_1, _3_2, _5_1, _5_2 = (_generate(size, stride) for size in KERNELS for stride in (1, 2))


@compiled()
def _plane(layer: IntegerDepthwise, c: int, x: int, row_bytes: int, y: NDArray[np.uint8]) -> None:
    """Compute one plane from a padded one at the address `x`."""
    height, width = y.shape
    weights = layer.weights[c].ctypes.data
    bias, factor = layer.bias[c:].ctypes.data, layer.factor[c:].ctypes.data
    edge = np.empty(CHUNK, np.uint8)
    which = layer.size * 2 + layer.stride
    for row in range(height):
        for column in range(0, width, CHUNK):
            at = row * width + column
            place = x + row * layer.stride * row_bytes + column * layer.stride
            # What is written too much is written again, but for the end of a plane.
            inside = at + CHUNK <= height * width
            out = y.ctypes.data + at if inside else edge.ctypes.data
            if which == 7:
                _3_1(place, row_bytes, weights, bias, factor, out, layer.flip, layer.zero,
                     layer.low, layer.high)  # fmt: skip
            elif which == 8:
                _3_2(place, row_bytes, weights, bias, factor, out, layer.flip, layer.zero,
                     layer.low, layer.high)  # fmt: skip
            elif which == 11:
                _5_1(place, row_bytes, weights, bias, factor, out, layer.flip, layer.zero,
                     layer.low, layer.high)  # fmt: skip
            else:
                _5_2(place, row_bytes, weights, bias, factor, out, layer.flip, layer.zero,
                     layer.low, layer.high)  # fmt: skip
            if not inside:
                for i in range(min(CHUNK, width - column)):
                    y[row, column + i] = edge[i]


@compiled()
def run_integer_depthwise(layer: IntegerDepthwise, first: int, last: int) -> None:
    """Compute planes ``first .. last - 1`` of a layer."""
    frames = layer.y.shape[1]
    height, width = layer.x_size
    above, left, below, right = layer.sides
    row_bytes = left + width + right
    padded = np.empty((above + height + below) * row_bytes + SLACK, np.uint8)
    for plane in range(first, last):
        c, t = plane // frames, plane % frames
        x = layer.frames[c, t]
        pad_plane(x, height, width, padded.ctypes.data, layer.sides, layer.input_zero)
        _plane(layer, c, padded.ctypes.data, row_bytes, layer.y[c, t])
