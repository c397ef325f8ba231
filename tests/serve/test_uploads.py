"""The folder of a server: private, swept by the next one, and honest where there is no room."""

import errno
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette")
pytest.importorskip("python_multipart")

from tsm_ref.errors import WriteError
from tsm_ref.serve.problems import Problem
from tsm_ref.serve.uploads import Spool


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_file_is_written_and_removed() -> None:
    spool = Spool()
    upload = spool.new()
    assert stat.S_IMODE(spool.folder.stat().st_mode) == 0o700
    upload.write(b"abc")
    upload.write(b"de")
    upload.finish()
    assert (upload.path.read_bytes(), upload.size) == (b"abcde", 5)
    upload.remove()
    upload.remove()
    assert list(spool.folder.iterdir()) == []
    spool.close()
    assert not spool.folder.exists()


def test_what_was_left_is_swept_and_what_is_used_is_not(here: Path) -> None:
    (here / "tsm-serve-left").mkdir()
    (here / "tsm-serve-left" / "1").write_bytes(b"x")
    (here / "other").mkdir()
    (here / "tsm-serve-link").symlink_to(here / "other")
    first = Spool()
    second = Spool()
    names = {path.name for path in here.iterdir()}
    assert names == {"other", "tsm-serve-link", first.folder.name, second.folder.name}
    first.close()
    second.close()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_full_disk_is_told(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool()
    upload = spool.new()

    class Full:
        def write(self, data: Any) -> int:
            raise OSError(number, os.strerror(number))

        def close(self) -> None:
            pass

    upload.finish()
    monkeypatch.setattr(upload, "_file", Full())
    with pytest.raises(Problem) as caught:
        upload.write(b"abc")
    assert caught.value.status == 507
    upload.remove()
    assert list(spool.folder.iterdir()) == []
    spool.close()


def test_a_folder_that_cannot_be_made(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(here / "missing"))
    with pytest.raises(WriteError, match="no temporary folder"):
        Spool()
