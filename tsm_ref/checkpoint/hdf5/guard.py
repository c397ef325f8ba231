"""Guarded reading of any HDF5 file: its structure is judged before one value is read.

An HDF5 file is a file system of its own. Its links can point out of the file or in circles, its
datasets can live in other files, and a few kilobytes can declare, or inflate to, terabytes. So the
file is walked without following anything; what is not a plain tree of groups with plain arrays of
numbers is refused by name. A reader then asks for tensors by the shape that it expects.

Memory is bounded by what the caller expects, never by what the file claims.
"""

import contextlib
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.checkpoint.contents import shown
from tsm_ref.checkpoint.disk import StrPath, read_head
from tsm_ref.checkpoint.hdf5.heaps import check_heaps
from tsm_ref.checkpoint.hdf5.inflation import check_chunks, check_filters
from tsm_ref.errors import CheckpointError, MissingDependency

SIGNATURE = b"\x89HDF\r\n\x1a\n"
MAX_DEPTH = 32
MAX_OBJECTS = 65_536
MAX_TEXT = 65_536
MAX_LONG_TEXT = 2**23

FLOATS: Mapping[tuple[int, int, int], str] = {
    (2, 5, 10): "float16",
    (2, 8, 7): "bfloat16",
    (4, 8, 23): "float32",
    (8, 11, 52): "float64",
}
"""Floating-point types by bytes, bits of the exponent and bits of the mantissa."""

_DAMAGE = (
    OSError,
    RuntimeError,
    SystemError,
    KeyError,
    ValueError,
    TypeError,
    OverflowError,
    MemoryError,
)
"""What h5py raises when the HDF5 library meets a structure that makes no sense."""


@dataclass(frozen=True)
class Stored:
    """A dataset as the file declares it; no value has been read.

    ``type_name`` is "float16", "bfloat16", "float32", "float64" or an integer type; ``dtype`` is
    the NumPy type that holds its values exactly.
    """

    name: str
    shape: tuple[int, ...]
    type_name: str
    dtype: np.dtype[Any]
    filters: tuple[str, ...]
    handle: Any
    file_size: int

    @property
    def nbytes(self) -> int:
        """Bytes of the values in memory, by the declared shape."""
        return prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class GuardedFile:
    """An open HDF5 file whose every object has been checked; see `open_hdf5`."""

    root: Any
    size: int
    datasets: Mapping[str, Stored]

    def has_attribute(self, key: str, group: str = "") -> bool:
        """True where the root, or a group, carries an attribute of this name, whatever its type."""
        with _damage_at(f"the attribute {shown(key)}"):
            return bool(import_h5py().h5a.exists(self._group(group), key.encode()))

    def attribute(self, key: str, of: str = "") -> str | int | None:
        """A text of fixed length or an integer, attached to the root or to a dataset.

        None where there is no such attribute; raises `CheckpointError` for any other type.

        >>> import h5py, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with h5py.File(f"{folder}/x.h5", "w") as file:
        ...         file.attrs["version"] = 3
        ...     with open_hdf5(f"{folder}/x.h5") as guarded:
        ...         guarded.attribute("version"), guarded.attribute("author")
        (3, None)
        """
        owner = self.datasets[of].handle if of else self.root
        with _damage_at(f"the attribute {shown(key)}"):
            return _attribute(owner, key)

    def _group(self, path: str) -> Any:
        return import_h5py().h5o.open(self.root, path.encode()) if path else self.root

    def long_text(self, key: str, group: str = "") -> str:
        """A text of any length attached to the root or a group, as Keras keeps its networks.

        Raises `CheckpointError` where there is none, or it is longer than `MAX_LONG_TEXT` bytes.
        """
        h5py = import_h5py()
        with _damage_at(f"the attribute {shown(key)}"):
            owner = self._group(group)
            if not h5py.h5a.exists(owner, key.encode()):
                raise CheckpointError(f"the attribute {shown(key)} is missing")
            item = h5py.h5a.open(owner, key.encode())
            kind = item.get_type()
            if item.shape != () or kind.get_class() != h5py.h5t.STRING:
                raise CheckpointError(f"the attribute {shown(key)} must be one text")
            if not kind.is_variable_str() and kind.get_size() > MAX_LONG_TEXT:
                raise CheckpointError(f"the attribute {shown(key)} is too long")
            value = np.empty((), item.dtype)
            item.read(value)
            data = value.item()
        text = data if isinstance(data, bytes) else str(data).encode()
        if len(text) > MAX_LONG_TEXT:
            raise CheckpointError(f"the attribute {shown(key)} is too long")
        try:
            return text.decode("utf-8")
        except UnicodeDecodeError:
            raise CheckpointError(f"the attribute {shown(key)} is not UTF-8 text") from None


