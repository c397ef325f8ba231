from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsm_ref.video.sampling import (
    SAMPLERS,
    dense,
    frame_times,
    mmaction2_uniform,
    paddle_uniform,
    sliding_windows,
    twice,
    uniform,
    val,
)

counts = st.integers(1, 5000)
segments = st.integers(1, 64)

# 1-based, as the published implementations count
GOLDEN = {
    1: [1, 1, 1, 1, 1, 1, 1, 1],
    4: [1, 1, 2, 2, 3, 3, 4, 4],
    9: [1, 2, 3, 4, 6, 7, 8, 9],
    10: [1, 2, 4, 5, 6, 7, 9, 10],
    37: [3, 7, 12, 17, 21, 26, 31, 35],
    100: [7, 19, 32, 44, 57, 69, 82, 94],
    300: [19, 57, 94, 132, 169, 207, 244, 282],
}


@pytest.mark.parametrize(("frames", "expected"), GOLDEN.items())
def test_uniform_golden(frames: int, expected: list[int]) -> None:
    np.testing.assert_array_equal(uniform(frames, 8) + 1, [expected])


def test_twice_golden() -> None:
    np.testing.assert_array_equal(twice(37, 8) + 1, [GOLDEN[37], [1, 5, 10, 14, 19, 24, 28, 33]])


def test_dense_golden() -> None:
    starts = [0, 26, 52, 78, 104, 131, 157, 183, 209, 236]
    np.testing.assert_array_equal(dense(300, 8), np.add.outer(starts, np.arange(8) * 8))
    np.testing.assert_array_equal(dense(40, 8) + 1, [[1, 9, 17, 25, 33, 1, 9, 17]] * 10)


def test_val_is_the_first_frame_until_there_are_more_than_segments() -> None:
    np.testing.assert_array_equal(val(8, 8), np.zeros((1, 8)))
    np.testing.assert_array_equal(val(9, 8) + 1, [GOLDEN[9]])


def test_paddle_takes_parts_of_whole_length() -> None:
    np.testing.assert_array_equal(paddle_uniform(300, 8), [[18 + 37 * k for k in range(8)]])
    np.testing.assert_array_equal(paddle_uniform(15, 8), [range(8)])
    np.testing.assert_array_equal(paddle_uniform(3, 8), [[0, 1, 2, 0, 1, 2, 0, 1]])


@pytest.mark.parametrize(("frames", "parts", "k"), [(6, 7, 3), (48, 7, 3), (122, 7, 3)])
def test_rounding_is_that_of_floating_point(frames: int, parts: int, k: int) -> None:
    """Where the middle of a part is a whole number the sum of floats falls just below it."""
    middle = Fraction((2 * k + 1) * frames, 2 * parts)
    assert middle.denominator == 1
    assert uniform(frames, parts)[0, k] == middle - 1


@given(counts, segments)
def test_uniform_stays_in_its_part(frames: int, parts: int) -> None:
    chosen = uniform(frames, parts)[0]
    assert chosen.dtype == np.int64
    for k, index in enumerate(chosen):
        middle = Fraction((2 * k + 1) * frames, 2 * parts)
        assert middle - 1 - Fraction(1, 10**6) < index <= middle
    assert (np.diff(chosen) >= 0).all()


@given(counts, segments)
def test_mmaction2_differs_from_mit_only_in_spelling(frames: int, parts: int) -> None:
    np.testing.assert_array_equal(mmaction2_uniform(frames, parts), uniform(frames, parts))


@given(st.sampled_from(sorted(SAMPLERS)), counts, segments)
def test_every_policy_gives_rows_of_possible_indices(policy: str, frames: int, parts: int) -> None:
    chosen = SAMPLERS[policy](frames, parts)
    assert chosen.dtype == np.int64
    assert chosen.shape == ({"twice": 2, "dense": 10}.get(policy, 1), parts)
    assert chosen.min() >= 0
    assert chosen.max() < frames


