"""Reads .pth and .pth.tar as PyTorch writes them (zip, or one pickle after another), and .pdparams.

PyTorch is not needed, and nothing of the file is ever called: see `pickles` beside this file.
"""

import io
import os
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tsm_ref.checkpoint.contents import Array, shown
from tsm_ref.checkpoint.disk import StrPath, read_head
from tsm_ref.checkpoint.tensors.files import Entry, TensorFile, widened, width_of
from tsm_ref.checkpoint.tensors.pickle_names import NumpyArray, Storage, Tensor, numpy_values
from tsm_ref.checkpoint.tensors.pickles import read_pickle
from tsm_ref.errors import CheckpointError

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
MAX_PICKLE = 2**26
ZIP_HEAD = b"PK\x03\x04"

Fetch = Callable[[Storage], Array]

STATES = ("state_dict", "model_state_dict", "model", "net", "params")
"""Where a checkpoint keeps the tensors, if not at its top; the first that is there counts."""


def read_torch(path: StrPath) -> TensorFile:
    """The tensors of a file that PyTorch or Paddle has pickled; values are read on request.

    Raises `CheckpointError` for a file that is damaged, names anything but tensors, containers,
    numbers and texts, or whose storages are not where and as long as they should be.
    """
    if read_head(path).startswith(ZIP_HEAD):
        tree, fetch = _zipped(Path(path))
        kind = "torch zip"
    else:
        tree, fetch, kind = _streamed(Path(path))
    tensors, notes = _state_of(tree)
    entries = {name: _entry(name, value, fetch) for name, value in tensors.items()}
    return TensorFile(entries, kind, 1, notes)


# The zip format


