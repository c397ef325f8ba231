"""Compressed HDF5 chunks: what they may inflate to is checked without inflating them.

The HDF5 library inflates a chunk until its stream ends, whatever size the file declared; a chunk of
one megabyte can become a gigabyte, and several gzip filters in a row multiply. So a dataset has at
most one compressor, its chunks are small, and each stream is run to its declared size at most.
"""

import zlib
from collections.abc import Mapping
from math import ceil, prod
from typing import Any

from tsm_ref.errors import CheckpointError

FILTERS: Mapping[int, str] = {1: "gzip", 2: "shuffle", 3: "fletcher32", 32000: "lzf"}
COMPRESSORS = ("gzip", "lzf")
MAX_CHUNK_BYTES = 2**24
MAX_CHUNKS = 65_536
CHECKSUM_BYTES = 4


def check_filters(plist: Any, where: str) -> tuple[str, ...]:
    """The names of a dataset's filters, in the order in which they were applied.

    Raises `CheckpointError` for any but gzip, shuffle, lzf and fletcher32, for one that comes
    twice, for two compressors, and for one before another filter than the checksum.

    >>> import h5py
    >>> plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    >>> plist.set_chunk((8,))
    >>> plist.set_shuffle()
    >>> plist.set_deflate()
    >>> check_filters(plist, "the dataset 'w'")
    ('shuffle', 'gzip')
    """
    filters = []
    for index in range(plist.get_nfilters()):
        code = plist.get_filter(index)[0]
        if code not in FILTERS:
            accepted = ", ".join(FILTERS.values())
            raise CheckpointError(f"{where} is filtered by number {code}; accepted: {accepted}")
        filters.append(FILTERS[code])
    last = next((i for i, name in enumerate(filters) if name in COMPRESSORS), len(filters))
    if len(set(filters)) < len(filters) or any(f != "fletcher32" for f in filters[last + 1 :]):
        raise CheckpointError(
            f"{where} has the filters {', '.join(filters)}; "
            "accepted is each once, and only fletcher32 after gzip or lzf"
        )
    return tuple(filters)


def check_chunks(handle: Any, plist: Any, filters: tuple[str, ...], where: str) -> None:
    """Raise `CheckpointError` for chunks that are too large, too many, or inflate beyond bounds.

    At most `MAX_CHUNKS` chunks of at most `MAX_CHUNK_BYTES` each are accepted.

    >>> import h5py
    >>> with h5py.File("x", "w", driver="core", backing_store=False) as file:
    ...     data = file.create_dataset("w", (8,), "f4", chunks=(2**24,), maxshape=(None,)).id
    ...     check_chunks(data, data.get_create_plist(), (), "the tensor 'w'")
    Traceback (most recent call last):
    tsm_ref.errors.CheckpointError: the tensor 'w' has chunks of 67108864 bytes; at most 16777216
    """
    chunk = plist.get_chunk()
    size = prod(chunk) * handle.dtype.itemsize
    if size > MAX_CHUNK_BYTES:
        raise CheckpointError(f"{where} has chunks of {size} bytes; at most {MAX_CHUNK_BYTES}")
    count = prod(ceil(n / step) for n, step in zip(handle.shape, chunk, strict=True))
    if count > MAX_CHUNKS:
        raise CheckpointError(f"{where} has {count} chunks; at most {MAX_CHUNKS} are accepted")
    if not any(name in COMPRESSORS for name in filters):
        return
    for info in _stored_chunks(handle, count):
        if info.size > 2 * size + 1024:
            raise CheckpointError(f"{where} has a chunk of {info.size} bytes stored for {size}")
        mask, data = handle.read_direct_chunk(info.chunk_offset)
        active = [name for i, name in enumerate(filters) if not mask >> i & 1]
        if inflated_beyond(data, active, size + CHECKSUM_BYTES):
            raise CheckpointError(
                f"{where} has a chunk that inflates to more than its {size} bytes"
            )


def _stored_chunks(handle: Any, count: int) -> list[Any]:
    found: list[Any] = []

    def visit(info: Any) -> bool | None:
        found.append(info)
        return True if len(found) >= count else None  # anything but None ends the visit

    handle.chunk_iter(visit)
    return found


def inflated_beyond(data: bytes, filters: list[str], limit: int) -> bool:
    """True where a compressed chunk would become more than `limit` bytes.

    >>> bomb = zlib.compress(bytes(1_000_000))
    >>> inflated_beyond(bomb, ["gzip"], 1_000_000), inflated_beyond(bomb, ["gzip"], 999_999)
    (False, True)
    """
    if filters[-1:] == ["fletcher32"]:
        data = data[:-CHECKSUM_BYTES]
    if "gzip" in filters:
        try:
            return len(zlib.decompressobj().decompress(data, limit + 1)) > limit
        except zlib.error as error:
            raise ValueError("not a gzip stream") from error
    return "lzf" in filters and _lzf_length(data, limit) > limit


def _lzf_length(data: bytes, limit: int) -> int:
    """The inflated length of an LZF stream, counted from its control bytes.

    A control byte below 32 announces that many literals and one more. Any other repeats earlier
    bytes: its upper three bits are the length minus 2, where 7 adds the next byte.
    """
    at = length = 0
    while at < len(data) and length <= limit:
        control = data[at]
        at += 1
        if control < 32:
            length += control + 1
            at += control + 1
        else:
            repeat = control >> 5
            if repeat == 7:
                repeat += data[at] if at < len(data) else 0
                at += 1
            length += repeat + 2
            at += 1
    return length
