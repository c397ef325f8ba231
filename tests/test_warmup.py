"""The first start: compiling once, saying so, and what can be wrong with the folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tsm_ref.kernels import cache

RUN = """
import numpy as np
from tsm_ref.engine.on_numba.engine import NumbaEngine
from tsm_ref.kernels import notice
from tsm_ref.models import RESNETS, build_resnet, random_weights
if {shown}:
    notice.show()
graph = build_resnet(RESNETS["resnet18"], num_classes=3)
engine = NumbaEngine(graph, random_weights(graph), threads=2)
print(engine.run({{"x": np.zeros((1, 3, 2, 32, 32), np.float32)}})["consensus"].shape)
"""


def start(*command, folder, **environment):
    return subprocess.Popen(
        [sys.executable, *command],
        env={**os.environ, "NUMBA_CACHE_DIR": str(folder), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    out, err = process.communicate(timeout=240)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A folder that two processes have filled at once, and what they said."""
    folder = tmp_path_factory.mktemp("kernels")
    both = [start("-m", "tsm_ref.warmup", folder=folder) for _ in range(2)]
    return folder, [finish(process) for process in both]


def test_two_processes_fill_an_empty_folder_at_once(filled):
    folder, answers = filled
    for code, out, err in answers:
        assert code == 0, err
        assert "kernels compiled in" in out
        assert f"they are kept in {folder / f'kernels-{cache.fingerprint()}'}" in out
        assert err.startswith("compiling kernels, once")


def test_afterwards_nothing_is_compiled_by_any_network(filled):
    folder, _ = filled
    code, out, err = finish(start("-c", RUN.format(shown=True), folder=folder))
    assert (code, out, err) == (0, "(1, 3)\n", "")
    code, out, err = finish(start("-m", "tsm_ref.warmup", folder=folder))
    assert (code, err) == (0, "")
    assert "nothing had to be compiled" in out


def test_damaged_files_are_replaced(filled):
    folder, _ = filled
    kernels = sorted(folder.rglob("*.nbc"))
    assert len(kernels) >= 4
    kernels[0].write_bytes(b"")
    kernels[1].write_bytes(kernels[1].read_bytes()[:-1])
    kernels[2].write_bytes(os.urandom(1000))
    code, _, err = finish(start("-m", "tsm_ref.warmup", folder=folder))
    assert code == 0, err
    assert finish(start("-m", "tsm_ref.warmup", folder=folder))[1].startswith("nothing")


def test_a_library_says_nothing(filled):
    """Only part of the kernels has to be compiled here, so that the test is quick."""
    folder, _ = filled
    for path in folder.rglob("*fill_blocked*"):
        path.unlink()
    code, out, err = finish(start("-c", RUN.format(shown=False), folder=folder))
    assert (code, out, err) == (0, "(1, 3)\n", "")


def test_a_folder_that_cannot_be_written_is_one_warning(tmp_path, filled):
    """The spare folder holds the kernels already, as after an earlier start."""
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    user = os.getuid() if hasattr(os, "getuid") else "user"
    spare = tmp_path / f"tsm_ref-{user}"
    spare.symlink_to(filled[0])
    code, out, err = finish(
        start("-m", "tsm_ref.warmup", folder=blocked / "below", TMPDIR=str(tmp_path))
    )
    assert code == 0, err
    assert err.count("warning: compiled kernels cannot be kept") == 1
    assert str(blocked / "below") in err
    assert f"they are kept in {spare}" in out


def test_help_and_a_wrong_option_have_their_exit_codes(tmp_path):
    assert finish(start("-m", "tsm_ref.warmup", "--help", folder=tmp_path))[0] == 0
    assert finish(start("-m", "tsm_ref.warmup", "--what", folder=tmp_path))[0] == 2


def test_without_the_compiler_the_engine_says_so(tmp_path):
    code, _, err = finish(start("-m", "tsm_ref.warmup", folder=tmp_path, NUMBA_DISABLE_JIT="1"))
    assert code == 2
    assert "NUMBA_DISABLE_JIT" in err
    assert not list(Path(tmp_path).rglob("*.nbc"))
