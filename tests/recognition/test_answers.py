"""Several labels of one clip, and several heads of one network: in Python, as JSON, on a screen."""

import json
from itertools import pairwise
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import tsm_ref
from tsm_ref import evaluate, infer
from tsm_ref.checkpoint import weights_folder
from tsm_ref.errors import CheckpointError, UsageError
from tsm_ref.live import Live
from tsm_ref.recognition import as_json, as_table, recognize
from tsm_ref.show.report import Shown, report

SAMPLES = weights_folder() / "samples"
PAN, TOUR = SAMPLES / "pan_left.mp4", SAMPLES / "tour.mp4"
SCHEMA = json.loads(
    (Path(tsm_ref.__file__).parent / "recognition" / "recognition.schema.json").read_text()
)
LABELS = {"verb": ("take", "put", "cut"), "noun": ("cup", "pan", "knife", "egg")}


@pytest.fixture(scope="module")
def multi():
    return tsm_ref.load("camera-motion", engine="numpy", multi_label=True, threshold=0.6)


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    path = tmp_path_factory.mktemp("heads") / "heads.h5"
    counts = {head: len(labels) for head, labels in LABELS.items()}
    tsm_ref.save(tsm_ref.build("resnet18", num_classes=counts, segments=2, engine="numpy"), path)
    return path


def test_each_class_has_a_sigmoid_of_its_own(multi) -> None:
    found = recognize(multi, PAN)
    plain = recognize(tsm_ref.load("camera-motion", engine="numpy"), PAN)
    assert found.multi_label()
    assert not plain.multi_label()
    assert plain.labels == ("pan left",)
    x = np.random.default_rng(0).standard_normal((1, 3, 8, 64, 64)).astype(np.float32)
    expected = 1 / (1 + np.exp(-multi(x)))
    np.testing.assert_allclose(multi.probabilities(multi.logits(x)), expected, rtol=1e-6)
    assert found.probabilities.sum(1).max() > 1.1 > 1 + 1e-6 > plain.probabilities.sum(1).max()


def test_labels_from_the_threshold_on_are_said_however_many_are_shown(multi) -> None:
    for threshold in (0.05, 0.6, 0.9999):
        model = tsm_ref.load("camera-motion", engine="numpy", multi_label=True, threshold=threshold)
        every = recognize(model, TOUR, top=9)
        wanted = tuple(p.label for p in every.predictions if p.probability >= threshold)
        assert recognize(model, TOUR, top=1).labels == every.labels == wanted
    assert wanted == ()


def test_a_timeline_of_several_labels(multi) -> None:
    found = recognize(multi, TOUR)
    labels = [segment.label for segment in found.segments]
    assert any(", " in label for label in labels)
    assert all(a != b for a, b in pairwise(labels))
    assert [s.end for s in found.segments[:-1]] == [s.start for s in found.segments[1:]]
    sure = tsm_ref.load("camera-motion", engine="numpy", multi_label=True, threshold=0.9999)
    assert {segment.label for segment in recognize(sure, TOUR).segments} >= {"none"}


def test_the_table_says_which_hold(multi) -> None:
    lines = as_table(recognize(multi, PAN, top=9)).splitlines()
    assert lines[0].startswith("pan left (")
    assert lines[2].split() == ["rank", "label", "probability", "logit", "holds"]
    held = [line for line in lines if line.endswith(" yes")]
    assert [line.split()[1] for line in held] == ["pan"]


def test_json_of_several_labels_is_as_described(multi, heads) -> None:
    tree = json.loads(as_json(recognize(multi, TOUR)))
    jsonschema.validate(tree, SCHEMA)
    assert tree["model"]["profile"]["multi_label"] is True
    assert tree["model"]["profile"]["threshold"] == 0.6
    assert "heads" not in tree
    tree = json.loads(as_json(recognize(tsm_ref.load(heads, engine="numpy"), PAN)))
    jsonschema.validate(tree, SCHEMA)
    assert list(tree["heads"]) == ["verb", "noun"]
    assert tree["predictions"] == tree["heads"]["verb"]["predictions"]


def test_every_head_has_its_labels_and_its_softmax(heads) -> None:
    model = tsm_ref.load(heads, labels=LABELS, engine="numpy")
    found = recognize(model, PAN)
    assert list(found.heads) == ["verb", "noun"]
    for head, answer in found.heads.items():
        assert answer.probabilities.shape == (1, len(LABELS[head]))
        assert answer.probabilities.sum() == pytest.approx(1)
        best = answer.predictions[0]
        assert best.label == LABELS[head][best.index]
        assert answer.labels == (best.label,)
    assert found.predictions == found.heads["verb"].predictions
    lines = as_table(found).splitlines()
    assert lines[0].startswith("verb: ")
    assert "; noun: " in lines[0]
    assert [line for line in lines if line in LABELS] == ["verb", "noun"]


