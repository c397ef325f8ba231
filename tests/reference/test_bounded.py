"""Values that carry their error: what share of the tolerance another one uses up."""

import math

import numpy as np
import pytest

from tsm_ref.reference.bounded import Bounded
from tsm_ref.reference.rounding import unit_roundoff

U = unit_roundoff(np.float32)


def test_used_is_the_worst_share_of_the_tolerance():
    b = Bounded(np.array([1.0, -2.0, 3.0]), np.array([1.0, 4.0, 0.0]))
    assert b.tolerance().tolist() == [6, 12, 0]
    assert b.used([1.0, -2.0, 3.0]) == 0
    assert b.used([4.0, -5.0, 3.0]) == 0.5
    assert b.used([1.0, 22.0, 3.0]) == 2
    assert b.used([1.0, -2.0, np.nextafter(3.0, 4)]) == math.inf
    assert b.used([1.0, math.nan, 3.0]) == math.inf
    assert b.used([1.0, math.inf, 3.0]) == math.inf
    assert Bounded.exact([math.inf]).used([math.inf]) == 0
    with pytest.raises(ValueError, match=r"\(3,\) is needed"):
        b.used([1.0])
    with pytest.raises(ValueError, match="`variance` has shape"):
        Bounded(np.zeros(2), np.zeros(3))


def test_a_rounded_value_may_be_off_by_its_last_place(rng):
    x = rng.standard_normal(500)
    assert Bounded.rounded(x, U).used(x.astype(np.float32)) <= 1 / 6
    assert Bounded.rounded(x, U).used(x.astype(np.float16)) > 1