@given(st.integers(64, 5000), segments)
def test_a_dense_clip_is_evenly_spaced_when_it_fits(frames: int, parts: int) -> None:
    chosen = dense(frames, parts)
    assert (np.diff(chosen, axis=1) == 64 // parts).all()
    assert chosen[0, 0] == 0
    assert chosen[-1, 0] == frames - 64


@pytest.mark.parametrize("policy", sorted(SAMPLERS))
@pytest.mark.parametrize(("frames", "parts", "name"), [(0, 8, "num_frames"), (8, 0, "segments")])
def test_nothing_to_sample(policy: str, frames: int, parts: int, name: str) -> None:
    with pytest.raises(ValueError, match=rf"`{name}` \(=0\) must be at least 1"):
        SAMPLERS[policy](frames, parts)


def test_dense_refuses_more_segments_than_its_span() -> None:
    with pytest.raises(ValueError, match=r"`segments` \(=65\) must be at most 64"):
        dense(100, 65)
    with pytest.raises(ValueError, match=r"`clips` \(=0\)"):
        dense(100, 8, 0)


def test_windows_of_a_constant_rate() -> None:
    found = sliding_windows(frame_times(90, 30.0), 3, window=1.0, stride=0.5)
    np.testing.assert_allclose(found.start, [0, 0.5, 1, 1.5, 2])
    np.testing.assert_allclose(found.end - found.start, 1.0)
    np.testing.assert_array_equal(
        found.indices, [[5 + k, 15 + k, 25 + k] for k in (0, 15, 30, 45, 60)]
    )
    assert len(found) == 5


def test_the_last_window_ends_with_the_clip() -> None:
    found = sliding_windows(frame_times(25, 10.0), 2, window=1.0)
    np.testing.assert_allclose(found.start, [0, 1, 1.5])
    np.testing.assert_allclose(found.end, [1, 2, 2.5])
    np.testing.assert_array_equal(found.indices, [[2, 7], [12, 17], [17, 22]])


@pytest.mark.parametrize("frames", [1, 3, 10])
def test_a_clip_no_longer_than_a_window_is_one(frames: int) -> None:
    found = sliding_windows(frame_times(frames, 10.0), 4, window=1.0, stride=0.25)
    assert len(found) == 1
    np.testing.assert_array_equal(found.indices, uniform(frames, 4))
    assert found.start == [0]
    assert found.end == pytest.approx([frames / 10 if frames > 1 else 0])


def test_a_window_without_a_new_frame_shows_the_one_on_the_screen() -> None:
    found = sliding_windows([0.0, 0.1, 0.2, 5.0, 5.1], 2, window=1.0)
    np.testing.assert_array_equal(found.indices[1:5], [[2, 2]] * 4)
    assert (np.diff(found.indices[:, 0]) >= 0).all()


@given(
    st.lists(st.floats(0, 10), min_size=1, max_size=60).map(sorted),
    st.integers(1, 9),
    st.floats(0.1, 20),
    st.floats(0.1, 20),
)
def test_windows_are_ordered_and_possible(
    times: list[float], parts: int, window: float, stride: float
) -> None:
    found = sliding_windows(times, parts, window=window, stride=stride)
    assert found.indices.shape == (len(found), parts)
    assert found.indices.min() >= 0
    assert found.indices.max() < len(times)
    assert (np.diff(found.indices, axis=1) >= 0).all()
    assert (np.diff(found.start) > -1e-9).all()
    assert (found.end - found.start <= window + 1e-9).all()
    shown = np.array(times)[found.indices]
    assert (shown < found.end[:, None] + 1e-6).all()


@pytest.mark.parametrize(
    ("times", "window", "stride", "message"),
    [
        ([], 1, 1, "at least one time"),
        ([[0.0]], 1, 1, "one row"),
        ([1.0, 0.0], 1, 1, "must not descend"),
        ([float("nan")], 1, 1, "must be finite"),
        ([0.0], 0, 1, "`window` \\(=0\\)"),
        ([0.0], 1, -1, "`stride` \\(=-1\\)"),
        ([0.0], float("inf"), 1, "`window` \\(=inf\\)"),
    ],
)
def test_impossible_windows(times: list[float], window: float, stride: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sliding_windows(times, 2, window=window, stride=stride)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_rates(rate: float) -> None:
    with pytest.raises(ValueError, match="`frame_rate`"):
        frame_times(3, rate)


def test_mmaction2_adds_up_in_its_own_order() -> None:
    """``k*(N/T)``, not ``k*N/T``: the 13th of 20 frames of 24 is frame 14, and not 15."""
    assert mmaction2_uniform(24, 20)[0, 12] == 14
