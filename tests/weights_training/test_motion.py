"""Labels, conventions and views of the camera-motion recipe, checked against plain geometry."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weights.training import motion

LABELS = range(motion.CLEAN)


def picture(poses, points):
    """Where fixed world points (P, 2) appear, p in frame units, for each pose of a square view."""
    seen = []
    for cx, cy, m, phi in poses:
        rotation = np.array([[np.cos(phi), -np.sin(phi)], [np.sin(phi), np.cos(phi)]])
        seen.append((points - [cx, cy]) @ rotation / m)
    return np.array(seen)


def content_motion(label):
    """First-to-last displacement of points around the centre under a pure move of one label."""
    v = np.zeros((7, 4))
    if label:
        v[:, motion.AXIS[label]] = motion.SIGN[label] * 0.01
    points = np.array([[0.2, 0.0], [0.0, 0.2], [-0.2, 0.0], [0.0, -0.2]])
    track = picture(motion.trajectory(v, (1.0, 1.0)), points)
    return track[0], track[-1] - track[0]


def test_static_content_stays():
    assert np.abs(content_motion(0)[1]).max() == 0


@pytest.mark.parametrize(
    ("name", "axis", "sign"),
    [("pan left", 0, 1), ("pan right", 0, -1), ("tilt up", 1, 1), ("tilt down", 1, -1)],
)
def test_content_moves_against_the_camera(name, axis, sign):
    _, moved = content_motion(motion.CLASSES.index(name))
    assert np.all(np.sign(moved[:, axis]) == sign)
    np.testing.assert_allclose(moved[:, 1 - axis], 0, atol=1e-12)


@pytest.mark.parametrize(("name", "sign"), [("zoom in", 1), ("zoom out", -1)])
def test_zooming_in_makes_the_content_grow(name, sign):
    start, moved = content_motion(motion.CLASSES.index(name))
    assert np.all(np.sign((start * moved).sum(1)) == sign)


@pytest.mark.parametrize(("name", "sign"), [("roll clockwise", -1), ("roll counter-clockwise", 1)])
def test_content_turns_against_the_roll(name, sign):
    start, moved = content_motion(motion.CLASSES.index(name))
    # With y down, a positive cross product is a clockwise turn on the screen.
    turn = start[:, 0] * moved[:, 1] - start[:, 1] * moved[:, 0]
    assert np.all(np.sign(turn) == sign)


def test_flow_formula_matches_the_poses():
    v = np.array([[0.004, -0.003, 0.006, 0.005]])
    poses = motion.trajectory(v, (1.0, 1.0))
    p = np.random.default_rng(0).uniform(-0.4, 0.4, (50, 2))
    x, y, zoom, roll = v[0]
    d = np.stack([x - zoom * p[:, 0] - roll * p[:, 1], y - zoom * p[:, 1] + roll * p[:, 0]], 1)
    cx, cy, m, phi = poses[1]
    rotation = np.array([[np.cos(phi), -np.sin(phi)], [np.sin(phi), np.cos(phi)]])
    world = [cx, cy] + m * p @ rotation.T
    np.testing.assert_allclose(picture(poses[:1], world)[0], p + d, atol=1e-4)


@given(label=st.sampled_from(LABELS), code=st.integers(0, 15), seed=st.integers(0, 2**32 - 1))
def test_views_carry_labels_and_velocities_alike(label, code, seed):
    rng = np.random.default_rng(seed)
    v = np.zeros((7, 4))
    if label:
        axis = motion.AXIS[label]
        v[:, axis] = motion.SIGN[label] * rng.uniform(0.01, 0.05) / motion.RMS[axis]
    clip = rng.integers(0, 256, (8, 6, 6, 3), dtype=np.uint8)
    _, seen, velocity, _ = motion.view(clip, label, v, 1.0, code)
    assert motion.class_of(velocity.mean(0)) == seen


@given(code=st.sampled_from([0, 1, 2, 3, 4, 7, 8, 9, 10, 11, 12, 15]), seed=st.integers(0, 99))
def test_views_that_are_involutions_undo_themselves(code, seed):
    rng = np.random.default_rng(seed)
    clip, v = rng.integers(0, 256, (8, 6, 6, 3)), rng.normal(size=(7, 4))
    label = int(rng.integers(9))
    once = motion.view(clip, label, v, 1.25, code)
    twice = motion.view(*once, code)
    np.testing.assert_array_equal(twice[0], clip)
    assert twice[1] == label
    np.testing.assert_array_equal(twice[2], v)
    assert twice[3] == pytest.approx(1.25)


@pytest.mark.parametrize(
    "table", [motion.MIRROR_X, motion.MIRROR_Y, motion.TRANSPOSE, motion.REVERSE]
)
def test_label_maps_are_permutations_that_keep_static(table):
    assert sorted(table) == list(range(len(motion.CLASSES)))
    for label in (motion.STATIC, motion.HANDHELD, motion.TRANSITION):
        assert table[label] == label


@given(label=st.sampled_from(LABELS), seed=st.integers(0, 2**32 - 1))
def test_a_random_move_is_dominated_by_its_label(label, seed):
    v = motion.random_move(np.random.default_rng(seed), label)
    mean = v.mean(0)
    if label == 0:
        # A trembling hand drifts by at most the distance between two of its poses.
        assert np.abs(motion.speed(mean)).max() < motion.SPEED_MIN
    else:
        assert motion.class_of(mean) == label


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(4, 40))
def test_easing_keeps_the_mean_speed(seed, n):
    w = motion.easing(np.random.default_rng(seed), n)
    assert w.min() >= 0
    assert w.mean() == pytest.approx(1)
