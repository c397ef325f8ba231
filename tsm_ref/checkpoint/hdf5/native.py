"""Our own model file: HDF5 with the graph, the profile, and one checked dataset per parameter.

``weights/FORMAT.md`` describes the layout on one page.
"""

import hashlib
import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from tsm_ref.checkpoint.contents import (
    Array,
    Checkpoint,
    check_finite,
    check_names,
    check_scales,
    shown,
)
from tsm_ref.checkpoint.disk import StrPath, sha256_of, write_whole
from tsm_ref.checkpoint.hdf5.guard import GuardedFile, Stored, import_h5py, open_hdf5, read_tensor
from tsm_ref.errors import CheckpointError, GraphError, UsageError
from tsm_ref.graph import Graph
from tsm_ref.graph_json import from_json, to_json
from tsm_ref.op_attributes import REAL
from tsm_ref.ops_table import DYNAMIC, SUMS
from tsm_ref.profile import Profile

FORMAT = "tsm-ref checkpoint"
VERSION = 1
KNOWN_VERSIONS = (1,)
STORAGES: Mapping[str, str] = {"float32": "<f4", "float16": "<f2"}
MAX_JSON_BYTES = 2**22
TEXTS = ("graph", "profile", "extra")
WEIGHTS = "weights"


def save(
    path: StrPath,
    graph: Graph,
    weights: Mapping[str, Array],
    profile: Profile,
    *,
    storage: str = "float32",
    extra: Mapping[str, str] | None = None,
) -> str:
    """Write a model file, whole or not at all, and return the SHA-256 of the file.

    ``weights`` must name exactly the parameters of the graph, with their shapes, as finite floats,
    or as the whole numbers that a quantised layer reads. ``storage`` rounds the floats to "float32"
    or "float16", but not the scales of quantised layers; ``extra`` are free notes such as a
    licence.
    The same arguments always give the same bytes.

    Raises `UsageError` for another storage, `CheckpointError` where the weights do not fit the
    graph or overflow it, and `WriteError` where the file cannot be written; an older file of that
    name then stays as it was.

    >>> import tempfile
    >>> from tsm_ref.models import build_ts_can
    >>> from tsm_ref.models.weights import random_weights
    >>> from tsm_ref.profile import PROFILES
    >>> graph = build_ts_can()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     digest = save(f"{folder}/m.h5", graph, random_weights(graph), PROFILES["mtts-can"])
    ...     load(f"{folder}/m.h5").sha256 == digest
    True
    """
    if storage not in STORAGES:
        raise UsageError(f"`storage` (={storage!r}) must be one of {tuple(STORAGES)}")
    check_names(graph.parameters, weights)
    texts = {
        "graph": to_json(graph),
        "profile": profile.to_json(),
        "extra": json.dumps(dict(extra or {})),
    }
    kept = {
        name: _stored(name, weights[name], graph.parameters[name], types)
        for name, types in _types(graph, storage).items()
    }
    check_scales(graph, kept)
    data = _image({name: _encoded(name, text) for name, text in texts.items()}, kept, storage)
    write_whole(path, data)
    return hashlib.sha256(data).hexdigest()


def load(path: StrPath) -> Checkpoint:
    """Read a model file that `save` wrote; everything is checked before it is believed.

    The graph says which tensors there must be; each is compared by name, shape and type before it
    is read, and by its SHA-256 after. Floats are widened to float32.

    Raises `CheckpointError` in one sentence that names the tensor at fault.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "m.h5").write_text("not a model")
    ...     load(f"{folder}/m.h5")
    Traceback (most recent call last):
    tsm_ref.errors.CheckpointError: this is not an HDF5 file: it does not begin with its signature
    """
    with open_hdf5(path) as file:
        return read(file, path)


