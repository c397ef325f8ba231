import hashlib
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from tsm_ref.kernels import cache


def start(folder, **environment):
    script = (
        "import warnings, numpy as np\n"
        "with warnings.catch_warnings(record=True) as seen:\n"
        "    warnings.simplefilter('always')\n"
        "    from tsm_ref.kernels import cache, loops\n"
        "    loops.source_frame(0, 3, 0)\n"
        "print(sum(loops.source_frame.stats.cache_hits.values()))\n"
        "print(cache.folder())\n"
        "print([str(w.message) for w in seen])\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "NUMBA_CACHE_DIR": str(folder), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    hits, folder, warnings = out.splitlines()
    return int(hits), folder, warnings


def test_the_second_start_finds_what_the_first_compiled(tmp_path):
    assert finish(start(tmp_path))[0] == 0
    hits, folder, warnings = finish(start(tmp_path))
    assert (hits, warnings) == (1, "[]")
    assert Path(folder) == tmp_path / f"kernels-{cache.fingerprint()}"


def test_two_processes_may_fill_the_folder_at_once(tmp_path):
    for process in [start(tmp_path), start(tmp_path)]:
        finish(process)
    assert finish(start(tmp_path))[0] == 1


def test_a_folder_that_cannot_be_written_costs_one_warning(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    spare = tmp_path / "spare"
    spare.mkdir()
    _, folder, warnings = finish(start(blocked / "below", TMPDIR=str(spare)))
    assert Path(folder).is_relative_to(spare)
    assert warnings.count("compiled kernels cannot be kept") == 1


def planted(folder, marker, owner):
    """A folder of kernels as somebody else would prepare it: its pickles leave a marker."""
    content = pickle.dumps(Planted(str(marker)))
    content = hashlib.sha256(content).digest() + content
    made = subprocess.run(
        [
            sys.executable,
            "-c",
            "from tsm_ref.kernels.loops import conv; print(conv._cache._cache_file._index_path)",
        ],
        env={**os.environ, "NUMBA_CACHE_DIR": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    index = Path(made.stdout.strip())
    index.write_bytes(content)
    for path in (index, *index.parents):
        if path == folder:
            break
        os.chown(path, owner, owner)
        path.chmod(0o777 if path.is_dir() else 0o644)


class Planted:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (self.marker, "w")


administrator = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away"
)


@pytest.mark.parametrize("owner", [pytest.param(65534, marks=administrator)])
@pytest.mark.parametrize("mode", [0o777, 0o1777])
def test_code_that_another_user_planted_on_shared_ground_does_not_run(tmp_path, owner, mode):
    shared, marker, spare = tmp_path / "shared", tmp_path / "marker", tmp_path / "spare"
    shared.mkdir()
    planted(shared, marker, owner)
    shared.chmod(mode)
    spare.mkdir()
    hits, folder, warnings = finish(start(shared, TMPDIR=str(spare)))
    assert not marker.exists()
    assert hits == 0
    assert Path(folder).is_relative_to(spare)
    assert warnings.count("compiled kernels cannot be kept") == 1


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no owners on this system")
def test_a_folder_that_all_can_write_is_left_as_it_is(tmp_path):
    shared, spare = tmp_path / "shared", tmp_path / "spare"
    shared.mkdir()
    spare.mkdir()
    shared.chmod(0o777)
    _, folder, warnings = finish(start(shared, TMPDIR=str(spare)))
    assert Path(folder).is_relative_to(spare)
    assert f"{shared} can be written by others" in warnings
    assert shared.stat().st_mode & 0o777 == 0o777


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no owners on this system")
def test_where_no_folder_is_private_nothing_is_kept_and_no_mode_is_changed(tmp_path):
    """A planted link once made us change the mode of the folder that it leads to."""
    spare, victim = tmp_path / "spare", tmp_path / "victim"
    spare.mkdir()
    victim.mkdir(mode=0o755)
    (spare / f"tsm_ref-{os.getuid()}").symlink_to(victim)
    spare.chmod(0o777)
    _, folder, warnings = finish(start(spare / "x", TMPDIR=str(spare)))
    assert folder == "None"
    assert warnings.count("kernels will be compiled anew in every run") == 1
    assert victim.stat().st_mode & 0o777 == 0o755


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no owners on this system")
def test_without_a_home_directory_the_folder_is_our_own(tmp_path, monkeypatch):
    def homeless():
        raise RuntimeError

    monkeypatch.setattr(cache, "user_folder", homeless)
    monkeypatch.setattr(cache.tempfile, "gettempdir", lambda: str(tmp_path))
    with pytest.warns(UserWarning, match="there is no home directory"):
        found = cache.folder.__wrapped__()
    assert found.parent == tmp_path / f"tsm_ref-{os.getuid()}"
    assert found.stat().st_mode & 0o777 == 0o700


def test_another_processor_or_another_source_is_another_folder(tmp_path, monkeypatch):
    before = cache.fingerprint()
    assert cache.fingerprint() == before
    monkeypatch.setattr(cache.config, "CPU_NAME", "haswell")
    assert cache.fingerprint() != before
    monkeypatch.undo()
    other = tmp_path / "cache.py"
    other.write_text("changed")
    monkeypatch.setattr(cache, "__file__", str(other))
    assert (changed := cache.fingerprint()) != before
    room = tmp_path / "integer"  # kernels have rooms below
    room.mkdir()
    (room / "kernel.py").write_text("new")
    assert (inside := cache.fingerprint()) != changed
    (room / "kernel.py").write_text("changed")
    assert cache.fingerprint() not in (changed, inside)


def test_bound_kernels_take_what_is_left_of_their_arguments():
    @cache.compiled()
    def put(x, how, i, value):
        x[i] = how.first * value

    x, how = np.zeros(3, np.int32), NamedTuple("How", [("first", int)])(2)
    put_some = cache.bound(put, x, how, more=(0, 0))
    put_some(1, 21)
    put_some(2, np.int64(4))
    assert x.tolist() == [0, 42, 8]


def test_the_users_folder_follows_the_platform(monkeypatch, tmp_path):
    monkeypatch.setattr(cache.config, "CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if sys.platform.startswith("linux"):
        assert cache.user_folder() == tmp_path / "tsm_ref"
    monkeypatch.setattr(cache.config, "CACHE_DIR", str(tmp_path / "numba"))
    assert cache.user_folder() == tmp_path / "numba"
