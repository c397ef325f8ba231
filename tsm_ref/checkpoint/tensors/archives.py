"""Archives that people keep models in: what is inside, and which reader takes it.

A zip may be PyTorch's own (``data.pkl``), NumPy's (``.npz``), Keras's (``.keras``), an exported
program (``.pt2``), or a folder around one model. What only wraps is unwrapped; for the rest one
sentence says how to save it anew.
"""

import json
import struct
import zipfile
from functools import partial
from math import prod
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from tsm_ref.checkpoint.contents import Array, shown
from tsm_ref.checkpoint.disk import StrPath, read_head
from tsm_ref.checkpoint.tensors.files import Entries, Entry, TensorFile, widened, width_of
from tsm_ref.checkpoint.tensors.safetensors import read_safetensors
from tsm_ref.checkpoint.tensors.torch import ZIP_HEAD, read_torch
from tsm_ref.errors import CheckpointError
from tsm_ref.ops_table import Shape

MAX_MEMBERS = 100_000
MAX_HEADER = 2**16

_DAMAGE = (zipfile.BadZipFile, OSError, EOFError, RuntimeError, ValueError, struct.error)

MODEL_ENDINGS = (
    *(".pth", ".pt", ".pth.tar", ".ckpt", ".pdparams", ".bin", ".th", ".tar"),
    *(".onnx", ".h5", ".hdf5", ".keras", ".safetensors"),
)
"""The endings of files that may be models, inside an archive."""


def read_zip(path: StrPath) -> TensorFile:
    """The tensors of a zip archive of PyTorch or NumPy; raises `CheckpointError` for any other."""
    readers = {"torch": read_torch, "npz": read_npz, "pt2": read_pt2}
    kind = kind_of_zip(path)
    if kind not in readers:
        raise refusal(path)
    return readers[kind](path)


def kind_of_zip(path: StrPath) -> str:
    """What a zip archive is: "torch", "npz", "keras", "pt2" or "folder".

    Raises `CheckpointError` for one that cannot be opened, or has too many members.
    """
    names = [info.filename for info in members(path)]
    if any(name == "data.pkl" or name.endswith("/data.pkl") for name in names):
        return "torch"
    if {"config.json", "model.weights.h5"} <= set(names):
        return "keras"
    if any(name.endswith(("archive_format", "serialized_exported_program.json")) for name in names):
        return "pt2"
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    return "folder"


def members(path: StrPath) -> list[zipfile.ZipInfo]:
    """The members of a zip archive; nothing of them is read."""
    try:
        with zipfile.ZipFile(path) as archive:
            found = archive.infolist()
    except _DAMAGE:
        raise CheckpointError("the zip archive is cut off or damaged") from None
    if len(found) > MAX_MEMBERS:
        raise CheckpointError(f"the zip archive has {len(found)} members; at most {MAX_MEMBERS}")
    return found


def refusal(path: StrPath) -> CheckpointError:
    """Why a zip archive is no model, and what to do about it."""
    names = [info.filename for info in members(path) if not info.is_dir()]
    models = [name for name in names if name.lower().endswith(MODEL_ENDINGS)]
    if not names:
        return CheckpointError("the zip archive is empty, or cut off in front of its members")
    if models:
        first = ", ".join(map(shown, models[:3])) + (", ..." if models[3:] else "")
        return CheckpointError(
            f"this is a zip archive around other files ({first}): unpack it with "
            "`python -m zipfile -e FILE FOLDER`, and give the file inside"
        )
    return CheckpointError(
        f"the zip archive is not PyTorch's: it has no data.pkl (the first member is "
        f"{shown(names[0])})"
    )


# NumPy


def read_npz(path: StrPath) -> TensorFile:
    """The arrays of an ``.npz`` file, whose names are those of tensors; read one at a time.

    Raises `CheckpointError` for arrays of objects, and for members that are not as long as their
    shape says.
    """
    entries = {}
    for info in members(path):
        name = info.filename.removesuffix(".npy")
        if name in entries:
            raise CheckpointError(f"the zip archive has two members named {shown(info.filename)}")
        shape, dtype, fortran, start = _npy_header(path, info)
        size = prod(shape) * dtype.itemsize
        if dtype.kind not in "fiub" or info.file_size != start + size:
            raise CheckpointError(
                f"the array {shown(name)} is not made of numbers, or not as long as its shape says"
            )
        kind = dtype.newbyteorder("=").name
        read = partial(_npy_values, path, info, dtype, fortran, start, shape)
        entries[name] = Entry(shape, kind, read)
    return TensorFile({"": entries}, "npz", 1)


def _npy_header(path: StrPath, info: zipfile.ZipInfo) -> tuple[Shape, Any, bool, int]:
    form = np.lib.format
    try:
        with zipfile.ZipFile(path) as archive, archive.open(info) as file:
            version = form.read_magic(file)
            read = {(1, 0): form.read_array_header_1_0, (2, 0): form.read_array_header_2_0}[version]
            shape, fortran, dtype = read(file, max_header_size=MAX_HEADER)
            return shape, dtype, fortran, file.tell()
    except (*_DAMAGE, KeyError, TypeError, SyntaxError, TokenError, MemoryError, RecursionError):
        raise CheckpointError(f"the array {shown(info.filename)} has no header of NumPy") from None


