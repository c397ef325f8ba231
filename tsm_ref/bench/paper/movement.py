"""What the shift costs: taken in by the convolutions, copied, moved in place; and where it stands.

Figure 2a and section 3.2 of the paper. A network of ours never copies for a residual shift: each
convolution reads its channels from the frame that they come from. What a naive shift would add is
timed beside it, as the copies that it makes of the same values.
"""

import statistics
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.bench.paper.rounds import Call, interleaved, quartiles
from tsm_ref.engine import make_engine
from tsm_ref.graph import Graph
from tsm_ref.models import build_graph, random_weights
from tsm_ref.profile import ShiftRule

__all__ = ["IN_PLACE", "PROPORTIONS", "moved_in_place", "movement", "naive_shift"]

Array = NDArray[Any]
Row = dict[str, Any]

PROPORTIONS = (0.0, 0.125, 0.25, 0.5, 1.0)
"""Shares of the channels that are shifted, half of them each way."""

IN_PLACE = (0.25, 1.0)
"""Those at which the shift in front of the whole block is timed, too."""

CLASSES = 400


def naive_shift(x: Array, fold: int) -> Array:
    """A new array of every frame (T, C, H, W): the first `fold` channels of the next frame, as many
    of the one before, and the rest copied.

    >>> naive_shift(np.arange(1, 9).reshape(2, 4, 1, 1), 1)[..., 0, 0].tolist()
    [[5, 0, 3, 4], [0, 2, 7, 8]]
    """
    y = np.zeros_like(x)
    y[:-1, :fold] = x[1:, :fold]
    y[1:, fold : 2 * fold] = x[:-1, fold : 2 * fold]
    y[:, 2 * fold :] = x[:, 2 * fold :]
    return y


def moved_in_place(x: Array, fold: int) -> Array:
    """The same, but only what is shifted is moved, inside `x`.

    >>> moved_in_place(np.arange(1, 9).reshape(2, 4, 1, 1), 1)[..., 0, 0].tolist()
    [[5, 0, 3, 4], [0, 2, 7, 8]]
    """
    last = len(x) - 1
    for t in range(last):
        x[t, :fold] = x[t + 1, :fold]
        x[last - t, fold : 2 * fold] = x[last - t - 1, fold : 2 * fold]
    x[last, :fold] = 0
    x[0, fold : 2 * fold] = 0
    return x


def movement(
    architecture: str,
    frames: int,
    size: int,
    *,
    rounds: int,
    threads: int = 1,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Row]:
    """One row for each way to shift and each proportion; see `tsm_ref.bench.paper.page.COLUMNS`.

    ``overhead`` is the time over that of the network without a shift, minus 1; for copies, their
    time over that of the network.
    """
    clip = np.random.default_rng(7).standard_normal((1, 3, frames, size, size), np.float32)
    plain = _graph(architecture, "none", 0.0)
    calls = {"plain": _running(plain, clip, threads)}
    rows: dict[str, Row] = {"plain": _row("fused", 0.0, 0)}
    for way, proportion in _wanted():
        key = f"{way} {proportion}"
        tell(f"preparing {architecture}, {way}, {proportion:g} of the channels")
        graph = _graph(architecture, "block" if way == "in-place" else "blockres", proportion)
        values = list(_shifted_values(graph, clip.shape))
        rows[key] = _row(way, proportion, sum(_bytes(shape, proportion) for shape in values))
        if way in COPIES:
            calls[key] = _copying(COPIES[way], values, proportion)
        else:
            calls[key] = _running(graph, clip, threads)
    tell(f"timing {len(calls)} of them in {rounds} rounds")
    times = interleaved(calls, rounds)
    for key, row in rows.items():
        less = 0 if row["way"] in COPIES else 1
        row["median_ms"] = 1e3 * statistics.median(times[key])
        low, middle, high = quartiles(times[key], times["plain"])
        row |= {"overhead": middle - less, "low": low - less, "high": high - less}
    return [*rows.values()]


COPIES: Mapping[str, Callable[[Array, int], Array]] = {
    "copy": naive_shift,
    "moved": moved_in_place,
}


def _wanted() -> Iterator[tuple[str, float]]:
    for proportion in PROPORTIONS[1:]:
        yield from ((way, proportion) for way in ("fused", *COPIES))
    yield from (("in-place", proportion) for proportion in IN_PLACE)


def _row(way: str, proportion: float, moved: int) -> Row:
    return {"way": way, "proportion": proportion, "moved_mb": moved / 2**20}


def _graph(architecture: str, placement: str, proportion: float) -> Graph:
    divisor = round(2 / proportion) if proportion else 8
    return build_graph(
        architecture, num_classes=CLASSES, placement=placement, shift=ShiftRule("mit", divisor)
    )


def _running(graph: Graph, clip: Array, threads: int) -> Call:
    engine = make_engine(graph, random_weights(graph, seed=1), "numba", threads)
    return partial(engine.run, {graph.inputs[0].name: clip})


def _shifted_values(graph: Graph, clip: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """The shapes (T, C, H, W) of what the shifts of a network read."""
    shapes = graph.shapes({graph.inputs[0].name: clip})
    for node in graph.select("TemporalShift"):
        _, channels, *rest = shapes[node.inputs[0]]
        yield (rest[0], channels, *rest[1:])


def _bytes(shape: tuple[int, ...], proportion: float) -> int:
    frames, channels, *rest = shape
    return 4 * frames * 2 * _fold(channels, proportion) * int(np.prod(rest))


def _fold(channels: int, proportion: float) -> int:
    return channels // round(2 / proportion)


def _copying(
    copy: Callable[[Array, int], Array], shapes: list[tuple[int, ...]], proportion: float
) -> Call:
    values = {shape: np.ones(shape, np.float32) for shape in shapes}

    def call() -> None:
        for shape in shapes:
            copy(values[shape], _fold(shape[1], proportion))

    return call
