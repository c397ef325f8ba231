"""The procedural clips: reproducible, balanced, and moving the way that their labels say."""

import numpy as np
import pytest

from weights.training import motion, registration
from weights.training.generator import make_clip, make_set, shows_motion


def test_the_same_seed_gives_the_same_clips(bank):
    first, again = make_set(3, 5, bank), make_set(3, 5, bank)
    for key in first:
        np.testing.assert_array_equal(first[key], again[key])


def test_a_part_of_a_set_equals_the_set(bank):
    whole, part = make_set(3, 6, bank), make_set(3, 3, bank, first=3)
    np.testing.assert_array_equal(whole["x"][3:], part["x"])
    np.testing.assert_array_equal(whole["y"][3:], part["y"])


def test_another_seed_gives_other_clips(bank):
    assert (make_set(3, 2, bank)["x"] != make_set(4, 2, bank)["x"]).mean() > 0.5


def test_labels_come_in_turn(bank):
    np.testing.assert_array_equal(make_set(1, 12, bank)["y"], np.arange(12) % 9)


def test_labels_may_be_chosen(bank):
    np.testing.assert_array_equal(make_set(1, 5, bank, labels=(0, 4))["y"], [0, 4, 0, 4, 0])


def test_larger_frames_show_the_same_share_of_a_scene(bank):
    """Not four times as much of it: their motion is that of smaller frames, in twice the pixels."""
    rows = make_set(8, 4, bank, labels=(2,), low=0.02, high=0.02, clutter=0.0)
    large = make_set(8, 4, bank, size=128, labels=(2,), low=0.02, high=0.02, clutter=0.0)
    assert large["x"].shape == (4, 8, 128, 128, 3)
    np.testing.assert_array_equal(rows["v"], large["v"])
    seen = registration.velocities(large["x"][0]).mean(0)
    np.testing.assert_allclose(seen[0], large["v"][0].mean(0)[0], rtol=0.2)


def test_a_crowd_moves_in_front_of_a_camera_that_stands(bank):
    alone, crowd = (
        make_set(2, 6, bank, labels=(0,), clutter=0.0, crowds=share)["x"] for share in (0.0, 1.0)
    )
    changes = [np.abs(np.diff(x.astype(float), axis=1)).mean() for x in (alone, crowd)]
    assert changes[1] > 3 * changes[0]


def test_an_empty_frame_shows_no_motion():
    stripes = np.zeros((64, 64, 3), np.float32)
    stripes[:, ::4] = 255
    noise = np.random.default_rng(0).uniform(0, 255, (64, 64, 3)).astype(np.float32)
    assert not shows_motion(np.full((64, 64, 3), 90, np.float32))
    assert not shows_motion(stripes)
    assert shows_motion(noise)


@pytest.mark.parametrize("label", range(motion.CLEAN))
def test_registration_sees_the_labelled_motion_in_clean_clips(bank, label):
    seen = []
    for i in range(4):
        rng = np.random.default_rng([11, label, i])
        clip = make_clip(rng, bank, label, low=0.01, high=0.02, clutter=0.0)
        seen.append(motion.class_of(registration.velocities(clip.frames).mean(0)))
    assert seen.count(label) >= 3


@pytest.mark.parametrize("code", range(16))
def test_registration_sees_the_label_of_every_view(bank, code):
    label = 3 + code % 6
    rng = np.random.default_rng([12, label])
    clip = make_clip(rng, bank, label, low=0.015, high=0.02, clutter=0.0)
    frames, seen, *_ = motion.view(clip.frames, label, clip.velocity, clip.aspect, code)
    assert motion.class_of(registration.velocities(frames).mean(0)) == seen
