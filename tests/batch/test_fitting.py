"""Fitting: the optimum that its formula says, and folds that no clip is on both sides of."""

import numpy as np
import pytest

from tsm_ref.batch import Clip, fitting
from tsm_ref.batch.fitting import (
    Examples,
    check_classes,
    classes_of_labels,
    cross_validate,
    fit,
    truth_of,
)
from tsm_ref.errors import UsageError


def examples(rng, classes: int, clips: int = 30, rows: int = 3, width: int = 4) -> Examples:
    truth = np.arange(clips) % classes
    centres = rng.standard_normal((classes, width))
    place = np.repeat(np.arange(clips), rows)
    features = centres[truth[place]] + rng.standard_normal((clips * rows, width))
    return Examples(features * [1, 10, 0.1, 1] + 5, place, truth)


def loss(head, known: Examples, penalty: float) -> float:
    share = 1 / np.bincount(known.clip)[known.clip]
    mean = np.average(known.features, axis=0, weights=share)
    spread = np.sqrt(np.average((known.features - mean) ** 2, axis=0, weights=share))
    logits = known.features @ head.weight.T + head.bias
    logits = logits - logits.max(1, keepdims=True)
    rows = logits[np.arange(len(logits)), known.truth[known.clip]] - np.log(np.exp(logits).sum(1))
    return float(-(rows * share).sum() + penalty / 2 * ((head.weight * spread) ** 2).sum())


@pytest.mark.parametrize("penalty", [0.1, 1.0, 10.0])
def test_the_head_is_the_optimum_of_the_formula(rng, penalty) -> None:
    pytest.importorskip("sklearn")
    known = examples(rng, 3)
    head = fit(known, 3, penalty)
    best = loss(head, known, penalty)
    for _ in range(20):
        weight = head.weight + 0.02 * rng.standard_normal(head.weight.shape) / [1, 10, 0.1, 1]
        bias = head.bias + 0.02 * rng.standard_normal(3)
        assert loss(fitting.Head(weight, bias), known, penalty) > best


def test_two_classes_are_told_apart_by_the_sigmoid_of_one_difference(rng) -> None:
    pytest.importorskip("sklearn")
    known = examples(rng, 2)
    head = fit(known, 2)
    np.testing.assert_allclose(head.weight[0], -head.weight[1])
    assert (head.clips(known, "logits").argmax(1) == known.truth).mean() > 0.7


def test_a_feature_that_never_changes_has_no_weight(rng) -> None:
    pytest.importorskip("sklearn")
    known = examples(rng, 3)
    known.features[:, 2] = 7.0
    head = fit(known, 3)
    assert not head.weight[:, 2].any()
    assert np.isfinite(head.bias).all()


def test_a_clip_of_many_rows_weighs_as_much_as_another(rng) -> None:
    pytest.importorskip("sklearn")
    known = examples(rng, 3, rows=1)
    again = np.concatenate([known.clip, np.zeros(50, int)])
    more = Examples(known.features[again], again, known.truth)
    np.testing.assert_allclose(fit(more, 3).weight, fit(known, 3).weight, rtol=1e-3, atol=1e-4)


def test_noise_is_not_learned_across_the_rows_of_a_clip(rng) -> None:
    """Rows of one clip are nearly the same: on both sides of a split they would be found again."""
    pytest.importorskip("sklearn")
    clips, rows = 60, 8
    truth, place = np.arange(clips) % 2, np.repeat(np.arange(clips), rows)
    noise = rng.standard_normal((clips, 100))[place] + 0.01 * rng.standard_normal(
        (clips * rows, 100)
    )
    found = cross_validate(Examples(noise, place, truth), 2)
    assert 0.25 < found.top1 < 0.75
    assert found.count == clips


def test_each_clip_is_asked_about_once_and_never_learned_from_then(rng, monkeypatch) -> None:
    pytest.importorskip("sklearn")
    known = examples(rng, 3)
    known.features[:, 3] = known.clip  # tells which clip a row is of
    real, learned = fitting.fit, []
    monkeypatch.setattr(
        fitting,
        "fit",
        lambda part, *rest: learned.append(set(part.features[:, 3])) or real(part, *rest),
    )
    found = cross_validate(known, 3, folds=5)
    assert [len(clips) for clips in learned] == [24] * 5
    assert set.intersection(*learned) == set()
    assert found.confusion.sum(1).tolist() == [10, 10, 10]


@pytest.mark.parametrize("average", ["logits", "probabilities"])
def test_clips_are_averaged_as_the_profile_says(rng, average) -> None:
    known = examples(rng, 3, clips=6)
    head = fitting.Head(rng.standard_normal((3, 4)), rng.standard_normal(3))
    rows = known.features @ head.weight.T + head.bias
    shares = [r - np.log(np.exp(r).sum(1, keepdims=True)) for r in rows.reshape(6, 3, 3)]
    expected = np.stack([
        np.exp(r).mean(0) if average == "probabilities" else
        np.exp(r.mean(0)) / np.exp(r.mean(0)).sum() for r in shares])  # fmt: skip
    np.testing.assert_allclose(head.clips(known, average), expected)


def test_labels_are_names_or_numbers() -> None:
    clips = [Clip("a", "run"), Clip("b", "1"), Clip("c", "walk")]
    assert classes_of_labels(clips[::2]) == ("run", "walk")
    assert classes_of_labels(clips, ("run", "walk")) == ("run", "walk")
    assert truth_of(clips, ("run", "walk"), ("run", "walk")).tolist() == [0, 1, 1]
    for bad, said in (([Clip("d")], "no label"), ([Clip("d", "2")], "none of the 2 classes")):
        with pytest.raises(UsageError, match=said):
            classes_of_labels([*clips, *bad], ("run", "walk"))
    with pytest.raises(UsageError, match="'fly' has no clip"):
        classes_of_labels(clips, ("run", "walk", "fly"))
    with pytest.raises(UsageError, match="look like one"):
        classes_of_labels([Clip("a", "Run "), Clip("b", "run")])


def test_classes_that_no_head_can_learn() -> None:
    with pytest.raises(UsageError, match="only class"):
        check_classes(np.zeros(4, int), ["run"])
    with pytest.raises(UsageError, match="'walk' has 1 clip:"):
        check_classes(np.array([0, 0, 1]), ["run", "walk"])
