"""What loading our own format refuses: one test per kind of damage."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsm_ref.checkpoint.hdf5 import native
from tsm_ref.errors import CheckpointError
from tsm_ref.graph import Graph
from tsm_ref.profile import PROFILES


@pytest.fixture
def damaged(saved: Path, refused: Any) -> Callable[..., None]:
    """Change a good file with `change(file)`, and require that loading it fails in these words."""

    def check(change: Callable[[h5py.File], Any], *words: str) -> None:
        with h5py.File(saved, "r+") as file:
            change(file)
        with refused(CheckpointError, *words):
            native.load(saved)

    return check


def put(file: h5py.File, name: str, values: Any, **options: Any) -> None:
    """Replace a dataset by another one whose SHA-256 is right."""
    if name in file:
        del file[name]
    data = file.create_dataset(name, data=np.asarray(values), **options)
    data.attrs["sha256"] = np.bytes_(hashlib.sha256(np.asarray(values).tobytes()).hexdigest())


def put_json(file: h5py.File, name: str, text: str | bytes) -> None:
    data = text.encode() if isinstance(text, str) else text
    put(file, name, np.frombuffer(data, "u1"))


def test_another_hdf5_file_is_refused(damaged: Any) -> None:
    damaged(lambda file: file.attrs.pop("format"), "not a tsm-ref checkpoint")


@pytest.mark.parametrize("version", [0, 2, np.bytes_("1"), 2**60])
def test_an_unknown_version_is_refused(damaged: Any, version: Any) -> None:
    damaged(
        lambda file: file.attrs.__setitem__("version", version),
        "the format version is",
        "known is 1",
    )


def test_unknown_storage_is_refused(damaged: Any) -> None:
    damaged(
        lambda file: file.attrs.__setitem__("storage", np.bytes_("int8")),
        "the storage is 'int8'; known are float32, float16",
    )


@pytest.mark.parametrize("name", ["graph", "profile", "extra"])
def test_a_missing_text_is_refused(damaged: Any, name: str) -> None:
    damaged(lambda file: file.pop(name), f"the dataset '{name}' is missing")


def test_a_text_over_the_cap_is_refused(damaged: Any) -> None:
    def grow(file: h5py.File) -> None:
        del file["graph"]
        file.create_dataset("graph", (2**22 + 1,), "u1", compression="gzip")[:] = 32

    damaged(grow, "'graph' has the shape (4194305,)", "at most 4194304 bytes")


def test_a_text_in_two_dimensions_is_refused(damaged: Any) -> None:
    damaged(lambda file: put(file, "profile", np.zeros((2, 2), "u1")), "'profile' has the shape")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("graph", "{", "the graph in the file is refused"),
        ("graph", "[]", "the graph in the file is refused"),
        ("graph", "[" * 100_000, "the graph in the file is refused"),
        ("graph", b"\xff\xfe", "'graph' is not UTF-8"),
        ("profile", '{"family": 3}', "not a profile"),
        ("profile", "[" * 100_000, "not a profile"),
        ("profile", "null", "not a profile"),
        ("extra", '{"a": 1}', "'extra' must be a JSON object of texts"),
        ("extra", "[" * 100_000, "'extra' must be a JSON object of texts"),
        ("extra", "7", "'extra' must be a JSON object of texts"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_text_that_makes_no_sense_is_refused(
    damaged: Any, name: str, text: Any, words: str
) -> None:
    damaged(lambda file: put_json(file, name, text), words)


def test_a_changed_profile_is_noticed(damaged: Any) -> None:
    def change(file: h5py.File) -> None:
        text = file["profile"][()]
        text[:] = np.frombuffer(text.tobytes().replace(b"blockres", b"Blockres"), "u1")
        file["profile"][...] = text

    damaged(change, "the values of 'profile' do not match their SHA-256")


def test_missing_tensors_are_counted(damaged: Any) -> None:
    damaged(lambda file: file.pop("weights/conv.bias"), "1 tensor is missing ('conv.bias')")


def test_extra_tensors_are_counted(damaged: Any) -> None:
    def add(file: h5py.File) -> None:
        for i in range(5):
            file[f"weights/more{i}"] = np.zeros(2, "f4")

    damaged(add, "5 tensors are not expected ('weights/more0',", "'weights/more2', ...)")


def test_a_dataset_outside_the_weights_is_extra(damaged: Any) -> None:
    damaged(lambda file: put(file, "more", np.zeros(2)), "1 tensor is not expected ('more')")


def test_another_shape_is_refused(damaged: Any) -> None:
    damaged(
        lambda file: put(file, "weights/fc.weight", np.zeros((4, 5), "f4")),
        "'weights/fc.weight' has the shape (4, 5); expected (5, 4)",
    )


def test_another_type_is_refused(damaged: Any) -> None:
    damaged(
        lambda file: put(file, "weights/fc.weight", np.zeros((5, 4), "f8")),
        "'weights/fc.weight' has the type float64; accepted: float32",
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_value_that_is_no_number_is_refused(damaged: Any, bad: float) -> None:
    damaged(
        lambda file: put(file, "weights/conv.bias", np.array([0, bad, 0, 0], "f4")),
        "'conv.bias' holds a NaN or an infinity (1 of 4 values)",
    )


def test_a_changed_value_is_noticed(damaged: Any) -> None:
    damaged(
        lambda file: file["weights/conv.bias"].__setitem__(2, 0.5),
        "the values of 'weights/conv.bias' do not match their SHA-256",
    )


def test_a_missing_digest_is_noticed(damaged: Any) -> None:
    damaged(lambda file: file["weights/fc.weight"].attrs.pop("sha256"), "'weights/fc.weight'")


def test_a_graph_that_asks_for_more_than_the_file_holds_is_refused(damaged: Any) -> None:
    """The graph comes out of the file too, so its shapes alone must not take memory."""

    def lie(file: h5py.File) -> None:
        graph = json.loads(file["graph"][()].tobytes())
        graph["parameters"]["fc.weight"] = [2**30, 2**30]
        put_json(file, "graph", json.dumps(graph))
        del file["weights/fc.weight"]
        file.create_dataset("weights/fc.weight", (2**30, 2**30), "f4", chunks=(2**10, 2**10))

    damaged(lie, "the graph asks for 46116860184", "bytes of weights; the file has")


@given(st.data())
def test_no_flipped_byte_goes_unnoticed(
    tmp_path_factory: Any, make_graph: Callable[..., Graph], data: Any
) -> None:
    """Either the model is the same, because the byte did not matter, or it is refused."""
    path = tmp_path_factory.mktemp("flip") / "m.h5"
    weights = {"a": np.ones(3, "f4"), "b": np.arange(4, dtype="f4")}
    native.save(path, make_graph({"a": (3,), "b": (4,)}), weights, PROFILES["mit"])
    good = native.load(path)
    image = bytearray(path.read_bytes())
    for _ in range(40):
        at = data.draw(st.integers(0, len(image) - 1))
        bit = data.draw(st.integers(0, 7))
        image[at] ^= 1 << bit
        path.write_bytes(image)
        image[at] ^= 1 << bit
        try:
            loaded = native.load(path)
        except CheckpointError:
            continue
        assert replace(loaded, weights={}, sha256="") == replace(good, weights={}, sha256="")
        for name, values in weights.items():
            np.testing.assert_array_equal(loaded.weights[name], values)
