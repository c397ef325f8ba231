"""The shift against loops over its definition, and the identities that tie its faces together."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsm_ref.reference import (
    FILLS,
    conv,
    folds_mit,
    folds_online,
    initial_cache,
    is_causal,
    shift_as_depthwise_kernel,
    shift_into_conv3d_weight,
    temporal_shift,
    temporal_shift_adjoint,
    temporal_shift_by_convolution,
    temporal_shift_by_multiply_accumulate,
    temporal_shift_step,
)


def by_loops(x: Any, d: Any, fill: str) -> Any:
    """The definition, one frame at a time."""
    out = np.zeros_like(x)
    frames = x.shape[2]
    for n, c, t in np.ndindex(*x.shape[:3]):
        s = t - d[c]
        if fill == "circular":
            s = s % frames
        if fill == "replicate":
            s = min(max(s, 0), frames - 1)
        if 0 <= s < frames:
            out[n, c, t] = x[n, c, s]
    return out


@st.composite
def clips(draw: Any, reach: int = 2, causal: bool = False) -> tuple[Any, Any]:
    """A float64 clip of small integers (sums stay exact) with N, C, T distinct, and its shifts."""
    n, c, t = draw(st.lists(st.integers(1, 7), min_size=3, max_size=3, unique=True))
    behind = draw(st.sampled_from([(), (2,), (3, 2)]))
    seed = draw(st.integers(0, 2**32 - 1))
    x = np.random.default_rng(seed).integers(-99, 100, (n, c, t, *behind)).astype(np.float64)
    low = 0 if causal else -reach * t
    d = draw(st.lists(st.integers(low, reach * t), min_size=c, max_size=c))
    return x, np.array(d)


@given(clips(), st.sampled_from(FILLS))
def test_follows_the_definition(clip, fill):
    x, d = clip
    before = x.copy()
    out = temporal_shift(x, d, fill)
    np.testing.assert_array_equal(out, by_loops(x, d, fill))
    np.testing.assert_array_equal(x, before)
    assert not np.shares_memory(out, x)


def test_golden_values_of_a_bidirectional_shift():
    x = np.arange(1, 25).reshape(2, 4, 3)
    out = temporal_shift(x, folds_mit(4, fold_div=4))
    assert out[0].tolist() == [[2, 3, 0], [0, 4, 5], [7, 8, 9], [10, 11, 12]]
    assert out[1].tolist() == [[14, 15, 0], [0, 16, 17], [19, 20, 21], [22, 23, 24]]


def test_bits_survive_whatever_they_mean():
    bits = np.array([0x7FC12345, 0xFFA00001, 0x80000000, 0x7F800000, 1], np.uint32)
    x = bits.view(np.float32).reshape(1, 1, 5)
    out = temporal_shift(np.repeat(x, 2, axis=1), [0, 2])
    assert out.view(np.uint32)[0].tolist() == [bits.tolist(), [0, 0, *bits[:3].tolist()]]


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "g", "c8", "i1", "u8", "?", ">f4", "S3"])
@pytest.mark.parametrize("fill", FILLS)
def test_keeps_every_dtype(dtype, fill, rng):
    x = rng.integers(0, 2, (2, 3, 5)).astype(dtype)
    out = temporal_shift(x, [1, -2, 0], fill)
    assert out.dtype == x.dtype
    np.testing.assert_array_equal(out, by_loops(x, [1, -2, 0], fill))


def test_accepts_a_view_in_any_memory_order(rng):
    x = rng.standard_normal((4, 6, 5, 3)).transpose(2, 3, 1, 0)[::-1, :, ::2]
    np.testing.assert_array_equal(temporal_shift(x, [1, -1, 0]), by_loops(x, [1, -1, 0], "zero"))


def test_one_frame_loses_every_shifted_channel():
    assert temporal_shift(np.array([[[3], [4], [5]]]), [1, -1, 0]).tolist() == [[[0], [0], [5]]]


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("shape", [(2, 3, 0, 4), (0, 3, 2), (2, 3, 4, 0)])
def test_an_empty_axis_is_no_error(shape, fill):
    assert temporal_shift(np.zeros(shape), [1, 0, -1], fill).shape == shape


@given(clips(), st.randoms(use_true_random=False))
def test_clips_do_not_leak_into_each_other(clip, random):
    x, d = clip
    alone = [temporal_shift(x[n : n + 1], d)[0] for n in range(len(x))]
    np.testing.assert_array_equal(temporal_shift(x, d), np.stack(alone))


@given(clips(), st.randoms(use_true_random=False), st.sampled_from(FILLS))
def test_permuting_the_channels_permutes_the_result(clip, random, fill):
    x, d = clip
    order = random.sample(range(len(d)), len(d))
    np.testing.assert_array_equal(
        temporal_shift(x[:, order], d[order], fill), temporal_shift(x, d, fill)[:, order]
    )


@given(clips(), st.sampled_from(FILLS))
def test_reversing_time_reverses_the_direction(clip, fill):
    x, d = clip
    reversed_twice = temporal_shift(x[:, :, ::-1], d, fill)[:, :, ::-1]
    np.testing.assert_array_equal(reversed_twice, temporal_shift(x, -d, fill))


@given(clips(), st.integers(0, 2**32 - 1), st.sampled_from(FILLS))
def test_the_adjoint_is_the_transpose(clip, seed, fill):
    x, d = clip
    y = np.random.default_rng(seed).integers(-99, 100, x.shape).astype(np.float64)
    assert (temporal_shift(x, d, fill) * y).sum() == (x * temporal_shift_adjoint(y, d, fill)).sum()


def test_the_adjoint_leaves_its_argument_alone(rng):
    y = rng.standard_normal((2, 3, 4))
    before = y.copy()
    for fill in FILLS:
        assert not np.shares_memory(temporal_shift_adjoint(y, [1, -1, 9], fill), y)
    np.testing.assert_array_equal(y, before)


@given(clips())
def test_equals_a_one_hot_depthwise_convolution(clip):
    x, d = clip
    np.testing.assert_array_equal(temporal_shift_by_convolution(x, d), by_loops(x, d, "zero"))


@given(clips())
def test_equals_shifts_and_multiply_accumulates(clip):
    x, d = clip
    kernel = shift_as_depthwise_kernel(d)
    out = temporal_shift_by_multiply_accumulate(x, kernel)
    np.testing.assert_array_equal(out, by_loops(x, d, "zero"))


@given(clips(), st.integers(0, 3), st.integers(0, 2**32 - 1))
def test_any_temporal_convolution_is_a_sum_of_weighted_shifts(clip, radius, seed):
    x, _ = clip
    channels, frames = x.shape[1:3]
    kernel = np.random.default_rng(seed).integers(-9, 10, (channels, 2 * radius + 1))
    expected = np.zeros_like(x)
    for c, t, k in np.ndindex(channels, frames, 2 * radius + 1):
        if 0 <= t + k - radius < frames:
            expected[:, c, t] += kernel[c, k] * x[:, c, t + k - radius]
    out = temporal_shift_by_multiply_accumulate(x, kernel.astype(np.float64))
    np.testing.assert_array_equal(out, expected)


@given(
    st.lists(st.integers(-3, 3), min_size=6, max_size=6),
    st.sampled_from([1, 2, 3]),
    st.integers(0, 2**32 - 1),
)
def test_a_shift_before_a_convolution_is_taps_of_a_3d_convolution(d, groups, seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(-9, 10, (2, 6, 4, 5, 7)).astype(np.float64)
    weight = rng.integers(-9, 10, (12, 6 // groups, 1, 3, 2)).astype(np.float64)
    framewise = conv(by_loops(x, d, "zero"), weight, padding=(0, 1, 1), groups=groups)
    spread = shift_into_conv3d_weight(weight, d, groups)
    reach = max(map(abs, d))
    assert spread.shape == (12, 6 // groups, 2 * reach + 1, 3, 2)
    np.testing.assert_array_equal(conv(x, spread, padding=(reach, 1, 1), groups=groups), framewise)


@given(clips(causal=True))
def test_streaming_equals_offline(clip):
    x, d = clip
    cache = initial_cache(x[:, :, 0].shape, d, x.dtype)
    for t in range(x.shape[2]):
        kept = cache.copy()
        out, new_cache = temporal_shift_step(x[:, :, t], cache, d)
        np.testing.assert_array_equal(out, by_loops(x, d, "zero")[:, :, t])
        np.testing.assert_array_equal(cache, kept)
        cache = new_cache


@given(clips(causal=True), st.data())
def test_streaming_equals_offline_for_any_chunking(clip, data):
    """A chunk is shifted offline behind the frames that the cache holds."""
    x, d = clip
    frames, depth = x.shape[2], d.max(initial=0)
    cuts = data.draw(st.lists(st.integers(0, frames), max_size=4))
    cache = initial_cache(x[:, :, 0].shape, d, x.dtype)
    outs = []
    for start, stop in pairwise(sorted([0, *cuts, frames])):
        history = np.zeros((*x.shape[:2], depth, *x.shape[3:]))
        history[:, np.flatnonzero(d)] = cache
        chunk = x[:, :, start:stop]
        outs.append(temporal_shift(np.concatenate([history, chunk], 2), d)[:, :, depth:])
        for t in range(start, stop):
            _, cache = temporal_shift_step(x[:, :, t], cache, d)
    np.testing.assert_array_equal(np.concatenate(outs, 2), temporal_shift(x, d))


def test_the_cache_of_the_online_demonstration():
    """Channels [0 : C / 8] of the block's input, before the shift; 3 x 56 x 56 at feature 3."""
    d = folds_online(24)
    frame = np.random.default_rng(0).standard_normal((1, 24, 56, 56)).astype(np.float32)
    cache = initial_cache(frame.shape, d)
    assert cache.shape == (1, 3, 1, 56, 56)
    _, cache = temporal_shift_step(frame, cache, d)
    np.testing.assert_array_equal(cache[:, :, 0], frame[:, :3])


