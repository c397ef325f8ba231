"""Fixtures and hypothesis profiles that every test may use, and what the gate asks of skips.

Environment variables (CONTRIBUTING.md explains them): ``TSM_REF_DATA``, ``HYPOTHESIS_PROFILE``,
``TSM_REF_SLOW``; ``TSM_REF_SKIPPED`` names a file for the tests that were skipped, and
``TSM_REF_STRICT_SKIPS=1`` lets a run fail whose skips are not all in ``allowed_skips.txt``.
"""

import fnmatch
import os
from collections.abc import Iterator
from pathlib import Path

# Tests run side by side: BLAS threads of several processes would wait for each other, spinning.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

HERE = Path(__file__).resolve().parent

settings.register_profile("quick", max_examples=25, deadline=None)
settings.register_profile(
    "thorough",
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real clips, checkpoints and vectors; the tests that need them are skipped without them."""
    named = os.environ.get("TSM_REF_DATA")
    if not named:
        pytest.skip("no extra data: TSM_REF_DATA is not set")
    folder = Path(named)
    assert folder.is_dir(), f"TSM_REF_DATA names no folder: {folder}"
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded source of random numbers."""
    return np.random.default_rng(20181120)


SKIPPED: dict[str, str] = {}
"""The reason of every test, or file of tests, that was skipped in this run."""


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note a test that was skipped."""
    _note(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Note a file that was skipped as a whole."""
    _note(report)


def _note(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and isinstance(report.longrepr, tuple):
        SKIPPED[report.nodeid] = report.longrepr[2].removeprefix("Skipped: ")


def allowed_skips() -> list[str]:
    """The patterns of ``allowed_skips.txt``, without their explanations."""
    lines = (HERE / "allowed_skips.txt").read_text(encoding="utf-8").splitlines()
    return [line.split("  # ")[0].strip() for line in lines if line and not line.startswith("#")]


def refused_skips() -> Iterator[str]:
    """Skips of this run that the gate does not accept, one line each."""
    if os.environ.get("TSM_REF_STRICT_SKIPS") == "1":
        allowed = allowed_skips()
        for test, reason in SKIPPED.items():
            if not any(fnmatch.fnmatchcase(reason, pattern) for pattern in allowed):
                yield f"{test}: {reason}"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write down what was skipped, and fail for a skip that is not accepted."""
    if hasattr(session.config, "workerinput"):  # a process of pytest-xdist: its chief knows all
        return
    if target := os.environ.get("TSM_REF_SKIPPED"):
        Path(target).write_text("".join(f"{test}\n" for test in SKIPPED), encoding="utf-8")
    if any(refused_skips()):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which skips let the run fail."""
    if lines := list(refused_skips()):
        terminalreporter.section("skips that tests/allowed_skips.txt does not list")
        terminalreporter.write_line("\n".join(lines))
