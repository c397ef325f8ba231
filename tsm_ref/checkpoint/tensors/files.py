"""What all files of named tensors have in common: names, shapes, and values on request."""

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tsm_ref.checkpoint.contents import Array, Float32, check_finite, shown
from tsm_ref.errors import CheckpointError
from tsm_ref.op_attributes import REAL
from tsm_ref.ops_table import Shape
from tsm_ref.system.memory import allowed

FLOATS = ("float16", "bfloat16", "float32", "float64")

MAX_IN_MEMORY = 2**32
"""The largest file that is read as a whole: a thousand million numbers."""


@dataclass(frozen=True)
class Entry:
    """A tensor as a file declares it; `read` fetches its values."""

    shape: Shape
    type_name: str
    read: Callable[[], Array]


Entries = Mapping[str, Entry]


@dataclass(frozen=True)
class TensorFile:
    """The named tensors of a file, and the notes that stand beside them.

    ``sets`` are the sets of tensors by where they stand in the file, ``""`` being its top; ``said``
    are facts that the file tells, by where in it; ``passed`` tells in words what was not looked at;
    ``parts`` are the files beside it that hold its tensors, where they are not in it.
    """

    sets: Mapping[str, Entries]
    format: str
    format_version: int
    notes: Mapping[str, str] = field(default_factory=dict)
    passed: tuple[str, ...] = ()
    said: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    parts: tuple[Path, ...] = ()

    @property
    def entries(self) -> Entries:
        """The first set, which is the only one in most files."""
        return next(iter(self.sets.values()))


def check_room(size: int, what: str) -> None:
    """Raise `CheckpointError` where so many bytes are more than memory should be asked for.

    >>> check_room(2**60, "a safetensors file")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    tsm_ref.errors.CheckpointError: a safetensors file of 1152921504.6 GB is read into memory; ...
    """
    room = max(min(MAX_IN_MEMORY, memory() // 2), allowed())
    if size > room:
        raise CheckpointError(
            f"{what} of {size / 1e9:.1f} GB is read into memory; at most {room / 1e9:.1f} GB are "
            "accepted here: --max-memory allows more"
        )


def memory() -> int:
    """Bytes of memory that this process may have: of the machine, or by a limit that was set."""
    sizes = [MAX_IN_MEMORY * 2]
    with contextlib.suppress(ValueError, OSError, AttributeError):
        sizes.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            sizes.append(limit)
    return min(sizes)


def read_float32(name: str, entry: Entry, shape: Shape) -> Float32:
    """The values of a tensor, if it has this shape and is made of finite floats.

    Raises `CheckpointError` that names the tensor.
    """
    if entry.type_name not in FLOATS:
        raise CheckpointError(f"the tensor {shown(name)} is {entry.type_name}; a float is needed")
    if entry.shape != shape:
        raise CheckpointError(f"the tensor {shown(name)} has shape {entry.shape}; expected {shape}")
    values = entry.read()
    with np.errstate(over="ignore"):  # a float64 beyond float32 is refused as an infinity
        result = np.ascontiguousarray(values, np.float32).reshape(shape)
    check_finite(name, result)
    return result


def read_typed(name: str, entry: Entry, shape: Shape, types: tuple[str, ...]) -> Array:
    """The values of a tensor as a parameter of these types: float32, or whole numbers unchanged.

    Raises `CheckpointError` as `read_float32`.
    """
    if types == REAL:
        return read_float32(name, entry, shape)
    if entry.type_name not in types:
        raise CheckpointError(
            f"the tensor {shown(name)} is {entry.type_name}; {' or '.join(types)} is needed"
        )
    if entry.shape != shape:
        raise CheckpointError(f"the tensor {shown(name)} has shape {entry.shape}; expected {shape}")
    return np.ascontiguousarray(entry.read()).reshape(shape)


def widened(data: bytes, type_name: str) -> Array:
    r"""The numbers that little-endian bytes hold; bfloat16 as float32.

    >>> widened(b"\x80\x3f", "bfloat16")
    array([1.], dtype=float32)
    """
    if type_name == "bfloat16":
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(data, np.dtype(type_name).newbyteorder("<"))


def width_of(type_name: str) -> int:
    """Bytes of one number of a type.

    >>> width_of("bfloat16"), width_of("float64")
    (2, 8)
    """
    return 2 if type_name == "bfloat16" else np.dtype(type_name).itemsize
