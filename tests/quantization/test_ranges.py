"""Ranges: what was seen is kept as the method says, and zero has no error."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsm_ref.errors import CheckpointError
from tsm_ref.quantization.ranges import METHODS, Seen, observed, steps_of
from tsm_ref.reference.quantised import dequantize_linear, quantize_linear


def seen_of(values):
    rows = np.asarray(values, np.float64).reshape(1, -1)
    found = Seen(*(np.zeros(1),) * 3)
    found.take(rows)
    found.sort(rows)
    return found


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20), st.sampled_from(["uint8", "int8"]))
def test_all_that_was_seen_fits_and_zero_stays_zero(values, dtype):
    steps = steps_of(seen_of(values), "min-max", dtype)
    x = np.array([*values, 0.0])
    q = quantize_linear(x, steps.scale, steps.zero_point, dtype)
    back = dequantize_linear(q, steps.scale, steps.zero_point, to=np.float64)
    assert back[-1] == 0
    assert np.abs(back - x).max() <= steps.scale * (1 + 1e-5)


def test_one_value_far_away_does_not_take_the_steps_of_all_others(rng):
    values = np.abs(rng.standard_normal(100_000))
    values[0] = 40.0
    whole = steps_of(seen_of(values), "min-max")
    kept = steps_of(seen_of(values), "percentile")
    assert kept.scale < 0.3 * whole.scale
    assert kept.scale * 255 > 2


def test_the_smallest_error_is_found(rng):
    values = rng.laplace(size=50_000)
    seen = seen_of(values)

    def error(steps):
        q = quantize_linear(values, steps.scale, steps.zero_point)
        back = dequantize_linear(q, steps.scale, steps.zero_point, to=np.float64)
        return ((back - values) ** 2).mean()

    errors = {method: error(steps_of(seen, method)) for method in METHODS}
    assert errors["mse"] == min(errors.values()) < errors["min-max"]


def test_a_value_that_is_always_zero_has_steps_too():
    steps = steps_of(seen_of([0.0, 0.0]))
    assert steps.scale > 0
    assert steps.zero_point == 0


def test_channels_are_seen_each_on_its_own():
    clips = [{"x": np.array([[[1.0, 2.0], [-3.0, 0.5]]])}, {"x": np.array([[[0.0, 5.0], [1, 1]]])}]
    seen = observed(lambda clip: {"y": 2 * clip["x"]}, ["x", "y"], clips)
    assert seen["y"].low.tolist() == [0, -6]
    assert seen["y"].largest.tolist() == [10, 6]
    assert seen["x"].mean.tolist() == [2, -0.125]
    assert seen["x"].counts.sum() == 8


def test_a_value_that_is_not_finite_is_refused():
    with pytest.raises(CheckpointError, match="'x' is not finite"):
        observed(lambda clip: {}, ["x"], [{"x": np.array([[np.nan]])}])
