"""The ops against loops over their formulas, and values worked out by other means."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsm_ref import reference
from tsm_ref.reference import (
    attention_mask,
    batch_norm,
    consensus,
    conv,
    hard_sigmoid,
    hard_swish,
    leaky_relu,
    linear,
    log_softmax,
    non_local,
    relu,
    relu6,
    sigmoid,
    softmax,
    tanh,
)

X = np.array([-4.0, -2.5, -1.0, -0.25, 0.0, 0.75, 2.0, 3.5])
ACTIVATIONS = {
    relu: [0.0, 0.0, 0.0, 0.0, 0.0, 0.75, 2.0, 3.5],
    relu6: [0.0, 0.0, 0.0, 0.0, 0.0, 0.75, 2.0, 3.5],
    leaky_relu: [-0.04, -0.025, -0.01, -0.0025, 0.0, 0.75, 2.0, 3.5],
    hard_sigmoid: [0.0, 1 / 12, 1 / 3, 11 / 24, 0.5, 0.625, 5 / 6, 1.0],
    hard_swish: [0.0, -5 / 24, -1 / 3, -11 / 96, 0.0, 0.46875, 5 / 3, 3.5],
    sigmoid: [1 / (1 + math.exp(-v)) for v in X],
    tanh: [math.tanh(v) for v in X],
}
FLOATS = (np.float16, np.float32, np.float64, np.longdouble)


def conv_by_loops(x, w, b, stride, padding, dilation, groups):
    """The sum over taps and channels, one output value at a time."""
    size = np.array(x.shape[2:])
    before, after = np.array(padding).T
    reach = np.array(dilation) * (np.array(w.shape[2:]) - 1) + 1
    out = (size + before + after - reach) // np.array(stride) + 1
    y = np.zeros((len(x), len(w), *out))
    width = w.shape[1]
    for n, o, *place in np.ndindex(y.shape):
        first = o // (len(w) // groups) * width
        total = b[o]
        for c, *tap in np.ndindex(w.shape[1:]):
            at = np.array(place) * stride + np.array(tap) * dilation - before
            if (at >= 0).all() and (at < size).all():
                total += w[(o, c, *tap)] * x[(n, first + c, *at)]
        y[(n, o, *place)] = total
    return y


@st.composite
def convolutions(draw):
    """A small convolution of integers, so that every order of adding gives the same value."""
    axes = draw(st.sampled_from([1, 2, 3]))
    each = lambda low, high: tuple(draw(st.integers(low, high)) for _ in range(axes))  # noqa: E731
    groups, width, per_group = draw(st.tuples(*[st.integers(1, 3)] * 3))
    kernel, dilation, stride = each(1, 3), each(1, 2), each(1, 3)
    padding = tuple((draw(st.integers(0, 2)), draw(st.integers(0, 2))) for _ in range(axes))
    size = tuple(d * (k - 1) + 1 + extra
                 for d, k, extra in zip(dilation, kernel, each(0, 3), strict=True))  # fmt: skip
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = rng.integers(-9, 10, (2, groups * width, *size)).astype(np.float64)
    w = rng.integers(-9, 10, (groups * per_group, width, *kernel)).astype(np.float64)
    b = rng.integers(-9, 10, groups * per_group).astype(np.float64)
    return x, w, b, stride, padding, dilation, groups


@given(convolutions())
def test_conv_is_the_sum_over_taps_and_channels(case):
    np.testing.assert_array_equal(conv(*case), conv_by_loops(*case))


def test_conv_reads_back_every_tap_without_a_flip():
    x = np.zeros((1, 1, 3, 3, 5))
    x[0, 0, 1, 1, 2] = 1
    w = np.arange(1.0, 28).reshape(1, 1, 3, 3, 3)
    assert conv(x, w, padding=1)[0, 0, :, :, 1:4].ravel().tolist() == list(range(27, 0, -1))


@pytest.mark.parametrize(("padding", "centres"), [(1, [0, 2]), ([(0, 1)], [1, 3])])
def test_at_stride_2_the_padding_decides_which_places_are_read(padding, centres):
    """PyTorch pads (1, 1) where TensorFlow's SAME pads (0, 1)."""
    x = np.array([[[10.0, 20, 30, 40]]])
    y = conv(x, np.array([[[0.0, 1, 0]]]), stride=2, padding=padding)
    assert y[0, 0].tolist() == x[0, 0, centres].tolist()


