"""Reads .pth and .pth.tar as PyTorch writes them (zip, or one pickle after another), and .pdparams.

PyTorch is not needed, and nothing of the file is ever called: see `pickles` beside this file.
"""

import io
import os
import struct
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tsm_ref.checkpoint.contents import Array, shown
from tsm_ref.checkpoint.disk import StrPath, read_head
from tsm_ref.checkpoint.tensors.epic_kitchens import facts_of_settings
from tsm_ref.checkpoint.tensors.files import Entry, TensorFile, check_room, widened, width_of
from tsm_ref.checkpoint.tensors.mmengine import facts_of_meta
from tsm_ref.checkpoint.tensors.pickle_names import NumpyArray, Storage, Tensor, numpy_values
from tsm_ref.checkpoint.tensors.pickles import Pickled, read_pickle, walk_pickle
from tsm_ref.checkpoint.tensors.states import tensor_sets
from tsm_ref.errors import CheckpointError

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
MAX_PICKLE = 2**26
MAX_LINE = 2**16
ZIP_HEAD = b"PK\x03\x04"

Fetch = Callable[[Storage], Array]

LEGACY_HEAD = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
"""The magic number of the legacy format, pickled."""


def read_torch(path: StrPath) -> TensorFile:
    """The tensors of a file that PyTorch or Paddle has pickled; values are read on request.

    Objects of unknown classes are passed over. Raises `CheckpointError` for a file that is damaged,
    holds no tensors, or whose storages are not where and as long as they should be.
    """
    head = read_head(path)
    if head.startswith(ZIP_HEAD):
        pickled, fetch = _zipped(Path(path))
        kind = "torch zip"
    elif head.startswith(LEGACY_HEAD):
        pickled, fetch = _legacy(Path(path))
        kind = "torch legacy"
    else:
        pickled, fetch = _plain(Path(path)), _no_storage
        kind = "paddle"
    return _tensor_file(pickled, fetch, kind)


# The zip format


