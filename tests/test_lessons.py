"""The lessons run as they are written, each in a folder of its own."""

import re
from pathlib import Path

import pytest

LESSONS = sorted((Path(__file__).resolve().parent.parent / "docs" / "lessons").glob("*.md"))


def test_there_are_three() -> None:
    assert len(LESSONS) == 3


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_every_line_runs(path: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    pieces = re.findall(r"```python\n(.*?)```", path.read_text("utf-8"), re.DOTALL)
    assert len(pieces) >= 2
    names: dict[str, object] = {"__name__": "lesson"}
    for piece in pieces:
        exec(compile(piece, path.name, "exec"), names)
