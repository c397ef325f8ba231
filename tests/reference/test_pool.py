"""Pooling against values computed by PyTorch, and against loops over the windows."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsm_ref.reference import avg_pool, global_avg_pool, max_pool

X = np.array(
    [
        [3.0, -1, 4, 1, -5],
        [9, 2, -6, 5, 3],
        [-5, 8, 9, -7, 9],
        [3, 2, 3, 8, -4],
        [6, 2, 6, 4, -3],
        [3, 8, 3, 2, 7],
        [-9, 5, 0, 2, 8],
    ]
)[None, None]

# (kernel, stride, padding, dilation, ceil_mode) -> torch.nn.functional.max_pool2d, version 2.13
MAX = [
    ((3, 2), (2, 2), (1, 1), 1, False, [[9, 4, 5], [9, 9, 9], [6, 8, 8], [3, 8, 8]]),
    ((3, 2), (2, 3), (1, 0), 1, True, [[9, 5], [9, 9], [8, 8], [8, 8]]),
    ((2, 3), (3, 3), (1, 1), 1, True, [[3, 4], [8, 9], [8, 8]]),
    (
        (2, 2), (2, 1), (0, 1), (3, 2), True,
        [[2, 4, 8, 4, 8], [8, 9, 8, 9, 2], [2, 6, 4, 6, 4]],
    ),
    ((3, 3), (4, 3), (0, 0), 1, True, [[9, 9], [8, 8]]),
]  # fmt: skip

# (kernel, stride, padding, ceil_mode, count_include_pad) -> 48 * avg_pool2d, the same version
AVG = [
    (
        (3, 2), (2, 2), (1, 1), False, True,
        [[96, -8, 32], [56, 144, 112], [96, 192, 112], [-48, 128, 152]],
    ),
    (
        (3, 2), (2, 2), (1, 1), False, False,
        [[288, -12, 48], [112, 144, 112], [192, 192, 112], [-144, 192, 228]],
    ),
    ((4, 2), (4, 3), (1, 1), True, True, [[42, 36], [18, 168]]),
    ((4, 2), (4, 3), (1, 1), True, False, [[112, 48], [36, 168]]),
    ((4, 4), (4, 4), (0, 0), True, True, [[114, 36], [128, 192]]),
]  # fmt: skip


@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation", "ceil_mode", "expected"), MAX)
def test_max_pool_as_pytorch(kernel, stride, padding, dilation, ceil_mode, expected):
    y = max_pool(X, kernel, stride, padding, dilation, ceil_mode)
    assert y[0, 0].tolist() == expected


@pytest.mark.parametrize(("kernel", "stride", "padding", "ceil_mode", "count", "expected"), AVG)
def test_avg_pool_as_pytorch(kernel, stride, padding, ceil_mode, count, expected):
    y = avg_pool(X, kernel, stride, padding, ceil_mode, count)
    np.testing.assert_allclose(48 * y[0, 0], expected, rtol=1e-14)


@given(
    st.integers(1, 9),
    st.integers(1, 4),
    st.integers(1, 4),
    st.tuples(st.integers(0, 3), st.integers(0, 3)),
    st.booleans(),
    st.booleans(),
)
def test_one_axis_window_by_window(size, kernel, stride, sides, ceil_mode, count_include_pad):
    before, after = (min(side, kernel - 1) for side in sides)
    x = np.random.default_rng(size).permutation(17)[:size].astype(np.float64) - 8
    starts, start = [], -before
    while start + kernel <= size + after or (
        ceil_mode and start < size and start - stride + kernel < size + after
    ):
        starts.append(start)
        start += stride
    if not starts:
        with pytest.raises(ValueError, match="does not fit"):
            max_pool(x[None, None], kernel, stride, [(before, after)], 1, ceil_mode)
        return
    highest, means = [], []
    for start in starts:
        inside = x[max(start, 0) : start + kernel]
        counted = [i for i in range(start, start + kernel) if -before <= i < size + after]
        highest.append(max(inside))
        means.append(sum(inside) / (len(counted) if count_include_pad else len(inside)))
    args = (kernel, stride, [(before, after)])
    assert max_pool(x[None, None], *args, 1, ceil_mode)[0, 0].tolist() == highest
    y = avg_pool(x[None, None], *args, ceil_mode, count_include_pad)[0, 0]
    np.testing.assert_allclose(y, means, rtol=1e-14)


def test_a_window_over_time_is_the_temporal_pool(rng):
    x = rng.standard_normal((2, 3, 6, 4, 5))
    y = max_pool(x, (3, 1, 1), (2, 1, 1), (1, 0, 0))
    for t, frames in enumerate([[0, 1], [1, 2, 3], [3, 4, 5]]):
        np.testing.assert_array_equal(y[:, :, t], x[:, :, frames].max(axis=2))


def test_max_pool_of_negative_numbers_never_sees_the_padding():
    assert max_pool(np.full((1, 1, 3), -7.0), 3, 1, 1).tolist() == [[[-7, -7, -7]]]


def test_max_pool_passes_nan_on_and_moves_infinities():
    x = np.array([[[1.0, math.nan, 3, math.inf, -math.inf, -math.inf]]])
    y = max_pool(x, 2)[0, 0]
    assert np.isnan(y[0])
    assert y[1:].tolist() == [math.inf, -math.inf]


def test_the_stride_is_the_kernel_unless_given():
    x = np.arange(12.0).reshape(1, 1, 12)
    assert max_pool(x, 4)[0, 0].tolist() == [3, 7, 11]
    assert avg_pool(x, 4)[0, 0].tolist() == [1.5, 5.5, 9.5]


def test_global_avg_pool_is_the_mean_of_each_frame(rng):
    x = rng.standard_normal((2, 3, 4, 5, 7))
    y = global_avg_pool(x)
    assert y.shape == (2, 3, 4)
    for index in np.ndindex(2, 3, 4):
        assert math.isclose(y[index], math.fsum(x[index].ravel()) / 35, rel_tol=1e-12)
    assert global_avg_pool(x, keepdims=True).shape == (2, 3, 4, 1, 1)
    np.testing.assert_allclose(
        global_avg_pool(x, axes=(2, 3, 4)), y.mean(axis=2), rtol=1e-12, atol=1e-15
    )


def test_refusals():
    for pool in (max_pool, avg_pool):
        with pytest.raises(ValueError, match="must be smaller than the window"):
            pool(X, 2, padding=2)
        with pytest.raises(ValueError, match="does not fit into the input"):
            pool(X, 8, stride=1)
        with pytest.raises(ValueError, match="`kernel`"):
            pool(X, 0)
        with pytest.raises(ValueError, match="at least 3 axes"):
            pool(X[0, 0], 2)
    with pytest.raises(ValueError, match="must exist and be non-empty"):
        global_avg_pool(X[..., :0])
    with pytest.raises(ValueError, match="must exist"):
        global_avg_pool(X, axes=(7,))
