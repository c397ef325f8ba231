"""The shift along height and width: its formula, and which convolution it equals and which not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsm_ref import reference as ref

SHAPE = (2, 5, 3, 4, 6)


@st.composite
def shifts(draw, most=7):
    pairs = st.lists(st.integers(-most, most), min_size=5, max_size=5)
    return draw(pairs), draw(pairs), draw(st.sampled_from(ref.FILLS))


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def source(i: int, size: int, fill: str) -> int | None:
    if 0 <= i < size:
        return i
    return {"zero": None, "replicate": min(max(i, 0), size - 1), "circular": i % size}[fill]


@given(shifts())
def test_the_formula(drawn) -> None:
    dh, dw, fill = drawn
    x = values(*SHAPE)
    y = ref.spatial_shift(x, dh, dw, fill)
    for n, c, t, h, w in np.ndindex(*SHAPE):
        row, column = source(h - dh[c], SHAPE[3], fill), source(w - dw[c], SHAPE[4], fill)
        expected = 0.0 if row is None or column is None else x[n, c, t, row, column]
        assert y[n, c, t, h, w] == expected


@given(shifts())
def test_the_adjoint(drawn) -> None:
    x, y = values(*SHAPE), values(*SHAPE, seed=1)
    left = (ref.spatial_shift(x, *drawn) * y).sum()
    np.testing.assert_allclose(left, (x * ref.spatial_shift_adjoint(y, *drawn)).sum())


def test_bits_are_moved_and_never_computed_with() -> None:
    x = np.full((1, 1, 1, 2, 2), -0.0, np.float16)
    x[..., 0, 1] = np.nan
    y = ref.spatial_shift(x, [0], [1], fill="circular")
    assert y.dtype == np.float16
    assert np.isnan(y[0, 0, 0, 0, 0])
    assert np.signbit(y[0, 0, 0, 1]).all()


@given(shifts(most=2))
def test_a_shift_and_a_pointwise_convolution_are_a_convolution_of_one_tap_per_channel(
    drawn,
) -> None:
    dh, dw, _ = drawn
    x, weight = values(*SHAPE), values(3, 5, seed=2)
    shifted = ref.conv(ref.spatial_shift(x, dh, dw), weight[:, :, None, None, None])
    kernel = ref.spatial_shift_into_conv_weight(weight, dh, dw)
    r = kernel.shape[-1] // 2
    np.testing.assert_allclose(ref.conv(x, kernel, padding=(0, r, r)), shifted, atol=1e-12)
    assert ((kernel != 0).reshape(3, 5, -1).sum(2) == 1).all()


def test_a_cross_has_no_corners() -> None:
    kernel = ref.spatial_shift_into_conv_weight(values(7, 16), *ref.cross_folds(16, 5))
    seen = (kernel != 0).any((0, 1))[0]
    assert seen.tolist() == [[False, True, False], [True, True, True], [False, True, False]]


def test_crosses_behind_one_another_see_a_diamond_and_full_kernels_a_square() -> None:
    """Two crosses see |h| + |w| <= 2; two full convolutions of 3x3 see all of 5x5."""
    folds = ref.cross_folds(5, 5)
    point = np.ones((5, 5, 1, 1, 1))
    x = np.zeros((1, 5, 1, 9, 9))
    x[:, :, 0, 4, 4] = 1
    cross, full = x, x
    for depth in (1, 2, 3):
        cross = ref.conv(ref.spatial_shift(cross, *folds), point)
        full = ref.conv(full, np.ones((5, 5, 1, 3, 3)), padding=(0, 1, 1))
        h, w = np.abs(np.indices((9, 9)) - 4)
        np.testing.assert_array_equal(cross[0, 0, 0] != 0, h + w <= depth)
        np.testing.assert_array_equal(full[0, 0, 0] != 0, np.maximum(h, w) <= depth)


def test_a_full_convolution_needs_the_shift_of_every_tap() -> None:
    x, weight = values(*SHAPE), values(3, 5, 3, 3, seed=3)
    expected = ref.conv(x, weight[:, :, None], padding=(0, 1, 1))
    np.testing.assert_allclose(ref.conv_by_spatial_shifts(x, weight), expected, atol=1e-12)


def test_no_weights_behind_a_cross_make_the_full_convolution() -> None:
    """Of a random 3x3 kernel, the best weights behind a cross leave what its other taps hold."""
    weight = values(4, 16, 3, 3, seed=4)
    dh, dw = ref.cross_folds(16, 5)
    own = weight[:, np.arange(16), 1 - dh, 1 - dw]
    nearest = ref.spatial_shift_into_conv_weight(own, dh, dw)[:, :, 0]
    left = ((weight - nearest) ** 2).sum() / (weight**2).sum()
    others = 1 - (own**2).sum() / (weight**2).sum()
    assert left == pytest.approx(others)
    assert 0.8 < left < 0.95  # of 9 taps, one is there


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: ref.spatial_shift(np.zeros((1, 2, 3)), [0, 0], [0, 0]), "N, C, T, H, W"),
        (lambda: ref.spatial_shift(values(*SHAPE), [0] * 4, [0] * 5), "d"),
        (lambda: ref.spatial_shift(values(*SHAPE), [0] * 5, [0.5] * 5), "d"),
        (lambda: ref.spatial_shift(values(*SHAPE), [0] * 5, [0] * 5, "mirror"), "fill"),
        (lambda: ref.cross_folds(8, 3), "fold_div"),
        (lambda: ref.spatial_shift_into_conv_weight(np.zeros(3), [0] * 3, [0] * 3), "K, C"),
        (lambda: ref.conv_by_spatial_shifts(values(*SHAPE), np.zeros((3, 5, 2, 2))), "2r"),
    ],
)
def test_what_cannot_be_is_refused(call, said) -> None:
    with pytest.raises(ValueError, match=said):
        call()
