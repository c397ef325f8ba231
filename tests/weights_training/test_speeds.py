"""Clips of every speed: what is drawn is what is said, and the judge sees what the command sees."""

import numpy as np
import pytest

import tsm_ref
from tsm_ref.video import sliding_windows
from weights.training import speeds


@pytest.fixture(scope="module")
def scenes() -> list[np.ndarray]:
    """One picture of coarse noise: textured everywhere."""
    coarse = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    return [coarse.repeat(8, 0).repeat(8, 1)]


def test_a_slow_move_lasts_six_seconds_and_a_fast_one_ends_where_its_view_would_leave(scenes):
    rng = np.random.default_rng(1)
    slow, fast = (speeds.moved(rng, scenes, 1, speed, speed) for speed in (0.001, 0.12))
    assert len(slow[0]) == len(slow[1]) + 1 == speeds.FRAMES
    assert len(fast[0]) == len(fast[1]) + 1 < 60


def test_a_slow_pan_is_seen_by_every_length_and_by_one_second_alone_as_rest(scenes):
    model = tsm_ref.load("camera-motion", engine="numpy")
    clip, velocity = speeds.moved(np.random.default_rng(2), scenes, 2, 0.002, 0.002)
    made, said, spoken = speeds.heard(model, clip)
    assert said[made.rung == 0].mean(0).argmax() == 0
    assert spoken.mean(0).argmax() == 2
    assert speeds.rights(velocity, made.shortest())[:, 2].all()


def test_what_may_be_said_is_what_the_camera_does_meanwhile():
    assert speeds.labels_of(np.zeros(4)) == {0}
    one = 1 / speeds.STEP / speeds.RATE
    assert speeds.labels_of(np.array([-0.01, 0.004, 0, 0]) * one) == {1}
    assert speeds.labels_of(np.array([-0.01, 0.006, 0, 0]) * one) == {1, 4}
    assert speeds.labels_of(np.array([0.0003, 0, 0, 0]) * one) == {0, 2}
    late = np.zeros((50, 4))
    late[30:, 0] = 0.01 * one
    windows = sliding_windows(np.arange(51) / speeds.RATE, 8, window=1.0, stride=0.5)
    right = speeds.rights(late, windows)
    assert right[:, 0].tolist() == [True, True, False, False]
    assert right[:, 2].tolist() == [False, True, True, True]


@pytest.mark.parametrize("kind", speeds.JOINTS[:4])
def test_pictures_that_are_joined_change_there_and_nowhere_else(scenes, kind):
    clip = speeds.joined(np.random.default_rng(3), scenes, kind).astype(int)
    changes = np.abs(np.diff(clip, axis=0)).mean((1, 2, 3))
    moving = changes > np.median(changes) + 0.5
    assert 0 < moving.sum() <= 32


def test_a_fade_out_ends_in_black_and_noise_shows_no_picture(scenes):
    rng = np.random.default_rng(3)
    assert speeds.joined(rng, scenes, "a fade-out")[-1].mean() < 3
    noise = speeds.joined(rng, scenes, "no picture but noise").astype(float)
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.05
