"""A Python object as a testee: its callables are the operations.

An operation is called with its first input as the first argument and everything else by keyword.
An attribute that the callable has no parameter for may be left out where it has its default value;
at any other value the operation is *unsupported*, which is never a pass.
"""

import inspect
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from conformance.questions.arrays import MEMORY, Array, as_numpy, to_layout
from conformance.questions.case import Call
from conformance.questions.files import FILM
from conformance.questions.streams import play
from conformance.testees.base import (
    OPERATIONS,
    Declaration,
    NoReply,
    Outputs,
    Refused,
    Reply,
    Unsupported,
    declared,
)
from conformance.testees.layouts import NoAxisOfTime, back, from_testee, in_layout
from tsm_ref.errors import NotStreamable, TsmError, UsageError

INVALID = (
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AssertionError,
    RuntimeError,
    TsmError,
)


class InProcess:
    """Asks a Python object, with a time limit, on private copies of every array.

    The object may carry ``declaration`` (a dictionary as a program sends it); `options` override
    parts of it.

    >>> import tsm_ref.reference
    >>> InProcess(tsm_ref.reference).declaration.name
    'tsm_ref.reference'
    """

    def __init__(self, target: Any, profile: str | None = None) -> None:
        self.target = target
        told = getattr(target, "declaration", {})
        if not isinstance(told, Mapping):
            raise UsageError(f"`declaration` is {type(told).__name__}; a dictionary is needed")
        told = dict(told)
        told.setdefault("name", getattr(target, "__name__", type(target).__name__))
        told.setdefault("language", "Python")
        self.declaration: Declaration = declared(told, profile)
        offered = [op for op in OPERATIONS if callable(getattr(target, op, None))]
        if not offered:
            raise UsageError(
                f"{told['name']!r} has no callable named after an operation; "
                f"{', '.join(list(OPERATIONS)[:4])}, ... are known"
            )
        self.operations = offered

    def ask(self, call: Call, timeout: float) -> Reply:
        """The reply of the object's callable."""
        function = getattr(self.target, call.operation, None)
        if not callable(function):
            return Unsupported(f"there is no `{call.operation}`")
        layout = self.declaration.layout_of(call.operation)
        if call.operation == "stream":
            function = _Script(function, layout, call.memory.get("clips", "plain"))
        try:
            moved = in_layout(call, layout)
        except NoAxisOfTime as error:
            return Unsupported(str(error))
        return from_testee(call, _asked(function, moved, timeout), layout)

    def close(self) -> None:
        """Nothing was started."""


class _Script:
    """A factory of streams as a callable that plays a script (see `streams`)."""

    def __init__(self, factory: Any, layout: str, memory: str) -> None:
        self.factory = factory
        self.layout = layout
        self.memory = memory

    def __call__(self, clips: Array, script: Any, **rest: Any) -> Array:
        """Every stream is opened by the factory with the attributes of the call.

        Its chunks lie in the kind of memory that the call names for its clips.
        """
        if self.layout.startswith("(NT)"):
            rest |= self._told("batch", clips.shape[1])
        is_shift = rest.get("subject") in ("temporal_shift", "quantised_shift")
        return play(
            script,
            clips,
            lambda: self.factory(**rest),
            lambda chunk: MEMORY[self.memory](to_layout(chunk, self.layout)),
            lambda y, n: back(y, self.layout, n) if is_shift or y.ndim < 4 else y,
            reused=self.memory == "reused",
        )

    def _told(self, name: str, value: Any) -> dict[str, Any]:
        """An attribute that a factory may do without."""
        try:
            known = inspect.signature(self.factory).parameters
        except (TypeError, ValueError):
            return {name: value}
        takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in known.values())
        return {name: value} if takes_any or name in known else {}


