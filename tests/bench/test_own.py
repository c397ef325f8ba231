"""Model files of one's own: the same file, the same inputs and the same answer on every engine."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tsm_ref
from tsm_ref.bench import __main__ as command
from tsm_ref.bench import own, workloads
from tsm_ref.bench.own import open_own, open_peer, own_model
from tsm_ref.bench.peers import Runner
from tsm_ref.bench.worker import TOLERANCE, compare
from tsm_ref.errors import UsageError

DATA = Path(__file__).parent.parent / "data"
ONNX = ("onnx-mit-pad", "onnx-paddle-pad", "onnx-edge", "onnx-keras", "onnx-tsn")


def answers(runner: Runner, folder: Path, online: bool) -> Any:
    """What a worker compares: the answer to the clip, frame by frame where that is asked for."""
    clip = np.load(folder / "clip.npy")[0].swapaxes(0, 1)
    parts = np.split(clip, len(clip)) if online else [clip]
    return np.concatenate([np.reshape(runner.run(runner.take(part)), (1, -1)) for part in parts])


@pytest.mark.parametrize("name", ONNX)
def test_an_onnx_is_given_what_it_declares(name: str, tmp_path: Path) -> None:
    wanted = own_model(str(DATA / f"{name}.onnx"))
    assert wanted.is_onnx
    assert wanted.gflop() > 0
    wanted.prepare(tmp_path)
    expected = np.load(tmp_path / "expected.npy")
    ours = answers(open_own("numpy", tmp_path, 1), tmp_path, False)
    assert compare(ours, expected) < TOLERANCE


@pytest.mark.parametrize("name", ONNX)
def test_onnx_runtime_opens_the_same_file(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    own_model(str(DATA / f"{name}.onnx")).prepare(tmp_path)
    theirs = answers(open_peer("onnxruntime", tmp_path, 1), tmp_path, False)
    assert compare(theirs, np.load(tmp_path / "expected.npy")) < TOLERANCE


@pytest.mark.parametrize("online", [False, True])
def test_a_model_of_ours(online: bool, tmp_path: Path) -> None:
    wanted = own_model("camera-motion", online=online)
    assert not wanted.is_onnx
    wanted.prepare(tmp_path)
    expected = np.load(tmp_path / "expected.npy")
    assert expected.shape == ((8, 9) if online else (1, 9))
    runner = open_own("numpy", tmp_path, 1)
    assert compare(answers(runner, tmp_path, online), expected) < TOLERANCE
    with pytest.raises(UsageError, match="onnxruntime cannot open this file"):
        own.prepare_peer("onnxruntime", tmp_path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["camera-motion-offline", "--online"], "it looks 5 frames ahead"),
        (["--online"], "are for model files of your own: name one"),
        (["--profile", "mit"], "are for model files of your own: name one"),
    ],
)
def test_what_cannot_be_timed_is_refused(arguments: list[str], said: str, capsys: Any) -> None:
    assert command.main(arguments) == 2
    assert said in capsys.readouterr().err


def test_a_model_of_two_inputs_is_refused(tmp_path: Path) -> None:
    tsm_ref.save(tsm_ref.build("ts-can", engine="numpy"), tmp_path / "x.h5")
    with pytest.raises(UsageError, match="it has the inputs motion, appearance"):
        own_model(str(tmp_path / "x.h5"))


def test_a_file_that_is_not_there_is_the_usual_error(capsys: Any) -> None:
    assert command.main(["no-such.onnx"]) == 4
    assert "no model and no file" in capsys.readouterr().err


def test_the_command_times_it(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workloads, "OWN", {})
    monkeypatch.setattr(command, "OWN", workloads.OWN)
    path = str(DATA / "onnx-mit-pad.onnx")
    options = ["--engines", "numpy", "--peers", "none", "--rounds", "1", "--runs", "1"]
    assert command.main([path, *options, "--seconds", "0", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["results"]
    assert (row["model"], row["engine"], row["failed"]) == (path, "numpy", None)
    assert row["median_ms"] > 0
