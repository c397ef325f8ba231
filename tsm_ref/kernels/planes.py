"""Pictures as decoders leave them, brightness and colour in planes, made smaller along their rows.

Eight rows at a time become red, green and blue in the nearest caches, with the arithmetic of
`tsm_ref.video.planes`, and are weighed there as `tsm_ref.kernels.resize` does: nobody else wants
the picture in colour. The rows lie side by side in a vector, so that a sum along each of them needs
no sum of lanes. Nothing is checked here: shapes are the caller's duty.
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

ROWS = 8
"""Rows whose pixels lie side by side: a picture must have as many."""
_GROUP = 32
"""Pixels of a row that become colours at once; they share half as many pixels of colour."""
_GROUPS = 4
"""Groups that become colours before they are weighed, if there are so many."""
_AHEAD = 256
"""Bytes ahead of a row that are asked for: so many rows at once are more than a cache foresees."""
_VECTOR = 4 * ROWS
"""Bytes of two neighbouring pixels of all rows in one colour, 16 bits for each."""
_COLUMN = 3 * _VECTOR
"""Bytes of two neighbouring pixels of all rows."""
_SHORT = ir.IntType(16)
_SHORTS = ir.VectorType(_SHORT, 16)
_WIDE = ir.VectorType(INT32, 16)
_BYTES = ir.VectorType(BYTE, 16)
_MOST = 32767
"""The largest number of 16 bits."""


def split(
    first: NDArray[np.int64], weights: NDArray[np.int32]
) -> tuple[NDArray[np.int64], int, NDArray[np.int16], NDArray[np.int32]]:
    """Weights (n, taps) from column ``first[i]`` on, as `across_planes` reads them.

    The even columns (n,) with which they begin then; the bits of ``upper * 2**bits + rest``; both
    parts (n, 2, pairs, 2) of 16 bits; and how much the rest of an output can take from its sum and
    add to it at the most (n, 2).

    >>> begin, bits, parts, bounds = split(np.array([3]), np.array([[1 << 16, 5]], np.int32))
    >>> begin.tolist(), bits, parts[0].tolist(), bounds.tolist()
    ([2], 2, [[[0, 16384], [1, 0]], [[0, 0], [1, 0]]], [[0, 255]])
    """
    outputs, taps = weights.shape
    odd = first % 2
    whole = np.zeros((outputs, taps + 1 + (taps + 1) % 2), np.int32)
    for late in range(2):
        whole[odd == late, late : late + taps] = weights[odd == late]
    bits = 0
    while (int(whole.max()) + (1 << bits >> 1)) >> bits > _MOST:
        bits += 1
    upper = (whole + (1 << bits >> 1)) >> bits
    rest = whole - (upper << bits)
    bounds = 255 * np.stack([-np.minimum(rest, 0).sum(1), np.maximum(rest, 0).sum(1)], axis=1)
    parts = np.stack([upper, rest], axis=1).reshape(outputs, 2, -1, 2)
    return first - odd, bits, parts.astype(np.int16), bounds.astype(np.int32)


@compiled()
def across_planes(
    planes: Any, width: int, halved: int, begin: int, tone: Any, weights: Any, bits: int, y: Pixels
) -> None:
    """Weighted sums along the rows from `begin` on, in colour: to `y` (rows, n + 1, 3).

    `planes` are brightness, blueness and redness, each (rows, bytes of a row); the last two have
    one pixel for two along the row, and along the column where `halved` is 1. `begin` and the
    number of rows are even, and these are `ROWS` or more. `tone` (6,) int32 is that of
    `tsm_ref.video.planes`, `weights` come from `split`. Sums are in units of ``2**-bits``. What
    stands behind the last output of a row means nothing.
    """
    luma, blue, red = planes
    first, low_bits, parts, bounds = weights
    rows, outputs, pairs = y.shape[0], y.shape[1] - 1, parts.shape[2]
    colours = np.empty((width // 2 + _GROUP + pairs, 3, ROWS, 2), np.int16)
    place, part, bound = colours.ctypes.data, parts.ctypes.data, bounds.ctypes.data
    pitches = (luma.strides[0], blue.strides[0], red.strides[0])
    groups = width // _GROUP
    rounded = (groups + 1) * _GROUP  # the rest is converted with what follows it, if there is room
    if luma.shape[1] >= rounded and min(blue.shape[1], red.shape[1]) >= rounded // 2:
        groups = -(-width // _GROUP)
    for block in range(0, rows, ROWS):
        top = min(block, rows - ROWS)
        row, half = begin + top, (begin + top) >> halved
        if groups * _GROUP < width:
            for r in range(ROWS):
                line = luma[row + r], blue[(row + r) >> halved], red[(row + r) >> halved]
                _convert_rest(line, groups * _GROUP, width, tone, colours[:, :, r])
        done = min(first[0] // _GROUP, groups)
        for i in range(outputs):
            while done < groups and done * _GROUP < first[i] + 2 * pairs:
                some = min(_GROUPS, groups - done)
                lights = luma[row].ctypes.data + done * _GROUP
                blues = blue[half].ctypes.data + done * _GROUP // 2
                reds = red[half].ctypes.data + done * _GROUP // 2
                goal = place + done * _GROUP // 2 * _COLUMN
                if halved:
                    _convert_halved(lights, blues, reds, *pitches, some, tone.ctypes.data, goal)
                else:
                    _convert_whole(lights, blues, reds, *pitches, some, tone.ctypes.data, goal)
                done += some
            _weigh(
                place + first[i] // 2 * _COLUMN, part + i * parts.strides[0], pairs, low_bits,
                bound + i * bounds.strides[0], bits,
                y.ctypes.data + top * y.strides[0] + 3 * i, y.strides[0],
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
        column = colours[x >> 1]
        column[0, x & 1] = min(max(bright + ((v * to_red) >> 16), 0), 255)
        column[1, x & 1] = min(max(bright + green, 0), 255)
        column[2, x & 1] = min(max(bright + ((u * to_blue) >> 16), 0), 255)


_BLOCK = (*[address] * 3, *[count] * 3, count, address, address)


@generated(*_BLOCK)
def _convert_halved(emit: Emitter, *values: Value) -> None:
    """As `_convert`, of rows every two of which share their colour."""
    _convert(emit, *values, per_half=ROWS // 4)


@generated(*_BLOCK)
def _convert_whole(emit: Emitter, *values: Value) -> None:
    """As `_convert`, of rows each of which has its own colour."""
    _convert(emit, *values, per_half=ROWS // 2)


def _convert(
    emit: Emitter, luma: Value, blue: Value, red: Value, luma_step: Value, blue_step: Value,
    red_step: Value, groups: Value, tone: Value, y: Value, *, per_half: int,
) -> None:  # fmt: skip
    """Write the code of a loop over groups of `_GROUP` pixels of `ROWS` rows.

    The rows of a plane lie so many bytes apart. Half of the rows have `per_half` rows of colour.

    Both terms of a sum are raised so far that 255 is the largest number of 16 bits: an addition
    that saturates cuts off above, and a subtraction that does, of what they were raised by, below.
    """
    builder = emit.builder
    scale, black, *shares_of = (_everywhere(emit, emit.bytes_at(tone), 4 * i) for i in range(6))
    raised, first = _MOST - 255, 1 << 14
    with emit.loop(groups) as loop:
        half = emit.times(loop.index, _GROUP // 2)
        place = emit.move(emit.bytes_at(y), emit.times(loop.index, _GROUP // 2 * _COLUMN))
        us, vs = (
            _shorts_of(emit, _woven(builder, _rows(emit, plane, step, half, per_half), 1))
            for plane, step in ((blue, blue_step), (red, red_step))
        )
        lights = []
        for part in range(2):
            begin = emit.add(emit.times(loop.index, _GROUP), 16 * part)
            rows = _rows(emit, luma, luma_step, begin, ROWS // 2)
            lights += _shorts_of(emit, _woven(builder, rows, 2))
        each = len(lights) // len(us)
        for k, (u, v) in enumerate(zip(us, vs, strict=True)):
            shares = [
                builder.add(share, _shorts(raised - first))
                for share in _shares(builder, u, v, *shares_of)
            ]
            for column in range(each):
                at = each * k + column
                bright = builder.sub(builder.shl(lights[at], _shorts(3)), black)
                bright = builder.add(_high(builder, bright, scale), _shorts(first))
                for colour, share in enumerate(shares):
                    spread = _picked(builder, share, share, _spread(column, per_half))
                    value = _saturated(emit, "sadd", bright, spread)
                    value = _saturated(emit, "usub", value, _shorts(raised))
                    where = emit.pointer(place, at * _COLUMN + colour * _VECTOR, _SHORTS)
                    builder.store(value, where, align=2)


def _shares(
    builder: Any, u: Value, v: Value, to_red: Value, to_blue: Value, blue_to_green: Value,
    red_to_green: Value,
) -> tuple[Value, Value, Value]:  # fmt: skip
    """What blueness and redness add to red, green and blue."""
    u, v = (builder.sub(builder.shl(each, _shorts(3)), _shorts(1024)) for each in (u, v))
    green = builder.add(_high(builder, u, blue_to_green), _high(builder, v, red_to_green))
    return _high(builder, v, to_red), green, _high(builder, u, to_blue)


def _rows(emit: Emitter, base: Value, step: Value, offset: Value, per_half: int) -> list[Value]:
    """Sixteen bytes of each row of the upper half, and of the lower, which follow them."""
    lines = [emit.move(emit.bytes_at(base), emit.times(step, r)) for r in range(2 * per_half)]
    for line in lines:
        emit.prefetch(line, emit.add(offset, _AHEAD))
    loaded = [emit.builder.load(emit.pointer(line, offset, _BYTES), align=1) for line in lines]
    return [
        _picked(emit.builder, upper, lower, range(32))
        for upper, lower in zip(loaded[:per_half], loaded[per_half:], strict=True)
    ]


def _woven(builder: Any, rows: Sequence[Value], unit: int) -> list[Value]:
    """The same bytes, units of `unit` bytes of all rows in turn, in each half of a vector."""
    if len(rows) == 1:
        return list(rows)
    woven = []
    for part in range(2):
        begins = range(8 * part, 8 * part + 8, unit)
        lanes = [
            half + row + at + byte
            for half in (0, 16)
            for at in begins
            for row in (0, 32)
            for byte in range(unit)
        ]
        pairs = zip(rows[::2], rows[1::2], strict=True)
        woven += _woven(builder, [_picked(builder, a, b, lanes) for a, b in pairs], 2 * unit)
    return woven


def _shorts_of(emit: Emitter, vectors: Sequence[Value]) -> list[Value]:
    """Bytes as numbers of 16 bits: of each vector the first of each half, then the others."""
    nothing = ir.Constant(ir.VectorType(BYTE, 32), None)
    found = []
    for vector in vectors:
        for part in range(2):
            bytes_of = [half + 8 * part + k for half in (0, 16) for k in range(8)]
            lanes = [lane for each in bytes_of for lane in (each, 32 + each)]
            wide = _picked(emit.builder, vector, nothing, lanes)
            found.append(emit.builder.bitcast(wide, _SHORTS))
    return found


def _spread(column: int, per_half: int) -> list[int]:
    """The lane of colour that each pixel of a column has, where half a vector has so many rows."""
    rows = range(ROWS // 2)
    lanes = [column * per_half + row * per_half // len(rows) for row in rows]
    return [half + lane for half in (0, 8) for lane in lanes for _ in range(2)]


@generated(address, address, count, count, address, count, address, count)
def _weigh(
    emit: Emitter, x: Value, weights: Value, pairs: Value, low_bits: Value, bounds: Value,
    bits: Value, y: Value, y_step: Value,
) -> None:  # fmt: skip
    """An output pixel of `ROWS` rows, which lie `y_step` bytes apart in `y`.

    The upper parts of the weights decide, wherever the rest could not change the rounded sum. One
    byte more is written, where the next pixel begins.
    """
    builder, lanes = emit.builder, min(HOST.lanes, ROWS)
    kind = ir.VectorType(INT32, lanes)
    half = builder.shl(ir.Constant(INT32, 1), builder.trunc(emit.add(bits, -1), INT32))
    numbers = [half, *(builder.trunc(number, INT32) for number in (low_bits, bits))]
    numbers += [emit.load(emit.bytes_at(bounds), 4 * i, INT32) for i in range(2)]
    half, low, shift, less, more = (_splat(builder, number, kind) for number in numbers)
    rest_at = emit.add(weights, emit.times(pairs, 4))

    def rounded(line: Value, total: Value) -> Value:
        raised = builder.add(builder.shl(total, low), half)
        least = builder.lshr(builder.sub(raised, less), shift)
        most = builder.lshr(builder.add(raised, more), shift)
        unsure = builder.bitcast(builder.icmp_signed("!=", least, most), ir.IntType(lanes))

        def exact() -> list[Value]:
            (rest,) = _products(emit, [line], rest_at, pairs)
            return [builder.lshr(builder.add(raised, rest), shift)]

        decided = builder.icmp_unsigned("==", unsure, ir.Constant(unsure.type, 0))
        return emit.choose(decided, lambda: [least], exact)[0]

    lines = [
        emit.move(emit.bytes_at(x), emit.integer(colour * _VECTOR + 4 * begin))
        for begin in range(0, ROWS, lanes)
        for colour in range(3)
    ]
    totals = _products(emit, lines, weights, pairs)
    values = [rounded(line, total) for line, total in zip(lines, totals, strict=True)]
    for begin in range(0, ROWS, lanes):
        pixel, green, blue = values[3 * begin // lanes :][:3]
        for k, colour in enumerate((green, blue), 1):
            by = ir.Constant(kind, [8 * k] * lanes)
            pixel = builder.or_(pixel, builder.shl(colour, by))
        for lane in range(lanes):
            row = emit.times(y_step, begin + lane)
            one = builder.extract_element(pixel, ir.Constant(INT32, lane))
            builder.store(one, emit.pointer(emit.bytes_at(y), row, INT32), align=1)


def _products(emit: Emitter, lines: Sequence[Value], weights: Value, pairs: Value) -> list[Value]:
    """The weighted sums of some rows in each lane, of every line of pairs of pixels."""
    builder, lanes = emit.builder, min(HOST.lanes, ROWS)
    vectors = Emitter(builder, lanes)
    shorts, sums = ir.VectorType(_SHORT, 2 * lanes), ir.VectorType(INT32, lanes)
    with emit.loop(pairs, *[ir.Constant(sums, None)] * len(lines)) as loop:
        two = emit.load(emit.bytes_at(weights), emit.times(loop.index, 4), INT32)
        weight = builder.bitcast(_splat(builder, two, sums), shorts)
        begin = emit.times(loop.index, _COLUMN)
        for k, line in enumerate(lines):
            some = builder.load(emit.pointer(line, begin, shorts), align=2)
            loop.next[k] = builder.add(loop.state[k], pair_products(vectors, some, weight))
    return loop.next


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
