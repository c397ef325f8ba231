"""Which window speaks for a moment, by each of the rules of a verdict."""

from dataclasses import replace

import numpy as np
import pytest

from tsm_ref.profile import Sampling
from tsm_ref.recognition.verdict import CERTAIN, SURE, Verdict
from tsm_ref.recognition.windows import Ladder, ladder
from tsm_ref.video import Windows, frame_times

STILL, LEFT, RIGHT = range(3)


def rungs(*lengths: list[tuple[float, float]]) -> Ladder:
    """A ladder of windows given by their starts and ends, rung by rung, in the order of ends."""
    rows = [(end, start, k) for k, spans in enumerate(lengths) for start, end in spans]
    ends, starts, rung = (np.array(column) for column in zip(*sorted(rows), strict=True))
    windows = Windows(starts, ends, np.zeros((len(ends), 8), np.int64))
    return Ladder(windows, rung, np.ones_like(rung))


def again(made: Ladder) -> Ladder:
    """The same ladder, whose last rung is looked at again with frames twice as large."""
    last = made.rung == made.rung.max()
    return replace(made, scale=np.where(last, 2, 1))


def says(label: int, probability: float) -> np.ndarray:
    chances = np.full(3, (1 - probability) / 2)
    chances[label] = probability
    return chances


def settled(made: Ladder, probabilities, no_event: int | None, aimless=()) -> np.ndarray:
    """Which window speaks for each moment (M,), where all were run."""
    verdict = Verdict(made, no_event, aimless)
    for row, chances in enumerate(probabilities):
        verdict.hear(row, chances)
    return verdict.speaking()


@pytest.mark.parametrize(
    ("short", "long", "speaks"),
    [
        (says(STILL, 0.95), says(LEFT, SURE), 1),  # a slow move
        (says(STILL, 0.95), says(LEFT, SURE - 0.01), 0),  # nobody is sure: the most certain
        (says(STILL, 0.60), says(LEFT, SURE - 0.01), 1),
        (says(RIGHT, SURE), says(LEFT, 0.99), 0),  # the shortest that is sure
        (says(STILL, 0.80), says(STILL, 0.90), 1),
    ],
)
def test_the_shortest_window_that_is_sure_of_an_event_speaks(short, long, speaks):
    made = rungs([(0.0, 1.0)], [(0.0, 2.0)])
    assert settled(made, [short, long], STILL).tolist() == [speaks]


def test_rest_beside_a_fast_move_stays_rest():
    made = rungs([(0.0, 1.0), (1.0, 2.0)], [(0.0, 2.0)])
    chances = {(0, 1): says(STILL, 0.95), (1, 2): says(LEFT, 0.95), (0, 2): says(LEFT, 0.99)}
    spans = zip(made.windows.start.tolist(), made.windows.end.tolist(), strict=True)
    spoken = settled(made, [chances[span] for span in spans], STILL)
    assert [made.windows.end[row] - made.windows.start[row] for row in spoken] == [1.0, 1.0]


def test_a_window_with_a_fast_move_in_it_says_nothing_about_the_rest_beside_that():
    made = rungs([(0.0, 1.0), (1.0, 2.0)], [(0.0, 2.0)])
    chances = {(0, 1): says(STILL, 0.95), (1, 2): says(LEFT, 0.95), (0, 2): says(RIGHT, 0.99)}
    spans = list(zip(made.windows.start.tolist(), made.windows.end.tolist(), strict=True))
    spoken = settled(made, [chances[span] for span in spans], STILL)
    assert [spans[row] for row in spoken] == [(0, 1), (1, 2)]


@pytest.mark.parametrize(
    ("short", "fine", "speaks"),
    [
        (says(STILL, 0.99), says(STILL, 0.90), 1),  # rest in the finest frames is rest
        (says(STILL, 0.99), says(LEFT, 0.50), 1),  # a motion that the others do not see
        (says(RIGHT, SURE - 0.01), says(LEFT, 0.50), 1),
        (says(RIGHT, SURE), says(LEFT, 0.99), 0),  # the shortest that is sure
    ],
)
def test_where_no_window_is_sure_of_an_event_that_of_the_finest_frames_speaks(short, fine, speaks):
    made = again(rungs([(0.0, 1.0)], [(0.0, 1.0)]))
    assert settled(made, (short, fine), STILL).tolist() == [speaks]


