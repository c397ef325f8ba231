"""Files are read only if regular, and written whole or not at all."""

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from tsm_ref.checkpoint import disk
from tsm_ref.errors import CheckpointError, WriteError
from tsm_ref.system import atomic


def no_space(*_: Any) -> None:
    raise OSError(28, "No space left on device")


def interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def test_head_and_digest_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"0123456789" * 300_000)
    assert disk.read_head(path, 4) == b"0123"
    assert disk.sha256_of(path) == hashlib.sha256(b"0123456789" * 300_000).hexdigest()


def test_missing_file_is_refused(tmp_path: Path, refused: Any) -> None:
    with refused(CheckpointError, "there is no such file"):
        disk.read_head(tmp_path / "absent.h5")


def test_directory_is_refused(tmp_path: Path, refused: Any) -> None:
    with refused(CheckpointError, "this is a directory"):
        disk.sha256_of(tmp_path)


def test_empty_file_is_refused(tmp_path: Path, refused: Any) -> None:
    (tmp_path / "empty.h5").touch()
    with refused(CheckpointError, "the file is empty"):
        disk.read_head(tmp_path / "empty.h5")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipe_is_refused_instead_of_waited_for(tmp_path: Path, refused: Any) -> None:
    os.mkfifo(tmp_path / "pipe.h5")
    with refused(CheckpointError, "pipe or a device"):
        disk.read_head(tmp_path / "pipe.h5")


def test_path_with_a_zero_byte_is_refused(refused: Any) -> None:
    with refused(CheckpointError, "zero byte"):
        disk.read_head("a\0b")


def test_a_name_that_is_too_long_is_refused(tmp_path: Path, refused: Any) -> None:
    with refused(CheckpointError, "cannot be read"):
        disk.read_head(tmp_path / ("a" * 5000))


def test_write_replaces_the_old_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "out.h5"
    target.write_bytes(b"old")
    disk.write_whole(target, b"new")
    assert target.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["out.h5"]


def test_the_new_file_is_as_readable_as_any_other(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    disk.write_whole(tmp_path / "out.h5", b"new")
    assert (tmp_path / "out.h5").stat().st_mode == plain.stat().st_mode


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_full_disk_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Any, step: str
) -> None:
    target = tmp_path / "out.h5"
    target.write_bytes(b"old")
    monkeypatch.setattr(atomic.os, step, no_space)
    with refused(WriteError, "No space left"):
        disk.write_whole(target, b"new")
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["out.h5"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_interruption_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    target = tmp_path / "out.h5"
    target.write_bytes(b"old")
    monkeypatch.setattr(atomic.os, step, interrupt)
    with pytest.raises(KeyboardInterrupt):
        disk.write_whole(target, b"new")
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["out.h5"]


def test_directory_is_no_output(tmp_path: Path, refused: Any) -> None:
    with refused(WriteError, "the output is a directory"):
        disk.write_whole(tmp_path, b"new")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipe_is_no_output(tmp_path: Path, refused: Any) -> None:
    os.mkfifo(tmp_path / "pipe")
    with refused(WriteError, "pipe or a device"):
        disk.write_whole(tmp_path / "pipe", b"new")


def test_missing_folder_is_named(tmp_path: Path, refused: Any) -> None:
    with refused(WriteError, "No such file or directory"):
        disk.write_whole(tmp_path / "absent" / "out.h5", b"new")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="an administrator may write")
def test_read_only_folder_is_named(tmp_path: Path, refused: Any) -> None:
    tmp_path.chmod(0o500)
    try:
        with refused(WriteError, "Permission denied"):
            disk.write_whole(tmp_path / "out.h5", b"new")
    finally:
        tmp_path.chmod(0o700)
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that nobody can write")
def test_a_folder_that_nobody_can_write_is_named(refused: Any) -> None:
    with refused(WriteError, "cannot be written"):
        disk.write_whole("/proc/out.h5", b"new")
