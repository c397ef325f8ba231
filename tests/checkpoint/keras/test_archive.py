"""``.keras`` archives: a network as JSON and its weights as HDF5, in one zip."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.checkpoint.keras_writer import resnet, save_keras_3
from tsm_ref.checkpoint import load_checkpoint
from tsm_ref.checkpoint.keras.graph import counted_names, graph_of
from tsm_ref.errors import CheckpointError

NETWORK = resnet((1, 1), 8, 5, version=3).json()


def values() -> dict[str, Any]:
    """Numbers for every variable of the network, by layer and role."""
    graph, variables = graph_of(NETWORK)
    rng = np.random.default_rng(3)
    return {
        f"{v.layer}/{v.name}": rng.random(v.shape).astype(np.float32)
        for v in (variables[name] for name in graph.parameters)
    }


def archive(folder: Path, text: str = NETWORK, named: bool = True, **members: bytes) -> Path:
    weights = save_keras_3(folder / "w.h5", values(), named)
    path = folder / "m.keras"
    parts: dict[str, Any] = {"metadata.json": b"{}", "config.json": text.encode()}
    parts |= {"model.weights.h5": weights.read_bytes()} | members
    with zipfile.ZipFile(path, "w") as file:
        for name, data in parts.items():
            file.writestr(name, data)
    return path


def test_a_whole_model_in_an_archive(tmp_path: Path) -> None:
    path = archive(tmp_path)
    found = load_checkpoint(path)
    assert (found.format, found.path) == ("keras archive", path)
    _, variables = graph_of(NETWORK)
    kept = values()
    for name, v in variables.items():
        assert found.weights[name].sum() == pytest.approx(kept[f"{v.layer}/{v.name}"].sum())


def test_layers_are_counted_by_class() -> None:
    names = counted_names(NETWORK)
    assert names["conv1_conv"] == "conv2d"
    assert names["conv1_bn"] == "batch_normalization"
    assert names["conv2_block1_0_conv"] in ("conv2d_1", "conv2d_2")


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"config.json": b"{"}, "not one that Keras writes"),
        ({"config.json": json.dumps({"class_name": "X"}).encode()}, "not a network"),
        ({"model.weights.h5": b"x"}, "not an HDF5 file"),
    ],
)
def test_damage(tmp_path: Path, refused: Any, members: Any, words: str) -> None:
    with refused(CheckpointError, words):
        load_checkpoint(archive(tmp_path, **members))


def test_an_archive_that_is_cut_off(tmp_path: Path, refused: Any) -> None:
    path = archive(tmp_path)
    path.write_bytes(path.read_bytes()[:-30])
    with refused(CheckpointError, "zip archive is cut off or damaged"):
        load_checkpoint(path)


def test_a_bomb_is_not_unpacked(tmp_path: Path, refused: Any) -> None:
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("config.json", NETWORK)
        file.writestr("model.weights.h5", bytes(2**26))
    with refused(CheckpointError, "larger than is accepted"):
        load_checkpoint(path)
