from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsm_ref.video.clock import Clock, Timeline
from tsm_ref.video.source import ASSUMED_RATE, Repair

MILLISECOND = Fraction(1, 1000)
MPEG = Fraction(1, 90000)


def shown(stamps: list[int | None], tick: Fraction = MILLISECOND, **about: object) -> Clock:
    clock = Clock(tick, about.pop("rate", 25), **about)  # type: ignore[arg-type]
    for stamp in stamps:
        clock.show(stamp)
    return clock


def repairs(clock: Clock) -> dict[str, tuple[int, int]]:
    return {repair.kind: (repair.count, repair.first) for repair in clock.repairs}


def test_sound_timestamps_are_kept_from_the_first_picture_on() -> None:
    clock = shown([-80, -40, 0, 70, 80])
    np.testing.assert_allclose(clock.timeline().times, [0, 0.04, 0.08, 0.15, 0.16])
    assert clock.repairs == ()


@pytest.mark.parametrize("rate", [1, 2, 12.5, 24, 30000 / 1001, 60, 120, 240])
def test_rates_from_1_to_240_are_measured(rate: float) -> None:
    stamps: list[int | None] = [round(n * 90000 / rate) for n in range(50)]
    found = shown(stamps, MPEG, rate=None).timeline()
    assert found.rate == pytest.approx(rate, rel=1e-4)
    assert found.end == pytest.approx(50 / rate, rel=1e-3)
    assert not found.varies


def test_a_declared_rate_near_the_measured_one_is_exact() -> None:
    found = shown([round(n * 1001 / 30) for n in range(100)], rate=Fraction(30000, 1001)).timeline()
    assert found.rate == 30000 / 1001
    np.testing.assert_allclose(found.times, np.arange(100) * 1001 / 30000, atol=1e-3)


def test_a_declared_rate_that_is_wrong_is_not_believed() -> None:
    assert shown([0, 100, 200], rate=90000).timeline().rate == pytest.approx(10)


def test_a_gap_does_not_change_a_constant_rate() -> None:
    """Field-coded captures lose pictures at their cuts: 25 a second stay 25 a second."""
    stamps: list[int | None] = [*range(0, 400, 40), *range(440, 800, 40)]
    found = shown(stamps, rate=None).timeline()
    assert found.rate == pytest.approx(25)
    assert found.varies


def test_telecined_pictures_are_shown_for_two_and_three_fields_in_turn() -> None:
    fields = np.cumsum([0, *[2, 3] * 24])
    clock = shown([round(f * 1501.5) for f in fields], MPEG, rate=Fraction(30000, 1001))
    assert clock.timeline().rate == pytest.approx(24000 / 1001, rel=1e-3)


@pytest.mark.parametrize(("declared", "rate"), [(None, ASSUMED_RATE), (10, 10.0)])
def test_without_timestamps_the_declared_rate_counts(declared: float | None, rate: float) -> None:
    clock = shown([None] * 5, rate=declared)
    assert clock.timeline().rate == rate
    np.testing.assert_allclose(clock.timeline().times, np.arange(5) / rate)
    assert not clock.stamped
    assert clock.repairs == ()


def test_a_missing_timestamp_is_filled_and_said() -> None:
    clock = shown([0, 40, None, None, 160, None])
    np.testing.assert_allclose(clock.timeline().times, np.arange(6) / 25)
    assert repairs(clock) == {"missing": (3, 2)}


def test_time_goes_on_where_timestamps_start_again() -> None:
    part = list(range(0, 4800, 40))
    clock = shown(part * 4)
    np.testing.assert_allclose(clock.timeline().times, np.arange(480) / 25, atol=1e-9)
    assert clock.timeline().end == pytest.approx(19.2)
    assert repairs(clock) == {"restart": (3, 120)}


def test_a_short_part_that_starts_again_is_found_after_three_pictures() -> None:
    clock = shown([*range(0, 400, 40), *range(0, 400, 40)])
    assert clock.timeline().end == pytest.approx(0.8, abs=0.05)
    assert "restart" in repairs(clock)


