"""What a quantised layer reads: bytes with a sign or without, as its unit wants them."""

import numpy as np
import pytest

from tsm_ref.engine.on_numba.whole_inputs import Source
from tsm_ref.graph import Node
from tsm_ref.kernels.integer.units import QUADS, SIGNED


@pytest.mark.parametrize("unit", [QUADS, SIGNED], ids=lambda unit: unit.name)
@pytest.mark.parametrize(("dtype", "zero"), [("uint8", 7), ("int8", -20)])
def test_a_unit_sees_numbers_as_far_from_their_zero_point(unit, dtype, zero):
    x = np.arange(256, dtype=np.uint8).view(dtype).reshape(1, 1, 16, 16)
    attrs = {"x_zero_point": zero, "pads": (0,) * 6}
    source = Source(Node("y", "QLinearConv", ("x",), attrs), x, (1, 1, 1), True, unit=unit)
    seen = (x.view(np.uint8) ^ np.uint8(source.flip)).view(unit.input_type)
    np.testing.assert_array_equal(seen.astype(int) - source.zero, x.astype(int) - zero)
