"""Quantised values in blocks of sixteen channels, pixel after pixel: what a fused block works on.

A *block* holds for each pixel the values of `CHANNELS` neighbouring channels beside each other, so
a vector is one pixel: taps of a depthwise convolution are other pixels, and its edges are whole.
Values are bytes without a sign (signed ones have 128 added), in the type in which
`tsm_ref.kernels.integer.tile` multiplies: 16 bits where it multiplies pairs, 8 where quads.

Here are `products`, the 1x1 convolution, and `taps`, the depthwise one; how blocks are made from
planes stands in `tsm_ref.kernels.integer.planes`. Results are finished as
`tsm_ref.engine.exact` says (steps 2 and 3), with clamps after the rounding instead of before it:
the same for ends that are whole numbers, and `fits` sees to it that nothing leaves the range of
32 bits in between.
"""

import platform
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from tsm_ref.kernels.integer import units
from tsm_ref.kernels.integer.tile import (
    SHORT,
    dot,
    nearest,
    pair_products,
    picked,
    splat,
)
from tsm_ref.kernels.vector import (
    BYTE,
    INT,
    INT32,
    Emitter,
    Value,
    address,
    count,
    generated,
)

Array = NDArray[Any]

CHANNELS = 16
"""Channels of a block."""

UNIT = units.UNIT
if UNIT.depth > 1:  # these kernels work vector by vector
    UNIT = units.VNNI if UNIT.needs else units.QUADS
elif UNIT.bytes or UNIT.signed:
    UNIT = units.PAIRS
"""What multiplies here."""

_X86 = platform.machine() in ("x86_64", "AMD64")
TRIED = _X86 and UNIT.lanes < 16 and not UNIT.needs
"""Whether the code for this unit ever ran: where it did not, layers are carried out one by one."""

GROUP = UNIT.group
HALF = CHANNELS // 2

STEPS = CHANNELS // GROUP
"""Groups of k in a block: what `products` multiplies at once, 4 bytes of a pixel each."""

PIXEL = 4 * STEPS
"""Bytes of a pixel of one block."""

PIXELS = {16: 12, 8: 5, 4: 2}[UNIT.lanes]
"""Pixels of a tile of `products`: as many as the registers can hold the sums of."""

OUTPUTS = 2
"""Pixels that `taps` makes at once."""

LANES, PARTS = UNIT.lanes, CHANNELS // UNIT.lanes
ORDER = [0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15] if LANES == 8 else list(range(16))
"""The channels of a block in its vectors of sums: as AVX2, whose halves stay apart, unpacks."""

SHORTS, BYTES = ir.VectorType(SHORT, CHANNELS), ir.VectorType(BYTE, CHANNELS)
VALUES = BYTES if GROUP == 4 else SHORTS
SUMS = ir.VectorType(INT32, LANES)

TAPS = ((0, 3), (1, 4), (2, 5), (6, 7), (8, -1), (-1, 6), (7, 8))
"""The pairs of taps of a 3x3 kernel, row by row, that `taps` multiplies by: two rows of a column;
then the last row from an even column (two columns and the third) and from an odd one."""


def fits(*factors: Array) -> bool:
    """Whether no sum of 32 bits leaves that range when it is scaled."""
    return all(bool((factor < 1).all()) for factor in factors)


def kernel(*kinds: Any) -> Callable[[Callable[..., None]], Any]:
    """As `generated`, with vectors of the unit's length."""

    def bind(write: Callable[..., None]) -> Any:
        return generated(*kinds)(lambda emit, *values: write(Emitter(emit.builder, LANES), *values))

    return bind


# What the kernels read


