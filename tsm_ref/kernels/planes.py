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
_ROWS = 2
"""Rows that share their colour, or the weights in registers."""
_PAIR = 32
"""Pixels of a row that become colours at once; they share half as many pixels of colour."""
_SHORT = ir.IntType(16)
_SHORTS = ir.VectorType(_SHORT, 16)
_WIDE = ir.VectorType(INT32, 16)
_BYTES = ir.VectorType(BYTE, 16)
_MOST = 32767
"""The largest number of 16 bits."""


def split(weights: NDArray[np.int32]) -> tuple[int, NDArray[np.int16], NDArray[np.int32]]:
    """Weights (n, taps) as `across_planes` reads them: ``upper * 2**bits + rest``.

    The bits, both parts (n, 2, groups, `GROUP`) of 16 bits, and how much the rest of an output can
    take from its sum and add to it at the most (n, 2).

    >>> bits, parts, bounds = split(np.array([[1 << 16, 5]], np.int32))
    >>> bits, parts[0, :, 0, :2].tolist(), bounds.tolist()
    (2, [[16384, 1], [0, 1]], [[0, 255]])
    """
    rows, taps = weights.shape
    whole = np.zeros((rows, taps + -taps % GROUP), np.int32)
    whole[:, :taps] = weights
    bits = 0
    while (int(whole.max()) + (1 << bits >> 1)) >> bits > _MOST:
        bits += 1
    upper = (whole + (1 << bits >> 1)) >> bits
    rest = whole - (upper << bits)
    bounds = 255 * np.stack([-np.minimum(rest, 0).sum(1), np.maximum(rest, 0).sum(1)], axis=1)
    parts = np.stack([upper, rest], axis=1).reshape(rows, 2, -1, GROUP)
    return bits, parts.astype(np.int16), bounds.astype(np.int32)