def test_conv_leaves_its_arguments_alone(rng):
    x, w, b = (rng.standard_normal(s) for s in [(1, 2, 5), (3, 2, 1), (3,)])
    copies = x.copy(), w.copy(), b.copy()
    conv(x, w, b)
    for now, before in zip((x, w, b), copies, strict=True):
        np.testing.assert_array_equal(now, before)


def test_conv_of_no_clips_is_no_clips():
    assert conv(np.zeros((0, 4, 5)), np.zeros((6, 2, 3)), groups=2).shape == (0, 6, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.zeros((1, 4, 5), np.int32)}, "`x` is int32; the mathematics needs float16"),
        ({"weight": np.zeros((6, 4, 3), np.int64)}, "`weight` is int64"),
        ({"weight": np.zeros((6, 3, 3))}, r"\(6, 4\) and 1 kernel axes are needed"),
        ({"weight": np.zeros((6, 4, 3, 3))}, "1 kernel axes are needed"),
        ({"weight": np.zeros((6, 4, 8))}, "does not fit into the input"),
        ({"groups": 3}, r"`groups` \(=3\) must divide the 4 input and the 6 output channels"),
        ({"groups": 0}, r"`groups` \(=0\) must be an integer of at least 1"),
        ({"bias": np.zeros(5)}, r"`bias` has shape \(5,\); \(6,\) is needed"),
        ({"stride": 0}, r"`stride` \(=0\) must be an integer of at least 1"),
        ({"stride": (1, 1)}, "must be one integer or 1, one per axis"),
        ({"padding": -1}, r"`padding` \(=-1\)"),
        ({"padding": [(1, 2, 3)]}, "pairs, one per axis"),
        ({"dilation": 1.0}, "`dilation`"),
        ({"x": np.zeros((1, 4, 5), np.float32)}, "`weight` is float64 and would be rounded"),
        ({"x": np.zeros((4, 5))}, "at least 3 axes"),
    ],
)
def test_conv_refuses(change, message):
    case = {"x": np.zeros((1, 4, 5)), "weight": np.zeros((6, 4, 3))}
    with pytest.raises(ValueError, match=message):
        conv(**(case | change))


def test_batch_norm_by_hand(rng):
    x = rng.standard_normal((2, 3, 4, 5))
    m, v, g, s = [0.5, -1.0, 2.0], [0.25, 4.0, 0.0], [1.0, -2.0, 3.0], [0.0, 1.0, -1.0]
    y = batch_norm(x, m, v, g, s, eps=1e-3)
    for n, c, t, h in np.ndindex(x.shape):
        expected = (x[n, c, t, h] - m[c]) / math.sqrt(v[c] + 1e-3) * g[c] + s[c]
        assert math.isclose(y[n, c, t, h], expected, rel_tol=1e-13, abs_tol=1e-13)


def test_batch_norm_refuses():
    x, one = np.zeros((1, 2, 3)), np.ones(2)
    with pytest.raises(ValueError, match=r"-1.0 at channel 1\) must be positive"):
        batch_norm(x, one, [1.0, -1.0], one, one, eps=0.0)
    with pytest.raises(ValueError, match=r"`scale` has shape \(3,\); \(2,\) is needed"):
        batch_norm(x, one, one, np.ones(3), one)
    with pytest.raises(ValueError, match="must be positive"):
        batch_norm(x, one, [1.0, math.nan], one, one)


@pytest.mark.parametrize("function", ACTIVATIONS)
def test_activations(function):
    np.testing.assert_allclose(function(X), ACTIVATIONS[function], rtol=1e-15, atol=0)


