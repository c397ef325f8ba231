"""Keras weight files: the real trained TS-CAN, and files that are almost it."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tsm_ref.checkpoint.keras.building import keras_shape
from tsm_ref.checkpoint.keras.layers import LayerTable
from tsm_ref.checkpoint.keras.load import from_keras, load_keras
from tsm_ref.checkpoint.keras.networks import OPEN_RPPG
from tsm_ref.errors import CheckpointError
from tsm_ref.models import build_ts_can
from tsm_ref.profile import PROFILES

PROFILE = PROFILES["ts-can-rlap"]
PATHS = LayerTable(False, {}).keys(build_ts_can().parameters, OPEN_RPPG)


@pytest.fixture
def trained(shared_data: Path) -> Path:
    return shared_data / "checkpoints" / "TSCAN.rlap.weights.h5"


@pytest.fixture
def written(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A file with the layout of the real one and random values."""
    path = tmp_path / "m.weights.h5"
    parameters = build_ts_can().parameters
    with h5py.File(path, "w") as file:
        for name, key in PATHS.items():
            file[key] = rng.normal(size=keras_shape(parameters[name])).astype("f4")
        file.create_group("inner/d/layers/dropout/vars")
    return path


# The real file


def test_the_trained_network_has_all_its_numbers(trained: Path) -> None:
    loaded = load_keras(trained, PROFILE)
    assert loaded.graph == build_ts_can(shift=PROFILE.shift)
    assert loaded.profile == PROFILE
    assert loaded.storage == "float16"
    assert (loaded.format, loaded.format_version) == ("keras", 3)
    assert sum(values.size for values in loaded.weights.values()) == 532_899
    assert {name: v.shape for name, v in loaded.weights.items()} == loaded.graph.parameters
    assert all(v.dtype == np.float32 and v.flags.c_contiguous for v in loaded.weights.values())


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("motion_conv1", "inner/d1/layers/conv2d"),
        ("motion_conv4", "inner/d2/layers/conv2d_1"),
        ("appearance_conv2", "inner/g1/layers/conv2d_1"),
        ("attention2", "inner/attn2/layers/conv2d"),
    ],
)
def test_convolutions_compute_what_the_file_means(trained: Path, name: str, key: str) -> None:
    """The weight at (out, in, row, column) is the file's at (row, column, in, out)."""
    weights = load_keras(trained, PROFILE).weights
    with h5py.File(trained) as file:
        kernel, bias = file[f"{key}/vars/0"][()], file[f"{key}/vars/1"][()]
    for (row, column, before, after), value in np.ndenumerate(kernel):
        assert weights[f"{name}.weight"][after, before, 0, row, column] == value
    assert weights[f"{name}.bias"].tolist() == bias.tolist()


@pytest.mark.parametrize(("name", "key"), [("dense1", "dense"), ("dense2", "dense_1")])
def test_dense_layers_compute_what_the_file_means(trained: Path, name: str, key: str) -> None:
    weights = load_keras(trained, PROFILE).weights
    with h5py.File(trained) as file:
        kernel = file[f"inner/d/layers/{key}/vars/0"][()].astype("f8")
    x = np.linspace(-1, 1, kernel.shape[0])
    np.testing.assert_allclose(weights[f"{name}.weight"].astype("f8") @ x, x @ kernel, rtol=1e-12)


def test_every_tensor_of_the_real_file_is_used_once(trained: Path) -> None:
    with h5py.File(trained) as file:
        found: list[str] = []
        file.visititems(
            lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None
        )
    assert sorted(PATHS.values()) == sorted(found)


# Files that are almost it


def test_a_written_file_is_read(written: Path) -> None:
    loaded = load_keras(written, PROFILE)
    assert loaded.storage == "float32"
    with h5py.File(written) as file:
        kernel = file["inner/d1/layers/conv2d/vars/0"][()]
    np.testing.assert_array_equal(
        loaded.weights["motion_conv1.weight"][:, :, 0], kernel.transpose(3, 2, 0, 1)
    )


def test_a_profile_that_places_no_shift_has_none(written: Path) -> None:
    still = load_keras(written, PROFILE.with_changes(placement="none"))
    shifts = [node.attrs["d"] for node in still.graph.select("TemporalShift")]
    assert not any(any(d) for d in shifts)


def test_mixed_precision_is_recorded(written: Path) -> None:
    with h5py.File(written, "r+") as file:
        values = file["inner/d/layers/dense/vars/0"][()]
        del file["inner/d/layers/dense/vars/0"]
        file["inner/d/layers/dense/vars/0"] = values.astype("f2")
    assert load_keras(written, PROFILE).storage == "float32+float16"


def test_missing_tensors_are_counted(written: Path, refused: Any) -> None:
    with h5py.File(written, "r+") as file:
        del file["inner/g1"]
    with refused(CheckpointError, "4 tensors are missing ('inner/g1/layers/conv2d/vars/0'", "..."):
        load_keras(written, PROFILE)


def test_extra_tensors_are_counted(written: Path, refused: Any) -> None:
    with h5py.File(written, "r+") as file:
        file["inner/d/layers/dense/vars/2"] = np.zeros(2, "f4")
    with refused(CheckpointError, "1 tensor is not expected ('inner/d/layers/dense/vars/2')"):
        load_keras(written, PROFILE)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            np.zeros((128, 3136), "f4"),
            ("1 tensor has another shape", "is (128, 3136), not (3136, 128)"),
        ),
        (np.zeros((3136, 128), "i4"), ("the type int32; accepted: float16",)),
        (np.full((3136, 128), np.nan, "f4"), ("NaN or an infinity",)),
        (np.full((3136, 128), 1e300), ("NaN or an infinity",)),
    ],
    ids=["shape", "type", "NaN", "overflow"],
)
def test_a_bad_tensor_is_named(written: Path, refused: Any, values: Any, words: Any) -> None:
    with h5py.File(written, "r+") as file:
        del file["inner/d/layers/dense/vars/0"]
        file["inner/d/layers/dense/vars/0"] = values
    with refused(CheckpointError, "'inner/d/layers/dense/vars/0'", *words):
        load_keras(written, PROFILE)


def test_an_unknown_network_is_refused(h5: h5py.File, finished: Any, refused: Any) -> None:
    h5["layers/lstm/vars/0"] = np.zeros(3, "f4")
    with refused(CheckpointError, "'lstm'", "known: TS-CAN of open-rppg"):
        load_keras(finished(), PROFILE)


def test_a_file_without_variables_is_refused(h5: h5py.File, finished: Any, refused: Any) -> None:
    h5["w"] = np.zeros(3, "f4")
    with refused(CheckpointError, "the first is 'w'"):
        load_keras(finished(), PROFILE)


# The table


def test_the_table_names_every_layer_of_its_graph_once() -> None:
    layers = {name.rpartition(".")[0] for name in build_ts_can().parameters}
    assert set(OPEN_RPPG) == layers
    assert len(set(OPEN_RPPG.values())) == len(OPEN_RPPG)


@pytest.mark.parametrize("shape", [(4, 3, 1, 5, 7), (6, 2), (9,)])
def test_shape_and_transposition_agree(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    values = rng.normal(size=keras_shape(shape))
    assert from_keras(values, shape).shape == shape
