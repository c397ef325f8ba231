"""Shaking hands, joints and empty pictures are what their labels say."""

import numpy as np
import pytest

from weights.training import disturbed, motion

STAGE = disturbed.STAGES[-1]


def rms(velocity):
    return np.sqrt((motion.speed(velocity) ** 2).sum(1).mean())


@pytest.mark.parametrize("seed", range(20))
def test_a_hand_shakes_more_than_it_drifts(seed):
    v = disturbed.shaken(np.random.default_rng(seed), STAGE)
    assert STAGE.shake[0] * 0.99 <= rms(v) <= STAGE.shake[1] * 1.1
    assert np.abs(motion.speed(v.mean(0))).max() <= disturbed.DRIFT * rms(v)


@pytest.mark.parametrize("seed", range(20))
def test_a_camera_that_stands_trembles_less_than_any_hand_shakes(seed):
    v = disturbed.still(np.random.default_rng(seed), STAGE)
    assert rms(v) < STAGE.shake[0]
    assert np.abs(motion.speed(v.mean(0))).max() < disturbed.SLOWEST / 2


@pytest.mark.parametrize("label", motion.MOVES)
def test_a_move_from_a_hand_keeps_its_name(label):
    for seed in range(10):
        mean = motion.speed(
            disturbed.move(np.random.default_rng([seed, label]), STAGE, label).mean(0)
        )
        axis = int(np.abs(mean).argmax())
        assert axis == motion.AXIS[label]
        assert np.sign(mean[axis]) == motion.SIGN[label]
        assert abs(mean[axis]) > disturbed.SLOWEST * 0.9


@pytest.mark.parametrize("seed", range(12))
def test_a_joint_changes_the_picture_more_than_a_still_camera_does(bank, seed):
    rng = np.random.default_rng(seed)
    x = disturbed.joint(rng, STAGE, bank, 1.0, 32)
    assert x.shape == (motion.FRAMES, 32, 32, 3)
    assert np.abs(np.diff(x, axis=0)).mean((1, 2, 3)).max() > 2


@pytest.mark.parametrize("seed", range(12))
def test_a_fade_changes_the_light_by_its_least_factor(seed):
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 255, (1, 16, 16, 3)).repeat(motion.FRAMES, 0).astype(np.float32)
    contrast = disturbed.faded(rng, x).std((1, 2, 3))
    assert contrast.max() >= disturbed.FADED * contrast.min()


def test_kinds_come_with_their_labels_and_the_same_seed_gives_the_same_clip(bank):
    made = [disturbed.make_clip(np.random.default_rng([1, i]), bank, 32) for i in range(60)]
    again = disturbed.make_clip(np.random.default_rng([1, 7]), bank, 32)
    np.testing.assert_array_equal(made[7].frames, again.frames)
    labels = {clip.label for clip in made}
    assert {motion.HANDHELD, motion.TRANSITION} <= labels
    assert labels <= {disturbed.NOTHING, *range(len(motion.CLASSES))}


def test_views_leave_a_clip_of_no_class_without_one(bank):
    snow = disturbed.empty(np.random.default_rng(0), 16)
    for code in range(16):
        _, label, *_ = motion.view(snow, disturbed.NOTHING, np.zeros((7, 4)), 1.0, code)
        assert label == disturbed.NOTHING