@contextlib.contextmanager
def open_hdf5(path: StrPath) -> Iterator[GuardedFile]:
    """Open an HDF5 file for reading and check its whole structure.

    Raises `CheckpointError` for a file that is not a regular HDF5 file, is truncated or damaged,
    or holds a link that is not a plain hard link, a group or dataset that is reached twice, more
    than `MAX_DEPTH` nested groups or `MAX_OBJECTS` objects, or a dataset that is virtual, external,
    filtered by anything but gzip, lzf, shuffle and fletcher32, or not made of numbers.
    Raises `MissingDependency` without h5py.

    >>> import h5py, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with h5py.File(f"{folder}/x.h5", "w") as file:
    ...         file["layer/bias"] = np.zeros(3, "float16")
    ...     with open_hdf5(f"{folder}/x.h5") as guarded:
    ...         [(d.name, d.shape, d.type_name) for d in guarded.datasets.values()]
    [('layer/bias', (3,), 'float16')]
    """
    if not read_head(path, len(SIGNATURE)) == SIGNATURE:
        raise CheckpointError("this is not an HDF5 file: it does not begin with its signature")
    h5py = import_h5py()
    check_heaps(path)
    try:
        file = h5py.File(path, "r", locking=False)
    except _DAMAGE as error:
        cut = "truncated" in str(error) or "eof" in str(error)
        state = "truncated" if cut else "damaged"
        raise CheckpointError(f"the HDF5 file is {state}: its header cannot be read") from error
    with file:
        with _damage_at("the list of its objects"):
            size = os.path.getsize(path)
            root = h5py.h5g.open(file.id, b"/")
            datasets = {d.name: d for d in _walk(h5py, root, size)}
        yield GuardedFile(root, size, datasets)


def read_tensor(
    stored: Stored,
    shape: tuple[int, ...],
    types: Collection[str] = tuple(FLOATS.values()),
) -> NDArray[Any]:
    """The values of a dataset, if it has the expected shape and one of the expected types.

    Both are compared before any memory is taken. The result has the type of the file (bfloat16
    becomes float32, which holds it exactly) and the file's byte order.

    Raises `CheckpointError` naming the tensor for another shape or type, for values that were
    never written, that lie outside the file, or that inflate to more than the shape allows.

    >>> import h5py, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with h5py.File(f"{folder}/x.h5", "w") as file:
    ...         file["bias"] = np.zeros(3, "float16")
    ...     with open_hdf5(f"{folder}/x.h5") as guarded:
    ...         read_tensor(guarded.datasets["bias"], (2,))
    Traceback (most recent call last):
    tsm_ref.errors.CheckpointError: the tensor 'bias' has the shape (3,); expected (2,)
    """
    where = f"the tensor {shown(stored.name)}"
    if stored.type_name not in types:
        accepted = ", ".join(types)
        raise CheckpointError(f"{where} has the type {stored.type_name}; accepted: {accepted}")
    if stored.shape != tuple(shape):
        raise CheckpointError(f"{where} has the shape {_dims(stored.shape)}; expected {shape}")
    with _damage_at(where):
        _check_storage(stored, where)
        h5s = import_h5py().h5s
        values = np.empty(stored.shape, stored.dtype)
        stored.handle.read(h5s.ALL, h5s.ALL, values)
    return values


def import_h5py() -> Any:
    """The package h5py, or `MissingDependency` where it is not installed.

    >>> import_h5py().__name__
    'h5py'
    """
    try:
        import h5py
    except ImportError:
        raise MissingDependency("h5py", "read and write HDF5 model files") from None
    return h5py


@contextlib.contextmanager
def _damage_at(where: str) -> Iterator[None]:
    """Turn whatever h5py raises over a broken structure into one sentence."""
    try:
        yield
    except _DAMAGE as error:
        raise CheckpointError(f"the HDF5 file is damaged: {where} cannot be read") from error


def _walk(h5py: Any, root: Any, file_size: int) -> Iterator[Stored]:
    """Every dataset below the root, by groups and names in order, without following a link."""
    seen = {h5py.h5o.get_info(root).addr}
    pending = [("", 0, root)]
    while pending:
        path, depth, group = pending.pop()
        below = []
        for link in sorted(_links(h5py, group, path)):
            name = f"{path}{link}"
            item = h5py.h5o.open(group, link.encode())
            address = h5py.h5o.get_info(item).addr
            if address in seen:
                raise CheckpointError(
                    f"{shown(name)} is reached by two hard links; each object needs one name"
                )
            seen.add(address)
            if len(seen) > MAX_OBJECTS:
                raise CheckpointError(f"the HDF5 file holds more than {MAX_OBJECTS} objects")
            if isinstance(item, h5py.h5d.DatasetID):
                yield _describe(h5py, name, item, file_size)
            elif not isinstance(item, h5py.h5g.GroupID):
                raise CheckpointError(f"{shown(name)} is neither a group nor a dataset")
            elif depth == MAX_DEPTH:
                raise CheckpointError(
                    f"the groups at {shown(name)} are nested more than {MAX_DEPTH} deep"
                )
            else:
                below.append((f"{name}/", depth + 1, item))
        pending.extend(reversed(below))


