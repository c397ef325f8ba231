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

LANES = HOST.lanes

ADD, MULTIPLY = 0, 1


def _bytes(emit: Emitter, place: Value, offset: Value, flip: Value, zero: Value) -> Value:
    """Return vectors of bytes as float32, less the zero point."""
    kind = ir.VectorType(BYTE, emit.lanes)
    values = emit.builder.load(emit.pointer(emit.bytes_at(place), offset, kind), align=1)
    values = emit.builder.xor(values, splat(emit, flip, kind))
    wide = emit.builder.zext(values, ir.VectorType(INT32, emit.lanes))
    return emit.builder.sitofp(emit.builder.sub(wide, splat(emit, zero, wide.type)), emit.vector)


def _put(emit: Emitter, value: Value, y: Value, offset: Value, *ends: Value) -> None:
    result = rounded(emit, [value], *ends)
    where = emit.pointer(emit.bytes_at(y), offset, result.type)
    emit.builder.store(result, where, align=1)


@generated(address, real, address, count, count, real, real)
def _finish_vectors(
    emit: Emitter, sums: Value, factor: Value, y: Value, trips: Value, *ends: Value
) -> None:
    scale, base = emit.splat(factor), emit.bytes_at(sums)
    kind = ir.VectorType(INT32, emit.lanes)
    with emit.loop(trips) as turn:
        at = emit.times(turn.index, emit.lanes)
        where = emit.pointer(base, emit.times(at, 4), kind)
        value = emit.builder.sitofp(emit.builder.load(where, align=4), emit.vector)
        _put(emit, emit.product(value, scale), y, at, *ends)


@generated(count, *[address] * 3, count, *[count, count, real] * 2, count, real, real)
def _pair_vectors(
    emit: Emitter, op: Value, a: Value, b: Value, y: Value, trips: Value, a_flip: Value,
    a_zero: Value, a_factor: Value, b_flip: Value, b_zero: Value, b_factor: Value, *ends: Value,
) -> None:  # fmt: skip
    left, right = emit.splat(a_factor), emit.splat(b_factor)
    with emit.loop(trips) as turn:
        at = emit.times(turn.index, emit.lanes)
        p = _bytes(emit, a, at, a_flip, a_zero)
        q = _bytes(emit, b, at, b_flip, b_zero)

        def product(p: Value = p, q: Value = q) -> list[Value]:
            return [emit.product(emit.product(p, q), left)]

        def total(p: Value = p, q: Value = q) -> list[Value]:
            return [emit.plus(emit.product(p, left), emit.product(q, right))]

        (value,) = emit.choose(emit.nonzero(op), product, total)
        _put(emit, value, y, at, *ends)


@generated(address, real, address, count, count, real, real)
def _quantize_vectors(
    emit: Emitter, x: Value, scale: Value, y: Value, trips: Value, zero: Value, low: Value,
    high: Value,
) -> None:  # fmt: skip
    divisor, least = emit.splat(scale), emit.splat(low)
    with emit.loop(trips) as turn:
        at = emit.times(turn.index, emit.lanes)
        value = emit.load(emit.bytes_at(x), emit.times(at, 4))
        steps = emit.builder.fdiv(value, divisor)
        above = emit.builder.fcmp_ordered(">", steps, least)  # NaN becomes the least
        _put(emit, emit.builder.select(above, steps, least), y, at, zero, low, high)


CUTS = 64
"""Pieces in which values are gone through one by one."""


@compiled()
def finish(sums: Array, factor: float, y: Array, zero: int, low: float, high: float) -> None:
    """Steps 2 and 3 for sums (n,) that share a factor."""
    whole = len(sums) // LANES
    if whole:
        _finish_vectors(sums.ctypes.data, factor, y.ctypes.data, whole, zero, low, high)
    done = whole * LANES
    if done < len(sums):
        rest, result = np.zeros(LANES, np.int32), np.empty(LANES, np.uint8)
        rest[: len(sums) - done] = sums[done:]
        _finish_vectors(rest.ctypes.data, factor, result.ctypes.data, 1, zero, low, high)
        y[done:] = result[: len(sums) - done]


@compiled()
def _cut(n: int, piece: int) -> int:
    """Where a piece of n values begins: on a multiple of the vectors' length."""
    return min(n, (n * piece // CUTS + LANES - 1) // LANES * LANES)


@compiled()
def combine(
    op: int, a: Array, b: Array, y: Array, a_steps: tuple[int, int, float],
    b_steps: tuple[int, int, float], zero: int, low: float, high: float, first: int, last: int,
) -> None:  # fmt: skip
    """`ADD` or `MULTIPLY` quantised values (n,) as bytes; steps are (flip, zero point, factor)."""
    start, stop = _cut(len(y), first), _cut(len(y), last)
    whole = (stop - start) // LANES
    if whole:
        _pair_vectors(
            op, a.ctypes.data + start, b.ctypes.data + start, y.ctypes.data + start, whole,
            a_steps[0], a_steps[1], a_steps[2], b_steps[0], b_steps[1], b_steps[2], zero, low, high,
        )  # fmt: skip
    done = start + whole * LANES
    if done < stop:
        n = stop - done
        p, q = np.zeros(LANES, np.uint8), np.zeros(LANES, np.uint8)
        p[:n], q[:n] = a[done:stop], b[done:stop]
        _pair_vectors(
            op, p.ctypes.data, q.ctypes.data, p.ctypes.data, 1, a_steps[0], a_steps[1], a_steps[2],
            b_steps[0], b_steps[1], b_steps[2], zero, low, high,
        )  # fmt: skip
        y[done:stop] = p[:n]


@compiled()
def quantize(
    x: Array, scale: float, y: Array, zero: int, low: float, high: float, first: int, last: int
) -> None:
    """Round float32 values (n,) to bytes."""
    start, stop = _cut(len(y), first), _cut(len(y), last)
    whole = (stop - start) // LANES
    if whole:
        _quantize_vectors(
            x.ctypes.data + 4 * start, scale, y.ctypes.data + start, whole, zero, low, high
        )
    done = start + whole * LANES
    if done < stop:
        rest, result = np.zeros(LANES, np.float32), np.empty(LANES, np.uint8)
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
