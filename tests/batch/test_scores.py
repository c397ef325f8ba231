"""Counting against the truth, on outcomes made by hand."""

import numpy as np
import pytest

from tsm_ref.batch.lists import Clip
from tsm_ref.batch.recipe import Outcome
from tsm_ref.batch.scores import PROTOCOLS, interval, scores, truth
from tsm_ref.errors import UsageError
from tsm_ref.profile import POLICIES


def outcome(path: str, *best: int) -> Outcome:
    tree = {"predictions": [{"index": index} for index in best]}
    return Outcome(path, (0, 0), result=tree if best else None, error="" if best else "bad")


def test_counts_by_hand() -> None:
    found = [outcome("a", 0, 1), outcome("b", 1, 0), outcome("c", 2, 0), outcome("d")]
    made = scores(found, {"a": 0, "b": 0, "c": 1, "d": 2}, 4)
    assert made.confusion.tolist() == [[1, 1, 0, 0], [0, 0, 1, 0], [0] * 4, [0] * 4]
    assert (made.count, made.failed, made.in_top5) == (3, 1, 2)
    assert (made.top1, made.top5) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    assert made.recall[:2].tolist() == [0.5, 0.0]
    assert np.isnan(made.recall[2:]).all()
    assert made.mean_recall == 0.25


def test_of_nothing() -> None:
    made = scores([outcome("a")], {"a": 0}, 2)
    assert (made.count, made.top1, made.top5, made.mean_recall) == (0, 0.0, 0.0, 0.0)
    assert interval(0.0, 0) == (0.0, 1.0)


def test_the_interval_holds_what_it_promises(rng: np.random.Generator) -> None:
    """Of many experiments with a known share, about 95 % of the intervals hold it."""
    for share in (0.5, 0.9, 0.99):
        drawn = rng.binomial(200, share, 4000) / 200
        held = np.mean([low <= share <= high for low, high in (interval(s, 200) for s in drawn)])
        assert 0.92 < held < 0.98


def test_labels_are_numbers_or_names() -> None:
    clips = [Clip("a", "1"), Clip("b", "walk"), Clip("c", "7")]
    assert truth(clips, ["walk", "7"], 9) == {"a": 1, "b": 0, "c": 1}
    for label, sentence in ((None, "gives no label"), ("9", "'9' is no class"), ("jog", "'jog'")):
        with pytest.raises(UsageError, match=sentence):
            truth([Clip("a", label)], ["walk"], 9)


def test_protocols_are_ways_to_sample() -> None:
    assert {how["policy"] for how in PROTOCOLS.values()} <= set(POLICIES)
