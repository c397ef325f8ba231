"""Formulas in float64 that kernels are held against, written with slices and einsum, no loops."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

Array = NDArray[Any]


def conv64(
    x: Array, weight: Array, bias: Array, strides: Any = (1, 1, 1), pads: Any = (0,) * 6,
    dilations: Any = (1, 1, 1), groups: int = 1,
) -> Array:  # fmt: skip
    """N-d convolution as a sum of shifted, strided products."""
    x = np.pad(x.astype(np.float64), ((0, 0), (0, 0), *zip(pads[:3], pads[3:], strict=True)))
    n = len(x)
    o, per_group, *kernel = weight.shape
    sizes = [
        (size - d * (k - 1) - 1) // s + 1
        for size, k, s, d in zip(x.shape[2:], kernel, strides, dilations, strict=True)
    ]
    y = np.zeros((n, groups, o // groups, *sizes))
    w = weight.astype(np.float64).reshape(groups, o // groups, per_group, *kernel)
    for tap in np.ndindex(*kernel):
        window = tuple(
            slice(t * d, t * d + s * (m - 1) + 1, s)
            for t, d, s, m in zip(tap, dilations, strides, sizes, strict=True)
        )
        part = x[(slice(None), slice(None), *window)].reshape(n, groups, per_group, *sizes)
        y += np.einsum("goc,ngcthw->ngothw", w[(..., *tap)], part)
    return y.reshape(n, o, *sizes) + bias.astype(np.float64)[:, None, None, None]


def shift64(x: Array, d: Array, fill: str = "zero") -> Array:
    """The temporal shift, channel by channel with np.pad or np.roll."""
    y = np.empty_like(x)
    for c, by in enumerate(int(v) for v in d):
        t = x.shape[2]
        if fill == "circular":
            y[:, c] = np.roll(x[:, c], by, axis=1)
        else:
            mode = "edge" if fill == "replicate" else "constant"
            wide = np.pad(x[:, c], ((0, 0), (abs(by),) * 2, (0, 0), (0, 0)), mode=mode)
            y[:, c] = wide[:, abs(by) - by : abs(by) - by + t]
    return y


def check_within_bound(
    y: Array, expected: Array, depth: int, magnitude: Array, roundings: int = 1
) -> None:
    """Assert |y - expected| <= min(n + 2, 6 sqrt n) u S + u |y|, elementwise."""
    u = np.finfo(np.float32).eps / 2
    factor = min(depth + 2, 6 * depth**0.5)
    bound = factor * u * magnitude + roundings * u * np.abs(expected)
    worst = (np.abs(y - expected) / np.maximum(bound, 1e-30)).max()
    assert y.shape == expected.shape
    assert worst <= 1, f"error is {worst:.2f} of the bound"
    assert np.abs(expected).max() > 10 * bound.max(), "the bound is as large as the signal"


@pytest.fixture
def conv_formula() -> Callable[..., Array]:
    return conv64


@pytest.fixture
def shift_formula() -> Callable[..., Array]:
    return shift64


@pytest.fixture
def within_bound() -> Callable[..., None]:
    return check_within_bound
