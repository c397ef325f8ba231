"""Safetensors files: read tensor by tensor, refused where they are damaged, written alike."""

import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tsm_ref.checkpoint.tensors.safetensors import (
    load_safetensors,
    read_safetensors,
    save_safetensors,
)
from tsm_ref.errors import CheckpointError
from tsm_ref.graph import Graph
from tsm_ref.profile import PROFILES

Write = Callable[..., Path]


@pytest.fixture
def written(tmp_path: Path) -> Write:
    def write(header: str, numbers: bytes = b"") -> Path:
        text = header.encode()
        text += b" " * (-len(text) % 8)
        path = tmp_path / "x.safetensors"
        path.write_bytes(len(text).to_bytes(8, "little") + text + numbers)
        return path

    return write


def described(start: int, end: int, shape: Any = (2,), kind: str = "F32") -> str:
    return json.dumps({"dtype": kind, "shape": list(shape), "data_offsets": [start, end]})


def test_every_type_comes_out_as_it_was(tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors.numpy")
    tensors = {
        kind: np.arange(6).reshape(2, 3).astype(kind)
        for kind in ("float16", "float32", "float64", "int64", "int32", "uint8", "bool")
    }
    library.save_file(tensors, tmp_path / "x.safetensors", {"licence": "MIT"})
    found = read_safetensors(tmp_path / "x.safetensors")
    assert found.notes == {"licence": "MIT"}
    assert set(found.entries) == set(tensors)
    for name, entry in found.entries.items():
        np.testing.assert_array_equal(entry.read(), tensors[name])
        assert entry.type_name == name


def test_half_precision_of_the_other_kind(written: Write) -> None:
    path = written(f'{{"a":{described(0, 4, (2,), "BF16")}}}', b"\x80\x3f\x00\xc0")
    np.testing.assert_array_equal(read_safetensors(path).entries["a"].read(), [1.0, -2.0])


def test_the_same_model_gives_the_same_bytes(
    tmp_path: Path, graph: Graph, weights: dict[str, Any]
) -> None:
    notes = {name: name for name in "qwertyuiop"}
    wanted = None
    for turn in range(8):
        path = tmp_path / f"{turn}.safetensors"
        save_safetensors(path, graph, weights, PROFILES["mit"], notes)
        wanted = wanted or path.read_bytes()
        assert path.read_bytes() == wanted
    found = load_safetensors(path)
    assert found.extra == notes
    for name, value in weights.items():
        np.testing.assert_array_equal(found.weights[name], value)


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (f'{{"a":{described(0, 8)},"a":{described(0, 8)}}}', "names 'a' twice"),
        (f'{{"a":{described(0, 8)},"b":{described(4, 8, (1,))}}}', "damaged"),
        (f'{{"a":{described(0, 4, (1,))}}}', "damaged"),
        (f'{{"a":{described(0, 8, (3,))}}}', "damaged"),
        (f'{{"a":{described(0, 8, (2**62, 2**62))}}}', "damaged"),
        (f'{{"a":{described(0, 8, (8,), "F8_E4M3")}}}', "F8_E4M3"),
        ('{"a":{}}', "damaged"),
        ("[1]", "damaged"),
        ("{" * 100_000, "damaged"),
        ("not json", "damaged"),
        ('{"__metadata__":{"x":3}}', "damaged"),
    ],
)
def test_damage(written: Write, refused: Any, header: str, words: str) -> None:
    path = written(header, bytes(8))
    with refused(CheckpointError, words):
        read_safetensors(path)


def test_a_header_that_claims_to_be_long(tmp_path: Path, refused: Any) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes((2**40).to_bytes(8, "little") + b"{}      ")
    with refused(CheckpointError, "header of 1099511627776 bytes"):
        read_safetensors(path)


def test_a_file_of_many_gigabytes_is_not_read_whole(written: Write, refused: Any) -> None:
    """A hole takes no room on the disk; the tensor in it is of no network, so it stays there."""
    size = 6 * 2**30
    path = written(f'{{"a":{described(0, size, (size // 4,))}}}')
    os.truncate(path, path.stat().st_size + size)
    tracemalloc.start()
    try:
        with refused(CheckpointError, "no known implementation"):
            load_safetensors(path)
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 2**24
