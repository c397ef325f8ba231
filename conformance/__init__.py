"""The judge: tells any implementation of TSM, in any framework or language, where it differs.

    import conformance
    conformance.assert_conforms(my_object, profile="mit", level="L0")

A ladder, on which every folder imports only what stands below it:

1. `questions`: what is asked, for which conventions, and how an answer is judged
2. `exchange`: what leaves the process: messages, their schemas, exported questions
3. `testees`: whoever is asked, from a Python object to a folder of answers
4. `catalogue`, the cases, and `mutants`, wrong implementations that the cases must catch
5. `judging`: cases put to a testee; the diagnosis; the kill matrix
6. `reports`: what came of it, for people and machines
7. `api`, `plugin`, `explain`, `commands` and ``__main__``; `worker` serves an object to another
   process, and `adapters` makes testees of public implementations

The names are imported when they are first used.
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
