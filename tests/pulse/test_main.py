"""The command line: what it prints, what it writes, and its exit codes."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tsm_ref
from tests.pulse_faces import face_video, reader, write_video
from tsm_ref.pulse.__main__ import main, parser
from tsm_ref.pulse.render import NOTICE
from tsm_ref.subcommands import COMMANDS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: Any) -> Path:
    """A network that reads a pulse, and a video of 72 beats a minute."""
    made: Path = tmp_path_factory.mktemp("pulse")
    tsm_ref.save(reader(heads=("pulse", "respiration")), made / "reader.h5")
    write_video(made / "face.mkv", face_video(72, 25, 12), np.arange(300) / 25)
    write_video(made / "short.mkv", face_video(72, 25, 3), np.arange(75) / 25)
    return made


def run(folder: Path, *arguments: str, model: str = "reader.h5") -> int:
    paths = [str(folder / a) if a.endswith((".mkv", ".svg")) else a for a in arguments]
    return main([*paths, "--model", str(folder / model), "--engine", "numpy"])


def test_the_table_says_how_and_that_it_is_no_medical_device(folder, capsys) -> None:
    assert run(folder, "face.mkv", "--roi", "0,0,36,36") == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert re.fullmatch(r"pulse 7[12]\.\d beats/min \(SNR \d+\.\d dB\)  .*face\.mkv", lines[0])
    assert "    0.0 -  10.0" in printed.out
    assert "region: 0,0,36,36 (as given); 30 frames a second, mixed from 25" in lines
    assert lines[-2].endswith(
        "preprocessing toolbox (by the order of its dense layers), frame depth 10"
    )
    assert lines[-1] == NOTICE
    assert "no medical device" in NOTICE
    assert "respiration: the video is too short for its rate" in lines
    assert printed.err == ""


def test_json_csv_and_plot_are_of_one_measurement(folder, capsys, tmp_path) -> None:
    pytest.importorskip("matplotlib")
    wave, plot = tmp_path / "wave.csv", tmp_path / "pulse.svg"
    code = run(folder, "face.mkv", "--roi", "0,0,36,36", "--json", "--csv", str(wave),
               "--plot", str(plot))  # fmt: skip
    tree = json.loads(capsys.readouterr().out)
    assert code == 0
    assert tree["notice"] == NOTICE
    assert tree["model"]["frame_depth"] == 10
    pulse = tree["outputs"][0]
    assert (pulse["name"], pulse["unit"], len(pulse["wave"])) == ("pulse", "beats/min", 350)
    assert abs(pulse["rate"] - 72) < 2
    with open(wave, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["pulse"]) for row in rows] == pulse["wave"]
    assert float(rows[30]["second"]) == 1.0
    assert "no medical device" in plot.read_text()


def test_a_stream_prints_a_line_for_each_window(folder, capsys) -> None:
    source = ["--stream", str(folder / "face.mkv"), "--roi", "0,0,36,36"]
    assert run(folder, *source, "--window", "8", "--stride", "1", "--json") == 0
    printed = capsys.readouterr()
    found = [json.loads(line) for line in printed.out.splitlines()]
    assert len(found) == 4
    assert all(abs(one["rate"] - 72) < 2 for one in found)
    assert NOTICE in printed.err
    assert run(folder, *source, "--window", "60") == 0
    assert "ended before a window of 60 s was full" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("short.mkv", "--roi", "0,0,36,36"), 3, "short.mkv: it shows the face for 3.0 s, and"),
        (("none.mkv", "--roi", "0,0,36,36"), 3, "none.mkv: no such file"),
        (("face.mkv", "--roi", "0,0,99,36"), 2, "--roi (=0,0,99,36) reaches outside the picture"),
        (("face.mkv", "--roi", "1,2,3"), 2, "--roi (='1,2,3') must be x,y,w,h"),
        (("face.mkv", "--roi", "0,0,9,9", "--window", "1"), 2, "--window (=1) must be 4 to 3600"),
        (("face.mkv", "--roi", "0,0,9,9", "--recipe", "x"), 2, "--recipe (='x') must be one of"),
        (("face.mkv", "--roi", "0,0,9,9", "--plot", "x.gif"), 2, "must be one of .svg, .png"),
        (("face.mkv", "--stream", "-"), 2, "give one VIDEO, or --stream SOURCE"),
        ((), 2, "give one VIDEO, or --stream SOURCE"),
        (("--stream", "-", "--csv", "x.csv"), 2, "--plot and --csv show a whole VIDEO"),
        (
            ("face.mkv", "--roi", "0,0,36,36", "--csv", "/no/such/folder/x.csv"),
            5,
            "cannot be writt",
        ),
    ],
)
def test_what_cannot_be_is_one_line(folder, capsys, arguments, code, said) -> None:
    assert run(folder, *arguments) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert said in printed.err


def test_a_model_that_finds_no_pulse(folder, capsys) -> None:
    assert main([str(folder / "face.mkv"), "--model", "camera-motion", "--roi", "0,0,9,9"]) == 2
    assert "'camera-motion' finds no pulse" in capsys.readouterr().err
    assert run(folder, "face.mkv", model="none.h5") == 4


def test_help_says_that_it_is_no_medical_device() -> None:
    assert "no medical device" in " ".join(parser().format_help().split())
    assert COMMANDS["pulse"][0] == "tsm_ref.pulse.__main__"
