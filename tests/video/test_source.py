from array import array
from fractions import Fraction

import numpy as np
import pytest

from tsm_ref.video.source import ASSUMED_RATE, timeline


def test_a_declared_rate_near_the_measured_one_is_exact() -> None:
    stamps = array("q", [round(n * 1001 / 30) for n in range(100)])
    times, rate = timeline(stamps, 100, Fraction(1, 1000), Fraction(30000, 1001))
    assert rate == 30000 / 1001
    np.testing.assert_allclose(times, np.arange(100) * 1001 / 30000, atol=1e-3)


def test_a_declared_rate_that_is_wrong_is_not_believed() -> None:
    _, rate = timeline(array("q", [0, 100, 200]), 3, Fraction(1, 1000), Fraction(90000, 1))
    assert rate == pytest.approx(10)


@pytest.mark.parametrize(("declared", "rate"), [(None, ASSUMED_RATE), (Fraction(10), 10.0)])
@pytest.mark.parametrize("stamps", [[], [5], [5, 5]])
def test_without_two_different_timestamps_the_rate_is_taken_on_trust(
    stamps: list[int], declared: Fraction | None, rate: float
) -> None:
    times, found = timeline(array("q", stamps), 2, Fraction(1, 1000), declared)
    assert found == rate
    assert len(times) == 2


def test_times_start_at_the_first_frame_shown() -> None:
    times, _ = timeline(array("q", [900, 700, 800]), 3, Fraction(1, 1000), None)
    np.testing.assert_allclose(times, [0, 0.1, 0.2])