def _npy_values(
    path: StrPath, info: zipfile.ZipInfo, dtype: Any, fortran: bool, start: int, shape: Shape
) -> Array:
    """The numbers, no more than the header says, however much the member inflates to."""
    size = prod(shape) * dtype.itemsize
    try:
        with zipfile.ZipFile(path) as archive, archive.open(info) as file:
            file.read(start)
            data = file.read(size)
    except _DAMAGE:
        raise CheckpointError(f"the zip member {shown(info.filename)} is damaged") from None
    if len(data) != size:
        raise CheckpointError(f"the zip member {shown(info.filename)} is cut off")
    flat = np.frombuffer(data, dtype)
    return flat.astype(dtype.newbyteorder("=")).reshape(shape, order="F" if fortran else "C")


# Programs that torch.export saved

EXPORTED_TYPES = {1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16",
                  7: "float32", 8: "float64", 12: "bool", 13: "bfloat16"}  # fmt: skip
"""The numbers by which an exported program names types of tensors."""

MAX_CONFIG = 2**24


def read_pt2(path: StrPath) -> TensorFile:
    """The weights of a program that ``torch.export`` saved (PyTorch 2.8 and later), by name.

    Raises `CheckpointError` for older ones, which keep them otherwise.
    """
    found = {info.filename: info for info in members(path)}
    table = next((name for name in found if name.endswith("weights/model_weights_config.json")), "")
    if not table:
        raise CheckpointError(
            "the exported program is of an older PyTorch; save its weights anew with "
            "`torch.save(torch.export.load(FILE).state_dict(), 'weights.pth')`"
        )
    if found[table].file_size > MAX_CONFIG:
        raise CheckpointError(f"the table of weights is larger than {MAX_CONFIG} bytes")
    folder = table.rpartition("/")[0]
    try:
        config = json.loads(_whole(path, found[table]))["config"]
        entries = {
            name: _exported(path, name, weight, found.get(f"{folder}/{weight['path_name']}"))
            for name, weight in config.items()
        }
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError):
        raise CheckpointError("the table of weights of the exported program is damaged") from None
    return TensorFile({"": entries}, "torch export", 1)


def _exported(path: StrPath, name: str, weight: Any, info: zipfile.ZipInfo | None) -> Entry:
    meta = weight["tensor_meta"]
    shape, strides = (tuple(size["as_int"] for size in meta[key]) for key in ("sizes", "strides"))
    kind = EXPORTED_TYPES.get(meta["dtype"], "")
    usual = tuple(prod(shape[i + 1 :]) for i in range(len(shape)))
    plain = all(type(size) is int and size >= 0 for size in shape)
    if info is None or not kind or not plain or weight["use_pickle"]:
        raise CheckpointError(f"the weight {shown(name)} of the exported program is not in it")
    loose = [i for i, size in enumerate(shape) if size > 1 and strides[i] != usual[i]]
    if loose or info.file_size != prod(shape) * width_of(kind):
        raise CheckpointError(f"the weight {shown(name)} is not as long as its shape says")
    return Entry(shape, kind, lambda: widened(_whole(path, info), kind).reshape(shape))


def _whole(path: StrPath, info: zipfile.ZipInfo) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive, archive.open(info) as file:
            return file.read(info.file_size)
    except _DAMAGE:
        raise CheckpointError(f"the zip member {shown(info.filename)} is damaged") from None


# Shards

MAX_SHARDS = 1000


def read_shards(path: StrPath) -> TensorFile:
    """The tensors of a model in several files, by its ``*.index.json``; the files lie beside it.

    Raises `CheckpointError` for JSON that is no such index, and for files that are elsewhere.
    """
    if Path(path).stat().st_size > MAX_CONFIG:
        raise CheckpointError(f"the index has more than {MAX_CONFIG} bytes")
    try:
        places = json.loads(Path(path).read_bytes())["weight_map"]
        files = sorted(set(places.values()))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise CheckpointError("this is JSON, and no index of the shards of a model") from None
    if len(files) > MAX_SHARDS or not all(_beside(name) for name in files):
        raise CheckpointError("the index names too many files, or files in other folders")
    entries: dict[str, Entry] = {}
    for name in files:
        shard = Path(path).with_name(name)
        try:
            entries |= _shard(shard)
        except CheckpointError as error:
            raise error.about(f"the shard {shown(name)}") from None
    if set(entries) != set(places):
        raise CheckpointError("the shards do not hold the tensors that the index names")
    shards = tuple(Path(path).with_name(name) for name in files)
    return TensorFile({"": entries}, f"{len(files)} shards", 1, parts=shards)


def _beside(name: Any) -> bool:
    return type(name) is str and name not in ("", ".", "..") and not set("/\\") & set(name)


def _shard(path: Path) -> Entries:
    if read_head(path).startswith((ZIP_HEAD, b"\x80")):
        return read_torch(path).entries
    return read_safetensors(path).entries
