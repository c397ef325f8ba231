import os
import subprocess
import sys
from pathlib import Path

import pytest

from tsm_ref.kernels import cache


def start(folder, **environment):
    script = (
        "import warnings, numpy as np\n"
        "with warnings.catch_warnings(record=True) as seen:\n"
        "    warnings.simplefilter('always')\n"
        "    from tsm_ref.kernels import cache, loops\n"
        "    loops.clamp(np.zeros(3), 0.0, 1.0)\n"
        "print(sum(loops.clamp.stats.cache_hits.values()))\n"
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
    assert warnings.count("cannot write compiled kernels") == 1


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no owners on this system")
def test_a_spare_folder_of_somebody_else_is_left_alone(tmp_path, monkeypatch):
    """Only the owner may change its permissions: to try would be an error."""
    folder = tmp_path / "spare"
    folder.mkdir()
    folder.chmod(0o777)
    user = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: user + 1)
    assert not cache._is_ours(folder)
    assert folder.stat().st_mode & 0o777 == 0o777
    monkeypatch.undo()
    assert cache._is_ours(folder)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_another_processor_or_another_source_is_another_folder(tmp_path, monkeypatch):
    before = cache.fingerprint()
    assert cache.fingerprint() == before
    monkeypatch.setattr(cache.config, "CPU_NAME", "haswell")
    assert cache.fingerprint() != before
    monkeypatch.undo()
    other = tmp_path / "cache.py"
    other.write_text("changed")
    monkeypatch.setattr(cache, "__file__", str(other))
    assert cache.fingerprint() != before


def test_the_users_folder_follows_the_platform(monkeypatch, tmp_path):
    monkeypatch.setattr(cache.config, "CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if sys.platform.startswith("linux"):
        assert cache.user_folder() == tmp_path / "tsm_ref"
    monkeypatch.setattr(cache.config, "CACHE_DIR", str(tmp_path / "numba"))
    assert cache.user_folder() == tmp_path / "numba"