def test_rest_that_is_not_certain_beside_a_move_belongs_to_it():
    made = rungs([(0.0, 1.0), (1.0, 2.0)], [(0.0, 2.0)])
    unsure = says(STILL, CERTAIN - 0.01)
    chances = {(0, 1): unsure, (1, 2): says(LEFT, 0.95), (0, 2): says(LEFT, 0.99)}
    spans = zip(made.windows.start.tolist(), made.windows.end.tolist(), strict=True)
    spoken = settled(made, [chances[span] for span in spans], STILL)
    assert made.rung[spoken].tolist() == [1, 0]


def test_a_shake_that_short_windows_see_leaves_the_word_to_a_longer_one():
    made = rungs([(0.0, 1.0), (1.0, 2.0)], [(0.0, 2.0)])
    chances = [says(LEFT if rung else RIGHT, 0.8 if rung else 0.98) for rung in made.rung]
    assert made.rung[settled(made, chances, STILL, aimless=(RIGHT,))].tolist() == [1, 1]
    assert made.rung[settled(made, chances, STILL)].tolist() == [0, 0]


def test_a_move_and_its_way_back_are_no_rest():
    made = rungs([(0.0, 1.0), (0.5, 1.5), (1.0, 2.0)], [(0.0, 2.0)])
    chances = {
        (0, 1): says(LEFT, 0.99),
        (0.5, 1.5): says(RIGHT, 0.6),
        (1, 2): says(RIGHT, 0.99),
        (0, 2): says(STILL, 0.99),
    }
    spans = list(zip(made.windows.start.tolist(), made.windows.end.tolist(), strict=True))
    spoken = settled(made, [chances[span] for span in spans], STILL)
    assert [spans[row] for row in spoken] == [(0, 1), (0.5, 1.5), (1, 2)]


def test_a_moment_that_shows_nothing_speaks_for_itself_and_asks_for_no_longer_window():
    made = rungs([(0.0, 1.0), (0.5, 1.5)], [(0.0, 2.0)])
    nothing = np.full(3, 1 / 3)
    chances = {(0, 1): nothing, (0.5, 1.5): nothing, (0, 2): says(LEFT, 0.99)}
    spans = list(zip(made.windows.start.tolist(), made.windows.end.tolist(), strict=True))
    verdict = Verdict(made, STILL)
    for row, span in enumerate(spans):
        assert verdict.needs(row) == (span != (0, 2))
        verdict.hear(row, chances[span])
    assert [spans[row] for row in verdict.speaking()] == [(0, 1), (0.5, 1.5)]


def test_without_a_class_for_rest_the_short_windows_speak_for_themselves():
    made = rungs([(0.0, 1.0)], [(0.0, 2.0)])
    assert settled(made, [says(STILL, 0.5), says(LEFT, 0.99)], None).tolist() == [0]


@pytest.mark.parametrize("seconds", [0.7, 3.3, 9.0, 40.0])
@pytest.mark.parametrize("rest", [STILL, None])
@pytest.mark.parametrize("finer", [1, 2])
def test_windows_that_are_not_needed_would_not_have_spoken(seconds, rest, finer):
    rng = np.random.default_rng(int(10 * seconds))
    sampling = Sampling("windows", 4, 1.0, 0.5, 8.0, finer)
    made = ladder(frame_times(int(seconds * 20), 20.0), sampling)
    left_out = 0
    for _ in range(40):
        sharpness = rng.uniform(0, 6)
        chances = rng.dirichlet(np.exp(rng.normal(0, sharpness, 3)), len(made.rung))
        verdict = Verdict(made, rest)
        for row in range(len(made.rung)):
            if verdict.needs(row):
                verdict.hear(row, chances[row])
            else:
                left_out += 1
        assert verdict.speaking().tolist() == settled(made, chances, rest).tolist()
    assert left_out > 0 or len(set(made.rung)) == 1


def test_a_move_that_short_windows_are_sure_of_needs_no_long_ones():
    made = ladder(frame_times(200, 20.0), Sampling("windows", 4, 1.0, 0.5, 8.0))
    verdict, asked = Verdict(made, STILL), 0
    for row in range(len(made.rung)):
        if verdict.needs(row):
            asked += 1
            verdict.hear(row, says(LEFT, 0.99))
    assert asked <= 1.2 * (made.rung == 0).sum() < len(made.rung)
