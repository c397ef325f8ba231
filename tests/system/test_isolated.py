"""A child with limits: what it says is ours, how it ends is told, and nothing is left of it."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tsm_ref import infer
from tsm_ref.checkpoint import weights_folder
from tsm_ref.system import isolated
from tsm_ref.system.isolated import Limits

pytest.importorskip("resource")
SAMPLE = str(weights_folder() / "samples" / "zoom_in.mp4")


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module of this source, which a child can find."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def make(source: str) -> str:
        Path(tmp_path, "child_module.py").write_text(source)
        return "child_module"

    return make


def test_its_exit_code_and_arguments_are_passed_on(module) -> None:
    name = module("import sys; sys.exit(len(sys.argv))")
    assert isolated.run(name, ["a", "b"], Limits()) == 3


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "was ended by SIGSEGV"),
        ("while True: pass", "took more time than it may"),
    ],
)
def test_how_it_ended_is_told(module, source, said) -> None:
    code = isolated.run(module(source), [], Limits(seconds=1))
    assert isolated.ended(code) in (said, "was ended by SIGKILL")


def test_its_memory_is_limited(module) -> None:
    name = module("try:\n    bytes(1 << 30)\nexcept MemoryError:\n    raise SystemExit(7)")
    assert isolated.run(name, [], Limits(memory=1 << 29)) == 7


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_it_ends_with_its_parent(module, tmp_path) -> None:
    name = module("import os, time; print(os.getpid(), flush=True); time.sleep(60)")
    code = f"from tsm_ref.system import isolated; isolated.run({name!r}, [], isolated.Limits())"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        child = int(parent.stdout.readline())
        parent.kill()
        assert parent.stdout.read() == b""  # the pipe is closed by the end of the child
    for _ in range(100):
        if not Path(f"/proc/{child}").exists():
            return
        time.sleep(0.05)
    state = Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[0]
    assert state == "Z"  # nobody but init can take leave of it


def test_a_user_gets_the_same_answer(capfd) -> None:
    assert infer.main(["--engine", "numpy", "--json", "--isolate", "--top", "1", SAMPLE]) == 0
    out, err = capfd.readouterr()
    assert '"zoom in"' in out
    assert err == ""


def test_a_user_gets_the_same_error(capfd, tmp_path) -> None:
    assert infer.main(["--isolate", str(tmp_path / "absent.mp4")]) == 3
    err = capfd.readouterr().err
    assert "no such file" in err
    assert err.count("\n") == 1


def test_a_child_that_is_lost_is_one_line(capfd, monkeypatch) -> None:
    monkeypatch.setattr(isolated, "run", lambda *_: -11)
    assert infer.main(["--isolate", SAMPLE]) == 3
    err = capfd.readouterr().err
    assert "was ended by SIGSEGV" in err
    assert err.count("\n") == 1
