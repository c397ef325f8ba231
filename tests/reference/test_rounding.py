"""The unit roundoff of every format, and the bound on a sum against sums that were made."""

import numpy as np
import pytest

from tsm_ref.reference.rounding import accumulation_bound, bfloat16, unit_roundoff


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
def test_unit_roundoff_is_half_the_distance_to_the_next_number(dtype):
    one = dtype(1)
    u = dtype(unit_roundoff(dtype))
    assert 2 * u == np.nextafter(one, dtype(2)) - one
    assert one + u == one


def test_formats_that_numpy_does_not_have():
    assert unit_roundoff("bfloat16") == 2.0**-8
    assert unit_roundoff("tf32") == 2.0**-11 == unit_roundoff("float16")
    for bad in (np.int32, "int8", "float33", object):
        with pytest.raises(ValueError, match="`dtype`"):
            unit_roundoff(bad)


@pytest.mark.parametrize(("n", "factor"), [(1, 3), (4, 6), (31, 33), (40, 6 * 40**0.5), (900, 180)])
def test_the_bound_by_hand(n, factor):
    bound = accumulation_bound(n, 0.25, np.array([8.0, 0.0]), np.array([-4.0, 0.0]))
    np.testing.assert_allclose(bound, [factor * 2 + 1, 0], rtol=1e-15)


@pytest.mark.parametrize("n", [2, 7, 33, 300, 3000])
@pytest.mark.parametrize("positive", [False, True])
def test_sums_made_in_the_worst_order_stay_below_and_bfloat16_does_not(n, positive, rng):
    x, w = rng.standard_normal((2, 400, n)).astype(np.float32)
    if positive:
        x, w = np.abs(x), np.abs(w)
    exact = x.astype(np.float64) * w
    total, size = exact.sum(axis=1), np.abs(exact).sum(axis=1)
    bound = accumulation_bound(n, 2.0**-24, size, total)
    one_after_the_other = np.add.accumulate(x * w, axis=1)[:, -1]
    assert (np.abs(one_after_the_other - total) <= bound).all()
    truncated = (w.view(np.uint32) & 0xFFFF0000).view(np.float32)
    assert (np.abs((x * truncated).sum(axis=1) - total) > bound).mean() > 0.5


def test_bfloat16_is_the_nearest_of_all_its_numbers(rng):
    every = (np.arange(1 << 16, dtype=np.uint32) << 16).view(np.float32)
    normal = np.unique(every[np.isfinite(every) & (np.abs(every) >= 2.0**-126)].astype(np.float64))
    x = rng.standard_normal(3000) * 2.0 ** rng.integers(-120, 120, 3000)
    between = np.searchsorted(normal, x)
    low, high = normal[between - 1], normal[between]
    nearest = np.where(x - low < high - x, low, high)
    np.testing.assert_array_equal(bfloat16(x), nearest)
    halves = (low + high) / 2
    even = np.where(low.astype(np.float32).view(np.uint32) >> 16 & 1, high, low)
    np.testing.assert_array_equal(bfloat16(halves), even)
    np.testing.assert_array_equal(bfloat16(normal), normal)


def test_bfloat16_at_the_ends():
    given = np.float32([0.0, -0.0, 1e-40, -1e-40, 2.0**-126, 3.3961775e38, -3.4e38, np.inf, np.nan])
    for dtype in (np.float32, np.float64):
        found = bfloat16(given.astype(dtype))
        assert found.dtype == dtype
        expected = [0, -0.0, 0, -0.0, 2.0**-126, np.inf, -np.inf, np.inf, np.nan]
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(np.signbit(found[:4]), [False, True, False, True])
