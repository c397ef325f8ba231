"""Accuracy on a list of clips: what is printed, what the result file holds, what is refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tsm_ref
from tsm_ref import evaluate
from tsm_ref.batch.scores import PROTOCOLS
from tsm_ref.checkpoint import sha256_of, weights_folder
from tsm_ref.evaluate import NAMES
from tsm_ref.profile import PROFILES
from tsm_ref.recognition import sampled

SAMPLES = weights_folder() / "samples"
TRUTH = {"pan_left": "pan left", "zoom_in": "zoom in", "roll_clockwise": "roll clockwise"}


@pytest.fixture
def val(tmp_path: Path) -> Path:
    """Three clips that are right and one whose label is wrong."""
    rows = [f"{SAMPLES / name}.mp4,{label}" for name, label in TRUTH.items()]
    shutil.copy(SAMPLES / "zoom_in.mp4", tmp_path / "other.mp4")
    path = tmp_path / "val.csv"
    path.write_text("\n".join(["path,label", *rows, f"{tmp_path}/other.mp4,static", ""]))
    return path


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    code = evaluate.main(["--engine", "numpy", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_says_how_often_it_is_right(capsys, val: Path, tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    code, out, _ = run(capsys, str(val), "-o", str(result))
    assert code == 0
    assert out.splitlines()[0].startswith("top-1   75.00%  of 4 clips (95 % interval 30")
    assert out.splitlines()[1] == f"top-5  {json.loads(result.read_text())['top5']:7.2%}"
    assert out.splitlines()[-1] == "    0.00%  0 of 1  static, most taken for zoom in"
    tree = json.loads(result.read_text())
    assert (tree["top1"], tree["recognised"], tree["failed"]) == (0.75, 4, 0)
    assert tree["list"] == {"path": str(val), "sha256": sha256_of(val), "clips": 4}
    assert tree["settings"]["profile"]["sampling"]["policy"] == "windows"
    assert tree["settings"]["model"] == tsm_ref.load("camera-motion", engine="numpy").sha256
    assert {"true": 0, "predicted": 5, "clips": 1} in tree["confusion"]
    assert sum(row["clips"] for row in tree["confusion"]) == 4
    assert [clip["label"] for clip in tree["clips"]] == [1, 5, 7, 0]
    assert all(len(clip["predicted"]) == 5 for clip in tree["clips"])


def test_goes_on_where_it_was_cut_off(capsys, val: Path, tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    run(capsys, str(val), "-o", str(result))
    first = json.loads(result.read_text())
    journal = Path(f"{result}.journal")
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:3]) + lines[3][:40])
    code, _, err = run(capsys, str(val), "-o", str(result), "--resume")
    assert code == 0
    again = json.loads(result.read_text())
    assert again | {"seconds": 0} == first | {"seconds": 0}
    code, _, err = run(
        capsys, str(val), "-o", str(result), "--resume", "--protocol", "mit-center-1clip"
    )
    assert code == 2
    assert "profile.sampling.policy" in err


@pytest.mark.parametrize(
    "name", sorted(name for name, how in PROTOCOLS.items() if how["crops"] == 1)
)
def test_protocols(capsys, val: Path, tmp_path: Path, name: str) -> None:
    result = tmp_path / "result.json"
    code, _, _ = run(capsys, str(val), "--protocol", name, "-o", str(result))
    assert code == 0
    tree = json.loads(result.read_text())
    assert tree["protocol"] == name
    assert tree["settings"]["profile"]["sampling"]["policy"] == PROTOCOLS[name]["policy"]


def test_several_views_of_a_network_that_crops(capsys, val: Path, tmp_path: Path) -> None:
    model = tsm_ref.build("resnet18", num_classes=9, segments=2, engine="numpy")
    labels = tsm_ref.load("camera-motion", engine="numpy").labels
    model.profile = model.profile.with_changes(labels=labels)
    tsm_ref.save(model, tmp_path / "m.h5")
    result = tmp_path / "result.json"
    code, _, err = run(
        capsys,
        *(str(val), "--model", str(tmp_path / "m.h5"), "--protocol", "mit-full-2clip"),
        *("--size", "40", "--crop", "32", "-o", str(result), "--average", "probabilities"),
    )
    assert (code, "error" in err) == (0, False)
    profile = json.loads(result.read_text())["settings"]["profile"]
    assert profile["preprocess"]["crops"] in ("three", "three_longer")
    assert profile["average"] == "probabilities"


def test_a_confusion_matrix_is_drawn(capsys, val: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    code, _, _ = run(capsys, str(val), "--confusion", str(tmp_path / "x.svg"))
    assert code == 0
    assert b"<svg" in (tmp_path / "x.svg").read_bytes()


def test_clips_that_cannot_be_read_are_told_and_counted(capsys, tmp_path: Path) -> None:
    path = tmp_path / "val.txt"
    path.write_text(f"{SAMPLES}/pan_left.mp4 1\nno-such.mp4 0\n")
    code, out, err = run(capsys, str(path), "-o", str(tmp_path / "r.json"))
    assert code == 6
    assert "100.00%  of 1 clips" in out
    assert "no-such.mp4: no such file" in err
    assert json.loads((tmp_path / "r.json").read_text())["failed"] == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["no-such.txt"], "no-such.txt"),
        (["VAL", "--protocol", "best"], "there are mit-center-1clip"),
        (["VAL", "--confusion", "x.gif"], "--confusion x.gif"),
        (["VAL", "--resume"], "--resume needs --output"),
        (["VAL", "--protocol", "dense-10x3"], "`crops`"),
        (["VAL", "--labels", "jester_mmaction2"], "27 labels were given"),
    ],
)
def test_what_cannot_be_is_one_line(capsys, val: Path, arguments, sentence: str) -> None:
    given = [str(val) if argument == "VAL" else argument for argument in arguments]
    code, out, err = run(capsys, *given)
    assert (code, out) == (2, "")
    assert sentence in err
    assert err.count("\n") == 1


def test_a_list_without_labels(capsys, tmp_path: Path) -> None:
    (tmp_path / "val.txt").write_text("a.mp4\nb.mp4\n")
    code, _, err = run(capsys, str(tmp_path / "val.txt"))
    assert code == 2
    assert "a.mp4: the list gives no label; one is needed per clip\n" in err


def test_a_list_of_several_labels_for_a_model_of_one_says_how_it_is_read(capsys, tmp_path) -> None:
    (tmp_path / "val.csv").write_text("path,labels\na.mp4,static;pan left\n")
    code, _, err = run(capsys, str(tmp_path / "val.csv"))
    assert (code, err.count("\n")) == (2, 1)
    assert "one is needed per clip, or --multi-label, as it has a column 'labels'" in err


@pytest.mark.parametrize(
    ("name", "crops", "crop", "resize", "rounding", "average"),
    [
        ("mit-center-1clip", "center", (224, 224), "pil", ("floor", "round"), "logits"),
        ("mit-full-2clip", "three", (256, 256), "pil", ("floor", "round"), "logits"),
        ("dense-10x3", "three", (256, 256), "pil", ("floor", "round"), "logits"),
        ("mmaction2", "ten", (224, 224), "opencv", ("half_up", "floor"), "probabilities"),
        ("mmaction2-center", "center", (224, 224), "opencv", ("half_up", "floor"), "probabilities"),
        ("paddle-center", "center", (224, 224), "pil", ("four_thirds", "round"), "as before"),
    ],
)
@pytest.mark.parametrize("before", ["mit", "mmaction2", "paddle"])
def test_a_protocol_resizes_and_cuts_as_published(
    name: str, crops: str, crop: tuple[int, int], resize: str, rounding: Any, average: str,
    before: str,
) -> None:  # fmt: skip
    """Whatever the model's own profile says; its colours and its normalisation stay."""
    how = dict(PROTOCOLS[name])
    averaged = how.pop("average", "as before")
    spec = sampled(PROFILES[before], **how).preprocess
    assert (spec.crops, spec.crop, spec.short_side) == (crops, crop, 256)
    assert (spec.resize, (spec.long_side, spec.crop_offset)) == (resize, rounding)
    assert averaged == average
    assert spec.mean == PROFILES[before].preprocess.mean


