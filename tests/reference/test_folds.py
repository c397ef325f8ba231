"""Every fold rule against the slices and rolls of the implementation that it describes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsm_ref.reference import (
    folds_mit,
    folds_mtts_can,
    folds_online,
    folds_online_double,
    folds_paddle,
    folds_roll,
    temporal_shift,
)

RULES = (folds_mit, folds_online, folds_online_double, folds_mtts_can, folds_roll)


def clip(channels):
    """A clip of two videos with five frames in which no two values are equal."""
    return np.arange(1.0, 1 + 2 * channels * 5).reshape(2, channels, 5)


@pytest.mark.parametrize("channels", [3, 8, 17, 24, 64])
@pytest.mark.parametrize(("rule", "fold_div"), [(folds_mit, 8), (folds_mtts_can, 3)])
def test_future_first_as_slices(channels, rule, fold_div):
    x, fold = clip(channels), channels // fold_div
    expected = np.zeros_like(x)
    expected[:, :fold, :-1] = x[:, :fold, 1:]
    expected[:, fold : 2 * fold, 1:] = x[:, fold : 2 * fold, :-1]
    expected[:, 2 * fold :] = x[:, 2 * fold :]
    np.testing.assert_array_equal(temporal_shift(x, rule(channels)), expected)


@pytest.mark.parametrize(("rule", "folds"), [(folds_online, 1), (folds_online_double, 2)])
def test_past_only_as_slices(rule, folds):
    x, end = clip(20), folds * (20 // 8)
    expected = x.copy()
    expected[:, :end, 0] = 0
    expected[:, :end, 1:] = x[:, :end, :-1]
    np.testing.assert_array_equal(temporal_shift(x, rule(20)), expected)


@pytest.mark.parametrize(("channels", "ratio"), [(64, 1 / 8), (40, 1 / 16), (10, 0.25), (7, 0.5)])
def test_paddle_pads_and_slices(channels, ratio):
    x = clip(channels)
    padded = np.pad(x, [(0, 0), (0, 0), (1, 1)])
    c1, c2 = int(channels * ratio), int(2 * channels * ratio)
    parts = padded[:, :c1, :5], padded[:, c1:c2, 2:], padded[:, c2:, 1:6]
    np.testing.assert_array_equal(
        temporal_shift(x, folds_paddle(channels, ratio)), np.concatenate(parts, axis=1)
    )


def test_paddle_folds_can_be_unequal_and_follow_float32():
    assert folds_paddle(10, 0.25).tolist() == [1, 1, -1, -1, -1, 0, 0, 0, 0, 0]
    assert int(49 * (1 / 49)) == 0
    assert np.count_nonzero(folds_paddle(49, 1 / 49) == 1) == 1


@given(st.integers(1, 40), st.sampled_from([2, 4, 8, 16]))
def test_paddle_on_a_reversed_clip_is_mit(channels, fold_div):
    channels *= fold_div
    x = clip(channels)
    paddle = temporal_shift(x[:, :, ::-1], folds_paddle(channels, 1 / fold_div))[:, :, ::-1]
    np.testing.assert_array_equal(paddle, temporal_shift(x, folds_mit(channels, fold_div)))


def test_roll_is_a_roll():
    x = clip(19)
    expected = x.copy()
    expected[:, :2] = np.roll(x[:, :2], -1, axis=2)
    expected[:, 2:4] = np.roll(x[:, 2:4], 1, axis=2)
    np.testing.assert_array_equal(temporal_shift(x, folds_roll(19), "circular"), expected)


@pytest.mark.parametrize("rule", RULES)
@given(channels=st.integers(0, 70), fold_div=st.integers(1, 20))
def test_folds_are_floored_and_the_rest_stays(rule, channels, fold_div):
    d = rule(channels, fold_div)
    fold = channels // fold_div
    assert d.dtype == np.int64
    assert d.shape == (channels,)
    assert set(d[:fold].tolist()) <= {-1, 1}
    assert 0 not in d[:fold]
    assert not d[2 * fold :].any()
    if channels < fold_div:
        assert not d.any()


def test_refuses_what_is_no_fold():
    for rule in RULES:
        with pytest.raises(ValueError, match="`fold_div`"):
            rule(8, 0)
        with pytest.raises(ValueError, match="`channels`"):
            rule(-1)
        with pytest.raises(ValueError, match="`fold_div`"):
            rule(8, 2.0)
    with pytest.raises(ValueError, match=r"`shift_ratio` \(=0.6\)"):
        folds_paddle(8, 0.6)
    with pytest.raises(ValueError, match="`shift_ratio`"):
        folds_paddle(8, float("nan"))
