"""Attacks through compression: a small chunk that would become a large one."""

import zlib
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsm_ref.checkpoint.hdf5 import inflation
from tsm_ref.checkpoint.hdf5.guard import open_hdf5, read_tensor
from tsm_ref.errors import CheckpointError

SHAPE = (4096,)


@pytest.fixture
def refused_in_file(h5: h5py.File, finished: Any, refused: Any) -> Any:
    def check(*words: str, shape: tuple[int, ...] = SHAPE) -> None:
        with refused(CheckpointError, "'w'", *words), open_hdf5(finished()) as file:
            read_tensor(file.datasets["w"], shape)

    return check


def with_filters(h5: h5py.File, *codes: int, chunk: int = 4096) -> Any:
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((chunk,))
    for code in codes:
        plist.set_filter(code, h5py.h5z.FLAG_OPTIONAL, (4,))
    space = h5py.h5s.create_simple(SHAPE)
    return h5py.h5d.create(h5.id, b"w", h5py.h5t.IEEE_F32LE, space, plist)


def test_a_chunk_that_inflates_beyond_its_size_is_refused(
    h5: h5py.File, refused_in_file: Any
) -> None:
    bomb = zlib.compress(bytes(10 * 2**20), 9)
    assert len(bomb) < 4 * 4096
    with_filters(h5, 1).write_direct_chunk((0,), bomb)
    refused_in_file("inflates to more than its 16384 bytes")


def test_a_chunk_that_is_stored_larger_than_its_size_is_refused(
    h5: h5py.File, refused_in_file: Any
) -> None:
    with_filters(h5, 1).write_direct_chunk((0,), zlib.compress(bytes(100), 0) + bytes(100_000))
    refused_in_file("bytes stored for 16384")


def test_an_lzf_chunk_that_inflates_beyond_its_size_is_refused(
    h5: h5py.File, refused_in_file: Any
) -> None:
    bomb = b"\x00\x00" + b"\xe0\xff\x00" * 5000  # one literal, then 264 repeats of it, 5000 times
    with_filters(h5, 32000).write_direct_chunk((0,), bomb)
    refused_in_file("inflates to more than its 16384 bytes")


def test_a_damaged_stream_is_refused(h5: h5py.File, refused_in_file: Any) -> None:
    with_filters(h5, 1).write_direct_chunk((0,), b"not a gzip stream")
    refused_in_file("damaged")


def test_two_rounds_of_gzip_are_refused(h5: h5py.File, refused_in_file: Any) -> None:
    with_filters(h5, 1, 1)
    refused_in_file("the filters gzip, gzip", "each once")


def test_the_same_filter_twice_is_refused(h5: h5py.File, refused_in_file: Any) -> None:
    with_filters(h5, 2, 2)
    refused_in_file("the filters shuffle, shuffle", "each once")


def test_a_filter_behind_gzip_is_refused(h5: h5py.File, refused_in_file: Any) -> None:
    with_filters(h5, 1, 2)
    refused_in_file("the filters gzip, shuffle", "only fletcher32 after")


def test_two_compressors_are_refused(h5: h5py.File, refused_in_file: Any) -> None:
    with_filters(h5, 1, 32000)
    refused_in_file("the filters gzip, lzf")


def test_scale_offset_is_refused(h5: h5py.File, refused_in_file: Any) -> None:
    h5.create_dataset("w", SHAPE, "i4", chunks=(4096,), scaleoffset=True)
    refused_in_file("filtered by number 6", "gzip, shuffle, fletcher32, lzf")


def test_a_filter_from_a_plugin_is_refused(h5: h5py.File, refused_in_file: Any) -> None:
    with_filters(h5, 32015)
    refused_in_file("filtered by number 32015")


def test_a_chunk_much_larger_than_the_tensor_is_refused(
    h5: h5py.File, refused_in_file: Any
) -> None:
    data = h5.create_dataset("w", (8,), "f4", chunks=(2**24,), maxshape=(None,), compression="gzip")
    data.id.write_direct_chunk((0,), zlib.compress(bytes(2**26)))
    refused_in_file("chunks of 67108864 bytes", shape=(8,))


def test_a_swarm_of_chunks_is_refused(
    h5: h5py.File, refused_in_file: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inflation, "MAX_CHUNKS", 100)
    h5.create_dataset("w", data=np.zeros(SHAPE), chunks=(16,), compression="gzip")
    refused_in_file("256 chunks", "at most 100")


def test_a_flipped_bit_in_a_chunk_fails_its_checksum(
    h5: h5py.File, finished: Any, refused: Any
) -> None:
    h5.create_dataset("w", data=np.full(SHAPE, 1.25, "f4"), chunks=SHAPE, fletcher32=True)
    path = finished()
    data = path.read_bytes()
    at = data.index(np.full(8, 1.25, "f4").tobytes())
    path.write_bytes(data[: at + 5] + bytes([data[at + 5] ^ 4]) + data[at + 6 :])
    with open_hdf5(path) as file, refused(CheckpointError, "the tensor 'w' cannot be read"):
        read_tensor(file.datasets["w"], SHAPE)


@given(st.binary(max_size=400), st.integers(0, 20), st.booleans())
def test_the_length_of_an_lzf_stream_is_what_the_library_inflates(
    piece: bytes, repeats: int, checksum: bool
) -> None:
    values = np.frombuffer(piece * (repeats + 1) + b"\0", "u1")
    with h5py.File("lzf", "w", driver="core", backing_store=False) as file:
        options = {"compression": "lzf", "chunks": values.shape, "fletcher32": checksum}
        data = file.create_dataset("w", data=values, **options)
        mask, stored = data.id.read_direct_chunk((0,))
    active = [f for i, f in enumerate(("lzf", "fletcher32")[: 1 + checksum]) if not mask >> i & 1]
    assert inflation.inflated_beyond(stored, active, len(values) - 1) == ("lzf" in active)
    assert not inflation.inflated_beyond(stored, active, len(values))