def test_every_protocol_is_in_the_help() -> None:
    assert set(NAMES.split(", ")) == set(PROTOCOLS)


def saved(folder: Path, **options: Any) -> str:
    """A network of small random weights."""
    facts = {name: options.pop(name) for name in ("multi_label", "heads") if name in options}
    model = tsm_ref.build("resnet18", segments=2, engine="numpy", **options)
    spec = PROFILES["mit"].preprocess
    small = replace(spec, short_side=None, size=(32, 32), crop=None)
    model.profile = replace(model.profile, preprocess=small, **facts)
    tsm_ref.save(model, folder / "m.h5")
    return str(folder / "m.h5")


def test_several_labels_for_a_clip(capsys, tmp_path: Path) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    model = saved(tmp_path, num_classes=4, multi_label=True)
    told = {"pan_left": "0;2", "zoom_in": "1", "roll_clockwise": "2;1"}
    rows = [f"{SAMPLES / name}.mp4,{labels}" for name, labels in told.items()]
    path, result = tmp_path / "val.csv", tmp_path / "r.json"
    path.write_text("\n".join(["path,labels", *rows, ""]))
    code, out, _ = run(capsys, str(path), "--model", model, "-o", str(result))
    assert code == 0
    tree = json.loads(result.read_text())
    chances = [clip["probabilities"] for clip in tree["clips"]]
    true = [[k in clip["labels"] for k in range(4)] for clip in tree["clips"]]
    assert true == [[1, 0, 1, 0], [0, 1, 0, 0], [0, 1, 1, 0]]
    for row in tree["classes"]:
        k = row["index"]
        wanted = metrics.average_precision_score([t[k] for t in true], [c[k] for c in chances])
        assert row["average_precision"] == pytest.approx(wanted)
    assert [row["clips"] for row in tree["classes"]] == [1, 2, 2]
    mean = sum(row["average_precision"] for row in tree["classes"]) / 3
    assert tree["mean_average_precision"] == pytest.approx(mean)
    assert out.splitlines()[0] == f"mAP    {mean:7.2%}  over 3 classes that a clip has, of 3 clips"
    code, _, err = run(capsys, str(path), "--model", model, "--confusion", str(tmp_path / "x.svg"))
    assert (code, "--confusion is of one label for a clip" in err) == (2, True)


