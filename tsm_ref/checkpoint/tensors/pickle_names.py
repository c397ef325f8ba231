"""What a pickle may describe: plain values, tensors, and objects that are only known by name.

Calling a name of `KNOWN` builds a plain value. Every other name becomes a `Foreign`: it is kept as
the file describes it and never called, compared, hashed, printed or copied.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from tsm_ref.checkpoint.contents import Array, shown
from tsm_ref.errors import CheckpointError

MAX_RANK = 32


@dataclass(frozen=True)
class Storage:
    """A row of numbers somewhere in the file; ``start`` elements into what `key` names."""

    key: str
    type_name: str
    count: int
    start: int = 0


@dataclass(frozen=True)
class Tensor:
    """A view of a storage, as strides in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(eq=False, slots=True)
class NumpyArray:
    """A NumPy array in the making: shape, type and bytes arrive one after another.

    ``data`` is None where the file keeps objects instead of numbers.
    """

    shape: tuple[Any, ...] = ()
    dtype: "NumpyType | None" = None
    fortran: bool = False
    data: bytes | None = b""


@dataclass(eq=False, slots=True)
class NumpyType:
    """A NumPy dtype by its text, such as ``f4``; the byte order arrives later."""

    text: str
    order: str = "<"


@dataclass(eq=False, repr=False, slots=True)
class Named:
    """A name of the file, and what calling it builds: None where that is not known."""

    name: str
    build: Callable[..., Any] | None = None


@dataclass(eq=False, repr=False, slots=True)
class Foreign:
    """An object of a class that is not known, as the file describes it.

    ``name`` is that of its class, or of the function that would have made it; ``arguments`` are
    what that would have been given, ``state``, ``items`` and ``elements`` what is put in after.
    """

    name: str
    arguments: tuple[Any, ...] = ()
    state: Any = None
    items: dict[Any, Any] | None = None
    elements: list[Any] | None = None


STORAGES: Mapping[str, str] = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
"""PyTorch's classes of storages, and the type of their numbers."""

WEAPONS = frozenset(
    (
        *("builtins.eval", "builtins.exec", "builtins.compile", "builtins.open", "builtins.input"),
        *("builtins.__import__", "builtins.breakpoint", "torch.load", "numpy.load"),
    )
)
ARMED = frozenset(
    (
        *("os", "posix", "nt", "subprocess", "sys", "shutil", "socket", "ctypes", "importlib"),
        *("runpy", "pty", "code", "pdb", "webbrowser", "urllib", "requests", "multiprocessing"),
        *("pickle", "_pickle", "marshal", "commands", "timeit", "asyncio"),
    )
)
"""Functions, and modules of functions, that no trainer writes into a checkpoint.

Nothing is ever called, so they could be passed over like any other name; but a file that holds one
was made to attack whoever unpickles it, and nothing in it is worth reading.
"""


def is_plain(value: Any) -> bool:
    """True for what may be the key of a dictionary: hashing it costs what it is long.

    >>> [is_plain(value) for value in ("weight", 7, 0.5, 2**100, ("a",), None)]
    [True, True, True, False, False, False]
    """
    kind = type(value)
    return (
        kind is str or kind is float or kind is bool or (kind is int and -(2**63) <= value < 2**63)
    )


def is_count(value: Any) -> bool:
    """True for a whole number of 0 or more that 64 bits hold."""
    return type(value) is int and 0 <= value < 2**63


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> Any:
    """``torch._utils._rebuild_tensor`` and its later version."""
    if type(storage) is Foreign:
        return storage
    if type(storage) is not Storage or type(shape) is not tuple or type(strides) is not tuple:
        raise CheckpointError("a tensor of the pickle is not described by sizes of 0 or more")
    if len(shape) != len(strides) or len(shape) > MAX_RANK:
        raise CheckpointError(
            f"a tensor of the pickle has {len(shape)} sizes, {len(strides)} strides"
        )
    if not all(map(is_count, (offset, *shape, *strides))):
        raise CheckpointError("a tensor of the pickle is not described by sizes of 0 or more")
    return Tensor(storage, offset, shape, strides)


def _typed_tensor(
    storage: Any,
    offset: Any,
    shape: Any,
    strides: Any,
    grad: Any,
    hooks: Any,
    kind: Any,
    *rest: Any,
) -> Any:
    """``torch._utils._rebuild_tensor_v3``: the type stands beside a storage of bytes."""
    name = kind.name.removeprefix("torch.") if type(kind) is Named else ""
    if type(storage) is not Storage or name not in STORAGES.values():
        raise CheckpointError("a tensor of the pickle has no type of numbers")
    return _tensor(Storage(storage.key, name, storage.count, storage.start), offset, shape, strides)


def _subclass(function: Any, kind: Any, arguments: Any, *rest: Any) -> Any:
    """``torch._tensor._rebuild_from_type_v2``: a tensor of a class of its own, or with notes."""
    return called(function, arguments)


def _first(value: Any, *rest: Any) -> Any:
    return value


def _instance(kind: Any, *rest: Any) -> Foreign:
    """``copyreg._reconstructor``: an object of a class, whatever its base."""
    return Foreign(kind.name if type(kind) is Named else "object", rest)


def _pairs(*arguments: Any) -> dict[Any, Any]:
    """A dictionary of nothing, of a dictionary or of pairs, as far as their keys are plain."""
    if not arguments:
        return {}
    (source,) = arguments
    items: Iterable[Any] = source
    if type(source) is dict:
        items = source.items()
    elif type(source) is not list and type(source) is not tuple:
        raise TypeError
    found = {}
    for item in items:
        if (type(item) is not tuple and type(item) is not list) or len(item) != 2:
            raise TypeError
        if is_plain(item[0]):
            found[item[0]] = item[1]
    return found


