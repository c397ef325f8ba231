"""Every case as a test of pytest, for ``pytest --pyargs conformance --testee ...``."""

from typing import Any

import pytest

from conformance.plugin import case_ids, check_case


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test per case of the wanted levels."""
    if "case_id" in metafunc.fixturenames:
        level = metafunc.config.getoption("--tsm-level", "L3")
        metafunc.parametrize("case_id", case_ids(level))


def test_case(tsm_testee: Any, case_id: str, request: pytest.FixtureRequest) -> None:
    """The testee passes the case."""
    check_case(tsm_testee, case_id, request.config.getoption("--tsm-seed"))