def test_several_heads(capsys, tmp_path: Path) -> None:
    heads = (("verb", ("open", "close")), ("noun", ("door", "cup", "bag")))
    model = saved(tmp_path, num_classes={"verb": 2, "noun": 3}, heads=heads)
    found = tsm_ref.load(model, engine="numpy").recognize(SAMPLES / "pan_left.mp4").heads
    best = {head: answer.predictions[0].label for head, answer in found.items()}
    other = next(name for name in heads[0][1] if name != best["verb"])
    path, result = tmp_path / "val.csv", tmp_path / "r.json"
    shutil.copy(SAMPLES / "pan_left.mp4", tmp_path / "again.mp4")
    path.write_text(
        f"path,verb,noun\n{SAMPLES}/pan_left.mp4,{best['verb']},{best['noun']}\n"
        f"again.mp4,{other},{best['noun']}\n"
    )
    code, out, _ = run(capsys, str(path), "--model", model, "-o", str(result))
    assert code == 0
    tree = json.loads(result.read_text())
    shares = {head: each["top1"] for head, each in tree["heads"].items()}
    assert (shares, tree["action"]) == ({"verb": 0.5, "noun": 1}, 0.5)
    assert out.splitlines()[0].split() == ["verb", "top-1", "50.00%", "top-5", "100.00%"]
    assert out.splitlines()[2].startswith("action  top-1  50.00%  all heads right, of 2 clips")
    path.write_text(f"path,label\n{SAMPLES}/pan_left.mp4,open\n")
    code, _, err = run(capsys, str(path), "--model", model)
    assert (code, "the list gives no verb; one label in a column of each of verb, noun" in err) == (
        2,
        True,
    )
