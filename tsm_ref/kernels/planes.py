"""Pictures as decoders leave them, brightness and colour in planes, made smaller along their rows.

A few rows at a time become red, green and blue in the nearest cache, with the arithmetic of
`tsm_ref.video.planes`, and are weighed there as `tsm_ref.kernels.resize` does: nobody else wants
the picture in colour. Nothing is checked here: shapes are the caller's duty.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from tsm_ref.kernels.cache import compiled
from tsm_ref.kernels.integer.tile import pair_products
from tsm_ref.kernels.machine import HOST
from tsm_ref.kernels.vector import BYTE, INT32, Emitter, Value, address, count, generated

Pixels = NDArray[np.uint8]

GROUP = 16
"""Neighbouring pixels that are weighed at once: their weights come in such groups."""
LOW_BITS = 11
"""A weight is two numbers of 16 bits: these bits of it, and what is above them."""

_ROWS = 4
"""Rows that share the weights in registers."""
_PAIR = 32
"""Pixels of a row that become colours at once; they share half as many pixels of colour."""
_SHORT = ir.IntType(16)
_SHORTS = ir.VectorType(_SHORT, 16)
_WIDE = ir.VectorType(INT32, 16)
_BYTES = ir.VectorType(BYTE, 16)


def split(weights: NDArray[np.int32]) -> NDArray[np.int16]:
    """Weights (n, taps), none below 0, as `across_planes` reads them: (n, groups, 2, `GROUP`).

    >>> split(np.array([[1 << 11, 3]], np.int32))[0, 0, :, :3].tolist()
    [[1, 0, 0], [0, 3, 0]]
    """
    rows, taps = weights.shape
    whole = np.zeros((rows, taps + -taps % GROUP), np.int32)
    whole[:, :taps] = weights
    groups = whole.reshape(rows, -1, GROUP)
    pair = [groups >> LOW_BITS, groups & ((1 << LOW_BITS) - 1)]
    return np.stack(pair, axis=2).astype(np.int16)


@compiled()
def across_planes(
    planes: Any, width: int, halved: int, begin: int, tone: Any, first: Any, weights: Any,
    bits: int, y: Pixels,
) -> None:  # fmt: skip
    """Weighted sums along the rows from `begin` on, in colour: to `y` (rows, n, 3).

    `planes` are brightness, blueness and redness, each (rows, bytes of a row); the last two have
    one pixel for two along the row, and along the column where `halved` is 1. `tone` (6,) int32
    is that of `tsm_ref.video.planes`, `weights` come from `split`, and ``first[i]`` is the column
    with which those of output i begin. Sums are in units of ``2**-bits``.
    """
    luma, blue, red = planes
    rows, outputs = y.shape[:2]
    pitch = (width + weights.shape[1] * GROUP + 2 * _PAIR) // _PAIR * _PAIR
    colours = np.zeros((3, _ROWS, pitch), np.uint8)
    result = np.empty((_ROWS, outputs, 3), np.uint8)
    groups = width // _PAIR
    rounded = (groups + 1) * _PAIR  # the rest is converted with what follows it, if there is room
    if luma.shape[1] >= rounded and min(blue.shape[1], red.shape[1]) >= rounded // 2:
        groups = -(-width // _PAIR)
    for top in range(0, rows, _ROWS):
        some = min(_ROWS, rows - top)
        for r in range(some):
            row = begin + top + r
            line = (luma[row], blue[row >> halved], red[row >> halved])
            place = colours.ctypes.data + r * pitch
            _convert(
                line[0].ctypes.data, line[1].ctypes.data, line[2].ctypes.data, groups,
                tone.ctypes.data, place, _ROWS * pitch,
            )  # fmt: skip
            _convert_rest(line, groups * _PAIR, width, tone, colours[:, r])
        target = y[top : top + _ROWS] if some == _ROWS else result
        for colour in range(3):
            begin_at = colours.ctypes.data + colour * _ROWS * pitch
            for i in range(outputs):
                place = target.ctypes.data + i * target.strides[1] + colour
                row = weights.ctypes.data + i * weights.strides[0]
                _weigh(
                    begin_at + first[i], pitch, row, weights.shape[1], bits, place,
                    target.strides[0],
                )  # fmt: skip
        if some < _ROWS:
            y[top:] = result[:some]


@compiled()
def _convert_rest(line: Any, begin: int, width: int, tone: Any, colours: Pixels) -> None:
    """The last pixels of a row, one by one."""
    luma, blue, red = line
    scale, black, to_red, to_blue, blue_to_green, red_to_green = tone
    for x in range(begin, width):
        bright = ((luma[x] * 8 - black) * scale) >> 16
        u, v = blue[x >> 1] * 8 - 1024, red[x >> 1] * 8 - 1024
        green = ((u * blue_to_green) >> 16) + ((v * red_to_green) >> 16)
        colours[0, x] = min(max(bright + ((v * to_red) >> 16), 0), 255)
        colours[1, x] = min(max(bright + green, 0), 255)
        colours[2, x] = min(max(bright + ((u * to_blue) >> 16), 0), 255)


@generated(address, address, address, count, address, address, count)
def _convert(
    emit: Emitter, luma: Value, blue: Value, red: Value, groups: Value, tone: Value, y: Value,
    y_step: Value,
) -> None:  # fmt: skip
    """A row of `_PAIR` times `groups` pixels; its colours lie `y_step` bytes apart in `y`."""
    builder = emit.builder
    numbers = [_everywhere(emit, emit.bytes_at(tone), 4 * i) for i in range(6)]
    scale, black, to_red, to_blue, blue_to_green, red_to_green = numbers
    places = [emit.move(emit.bytes_at(y), emit.times(y_step, c)) for c in range(3)]
    with emit.when(emit.nonzero(groups)), emit.loop(groups) as loop:
        half = emit.times(loop.index, _PAIR // 2)
        u, v = (
            builder.sub(_eighths(emit, emit.bytes_at(plane), half), _shorts(1024))
            for plane in (blue, red)
        )
        green = builder.add(_high(builder, u, blue_to_green), _high(builder, v, red_to_green))
        shares = [_high(builder, v, to_red), green, _high(builder, u, to_blue)]
        for part in range(2):
            begin = emit.add(emit.times(loop.index, _PAIR), 16 * part)
            bright = builder.sub(_eighths(emit, emit.bytes_at(luma), begin), black)
            bright = _high(builder, bright, scale)
            twice = [8 * part + lane // 2 for lane in range(16)]
            for place, share in zip(places, shares, strict=True):
                value = builder.add(bright, _picked(builder, share, share, twice))
                value = builder.trunc(_within(builder, value), _BYTES)
                builder.store(value, emit.pointer(place, begin, _BYTES), align=1)


@generated(address, count, address, count, count, address, count)
def _weigh(
    emit: Emitter, x: Value, x_step: Value, weights: Value, groups: Value, bits: Value, y: Value,
    y_step: Value,
) -> None:  # fmt: skip
    """One colour of an output pixel of `_ROWS` rows: `x_step` bytes apart, `y_step` in `y`."""
    lanes = min(HOST.lanes, 8)
    pairs, builder = Emitter(emit.builder, lanes), emit.builder
    shorts, bytes_ = ir.VectorType(_SHORT, 2 * lanes), ir.VectorType(BYTE, 2 * lanes)
    sums = ir.VectorType(INT32, lanes)
    rows = [emit.move(emit.bytes_at(x), emit.times(x_step, r)) for r in range(_ROWS)]
    with emit.loop(groups, *[ir.Constant(sums, None)] * (2 * _ROWS)) as loop:
        totals = list(loop.state)
        for part in range(GROUP // (2 * lanes)):
            own = emit.add(emit.times(loop.index, 4 * GROUP), 4 * lanes * part)
            both = [
                emit.load(emit.bytes_at(weights), emit.add(own, 2 * GROUP * half), shorts)
                for half in range(2)
            ]
            begin = emit.add(emit.times(loop.index, GROUP), 2 * lanes * part)
            for r, row in enumerate(rows):
                place = emit.pointer(row, begin, bytes_)
                some = builder.zext(builder.load(place, align=1), shorts)
                for half, weight in enumerate(both):
                    product = pair_products(pairs, some, weight)
                    totals[2 * r + half] = builder.add(totals[2 * r + half], product)
        loop.next = totals
    shift = ir.Constant(sums, [LOW_BITS] * lanes)
    whole = [
        builder.add(builder.shl(high, shift), low)
        for high, low in zip(loop.next[::2], loop.next[1::2], strict=True)
    ]
    _store_bytes(emit, _summed(builder, whole), bits, emit.bytes_at(y), y_step)


def _summed(builder: Any, vectors: Sequence[Value]) -> Value:
    """The sums of the lanes of four vectors, side by side."""
    while len(vectors) > 1 or vectors[0].type.count > _ROWS:
        if len(vectors) == 1:
            vectors = [vectors[0], vectors[0]]
        merged = []
        for a, b in zip(vectors[::2], vectors[1::2], strict=True):
            lanes = range(a.type.count) if a is b else range(2 * a.type.count)
            halves = [_picked(builder, a, b, list(lanes)[first::2]) for first in range(2)]
            merged.append(builder.add(*halves))
        vectors = merged
    return vectors[0]


def _store_bytes(emit: Emitter, totals: Value, bits: Value, y: Value, y_step: Value) -> None:
    """Sums in units of ``2**-bits`` as bytes, cut off at 255, `y_step` apart."""
    builder, kind = emit.builder, totals.type
    shift = builder.trunc(bits, INT32)
    half = builder.shl(ir.Constant(INT32, 1), builder.sub(shift, ir.Constant(INT32, 1)))
    value = builder.lshr(
        builder.add(totals, _splat(builder, half, kind)), _splat(builder, shift, kind)
    )
    most = ir.Constant(kind, [255] * kind.count)
    value = builder.select(builder.icmp_unsigned(">", value, most), most, value)
    value = builder.trunc(value, ir.VectorType(BYTE, kind.count))
    for r in range(_ROWS):
        place = emit.move(y, emit.times(y_step, r))
        builder.store(builder.extract_element(value, ir.Constant(INT32, r)), place)


def _everywhere(emit: Emitter, base: Value, offset: int) -> Value:
    """An int32 in memory as 16 numbers of 16 bits."""
    number = emit.load(base, offset, INT32)
    return _splat(emit.builder, emit.builder.trunc(number, _SHORT), _SHORTS)


def _splat(builder: Any, scalar: Value, kind: Any) -> Value:
    undefined = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(INT32, 0))
    return _picked(builder, first, undefined, [0] * kind.count)


def _shorts(value: int) -> Value:
    return ir.Constant(_SHORTS, [value] * 16)


def _eighths(emit: Emitter, base: Value, offset: Value) -> Value:
    """Sixteen bytes times 8."""
    some = emit.builder.load(emit.pointer(base, offset, _BYTES), align=1)
    return emit.builder.shl(emit.builder.zext(some, _SHORTS), _shorts(3))


def _high(builder: Any, a: Value, b: Value) -> Value:
    """The upper halves of products of 16 bits."""
    product = builder.mul(builder.sext(a, _WIDE), builder.sext(b, _WIDE))
    return builder.trunc(builder.ashr(product, ir.Constant(_WIDE, [16] * 16)), _SHORTS)


def _within(builder: Any, value: Value) -> Value:
    """Numbers of 16 bits, cut off at 0 and 255."""
    value = builder.select(builder.icmp_signed("<", value, _shorts(0)), _shorts(0), value)
    return builder.select(builder.icmp_signed(">", value, _shorts(255)), _shorts(255), value)


def _picked(builder: Any, a: Value, b: Value, lanes: Sequence[int]) -> Value:
    """Some lanes of two vectors, those of the second numbered behind those of the first."""
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(INT32, len(lanes)), list(lanes)))
