"""Quantised values one by one: finishing sums, adding, rounding to 8 bits and back.

The formulas are those of `tsm_ref.reference.quantised`: every product and every sum is rounded to
float32 by itself, so the bits are the same.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from tsm_ref.kernels.cache import compiled
from tsm_ref.kernels.integer.tile import rounded, splat
from tsm_ref.kernels.machine import HOST
from tsm_ref.kernels.vector import BYTE, INT32, Emitter, Value, address, count, generated, real

Array = NDArray[Any]

PARTS = 4
"""Vectors of float32 that become one of bytes."""

TOGETHER = PARTS * HOST.lanes

ADD, MULTIPLY = 0, 1

Steps = tuple[int, int, float]


def _bytes(emit: Emitter, place: Value, flip: Value | None, zero: Value) -> list[Value]:
    """Return vectors of bytes as float32, less the zero point."""
    kind, wide = (ir.VectorType(kind, emit.lanes) for kind in (BYTE, INT32))
    found = []
    for part in range(PARTS):
        where = emit.pointer(place, part * emit.lanes, kind)
        values = emit.builder.load(where, align=1)
        if flip is not None:
            values = emit.builder.xor(values, splat(emit, flip, kind))
        whole = emit.builder.sub(emit.builder.zext(values, wide), splat(emit, zero, wide))
        found.append(emit.builder.sitofp(whole, emit.vector))
    return found


def _put(emit: Emitter, values: list[Value], y: Value, offset: Value, *ends: Value) -> None:
    result = rounded(emit, values, *ends)
    where = emit.pointer(emit.bytes_at(y), offset, result.type)
    emit.builder.store(result, where, align=1)


@generated(address, real, address, count, count, real, real)
def _finish_vectors(
    emit: Emitter, sums: Value, factor: Value, y: Value, trips: Value, *ends: Value
) -> None:
    scale, base = emit.splat(factor), emit.bytes_at(sums)
    kind = ir.VectorType(INT32, emit.lanes)
    with emit.loop(trips) as turn:
        at = emit.times(turn.index, TOGETHER)
        source, found = emit.move(base, emit.times(at, 4)), []
        for part in range(PARTS):
            total = emit.builder.load(emit.pointer(source, part * emit.bytes, kind), align=4)
            found.append(emit.product(emit.builder.sitofp(total, emit.vector), scale))
        _put(emit, found, y, at, *ends)


def _pairs(flipped: bool) -> Any:
    def write(
        emit: Emitter, op: Value, a: Value, b: Value, y: Value, trips: Value, a_flip: Value,
        a_zero: Value, a_factor: Value, b_flip: Value, b_zero: Value, b_factor: Value,
        *ends: Value,
    ) -> None:  # fmt: skip
        left, right = emit.splat(a_factor), emit.splat(b_factor)
        with emit.loop(trips) as turn:
            at = emit.times(turn.index, TOGETHER)
            left_values, right_values = (
                _bytes(emit, emit.move(emit.bytes_at(x), at), flip if flipped else None, zero)
                for x, flip, zero in ((a, a_flip, a_zero), (b, b_flip, b_zero))
            )
            both = list(zip(left_values, right_values, strict=True))

            def products() -> list[Value]:
                return [emit.product(emit.product(p, q), left) for p, q in both]

            def totals() -> list[Value]:
                return [emit.plus(emit.product(p, left), emit.product(q, right)) for p, q in both]

            _put(emit, emit.choose(emit.nonzero(op), products, totals), y, at, *ends)

    return generated(
        count, *[address] * 3, count, *[count, count, real] * 2, count, real, real
    )(write)  # fmt: skip


_plain_pairs, _flipped_pairs = _pairs(flipped=False), _pairs(flipped=True)
"""Without a sign, and with one or without: the same, but for what turns it into the other."""


@generated(address, real, address, count, count, real, real)
def _quantize_vectors(
    emit: Emitter, x: Value, scale: Value, y: Value, trips: Value, zero: Value, low: Value,
    high: Value,
) -> None:  # fmt: skip
    divisor, least = emit.splat(scale), emit.splat(low)
    with emit.loop(trips) as turn:
        at = emit.times(turn.index, TOGETHER)
        source, found = emit.move(emit.bytes_at(x), emit.times(at, 4)), []
        for part in range(PARTS):
            steps = emit.builder.fdiv(emit.load(source, part * emit.bytes), divisor)
            above = emit.builder.fcmp_ordered(">", steps, least)  # NaN becomes the least
            found.append(emit.builder.select(above, steps, least))
        _put(emit, found, y, at, zero, low, high)


CUTS = 64
"""Pieces in which values are gone through one by one."""


@compiled()
def finish(sums: Array, factor: float, y: Array, zero: int, low: float, high: float) -> None:
    """Steps 2 and 3 for sums (n,) that share a factor."""
    whole = len(sums) // TOGETHER
    if whole:
        _finish_vectors(sums.ctypes.data, factor, y.ctypes.data, whole, zero, low, high)
    done = whole * TOGETHER
    if done < len(sums):
        rest, result = np.zeros(TOGETHER, np.int32), np.empty(TOGETHER, np.uint8)
        rest[: len(sums) - done] = sums[done:]
        _finish_vectors(rest.ctypes.data, factor, result.ctypes.data, 1, zero, low, high)
        y[done:] = result[: len(sums) - done]


@compiled()
def _cut(n: int, piece: int) -> int:
    """Where a piece of n values begins: on a multiple of the vectors' length."""
    return min(n, (n * piece // CUTS + TOGETHER - 1) // TOGETHER * TOGETHER)


@compiled()
def _pair(
    op: int, a: int, b: int, y: int, trips: int, a_steps: Steps, b_steps: Steps, zero: int,
    low: float, high: float,
) -> None:  # fmt: skip
    """`combine` whole vectors from address to address."""
    (f, i, r), (g, j, s) = a_steps, b_steps
    if f or g:
        _flipped_pairs(op, a, b, y, trips, f, i, r, g, j, s, zero, low, high)
    else:
        _plain_pairs(op, a, b, y, trips, f, i, r, g, j, s, zero, low, high)


@compiled()
def combine(
    op: int, a: Array, b: Array, y: Array, a_steps: Steps, b_steps: Steps, zero: int, low: float,
    high: float, first: int, last: int,
) -> None:  # fmt: skip
    """`ADD` or `MULTIPLY` quantised values (n,) as bytes; steps are (flip, zero point, factor)."""
    start, stop = _cut(len(y), first), _cut(len(y), last)
    whole = (stop - start) // TOGETHER
    if whole:
        _pair(
            op, a.ctypes.data + start, b.ctypes.data + start, y.ctypes.data + start, whole,
            a_steps, b_steps, zero, low, high,
        )  # fmt: skip
    done = start + whole * TOGETHER
    if done < stop:
        n = stop - done
        p, q = np.zeros(TOGETHER, np.uint8), np.zeros(TOGETHER, np.uint8)
        p[:n], q[:n] = a[done:stop], b[done:stop]
        places = p.ctypes.data, q.ctypes.data, p.ctypes.data
        _pair(op, places[0], places[1], places[2], 1, a_steps, b_steps, zero, low, high)
        y[done:stop] = p[:n]


@compiled()
def quantize(
    x: Array, scale: float, y: Array, zero: int, low: float, high: float, first: int, last: int
) -> None:
    """Round float32 values (n,) to bytes."""
    start, stop = _cut(len(y), first), _cut(len(y), last)
    whole = (stop - start) // TOGETHER
    if whole:
        _quantize_vectors(
            x.ctypes.data + 4 * start, scale, y.ctypes.data + start, whole, zero, low, high
        )
    done = start + whole * TOGETHER
    if done < stop:
        rest, result = np.zeros(TOGETHER, np.float32), np.empty(TOGETHER, np.uint8)
        rest[: stop - done] = x[done:stop]
        _quantize_vectors(rest.ctypes.data, scale, result.ctypes.data, 1, zero, low, high)
        y[done:stop] = result[: stop - done]


@compiled()
def dequantize(x: Array, scale: float, zero: int, y: Array, first: int, last: int) -> None:
    """The reals that quantised values (n,) stand for."""
    for i in range(_cut(len(y), first), _cut(len(y), last)):
        y[i] = np.float32(np.int32(x[i]) - np.int32(zero)) * scale


@compiled()
def look_up(x: Array, table: Array, y: Array, first: int, last: int) -> None:
    """A function of bytes (n,) by its table, which begins at the byte 0."""
    for i in range(_cut(len(y), first), _cut(len(y), last)):
        y[i] = table[x[i]]


@compiled()
def mean(
    x: Array, zero: int, factor: float, y: Array, place: int, low: float, high: float, first: int,
    last: int,
) -> None:  # fmt: skip
    """The means of planes (n, places); `place` is the zero point of the result."""
    sums = np.empty(last - first, np.int32)
    for n in range(first, last):
        total = np.int32(0)
        for i in range(x.shape[1]):
            total += np.int32(x[n, i])
        sums[n - first] = total - np.int32(zero) * np.int32(x.shape[1])
    finish(sums, factor, y[first:last], place, low, high)
