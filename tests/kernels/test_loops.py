import os
import subprocess
import sys

import numpy as np
import pytest

from tsm_ref.kernels import loops


def plain(kernel):
    """The Python function behind a kernel, whether or not it is compiled."""
    return getattr(kernel, "py_func", kernel)


CASES = [
    ((2, 6, 3, 7, 5), (4, 3, 1, 3, 3), (1, 2, 1), (0, 1, 1, 0, 1, 0), (1, 1, 1), 2),
    ((1, 4, 5, 6, 4), (3, 4, 3, 1, 2), (2, 1, 1), (2, 0, 0, 0, 0, 1), (2, 1, 3), 1),
    ((1, 6, 2, 5, 8), (6, 1, 1, 3, 3), (1, 2, 2), (0, 1, 1, 0, 1, 1), (1, 1, 1), 6),
    ((1, 3, 1, 9, 9), (2, 3, 1, 7, 7), (1, 2, 2), (0, 3, 3, 0, 3, 3), (1, 1, 1), 1),
]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_conv_is_the_formula(case, dtype, rng, conv_formula):
    shape, kernel, strides, pads, dilations, groups = case
    x, w = rng.standard_normal(shape).astype(dtype), rng.standard_normal(kernel).astype(dtype)
    b = rng.standard_normal(kernel[0]).astype(dtype)
    y = loops.conv(x, w, b, strides, pads, dilations, groups)
    expected = conv_formula(x, w, b, strides, pads, dilations, groups)
    assert y.dtype == dtype
    np.testing.assert_allclose(y, expected, rtol=0, atol=200 * np.finfo(dtype).eps)


def test_conv_is_the_same_function_without_the_jit(rng):
    x, w = rng.standard_normal((1, 2, 2, 4, 3)), rng.standard_normal((2, 2, 1, 3, 3))
    arguments = (x, w, np.zeros(2), (1, 1, 1), (0, 1, 1, 0, 1, 1), (1, 1, 1), 1)
    assert np.allclose(loops.conv(*arguments), plain(loops.conv)(*arguments), rtol=1e-14)


@pytest.mark.parametrize("fill", ["zero", "replicate", "circular"])
@pytest.mark.parametrize("frames", [1, 2, 5])
def test_shift_moves_bits(fill, frames, rng, shift_formula):
    x = rng.standard_normal((2, 5, frames, 2, 3)).astype(np.float32)
    x[0, 0, 0, 0, :] = np.nan, -0.0, np.inf
    d = np.array([1, -1, 0, 3, -2])
    code = {"zero": loops.ZERO, "replicate": loops.REPLICATE, "circular": loops.CIRCULAR}[fill]
    for kernel in (loops.temporal_shift, plain(loops.temporal_shift)):
        y = kernel(x, d, code)
        assert y.tobytes() == shift_formula(x, d, fill).tobytes()


def test_batch_norm_is_the_formula(rng):
    x = rng.standard_normal((2, 3, 2, 3, 4))
    mean, variance, scale, shift = rng.uniform(0.5, 2, (4, 3))
    y = loops.batch_norm(x, mean, variance, scale, shift, 1e-3)

    def column(v):
        return v[:, None, None, None]

    expected = column(scale) * (x - column(mean)) / np.sqrt(column(variance) + 1e-3) + column(shift)
    assert np.allclose(y, expected, rtol=1e-13)


def test_max_pool_ignores_padding_and_propagates_nan():
    x = np.full((1, 1, 1, 4, 4), -5.0)
    x[0, 0, 0, 3, 3] = np.nan
    arguments = ((1, 3, 3), (1, 2, 2), (0, 1, 1, 0, 1, 1), (1, 1, 1), (1, 2, 2))
    for kernel in (loops.max_pool, plain(loops.max_pool)):
        y = kernel(x, *arguments)
        assert (y[0, 0, 0].ravel()[:3] == -5.0).all()
        assert np.isnan(y[0, 0, 0, 1, 1])


def test_pools_reduce_time_too(rng):
    x = rng.standard_normal((1, 2, 6, 4, 4))
    y = loops.max_pool(x, (3, 1, 1), (2, 1, 1), (1, 0, 0, 1, 0, 0), (1, 1, 1), (3, 4, 4))
    assert (y[:, :, 0] == x[:, :, :2].max(axis=2)).all()
    assert (y[:, :, 1] == x[:, :, 1:4].max(axis=2)).all()
    mean = loops.average_pool(x, (1, 2, 2), (1, 2, 2), (0,) * 6, True, (6, 2, 2))
    assert np.allclose(mean, x.reshape(1, 2, 6, 2, 2, 2, 2).mean(axis=(4, 6)))
    assert np.allclose(loops.global_average_pool(x), x.mean(axis=(3, 4)))


@pytest.mark.parametrize(("count_padding", "corner"), [(True, 4 / 9), (False, 1.0)])
def test_average_pool_counts_padding_on_request(count_padding, corner):
    x = np.ones((1, 1, 1, 4, 4))
    y = loops.average_pool(x, (1, 3, 3), (1, 1, 1), (0, 1, 1, 0, 1, 1), count_padding, (1, 4, 4))
    assert y[0, 0, 0, 0, 0] == pytest.approx(corner)
    assert y[0, 0, 0, 1, 1] == pytest.approx(1.0)


def test_average_pool_never_counts_behind_the_padding():
    x = np.ones((1, 1, 1, 1, 5))
    y = loops.average_pool(x, (1, 1, 2), (1, 1, 2), (0,) * 6, True, (1, 1, 3))
    assert y.ravel().tolist() == [1, 1, 1]


def test_linear(rng):
    x = rng.standard_normal((2, 3, 4))
    w, b = rng.standard_normal((5, 3)), rng.standard_normal(5)
    assert np.allclose(loops.linear(x, w, b), np.einsum("kc,nct->nkt", w, x) + b[:, None])


def test_what_moves_and_averages(rng):
    x = rng.standard_normal((2, 3, 4, 5, 6))
    chw = x.transpose(0, 1, 3, 4, 2).reshape(2, 90, 4)
    hwc = x.transpose(0, 3, 4, 1, 2).reshape(2, 90, 4)
    assert (loops.flatten(x, False) == chw).all()
    assert (loops.flatten(x, True) == hwc).all()
    assert np.allclose(loops.consensus(chw), chw.mean(2))


def test_the_loops_run_without_the_jit():
    script = (
        "import numpy as np; from tsm_ref.kernels import loops;"
        "y = loops.temporal_shift(np.ones((1, 1, 2, 1, 1)), np.array([1]));"
        "assert y.ravel().tolist() == [0, 1]; assert not hasattr(loops.conv, 'py_func')"
    )
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment, timeout=60)