def _zipped(path: Path) -> tuple[Pickled, Fetch]:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, ValueError, struct.error):
        raise CheckpointError("the zip archive is cut off or damaged") from None
    with archive:
        members = _checked_members(archive, path)
        if not members:
            raise CheckpointError("the zip archive is empty, or cut off in front of its members")
        pickles = [name for name in members if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise CheckpointError("the zip archive is not PyTorch's: it has no single data.pkl")
        root = pickles[0].removesuffix("data.pkl")
        if members[pickles[0]].file_size > MAX_PICKLE:
            raise CheckpointError(f"data.pkl is larger than the {MAX_PICKLE} bytes accepted")
        order = members.get(f"{root}byteorder")
        if order is not None and _member(archive, order).strip() != b"little":
            raise CheckpointError("the numbers of the file are big-endian; little is supported")
        pickled = walk_pickle(io.BytesIO(_member(archive, members[pickles[0]])))
    return pickled, partial(_zip_storage, path, root)


def _checked_members(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """The members by name; refuses tricks in names, and members that overlap."""
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename
        parts = name.split("/")
        if name in members or name.startswith("/") or ".." in parts or "\\" in name:
            raise CheckpointError(f"the zip archive has a member named {shown(name)}")
        members[name] = info
    ordered = sorted(members.values(), key=lambda info: info.header_offset)
    ends = [*(info.header_offset for info in ordered), os.path.getsize(path)][1:]
    for info, end in zip(ordered, ends, strict=True):
        if info.header_offset + 30 + len(info.filename) + info.compress_size > end:
            raise CheckpointError(f"the zip member {shown(info.filename)} overlaps what follows it")
    return members


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """The bytes of a member that must be stored as it is; TorchScript compresses its code alone."""
    name = shown(info.filename)
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
        raise CheckpointError(f"the zip member {name} is compressed; PyTorch's are not")
    if info.flag_bits & 1:
        raise CheckpointError(f"the zip member {name} is encrypted")
    try:
        return archive.read(info)
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, ValueError, struct.error):
        raise CheckpointError(f"the zip member {name} is damaged") from None


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


class _Bounded(io.BufferedReader):
    """A file of which no more bytes are read at once, or in a line, than a pickle may have."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(MAX_PICKLE, MAX_PICKLE if size is None or size < 0 else size))

    def readline(self, size: int | None = -1, /) -> bytes:
        return super().readline(MAX_LINE)


def _legacy(path: Path) -> tuple[Pickled, Fetch]:
    """PyTorch's format of before 2020: a magic number, three more pickles, then the storages."""
    with _Bounded(io.FileIO(path)) as file:
        read_pickle(file)
        if not _is_number(read_pickle(file), PROTOCOL):
            raise CheckpointError(f"the legacy PyTorch file is not of the protocol {PROTOCOL}")
        system = read_pickle(file)
        if type(system) is not dict or system.get("little_endian") is not True:
            raise CheckpointError("the numbers of the file are big-endian; little is supported")
        pickled = walk_pickle(file)
        places = _storage_places(file, pickled.storages, read_pickle(file))
    return pickled, partial(_stream_storage, path, places)


def _plain(path: Path) -> Pickled:
    """Paddle's format is one pickle that holds all the numbers, so it must fit into memory."""
    check_room(os.path.getsize(path), "a pickle that holds its numbers itself")
    with open(path, "rb") as file:
        return walk_pickle(file)


def _is_number(value: Any, wanted: int) -> bool:
    return type(value) is int and value == wanted


def _storage_places(
    file: BinaryIO, storages: Mapping[str, Storage], keys: Any
) -> dict[str, tuple[int, int]]:
    """Where each storage begins, and how long it is: eight bytes of length, then the numbers."""
    texts = type(keys) is list and all(type(key) is str or type(key) is int for key in keys)
    if not texts or sorted(map(str, keys)) != sorted(storages):
        raise CheckpointError("the storages that the file lists are not those of its tensors")
    size = os.fstat(file.fileno()).st_size
    places = {}
    for key in map(str, keys):
        count = int.from_bytes(file.read(8), "little")
        start = file.tell()
        end = start + count * width_of(storages[key].type_name)
        if end > size:
            raise CheckpointError(f"the storage {shown(key)} goes past the end of the file")
        places[key] = (start, count)
        file.seek(end)
    return places


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


def _tensor_file(pickled: Pickled, fetch: Fetch, kind: str) -> TensorFile:
    """The sets of tensors in a tree, and the texts and numbers that stand at its top."""
    tree = pickled.tree
    found = tensor_sets(tree)
    if not found:
        raise CheckpointError("the file holds no tensors by name")
    notes = {}
    if type(tree) is dict and "" not in found:
        notes = {str(k): str(v) for k, v in tree.items() if type(v) in (str, int, float)}
    sets = {
        path: {name: _entry(name, value, fetch) for name, value in values.items()}
        for path, values in found.items()
    }
    said = facts_of_meta(tree.get("meta")) if type(tree) is dict else {}
    said = {**said, **facts_of_settings(tree)}
    return TensorFile(sets, kind, 1, notes, _passed_over(pickled), said)


def _passed_over(pickled: Pickled) -> tuple[str, ...]:
    """What of a pickle was not looked at, in words."""
    lines = [f"{shown(name)} ({count})" for name, count in list(pickled.foreign.items())[:5]]
    if len(pickled.foreign) > 5:
        lines.append(f"objects of {len(pickled.foreign) - 5} more classes")
    if pickled.left_out:
        lines.append(f"entries whose keys are neither texts nor numbers ({pickled.left_out})")
    return tuple(lines)


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
    """The numbers of a tensor in row-major order; `_entry` has checked that all are in there."""
    flat = fetch(tensor.storage)
    if not prod(tensor.shape):
        return np.zeros(tensor.shape, flat.dtype)
    steps = [stride * flat.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(
        flat[tensor.offset :], tensor.shape, steps, writeable=False
    )