def test_the_33_bits_of_mpeg_wrap_around() -> None:
    stamps: list[int | None] = [(2**33 - 9000 + n * 3600) % 2**33 for n in range(10)]
    clock = shown(stamps, MPEG, jumps=True)
    np.testing.assert_allclose(clock.timeline().times, np.arange(10) / 25)
    assert repairs(clock) == {"wrap": (1, 3)}


def test_a_jump_ahead_is_a_gap_only_where_the_format_sets_its_clock_anew() -> None:
    stamps: list[int | None] = [0, 40, 20000, 20040]
    np.testing.assert_allclose(shown(stamps).timeline().times, [0, 0.04, 20, 20.04])
    clock = shown(stamps, jumps=True)
    np.testing.assert_allclose(clock.timeline().times, np.arange(4) / 25)
    assert repairs(clock) == {"gap": (1, 2)}


def test_pictures_that_carry_the_times_of_their_packets_keep_the_pace() -> None:
    """A writer without reordering gives each B picture the time of another."""
    out_of_order = [0, 3, 2, 4, 1, 7, 6, 8, 5, 11, 10, 12, 9]
    times = shown([40 * n for n in out_of_order]).timeline().times
    assert (np.diff(times) > 0).all()
    np.testing.assert_allclose(times, np.arange(13) / 25, atol=0.13)


def test_two_pictures_at_one_time_do_not_shift_the_others() -> None:
    clock = shown([0, 40, 40, 80, 120])
    np.testing.assert_allclose(clock.timeline().times, [0, 0.04, 0.06, 0.08, 0.12])
    assert repairs(clock) == {"disorder": (1, 2)}


@pytest.mark.parametrize(("length", "end"), [(100, 0.18), (20, 0.12), (None, 0.12), (10**9, 0.12)])
def test_the_last_picture_lasts_as_long_as_it_says(length: int | None, end: float) -> None:
    """A field says half a picture, and a broken header says anything: then it lasts one step."""
    clock = Clock(MILLISECOND, None)
    for stamp in (0, 40, 80):
        clock.show(stamp, length)
    assert clock.timeline().end == pytest.approx(end)


@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), min_size=1), st.booleans())
def test_time_never_stands_still_and_never_goes_back(stamps: list[int | None], jumps: bool) -> None:
    times = shown(stamps, Fraction(1), jumps=jumps).timeline().times
    assert times[0] == 0
    assert (np.diff(times) >= 0).all()
    assert np.isfinite(times).all()


def test_a_repair_is_one_sentence() -> None:
    assert Repair("gap", 1, 12).sentence.endswith("(once, at frame 12)")
    assert Repair("wrap", 7, 12).sentence.endswith("(7 times, first at frame 12)")


def test_nothing_was_shown_yet() -> None:
    with pytest.raises(ValueError, match="no picture was shown yet"):
        Clock(MILLISECOND, 25).timeline()


def test_one_picture_lasts_for_a_step_of_the_declared_rate() -> None:
    found = shown([7], rate=10).timeline()
    assert (found.rate, found.end) == (10, 0.1)
    assert isinstance(found, Timeline)


def test_longer_steps_are_kept_and_told_and_the_rate_is_that_of_the_others() -> None:
    steps = [3600] * 20 + [5760] + [3600] * 3 + [5760] + [3600] * 5 + [7200]
    clock = Clock(Fraction(1, 90000), 25, jumps=True)
    for stamp in 129600 + np.cumsum([0, *steps]):
        clock.show(int(stamp), 1800)
    line = clock.timeline()
    assert (len(line.times), line.rate, line.holes) == (32, 25, 3)
    assert line.end == pytest.approx(32 / 25 + (2 * 2160 + 3600) / 90000)
    assert clock.repairs == ()


def test_joined_programs_keep_their_rate() -> None:
    clock = Clock(Fraction(1, 90000), 25, jumps=True)
    for stamp in [*range(48600, 48600 + 240 * 3600, 3600)] * 2:
        clock.show(stamp, 3600)
    line = clock.timeline()
    assert (len(line.times), line.rate, line.end) == (480, 25, pytest.approx(19.2))
    assert [(repair.kind, repair.count, repair.first) for repair in clock.repairs] == [
        ("restart", 1, 240)
    ]
