"""BigSmall (Narayanswamy et al. 2023): pulse, respiration and action units from two sizes at once.

A large, unshifted branch sees one frame of a segment at 144 px, a small one all of them at 9 px.
The small one is shifted in time before every convolution, around the ends of its segment: what
leaves at one end comes in at the other (the paper's wrapping shift). Their sum is what the heads
read.
"""

from collections.abc import Mapping

from tsm_ref.graph import Graph
from tsm_ref.models.builder import Builder
from tsm_ref.profile import ShiftRule

SIZES = (144, 9)
"""Rows and columns of the large frames and of the small ones; the large are halved three times,
the last time into quarters."""

HEADS: Mapping[str, int] = {"pulse": 1, "respiration": 1, "action_units": 12}
"""The published heads, and how many numbers each gives per frame."""


def build_big_small(
    *,
    heads: Mapping[str, int] | None = None,
    shift: ShiftRule | None = None,
    filters: tuple[int, int] = (32, 64),
    hidden: int = 128,
    name: str = "big-small",
) -> Graph:
    """BigSmall with the published heads, or with others: a name, and the numbers per frame.

    Inputs: ``small`` (N, 3, T, 9, 9), normalised differences, and ``big`` (N, 3, 1 or T, 144, 144),
    standardised frames; the published network takes one segment of three frames per clip, and its
    first frame as the big one. Outputs by head: (N, T) for one number, else (N, K, T).

    >>> build_big_small().parameter_count
    2142478
    """
    heads = HEADS if heads is None else heads
    if not isinstance(heads, Mapping) or not heads:
        raise ValueError(f"`heads` (={heads!r}) must be names, each with its numbers per frame")
    for head, numbers in heads.items():
        if type(numbers) is not int or numbers < 1:
            raise ValueError(f"the head {head!r} must have 1 or more numbers, not {numbers!r}")
    rule = shift or ShiftRule("mtts_can", 3, "circular", segment=3)
    b = Builder(name)
    small = b.input("small", ("N", 3, "T", SIZES[1], SIZES[1]))
    big = b.input("big", ("N", 3, "A", SIZES[0], SIZES[0]))
    first, last = filters
    for i, channels in enumerate((first, first, first, last, last, last), start=1):
        big = _conv_relu(b, big, f"big_conv{i}", channels)
        if i % 2 == 0:
            big = _shrink(b, big, f"big_pool{i // 2}", 4 if i == 6 else 2)
    for i, channels in enumerate((first, first, first, last), start=1):
        small = b.shift(small, f"small_shift{i}", rule)
        small = _conv_relu(b, small, f"small_conv{i}", channels)
    x = b.node("Add", "sum", [small, big], last)
    x = b.node("Flatten", "flatten", [x], last * SIZES[1] ** 2)
    return b.graph(
        [
            b.frame_head(x, head, hidden=hidden, numbers=numbers, plain=not i, activation="Relu")
            for i, (head, numbers) in enumerate(heads.items())
        ]
    )


def _conv_relu(b: Builder, x: str, name: str, channels: int) -> str:
    return b.relu(b.conv(x, name, channels, kernel=3, padding=1, bias=True), f"{name}.relu")


def _shrink(b: Builder, x: str, name: str, by: int) -> str:
    window = {"kernel_shape": (1, by, by), "strides": (1, by, by)}
    return b.node("AveragePool", name, [x], b.channels(x), **window)