def _zipped(path: Path) -> tuple[Any, Fetch]:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, ValueError, struct.error):
        raise CheckpointError("the zip archive is cut off or damaged") from None
    with archive:
        members = _checked_members(archive, path)
        pickles = [name for name in members if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise CheckpointError("the zip archive is not PyTorch's: it has no single data.pkl")
        root = pickles[0].removesuffix("data.pkl")
        if members[pickles[0]].file_size > MAX_PICKLE:
            raise CheckpointError(f"data.pkl is larger than the {MAX_PICKLE} bytes accepted")
        order = members.get(f"{root}byteorder")
        if order is not None and _member(archive, order).strip() != b"little":
            raise CheckpointError("the numbers of the file are big-endian; little is supported")
        tree = read_pickle(io.BytesIO(_member(archive, members[pickles[0]])))
    return tree, partial(_zip_storage, path, root)


def _checked_members(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """The members by name; refuses compression, tricks in names, and members that overlap."""
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename
        parts = name.split("/")
        if name in members or name.startswith("/") or ".." in parts or "\\" in name:
            raise CheckpointError(f"the zip archive has a member named {shown(name)}")
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise CheckpointError(f"the zip member {shown(name)} is compressed; PyTorch's are not")
        if info.flag_bits & 1:
            raise CheckpointError(f"the zip member {shown(name)} is encrypted")
        members[name] = info
    ordered = sorted(members.values(), key=lambda info: info.header_offset)
    ends = [*(info.header_offset for info in ordered[1:]), os.path.getsize(path)]
    for info, end in zip(ordered, ends, strict=True):
        if info.header_offset + 30 + len(info.filename) + info.file_size > end:
            raise CheckpointError(f"the zip member {shown(info.filename)} overlaps what follows it")
    return members


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    try:
        return archive.read(info)
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, ValueError, struct.error):
        raise CheckpointError(f"the zip member {shown(info.filename)} is damaged") from None


def _zip_storage(path: Path, root: str, storage: Storage) -> Array:
    with zipfile.ZipFile(path) as archive:
        try:
            info = archive.getinfo(f"{root}data/{storage.key}")
        except KeyError:
            raise CheckpointError(f"the storage {shown(storage.key)} is not in the file") from None
        wanted = (storage.start + storage.count) * width_of(storage.type_name)
        if info.file_size != wanted:
            raise CheckpointError(
                f"the storage {shown(storage.key)} has {info.file_size} bytes; "
                f"its type and length take {wanted}"
            )
        return widened(_member(archive, info), storage.type_name)[storage.start :]


# The formats that are one stream


def _streamed(path: Path) -> tuple[Any, Fetch, str]:
    """PyTorch's legacy format begins with a magic number; Paddle's is one plain pickle."""
    with open(path, "rb") as file:
        first = read_pickle(file)
        if first != MAGIC:
            return first, _no_storage, "paddle"
        if read_pickle(file) != PROTOCOL:
            raise CheckpointError(f"the legacy PyTorch file is not of the protocol {PROTOCOL}")
        system = read_pickle(file)
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise CheckpointError("the numbers of the file are big-endian; little is supported")
        tree = read_pickle(file)
        keys = read_pickle(file)
        places = _storage_places(file, tree, keys)
    return tree, partial(_stream_storage, path, places), "torch legacy"


def _storage_places(file: BinaryIO, tree: Any, keys: Any) -> dict[str, tuple[int, int]]:
    """Where each storage begins, and how long it is: eight bytes of length, then the numbers."""
    types = {s.key: s.type_name for s in _storages(tree)}
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(types):
        raise CheckpointError("the storages that the file lists are not those of its tensors")
    size = os.fstat(file.fileno()).st_size
    places = {}
    for key in map(str, keys):
        count = int.from_bytes(file.read(8), "little")
        start = file.tell()
        end = start + count * width_of(types[key])
        if end > size:
            raise CheckpointError(f"the storage {shown(key)} goes past the end of the file")
        places[key] = (start, count)
        file.seek(end)
    return places


def _storages(tree: Any) -> Iterator[Storage]:
    """Every storage in nested containers, each container visited once."""
    seen: set[int] = set()
    waiting = [tree]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Tensor):
            yield value.storage
        elif isinstance(value, Storage):
            yield value
        elif isinstance(value, dict | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            waiting.extend(value.values() if isinstance(value, dict) else value)


def _stream_storage(path: Path, places: Mapping[str, tuple[int, int]], storage: Storage) -> Array:
    start, count = places[storage.key]
    if storage.start + storage.count > count:
        raise CheckpointError(
            f"the storage {shown(storage.key)} has {count} numbers; "
            f"{storage.start + storage.count} are asked for"
        )
    width = width_of(storage.type_name)
    with open(path, "rb") as file:
        file.seek(start + storage.start * width)
        return widened(file.read(storage.count * width), storage.type_name)


def _no_storage(storage: Storage) -> Array:
    raise CheckpointError(f"the storage {shown(storage.key)} is not in the file")


# The tree


def _state_of(tree: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """The tensors by name, and the texts and numbers that stand beside them."""
    if not isinstance(tree, dict):
        raise CheckpointError("the file holds no dictionary of tensors")
    inner = next((tree[k] for k in STATES if isinstance(tree.get(k), dict)), None)
    notes = {
        str(key): str(value)
        for key, value in tree.items()
        if isinstance(value, str | int | float) and inner is not None
    }
    found = {}
    for name, value in (tree if inner is None else inner).items():
        if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], NumpyArray):
            value = value[1]  # Paddle writes (name, array)
        if isinstance(name, str) and isinstance(value, Tensor | NumpyArray):
            found[name] = value
    if not found:
        raise CheckpointError("the file holds no tensors by name")
    return found, notes


def _entry(name: str, value: Tensor | NumpyArray, fetch: Fetch) -> Entry:
    if isinstance(value, NumpyArray):
        values = numpy_values(value)
        return Entry(values.shape, values.dtype.name, lambda: values)
    storage = value.storage
    last = value.offset + sum((n - 1) * s for n, s in zip(value.shape, value.strides, strict=True))
    if prod(value.shape) and last >= storage.count:
        raise CheckpointError(
            f"the tensor {shown(name)} reads number {last} of a storage of {storage.count}"
        )
    if prod(value.shape) > storage.count:
        raise CheckpointError(
            f"the tensor {shown(name)} of shape {value.shape} repeats its {storage.count} numbers"
        )
    return Entry(value.shape, storage.type_name, partial(_strided, value, fetch))


def _strided(tensor: Tensor, fetch: Fetch) -> Array:
    """The numbers of a tensor in row-major order."""
    flat = fetch(tensor.storage)
    index = np.full(tensor.shape, tensor.offset, np.int64)
    for axis, (size, stride) in enumerate(zip(tensor.shape, tensor.strides, strict=True)):
        index += (np.arange(size) * stride).reshape(-1, *[1] * (len(tensor.shape) - axis - 1))
    return np.asarray(flat[index])
