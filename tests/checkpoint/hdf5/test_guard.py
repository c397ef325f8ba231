"""Attacks on the structure of an HDF5 file, one per test, and what a plain file gives."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tsm_ref.checkpoint.hdf5 import guard as hdf5
from tsm_ref.checkpoint.hdf5.guard import open_hdf5, read_tensor
from tsm_ref.errors import CheckpointError, MissingDependency


@pytest.fixture
def opening_is_refused(h5: h5py.File, finished: Any, refused: Any) -> Any:
    """Write out the file under construction, and require that opening it fails in these words."""

    def check(*words: str) -> None:
        with refused(CheckpointError, *words), open_hdf5(finished()):
            pass

    return check


@pytest.fixture
def reading_is_refused(h5: h5py.File, finished: Any, refused: Any) -> Any:
    """The same for reading one tensor by its expected shape."""

    def check(name: str, shape: tuple[int, ...], *words: str) -> None:
        with open_hdf5(finished()) as file, refused(CheckpointError, *words):
            read_tensor(file.datasets[name], shape)

    return check


def low_level(h5: h5py.File, name: str, kind: Any, shape: tuple[int, ...], plist: Any) -> Any:
    space = h5py.h5s.create_simple(shape)
    return h5py.h5d.create(h5.id, name.encode(), kind, space, plist)


# A plain file


def test_a_tree_is_walked_in_order(h5: h5py.File, finished: Any) -> None:
    for name in ("b/y", "b/x", "a", "c/d/e/f"):
        h5[name] = np.zeros(2, "f4")
    with open_hdf5(finished()) as file:
        assert list(file.datasets) == ["a", "b/x", "b/y", "c/d/e/f"]


@pytest.mark.parametrize("stored", ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8"])
def test_floats_of_every_size_and_byte_order_are_exact(
    h5: h5py.File, finished: Any, stored: str
) -> None:
    values = np.array([[1.5, -2.25], [0.1, 6e4]], stored)
    h5["w"] = values
    with open_hdf5(finished()) as file:
        assert file.datasets["w"].type_name == values.dtype.newbyteorder("=").name
        np.testing.assert_array_equal(read_tensor(file.datasets["w"], (2, 2)), values, strict=True)


def test_bfloat16_becomes_float32_exactly(h5: h5py.File, finished: Any) -> None:
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_fields(15, 7, 8, 0, 7)
    kind.set_size(2)
    data = low_level(h5, "w", kind, (3,), None)
    values = np.array([1.0, -0.15625, 3e38], "f4").view("u4") & 0xFFFF0000
    data.write(h5py.h5s.ALL, h5py.h5s.ALL, values.view("f4"))
    with open_hdf5(finished()) as file:
        assert file.datasets["w"].type_name == "bfloat16"
        read = read_tensor(file.datasets["w"], (3,))
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read.view("u4"), values)


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "gzip"},
        {"compression": "gzip", "shuffle": True, "fletcher32": True},
        {"compression": "lzf", "shuffle": True},
        {"compression": "lzf", "fletcher32": True},
        {"fletcher32": True, "chunks": (7, 5)},
        {"maxshape": (None, None)},
    ],
    ids=str,
)
def test_honest_compression_is_read(
    h5: h5py.File, finished: Any, rng: np.random.Generator, options: Any
) -> None:
    values = rng.normal(size=(60, 50)).astype("f4").round(1)
    values[20:] = 0
    h5.create_dataset("w", data=values, **options)
    with open_hdf5(finished()) as file:
        np.testing.assert_array_equal(read_tensor(file.datasets["w"], (60, 50)), values)


def test_attributes_are_texts_or_integers(h5: h5py.File, finished: Any, refused: Any) -> None:
    h5.attrs["text"] = np.bytes_("tsm")
    h5.attrs["number"] = 7
    h5.attrs["variable"] = "of no fixed length"
    h5.attrs["array"] = np.arange(1000)
    h5.attrs["float"] = 1.0
    with open_hdf5(finished()) as file:
        assert file.attribute("text") == "tsm"
        assert file.attribute("number") == 7
        assert file.attribute("absent") is None
        for name in ("variable", "array", "float"):
            with refused(CheckpointError, f"the attribute '{name}'", "one integer or one text"):
                file.attribute(name)


def test_without_h5py_the_package_is_named(
    h5: h5py.File, finished: Any, monkeypatch: pytest.MonkeyPatch, refused: Any
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with refused(MissingDependency, "'h5py'", "pip install h5py"), open_hdf5(finished()):
        pass


# Files that are not what they seem


def test_text_is_refused(tmp_path: Path, refused: Any) -> None:
    (tmp_path / "a.h5").write_text("a text")
    with refused(CheckpointError, "not an HDF5 file"), open_hdf5(tmp_path / "a.h5"):
        pass


def test_a_signature_alone_is_refused(tmp_path: Path, refused: Any) -> None:
    (tmp_path / "a.h5").write_bytes(hdf5.SIGNATURE)
    with refused(CheckpointError, "header cannot be read"), open_hdf5(tmp_path / "a.h5"):
        pass


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(saved: Path, refused: Any, keep: float) -> None:
    data = saved.read_bytes()
    saved.write_bytes(data[: int(len(data) * keep)])
    with refused(CheckpointError, "truncated"), open_hdf5(saved):
        pass


# Links


def test_an_external_link_is_refused(h5: h5py.File, opening_is_refused: Any) -> None:
    h5["out"] = h5py.ExternalLink("/etc/passwd", "/x")
    opening_is_refused("'out' is an external link")


def test_a_soft_link_is_refused(h5: h5py.File, opening_is_refused: Any) -> None:
    h5["g/real"] = np.zeros(2)
    h5["g/other"] = h5py.SoftLink("/g/real")
    opening_is_refused("'g/other' is a soft link")


def test_a_loop_of_soft_links_is_refused(h5: h5py.File, opening_is_refused: Any) -> None:
    h5["a"] = h5py.SoftLink("/b")
    h5["b"] = h5py.SoftLink("/a")
    opening_is_refused("'a' is a soft link")


def test_a_dangling_link_is_refused(h5: h5py.File, opening_is_refused: Any) -> None:
    h5["a"] = h5py.SoftLink("/nowhere")
    opening_is_refused("'a' is a soft link")


def test_a_loop_of_hard_links_is_refused(h5: h5py.File, opening_is_refused: Any) -> None:
    group = h5.create_group("a/b")
    group["again"] = h5["a"]
    opening_is_refused("'a/b/again' is reached by two hard links")


def test_a_hard_link_to_the_root_is_refused(h5: h5py.File, opening_is_refused: Any) -> None:
    h5["root"] = h5["/"]
    opening_is_refused("'root' is reached by two hard links")


def test_one_dataset_under_two_names_is_refused(h5: h5py.File, opening_is_refused: Any) -> None:
    h5["a"] = np.zeros(2)
    h5["b"] = h5["a"]
    opening_is_refused("'b' is reached by two hard links")


@pytest.mark.parametrize(
    ("name", "words"),
    [(b"a/b", "not a name"), (b"/ab", "not a name"), (b"a\xff\xfe", "damaged")],
    ids=["inside", "in front", "not UTF-8"],
)
def test_a_forged_name_is_refused(
    h5: h5py.File, finished: Any, refused: Any, name: bytes, words: str
) -> None:
    """A slash inside a link's name would make HDF5 follow a path of the attacker's choice."""
    h5["qjx"] = np.zeros(2)
    path = finished()
    data = path.read_bytes()
    assert data.count(b"qjx") == 1
    path.write_bytes(data.replace(b"qjx", name))
    with refused(CheckpointError, words), open_hdf5(path):
        pass


# Size of the structure


def test_two_thousand_nested_groups_are_refused(h5: h5py.File, opening_is_refused: Any) -> None:
    h5.create_group("/".join(["g"] * 2000))
    opening_is_refused("nested more than 32 deep")


def test_as_many_nested_groups_as_allowed_are_read(h5: h5py.File, finished: Any) -> None:
    name = "/".join(["g"] * hdf5.MAX_DEPTH + ["w"])
    h5[name] = np.zeros(2)
    with open_hdf5(finished()) as file:
        assert list(file.datasets) == [name]


@pytest.mark.parametrize("where", ["one group", "many groups"])
def test_too_many_objects_are_refused(
    h5: h5py.File, opening_is_refused: Any, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setattr(hdf5, "MAX_OBJECTS", 20)
    for i in range(24):
        h5.create_group(f"g{i % 4}/h{i}" if where == "many groups" else f"g{i}")
    opening_is_refused("more than 20 objects")


# Kinds of datasets


def test_a_virtual_dataset_is_refused(h5: h5py.File, opening_is_refused: Any) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("/etc/hostname", "x", (4,))
    h5.create_virtual_dataset("v", layout)
    opening_is_refused("'v' is virtual")


def test_external_raw_storage_is_refused(h5: h5py.File, opening_is_refused: Any) -> None:
    h5.create_dataset("w", (4,), "f4", external=[("/etc/passwd", 0, 16)])
    opening_is_refused("'w' keeps its values in another file")


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (np.dtype([("a", "f4"), ("b", "i4")]), "compound"),
        (h5py.vlen_dtype("f4"), "vlen"),
        (h5py.string_dtype(), "string"),
        (np.dtype("S4"), "string"),
        (h5py.ref_dtype, "reference"),
        (h5py.regionref_dtype, "reference"),
        (np.dtype("V2"), "opaque"),
        (np.dtype(bool), "enum"),
        (np.dtype(("f4", (2,))), "array"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_anything_but_numbers_is_refused(
    h5: h5py.File, opening_is_refused: Any, kind: Any, word: str
) -> None:
    low_level(h5, "w", h5py.h5t.py_create(kind, logical=True), (3,), None)
    opening_is_refused("'w'", word, "only plain numbers")


def test_a_named_type_is_refused(h5: h5py.File, opening_is_refused: Any) -> None:
    h5["t"] = np.dtype("f4")
    opening_is_refused("'t' is neither a group nor a dataset")


def test_an_empty_dataspace_is_refused(h5: h5py.File, opening_is_refused: Any) -> None:
    h5["w"] = h5py.Empty("f4")
    opening_is_refused("'w' has no values")


def test_integers_are_no_tensor(h5: h5py.File, reading_is_refused: Any) -> None:
    h5["w"] = np.zeros(3, "i8")
    reading_is_refused("w", (3,), "'w' has the type int64", "float16, bfloat16, float32, float64")


@pytest.mark.parametrize("change", ["long double", "strange bias", "one byte"])
def test_unusual_floats_are_no_tensor(h5: h5py.File, reading_is_refused: Any, change: str) -> None:
    kind = (h5py.h5t.NATIVE_LDOUBLE if change == "long double" else h5py.h5t.IEEE_F32LE).copy()
    if change == "strange bias":
        kind.set_ebias(4000)
    if change == "one byte":
        kind.set_fields(7, 3, 4, 0, 3)
        kind.set_size(1)
    low_level(h5, "w", kind, (3,), None)
    reading_is_refused("w", (3,), "'w'", "unusual float")


# Shapes


def test_another_shape_is_refused_before_anything_is_read(
    h5: h5py.File, finished: Any, refused: Any
) -> None:
    h5.create_dataset("w", (10**6, 10**6), "f4")
    with open_hdf5(finished()) as file:
        untouchable = replace(file.datasets["w"], handle=None)
        with refused(CheckpointError, "'w' has the shape (1000000, 1000000); expected (3, 4)"):
            read_tensor(untouchable, (3, 4))


def test_a_gzip_bomb_is_refused_by_its_shape(h5: h5py.File, finished: Any, refused: Any) -> None:
    h5.create_dataset("w", (2**26,), "f4", chunks=(2**20,), compression="gzip")[:] = 0
    path = finished()
    assert os.path.getsize(path) < 2**28 / 800
    with open_hdf5(path) as file:
        untouchable = replace(file.datasets["w"], handle=None)
        with refused(CheckpointError, "has the shape (67108864,); expected (64,)"):
            read_tensor(untouchable, (64,))


def test_a_shape_of_32_dimensions_is_told_in_one_line(
    h5: h5py.File, reading_is_refused: Any
) -> None:
    h5.create_dataset("w", (1,) * 32, "f4")
    reading_is_refused("w", (3,), "32 dimensions")


def test_values_that_were_never_written_are_refused(h5: h5py.File, reading_is_refused: Any) -> None:
    h5.create_dataset("w", (30, 40), "f4")
    reading_is_refused("w", (30, 40), "'w' is declared, but not all of its values were written")


def test_chunks_that_were_never_written_are_refused(h5: h5py.File, reading_is_refused: Any) -> None:
    h5.create_dataset("w", (40,), "f4", chunks=(10,))[:20] = 1
    reading_is_refused("w", (40,), "'w' is declared, but not all of its values were written")


def test_a_forged_size_is_refused(h5: h5py.File, finished: Any, refused: Any) -> None:
    h5["w"] = np.ones(7777, "f4")
    path = finished()
    data = path.read_bytes()
    for honest, forged in ((7777, 2**40), (4 * 7777, 2**42)):
        assert data.count(honest.to_bytes(8, "little"))
        data = data.replace(honest.to_bytes(8, "little"), forged.to_bytes(8, "little"))
    path.write_bytes(data)
    with refused(CheckpointError), open_hdf5(path) as file:
        read_tensor(file.datasets["w"], (2**40,))


def test_more_values_than_the_file_has_bytes_are_refused(
    h5: h5py.File, finished: Any, refused: Any
) -> None:
    h5["w"] = np.ones(7777, "f4")
    with open_hdf5(finished()) as file:
        stored = replace(file.datasets["w"], file_size=31_107)
        with refused(CheckpointError, "'w' claims 31108 bytes in a file of 31107 bytes"):
            read_tensor(stored, (7777,))
