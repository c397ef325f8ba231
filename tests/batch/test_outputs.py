"""Outputs that would take the place of what is read, or of a video, are refused."""

from pathlib import Path

import pytest

from tsm_ref import infer
from tsm_ref.batch.outputs import check_spares
from tsm_ref.errors import WriteError


@pytest.mark.parametrize("option", ["--jsonl", "--csv", "--report"])
def test_a_video_that_is_named_as_an_output_stays(capsys, tmp_path: Path, option: str) -> None:
    """As where --jsonl was taken for --json; the first video is the output, the rest is read."""
    first, second = tmp_path / "1.mp4", tmp_path / "2.mp4"
    for path in (first, second):
        path.write_bytes(b"a film")
    assert infer.main([option, str(first), str(second)]) == 5
    assert f"{option} {first}: a video or picture of this name is there" in capsys.readouterr().err
    assert first.read_bytes() == second.read_bytes() == b"a film"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.mp4", "2.mp4"]


@pytest.mark.parametrize("option", ["--from-file", "--labels", "--profile", "--model"])
def test_what_is_read_is_no_output(capsys, tmp_path: Path, option: str) -> None:
    read, link = tmp_path / "read.txt", tmp_path / "link.csv"
    read.write_text("clip.mp4\n")
    link.symlink_to(read)
    assert infer.main([option, str(read), "--csv", str(link), str(tmp_path / "clip.mp4")]) == 5
    assert f"--csv {link}: the output is an input" in capsys.readouterr().err
    assert read.read_text() == "clip.mp4\n"


def test_other_files_may_be_written_again(tmp_path: Path) -> None:
    old = tmp_path / "old.csv"
    old.write_text("")
    clip = str(tmp_path / "clip.mp4")
    check_spares({"--csv": str(old), "--jsonl": "/dev/null", "--report": clip}, [clip, None, "\0"])
    with pytest.raises(WriteError, match="the output is an input"):
        check_spares({"--jsonl": str(old)}, [old])