@given(clips())
def test_causal_means_that_a_later_frame_changes_nothing_earlier(clip):
    x, d = clip
    changed = x.copy()
    changed[:, :, -1] += 1
    same = (temporal_shift(x, d) == temporal_shift(changed, d))[:, :, :-1].all()
    reads_last = ((d < 0) & (-d < x.shape[2])).any()
    assert same == (not reads_last)
    assert is_causal(d) == (min(d) >= 0)


@pytest.mark.parametrize(
    ("x", "d", "fill", "message"),
    [
        (np.zeros((2, 3)), [1, 0, 0], "zero", r"`x` has shape \(2, 3\)"),
        (np.zeros((2, 3, 4)), [1, 0], "zero", "`d` has 2 entries for 3 channels"),
        (np.zeros((2, 3, 4)), [1.0, 0, 0], "zero", "`d` is float64"),
        (np.zeros((2, 3, 4)), [True, False, True], "zero", "`d` is bool"),
        (np.zeros((2, 3, 4)), 1, "zero", r"`d` is int64 of shape \(\)"),
        (np.zeros((2, 3, 4)), [2**40, 0, 0], "zero", "beyond the limit"),
        (np.zeros((2, 3, 4)), [1, 0, 0], "wrap", "`fill` .* must be one of zero, replicate"),
    ],
)
def test_refuses_what_is_no_shift(x, d, fill, message):
    for function in (temporal_shift, temporal_shift_adjoint):
        with pytest.raises(ValueError, match=message.replace("`x`", "`[xy]`")):
            function(x, d, fill)


