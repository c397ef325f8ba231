"""The generated clips move as their labels say."""

import numpy as np
import pytest

from tsm_ref.bench.paper.moves import VELOCITIES, moving_clip
from tsm_ref.model import load


def test_the_classes_are_those_of_the_models_that_ship():
    assert set(load("camera-motion", engine="numpy").labels) == set(VELOCITIES)


@pytest.mark.parametrize(
    ("label", "axis", "sign"),
    [("pan right", 1, -1), ("pan left", 1, 1), ("tilt down", 0, -1), ("tilt up", 0, 1)],
)
def test_the_content_moves_against_the_camera(label, axis, sign):
    clip = moving_clip(label, np.random.default_rng(3)).astype(float).mean(3)
    first, last = clip[0] - clip[0].mean(), clip[-1] - clip[-1].mean()
    inner = slice(24, 40)
    best = min(
        range(-24, 25),
        key=lambda k: ((np.roll(first, k, axis)[inner, inner] - last[inner, inner]) ** 2).mean(),
    )
    assert best * sign > 0


def test_the_same_seed_gives_the_same_clip():
    one, two = (moving_clip("zoom in", np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(one, two)