def read(file: GuardedFile, path: StrPath) -> Checkpoint:
    """`load` of a file that is open; `path` is where it lies."""
    version, storage = _header(file)
    graph = _graph(_text(file, "graph"))
    profile = Profile.from_json(_text(file, "profile"))
    extra = _notes(_text(file, "extra"))
    return Checkpoint(
        graph=graph,
        weights=_weights(file, graph, storage),
        profile=profile,
        sha256=sha256_of(path),
        storage=storage,
        path=Path(path),
        format=FORMAT,
        format_version=version,
        extra=extra,
    )


def key_of(name: str) -> str:
    """The name of a parameter as one HDF5 name: "/" and what is not plain ASCII become %XX.

    >>> key_of("layer1.0.conv1.weight"), key_of("conv/kernel:0")
    ('layer1.0.conv1.weight', 'conv%2Fkernel%3A0')
    """
    try:
        key = quote(name, safe="")
    except UnicodeEncodeError:
        key = ""
    if not key:
        raise CheckpointError(f"{shown(name)} is not a name that a file can hold")
    return key.replace(".", "%2E") if key in (".", "..") else key


def _types(graph: Graph, storage: str) -> Mapping[str, tuple[str, ...]]:
    """The types in which a file may keep each parameter: of floats it is one.

    What a quantised layer reads is kept as it is: its meaning is exact.
    """
    exact = {name for node in graph.nodes if node.op in (*SUMS, *DYNAMIC) for name in node.inputs}
    return {
        name: types if types != REAL or name in exact else (storage,)
        for name, types in graph.parameter_types.items()
    }


def _stored(name: str, values: Array, shape: tuple[int, ...], types: tuple[str, ...]) -> Array:
    """One tensor in its stored type, after every check that `load` will make."""
    values = np.asarray(values)
    where = f"the tensor {shown(name)}"
    if values.shape != shape:
        raise CheckpointError(f"{where} has the shape {values.shape}; expected {shape}")
    if types[0] in STORAGES:
        if values.dtype.kind != "f":
            raise CheckpointError(f"{where} has the type {values.dtype}; a float type is needed")
        return _rounded(name, values, types[0])
    if values.dtype.name not in types:
        raise CheckpointError(
            f"{where} has the type {values.dtype}; {' or '.join(types)} is needed"
        )
    little = values.dtype.newbyteorder("<")
    return np.ascontiguousarray(values, little).reshape(shape)


def _rounded(name: str, values: Array, storage: str) -> Array:
    where = f"the tensor {shown(name)}"
    check_finite(name, values)
    with np.errstate(over="ignore", under="ignore"):
        stored = np.ascontiguousarray(values, STORAGES[storage]).reshape(values.shape)
    if not np.isfinite(stored).all():
        largest = float(np.abs(values).max())
        limit = float(np.finfo(stored.dtype).max)
        raise CheckpointError(
            f"{where} reaches {largest:g}, which {storage} cannot hold (at most {limit:g})"
        )
    return stored


def _encoded(name: str, text: str) -> Array:
    data = text.encode("utf-8")
    if len(data) > MAX_JSON_BYTES:
        raise CheckpointError(
            f"the {name} takes {len(data)} bytes as JSON; at most {MAX_JSON_BYTES} are accepted"
        )
    return np.frombuffer(data, np.uint8)


def _image(texts: Mapping[str, Array], weights: Mapping[str, Array], storage: str) -> bytes:
    """The bytes of the file, made in memory: a full disk can then never leave half an HDF5 file."""
    h5py = import_h5py()
    size = sum(a.nbytes for a in (*texts.values(), *weights.values()))
    with h5py.File(
        "image", "w", driver="core", backing_store=False, block_size=size + 2**16, libver="earliest"
    ) as file:
        file.attrs["format"] = np.bytes_(FORMAT)
        file.attrs["version"] = np.int64(VERSION)
        file.attrs["storage"] = np.bytes_(storage)
        for name, values in texts.items():
            put_tensor(file, name, values)
        group = file.create_group(WEIGHTS)
        for name, values in weights.items():
            put_tensor(group, key_of(name), values)
        file.flush()
        image: bytes = file.id.get_file_image()
    return image