def test_refuses_what_cannot_stream():
    with pytest.raises(ValueError, match=r"-2 at channel 1\) reads the future"):
        initial_cache((1, 3), [1, -2, 0])
    with pytest.raises(ValueError, match="`frame_shape`"):
        initial_cache((3,), [1, 0, 0])
    good = initial_cache((1, 3), [1, 2, 0])
    with pytest.raises(ValueError, match=r"float32 of shape \(1, 2, 2\) is needed"):
        temporal_shift_step(np.zeros((1, 3), np.float32), good[:, :1], [1, 2, 0])
    with pytest.raises(ValueError, match="float64 of shape"):
        temporal_shift_step(np.zeros((1, 3)), good, [1, 2, 0])


def test_refuses_kernels_and_weights_that_do_not_fit():
    x = np.zeros((1, 2, 5))
    with pytest.raises(ValueError, match="odd number of taps"):
        temporal_shift_by_multiply_accumulate(x, np.zeros((2, 4)))
    with pytest.raises(ValueError, match=r"`kernel` has shape \(3, 3\); \(2, 3\) is needed"):
        temporal_shift_by_multiply_accumulate(x, np.zeros((3, 3)))
    with pytest.raises(ValueError, match="`x` is int64"):
        temporal_shift_by_convolution(np.zeros((1, 2, 5), np.int64), [1, 0])
    with pytest.raises(ValueError, match="`weight` has shape"):
        shift_into_conv3d_weight(np.zeros((2, 2, 3, 1, 1)), [1, 0])
    with pytest.raises(ValueError, match="must divide the 3 output channels"):
        shift_into_conv3d_weight(np.zeros((3, 2, 1, 1, 1)), [1, 0, 0, 0], groups=2)
