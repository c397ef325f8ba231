"""Kinds of memory: the same values, lying as their names say."""

import numpy as np
import pytest

from conformance.questions.arrays import MEMORY, windows


@pytest.mark.parametrize("kind", MEMORY)
def test_every_kind_holds_the_same_values(kind):
    x = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    assert np.array_equal(MEMORY[kind](x), x)


@pytest.mark.parametrize("axes", [(0, 1), (1, 2), (0, 2)])
def test_windows_share_memory_in_any_order_of_axes(axes):
    x = np.random.default_rng(0).normal(size=(3, 4, 5))
    plain = np.ascontiguousarray(windows(x, *axes))
    made = MEMORY["overlapping"](plain)
    assert np.array_equal(made, plain)
    assert made.strides[axes[0]] == made.strides[axes[1]]
    place = [0, 0, 0]
    place[axes[0]] = 1
    made[tuple(place)] = 7
    assert np.count_nonzero(made == 7) == 2
    assert np.count_nonzero(plain == 7) == 0