def test_activations_at_the_ends():
    ends = np.array([-math.inf, -800.0, 7.5, 800.0, math.inf])
    assert relu(ends).tolist() == [0, 0, 7.5, 800, math.inf]
    assert relu6(ends).tolist() == [0, 0, 6, 6, 6]
    assert leaky_relu(ends, 0.1).tolist() == [-math.inf, -80, 7.5, 800, math.inf]
    assert hard_sigmoid(ends).tolist() == [0, 0, 1, 1, 1]
    assert hard_sigmoid(np.array([-1.0, 2.0]), alpha=0.2).tolist() == [0.3, 0.9]
    assert tanh(ends)[[0, 1, 3, 4]].tolist() == [-1, -1, 1, 1]
    assert sigmoid(ends)[[0, 1, 3, 4]].tolist() == [0, 0, 1, 1]
    assert sigmoid(np.array([-700.0]))[0] == pytest.approx(math.exp(-700), rel=1e-13)
    for function in ACTIVATIONS:
        assert np.isnan(function(np.array([math.nan]))).all()


def test_linear_is_a_product_at_every_place(rng):
    w, b = rng.standard_normal((4, 3)), rng.standard_normal(4)
    for shape in [(2, 3), (2, 3, 5), (2, 3, 5, 1, 6)]:
        x = rng.standard_normal(shape)
        y = linear(x, w, b)
        assert y.shape == (2, 4, *shape[2:])
        for n, k, *place in np.ndindex(y.shape):
            column = x[(n, slice(None), *place)]
            expected = math.fsum(p * q for p, q in zip(w[k], column, strict=True)) + b[k]
            assert math.isclose(y[(n, k, *place)], expected, rel_tol=1e-12, abs_tol=1e-14)
    with pytest.raises(ValueError, match=r"`weight` has shape \(4, 2\); \(4, 3\) is needed"):
        linear(x, w[:, :2])
    with pytest.raises(ValueError, match=r"`weight` has shape \(\)"):
        linear(x, 1.0)


@given(st.integers(-3, 2), st.integers(0, 2**32 - 1))
def test_softmax_is_a_ratio_of_exponentials(axis, seed):
    x = np.random.default_rng(seed).standard_normal((2, 3, 5)) * 3
    e = np.exp(x)
    y = softmax(x, axis)
    np.testing.assert_allclose(y, e / e.sum(axis=axis, keepdims=True), rtol=1e-14)
    np.testing.assert_allclose(softmax(x + 5000, axis), y, rtol=1e-11)
    with pytest.raises(ValueError, match=r"`axis` \(=3\)"):
        softmax(x, 3)


@given(st.integers(-3, 2), st.integers(0, 2**32 - 1))
def test_log_softmax_is_the_logarithm_of_softmax(axis, seed):
    x = np.random.default_rng(seed).standard_normal((2, 3, 5)) * 3
    np.testing.assert_allclose(log_softmax(x, axis), np.log(softmax(x, axis)), atol=1e-14)
    assert np.isfinite(log_softmax(np.array([0.0, 5000.0]), 0)).all()
    with pytest.raises(ValueError, match=r"`axis` \(=3\)"):
        log_softmax(x, 3)


def test_consensus_may_be_the_largest_or_the_last_frame():
    logits = np.array([[[1.0, 2, 6, 3], [0, 0, 4, -1]]])
    assert consensus(logits, "max").tolist() == [[6, 4]]
    assert consensus(logits, "last").tolist() == [[3, -1]]
    with pytest.raises(ValueError, match="`over`"):
        consensus(logits, "first")


def test_consensus_is_the_mean_over_time():
    logits = np.array([[[1.0, 2, 6, 3], [0, 0, 4, 0]], [[5, 5, 5, 9], [-1, -2, -3, -6]]])
    assert consensus(logits).tolist() == [[3, 1], [6, -3]]
    for bad in (logits[0], logits[:, :, :0], logits[None]):
        with pytest.raises(ValueError, match="`logits` has shape"):
            consensus(bad)


def test_attention_mask_has_a_mean_of_one_half_in_every_frame(rng):
    m = rng.uniform(0.1, 0.9, (2, 1, 3, 4, 5))
    y = attention_mask(m)
    for n, t in np.ndindex(2, 3):
        total = math.fsum(m[n, 0, t].ravel())
        np.testing.assert_allclose(y[n, 0, t], m[n, 0, t] / total * 20 * 0.5, rtol=1e-14)
    with pytest.raises(ValueError, match="at least one pixel"):
        attention_mask(m[..., :0])


