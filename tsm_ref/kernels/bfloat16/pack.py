"""Lays out what the tiles of bfloat16 read: panels of neighbouring outputs, rounded on the way.

As `tsm_ref.kernels.integer.pack`, whose tables these are: the outputs of a panel come in runs, of
which `CHUNK` are written at a time, and a table of addresses says which frame each channel reads.
Values are float32, two of which become a word of 32 bits: the first number of a pair in the lower
half, the second in the upper.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from tsm_ref.kernels.bfloat16.units import UNIT
from tsm_ref.kernels.cache import compiled
from tsm_ref.kernels.integer.pack import CHUNK
from tsm_ref.kernels.integer.tile import picked
from tsm_ref.kernels.vector import INT32, Emitter, Value, address, count, generated

COLUMNS, GROUP = UNIT.columns, UNIT.group
STEP_BYTES = 4 * COLUMNS
"""Bytes of one pair of k in a panel."""
PANEL_SLACK = 4 * CHUNK
"""Bytes behind a panel that may be written."""

_WORDS = ir.VectorType(INT32, CHUNK)
_EXPONENT, _SIGN, _ROUNDED, _QUIET = 0x7F800000, 0x80000000, 0xFFFF0000, 0x00400000


def slack(stride: int) -> int:
    """Bytes behind inputs that may be read, and are not used."""
    return 4 * CHUNK * max(2, stride)


def _all(value: int) -> Value:
    return ir.Constant(_WORDS, [value] * CHUNK)


def rounded(emit: Emitter, bits: Value) -> Value:
    """Return float32 as bits, rounded to bfloat16 in their upper halves (see `bfloat16`)."""
    builder = emit.builder
    last = builder.and_(builder.lshr(bits, _all(16)), _all(1))
    plain = builder.add(builder.add(bits, _all(0x7FFF)), last)
    exponent = builder.and_(bits, _all(_EXPONENT))
    size = builder.and_(bits, _all(0xFFFFFFFF - _SIGN))
    undefined = builder.icmp_unsigned(">", size, _all(_EXPONENT))
    tiny = builder.icmp_unsigned("==", exponent, _all(0))
    found = builder.select(undefined, builder.or_(bits, _all(_QUIET)), plain)
    return builder.select(tiny, builder.and_(bits, _all(_SIGN)), found)


def _near(emit: Emitter, place: Value, stride: Value) -> Value:
    return emit.load(emit.bytes_at(place), 0, _WORDS)


def _every_other(emit: Emitter, place: Value, stride: Value) -> Value:
    pair = emit.load(emit.bytes_at(place), 0, ir.VectorType(INT32, 2 * CHUNK))
    return picked(emit, pair, pair, range(0, 2 * CHUNK, 2))


def _spaced(emit: Emitter, place: Value, stride: Value) -> Value:
    base, found = emit.bytes_at(place), ir.Constant(_WORDS, ir.Undefined)
    for i in range(CHUNK):
        value = emit.load(base, emit.times(stride, 4 * i), INT32)
        found = emit.builder.insert_element(found, value, ir.Constant(INT32, i))
    return found


def _generate(read: Any) -> Any:
    def pairs(emit: Emitter, out: Value, stride: Value, first: Value, second: Value) -> None:
        a, b = (rounded(emit, read(emit, place, stride)) for place in (first, second))
        low = emit.builder.lshr(a, _all(16))
        both = emit.builder.or_(low, emit.builder.and_(b, _all(_ROUNDED)))
        emit.builder.store(both, emit.pointer(emit.bytes_at(out), 0, _WORDS), align=4)

    return generated(address, count, address, address)(pairs)


_write_near, _write_every_other, _write_spaced = map(_generate, (_near, _every_other, _spaced))


@compiled()
def pack_bfloat16(
    frames: NDArray[np.int64],
    inputs: NDArray[np.int64],
    first_channel: int,
    runs: NDArray[np.int64],
    first: int,
    last: int,
    stride: int,
    out: int,
) -> None:
    """Write one panel, the outputs of runs ``first .. last - 1``, to the address `out`.

    The tables are those of `pack.pack`, with offsets in bytes.
    """
    nothing = len(frames) - 1
    for step in range(len(inputs) // GROUP):
        k = step * GROUP
        a = inputs[k, 0] + first_channel if inputs[k, 0] >= 0 else nothing
        b = inputs[k + 1, 0] + first_channel if inputs[k + 1, 0] >= 0 else nothing
        for run in range(first, last):
            x = frames[a, runs[run, 1] + inputs[k, 1]] + inputs[k, 2] + runs[run, 2]
            y = frames[b, runs[run, 1] + inputs[k + 1, 1]] + inputs[k + 1, 2] + runs[run, 2]
            to = out + step * STEP_BYTES + 4 * runs[run, 0]
            if stride == 1:
                _write_near(to, stride, x, y)
            elif stride == 2:
                _write_every_other(to, stride, x, y)
            else:
                _write_spaced(to, stride, x, y)
