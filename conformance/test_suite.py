"""Every case as a test of pytest, for ``pytest --pyargs conformance --testee ...``."""

from typing import Any

import pytest

from conformance.plugin import check_case, chosen_ids


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test per case of the wanted levels."""
    if "case_id" in metafunc.fixturenames:
        metafunc.parametrize("case_id", chosen_ids(metafunc.config))


def test_case(tsm_testee: Any, case_id: str, request: pytest.FixtureRequest) -> None:
    """The testee passes the case."""
    check_case(tsm_testee, case_id, request.config.getoption("--tsm-seed"))
