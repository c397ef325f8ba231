"""The models that ship, by name."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tsm_ref.checkpoint import registry
from tsm_ref.checkpoint.files import load_checkpoint
from tsm_ref.errors import CheckpointError


@pytest.fixture
def folder(saved: Path) -> Path:
    """A folder with one model that is there and one that is not."""
    here = {
        "file": saved.name,
        "sha256": hashlib.sha256(saved.read_bytes()).hexdigest(),
        "task": "nothing",
        "profile": "mit",
        "card": "cards/here.md",
    }
    models = {"here": here, "gone": here | {"file": "gone.h5"}}
    write(saved.parent, {"schema_version": 1, "models": models})
    return saved.parent


def write(folder: Path, tree: Any) -> None:
    (folder / "registry.json").write_text(json.dumps(tree), encoding="utf-8")


def test_a_name_becomes_the_path_of_its_file(folder: Path, saved: Path) -> None:
    path = registry.resolve("here", folder)
    assert path == saved
    assert load_checkpoint(path).graph.name == "tiny"


def test_a_path_is_left_alone(folder: Path, saved: Path) -> None:
    assert registry.resolve(saved, folder) == saved
    assert registry.resolve(str(saved), folder) == saved


def test_a_changed_file_is_refused(folder: Path, saved: Path, refused: Any) -> None:
    saved.write_bytes(saved.read_bytes() + b"\0")
    with refused(CheckpointError, "model.h5", "'here' was changed", "SHA-256"):
        registry.resolve("here", folder)


def test_an_absent_file_is_explained(folder: Path, refused: Any) -> None:
    with refused(CheckpointError, "'gone' is listed, but its file gone.h5 did not ship"):
        registry.resolve("gone", folder)


def test_an_unknown_name_lists_the_known_ones(folder: Path, refused: Any) -> None:
    with refused(CheckpointError, "no file 'hare'", "here, gone", "or give a path"):
        registry.resolve("hare", folder)


def test_without_models_that_is_said(tmp_path: Path, refused: Any) -> None:
    write(tmp_path, {"schema_version": 1, "models": {}})
    with refused(CheckpointError, "no model ships yet"):
        registry.resolve("camera-motion", tmp_path)


@pytest.mark.parametrize(
    "tree",
    [
        [],
        {"schema_version": 2, "models": {}},
        {"models": {}},
        {"schema_version": 1, "models": {"a": {"file": "a.h5"}}},
        {"schema_version": 1, "models": {"a": 3}},
    ],
    ids=str,
)
def test_a_registry_that_breaks_the_schema_is_refused(
    tmp_path: Path, refused: Any, tree: Any
) -> None:
    write(tmp_path, tree)
    with refused(CheckpointError, "the registry of models is unreadable"):
        registry.entries(tmp_path)


def test_the_shipped_registry_is_sound() -> None:
    folder = registry.weights_folder().resolve()
    for name in registry.names():
        entry = registry.entries()[name]
        for part in (entry.file, entry.card):
            assert (folder / part).resolve().is_relative_to(folder)
        assert (folder / entry.card).is_file()
        assert load_checkpoint(registry.resolve(name)).sha256 == entry.sha256


def test_the_wheel_is_preferred_and_its_absence_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Any
) -> None:
    module = tmp_path / "tsm_ref" / "checkpoint" / "registry.py"
    monkeypatch.setattr(registry, "__file__", str(module))
    with refused(CheckpointError, "lacks the folder of weights"):
        registry.weights_folder()
    for folder in (tmp_path / "weights", tmp_path / "tsm_ref" / "_weights"):
        folder.mkdir(parents=True)
        write(folder, {})
        assert registry.weights_folder() == folder
