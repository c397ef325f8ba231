"""The command line: what it prints, what it draws, and its exit codes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tsm_ref
from tests.pulse_faces import write_video
from tsm_ref.detect import main
from tsm_ref.detection.detector import Box, Seen
from tsm_ref.detection.render import COLOURS, NOTICE, Drawing, line
from tsm_ref.subcommands import COMMANDS
from tsm_ref.video import Frame, frames

pytest.importorskip("av")
FEW = ("--threshold", "0.2", "--size", "64", "--engine", "numpy")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: Any) -> Path:
    """A small detector and a small video."""
    made: Path = tmp_path_factory.mktemp("detect")
    model = tsm_ref.build("rfcn_resnet18", num_classes=2, reduced=24, bins=3, engine="numpy")
    model.profile = model.profile.with_changes(labels=("cat", "dog"))
    tsm_ref.save(model, made / "mine.h5")
    pixels = np.random.default_rng(3).integers(0, 256, (4, 48, 71, 3), np.uint8)
    write_video(made / "clip.mkv", pixels, np.arange(4) / 10)
    return made


def run(folder: Path, *arguments: str) -> int:
    given = [str(folder / a) if a.endswith((".mkv", ".h5")) else a for a in arguments]
    return main([*given, *FEW])


def test_a_line_for_each_frame(folder, capsys) -> None:
    assert run(folder, "clip.mkv", "--model", "mine.h5") == 0
    printed = capsys.readouterr()
    assert [row.split(" s  ")[0].strip() for row in printed.out.splitlines()] == [
        "0.00", "0.10", "0.20", "0.30"
    ]  # fmt: skip
    assert "cat" in printed.out or "dog" in printed.out
    assert printed.err == ""


def test_json_and_its_lines_and_a_stream_say_the_same(folder, capsys) -> None:
    assert run(folder, "clip.mkv", "--model", "mine.h5", "--json") == 0
    tree = json.loads(capsys.readouterr().out)
    assert tree["model"]["trained"] is True
    assert "notice" not in tree
    assert tree["model"]["labels"] == ["cat", "dog"]
    assert tree["settings"]["threshold"] == 0.2
    assert len(tree["frames"]) == 4
    best = tree["frames"][0]["boxes"][0]
    left, top, right, bottom = best["box"]
    assert 0 <= left < right <= 71
    assert 0 <= top < bottom <= 48
    for source in (("clip.mkv",), ("--stream", "clip.mkv")):
        assert run(folder, *source, "--model", "mine.h5", "--jsonl") == 0
        rows = [json.loads(row) for row in capsys.readouterr().out.splitlines()]
        assert [{k: v for k, v in row.items() if k != "trained"} for row in rows] == tree["frames"]


def test_without_a_file_it_says_that_it_is_untrained(folder, capsys) -> None:
    arguments = ("clip.mkv", "--network", "rfcn_resnet18", "--json", "-q")
    assert run(folder, *arguments) == 0
    printed = capsys.readouterr()
    assert printed.err.strip() == NOTICE
    tree = json.loads(printed.out)
    assert tree["notice"] == NOTICE
    assert tree["model"]["trained"] is False
    assert len(tree["model"]["labels"]) == 30
    assert run(folder, *arguments[:-2], "--jsonl") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[0])["trained"] is False


def test_the_video_again_with_its_boxes(folder, tmp_path, capsys) -> None:
    pytest.importorskip("PIL")
    out = tmp_path / "out.mp4"
    assert run(folder, "clip.mkv", "--model", "mine.h5", "--save-video", str(out)) == 0
    shown = list(frames(out))
    assert [frame.pixels.shape for frame in shown] == [(48, 72, 3)] * 4
    assert [round(frame.time, 2) for frame in shown] == [0, 0.1, 0.2, 0.3]
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_what_is_drawn() -> None:
    pytest.importorskip("PIL")
    box = Box("dog", 1, 0.9, 20.0, 30.0, 80.0, 90.0)
    black = np.zeros((101, 120, 3), np.uint8)
    drawing, untrained = Drawing(trained=True), Drawing(trained=False)
    drawing.add(Seen(0, 0.0, (box,)))
    drawn = drawing(Frame(0, 0.0, black))
    colour = tuple(int(COLOURS[1][i : i + 2], 16) for i in (1, 3, 5))
    assert drawn.shape == (102, 120, 3)
    assert all(tuple(drawn[y, x]) == colour for y, x in ((50, 20), (50, 79), (89, 50), (30, 79)))
    assert drawn[35:85, 25:75].max() == 0
    assert drawn[10:29, 20:60].max() > 0
    assert drawing(Frame(1, 0.1, black))[:101].max() == 0
    assert untrained(Frame(1, 0.1, black))[80:101].max() > 0


def test_a_label_cannot_speak_to_the_terminal() -> None:
    assert "\x1b" not in line(Seen(0, 0.0, (Box("a\x1b[2J", 0, 0.9, 0, 0, 1, 1),)))


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "give one VIDEO, or --stream SOURCE"),
        (("clip.mkv", "--stream", "-"), 2, "give one VIDEO, or --stream SOURCE"),
        (("none.mkv", "--model", "mine.h5"), 3, "none.mkv: no such file"),
        (("clip.mkv", "--model", "none.h5"), 4, "there is no model and no file"),
        (("clip.mkv", "--model", "camera-motion"), 4, "no detector: it has no output 'objectness'"),
        (("clip.mkv", "--network", "rfcn_resnet10"), 2, "the nearest is rfcn_resnet101"),
        (("clip.mkv", "--network", "rfcn_resnet18", "--model", "mine.h5"), 2, "--network is for"),
        (("clip.mkv", "--profile", "mit"), 2, "--profile says what a --model file means"),
        (("--stream", "clip.mkv", "--json"), 2, "a stream has --jsonl"),
        (("clip.mkv", "--json", "--jsonl"), 2, "not allowed with argument --json"),
        (("clip.mkv", "--save-video", "x.gif"), 2, "the ending must be one of .mp4"),
        (("clip.mkv", "--save-video", "/no/such/x.mp4"), 5, "its folder is not there"),
        (("clip.mkv", "--model", "mine.h5", "--overlap", "1"), 2, "--overlap (=1.0) must be betw"),
        (("clip.mkv", "--model", "mine.h5", "--labels", "jester_mmaction2"), 2, "2 classes and 27"),
    ],
)
def test_what_cannot_be_is_one_line(folder, capsys, arguments, code, said) -> None:
    assert run(folder, *arguments) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert said in printed.err


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--threshold", "2", "--threshold (=2.0) must be between 0 and 1"),
        ("--size", "8", "--size (=8) must be at least the network's stride of 16"),
    ],
)
def test_numbers_that_cannot_be(folder, capsys, option, value, said) -> None:
    arguments = [str(folder / "clip.mkv"), "--model", str(folder / "mine.h5"), option, value]
    assert main([*arguments, "--engine", "numpy"]) == 2
    assert said in capsys.readouterr().err


def test_it_is_a_command() -> None:
    assert COMMANDS["detect"][0] == "tsm_ref.detect"