def put_tensor(group: Any, name: str, values: Array) -> None:
    """Write a contiguous array into a group of an open file, and its SHA-256 beside it."""
    dataset = group.create_dataset(name, data=values, track_times=False)
    dataset.attrs["sha256"] = np.bytes_(_digest(values))


def _digest(values: Array) -> str:
    return hashlib.sha256(values.data if values.size else b"").hexdigest()


def _header(file: GuardedFile) -> tuple[int, str]:
    """Format version and storage type of a file; refuses what is not ours."""
    if file.attribute("format") != FORMAT:
        raise CheckpointError(f"the HDF5 file is not a {FORMAT}: it does not say so")
    version, storage = file.attribute("version"), file.attribute("storage")
    if not isinstance(version, int) or version not in KNOWN_VERSIONS:
        known = ", ".join(str(v) for v in KNOWN_VERSIONS)
        raise CheckpointError(f"the format version is {version!r}; known is {known}")
    if not isinstance(storage, str) or storage not in STORAGES:
        raise CheckpointError(f"the storage is {storage!r}; known are {', '.join(STORAGES)}")
    return version, storage


def _text(file: GuardedFile, name: str) -> str:
    """One of the JSON texts, which are arrays of bytes."""
    stored = file.datasets.get(name)
    if stored is None:
        raise CheckpointError(f"the dataset {name!r} is missing")
    if len(stored.shape) != 1 or stored.shape[0] > MAX_JSON_BYTES:
        raise CheckpointError(
            f"the dataset {name!r} has the shape {stored.shape}; "
            f"a text of at most {MAX_JSON_BYTES} bytes is accepted"
        )
    try:
        return verified_tensor(file, stored, stored.shape, "uint8").tobytes().decode("utf-8")
    except UnicodeDecodeError:
        raise CheckpointError(f"the dataset {name!r} is not UTF-8 text") from None


def _graph(text: str) -> Graph:
    try:
        return from_json(text)
    except GraphError as error:
        raise CheckpointError(f"the graph in the file is refused: {error}") from None


def _notes(text: str) -> dict[str, str]:
    try:
        notes = json.loads(text)
    except (ValueError, RecursionError):
        notes = None
    if not isinstance(notes, dict) or not all(isinstance(v, str) for v in notes.values()):
        raise CheckpointError("the dataset 'extra' must be a JSON object of texts")
    return notes


def _weights(file: GuardedFile, graph: Graph, storage: str) -> dict[str, Array]:
    """The tensors that the graph asks for: names first, then the sum of sizes, then the values."""
    keys = {f"{WEIGHTS}/{key_of(name)}": name for name in graph.parameters}
    found = [name for name in file.datasets if name not in TEXTS]
    check_names(graph.parameters, [keys.get(name, name) for name in found])
    types = _types(graph, storage)
    total = sum(
        prod(shape) * min(np.dtype(kind).itemsize for kind in types[name])
        for name, shape in graph.parameters.items()
    )
    if total > file.size:
        raise CheckpointError(
            f"the graph asks for {total} bytes of weights; the file has {file.size}"
        )
    weights = {
        name: _tensor(file, name, file.datasets[key], graph.parameters[name], types[name])
        for key, name in keys.items()
    }
    check_scales(graph, weights)
    return weights


def _tensor(
    file: GuardedFile, name: str, stored: Stored, shape: tuple[int, ...], types: tuple[str, ...]
) -> Array:
    values = verified_tensor(file, stored, shape, *types)
    if values.dtype.kind != "f":
        return values.astype(values.dtype.newbyteorder("="), copy=False)
    check_finite(name, values)
    return values.astype(np.float32, copy=False)


def verified_tensor(
    file: GuardedFile, stored: Stored, shape: tuple[int, ...], *types: str
) -> Array:
    """The values of a dataset in the stored bytes, if they hash to what the file says."""
    values = read_tensor(stored, shape, types)
    little = values.astype(values.dtype.newbyteorder("<"), copy=False)
    if _digest(little) != file.attribute("sha256", of=stored.name):
        raise CheckpointError(f"the values of {shown(stored.name)} do not match their SHA-256")
    return little
