"""The weights of `tsm_ref.kernels.integer.winograd`, transformed when they are needed.

A 3x3 kernel of 8 bits becomes 16 or 36 numbers of 16 bits: 4 or 8 times the memory, and more than
a cache holds. So weights are kept as they are, in the order in which tiles read them, and some
tiles at a time are transformed: ``G g G^T``, which is exact.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from tsm_ref.kernels.integer.conv import pack_tiles
from tsm_ref.kernels.integer.tile import SHORT
from tsm_ref.kernels.integer.units import PAIRS
from tsm_ref.kernels.vector import BYTE, Emitter, Value, address, count, generated

__all__ = ["LANES", "packed_taps", "transform"]

Array = NDArray[Any]
Rows = tuple[tuple[int, int, int], ...]

LANES = 16
"""Numbers that are taken at once: up to as many are read and written behind the last one."""


def packed_taps(weight: Array) -> Array:
    """The weights (O, C, 3, 3) of every tap as the tiles read them: (9, tiles, steps, rows, 2).

    >>> packed_taps(np.ones((16, 16, 3, 3), np.int8)).shape[0]
    9
    """
    outputs, inputs = weight.shape[:2]
    taps = weight.reshape(outputs, inputs, 9).transpose(2, 0, 1)
    full = np.stack([pack_tiles(tap, 1, PAIRS)[0] for tap in taps]).astype(np.int8)
    memory = np.zeros(full.size + LANES, np.int8)
    memory[: full.size] = full.reshape(-1)
    return memory[: full.size].reshape(full.shape)


def transform(g: Rows) -> Any:
    """``G g G^T`` by the rows of G, as an intrinsic.

    It takes the address of the first tap's weights, how many bytes later those of the next begin,
    and how often `LANES` of them are transformed; then the address of the first point's weights,
    and how many bytes later those of the next begin.
    """

    def write_weights(
        emit: Emitter, taps: Value, tap: Value, trips: Value, out: Value, point: Value
    ) -> None:
        builder, narrow = emit.builder, ir.VectorType(BYTE, LANES)
        wide = ir.VectorType(SHORT, LANES)
        with emit.loop(trips) as turn:
            at = emit.times(turn.index, LANES)
            rows = []
            for i in range(9):
                base = emit.move(emit.bytes_at(taps), emit.times(tap, i))
                own = builder.load(emit.pointer(base, at, narrow), align=1)
                rows.append(builder.sext(own, wide))
            columns = [_along(builder, g, rows[j::3]) for j in range(3)]
            for a, row in enumerate(zip(*columns, strict=True)):
                for b, value in enumerate(_along(builder, g, row)):
                    to = emit.move(emit.bytes_at(out), emit.times(point, a * len(g) + b))
                    where = emit.pointer(to, emit.times(at, 2), wide)
                    builder.store(value, where, align=2)

    return generated(address, count, count, address, count)(write_weights)


def _along(builder: Any, g: Rows, values: Sequence[Value]) -> list[Value]:
    """The rows of G times three vectors; what two rows share is computed once."""

    def times(value: Value, factor: int) -> Value:
        constant = ir.Constant(value.type, [factor] * LANES)
        return value if factor == 1 else builder.mul(value, constant)

    known: dict[tuple[int, int], Value] = {}
    found = []
    for a, b, c in g:
        if (a, c) not in known:
            ends = [times(values[i], factor) for i, factor in ((0, a), (2, c)) if factor]
            known[a, c] = ends[0] if len(ends) == 1 else builder.add(*ends)
        both = known[a, c]
        middle = times(values[1], abs(b)) if b else None
        if middle is not None:
            both = builder.add(both, middle) if b > 0 else builder.sub(both, middle)
        found.append(both)
    return found