def _defaults(factory: Any = None, *arguments: Any) -> dict[Any, Any]:
    return _pairs(*arguments)


def _members(*arguments: Any) -> list[Any]:
    """What a list, a tuple or a set is made of."""
    if not arguments:
        return []
    (source,) = arguments
    if type(source) is not list and type(source) is not tuple:
        raise TypeError
    return list(source)


def _bytes(data: Any = b"", *rest: Any) -> bytes:
    return _encoded(data, *rest) if rest else data if type(data) is bytes else b""


def _numpy_scalar(kind: Any, data: Any = b"", *rest: Any) -> Any:
    array = NumpyArray((), kind if type(kind) is NumpyType else None, False, data)
    if type(data) is not bytes or not holds_numbers(array):
        return Foreign("numpy.generic")
    return numpy_values(array).reshape(-1)[0].item()


def _numpy_type(text: Any = "", *rest: Any) -> Any:
    return NumpyType(text) if type(text) is str else Foreign("numpy.dtype")


def _numpy_buffer(data: Any, kind: Any, shape: Any, order: Any) -> NumpyArray:
    return numpy_array(shape, kind, type(order) is str and order == "F", data)


def numpy_array(shape: Any, kind: Any, fortran: Any, data: Any) -> NumpyArray:
    """A NumPy array as a pickle describes it; raises `TypeError` where that is no description."""
    if type(shape) is not tuple or len(shape) > MAX_RANK:
        raise TypeError
    kind = kind if type(kind) is NumpyType else None
    turned = type(fortran) in (bool, int) and bool(fortran)
    return NumpyArray(shape, kind, turned, data if type(data) is bytes else None)


def _encoded(text: Any, encoding: Any = "latin1") -> bytes:
    """How protocol 2 writes bytes."""
    known = ("latin1", "latin-1", "ascii", "utf-8")
    if type(text) is not str or type(encoding) is not str or encoding not in known:
        raise CheckpointError("the pickle encodes a text in an unknown way")
    return text.encode(encoding)


KNOWN: Mapping[str, Callable[..., Any]] = {
    "collections.OrderedDict": _pairs,
    "collections.Counter": _pairs,
    "collections.defaultdict": _defaults,
    "builtins.dict": _pairs,
    "builtins.list": _members,
    "builtins.tuple": lambda *a: tuple(_members(*a)),
    "builtins.set": _members,
    "builtins.frozenset": _members,
    "builtins.bytes": _bytes,
    "builtins.bytearray": _bytes,
    "_codecs.encode": _encoded,
    "copyreg._reconstructor": _instance,
    "copyreg.__newobj__": _instance,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._tensor._rebuild_from_type_v2": _subclass,
    "torch.Size": lambda *a: tuple(_members(*a)),
    "torch.device": lambda kind="", *a: kind if type(kind) is str else "",
    **{
        f"numpy.{module}.{name}": build
        for module in ("core.multiarray", "_core.multiarray")
        for name, build in (
            ("_reconstruct", lambda *a: NumpyArray()),
            ("scalar", _numpy_scalar),
        )
    },
    **dict.fromkeys(("numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer"),
                    _numpy_buffer),
    "numpy.dtype": _numpy_type,
}  # fmt: skip
"""Every name that may be called, and what that builds."""

MODERN = {"__builtin__": "builtins", "copy_reg": "copyreg"}
"""What Python 3 calls the modules of Python 2, whose names protocols 0 to 2 write."""


def named(module: Any, attribute: Any) -> Named:
    """A name out of a file; raises `CheckpointError` for one that only an attacker writes."""
    if type(module) is not str or type(attribute) is not str:
        raise CheckpointError("the pickle names something whose name is not a text")
    name = f"{MODERN.get(module, module)}.{attribute}"
    if name.partition(".")[0] in ARMED or name in WEAPONS:
        raise CheckpointError(
            f"the pickle names {shown(name)}, which is not a tensor, a container, a number or a "
            "text; it is refused, never called"
        )
    return Named(name, KNOWN.get(name))


def called(function: Any, arguments: Any) -> Any:
    """What calling a name builds: a plain value, or a `Foreign` that only keeps the arguments."""
    if type(arguments) is not tuple:
        raise TypeError
    if type(function) is Named and function.build is not None:
        return function.build(*arguments)
    if type(function) is Named or type(function) is Foreign:
        return Foreign(function.name, arguments)
    raise CheckpointError("the pickle calls what is no function, which is refused")


NUMPY_TYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "b1", "u2")


def holds_numbers(array: NumpyArray) -> bool:
    """True where the type of an array is one of plain numbers."""
    kind = array.dtype
    if kind is None or array.data is None or len(kind.text) > 4 or len(kind.order) != 1:
        return False
    return kind.text.lstrip("<|>=") in NUMPY_TYPES and kind.order in "<|>="


def numpy_values(array: NumpyArray) -> Array:
    """The values of a NumPy array of the pickle; raises `CheckpointError` where they do not fit."""
    kind, data = array.dtype, array.data
    if kind is None or data is None or not holds_numbers(array):
        raise CheckpointError("an array of the pickle is not made of numbers")
    dtype = np.dtype(kind.order + kind.text.lstrip("<|>="))
    if not all(map(is_count, array.shape)):
        raise CheckpointError("an array of the pickle has a size below 0")
    if prod(array.shape) * dtype.itemsize != len(data):
        raise CheckpointError(
            f"an array of the pickle has {len(data)} bytes; its shape {array.shape} "
            f"takes {prod(array.shape) * dtype.itemsize}"
        )
    flat = np.frombuffer(data, dtype)
    return flat.reshape(array.shape, order="F" if array.fortran else "C")
