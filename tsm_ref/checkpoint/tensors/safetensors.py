"""Reads and writes safetensors files with the safetensors library, where it is installed."""

import json
from collections.abc import Mapping
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from tsm_ref.checkpoint.contents import Array, Checkpoint, Float32, check_names, shown, under
from tsm_ref.checkpoint.disk import StrPath, sha256_of, write_whole
from tsm_ref.checkpoint.tensors.architectures import load_tensors
from tsm_ref.checkpoint.tensors.files import Entry, TensorFile, read_float32, widened
from tsm_ref.errors import CheckpointError, GraphError, MissingDependency
from tsm_ref.graph import Graph
from tsm_ref.profile import Profile

GRAPH, PROFILE = "tsm_ref.graph", "tsm_ref.profile"

TYPES = {
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "I64": "int64",
    "I32": "int32",
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
    """The tensors of a safetensors file; raises `CheckpointError` for one that is damaged.

    The library checks the header: its length, that tensors neither overlap nor leave holes, and
    that they end with the file.
    """
    library = _library()
    data = Path(path).read_bytes()
    try:
        tensors = library.deserialize(data)
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
    except Exception as error:  # the library has its own error, and its language others
        raise CheckpointError(f"the safetensors file is damaged: {error}") from None
    entries = {}
    for name, facts in tensors:
        kind = TYPES.get(facts["dtype"])
        if kind is None:
            raise CheckpointError(f"the tensor {shown(name)} has the type {facts['dtype']}")
        entries[name] = Entry(tuple(facts["shape"]), kind, partial(_values, facts, kind))
    return TensorFile(entries, "safetensors", 1, header.get("__metadata__", {}))


def _values(facts: Mapping[str, Any], kind: str) -> Array:
    shape = tuple(facts["shape"])
    flat = widened(bytes(facts["data"]), kind)
    if flat.size != prod(shape):
        raise CheckpointError(f"{flat.size} values do not make the shape {shape}")
    return flat.reshape(shape)


def load_safetensors(path: StrPath, profile: Profile | None = None) -> Checkpoint:
    """A checkpoint out of a safetensors file: ours with its graph, others by their names.

    Raises `CheckpointError` where the tensors are not those of the network.
    """
    file = read_safetensors(path)
    if GRAPH not in file.notes:
        return load_tensors(file, path, profile)
    try:
        graph = Graph.from_json(file.notes[GRAPH])
    except GraphError as error:
        raise CheckpointError(f"the graph in the file is refused: {error}") from None
    stored = Profile.from_json(file.notes.get(PROFILE, ""))
    check_names(graph.parameters, file.entries)
    weights = {
        name: read_float32(name, file.entries[name], shape)
        for name, shape in graph.parameters.items()
    }
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
    weights: Mapping[str, Float32],
    profile: Profile,
    extra: Mapping[str, str] | None = None,
) -> None:
    """Write a checkpoint as a safetensors file, whole or not at all; graph and profile as notes.

    Raises `MissingDependency` without the safetensors library, `CheckpointError` for weights that
    do not fit the graph, and `WriteError` where the file cannot be written.
    """
    check_names(graph.parameters, weights)
    arrays = {
        name: np.ascontiguousarray(weights[name], np.float32).reshape(shape)
        for name, shape in graph.parameters.items()
    }
    notes = {**(extra or {}), GRAPH: graph.to_json(), PROFILE: profile.to_json()}
    write_whole(path, _library().numpy.save(arrays, notes))
