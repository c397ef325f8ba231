"""Reads and writes safetensors files with the safetensors library, where it is installed."""

import json
from collections.abc import Mapping
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from tsm_ref.checkpoint.contents import (
    Array,
    Checkpoint,
    check_names,
    check_scales,
    shown,
    under,
)
from tsm_ref.checkpoint.disk import StrPath, sha256_of, write_whole
from tsm_ref.checkpoint.tensors.architectures import load_tensors
from tsm_ref.checkpoint.tensors.files import Entry, TensorFile, read_typed, widened
from tsm_ref.errors import CheckpointError, GraphError, MissingDependency
from tsm_ref.graph import Graph
from tsm_ref.graph_json import from_json, to_json
from tsm_ref.op_attributes import REAL
from tsm_ref.ops_table import Shape
from tsm_ref.profile import Profile

GRAPH, PROFILE = "tsm_ref.graph", "tsm_ref.profile"
MAX_HEADER = 2**24

TYPES = {
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}


def _library() -> Any:
    try:
        import safetensors.numpy
    except ImportError:
        raise MissingDependency("safetensors", "read or write safetensors files") from None
    return safetensors


def read_safetensors(path: StrPath) -> TensorFile:
    """The tensors of a safetensors file; values are read on request, one tensor at a time.

    The library checks that tensors neither overlap nor leave holes, and that they end with the
    file. Raises `CheckpointError` for a file that is damaged or names a tensor twice.
    """
    library = _library()
    header, start = _header(path)
    try:
        with library.safe_open(path, framework="numpy"):
            pass
    except Exception as error:  # the library has its own error, and its language others
        raise CheckpointError(f"the safetensors file is damaged: {str(error)[:100]!a}") from None
    notes = header.pop("__metadata__", {})
    entries = {}
    for name, facts in header.items():
        kind = TYPES.get(facts["dtype"])
        if kind is None:
            raise CheckpointError(f"the tensor {shown(name)} has the type {facts['dtype']}")
        shape, (begin, end) = tuple(facts["shape"]), facts["data_offsets"]
        read = partial(_values, path, start + begin, end - begin, kind, shape)
        entries[name] = Entry(shape, kind, read)
    return TensorFile({"": entries}, "safetensors", 1, notes)


def _header(path: StrPath) -> tuple[dict[str, Any], int]:
    """What the file says of its tensors, and where their numbers begin."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > MAX_HEADER:
            raise CheckpointError(
                f"the safetensors file has a header of {length} bytes; at most {MAX_HEADER} are "
                "accepted"
            )
        text = file.read(length)
    try:
        header = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"the safetensors file is damaged: {str(error)[:100]!a}") from None
    if type(header) is not dict:
        raise CheckpointError("the safetensors file is damaged: its header is no object")
    return header, 8 + length


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; raises `CheckpointError` where it has a key twice."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise CheckpointError(f"the safetensors file names {shown(key)} twice")
        found[key] = value
    return found


def _values(path: StrPath, start: int, length: int, kind: str, shape: Shape) -> Array:
    with open(path, "rb") as file:
        file.seek(start)
        flat = widened(file.read(length), kind)
    if flat.size != prod(shape):
        raise CheckpointError(f"{flat.size} values do not make the shape {shape}")
    return flat.reshape(shape)


def load_safetensors(
    path: StrPath, profile: Profile | None = None, options: Mapping[str, Any] | None = None
) -> Checkpoint:
    """A checkpoint out of a safetensors file: ours with its graph, others by their names.

    Raises `CheckpointError` where the tensors are not those of the network.
    """
    file = read_safetensors(path)
    if GRAPH not in file.notes:
        return load_tensors(file, path, profile, options)
    try:
        graph = from_json(file.notes[GRAPH])
    except GraphError as error:
        raise CheckpointError(f"the graph in the file is refused: {error}") from None
    stored = Profile.from_json(file.notes.get(PROFILE, ""))
    check_names(graph.parameters, file.entries)
    weights = {
        name: read_typed(name, file.entries[name], shape, graph.parameter_types[name])
        for name, shape in graph.parameters.items()
    }
    check_scales(graph, weights)
    own = (GRAPH, PROFILE)
    return Checkpoint(
        graph=graph,
        weights=weights,
        profile=stored if profile is None else under(stored, profile),
        sha256=sha256_of(path),
        storage="float32",
        path=Path(path),
        format=file.format,
        format_version=file.format_version,
        extra={key: value for key, value in file.notes.items() if key not in own},
    )


def save_safetensors(
    path: StrPath,
    graph: Graph,
    weights: Mapping[str, Array],
    profile: Profile,
    extra: Mapping[str, str] | None = None,
) -> None:
    """Write a checkpoint as a safetensors file, whole or not at all; graph and profile as notes.

    The same arguments always give the same bytes.

    Raises `MissingDependency` without the safetensors library, `CheckpointError` for weights that
    do not fit the graph, and `WriteError` where the file cannot be written.
    """
    check_names(graph.parameters, weights)
    arrays = {
        name: _kept(name, weights[name], graph.parameter_types[name]).reshape(shape)
        for name, shape in graph.parameters.items()
    }
    notes = {**(extra or {}), GRAPH: to_json(graph), PROFILE: profile.to_json()}
    write_whole(path, _ordered(_library().numpy.save(arrays, notes)))


def _kept(name: str, values: Array, types: tuple[str, ...]) -> Array:
    """A tensor in the type of its parameter; whole numbers are never rounded."""
    if types == REAL:
        return np.ascontiguousarray(values, np.float32)
    if values.dtype.name not in types:
        raise CheckpointError(f"the tensor {shown(name)} is {values.dtype}, not {types[0]}")
    return np.ascontiguousarray(values)


def _ordered(data: bytes) -> bytes:
    """The same file with its notes in the order of their names, which the library does not keep."""
    begin = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:begin])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(dict(sorted(header.items())), separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[begin:]
