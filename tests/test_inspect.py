"""The command that shows what a model file is, and who says so."""

from pathlib import Path
from typing import Any

import pytest

from tests.checkpoint.tensors.renamed_networks import mit, resnet, tensors_of
from tests.checkpoint.tflite.writer import rounded_clip_network
from tests.checkpoint.torch_writer import zip_file
from tsm_ref.inspect import main


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The file of a run of MIT's training script; its folder tells what it was."""
    folder = tmp_path / "TSM_x_RGB_resnet18_shift4_blockres_avg_segment16_e50"
    folder.mkdir()
    path = folder / "ckpt.best.pth.tar"
    path.write_bytes(zip_file({"epoch": 3, "state_dict": tensors_of(resnet(), mit(resnet()))}))
    return path


def test_every_fact_is_shown_with_its_source(run: Path, capsys: Any) -> None:
    assert main([str(run)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for line in (
        f"file     {run}: MIT, torch zip, float32",
        f"network  tsm-resnet: {resnet().parameter_count:,} parameters, 5 shifts",
        "fact     placement blockres (the names of the tensors)",
        "fact     fold_div 4 (the name of the folder)",
        "fact     segments 16 (the name of the folder)",
        "fact     crop 224,224 (the convention mit)",
        "note     prefix: module.",
    ):
        assert line in out.splitlines()


def test_what_is_assumed_is_warned_of(run: Path, capsys: Any) -> None:
    other = run.rename(run.parent.parent / "x.pth")
    assert main([str(other)]) == 0
    out, err = capsys.readouterr()
    assert "fact     fold_div 8 (assumed)" in out
    assert err.startswith(f"warning: {other}: neither the file nor its name tells")
    assert "--fold-div 8 --segments 8" in err
    assert main([str(other), "--fold-div", "8", "--segments", "8"]) == 0
    out, err = capsys.readouterr()
    assert "fact     fold_div 8 (the option)" in out
    assert err == ""


def test_facts_that_disagree_are_an_error(run: Path, capsys: Any) -> None:
    assert main([str(run), "--fold-div", "8"]) == 4
    out, err = capsys.readouterr()
    assert out == ""
    assert "the name of the folder says that fold_div is 4, and the option says 8" in err


def test_a_model_that_ships(capsys: Any) -> None:
    assert main(["camera-motion"]) == 0
    out, _ = capsys.readouterr()
    assert "fact     sampling windows (the file, family camera-motion)" in out


def test_how_many_layers_compute_in_8_bits_is_told(capsys: Any) -> None:
    assert main(["camera-motion-int8"]) == 0
    assert "int8     14 of 14 layers with weights" in capsys.readouterr().out
    assert main(["camera-motion"]) == 0
    assert "layers with weights" not in capsys.readouterr().out


def test_a_file_that_is_not_there(capsys: Any) -> None:
    assert main(["no-such-file"]) == 4
    assert "no model and no file" in capsys.readouterr().err


def test_the_profile_is_written_as_a_file_that_is_read_again(run: Path, capsys: Any) -> None:
    mine = run.parent / "mine.toml"
    assert main([str(run), "--segments", "4", "--write-profile", str(mine)]) == 0
    text = mine.read_text(encoding="utf-8")
    assert "divisor = 4  # the name of the folder" in text
    assert "segments = 4  # the option" in text
    assert 'rule = "mit"  # the convention mit' in text
    mine.write_text(text.replace("short_side = 256", "short_side = 240"), encoding="utf-8")
    capsys.readouterr()
    assert main([str(run), "--profile", str(mine)]) == 0
    out, err = capsys.readouterr()
    assert "fact     short_side 240 (the profile)" in out
    assert "fact     segments 4 (the profile)" in out
    assert err == ""


def test_the_network_is_drawn(run: Path, capsys: Any) -> None:
    picture = run.parent / "net.svg"
    assert main([str(run), "--graph", str(picture)]) == 0
    text = picture.read_text(encoding="utf-8")
    assert "layer1.0" in text
    assert "×16×56×56<" in text


@pytest.mark.parametrize(
    ("option", "path", "code", "said"),
    [
        ("--graph", "a.png", 2, "--graph (=a.png) must end in .svg"),
        ("--write-profile", "a.json", 2, "--write-profile (=a.json) must end in .toml"),
        ("--graph", "no/such/folder/a.svg", 5, "No such file or directory"),
        ("--labels", "no-such.txt", 2, "there is no such file"),
    ],
)
def test_what_cannot_be_written_is_named(
    option: str, path: str, code: int, said: str, capsys: Any
) -> None:
    assert main(["camera-motion", option, path]) == code
    assert said in capsys.readouterr().err


def test_a_graph_without_a_profile_tells_what_it_fixes(tmp_path: Path, capsys: Any) -> None:
    sketch, x, y = rounded_clip_network("int8")
    path = tmp_path / "m.tflite"
    path.write_bytes(sketch.file([x], [y]))
    assert main([str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"file     {path}: tflite, int8" in lines
    for line in ("shift paddle (the file)", "segments 4 (the file)", "crop 8,8 (the file)"):
        assert f"fact     {line}" in lines
    assert "fact     sampling uniform (the convention mit)" in lines