@pytest.mark.parametrize("mode", ["embedded_gaussian", "gaussian", "dot_product"])
def test_non_local_place_by_place(mode, rng):
    theta = rng.standard_normal((2, 3, 4, 2, 6))
    phi, g = rng.standard_normal((2, 3, 4, 1, 3)), rng.standard_normal((2, 5, 4, 1, 3))
    y = non_local(theta, phi, g, mode)
    assert y.shape == (2, 5, 4, 2, 6)
    for n, *place in np.ndindex(2, 4, 2, 6):
        scores = [
            float(theta[(n, slice(None), *place)] @ phi[(n, slice(None), *other)])
            for other in np.ndindex(4, 1, 3)
        ]
        weights = scores if mode == "dot_product" else [math.exp(s) for s in scores]
        total = 12 if mode == "dot_product" else math.fsum(weights)
        for c in range(5):
            expected = math.fsum(
                w / total * g[(n, c, *other)]
                for w, other in zip(weights, np.ndindex(4, 1, 3), strict=True)
            )
            assert math.isclose(y[(n, c, *place)], expected, rel_tol=1e-11, abs_tol=1e-12)


def test_non_local_refuses(rng):
    theta, phi = rng.standard_normal((1, 3, 4)), rng.standard_normal((1, 3, 2))
    with pytest.raises(ValueError, match="`mode`"):
        non_local(theta, phi, phi, "concatenation")
    with pytest.raises(ValueError, match="`phi` has shape"):
        non_local(theta, phi[:, :2], phi)
    with pytest.raises(ValueError, match="`g` has shape"):
        non_local(theta, phi, theta)


CALLS = {
    "conv": lambda x: conv(x, np.ones((2, 3, 1, 2, 2), np.float16), np.ones(2, np.float16)),
    "batch_norm": lambda x: batch_norm(x, *[np.ones(3, np.float16)] * 4),
    "linear": lambda x: linear(x, np.ones((2, 3), np.float16), np.ones(2, np.float16)),
    "softmax": softmax,
    "log_softmax": log_softmax,
    "consensus": lambda x: consensus(x[..., 0, 0]),
    "attention_mask": attention_mask,
    "non_local": lambda x: non_local(x, x, x),
    "max_pool": lambda x: reference.max_pool(x, 2),
    "avg_pool": lambda x: reference.avg_pool(x, 2, padding=1),
    "global_avg_pool": reference.global_avg_pool,
    "temporal_shift_by_convolution": lambda x: reference.temporal_shift_by_convolution(
        x, [1, -1, 0]
    ),
    "residual_shift": lambda x: reference.residual_shift(x, relu, [1, -1, 0]),
    **{f.__name__: f for f in ACTIVATIONS},
}


@pytest.mark.parametrize("name", CALLS)
def test_the_dtype_that_goes_in_comes_out(name, rng):
    """And a narrow result is the wide one rounded, up to the errors of its own arithmetic."""
    x = rng.uniform(0.5, 2, (2, 3, 4, 5, 6)).astype(np.float16)
    results = {dtype: CALLS[name](x.astype(dtype)) for dtype in FLOATS}
    for dtype, y in results.items():
        assert y.dtype == dtype
        tolerance = 64 * max(np.finfo(dtype).eps, np.finfo(np.float64).eps)
        np.testing.assert_allclose(y, results[np.longdouble], rtol=float(tolerance))


@pytest.mark.parametrize("name", CALLS)
def test_integers_are_refused(name):
    with pytest.raises(ValueError, match="is int64; the mathematics needs"):
        CALLS[name](np.ones((2, 3, 4, 5, 6), np.int64))


def test_float16_sums_are_made_in_float32():
    """2049 is no float16: a float16 accumulator would stay at 2048 for ever."""
    ones = np.ones((1, 1, 4096), np.float16)
    assert conv(ones, ones)[0, 0, 0] == 4096
    assert linear(ones.swapaxes(1, 2), ones[0])[0, 0, 0] == 4096
    assert reference.avg_pool(ones, 4096)[0, 0, 0] == 1


def test_all_names_are_sorted_and_exist():
    assert reference.__all__ == sorted(reference.__all__)
    for name in reference.__all__:
        assert callable(getattr(reference, name)) or name == "FILLS"
