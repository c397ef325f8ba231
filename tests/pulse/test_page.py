"""What docs/pulse.md shows works as it stands there."""

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tsm_ref
from tests.pulse_faces import face_video, reader, write_video
from tsm_ref.pulse.__main__ import main
from tsm_ref.pulse.recipes import RECIPES
from tsm_ref.pulse.waves import BANDS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "pulse.md").read_text(encoding="utf-8")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files of the examples."""
    tsm_ref.save(reader(), tmp_path / "reader.h5")
    write_video(tmp_path / "face.mkv", face_video(72, 30, 12), np.arange(360) / 30)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def block(marker: str) -> str:
    found = re.search(rf"<!-- example: {marker} -->\n```\w*\n(.*?)```", PAGE, re.DOTALL)
    assert found
    return found[1]


def test_the_commands_run(here: Path, capsys: Any) -> None:
    pytest.importorskip("matplotlib")
    commands = [line for line in block("commands").splitlines() if line.startswith("python -m")]
    assert len(commands) == 3
    for command in commands:
        words = shlex.split(command)
        assert words[:3] == ["python", "-m", "tsm_ref.pulse"]
        assert main(words[3:]) == 0
    assert {"wave.csv", "pulse.svg"} <= {path.name for path in here.iterdir()}
    assert "pulse 7" in capsys.readouterr().out


def test_the_python_runs(here: Path) -> None:
    names: dict[str, Any] = {}
    exec(block("python"), names)
    assert abs(names["found"].pulse.rate - 72) < 2


def test_the_numbers_are_those_of_the_code() -> None:
    assert all(f"`{name}`" in PAGE for name in RECIPES)
    pulse, breath = BANDS["pulse"], BANDS["respiration"]
    assert f"from {pulse.low:g} to {pulse.high:g} Hz" in PAGE
    assert f"{60 * pulse.low:.0f} to {60 * pulse.high:.0f} beats a minute" in PAGE
    assert f"from {breath.low:g} to {breath.high:g} Hz" in PAGE
    assert f"within {60 * pulse.width:g} beats a minute" in PAGE