def test_heads_are_those_of_the_features(heads) -> None:
    model = tsm_ref.load(heads, engine="numpy")
    x = np.random.default_rng(0).standard_normal((2, 3, 2, 64, 64)).astype(np.float32)
    features = model.features(x)
    for head, logits in model.head_logits(x).items():
        expected = features @ model.weights[f"{head}.weight"].T + model.weights[f"{head}.bias"]
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def test_labels_of_heads_come_from_a_file_and_stay_in_ours(heads, tmp_path, capsys) -> None:
    (tmp_path / "labels.json").write_text(json.dumps(LABELS))
    code = infer.main(
        [
            *("--model", str(heads), "--labels", str(tmp_path / "labels.json")),
            *("--top", "1", "--csv", str(tmp_path / "out.csv"), "--engine", "numpy"),
            *(str(PAN), str(SAMPLES / "zoom_in.mp4")),
        ]
    )
    assert code == 0
    out = capsys.readouterr().out.splitlines()
    assert all(line.startswith("verb: ") and "noun: " in line for line in out)
    assert "verb: " in (tmp_path / "out.csv").read_text().splitlines()[1]
    model = tsm_ref.load(heads, labels=LABELS, engine="numpy")
    tsm_ref.save(model, tmp_path / "again.h5")
    assert tsm_ref.load(tmp_path / "again.h5", engine="numpy").profile.heads == tuple(
        LABELS.items()
    )


def test_labels_that_fit_no_head_are_refused(heads) -> None:
    for labels, said in (
        ({"verb": ("a", "b")}, r"3 classes of 'verb' and 2 labels"),
        ({"adverb": ("a",)}, r"no head 'adverb': it has verb, noun"),
        ({"verb": ("a", "a", "b")}, r"must be different texts"),
    ):
        with pytest.raises(UsageError, match=said):
            tsm_ref.load(heads, labels=labels, engine="numpy")


def test_the_report_shows_all_heads_and_labels(multi, heads) -> None:
    model = tsm_ref.load(heads, labels=LABELS, engine="numpy")
    page = report([Shown(str(PAN), json.loads(as_json(recognize(model, PAN))), "")])
    assert page.count("The best classes of the head") == 2
    sure = tsm_ref.load("camera-motion", engine="numpy", multi_label=True, threshold=0.9999)
    tree = json.loads(as_json(recognize(sure, PAN))) | {"segments": []}
    assert '<p class="answer">none</p>' in report([Shown(str(PAN), tree, "")])


def test_a_stream_says_which_labels_hold(capsys) -> None:
    arguments = ("--engine", "numpy", "--multi-label", "--threshold", "0.99", "--stream", str(TOUR))
    assert infer.main([*arguments, "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {tuple(row["labels"]) for row in rows} >= {(), ("static",), ("zoom in",)}
    for before, row in pairwise(rows):
        assert row["changed"] == (set(row["labels"]) != set(before["labels"]))
        held = [each["label"] for each in row["top"] if each["probability"] >= 0.99]
        assert row["labels"] == held
        assert row["event"] == bool(held)


def test_the_stream_of_several_heads_gives_each(heads) -> None:
    model = tsm_ref.load(heads, engine="numpy")
    x = np.random.default_rng(0).standard_normal((1, 3, 4, 64, 64)).astype(np.float32)
    stream = model.stream()
    parts = [part for part in (stream.steps(x), stream.flush()) if part is not None]
    for name, head in (("verb per frame", "verb"), ("noun per frame", "noun")):
        made = np.concatenate([part[name] for part in parts if part[name] is not None], 1)
        np.testing.assert_allclose(made.mean(1), model.head_logits(x)[head], rtol=1e-4, atol=1e-5)
    with pytest.raises(UsageError, match=r"several heads \(verb, noun\)"):
        Live(model)


def test_a_network_that_ends_in_a_softmax_says_one_label() -> None:
    model = tsm_ref.build("resnet18", num_classes=3, engine="numpy", segments=2)
    node = type(model.graph.nodes[0])("share", "Softmax", ("consensus",))
    graph = model.graph.with_nodes([*model.graph.nodes, node]).with_outputs(["share"])
    profile = model.profile.with_changes(multi_label=True)
    with pytest.raises(UsageError, match="ends in a softmax"):
        recognize(tsm_ref.Model(graph, lambda: model.weights, profile, engine="numpy"), PAN)


def test_what_has_no_heads_of_classes_is_refused(tmp_path) -> None:
    model = tsm_ref.build("mtts-can", engine="numpy")
    with pytest.raises(CheckpointError, match="does not label clips"):
        recognize(model, PAN)


def test_heads_of_several_labels_are_not_measured(heads, tmp_path, capsys) -> None:
    (tmp_path / "list.txt").write_text(f"{PAN} 1\n")
    arguments = ["--model", str(heads), "--multi-label", "--engine", "numpy"]
    assert evaluate.main([str(tmp_path / "list.txt"), *arguments]) == 2
    assert "has heads of several labels" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("counts", "said"),
    [({"verb": 0}, "num_classes"), ({"conv1": 2}, "name of something else")],
)
def test_heads_that_cannot_be_built(counts, said) -> None:
    with pytest.raises(UsageError, match=said):
        tsm_ref.build("resnet18", num_classes=counts, engine="numpy")
