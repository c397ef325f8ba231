"""The judge: tells any implementation of TSM, in any framework or language, where it differs.

import conformance
conformance.assert_conforms(my_object, profile="mit", level="L0")
"""

from typing import Any

from conformance.api import assert_conforms, problem, run_testee

__all__ = ["assert_conforms", "problem", "pytest_cases", "run_testee"]


def pytest_cases(testee: Any, **options: Any) -> Any:
    """A test function with one test per case; see `conformance.plugin.pytest_cases`."""
    from conformance.plugin import pytest_cases as make

    return make(testee, **options)
