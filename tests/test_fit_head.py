"""A head for one's own classes: right on clips that it has not seen, and a model like any other."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import tsm_ref
from tests.moves import MOVES, write_films
from tsm_ref import convert, fit_head, infer
from tsm_ref.checkpoint import load_checkpoint

pytest.importorskip("sklearn")
pytest.importorskip("av")


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    write_films(folder / "train", 6)
    write_films(folder / "test", 3, seed=1)
    return folder


@pytest.fixture(scope="module")
def fitted(films) -> Path:
    out = films / "mine.h5"
    assert fit_head.main([str(films / "train"), "-o", str(out), "--engine", "numpy", "-q"]) == 0
    return out


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    code = fit_head.main(["--engine", "numpy", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def test_it_is_right_on_films_that_it_has_not_seen(fitted, films, capsys) -> None:
    videos = [film for move in MOVES for film in sorted((films / "test" / move).iterdir())]
    assert infer.main(["--json", "--model", str(fitted), *map(str, videos)]) == 0
    trees = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    right = [
        tree["predictions"][0]["label"] == video.parent.name
        for tree, video in zip(trees, videos, strict=True)
    ]
    assert sum(right) >= 11  # of 12, on any processor


def test_the_base_cannot_tell_the_new_classes_apart(films) -> None:
    """It has no name for a move that turns: one label would have to do for all."""
    model = tsm_ref.load("camera-motion", engine="numpy")
    assert not set(MOVES) - {"static"} & set(model.labels)


def test_the_file_is_a_model_with_labels_and_a_card(fitted) -> None:
    found = load_checkpoint(fitted)
    assert found.profile.labels == tuple(sorted(MOVES))
    assert found.profile.no_event == ""
    assert "24 clips that the head had not seen, by 5-fold" in found.profile.measured
    assert found.extra["card"].startswith("# A head on camera-motion\n")
    assert found.extra["licence"] == "MIT"
    facts = json.loads(found.extra["fit"])
    assert facts["accuracy"] >= 0.9
    assert facts["interval"][0] < facts["accuracy"] <= facts["interval"][1]
    assert np.sum(facts["confusion"]) == facts["clips"] == 24
    assert [row["clips"] for row in facts["classes"]] == [6] * 4
    assert facts["model"]["digest"] == tsm_ref.load("camera-motion", engine="numpy").digest()
    assert str(fitted.parent) not in json.dumps(dict(found.extra))


def test_it_streams_as_its_base_does_bit_for_bit(fitted) -> None:
    model = tsm_ref.load(fitted, engine="numba")
    x = np.random.default_rng(0).standard_normal((1, 3, 8, 64, 64)).astype(np.float32)
    stream = model.stream()
    assert stream.delay == 0
    assert stream.steps(x).tobytes() == model.frame_logits(x).tobytes()


def test_it_converts(fitted, tmp_path, capsys) -> None:
    assert convert.main([str(fitted), str(tmp_path / "mine.onnx")]) == 0
    model, again = (tsm_ref.load(p, engine="numpy") for p in (fitted, tmp_path / "mine.onnx"))
    x = np.random.default_rng(0).standard_normal((1, 3, 8, 64, 64)).astype(np.float32)
    np.testing.assert_allclose(again(x), model(x), rtol=1e-4, atol=1e-4)
    assert again.labels == model.labels


def test_the_trunk_is_that_of_the_base(fitted) -> None:
    model, base = (tsm_ref.load(n, engine="numpy") for n in (fitted, "camera-motion"))
    x = np.random.default_rng(0).standard_normal((1, 3, 8, 64, 64)).astype(np.float32)
    np.testing.assert_array_equal(model.features(x), base.features(x))


def test_a_list_with_other_layer_windows_and_names(films, tmp_path, capsys) -> None:
    lines = ["path,label"]
    lines += [f"{film},{k}" for k, move in enumerate(("static", "up then down"))
              for film in sorted((films / "train" / move).iterdir())]  # fmt: skip
    (tmp_path / "list.csv").write_text("\n".join(lines))
    (tmp_path / "names.txt").write_text("still\nmoving\n")
    code, out, err = run(
        capsys,
        *(tmp_path / "list.csv", "-o", tmp_path / "two.h5", "--labels", tmp_path / "names.txt"),
        *("--layer", "layer2", "--window", "1", "--folds", "3", "--json"),
    )
    assert (code, err) == (0, "")
    facts = json.loads(out)
    assert [row["label"] for row in facts["classes"]] == ["still", "moving"]
    assert (facts["layer"], facts["features"], facts["folds"]) == ("layer2", 32, 3)
    assert facts["rows"] > facts["clips"] == 12
    model = tsm_ref.load(tmp_path / "two.h5", engine="numpy")
    assert (model.profile.sampling.policy, model.profile.sampling.window) == ("windows", 1.0)
    found = model.recognize(next((films / "test" / "up then down").iterdir()))
    assert found.predictions[0].label == "moving"


def test_a_run_that_was_cut_off_goes_on(films, tmp_path, monkeypatch, capsys) -> None:
    from tsm_ref.batch import features

    made = []
    real = features.features_of

    def interrupted(model, path, **options):
        if len(made) == 5:
            raise KeyboardInterrupt
        made.append(path)
        return real(model, path, **options)

    monkeypatch.setattr(features, "features_of", interrupted)
    out = tmp_path / "mine.h5"
    assert run(capsys, films / "train", "-o", out)[0] == 130
    assert [path.name for path in tmp_path.iterdir()] == ["mine.h5.features"]
    monkeypatch.setattr(features, "features_of", lambda *a, **k: made.append(a) or real(*a, **k))
    assert run(capsys, films / "train", "-o", out, "-q")[0] == 0
    assert len(made) == 24
    assert [path.name for path in tmp_path.iterdir()] == ["mine.h5"]


def test_the_same_clips_give_the_same_bytes(fitted, films, tmp_path, capsys) -> None:
    assert run(capsys, films / "train", "-o", tmp_path / "again.h5", "-q")[0] == 0
    assert (tmp_path / "again.h5").read_bytes() == fitted.read_bytes()


def test_what_cannot_be_read_is_left_out_and_counted(films, tmp_path, capsys) -> None:
    folder = shutil.copytree(films / "train", tmp_path / "clips")
    (folder / "static" / "0.mov").write_bytes(b"junk")
    shutil.copy(folder / "static" / "1.mov", folder / "static" / "copy.mov")
    code, out, err = run(capsys, folder, "-o", tmp_path / "mine.h5", "--json")
    assert code == 6
    assert json.loads(out)["clips"] == 23
    assert "0.mov" in err
    assert "copy.mov is the same video as" in err
    assert "1 of 25 clips could not be read: left out" in err
    assert tsm_ref.load(tmp_path / "mine.h5", engine="numpy").labels == tuple(sorted(MOVES))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda d: [shutil.rmtree(d / m) for m in list(MOVES)[1:]], "the only class is 'static'"),
        (lambda d: [f.unlink() for f in sorted((d / "static").iterdir())[1:]],
         "the class 'static' has 1 clip: at least 2"),
        (lambda d: [f.write_bytes(b"x") for f in sorted((d / "static").iterdir())[1:]],
         "the class 'static' has 1 clip that can be read"),
        (lambda d: [f.unlink() for f in (d / "static").iterdir()], "'static' has no video"),
        (lambda d: (d / "static").rename(d / "Up Then  Down"), "look like one"),
        (lambda d: shutil.copy(d / "static/0.mov", d / "up then down/x.mov"), "same video as"),
        (lambda d: shutil.copy(d / "static/0.mov", d / "x.mov"), "lies beside the folders"),
        (lambda d: [shutil.rmtree(d / m) for m in MOVES], "no folder in it"),
    ],
)  # fmt: skip
def test_clips_that_no_head_can_be_fitted_to(films, tmp_path, capsys, change, sentence) -> None:
    folder = shutil.copytree(films / "train", tmp_path / "clips")
    change(folder)
    code, out, err = run(capsys, folder, "-o", tmp_path / "mine.h5")
    assert (code, out) == (2, "")
    assert sentence in err.splitlines()[-1]
    assert not (tmp_path / "mine.h5").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["no-such.txt", "-o", "m.h5"], 2, "no-such.txt"),
        (["{train}", "-o", "m.onnx"], 2, "must be .h5 or .hdf5"),
        (["{train}", "-o", "m.h5", "--folds", "1"], 2, "--folds (=1)"),
        (["{train}", "-o", "m.h5", "--seed", "-1"], 2, "--seed (=-1)"),
        (["{train}", "-o", "m.h5", "--root", "x"], 2, "--root is for"),
        (["{train}", "-o", "m.h5", "--labels", "kinetics400"], 2, "none of the 400 classes"),
        (["{train}", "-o", "m.h5", "--layer", "layer9"], 2, "no layer 'layer9'"),
        (["{train}", "-o", "m.h5", "--confusion", "x.gif"], 2, ".svg, .png"),
        (["{train}", "-o", "m.h5", "--model", "no-such"], 4, "no-such"),
        (["{train}", "-o", "no-such-folder/m.h5"], 5, "no-such-folder"),
        (["{train}"], 2, "-o"),
    ],
)
def test_bad_options_are_one_line_and_a_code(
    films, tmp_path, monkeypatch, capsys, arguments, code, sentence
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [argument.format(train=films / "train") for argument in arguments]
    found, out, err = run(capsys, *given)
    assert (found, out) == (code, "")
    assert sentence in err
    assert err.count("\n") == 1
    assert not (tmp_path / "m.h5").exists()
