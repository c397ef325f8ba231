"""The arithmetic of sliding windows that convolution and pooling share.

On one axis a window of `kernel` taps, `dilation` apart, starts at ``o * stride - before`` for the
output `o`, and tap `k` of it reads the input at ``o * stride - before + k * dilation``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from tsm_ref.reference._arrays import Array, integer

Size = int | Sequence[int]
Padding = int | Sequence[int] | Sequence[tuple[int, int]]


def per_axis(value: Size, name: str, axes: int, least: int) -> tuple[int, ...]:
    """One integer per axis from an integer or a sequence of them.

    >>> per_axis(2, "stride", 3, 1), per_axis((1, 2, 2), "stride", 3, 1)
    ((2, 2, 2), (1, 2, 2))
    """
    each: Any = tuple(value) if np.iterable(value) else (value,) * axes
    if len(each) != axes:
        raise ValueError(f"`{name}` (={value!r}) must be one integer or {axes}, one per axis")
    return tuple(integer(v, name, least) for v in each)


def pairs(padding: Padding, axes: int) -> tuple[tuple[int, int], ...]:
    """(before, after) per axis from an integer, one integer per axis, or such pairs.

    >>> pairs(1, 2), pairs((0, 1), 2), pairs([(0, 1), (2, 3)], 2)
    (((1, 1), (1, 1)), ((0, 0), (1, 1)), ((0, 1), (2, 3)))
    """
    sides: Any = padding if np.iterable(padding) else [padding] * axes
    both = [tuple(side) if np.iterable(side) else (side, side) for side in sides]
    if len(both) != axes or any(len(pair) != 2 for pair in both):
        raise ValueError(
            f"`padding` (={padding!r}) must be one integer, or {axes} integers "
            "or (before, after) pairs, one per axis"
        )
    return tuple((integer(b, "padding", 0), integer(a, "padding", 0)) for b, a in both)


@dataclass(frozen=True)
class Windows:
    """The windows of an input whose axes after (N, C) have the lengths `size`; see `windows`."""

    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    out: tuple[int, ...]

    def pad(self, x: Array, value: float) -> Array:
        """`x` with `value` in the padding, as far as the last window reaches."""
        ends = [
            max((o - 1) * s + d * (k - 1) + 1 - before - n, 0)
            for o, s, d, k, (before, _), n in self._axes()
        ]
        sides = [(before, end) for (before, _), end in zip(self.padding, ends, strict=True)]
        return np.pad(x, [(0, 0), (0, 0), *sides], constant_values=value)

    def taps(self, padded: Array) -> Iterator[tuple[tuple[int, ...], Array]]:
        """Every tap of the kernel with what it reads in all windows: a view (N, C, *out)."""
        for tap in product(*map(range, self.kernel)):
            reads = [
                slice(k * d, k * d + (o - 1) * s + 1, s)
                for k, (o, s, d, _, _, _) in zip(tap, self._axes(), strict=True)
            ]
            yield tap, padded[(slice(None), slice(None), *reads)]

    def _axes(self) -> list[tuple[int, int, int, int, tuple[int, int], int]]:
        return list(
            zip(
                self.out, self.stride, self.dilation, self.kernel, self.padding, self.size,
                strict=True,
            )
        )  # fmt: skip


def windows(
    size: tuple[int, ...],
    kernel: Size,
    stride: Size,
    padding: Padding,
    dilation: Size,
    ceil_mode: bool = False,
) -> Windows:
    """The windows over an input of `size`; ValueError where not one window fits.

    out = floor((size + before + after - reach) / stride) + 1; reach = dilation (kernel - 1) + 1.
    `ceil_mode` rounds up instead, but drops a last window that would start beyond the input and
    its leading padding (PyTorch, ONNX).

    >>> windows((6,), 3, 2, 1, 1).out, windows((6,), 3, 2, 1, 1, ceil_mode=True).out
    ((3,), (4,))
    """
    axes = len(size)
    kernels = per_axis(kernel, "kernel", axes, 1)
    strides = per_axis(stride, "stride", axes, 1)
    dilations = per_axis(dilation, "dilation", axes, 1)
    padded = pairs(padding, axes)
    out = []
    for n, k, s, d, (before, after) in zip(size, kernels, strides, dilations, padded, strict=True):
        room = n + before + after - (d * (k - 1) + 1)
        count = -(-room // s) + 1 if ceil_mode else room // s + 1
        if ceil_mode and (count - 1) * s >= n + before:
            count -= 1
        if n < 1 or count < 1:
            raise ValueError(
                f"`kernel` (={kernels}) with dilation {dilations} does not fit into the input "
                f"{size} with padding {padded}"
            )
        out.append(count)
    return Windows(size, kernels, strides, dilations, padded, tuple(out))
