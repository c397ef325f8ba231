"""The suite inside pytest: by an option, and by one line in somebody's own tests."""

import os
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]


def pytest_in(folder, *arguments, plugin="tsm_conformance_plugin"):
    """pytest with our plugin as its entry point loads it, and with no other plugin."""
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [*PYTEST, "-p", plugin, *arguments],
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


def test_without_a_testee_it_says_so_and_judges_nothing(tmp_path):
    found = pytest_in(tmp_path, "--pyargs", "conformance", "--tsm-level", "L0")
    assert "there is nothing to judge: add --testee TESTEE" in found.stdout
    assert found.returncode not in (0, 5)
    assert " skipped" not in found.stdout
    assert " passed" not in found.stdout


def test_the_entry_point_is_the_door_under_a_name_of_its_own():
    entry = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    assert entry["pytest11"] == {"tsm-conformance": "tsm_conformance_plugin"}
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    assert "tsm_conformance_plugin.py" in build["targets"]["wheel"]["only-include"]


def test_a_checkout_may_load_the_plugin_by_its_module(tmp_path):
    arguments = ["--pyargs", "conformance", "--tsm-level", "L0", "--testee", "reference"]
    found = pytest_in(tmp_path, *arguments, "-k", "clips", plugin="conformance.plugin")
    assert found.returncode == 0, found.stdout


def somebody_elses(folder):
    """A project with a package `conformance` and an option `--testee` of its own."""
    (folder / "conformance").mkdir()
    (folder / "conformance" / "__init__.py").write_text("theirs = True\n")
    (folder / "conftest.py").write_text(
        "def pytest_addoption(parser):\n    parser.addoption('--testee', default='theirs')\n"
    )
    (folder / "test_theirs.py").write_text(
        "import sys\n"
        "import conformance\n"
        "def test_theirs(request):\n"
        "    assert conformance.theirs\n"
        "    assert request.config.getoption('--testee') == 'theirs'\n"
        "    assert not any(name.startswith(('tsm_ref', 'numpy')) for name in sys.modules)\n"
    )


@pytest.mark.parametrize("arguments", [(), ("--pyargs", "conformance", "test_theirs.py")])
def test_a_project_with_a_conformance_of_its_own_is_left_alone(tmp_path, arguments):
    somebody_elses(tmp_path)
    found = pytest_in(tmp_path, *arguments)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "1 passed" in found.stdout


def test_the_installed_entry_point_leaves_it_alone_too(tmp_path):
    """With every plugin that is installed here, ours among them."""
    names = {e.value for e in entry_points(group="pytest11")}
    if not names & {"tsm_conformance_plugin"}:
        pytest.skip("the package was installed before its entry point had this name")
    somebody_elses(tmp_path)
    found = subprocess.run(PYTEST, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert "1 passed" in found.stdout or "numpy" in found.stdout, found.stdout + found.stderr


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
