"""Products of bytes on processors without VNNI: `vpmaddubsw`, where it cannot saturate.

The instruction multiplies unsigned inputs by signed weights and adds neighbouring products into 16
bits, which saturate. One more product, by ones, adds those into 32. That is 3 instructions for four
products of every sum where 16-bit numbers take 4, and 5 for eight if two steps are added while they
have 16 bits.

Nothing can saturate if of the four weights whose products meet in 16 bits the positive ones add up
to 128 at most, and the negative ones to -128 at least: 255 x 128 < 2^15. So two groups of k share a
step only if that holds in all rows of a tile (of which there are only two for that reason), and
which two share one is chosen when weights are packed: any order of k gives the same sum. A group
that breaks the rule by itself is halved: its inputs are multiplied twice, by weights that add up to
its own. So all weights have a packing, and the larger they are the longer it is: up to twice as
long, as is the case for none that training made. Which inputs are neighbours is chosen too, so that
few groups break it (`order_of`).

A tile is a stream: how many steps it has (int32), 4 bytes of nothing, and of each step where both
groups of k begin in a panel (two int32, in bytes) and their weights: [first or second][row][4].
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from tsm_ref.kernels.cache import compiled
from tsm_ref.kernels.vector import BYTE, FLOAT, INT, INT32, Emitter, Value

Array = NDArray[Any]

SHORT = ir.IntType(16)
LIMIT = 128
"""What the positive weights add up to at most, and the negative ones to its opposite at least."""

HEAD = 8
_TRIES = 128
_PARTNERS = 64
_WINDOW, _NEAR_BYTES = 32, 1 << 14
"""Groups that a step's are chosen from where a panel is larger than so many bytes: what does not
stay in the first cache is fetched in order, or late."""

_INSTRUCTIONS = {
    8: ("avx2.pmadd.ub.sw", "avx2.pmadd.wd"),
    16: ("avx512.pmaddubs.w.512", "avx512.pmaddw.d.512"),
}


def accumulate(
    emit: Emitter, rows: int, vectors: int, x: Value, stream: Value, sums: list[Value]
) -> tuple[Value, list[Value]]:
    """Write the steps of a tile: where its stream ends, and the sums with the products added."""
    builder, width = emit.builder, 4 * emit.lanes
    bytes_, shorts, whole = (
        ir.VectorType(kind, width // size) for kind, size in ((BYTE, 1), (SHORT, 2), (INT32, 4))
    )
    products, pairs = (
        emit.function(f"llvm.x86.{name}", result, [operand] * 2)
        for name, result, operand in zip(
            _INSTRUCTIONS[emit.lanes], (shorts, whole), (bytes_, shorts), strict=True
        )
    )
    ones = ir.Constant(shorts, [1] * (width // 2))
    steps = builder.sext(emit.load(stream, 0, INT32), INT)
    with emit.loop(steps, emit.move(stream, emit.integer(HEAD)), *sums) as step:
        place, *totals = step.state
        starts = [builder.sext(emit.load(place, 4 * i, INT32), INT) for i in range(2)]
        factors = [
            [_factor(emit, place, HEAD + 4 * (i * rows + row), bytes_) for i in range(2)]
            for row in range(rows)
        ]
        for v in range(vectors):
            columns = [emit.load(emit.move(x, start), width * v, bytes_) for start in starts]
            for row in range(rows):
                short = [
                    builder.call(products, [own, factor])
                    for own, factor in zip(columns, factors[row], strict=True)
                ]
                wide = builder.call(pairs, [builder.add(*short), ones])
                totals[row * vectors + v] = builder.add(totals[row * vectors + v], wide)
        step.next = [emit.move(place, emit.integer(HEAD + 8 * rows)), *totals]
    return step.next[0], step.next[1:]


def _factor(emit: Emitter, place: Value, offset: int, kind: Any) -> Value:
    """Four weights, over and over."""
    return emit.builder.bitcast(emit.splat(emit.load(place, offset, FLOAT)), kind)


@compiled()
def _halved(tile: Array, groups: Array, weights: Array) -> int:
    """Write the groups of k of a tile (k / 4, rows, 4) with weights within the limit; how many."""
    n = 0
    for k in range(len(tile)):
        weights[n] = tile[k]
        groups[n] = k
        broken = False
        for row in range(tile.shape[1]):
            for lane in range(0, 4, 2):
                a, b = int(tile[k, row, lane]), int(tile[k, row, lane + 1])
                if max(a, 0) + max(b, 0) > LIMIT or min(a, 0) + min(b, 0) < -LIMIT:
                    if not broken:
                        broken = True
                        groups[n + 1] = k
                        weights[n + 1] = 0
                    for i in range(lane, lane + 2):
                        half = tile[k, row, i] >> 1
                        weights[n, row, i] = half
                        weights[n + 1, row, i] = tile[k, row, i] - half
        n += 2 if broken else 1
    return n


@compiled()
def _neighbours(columns: Array, by_size: Array) -> Array:
    """Pairs of inputs (k / 2, 2) with weights (k, outputs).

    The largest comes first, each with the input that breaks the limit in the fewest rows with it,
    of the smallest that are left.
    """
    pairs = np.empty((len(columns) // 2, 2), np.int64)
    taken = np.zeros(len(columns), np.bool_)
    n = 0
    for i in range(len(by_size)):
        first = by_size[i]
        if taken[first]:
            continue
        best, fewest, tries = first, len(columns[0]) + 1, 0
        for j in range(len(by_size) - 1, i, -1):
            second = by_size[j]
            if taken[second]:
                continue
            broken = 0
            for row in range(columns.shape[1]):
                broken += abs(columns[first, row] + columns[second, row]) > LIMIT
            if broken < fewest:
                best, fewest = second, broken
            tries += 1
            if fewest == 0 or tries == _PARTNERS:
                break
        taken[first] = taken[best] = True
        pairs[n, 0], pairs[n, 1] = min(first, best), max(first, best)
        n += 1
    return pairs


def order_of(matrix: Array) -> NDArray[np.int64]:
    """An order of the inputs of weights (outputs, k), k even, with few groups to be halved.

    >>> order_of(np.array([[100, 100, 10, 20]], np.int8)).tolist()
    [0, 2, 1, 3]
    """
    columns = np.ascontiguousarray(matrix.T, np.int16)
    by_size = np.argsort(-np.abs(columns).sum(axis=1, dtype=np.int64), kind="stable")
    pairs = _neighbours(columns, by_size)
    found: NDArray[np.int64] = pairs[np.argsort(pairs[:, 0])].reshape(-1)
    return found


@compiled()
def _loads(weights: Array, loads: Array) -> None:
    """What each group (n, rows, 4) adds to the limits: (n, 4 rows)."""
    for n in range(len(weights)):
        for row in range(weights.shape[1]):
            for lane in range(2):
                a, b = int(weights[n, row, 2 * lane]), int(weights[n, row, 2 * lane + 1])
                loads[n, 4 * row + lane] = max(a, 0) + max(b, 0)
                loads[n, 4 * row + lane + 2] = -min(a, 0) - min(b, 0)


@compiled()
def _paired(loads: Array, order: Array, windows: Array, partner: Array) -> int:
    """Choose the groups of a window that share a step: each with the largest that fits."""
    steps = 0
    partner[:] = -1
    for i in range(len(order)):
        first = order[i]
        if partner[first] >= 0:
            continue
        partner[first] = first
        steps += 1
        tries = 0
        for j in range(i + 1, len(order)):
            second = order[j]
            if windows[second] != windows[first]:
                break
            if partner[second] >= 0:
                continue
            tries += 1
            good = True
            for limit in range(loads.shape[1]):
                if loads[first, limit] + loads[second, limit] > LIMIT:
                    good = False
                    break
            if good:
                partner[first], partner[second] = second, first
                break
            if tries == _TRIES:
                break
    return steps


def pack_tile(tile: Array, step_bytes: int) -> Array:
    """The stream of the weights (k / 4, rows, 4) of one tile."""
    k, rows = tile.shape[:2]
    groups, weights = np.empty(2 * k, np.int64), np.empty((2 * k, rows, 4), np.int8)
    n = _halved(tile, groups, weights)
    groups, weights = groups[:n], weights[:n]
    loads = np.empty((n, 4 * rows), np.int16)
    _loads(weights, loads)
    windows = groups // (_WINDOW if k * step_bytes > _NEAR_BYTES else k)
    order = np.lexsort((-loads.max(axis=1), windows))
    partner = np.empty(n, np.int64)
    steps = _paired(loads, order, windows, partner)
    first = np.flatnonzero(partner >= np.arange(n))
    alone = partner[first] == first
    stream = np.zeros(HEAD + steps * (HEAD + 8 * rows), np.uint8)
    stream[:4] = np.array([steps], np.int32).view(np.uint8)
    body = stream[HEAD:].reshape(steps, HEAD + 8 * rows)
    both = np.stack([first, partner[first]], axis=1)
    body[:, :HEAD] = np.ascontiguousarray(groups[both] * step_bytes, np.int32).view(np.uint8)
    chosen = weights[both]
    chosen[alone, 1] = 0
    body[:, HEAD:] = chosen.reshape(steps, -1).view(np.uint8)
    return stream
