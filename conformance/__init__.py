"""The judge: tells any implementation of TSM, in any framework or language, where it differs.

    import conformance
    conformance.assert_conforms(my_object, profile="mit", level="L0")

The names are imported when they are first used: pytest loads the plugin of this package wherever it
is installed, and should not pay for the rest.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conformance.api import assert_conforms, problem, run_testee
    from conformance.plugin import as_test

__all__ = ["as_test", "assert_conforms", "problem", "run_testee"]


def __getattr__(name: str) -> Any:
    """One of the public functions, from the module that defines it."""
    if name not in __all__:
        raise AttributeError(f"module 'conformance' has no attribute {name!r}")
    module = import_module("conformance.plugin" if name == "as_test" else "conformance.api")
    return getattr(module, name)
