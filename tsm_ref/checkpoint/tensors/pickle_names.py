"""Every name that a pickle may use, and what calling it builds: plain values, nothing else."""

from collections.abc import Callable, Mapping
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


@dataclass
class NumpyArray:
    """A NumPy array in the making: shape, type and bytes arrive one after another."""

    shape: tuple[int, ...] = ()
    dtype: "NumpyType | None" = None
    fortran: bool = False
    data: bytes = b""


@dataclass
class NumpyType:
    """A NumPy dtype by its text, such as ``f4``; the byte order arrives later."""

    text: str
    order: str = "<"


@dataclass(frozen=True)
class Named:
    """A name of the file that stands on the list, and what calling it builds."""

    name: str
    build: Callable[..., Any] | None = None


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


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> Tensor:
    """``torch._utils._rebuild_tensor`` and its later version."""
    sizes, steps = tuple(shape), tuple(strides)
    numbers = (offset, *sizes, *steps)
    if not isinstance(storage, Storage) or not all(type(v) is int and v >= 0 for v in numbers):
        raise CheckpointError("a tensor of the pickle is not described by sizes of 0 or more")
    if len(sizes) != len(steps) or len(sizes) > MAX_RANK:
        raise CheckpointError(
            f"a tensor of the pickle has {len(sizes)} sizes, {len(steps)} strides"
        )
    return Tensor(storage, offset, sizes, steps)


def _typed_tensor(
    storage: Any, offset: Any, shape: Any, strides: Any, grad: Any, hooks: Any, kind: Any
) -> Tensor:
    """``torch._utils._rebuild_tensor_v3``: the type stands beside a storage of bytes."""
    name = kind.name.removeprefix("torch.") if isinstance(kind, Named) else ""
    if not isinstance(storage, Storage) or name not in STORAGES.values():
        raise CheckpointError("a tensor of the pickle has no type of numbers")
    return _tensor(Storage(storage.key, name, storage.count, storage.start), offset, shape, strides)


def _first(value: Any, *rest: Any) -> Any:
    return value


def _pairs(*arguments: Any) -> dict[Any, Any]:
    return dict(*arguments)


def _numpy_scalar(kind: Any, data: Any = b"") -> Any:
    if not isinstance(kind, NumpyType) or not isinstance(data, bytes):
        raise CheckpointError("a number of the pickle has no NumPy type")
    values = numpy_values(NumpyArray((), kind, False, data))
    return values.reshape(-1)[0].item()


def _numpy_buffer(data: Any, kind: Any, shape: Any, order: Any) -> NumpyArray:
    return NumpyArray(tuple(shape), kind, order == "F", data if isinstance(data, bytes) else b"")


def _encoded(text: Any, encoding: Any = "latin1") -> bytes:
    """How protocol 2 writes bytes."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1", "ascii", "utf-8"):
        raise CheckpointError("the pickle encodes a text in an unknown way")
    return text.encode(encoding)


KNOWN: Mapping[str, Callable[..., Any] | None] = {
    "collections.OrderedDict": _pairs,
    **dict.fromkeys(("builtins.dict", "__builtin__.dict"), _pairs),
    **dict.fromkeys(("builtins.list", "__builtin__.list"), lambda *a: list(*a)),
    **dict.fromkeys(("builtins.tuple", "__builtin__.tuple"), lambda *a: tuple(*a)),
    **dict.fromkeys(("builtins.set", "__builtin__.set"), lambda *a: list(*a)),
    **dict.fromkeys(("builtins.bytes", "__builtin__.bytes"), lambda *a: _encoded(*a) if a else b""),
    "builtins.bytearray": lambda *a: a[0] if a and isinstance(a[0], bytes) else b"",
    "_codecs.encode": _encoded,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_parameter": _first,
    "torch.Size": lambda *a: tuple(*a),
    "torch.device": lambda *a: str(a[0]) if a else "",
    "torch.storage.UntypedStorage": None,
    **{f"torch.{name}": None for name in STORAGES},
    **{f"torch.{name}": None for name in STORAGES.values()},
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
    "numpy.ndarray": None,
    "numpy.dtype": lambda text, *a: NumpyType(str(text)),
    "mmengine.logging.history_buffer.HistoryBuffer": lambda *a: {},
}  # fmt: skip
"""Every name that a file may use, and what calling it builds (None: it is not called).

The last one is what MMAction2 1.x logs beside the weights while it trains: nothing is kept of it.
"""


def named(name: str) -> Named:
    """A name out of a file; raises `CheckpointError` for one that is not on the list."""
    if name not in KNOWN:
        raise CheckpointError(
            f"the pickle names {shown(name)}, which is not a tensor, a container, a number or a "
            "text; it is refused, never called"
        )
    return Named(name, KNOWN[name])


NUMPY_TYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "b1", "u2")


def numpy_values(array: NumpyArray) -> Array:
    """The values of a NumPy array of the pickle; raises `CheckpointError` where they do not fit."""
    kind = array.dtype
    if kind is None or kind.text.lstrip("<|>=") not in NUMPY_TYPES or kind.order not in "<|>=":
        raise CheckpointError("an array of the pickle is not made of numbers")
    dtype = np.dtype(kind.order + kind.text.lstrip("<|>="))
    if any(type(v) is not int or v < 0 for v in array.shape):
        raise CheckpointError("an array of the pickle has a size below 0")
    if prod(array.shape) * dtype.itemsize != len(array.data):
        raise CheckpointError(
            f"an array of the pickle has {len(array.data)} bytes; its shape {array.shape} "
            f"takes {prod(array.shape) * dtype.itemsize}"
        )
    flat = np.frombuffer(array.data, dtype)
    return flat.reshape(array.shape, order="F" if array.fortran else "C")