def _asked(function: Any, call: Call, timeout: float) -> Reply:
    attributes = _accepted(function, call)
    if isinstance(attributes, Unsupported):
        return attributes
    arrays = {
        name: MEMORY[call.memory.get(name, "plain")](value) for name, value in call.inputs.items()
    }
    before = {name: value.tobytes() for name, value in arrays.items()}
    with tempfile.TemporaryDirectory() if FILM in arrays else nullcontext("") as folder:
        reply = _call(function, *_prepared(call, arrays, attributes, Path(folder)), timeout)
    for name, value in arrays.items():
        if value.tobytes() != before[name]:
            return NoReply(f"`{call.operation}` modified its input `{name}`")
    return reply


def _accepted(function: Any, call: Call) -> dict[str, Any] | Unsupported:
    """The attributes that the callable takes; unsupported where one that matters is not taken."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return dict(call.attributes)
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return dict(call.attributes)
    attributes = {}
    for name, value in call.attributes.items():
        if name in parameters:
            attributes[name] = value
        elif name not in call.defaults or not _same(call.defaults[name], value):
            return Unsupported(f"`{call.operation}` takes no `{name}` (={value!r})")
    return attributes


def _prepared(
    call: Call, arrays: Mapping[str, Array], attributes: Mapping[str, Any], folder: Path
) -> tuple[list[Any], dict[str, Any]]:
    """Arguments as Python wants them; a film becomes the path of a file."""
    given: dict[str, Any] = dict(arrays)
    if FILM in given:
        given[FILM] = folder / "film.avi"
        given[FILM].write_bytes(arrays[FILM].tobytes())
    return replace(call, inputs=given, attributes=attributes).arguments()


def _same(default: Any, value: Any) -> bool:
    """Whether an attribute has its default; one number stands for the same number on each axis."""
    return bool(np.all(np.asarray(value) == np.asarray(default)))


def _call(function: Any, first: list[Any], rest: dict[str, Any], timeout: float) -> Reply:
    try:
        with time_limit(timeout), np.errstate(all="ignore"):
            return _as_outputs(function(*first, **rest))
    except TimeLimit:
        return NoReply(f"no reply within {timeout:g} seconds")
    except NotStreamable as error:
        return Refused("not_streamable", _sentence(error))
    except NotImplementedError as error:
        return Unsupported(_sentence(error))
    except RecursionError as error:
        return NoReply(f"raised RecursionError: {_sentence(error)}")
    except INVALID as error:
        return Refused("invalid", f"{type(error).__name__}: {_sentence(error)}")
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return NoReply(f"raised {type(error).__name__}: {_sentence(error)}")


def _as_outputs(value: Any) -> Reply:
    """What a callable returned as outputs; what is no array refuses nothing, it is broken."""
    try:
        return Outputs(_named(value))
    except Exception as error:
        return NoReply(f"gave no usable output: {_sentence(error)}")


def _named(value: Any) -> dict[str, Any]:
    """Outputs by name: a dictionary of arrays, JSON, or one array, which is `y`."""
    if isinstance(value, Mapping):
        if "result" in value or "predictions" in value:
            return {"result": dict(value.get("result", value))}
        return {str(name): _own_array(v) for name, v in value.items()}
    if isinstance(value, tuple) and len(value) == 1:
        value = value[0]
    return {"y": _own_array(value)}


def _own_array(value: Any) -> Array:
    """A plain copy: the testee may use its memory again, and its class may compare as it likes."""
    return np.array(as_numpy(value))


def _sentence(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["without a message"])[0][:300]


class TimeLimit(BaseException):
    """Raised inside a testee that takes too long; no ``except Exception`` of its own catches it."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Interrupt Python code of the main thread after some seconds, where the system can.

    A loop inside compiled code cannot be interrupted; a testee in its own process can be ended.
    """
    possible = hasattr(signal, "setitimer") and (
        threading.current_thread() is threading.main_thread()
    )
    if not possible:
        yield
        return

    def ring(number: int, frame: Any) -> None:
        raise TimeLimit

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
