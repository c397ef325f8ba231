"""The judge: tells any implementation of TSM, in any framework or language, where it differs.

import conformance
conformance.assert_conforms(my_object, profile="mit", level="L0")
"""

from conformance.api import assert_conforms, problem, run_testee

__all__ = ["assert_conforms", "problem", "run_testee"]
