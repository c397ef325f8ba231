"""Old or new, never half; and what a killed process leaves is removed by the next one."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tsm_ref.checkpoint.disk import write_whole
from tsm_ref.errors import WriteError
from tsm_ref.show.files import write_file
from tsm_ref.system import atomic

posix = pytest.mark.skipif(os.name == "nt", reason="modes, links and locks of POSIX")
administrator = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away"
)

KILLED = """
import os, sys
from pathlib import Path
from tsm_ref.system import atomic
def stay(handle):
    print("writing", flush=True)
    sys.stdin.read()
os.fsync = stay
atomic.replace_file(Path(sys.argv[1]), b"new")
"""


@pytest.fixture(autouse=True)
def every_time(monkeypatch):
    monkeypatch.setattr(atomic, "_swept", set())


@pytest.fixture
def writing(tmp_path):
    """A process that has written and does not come to an end."""
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "out.h5")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"writing\n"
    yield process
    process.kill()
    process.communicate()


@posix
def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path, writing):
    (tmp_path / "out.h5").write_bytes(b"old")
    writing.send_signal(signal.SIGKILL)
    writing.wait()
    assert len(os.listdir(tmp_path)) == 2
    write_whole(tmp_path / "other.h5", b"other")
    assert sorted(os.listdir(tmp_path)) == ["other.h5", "out.h5"]
    assert (tmp_path / "out.h5").read_bytes() == b"old"


@posix
def test_what_a_living_process_writes_is_left_alone(tmp_path, writing):
    write_whole(tmp_path / "other.h5", b"other")
    writing.communicate(b"")
    assert (tmp_path / "out.h5").read_bytes() == b"new"
    assert sorted(os.listdir(tmp_path)) == ["other.h5", "out.h5"]


@posix
def test_files_of_other_programs_are_left_alone(tmp_path):
    names = [".part", "model.pth.part", ".0123456789abcdef.part.x", f".{'0' * 15}.part"]
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / f".{'0' * 16}.part").symlink_to("model.pth.part")
    write_whole(tmp_path / "x", b"")
    assert set(names) < set(os.listdir(tmp_path))
    assert (tmp_path / f".{'0' * 16}.part").is_symlink()


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
def test_a_file_that_is_there_keeps_its_mode(tmp_path, mode):
    target = tmp_path / "out.h5"
    target.touch()
    target.chmod(mode)
    write_whole(target, b"new")
    assert target.stat().st_mode & 0o7777 == mode


@administrator
def test_a_file_that_is_there_keeps_its_owner(tmp_path):
    target = tmp_path / "out.h5"
    target.touch()
    os.chown(target, 65534, 65534)
    write_whole(target, b"new")
    assert target.stat().st_uid == 65534


@posix
@pytest.mark.parametrize("there", [True, False])
def test_an_output_that_is_a_link_stays_one(tmp_path, there):
    (tmp_path / "disk").mkdir()
    target, link = tmp_path / "disk" / "out.h5", tmp_path / "link.h5"
    (tmp_path / "middle").symlink_to("disk/out.h5")
    link.symlink_to("middle")
    if there:
        target.write_bytes(b"old")
    write_whole(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert os.listdir(tmp_path / "disk") == ["out.h5"]


@posix
def test_a_link_to_itself_is_refused(tmp_path):
    (tmp_path / "x").symlink_to("x")
    with pytest.raises(WriteError, match="symbolic links"):
        write_whole(tmp_path / "x", b"new")


@administrator
def test_a_link_that_another_user_planted_in_a_shared_folder_is_not_followed(tmp_path):
    shared, mine = tmp_path / "shared", tmp_path / "mine"
    shared.mkdir()
    shared.chmod(0o1777)
    mine.write_bytes(b"precious")
    (shared / "out.h5").symlink_to(mine)
    os.lchown(shared / "out.h5", 65534, 65534)
    with pytest.raises(WriteError, match="cannot be written"):
        write_whole(shared / "out.h5", b"new")
    assert mine.read_bytes() == b"precious"


@posix
@pytest.mark.parametrize("call", ["open", "write", "fsync", "replace", "fstat", "close"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("turn", range(4))
def test_whatever_fails_leaves_the_old_file_or_the_new_one(
    tmp_path, monkeypatch, call, error, turn
):
    """Each call to the operating system fails in its turn; see also tests/fuzz."""
    target, real, calls = tmp_path / "out.h5", getattr(os, call), []
    target.write_bytes(b"old")

    def failing(*arguments, **options):
        calls.append(call)
        if len(calls) == turn + 1:
            if call == "close":
                real(*arguments)
            raise error
        return real(*arguments, **options)

    monkeypatch.setattr(os, call, failing)
    try:
        write_whole(target, b"new")
        failed = False
    except (WriteError, KeyboardInterrupt):
        failed = True
    monkeypatch.undo()
    assert target.read_bytes() in ((b"old", b"new") if failed else (b"new",))
    assert os.listdir(tmp_path) == ["out.h5"]


def test_writing_takes_as_many_turns_as_the_system_wants(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, data[:1000]))
    data = bytes(range(256)) * 100
    write_whole(tmp_path / "x", data)
    assert Path(tmp_path, "x").read_bytes() == data


def test_a_folder_is_swept_once(tmp_path, monkeypatch):
    scanned = []
    real = os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: scanned.append(folder) or real(folder))
    begin = time.monotonic()
    for _ in range(3):
        write_whole(tmp_path / "x", b"")
    assert scanned == [tmp_path]
    assert time.monotonic() >= begin


@posix
def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "link").symlink_to("pipe")
    reader = subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE)
    write_file(tmp_path / "link", b"text")
    assert reader.communicate(timeout=60)[0] == b"text"
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert sorted(os.listdir(tmp_path)) == ["link", "pipe"]
    with pytest.raises(WriteError, match="a pipe or a device"):
        write_whole(pipe, b"a model is read again from where it was written")
