"""The tensors of an ONNX file as arrays, out of the message itself or out of a file beside it."""

import os
import stat
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.checkpoint.contents import shown
from tsm_ref.errors import CheckpointError

Array = NDArray[Any]

MAX_ELEMENTS = 2**27

DTYPES: Mapping[int, tuple[str, str]] = {
    1: ("float32", "<f4"),
    2: ("uint8", "|u1"),
    3: ("int8", "|i1"),
    4: ("uint16", "<u2"),
    5: ("int16", "<i2"),
    6: ("int32", "<i4"),
    7: ("int64", "<i8"),
    9: ("bool", "|b1"),
    10: ("float16", "<f2"),
    11: ("float64", "<f8"),
    12: ("uint32", "<u4"),
    13: ("uint64", "<u8"),
    16: ("bfloat16", "<u2"),
}
"""The tensor types that are read: name, and how a value lies in the file."""

OTHER_TYPES: Mapping[int, str] = {
    0: "undefined", 8: "string", 14: "complex64", 15: "complex128", 17: "float8e4m3fn",
    18: "float8e4m3fnuz", 19: "float8e5m2", 20: "float8e5m2fnuz", 21: "uint4", 22: "int4",
    23: "float4e2m1", 24: "float8e8m0", 25: "uint2", 26: "int2", 27: "float6e2m3",
    28: "float6e3m2",
}  # fmt: skip
"""The tensor types that are not read, by the name that ONNX gives them."""


def type_name(number: Any) -> str:
    """The name of a tensor type.

    >>> type_name(1), type_name(22), type_name(99)
    ('float32', 'int4', 'with the unknown number 99')
    """
    known = {n: kind for n, (kind, _) in DTYPES.items()} | dict(OTHER_TYPES)
    return known.get(number, f"with the unknown number {number}")


class Tensors:
    """Turns the tensors of a file into arrays; knows where external ones may be."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.float_types: list[str] = []

    def array(self, tensor: Any, name: str) -> Array:
        """The values of a tensor, floats of half precision widened exactly to float32."""
        where = f"the tensor {shown(name)}"
        if tensor.data_type not in DTYPES:
            raise CheckpointError(
                f"{where} has the type {type_name(tensor.data_type)}; supported are "
                f"{', '.join(kind for kind, _ in DTYPES.values())}"
            )
        kind, stored = DTYPES[tensor.data_type]
        shape = tuple(int(size) for size in tensor.dims)
        if any(size < 0 for size in shape):
            raise CheckpointError(f"{where} has the shape {shape}; a size cannot be negative")
        if prod(shape) > MAX_ELEMENTS:
            raise CheckpointError(
                f"{where} declares {prod(shape)} values; at most {MAX_ELEMENTS} are accepted"
            )
        dtype = np.dtype(stored)
        if tensor.data_location == 1 or len(tensor.external_data):
            data = self._external(tensor, where, prod(shape) * dtype.itemsize)
            flat = np.frombuffer(data, dtype)
        elif tensor.HasField("raw_data"):
            flat = _raw(tensor.raw_data, dtype, prod(shape), where)
        else:
            flat = _typed(tensor, kind, dtype, prod(shape), where)
        if kind.startswith(("float", "bfloat")):
            self.float_types.append(kind)
        return _widened(flat, kind).reshape(shape)

    def _external(self, tensor: Any, where: str, size: int) -> bytes:
        """Bytes from beside the file: a plain name, no link of any kind, inside the file."""
        facts = {entry.key: entry.value for entry in tensor.external_data}
        name = facts.get("location", "")
        plain = name == os.path.basename(name) and "\\" not in name
        if self.folder is None or not plain or name in ("", ".", ".."):
            raise CheckpointError(
                f"{where} is kept in {shown(name)}; only a plain file name beside the model is read"
            )
        try:
            offset, length = int(facts.get("offset") or 0), int(facts.get("length") or size)
        except ValueError:
            offset = length = -1
        if offset < 0 or length != size:
            raise CheckpointError(f"{where} takes {size} bytes; its external length is {length}")
        try:
            handle = os.open(self.folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except (OSError, ValueError):
            raise CheckpointError(
                f"{where} is kept in {shown(name)}, which is no plain file beside the model"
            ) from None
        try:
            facts_of = os.fstat(handle)
            if not stat.S_ISREG(facts_of.st_mode) or facts_of.st_nlink != 1:
                raise CheckpointError(f"{where} is kept in {shown(name)}, a link or no plain file")
            if offset + size > facts_of.st_size:
                raise CheckpointError(f"{where} lies past the end of {shown(name)}")
            with open(handle, "rb", closefd=False) as file:
                file.seek(offset)
                return file.read(size)
        finally:
            os.close(handle)


def _raw(data: bytes, dtype: np.dtype[Any], count: int, where: str) -> Array:
    if len(data) != count * dtype.itemsize:
        raise CheckpointError(
            f"{where} has {len(data)} bytes; its shape and type take {count * dtype.itemsize}"
        )
    return np.frombuffer(data, dtype)


def _typed(tensor: Any, kind: str, dtype: np.dtype[Any], count: int, where: str) -> Array:
    """Values that stand one by one in the message."""
    fields = {"float32": "float_data", "float64": "double_data", "int64": "int64_data"}
    fields |= dict.fromkeys(("uint32", "uint64"), "uint64_data")
    values = getattr(tensor, fields.get(kind, "int32_data"))
    if len(values) != count:
        raise CheckpointError(f"{where} has {len(values)} values; its shape takes {count}")
    if kind in ("float16", "bfloat16"):
        return np.array(values, np.int64).astype(np.uint16).view(dtype)
    return np.array(values).astype(dtype)


def _widened(flat: Array, kind: str) -> Array:
    if kind == "bfloat16":
        return (flat.astype(np.uint32) << 16).view(np.float32)
    return flat.astype(np.float32) if kind == "float16" else flat
