"""Our own format: what goes in comes out, and nothing else does."""

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.quantised_networks import network
from tsm_ref.checkpoint import disk
from tsm_ref.checkpoint.hdf5 import native
from tsm_ref.errors import CheckpointError, UsageError, WriteError
from tsm_ref.graph import Graph
from tsm_ref.graph_json import to_json
from tsm_ref.models import build_ts_can
from tsm_ref.models.weights import random_weights
from tsm_ref.profile import PROFILES

MIT = PROFILES["mit"]


# Round trips


names = st.text(min_size=1, max_size=12).filter(lambda name: name not in ("x", "y"))
shapes = hnp.array_shapes(min_dims=0, max_dims=5, max_side=4)
notes = st.dictionaries(st.text(max_size=8), st.text(max_size=20), max_size=3)


@given(st.data(), st.dictionaries(names, shapes, max_size=6), notes)
@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_round_trip(
    tmp_path_factory: Any,
    make_graph: Any,
    storage: str,
    data: Any,
    shapes: dict[str, Any],
    notes: dict[str, str],
) -> None:
    kind = np.dtype(storage)
    finite = st.floats(width=8 * kind.itemsize, allow_nan=False, allow_infinity=False)  # type: ignore[arg-type]
    weights = {
        name: data.draw(hnp.arrays(kind, shape, elements=finite)) for name, shape in shapes.items()
    }
    labels = tuple(data.draw(st.lists(st.text(max_size=8), max_size=4)))
    profile = data.draw(st.sampled_from(list(PROFILES.values()))).with_changes(labels=labels)
    path = tmp_path_factory.mktemp("round") / "m.h5"
    graph = make_graph(shapes)
    digest = native.save(path, graph, weights, profile, storage=storage, extra=notes)
    loaded = native.load(path)
    assert loaded.graph == graph
    assert loaded.profile == profile
    assert loaded.extra == notes
    assert (loaded.storage, loaded.path) == (storage, path)
    assert (loaded.format, loaded.format_version) == ("tsm-ref checkpoint", 1)
    assert loaded.sha256 == digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert list(loaded.weights) == list(shapes)
    for name, values in weights.items():
        np.testing.assert_array_equal(loaded.weights[name], values.astype(np.float32), strict=True)


def test_a_real_network_survives(tmp_path: Path) -> None:
    graph = build_ts_can()
    weights = random_weights(graph)
    native.save(tmp_path / "m.h5", graph, weights, PROFILES["mtts-can"])
    loaded = native.load(tmp_path / "m.h5")
    assert loaded.graph == graph
    assert loaded.graph.parameter_count == 532_899
    for name, values in weights.items():
        np.testing.assert_array_equal(loaded.weights[name], values)


def test_the_same_model_gives_the_same_bytes(
    tmp_path: Path, graph: Graph, weights: dict[str, Any]
) -> None:
    first = native.save(tmp_path / "a.h5", graph, weights, MIT)
    time.sleep(1.1)  # HDF5 counts time in seconds
    second = native.save(tmp_path / "b.h5", graph, dict(reversed(weights.items())), MIT)
    assert first == second


def test_the_page_about_the_format_is_true(saved: Path, weights: dict[str, Any]) -> None:
    """The reader that weights/FORMAT.md prints is run on a file."""
    page = Path(native.__file__).resolve().parents[3] / "weights" / "FORMAT.md"
    code = page.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    assert len(code.strip().splitlines()) <= 12
    scope: dict[str, Any] = {}
    exec(code.replace("model.h5", saved.as_posix()), scope)
    assert set(scope["weights"]) == set(weights)
    for name, values in weights.items():
        np.testing.assert_array_equal(scope["weights"][name], values)
    assert scope["graph"]["name"] == "tiny"
    assert scope["profile"]["family"] == "mit"


