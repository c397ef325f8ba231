"""Rounding by bits is the rounding of the reference."""

import numpy as np
import pytest

from tsm_ref.engine.on_numpy.bfloat16 import round_into, rounded
from tsm_ref.reference.rounding import bfloat16


def test_bits_are_rounded_as_the_reference_rounds_numbers(rng):
    bits = rng.integers(0, 1 << 32, (4, 50000), np.uint64).astype(np.uint32)
    bits[0, :4] = 0x7F800001, 0x7FFFFFFF, 0x7F800000, 0x007FFFFF
    bits[1] = (bits[1] & 0xFFFF0000) | 0x8000  # halves
    x = bits.view(np.float32)
    found = rounded(x)
    np.testing.assert_array_equal(found, bfloat16(x))
    finite = ~np.isnan(x)
    np.testing.assert_array_equal(np.signbit(found[finite]), np.signbit(x[finite]))
    assert not (found.view(np.uint32) & 0xFFFF)[finite].any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_other_value_of_a_larger_array_can_be_read(dtype, rng):
    x = rng.standard_normal((3, 8, 5)).astype(dtype)
    y = np.empty((3, 4, 5), dtype)
    round_into(x[:, ::2], y)
    np.testing.assert_array_equal(y, bfloat16(x[:, ::2]))
