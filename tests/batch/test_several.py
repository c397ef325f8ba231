"""Several labels and several heads: precision beside scikit-learn's, truths, and counts by hand."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsm_ref.batch.lists import Clip, read_list
from tsm_ref.batch.recipe import Outcome
from tsm_ref.batch.several import (
    LabelScores,
    average_precision,
    head_scores,
    label_scores,
    truth_of_heads,
    truth_of_labels,
)
from tsm_ref.errors import UsageError

LABELS = ["walk", "run", "jump; hop"]


def by_definition(scores: np.ndarray, truth: np.ndarray) -> float:
    """At every different score: how much recall is won, times the precision there."""
    total, before = 0.0, 0.0
    for least in sorted(set(scores.tolist()), reverse=True):
        told = scores >= least
        recall = (truth & told).sum() / truth.sum()
        total += (recall - before) * (truth & told).sum() / told.sum()
        before = recall
    return total


@given(st.integers(0, 10**6), st.integers(1, 40), st.sampled_from([2, 5, 1000]))
def test_average_precision_is_its_definition(seed: int, count: int, different: int) -> None:
    rng = np.random.default_rng(seed)
    scores, truth = rng.integers(0, different, count) / different, rng.random(count) < 0.4
    found = average_precision(scores, truth)
    if not truth.any():
        assert np.isnan(found)
    else:
        assert found == pytest.approx(by_definition(scores, truth), abs=1e-12)


@given(st.integers(0, 10**6), st.integers(1, 40), st.sampled_from([2, 5, 1000]))
def test_average_precision_is_that_of_scikit_learn(seed: int, count: int, different: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    scores, truth = rng.integers(0, different, count) / different, rng.random(count) < 0.4
    truth[0] = True
    wanted = metrics.average_precision_score(truth, scores)
    assert average_precision(scores, truth) == pytest.approx(wanted, abs=1e-12)


def test_the_means_are_those_of_scikit_learn_and_mmaction2(rng: np.random.Generator) -> None:
    """Classes without a clip are left out, as MMAction2 does; scikit-learn counts them as 0."""
    metrics = pytest.importorskip("sklearn.metrics")
    chances, true = rng.random((30, 6)), rng.random((30, 6)) < 0.3
    true[:, 2] = False
    made = LabelScores(chances, true, 0)
    kept = [0, 1, 3, 4, 5]
    wanted = metrics.average_precision_score(true[:, kept], chances[:, kept], average="macro")
    assert made.mean == pytest.approx(wanted)
    labelled = true.any(1)
    wanted = metrics.average_precision_score(true[labelled], chances[labelled], average="samples")
    assert made.of_clips == pytest.approx(wanted)
    assert np.isnan(made.of_classes[2])
    tree = made.tree([f"class {k}" for k in range(6)])
    assert [row["index"] for row in tree["classes"]] == kept


def test_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert LabelScores(np.zeros((0, 3)), np.zeros((0, 3), bool), 2).mean == 0


def test_labels_come_from_csv_and_json(tmp_path) -> None:
    wanted = {"a.mp4": (0, 1), "b.mp4": (2,), "c.mp4": (), "d.mp4": (1,)}
    texts = {
        "v.csv": 'path,labels\na.mp4,walk;run\nb.mp4,jump; hop\nc.mp4,\nd.mp4," run "\n',
        "label.csv": "path,label\na.mp4,0; 1\nb.mp4,2\nd.mp4,1\n",
        "v.json": '[{"path": "a.mp4", "labels": ["walk", 1]}, {"path": "b.mp4", "labels": '
        '["jump; hop"]}, {"path": "c.mp4", "labels": []}, {"path": "d.mp4", "labels": "run"}]',
        "d.json": '{"a.mp4": [0, 1], "b.mp4": 2, "c.mp4": [], "d.mp4": ["run"]}',
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        clips = read_list(str(tmp_path / name))
        found = truth_of_labels(clips, LABELS, 3)
        assert found == {clip.path: wanted[Path(clip.path).name] for clip in clips}, name


def test_heads_come_from_csv_and_json(tmp_path) -> None:
    heads = {"Verb": (["open", "close"], 2), "noun": ((), 9)}
    for name, text in {
        "v.csv": "path,Verb,NOUN,start\na.mp4,close,7,0.5\n",
        "v.json": '[{"path": "a.mp4", "verb": "close", "noun": 7}]',
        "d.json": '{"a.mp4": {"verb": 1, "noun": "7"}}',
    }.items():
        (tmp_path / name).write_text(text)
        clips = read_list(str(tmp_path / name))
        assert truth_of_heads(clips, heads) == {"a.mp4": {"Verb": 1, "noun": 7}}, name


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("path,split\na.mp4,val\n", "a.mp4: the list gives no labels; a column 'labels'"),
        ("path,labels\na.mp4,walk;swim\n", "a.mp4: the label 'swim' is no class of the model"),
        ("path,labels\na.mp4,walk;3\n", "a.mp4: the label '3' is no class of the model, which ha"),
        ("path,labels\na.mp4,walk;0\n", "a.mp4: the label '0' is given twice"),
        ("path,labels\na.mp4,\n", "no clip of the list has a label"),
        ("path,labels\na.mp4,walk\na.mp4,run\n", "is listed twice, with other labels"),
        ("path,labels\na.mp4\n", "line 2 has 1 columns and the header 2"),
        ('[{"path": "a.mp4"', "it begins as JSON does and is none"),
        ("[1]", "clip 1 is no object with a `path`"),
        ('{"a.mp4": {"labels": {"walk": 1}}}', "the labels of a.mp4 must be a text, a number"),
        ('{"a.mp4": [true]}', "the labels of a.mp4 must be a text, a number, or a list of them"),
    ],
)
def test_bad_labels_are_one_line(tmp_path, text: str, sentence: str) -> None:
    (tmp_path / "list").write_text(text)
    with pytest.raises(UsageError) as caught:
        truth_of_labels(read_list(str(tmp_path / "list")), LABELS, 3)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_labels_of_heads_are_one_line() -> None:
    heads = {"verb": (["open"], 1), "noun": ((), 2)}
    for cells, said in (
        ((("verb", "open"),), "a.mp4: the list gives no noun; one label in a column of each of v"),
        ((("verb", "open"), ("noun", ("0", "1"))), "a.mp4: the list gives no noun; one label"),
        ((("verb", "shut"), ("noun", "1")), "'shut' is no class of the head 'verb' of the model"),
    ):
        with pytest.raises(UsageError, match=said):
            truth_of_heads([Clip("a.mp4", None, cells)], heads)


def test_counts_by_hand() -> None:
    def of(path: str, *chances: float) -> Outcome:
        rows = [{"index": k, "probability": chance} for k, chance in enumerate(chances)]
        tree = {"predictions": rows} if chances else None
        return Outcome(path, (0, 0), result=tree, error="" if chances else "bad")

    found = [of("a", 0.9, 0.2), of("b", 0.8, 0.1), of("c", 0.1, 0.7), of("d")]
    made = label_scores(found, {"a": (1,), "b": (0,), "c": (0, 1), "d": (0,)}, 2)
    assert made.failed == 1
    # class 0: wrong at 0.9, right at 0.8 and 0.1; class 1: right at 0.7 and 0.2
    assert made.of_classes.tolist() == pytest.approx([(1 / 2 + 2 / 3) / 2, 1])
    assert made.of_clips == pytest.approx((1 / 2 + 1 + 1) / 3)


def test_an_action_is_right_where_all_heads_are() -> None:
    def of(path: str, verb: list[int], noun: list[int]) -> Outcome:
        heads = {
            name: {"predictions": [{"index": k} for k in best]}
            for name, best in (("verb", verb), ("noun", noun))
        }
        return Outcome(path, (0, 0), result={"heads": heads})

    found = [of("a", [0, 1], [2, 1]), of("b", [1, 0], [1, 2]), of("c", [0, 1], [1, 2])]
    found.append(Outcome("d", (0, 0), error="bad"))
    true = {path: {"verb": 0, "noun": 2} for path in "abcd"}
    made = head_scores(found, true, {"verb": 2, "noun": 3})
    assert (made.count, made.failed) == (3, 1)
    assert (made.heads["verb"].top1, made.heads["noun"].top1) == pytest.approx((2 / 3, 1 / 3))
    assert made.heads["noun"].top5 == 1
    assert made.action == pytest.approx(1 / 3)