@pytest.mark.parametrize("name", ["/", ".", "..", "a/b", "a%2Fb", "ü", "\0", " ", "a.b", "%"])
def test_any_name_is_one_hdf5_name(tmp_path: Path, make_graph: Any, name: str) -> None:
    other = "a" if name != "a" else "b"
    weights = {name: np.ones(2, "f4"), other: np.zeros(3, "f4")}
    native.save(tmp_path / "m.h5", make_graph({name: (2,), other: (3,)}), weights, MIT)
    assert list(native.load(tmp_path / "m.h5").weights) == [name, other]
    with h5py.File(tmp_path / "m.h5") as file:
        assert len(file["weights"]) == 2


@pytest.mark.parametrize("dtype", ["f2", "f8", ">f4"])
def test_any_float_may_be_saved(tmp_path: Path, make_graph: Any, dtype: str) -> None:
    values = np.arange(6, dtype=dtype).reshape(2, 3).T
    native.save(tmp_path / "m.h5", make_graph({"w": (3, 2)}), {"w": values}, MIT)
    read = native.load(tmp_path / "m.h5").weights["w"]
    np.testing.assert_array_equal(read, values.astype("f4"), strict=True)


# What save refuses


def test_weights_must_be_the_parameters_of_the_graph(
    tmp_path: Path, graph: Graph, weights: dict[str, Any], refused: Any
) -> None:
    weights["more"] = weights.pop("conv.bias")
    with refused(CheckpointError, "1 tensor is missing ('conv.bias')", "('more')"):
        native.save(tmp_path / "m.h5", graph, weights, MIT)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.zeros(5, "f4"), "'conv.bias' has the shape (5,); expected (4,)"),
        (np.zeros(4, "i4"), "'conv.bias' has the type int32"),
        (np.array([0, 1, np.nan, 2], "f4"), "'conv.bias' holds a NaN"),
        (np.array([0, 1, 1e39, 2], "f8"), "'conv.bias' reaches 1e+39, which float32 cannot hold"),
    ],
    ids=["shape", "type", "NaN", "overflow"],
)
def test_a_bad_tensor_is_not_saved(
    saved: Path, graph: Graph, weights: dict[str, Any], refused: Any, values: Any, words: str
) -> None:
    before = saved.read_bytes()
    with refused(CheckpointError, words):
        native.save(saved, graph, weights | {"conv.bias": values}, MIT)
    assert saved.read_bytes() == before


def test_what_float16_cannot_hold_is_not_saved(
    tmp_path: Path, graph: Graph, weights: dict[str, Any], refused: Any
) -> None:
    weights["fc.weight"][0, 0] = 65_504
    native.save(tmp_path / "m.h5", graph, weights, MIT, storage="float16")
    weights["fc.weight"][0, 0] = 65_520
    with refused(CheckpointError, "'fc.weight' reaches 65520, which float16", "at most 65504"):
        native.save(tmp_path / "m.h5", graph, weights, MIT, storage="float16")


def test_other_storage_is_refused(
    tmp_path: Path, graph: Graph, weights: dict[str, Any], refused: Any
) -> None:
    with refused(UsageError, "`storage` (='int8') must be one of ('float32', 'float16')"):
        native.save(tmp_path / "m.h5", graph, weights, MIT, storage="int8")


def test_a_name_that_no_file_can_hold_is_refused(
    tmp_path: Path, make_graph: Any, refused: Any
) -> None:
    with refused(CheckpointError, "not a name that a file can hold"):
        native.save(tmp_path / "m.h5", make_graph({"\ud800": ()}), {"\ud800": np.float32(1)}, MIT)


def test_too_long_notes_are_refused(
    tmp_path: Path, graph: Graph, weights: dict[str, Any], refused: Any
) -> None:
    with refused(CheckpointError, "the extra takes", "at most 4194304"):
        native.save(tmp_path / "m.h5", graph, weights, MIT, extra={"a": "x" * 2**22})


