import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsm_ref.errors import UsageError
from tsm_ref.live.smoothing import ONLINE_DEMO, UNSURE, Smoother


def labels(smoother, *classes, k=5):
    return [smoother.update(np.eye(k)[c]) for c in classes]


def test_without_rules_it_is_the_largest_logit():
    assert labels(Smoother(window=1), 3, 1, 1, 4) == [3, 1, 1, 4]


def test_logits_are_averaged_over_the_window():
    smoother = Smoother(window=3)
    rows = [[5.0, 0, 0], [0, 2.0, 0], [0, 2.0, 0], [0, 2.0, 0], [0, 0, 9.0]]
    found = [smoother.update(np.array(row)) for row in rows]
    assert found == [0, 0, 0, 1, 2]
    last = np.exp(np.array([0, 4.0, 9.0]) / 3)
    np.testing.assert_allclose(smoother.probabilities, last / last.sum())


def test_below_the_probability_that_is_asked_for_it_is_unsure():
    smoother = Smoother(window=1, sure=0.6, no_event=0)
    rows = [[0.0, 0, 0], [0, 3.0, 0], [0, 0.5, 0]]
    assert [smoother.update(np.array(row)) for row in rows] == [UNSURE, 1, UNSURE]
    assert not smoother.event


def test_logits_that_speak_alone_count_among_the_next_ones():
    smoother = Smoother(window=2)
    rows = np.array([[9.0, 0], [0, 1.0], [0, 2.0]])
    found = [smoother.update(row, alone=k == 1) for k, row in enumerate(rows)]
    assert found == [0, 1, 1]
    np.testing.assert_allclose(smoother.means_with(np.zeros(2)), [0, 1])


def test_a_masked_class_leaves_the_label():
    assert labels(Smoother(window=1, masked=[2]), 1, 2, 2, 3) == [1, 1, 1, 3]


def test_a_masked_class_at_the_start_gives_no_event_or_the_best_of_the_others():
    assert labels(Smoother(window=1, masked=[2], no_event=4), 2, 1) == [4, 1]
    assert Smoother(window=1, masked=[2]).update(np.array([0.0, 3, 9, 1])) == 1


def test_a_merged_class_shows_as_the_other():
    smoother = Smoother(window=1, merged={0: 2}, no_event=2)
    assert labels(smoother, 0) == [2]
    assert not smoother.event
    assert labels(smoother, 1) == [1]
    assert smoother.event


def test_a_label_dwells():
    assert labels(Smoother(window=1, dwell=3), 0, 1, 1, 1, 0, 0, 2) == [0, 0, 0, 1, 1, 1, 2]


def test_a_candidate_must_persist():
    assert labels(Smoother(window=1, persist=2), 0, 1, 0, 1, 1, 2, 3, 3) == [0, 0, 0, 0, 1, 1, 1, 3]


@pytest.mark.parametrize("name", ["window", "dwell", "persist"])
def test_numbers_below_one_are_refused(name):
    with pytest.raises(UsageError, match=rf"`{name}` \(=0\) must be at least 1 step"):
        Smoother(**{name: 0})


def demo(classes):
    """The demo's loop, from its description: mean of 12, masks, one idle class, two steps."""
    history, window, said = [], [], []
    for c in classes:
        window = [*window, np.eye(27)[c]][-12:]
        best = int(sum(window).argmax())
        if best in (3, 7, 8, 21, 22):
            best = history[-1] if history else 2
        if best == 0:
            best = 2
        if history and best != history[-1] and history[-2:] != [history[-1]] * 2:
            best = history[-1]
        history.append(best)
        said.append(best)
    return said


@given(st.lists(st.sampled_from([0, 1, 2, 3, 7, 9, 21]), min_size=1, max_size=60))
def test_the_online_demo(classes):
    assert labels(Smoother(**ONLINE_DEMO), *classes, k=27) == demo(classes)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.integers(0, 29))
def test_it_goes_on_from_its_state(classes, cut):
    rules = {"window": 3, "dwell": 2, "persist": 2, "masked": (1,)}
    whole, first, second = (Smoother(**rules) for _ in range(3))
    expected = labels(whole, *classes)
    found = labels(first, *classes[:cut])
    if cut:
        second.state = first.state
    assert found + labels(second, *classes[cut:]) == expected
