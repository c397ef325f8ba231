"""The suite inside pytest: by an option, and by one line in somebody's own tests."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTEST = [
    sys.executable,
    "-m",
    "pytest",
    "-q",
    "-p",
    "no:cacheprovider",
    "-p",
    "conformance.plugin",
]


def pytest_in(folder, *arguments):
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [*PYTEST, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_pyargs_runs_the_suite_on_a_testee(tmp_path):
    arguments = ["--pyargs", "conformance", "--tsm-level", "L0"]
    right = pytest_in(tmp_path, *arguments, "--testee", "reference")
    wrong = pytest_in(tmp_path, *arguments, "--testee", "reference", "--tsm-profile", "nobody")
    assert right.returncode == 0, right.stdout
    assert " passed" in right.stdout
    assert wrong.returncode != 0
    assert "there is no profile 'nobody'" in wrong.stdout


def test_without_a_testee_nothing_is_judged(tmp_path):
    found = pytest_in(tmp_path, "--pyargs", "conformance", "-rs", "--tsm-level", "L0")
    assert "no --testee was given" in found.stdout
    assert " passed" not in found.stdout


@pytest.mark.parametrize(("profile", "outcome"), [("mit", "passed"), ("paddle", "failed")])
def test_one_line_in_ones_own_tests(tmp_path, profile, outcome):
    (tmp_path / "test_mine.py").write_text(
        "import conformance\n"
        "from conformance.testees.reference import Reference\n"
        f"test_tsm = conformance.as_test(Reference('mit'), profile={profile!r})\n"
    )
    found = pytest_in(tmp_path, "test_mine.py")
    assert f" {outcome}" in found.stdout
    assert ("the direction is swapped" in found.stdout) == (outcome == "failed")
    assert "Traceback" not in found.stdout


def test_a_testee_of_its_own_process_is_ended_and_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / "private").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "private"))
    (tmp_path / "mine.py").write_text("def shift(x, fold_div=8):\n    return x\n")
    (tmp_path / "test_mine.py").write_text(
        "import conformance\ntest_tsm = conformance.as_test('py:mine:shift')\n"
    )
    found = pytest_in(tmp_path, "test_mine.py", "-k", "clips or one-frame")
    assert "the value is" in found.stdout
    assert not list((tmp_path / "private").glob("tsm-conformance-*"))