def blocks(channels: int) -> int:
    """How many blocks hold some channels."""
    return -(-channels // CHANNELS)


def halved(channels: int) -> bool:
    """Whether the last block of a result holds half its channels or less."""
    return 0 < channels % CHANNELS <= HALF


def ordered(vector: Array, result: bool = False) -> Array:
    """A vector (channels, ...) as `products` and `taps` read it: (blocks, `CHANNELS`, ...).

    Of a `result`, which goes into planes, a last block that is `halved` stands in the first lanes.
    """
    channels, *rest = vector.shape
    full = np.zeros((blocks(channels) * CHANNELS, *rest), vector.dtype)
    full[:channels] = vector
    tiled = full.reshape(-1, CHANNELS, *rest)
    found = np.ascontiguousarray(tiled[:, ORDER])
    if result and halved(channels):
        found[-1] = tiled[-1]
    return found


def pack_products(matrix: Array, result: bool = False) -> Array:
    """Weights (outputs, k) as `products` reads them: (blocks, groups of k, `CHANNELS`, `GROUP`)."""
    outputs, k = matrix.shape
    steps = -(-k // GROUP)
    full = np.zeros((outputs, steps * GROUP), UNIT.weight_type)
    full[:, :k] = matrix
    tiled = ordered(full.reshape(outputs, steps, GROUP), result)
    return np.ascontiguousarray(tiled.transpose(0, 2, 1, 3))


def pack_taps(weight: Array) -> NDArray[np.int16]:
    """Weights (C, 9) as `taps` reads them: (blocks, pairs of `TAPS`, `CHANNELS`, 2)."""
    channels = len(weight)
    blocks = -(-channels // CHANNELS)
    full = np.zeros((blocks * CHANNELS, 10), np.int16)
    full[:channels, :9] = weight  # the tap -1 is the zero behind them
    pairs = full[:, np.array(TAPS)].reshape(blocks, CHANNELS, len(TAPS), 2)[:, ORDER]
    return np.ascontiguousarray(pairs.transpose(0, 2, 1, 3))


# Finishing sums


def _finished(
    emit: Emitter, sums: Sequence[Value], scales: Sequence[Value], ends: Sequence[Value],
    rectified: bool,
) -> Value:  # fmt: skip
    """The results of a pixel, all or half of a block, as numbers of 16 bits, channel by channel.

    The ends are (zero point, least, largest result), all of bytes without a sign; of what is
    `rectified` the first two are 0.
    """
    builder = emit.builder
    whole = [
        nearest(emit, emit.product(builder.sitofp(total, emit.vector), scale), SUMS)
        for total, scale in zip(sums, scales, strict=True)
    ]
    if LANES != 8:
        value = joined(emit, whole)
        zero, low, high = (splat(emit, end, value.type) for end in ends)
        low, high = builder.sub(low, zero), builder.sub(high, zero)
        short = ir.VectorType(SHORT, value.type.count)
        return builder.trunc(builder.add(_clamped(emit, value, low, high), zero), short)
    if len(whole) == 1:
        both = _finished_pairs(emit, whole * 2, ends, rectified)
        return picked(emit, both, both, [0, 1, 2, 3, 8, 9, 10, 11])
    return _finished_pairs(emit, whole, ends, rectified)


def _finished_pairs(
    emit: Emitter, whole: Sequence[Value], ends: Sequence[Value], rectified: bool
) -> Value:
    """Two vectors of whole numbers as one of 16 bits, with what AVX2 has to offer."""
    builder = emit.builder
    zero, low, high = (splat(emit, end, SHORTS) for end in ends)
    if rectified:
        pack = emit.function("llvm.x86.avx2.packusdw", SHORTS, [SUMS] * 2)
        value = builder.call(pack, whole)
        return builder.select(builder.icmp_unsigned("<", high, value), high, value)
    pack = emit.function("llvm.x86.avx2.packssdw", SHORTS, [SUMS] * 2)
    add = emit.function("llvm.sadd.sat.v16i16", SHORTS, [SHORTS] * 2)
    return _clamped(emit, builder.call(add, [builder.call(pack, whole), zero]), low, high)


def joined(emit: Emitter, vectors: Sequence[Value]) -> Value:
    """Some vectors as one."""
    found = list(vectors)
    while len(found) > 1:
        lanes = range(2 * found[0].type.count)
        found = [picked(emit, a, b, lanes) for a, b in zip(found[::2], found[1::2], strict=True)]
    return found[0]


def _clamped(emit: Emitter, value: Value, low: Value, high: Value) -> Value:
    builder = emit.builder
    above = builder.select(builder.icmp_signed(">", low, value), low, value)
    return builder.select(builder.icmp_signed("<", high, above), high, above)


def store(emit: Emitter, value: Value, base: Value, offset: Value | int = 0) -> None:
    """Store a vector wherever it may lie."""
    emit.builder.store(value, emit.pointer(base, offset, value.type), align=1)


def read(emit: Emitter, kind: Any, base: Value, offset: Value | int = 0) -> Value:
    """Load a value of a kind from wherever it may lie."""
    return emit.builder.load(emit.pointer(base, offset, kind), align=1)


# The 1x1 convolution


def _products(to: Any, rectified: bool = False, parts: int = PARTS) -> Any:
    """The kernel of one block of outputs, or of half a one: of so many vectors of sums.

    A result is stored as a vector of the type `to`.
    """

    def write(
        emit: Emitter, x: Value, steps: Value, weights: Value, bias: Value, factor: Value,
        y: Value, places: Value, tiles: Value, *ends: Value,
    ) -> None:  # fmt: skip
        x, weights, bias, factor, y = map(emit.bytes_at, (x, weights, bias, factor, y))
        with emit.loop(tiles, emit.bytes_at(places)) as tile:
            (row,) = tile.state
            where = [emit.load(row, 8 * i, INT) for i in range(2 * PIXELS)]
            sums = [
                read(emit, SUMS, bias, 4 * LANES * part)
                for _ in range(PIXELS)
                for part in range(parts)
            ]
            xs = [emit.move(x, offset) for offset in where[:PIXELS]]
            ahead = emit.times(steps, 4 * CHANNELS)
            with emit.loop(steps, weights, *sums) as k:
                w, *totals = k.state
                emit.prefetch(w, ahead, level=2)  # the next block's
                _step(emit, totals, xs, emit.times(k.index, 4), w)
                k.next = [emit.move(w, emit.integer(4 * CHANNELS)), *totals]
            sums = k.next[1:]
            scales = [emit.load(factor, 4 * LANES * part) for part in range(parts)]
            for i, offset in enumerate(where[PIXELS:]):
                own = sums[i * parts : (i + 1) * parts]
                result = _finished(emit, own, scales, ends, rectified)
                if to != SHORTS:
                    result = emit.builder.trunc(result, to)
                store(emit, result, y, offset)
            tile.next = [emit.move(row, emit.integer(16 * PIXELS))]

    return kernel(address, count, *[address] * 5, count, count, count, count)(write)


def _step(emit: Emitter, totals: list[Value], xs: Sequence[Value], at: Value, w: Value) -> None:
    """Add the products of one group of k to the sums of all pixels."""
    kind = ir.VectorType(BYTE if GROUP == 4 else SHORT, LANES * GROUP)
    parts = len(totals) // len(xs)
    factors = [read(emit, kind, w, 4 * LANES * part) for part in range(parts)]
    for i, x in enumerate(xs):
        scalar = read(emit, INT32, x, at)
        value = emit.builder.bitcast(splat(emit, scalar, SUMS), kind)
        for part, own in enumerate(factors):
            totals[i * parts + part] = dot(emit, UNIT, totals[i * parts + part], value, own)


products, rectified_products = (_products(VALUES, rectified) for rectified in (False, True))
products_to_bytes = _products(BYTES)
half_products_to_bytes = _products(ir.VectorType(BYTE, HALF), parts=PARTS // 2)
"""``products(x, steps, weights, bias, factor, y, places, tiles, *ends)``: a block of outputs at
some tiles of `PIXELS` pixels, from `steps` groups of k. `places` are rows of offsets: of the
pixels in x, then in y. What is rectified has the zero point and the least result 0."""


# The depthwise convolution


def _taps(stride: int, rectified: bool) -> Any:
    """The kernel of one row of one block: `OUTPUTS` pixels at a time."""

    def write(
        emit: Emitter, x: Value, row: Value, weights: Value, bias: Value, factor: Value, y: Value,
        pixel: Value, turns: Value, *ends: Value,
    ) -> None:  # fmt: skip
        weights, bias, factor = map(emit.bytes_at, (weights, bias, factor))
        x, y = emit.bytes_at(x), emit.bytes_at(y)
        scales = [emit.load(factor, 4 * LANES * part) for part in range(PARTS)]
        starts = [read(emit, SUMS, bias, 4 * LANES * part) for part in range(PARTS)]
        with emit.loop(turns, x, y) as turn:
            place, out = turn.state
            rows = [place, emit.move(place, row), emit.move(place, emit.times(row, 2))]
            sums = [_row_sums(emit, rows, weights, starts[part], part, stride)
                    for part in range(PARTS)]  # fmt: skip
            for i in range(OUTPUTS):
                result = _finished(emit, [own[i] for own in sums], scales, ends, rectified)
                if GROUP == 4:
                    result = emit.builder.trunc(result, BYTES)
                store(emit, result, out, emit.times(pixel, i))
            turn.next = [emit.move(place, emit.integer(OUTPUTS * stride * PIXEL)),
                         emit.move(out, emit.times(pixel, OUTPUTS))]  # fmt: skip

    types = [address, count, *[address] * 4, count, count, count, count, count]
    return kernel(*types)(write)


def _row_sums(
    emit: Emitter, rows: Sequence[Value], weights: Value, start: Value, part: int, stride: int
) -> list[Value]:
    """The sums of `OUTPUTS` neighbouring pixels, for the channels of one vector."""
    builder = emit.builder
    lanes = ORDER[part * LANES : (part + 1) * LANES]
    both = [half * CHANNELS + lane for lane in lanes for half in range(2)]

    def pixel(row: int, column: int) -> Value:
        value = read(emit, VALUES, rows[row], column * PIXEL)
        return builder.zext(value, SHORTS) if GROUP == 4 else value

    def product(pair: Value, which: int) -> Value:
        place = 4 * (which * CHANNELS + part * LANES)
        factor = read(emit, ir.VectorType(SHORT, 2 * LANES), weights, place)
        return pair_products(emit, pair, factor)

    columns = (OUTPUTS - 1) * stride + 3
    two = [picked(emit, pixel(0, c), pixel(1, c), both) for c in range(columns)]
    last = [picked(emit, pixel(2, c), pixel(2, c + 1), both) for c in range(0, columns, 2)]
    found = []
    for first in range(0, OUTPUTS * stride, stride):
        total = start
        for j in range(3):
            total = builder.add(total, product(two[first + j], j))
        for j in range(2):
            pair = last[first // 2 + j]
            total = builder.add(total, product(pair, (5 if first % 2 else 3) + j))
        found.append(total)
    return found


taps_near, taps_apart = _taps(1, rectified=False), _taps(2, rectified=False)
rectified_taps_near, rectified_taps_apart = _taps(1, rectified=True), _taps(2, rectified=True)
"""``taps_near(x, row, weights, bias, factor, y, pixel, turns, *ends)``: `turns` times `OUTPUTS`
pixels of a row, `pixel` bytes apart in y, from the first of three input rows that are `row` bytes
apart; strides are 1 and 2."""
