"""From what a user types after ``--testee`` to a testee."""

import importlib
import inspect
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from conformance.testees.base import OPERATIONS, Testee
from conformance.testees.in_process import InProcess
from tsm_ref.errors import UsageError

SHORT_NAMES = ("reference", "numpy", "numba")
KINDS = """py:package.module:object, onnx:model.onnx (or a folder of models), cmd:./program args,
dir:outputs/, or one of our own by name: reference, numpy, numba"""


def make_testee(text: str, profile: str | None = None, *, isolate: bool = True) -> Testee:
    """The testee that a specification names.

    Objects and models run in a process of their own, where a crash or an endless loop ends only
    that; ``isolate=False`` keeps them in this one. Raises `UsageError` for what cannot be a testee.
    """
    kind, colon, rest = text.partition(":")
    if text in SHORT_NAMES:
        return InProcess(own(text, profile), profile)
    if not colon or not rest:
        raise UsageError(f"`--testee` (={text!r}) must be {' '.join(KINDS.split())}")
    if kind in ("py", "onnx"):
        return _loaded(text, profile, isolate)
    if kind == "cmd":
        from conformance.testees.process import Process

        return Process(shlex.split(rest), profile)
    if kind == "dir":
        from conformance.testees.folder import Folder

        return Folder(Path(rest), profile)
    raise UsageError(f"`--testee` (={text!r}) must be {' '.join(KINDS.split())}")


def own(name: str, profile: str | None) -> Any:
    """One of our own implementations by its short name."""
    if name == "reference":
        from conformance.testees.reference import Reference

        return Reference(profile or "mit")
    from conformance.testees.engines import EngineTestee

    return EngineTestee(name, profile or "mit")


def load_target(text: str) -> Any:
    """The object or the models that ``py:`` or ``onnx:`` name."""
    kind, _, rest = text.partition(":")
    if kind == "onnx":
        from conformance.testees.onnx import OnnxModels

        return OnnxModels(Path(rest))
    return load_object(rest)


def load_object(path: str) -> Any:
    """The object at ``package.module:object`` (or ``file.py:object``); a class is instantiated.

    Raises `UsageError` with the reason if there is no such object.
    """
    module_name, _, attribute = path.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        if module_name.endswith(".py"):
            module: Any = _module_from_file(Path(module_name))
        else:
            module = importlib.import_module(module_name)
    except Exception as error:
        raise UsageError(
            f"cannot import {module_name!r}: {type(error).__name__}: {error}"
        ) from error
    target = module
    for part in filter(None, attribute.split(".")):
        if not hasattr(target, part):
            raise UsageError(f"{module_name!r} has no {attribute!r}")
        target = getattr(target, part)
    if isinstance(target, type):
        try:
            target = target()
        except Exception as error:
            raise UsageError(
                f"cannot make a {attribute!r}: {type(error).__name__}: {error}"
            ) from error
    return adapted(target)


def adapted(target: Any) -> Any:
    """The object itself, the adapter of the framework that it belongs to, or a bare function.

    A function is the operation that it is named after, and `temporal_shift` under any other name.
    """
    from conformance.testees.frameworks import adapter_for

    if inspect.isfunction(target):
        name = target.__name__ if target.__name__ in OPERATIONS else "temporal_shift"
        told = {"name": target.__name__, **getattr(target, "declaration", {})}
        return SimpleNamespace(**{name: target}, declaration=told)
    adapter = adapter_for(target)
    return adapter(target) if adapter else target


def _module_from_file(path: Path) -> Any:
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise UsageError(f"there is no Python file {str(path)!r}")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _loaded(text: str, profile: str | None, isolate: bool) -> Testee:
    if not isolate:
        return InProcess(load_target(text), profile)
    from conformance.testees.process import Process

    return Process([sys.executable, "-m", "conformance.worker", text], profile)
