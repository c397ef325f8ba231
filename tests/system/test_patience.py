"""A decoder that hangs is given up in one line: alone, in a batch, and among several processes."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.pulse_faces import write_video
from tsm_ref.checkpoint import weights_folder
from tsm_ref.system import patience

PAN = weights_folder() / "samples" / "pan_left.mp4"
SCRIPT = """
import sys, time
from tsm_ref.video.decode import VideoFile
real = VideoFile.pictures

def pictures(self, packet):
    if "stuck" in self._name:
        return self._watched(lambda: time.sleep(600) or [])
    return real(self, packet)

VideoFile.pictures = pictures  # in this process, and in those that it starts
if __name__ == "__main__":
    from tsm_ref import evaluate, infer
    sys.exit({"infer": infer, "evaluate": evaluate}[sys.argv[1]].main(sys.argv[2:]))
"""


def test_who_waits_too_long_is_told() -> None:
    said: list[str] = []
    patience.let(0.05)
    stop = patience.watch(said.append)
    try:
        assert patience.bounded("quick.mp4", lambda: 3) == 3
        time.sleep(0.2)
        assert not said
        patience.bounded("slow.mp4", lambda: time.sleep(0.4))
    finally:
        stop()
        patience.let(patience.LIMIT)
    assert said == [f"slow.mp4: {patience.sentence(0.05)}"]


def test_what_fails_is_not_waited_for() -> None:
    with pytest.raises(ZeroDivisionError):
        patience.bounded("a.mp4", lambda: 1 / 0)
    assert not patience._waiting


@pytest.fixture
def stuck(tmp_path: Path) -> Path:
    """A video on which the decoder of `SCRIPT` hangs."""
    pytest.importorskip("av")
    pixels = np.random.default_rng(3).integers(0, 256, (9, 48, 64, 3), np.uint8)
    write_video(tmp_path / "stuck.mkv", pixels, np.arange(9) / 10)
    (tmp_path / "script.py").write_text(SCRIPT)
    return tmp_path / "stuck.mkv"


def run(stuck: Path, command: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    given = [*arguments, "--engine", "numpy", "--patience", "2"]
    return subprocess.run(
        [sys.executable, str(stuck.parent / "script.py"), command, *given],
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_one_video(stuck: Path) -> None:
    done = run(stuck, "infer", str(stuck))
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (
        f"error: {stuck}: the decoder took more than 2 s for one step and was given up (--patience "
        "allows more)\n"
    )


def test_a_worker_does_not_hang_for_ever(stuck: Path) -> None:
    """The others are recognised."""
    done = run(stuck, "infer", str(stuck), str(PAN), "--workers", "2", "--json", "-q")
    assert done.returncode == 6
    assert json.loads(done.stdout)["labels"] == ["pan left"]
    assert "stuck.mkv: the decoder took more than 2 s for one step and was given up" in done.stderr


def test_an_evaluation(stuck: Path) -> None:
    (stuck.parent / "val.txt").write_text(f"{stuck} 1\n")
    done = run(stuck, "evaluate", str(stuck.parent / "val.txt"), "-q")
    assert done.returncode == 3
    assert "was given up" in done.stderr
