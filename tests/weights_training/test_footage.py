"""Virtual moves over real frames carry the label that they were asked for."""

import numpy as np
import pytest

from weights.training import footage, motion, registration
from weights.training.samples import FILMS, RATE, plan
from weights.training.scenes import canvas


@pytest.fixture(scope="module")
def still_clip() -> footage.Footage:
    picture = canvas(np.random.default_rng(8), 256)[:240]
    frames = np.repeat(picture[None], 30, axis=0)
    return footage.Footage("still", frames, np.zeros((29, 4)), np.zeros(29, bool))


@pytest.mark.parametrize("label", range(motion.CLEAN))
def test_registration_finds_the_virtual_move(still_clip, label):
    rng = np.random.default_rng([3, label])
    windows = still_clip.windows("frozen")
    seen = []
    for _ in range(3):
        case = footage.virtual_move(rng, still_clip, windows, label, "medium", "frozen", 64)
        seen.append(motion.class_of(registration.velocities(case.frames).mean(0)))
    assert seen.count(label) >= 2


def test_a_clip_that_does_not_move_is_still_everywhere(still_clip):
    assert {still_clip.camera(f, 2) for f in range(10)} == {"still"}
    assert not still_clip.windows("handheld")


def test_a_window_across_a_cut_is_never_used(still_clip):
    cut = np.zeros(29, bool)
    cut[12] = True
    clip = footage.Footage("cut", still_clip.frames, still_clip.own, cut)
    assert all(not first <= 12 < first + 7 * stride for first, stride in clip.windows("still"))


def test_a_sample_film_says_what_it_does():
    _, moves = FILMS["tour"]
    velocity, truth = plan(moves)
    assert len(velocity) + 1 == sum(round(s * RATE) for _, s in moves)
    for segment in truth:
        middle = velocity[
            round((segment["start"] + 0.3) * RATE) : round((segment["end"] - 0.3) * RATE)
        ]
        assert motion.CLASSES[motion.class_of(middle.mean(0) * 3)] == segment["label"]


def test_real_clips_hold_still_and_moving_windows(shared_data):
    clip = footage.Footage.open(shared_data / "clips" / "arm_wrestling.mp4")
    assert len(clip.frames) == 280
    assert clip.cut.any()
    assert clip.windows("still")
    assert clip.windows("handheld")


@pytest.mark.parametrize("label", motion.MOVES)
def test_a_motion_of_the_footage_makes_another_label_or_none(label):
    move = np.zeros((7, 4))
    move[:, motion.AXIS[label]] = motion.SIGN[label] * 0.02 / motion.RMS[motion.AXIS[label]]
    shake = np.zeros((7, 4))
    shake[:, 0] = [0.03, -0.03, 0.03, -0.03, 0.03, -0.03, 0.0]
    other = np.roll(motion.speed(move), 1, axis=1) / motion.RMS
    assert footage.clear_label(move) == label
    assert footage.clear_label(move + other) is None
    assert footage.clear_label(move + shake) is None
    assert footage.clear_label(shake) == motion.HANDHELD
    assert footage.clear_label(move * 0.05) == motion.STATIC
    assert footage.clear_label(move * 0.1) is None
    assert footage.clear_label(-move) == motion.REVERSE[label]


def test_own_motion_is_summed_over_the_stride(still_clip):
    own = np.tile([0.001, 0.0, 0.0, 0.0], (29, 1))
    clip = footage.Footage("drift", still_clip.frames, own, still_clip.cut)
    np.testing.assert_allclose(clip.motion(2, 3), np.tile([0.003, 0, 0, 0], (7, 1)))
    assert not clip.motion(2, 0).any()
