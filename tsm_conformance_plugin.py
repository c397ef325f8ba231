"""The door of the pytest plugin of `conformance`, which opens only where it is knocked at.

pytest loads this file wherever the package is installed, also in projects that have a `conformance`
of their own. It imports nothing, adds nothing, and says nothing unless the suite itself is asked
for (``pytest --pyargs conformance``) and the `conformance` that is found is ours.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any


def pytest_load_initial_conftests(early_config: Any, args: list[str]) -> None:
    """Register `conformance.plugin`, with its options, if the suite is what is to be run."""
    if early_config.known_args_namespace.pyargs and any(map(_is_suite, args)) and _is_ours():
        from conformance import plugin

        if not early_config.pluginmanager.is_registered(plugin):
            early_config.pluginmanager.register(plugin, "conformance.plugin")


def _is_suite(argument: str) -> bool:
    return argument.partition("::")[0].split(".")[0] == "conformance"


def _is_ours() -> bool:
    """Whether `conformance` is the package that was installed together with this file."""
    try:
        spec = find_spec("conformance")
    except (ImportError, ValueError):
        return False
    origin = spec.origin if spec is not None else None
    return origin is not None and Path(origin).parent.parent == Path(__file__).parent