def test_a_full_disk_leaves_the_old_model(
    saved: Path,
    graph: Graph,
    weights: dict[str, Any],
    refused: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_space(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    before = native.load(saved).sha256
    monkeypatch.setattr(disk.os, "fsync", no_space)
    with refused(WriteError, "No space left on device"):
        native.save(saved, graph, weights, PROFILES["tsn"])
    assert native.load(saved).sha256 == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_directory_is_no_output(
    tmp_path: Path, graph: Graph, weights: dict[str, Any], refused: Any
) -> None:
    with refused(WriteError, "is a directory"):
        native.save(tmp_path, graph, weights, MIT)


# Quantised networks


@pytest.fixture
def quantised() -> tuple[Graph, dict[str, Any]]:
    return network(dtype="int8")


@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_whole_numbers_and_their_scales_come_back_as_they_are(
    tmp_path: Path, quantised: Any, storage: str
) -> None:
    graph, weights = quantised
    native.save(tmp_path / "m.h5", graph, weights, MIT, storage=storage)
    loaded = native.load(tmp_path / "m.h5")
    assert loaded.graph == graph
    for name, values in weights.items():
        np.testing.assert_array_equal(loaded.weights[name], values, strict=True)


def test_whole_numbers_take_one_byte_each_in_the_file(tmp_path: Path, quantised: Any) -> None:
    native.save(tmp_path / "m.h5", *quantised, MIT)
    with h5py.File(tmp_path / "m.h5") as file:
        kinds = {name: data.dtype.str for name, data in file["weights"].items()}
    assert (kinds["w1"], kinds["s1"], kinds["b1"], kinds["t"]) == ("|i1", "<f4", "<i4", "|i1")


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (0.0, "channel 2 is 0; a scale is positive and finite"),
        (-1.0, "channel 2 is -1; a scale is positive and finite"),
        (np.nan, "holds a NaN or an infinity"),
        (np.inf, "holds a NaN or an infinity"),
        (1e-38, "combine to no normal number"),
    ],
)
def test_scales_that_are_none_are_refused(
    tmp_path: Path, quantised: Any, value: float, sentence: str
) -> None:
    graph, weights = quantised
    native.save(tmp_path / "m.h5", graph, weights, MIT)
    wrong = weights["s1"].copy()
    wrong[2] = value
    with pytest.raises(CheckpointError, match=sentence):
        native.save(tmp_path / "n.h5", graph, {**weights, "s1": wrong}, MIT)
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        file["weights/s1"][...] = wrong
        digest = hashlib.sha256(wrong.tobytes()).hexdigest()
        file["weights/s1"].attrs["sha256"] = np.bytes_(digest)
    with pytest.raises(CheckpointError, match=sentence):
        native.load(tmp_path / "m.h5")


def test_weights_of_another_type_are_refused(tmp_path: Path, quantised: Any) -> None:
    graph, weights = quantised
    wide = {**weights, "w1": weights["w1"].astype(np.int32)}
    with pytest.raises(CheckpointError, match="'w1' has the type int32; int8 or int16 is needed"):
        native.save(tmp_path / "m.h5", graph, wide, MIT)


@pytest.mark.parametrize(
    ("attribute", "value", "sentence"),
    [
        ("y_zero_point", 300, "must be a whole number of uint8 or int8"),
        ("y_zero_point", 200, "the zero point 200 is not one of int8"),
        ("y_scale", 0.0, "must be a positive number"),
        ("y_scale", -1.0, "must be a positive number"),
        ("y_scale", float("nan"), "must be a positive number"),
        ("x_scale", 0.5, "its x_scale is 0.5, but 'q' was made with 0.03"),
        ("dtype", "int4", "must be one of"),
    ],
)
def test_a_graph_with_impossible_steps_is_refused(
    tmp_path: Path, quantised: Any, attribute: str, value: Any, sentence: str
) -> None:
    graph, weights = quantised
    native.save(tmp_path / "m.h5", graph, weights, MIT)
    tree = json.loads(to_json(graph))
    next(node for node in tree["nodes"] if node["name"] == "stem")["attrs"][attribute] = value
    text = np.frombuffer(json.dumps(tree).encode(), np.uint8)
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        del file["graph"]
        native.put_tensor(file, "graph", text)
    with pytest.raises(CheckpointError, match=sentence):
        native.load(tmp_path / "m.h5")