@compiled()
def across_planes(
    planes: Any, width: int, halved: int, begin: int, tone: Any, first: Any, weights: Any,
    bits: int, y: Pixels,
) -> None:  # fmt: skip
    """Weighted sums along the rows from `begin` on, in colour: to `y` (rows, n + 1, 3).

    `planes` are brightness, blueness and redness, each (rows, bytes of a row); the last two have
    one pixel for two along the row, and along the column where `halved` is 1. `begin` and the
    number of rows are even. `tone` (6,) int32 is that of `tsm_ref.video.planes`, `weights` come
    from `split`, and ``first[i]`` is the column with which those of output i begin. Sums are in
    units of ``2**-bits``. What stands behind the last output of a row means nothing.
    """
    luma, blue, red = planes
    low_bits, parts, bounds = weights
    rows, outputs = y.shape[0], y.shape[1] - 1
    pitch = (width + parts.shape[2] * GROUP + 2 * _PAIR) // _PAIR * _PAIR
    colours = np.zeros((_ROWS, 3, pitch), np.int16)
    place, step = colours.ctypes.data, 2 * pitch
    part, bound = parts.ctypes.data, bounds.ctypes.data
    groups = width // _PAIR
    rounded = (groups + 1) * _PAIR  # the rest is converted with what follows it, if there is room
    if luma.shape[1] >= rounded and min(blue.shape[1], red.shape[1]) >= rounded // 2:
        groups = -(-width // _PAIR)
    for top in range(0, rows, _ROWS):
        row = begin + top
        if halved:
            half = row >> 1
            _convert_two(
                luma[row].ctypes.data, luma[row + 1].ctypes.data, blue[half].ctypes.data,
                red[half].ctypes.data, groups, tone.ctypes.data, place, step,
            )  # fmt: skip
        else:
            for r in range(_ROWS):
                _convert_one(
                    luma[row + r].ctypes.data, blue[row + r].ctypes.data, red[row + r].ctypes.data,
                    groups, tone.ctypes.data, place + 3 * step * r, step,
                )  # fmt: skip
        for r in range(_ROWS):
            line = (luma[row + r], blue[(row + r) >> halved], red[(row + r) >> halved])
            _convert_rest(line, groups * _PAIR, width, tone, colours[r])
        target = y.ctypes.data + top * y.strides[0]
        for i in range(outputs):
            _weigh(
                place + 2 * first[i], step, part + i * parts.strides[0], parts.shape[2], low_bits,
                bound + i * bounds.strides[0], bits, target + 3 * i, y.strides[0],
            )  # fmt: skip


@compiled()
def _convert_rest(line: Any, begin: int, width: int, tone: Any, colours: Any) -> None:
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
def _convert_one(
    emit: Emitter, luma: Value, blue: Value, red: Value, groups: Value, tone: Value, y: Value,
    y_step: Value,
) -> None:  # fmt: skip
    """A row of `_PAIR` times `groups` pixels; its colours lie `y_step` bytes apart in `y`."""
    _convert(emit, [luma], (blue, red), groups, tone, (y, y_step))


@generated(address, address, address, address, count, address, address, count)
def _convert_two(
    emit: Emitter, upper: Value, lower: Value, blue: Value, red: Value, groups: Value, tone: Value,
    y: Value, y_step: Value,
) -> None:  # fmt: skip
    """As `_convert_one`, of two rows that share their colour; the second's follow the first's."""
    _convert(emit, [upper, lower], (blue, red), groups, tone, (y, y_step))


def _convert(
    emit: Emitter,
    lumas: Sequence[Value],
    chroma: Sequence[Value],
    groups: Value,
    tone: Value,
    y: Sequence[Value],
) -> None:
    """Write the code of a loop over the groups of rows that share their colour.

    Both terms of a sum are raised so far that 255 is the largest number of 16 bits: an addition
    that saturates cuts off above, and a subtraction that does, of what they were raised by, below.
    Pixels of colour are loaded in an order in which their doubles come out side by side.
    """
    builder = emit.builder
    numbers = [_everywhere(emit, emit.bytes_at(tone), 4 * i) for i in range(6)]
    scale, black, to_red, to_blue, blue_to_green, red_to_green = numbers
    places = [emit.move(emit.bytes_at(y[0]), emit.times(y[1], c)) for c in range(3 * len(lumas))]
    raised, first = _MOST - 255, 1 << 14
    with emit.when(emit.nonzero(groups)), emit.loop(groups) as loop:
        half = emit.times(loop.index, _PAIR // 2)
        u, v = (
            builder.sub(_eighths(emit, emit.bytes_at(plane), half, _DOUBLED), _shorts(1024))
            for plane in chroma
        )
        green = builder.add(_high(builder, u, blue_to_green), _high(builder, v, red_to_green))
        shares = [
            builder.add(share, _shorts(raised - first))
            for share in (_high(builder, v, to_red), green, _high(builder, u, to_blue))
        ]
        for part in range(2):
            begin = emit.add(emit.times(loop.index, _PAIR), 16 * part)
            lanes = [8 * (k // 8) + 4 * part + k % 8 // 2 for k in range(16)]
            spread = [_picked(builder, share, share, lanes) for share in shares]
            for row, luma in enumerate(lumas):
                bright = builder.sub(_eighths(emit, emit.bytes_at(luma), begin), black)
                bright = builder.add(_high(builder, bright, scale), _shorts(first))
                for place, share in zip(places[3 * row :], spread, strict=False):
                    value = _saturated(emit, "sadd", bright, share)
                    value = _saturated(emit, "usub", value, _shorts(raised))
                    where = emit.pointer(place, emit.times(begin, 2), _SHORTS)
                    builder.store(value, where, align=2)


_DOUBLED = [*range(4), *range(8, 12), *range(4, 8), *range(12, 16)]
"""The order of pixels in which vector units double them without moving them between halves."""


@generated(address, count, address, count, count, address, count, address, count)
def _weigh(
    emit: Emitter, x: Value, x_step: Value, weights: Value, groups: Value, low_bits: Value,
    bounds: Value, bits: Value, y: Value, y_step: Value,
) -> None:  # fmt: skip
    """An output pixel of `_ROWS` rows: colours `x_step` bytes apart, rows of `y` by `y_step`.

    The upper parts of the weights decide, wherever the rest could not change the rounded sum. One
    byte more is written, where the next pixel begins.
    """
    builder = emit.builder
    totals = _products(emit, x, x_step, weights, groups)
    kind = totals.type
    half = builder.shl(ir.Constant(INT32, 1), builder.trunc(emit.add(bits, -1), INT32))
    shift = _splat(builder, builder.trunc(bits, INT32), kind)
    totals = builder.shl(totals, _splat(builder, builder.trunc(low_bits, INT32), kind))
    totals = builder.add(totals, _splat(builder, half, kind))
    less, more = (
        _splat(builder, emit.load(emit.bytes_at(bounds), 4 * i, INT32), kind) for i in range(2)
    )
    least = builder.lshr(builder.sub(totals, less), shift)
    most = builder.lshr(builder.add(totals, more), shift)
    unsure = builder.bitcast(builder.icmp_signed("!=", least, most), ir.IntType(kind.count))

    def exact() -> list[Value]:
        rest = _products(emit, x, x_step, emit.add(weights, emit.times(groups, 2 * GROUP)), groups)
        return [builder.lshr(builder.add(totals, rest), shift)]

    decided = builder.icmp_unsigned("==", unsure, ir.Constant(unsure.type, 0))
    (value,) = emit.choose(decided, lambda: [least], exact)
    pixels = builder.trunc(value, ir.VectorType(BYTE, kind.count))
    rows = builder.bitcast(pixels, ir.VectorType(INT32, _ROWS))
    for r in range(_ROWS):
        place = emit.pointer(emit.bytes_at(y), emit.times(y_step, r), INT32)
        builder.store(builder.extract_element(rows, ir.Constant(INT32, r)), place, align=1)


def _products(emit: Emitter, x: Value, x_step: Value, weights: Value, groups: Value) -> Value:
    """The weighted sums of three colours of each row, and a fourth that is 0, side by side."""
    lanes = min(HOST.lanes, 8)
    pairs, builder = Emitter(emit.builder, lanes), emit.builder
    shorts, sums = ir.VectorType(_SHORT, 2 * lanes), ir.VectorType(INT32, lanes)
    nothing = ir.Constant(sums, None)
    lines = [emit.move(emit.bytes_at(x), emit.times(x_step, c)) for c in range(3 * _ROWS)]
    with emit.loop(groups, *[nothing] * len(lines)) as loop:
        totals = list(loop.state)
        for part in range(GROUP // (2 * lanes)):
            begin = emit.add(emit.times(loop.index, 2 * GROUP), 4 * lanes * part)
            weight = builder.load(emit.pointer(emit.bytes_at(weights), begin, shorts), align=2)
            for c, line in enumerate(lines):
                some = builder.load(emit.pointer(line, begin, shorts), align=2)
                totals[c] = builder.add(totals[c], pair_products(pairs, some, weight))
        loop.next = totals
    return _summed(builder, [*loop.next[:3], nothing, *loop.next[3:], nothing])


def _summed(builder: Any, vectors: Sequence[Value]) -> Value:
    """The sums of the lanes of eight vectors, side by side.

    Neighbours are added within each four lanes, where vector units move them most cheaply.
    """
    lanes = vectors[0].type.count
    fours = range(0, lanes, 4)
    for _ in range(2):
        pairs = zip(vectors[::2], vectors[1::2], strict=True)
        vectors = [
            builder.add(
                *(
                    _picked(builder, a, b, [at + lane for at in fours for lane in which])
                    for which in ((0, 2, lanes, lanes + 2), (1, 3, lanes + 1, lanes + 3))
                )
            )
            for a, b in pairs
        ]
    first, second = vectors
    parts = [
        _picked(
            builder, first, second, [lane + at for lane in (*range(4), *range(lanes, lanes + 4))]
        )
        for at in fours
    ]
    return builder.add(*parts) if len(parts) == 2 else parts[0]


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


def _eighths(emit: Emitter, base: Value, offset: Value, order: Sequence[int] = ()) -> Value:
    """Sixteen bytes times 8, in this order."""
    builder = emit.builder
    some = builder.load(emit.pointer(base, offset, _BYTES), align=1)
    some = _picked(builder, some, some, order) if order else some
    return builder.shl(builder.zext(some, _SHORTS), _shorts(3))


def _high(builder: Any, a: Value, b: Value) -> Value:
    """The upper halves of products of 16 bits."""
    product = builder.mul(builder.sext(a, _WIDE), builder.sext(b, _WIDE))
    return builder.trunc(builder.ashr(product, ir.Constant(_WIDE, [16] * 16)), _SHORTS)


def _saturated(emit: Emitter, operation: str, a: Value, b: Value) -> Value:
    """A sum or difference of 16 bits that stays at the end of its range, signed or not."""
    function = emit.function(f"llvm.{operation}.sat.v16i16", _SHORTS, [_SHORTS, _SHORTS])
    return emit.builder.call(function, [a, b])


def _picked(builder: Any, a: Value, b: Value, lanes: Sequence[int]) -> Value:
    """Some lanes of two vectors, those of the second numbered behind those of the first."""
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(INT32, len(lanes)), list(lanes)))
