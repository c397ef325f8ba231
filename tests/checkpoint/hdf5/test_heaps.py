"""Heaps in which the HDF5 library would walk for ever, and files in which nothing is wrong."""

import struct
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tsm_ref.checkpoint.hdf5.guard import open_hdf5
from tsm_ref.checkpoint.hdf5.heaps import check_heaps
from tsm_ref.errors import CheckpointError


@pytest.fixture(params=["earliest", "latest"])
def whole(request: Any, tmp_path: Path) -> Path:
    """Groups by both of HDF5's ways, texts of any length, free space in the heaps."""
    path = tmp_path / "whole.h5"
    with h5py.File(path, "w", libver=request.param) as file:
        for name in ("b", "a", "c" * 40):
            file.create_group(name).attrs["text"] = "x" * 300
        file["data"] = np.arange(5)
        del file["a"]
    return path


def test_whole_files_pass(whole: Path) -> None:
    check_heaps(whole)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "old.h5"
    with h5py.File(path, "w", libver="earliest") as file:
        file.attrs["text"] = "x" * 300
        file.create_group("group")
    return path


def changed(path: Path, at: int, value: bytes) -> Path:
    data = bytearray(path.read_bytes())
    data[at : at + len(value)] = value
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("back", [0, 16])
def test_a_free_list_that_leads_to_itself_is_refused(old: Path, refused: Any, back: int) -> None:
    data = old.read_bytes()
    at = data.index(b"HEAP")
    _, free, address = struct.unpack_from("<QQQ", data, at + 8)
    entry = address + free
    if back:  # by way of another entry
        changed(old, entry + back, struct.pack("<QQ", free, 16))
    changed(old, entry, struct.pack("<Q", free + back))
    with refused(CheckpointError, "a list of free space has no end"), open_hdf5(old):
        pass


@pytest.mark.parametrize("size", [0, 8])
def test_free_space_that_does_not_lead_on_is_refused(old: Path, refused: Any, size: int) -> None:
    data = old.read_bytes()
    at = data.index(b"GCOL") + 16
    while struct.unpack_from("<H", data, at)[0]:
        at += 16 + (struct.unpack_from("<Q", data, at + 8)[0] + 7) // 8 * 8
    changed(old, at + 8, struct.pack("<Q", size))
    with refused(CheckpointError, "a heap of texts has no end"), open_hdf5(old):
        pass


@pytest.mark.parametrize(("at", "value"), [(13, b"\4"), (14, b"\4"), (24, b"\1")])
def test_addresses_of_another_kind_are_refused(
    old: Path, refused: Any, at: int, value: bytes
) -> None:
    with refused(CheckpointError, "its addresses are not"), open_hdf5(changed(old, at, value)):
        pass


@pytest.mark.parametrize("mark", [b"HEAP", b"GCOL"])
def test_numbers_that_look_like_a_heap_are_data(tmp_path: Path, mark: bytes) -> None:
    path = tmp_path / "data.h5"
    noise = np.frombuffer((mark + b"\xff" * 28) * 50 + mark, np.uint8)
    with h5py.File(path, "w") as file:
        file["data"] = noise
    with open_hdf5(path) as guarded:
        assert set(guarded.datasets) == {"data"}
