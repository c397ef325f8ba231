"""Shrinking against OpenCV, and even times against interpolation by NumPy."""

import numpy as np
import pytest

from tsm_ref.pulse.frames import Track, shrunk


@pytest.mark.parametrize("shape", [(72, 72), (101, 157), (36, 36), (300, 41), (20, 30), (20, 90)])
def test_shrunk_is_what_opencv_makes(shape: tuple[int, int], rng: np.random.Generator) -> None:
    """Within one step of 8 bits: OpenCV rounds between its two passes."""
    cv2 = pytest.importorskip("cv2")
    picture = rng.integers(0, 256, (*shape, 3), np.uint8)
    wanted = cv2.resize(picture, (36, 36), interpolation=cv2.INTER_AREA)
    found = shrunk(picture, 36)
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - wanted).max() <= 1


def test_a_picture_of_one_colour_stays_so() -> None:
    for side in (10, 36, 50):
        assert (shrunk(np.full((side, side + 3, 3), 201, np.uint8), 36) == 201).all()


def test_even_frames_are_interpolated_between_uneven_ones(rng: np.random.Generator) -> None:
    times = 3.0 + np.cumsum(rng.uniform(0.01, 0.08, 60))
    frames = rng.integers(0, 256, (60, 2, 3, 3), np.uint8)
    track = Track(30.0)
    for time, frame in zip(times, frames, strict=True):
        track.append(float(time), frame)
    wanted = times[0] + np.arange(len(track)) / 30
    assert wanted[-1] <= times[-1] < wanted[-1] + 1 / 30
    found = track.take(0, len(track))
    for place in np.ndindex(2, 3, 3):
        expected = np.interp(wanted, times, frames[(slice(None), *place)])
        np.testing.assert_allclose(found[(slice(None), *place)], expected, atol=1e-3)


@pytest.mark.parametrize("plain", [False, True])
def test_what_is_dropped_is_not_needed_again(plain: bool, rng: np.random.Generator) -> None:
    frames = rng.integers(0, 256, (50, 2, 2, 3), np.uint8)
    whole, cut = Track(20.0, plain=plain), Track(20.0, plain=plain)
    for i, frame in enumerate(frames):
        for track in (whole, cut):
            track.append(i / 30, frame)
        if len(cut) > 10:
            cut.drop(len(cut) - 5)
    assert len(cut) == len(whole)
    assert len(cut._frames) < 15
    last = len(whole)
    np.testing.assert_array_equal(cut.take(last - 5, last), whole.take(last - 5, last))
