"""The judge: tells any implementation of TSM, in any framework or language, where it differs.

import conformance
conformance.assert_conforms(my_object, profile="mit", level="L0")
"""

from typing import Any

from conformance.api import assert_conforms, problem, run_testee

__all__ = ["as_test", "assert_conforms", "problem", "run_testee"]


def as_test(testee: Any, *, profile: str | None = None, level: str = "L0", seed: int = 0) -> Any:
    """A test function of pytest with one test per case; see `conformance.plugin`."""
    from conformance import plugin

    return plugin.as_test(testee, profile=profile, level=level, seed=seed)
