"""Quantising from the command line: what is written and said, and its exit codes."""

import warnings
from pathlib import Path

import pytest

import tsm_ref
from tsm_ref.checkpoint import weights_folder
from tsm_ref.quantization import Report
from tsm_ref.quantize import main

SAMPLES = weights_folder() / "samples"
FAST = ["--engine", "numpy", "--keep", "none", "--no-equalise"]


def test_a_folder_of_clips_makes_a_model(tmp_path: Path, capsys) -> None:
    out = tmp_path / "small.h5"
    assert main(["camera-motion", str(out), "--clips", str(SAMPLES), *FAST]) == 0
    said = capsys.readouterr().out
    assert "top-1         the same as in float32 for 100.0%" in said
    assert "stay float32  none" in said
    made = tsm_ref.load(out, engine="numpy")
    assert made.graph.quantised
    assert Report.from_json(made.notes["quantisation"]).source == "samples"
    pan = made.recognize(SAMPLES / "pan_left.mp4")
    assert pan.predictions[0].label == "pan left"


def test_a_list_will_do(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"{SAMPLES / 'zoom_in.mp4'}\n")
    arguments = ["camera-motion", str(tmp_path / "m.h5"), "--clips", str(tmp_path / "list.txt")]
    assert main([*arguments, *FAST]) == 0


def test_the_samples_are_taken_on_request_and_it_says_so(tmp_path: Path, capsys) -> None:
    assert main(["camera-motion", str(tmp_path / "m.h5"), "--samples", *FAST]) == 0
    assert "not on clips such as it will see" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["camera-motion", "out.h5"], 2, "give --clips"),
        (["camera-motion", "out.h5", "--clips", str(SAMPLES), "--samples"], 2, "give --clips"),
        (["camera-motion", "out.onnx", "--samples"], 2, "the ending must be .h5"),
        (["camera-motion", "out.h5", "--samples", "--keep", "odd"], 2, "no layer 'odd'"),
        (["no-such", "out.h5", "--samples"], 4, "there is no model and no file 'no-such'"),
        (["camera-motion", "out.h5", "--clips", "text.txt"], 3, "no-such.mp4"),
        (
            ["camera-motion", "no/folder/out.h5", "--samples"],
            5,
            "no/folder/out.h5: its folder is not",
        ),
        (["camera-motion", "folder.h5", "--samples"], 5, "the output is a directory"),
    ],
)
def test_what_cannot_be_ends_with_one_line(
    tmp_path: Path, monkeypatch, capsys, arguments: list[str], code: int, sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text("no-such.mp4\n")
    Path("folder.h5").mkdir()
    if code == 5:
        monkeypatch.setattr("tsm_ref.model.load", lambda *a, **k: pytest.fail("work was begun"))
    assert main([*arguments, "--engine", "numpy"]) == code
    said = capsys.readouterr().err
    assert sentence in said
    assert len([line for line in said.splitlines() if not line.startswith("warning")]) == 1
    assert not Path("out.h5").exists()


def test_what_is_quantised_is_not_quantised_again(tmp_path: Path, capsys) -> None:
    once, twice = str(tmp_path / "1.h5"), str(tmp_path / "2.h5")
    assert main(["camera-motion", once, "--samples", *FAST]) == 0
    assert main([once, twice, "--samples", *FAST]) == 2
    assert main([once, once, "--samples", *FAST]) == 5


def test_a_clip_that_cannot_be_read_is_left_out(tmp_path: Path, capsys) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    whole = (weights_folder() / "samples" / "zoom_in.mp4").read_bytes()
    (folder / "a.mp4").write_bytes(whole[:3000])
    target, given = tmp_path / "m.h5", ["--clips", str(folder), "--engine", "numpy"]
    assert main(["camera-motion", str(target), *given]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert "a.mp4: the file is cut" in line
    (folder / "b.mp4").write_bytes(whole[:5000])
    assert main(["camera-motion", str(target), *given]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert "of 2 clips to calibrate on none can be read; the first is" in line
    assert not target.exists()
    (folder / "b.mp4").write_bytes(whole)
    with warnings.catch_warnings(action="default"):
        assert main(["camera-motion", str(target), *given]) == 0
    out, err = capsys.readouterr()
    assert "a.mp4: the file is cut" in err.splitlines()[0]
    assert err.splitlines()[-1] == "warning: calibrated on the 1 of 2 clips that can be read"
    assert "calibrated on" in out


def test_a_model_of_several_inputs_is_calibrated_on_arrays(tmp_path: Path, capsys) -> None:
    path = tmp_path / "m.h5"
    tsm_ref.save(tsm_ref.build("ts-can", engine="numpy"), path)
    assert main([str(path), str(tmp_path / "o.h5"), "--samples"]) == 2
    assert "reads motion, appearance" in capsys.readouterr().err
