"""The copies that are timed are the shift of the reference."""

import numpy as np
import pytest

from tsm_ref.bench.paper.movement import moved_in_place, naive_shift
from tsm_ref.reference import temporal_shift


@pytest.mark.parametrize("frames", [1, 2, 5])
@pytest.mark.parametrize("fold", [0, 1, 4])
@pytest.mark.parametrize("shift", [naive_shift, moved_in_place])
def test_a_copy_is_the_shift(shift, fold, frames, rng):
    x = rng.standard_normal((frames, 8, 3, 3)).astype(np.float32)
    d = [-1] * fold + [1] * fold + [0] * (8 - 2 * fold)
    expected = temporal_shift(x.swapaxes(0, 1)[None], d)[0].swapaxes(0, 1)
    np.testing.assert_array_equal(shift(x.copy(), fold), expected)