def _links(h5py: Any, group: Any, path: str) -> list[str]:
    """The names in one group; every link must be a plain hard link before any is opened."""
    kinds = {h5py.h5l.TYPE_SOFT: "a soft link", h5py.h5l.TYPE_EXTERNAL: "an external link"}
    found: list[tuple[bytes, int]] = []

    def visit(name: bytes, info: Any) -> bool:
        found.append((bytes(name), info.type))
        return len(found) > MAX_OBJECTS

    # h5py loses an exception that the callback raises: collect first, judge after. One name more
    # than allowed is enough for the caller to refuse the file.
    group.links.iterate(visit, info=True)
    for raw, kind in found:
        name = shown(path + raw.decode("utf-8", "replace"))
        if kind != h5py.h5l.TYPE_HARD:
            what = kinds.get(kind, "a link of an unknown kind")
            raise CheckpointError(
                f"{name} is {what}; links are not followed, store the data itself"
            )
        if b"/" in raw or raw in (b"", b"."):
            raise CheckpointError(f"{name} is not a name that HDF5 allows")
    return [raw.decode("utf-8") for raw, _ in found]


def _describe(h5py: Any, name: str, handle: Any, file_size: int) -> Stored:
    """What a dataset declares. The order matters: a virtual dataset's shape opens other files."""
    plist = handle.get_create_plist()
    where = f"the dataset {shown(name)}"
    if plist.get_layout() == h5py.h5d.VIRTUAL:
        raise CheckpointError(f"{where} is virtual: its values are in other files")
    if plist.get_external_count():
        raise CheckpointError(f"{where} keeps its values in another file")
    filters = check_filters(plist, where)
    type_name = _type_name(h5py, handle.get_type(), where)
    if handle.get_space().get_simple_extent_type() == h5py.h5s.NULL:
        raise CheckpointError(f"{where} has no values")
    return Stored(name, handle.shape, type_name, handle.dtype, filters, handle, file_size)


def _type_name(h5py: Any, kind: Any, where: str) -> str:
    """The name of a numeric type; anything that is not a plain number is refused."""
    h5t = h5py.h5t
    if kind.get_class() == h5t.FLOAT:
        _, _, exponent, _, mantissa = kind.get_fields()
        size = kind.get_size()
        name = FLOATS.get((size, exponent, mantissa), "")
        exact = name and np.dtype("float32" if name == "bfloat16" else name)
        # A bias of its own, say, takes a type out of its family: NumPy's type tells.
        return name if kind.dtype.newbyteorder("=") == exact else f"unusual float of {size} bytes"
    if kind.get_class() == h5t.INTEGER:
        return str(kind.dtype)
    words = ("COMPOUND", "VLEN", "STRING", "REFERENCE", "OPAQUE", "ENUM", "ARRAY", "BITFIELD")
    found = [word.lower() for word in words if getattr(h5t, word) == kind.get_class()]
    what = found[0] if found else "unknown"
    raise CheckpointError(f"{where} has the type {what}; only plain numbers are accepted")


def _check_storage(stored: Stored, where: str) -> None:
    """Refuse values that are absent, outside the file, or larger than the shape says."""
    h5d = import_h5py().h5d
    plist = stored.handle.get_create_plist()
    if stored.handle.get_space_status() != h5d.SPACE_STATUS_ALLOCATED:
        raise CheckpointError(f"{where} is declared, but not all of its values were written")
    if not stored.filters and stored.nbytes > stored.file_size:
        raise CheckpointError(
            f"{where} claims {stored.nbytes} bytes in a file of {stored.file_size} bytes"
        )
    if plist.get_layout() == h5d.CHUNKED:
        check_chunks(stored.handle, plist, stored.filters, where)


def _attribute(owner: Any, key: str) -> str | int | None:
    h5py = import_h5py()
    if not h5py.h5a.exists(owner, key.encode()):
        return None
    item = h5py.h5a.open(owner, key.encode())
    kind = item.get_type()
    text = kind.get_class() == h5py.h5t.STRING and not kind.is_variable_str()
    number = kind.get_class() == h5py.h5t.INTEGER
    if item.shape != () or not (text or number) or kind.get_size() > MAX_TEXT:
        raise CheckpointError(
            f"the attribute {shown(key)} must be one integer or one text of fixed length"
        )
    value = np.empty((), item.dtype)
    item.read(value)
    return value.item().decode("utf-8") if text else int(value)


def _dims(shape: tuple[int, ...]) -> str:
    """A shape out of a file, cut after eight dimensions."""
    return str(shape) if len(shape) <= 8 else f"{str(shape[:8])[:-1]}, ... {len(shape)} dimensions)"
