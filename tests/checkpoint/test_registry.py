"""The models that ship, by name."""

import hashlib
import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from tsm_ref.checkpoint import registry
from tsm_ref.checkpoint.files import load_checkpoint
from tsm_ref.errors import CheckpointError
from tsm_ref.models import ARCHITECTURES


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
    write(saved.parent, {"schema_version": 2, "shipped": models})
    return saved.parent


def write(folder: Path, tree: Any) -> None:
    """Write the registry as TOML: numbers, and tables of tables of texts."""
    lines = [f"{k} = {json.dumps(v)}" for k, v in tree.items() if not isinstance(v, dict)]
    for kind, models in tree.items():
        for name, entry in models.items() if isinstance(models, dict) else ():
            lines.append(f"[{kind}.{name}]")
            lines += [f"{k} = {json.dumps(v)}" for k, v in entry.items()]
    (folder / "registry.toml").write_text("\n".join(lines), encoding="utf-8")


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
    write(tmp_path, {"schema_version": 2})
    with refused(CheckpointError, "no model ships yet"):
        registry.resolve("camera-motion", tmp_path)


@pytest.mark.parametrize(
    "tree",
    [
        {},
        {"schema_version": 1},
        {"schema_version": 2, "shipped": 3},
        {"schema_version": 2, "shipped": {"a": {"file": "a.h5"}}},
        {"schema_version": 2, "published": {"a": {"url": "https://example.org"}}},
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
    for name, entry in registry.entries().items():
        for part in (entry.file, entry.card):
            assert (folder / part).resolve().is_relative_to(folder)
        assert (folder / entry.card).is_file()
        assert load_checkpoint(registry.resolve(name)).sha256 == entry.sha256


# What others published


def test_every_published_checkpoint_of_the_field_is_listed() -> None:
    """Thirteen of MIT, ten of MMAction2, five of PaddleVideo; each with what it means."""
    found = registry.published()
    ends = [name.rpartition("-")[2] for name in found]
    assert [ends.count(end) for end in ("mit", "mmaction2", "paddle")] == [13, 11, 5]
    assert set(registry.names()) == {*registry.entries(), *found}
    for name, entry in found.items():
        assert re.fullmatch(r"https://\S+\.(pth|pth\.tar|pdparams)", entry.url), name
        assert re.fullmatch(r"[0-9a-f]{8}|[0-9a-f]{64}|", entry.sha256), name
        assert entry.readable == (entry.note == ""), name
        assert not entry.readable or entry.architecture in ARCHITECTURES, name
        assert entry.licence, name
        assert entry.meaning(registry.weights_folder()).sampling.segments == entry.segments
    assert len({entry.url for entry in found.values()}) == len(found)


def test_the_digits_in_the_names_of_mmaction2_are_the_digest() -> None:
    for name, entry in registry.published().items():
        if name.endswith("mmaction2"):
            assert entry.url.endswith(f"-{entry.sha256}.pth")


def test_the_fields_of_an_entry_are_explained() -> None:
    assert {f.name for f in fields(registry.Published)} >= {
        *("url", "sha256", "architecture", "profile", "labels", "accuracy", "licence")
    }


def test_the_shift_of_paddle_follows_the_segments() -> None:
    found = {name: e.meaning(registry.weights_folder()) for name, e in registry.published().items()}
    divisors = {name: profile.shift.divisor for name, profile in found.items()}
    assert divisors["pptsm-r50-k400-8f-uniform-paddle"] == 8
    assert divisors["pptsmv2-k400-16f-paddle"] == 16
    assert divisors["tsm-r50-k400-16f-mit"] == 8


def test_a_published_name_that_cannot_be_read_says_why(tmp_path: Path, refused: Any) -> None:
    entry = vars(registry.published()["tsm-r50-k400-8f-mit"])
    unread = {**entry, "readable": False, "note": "nobody knows what it is"}
    rows = "\n".join(f"{key} = {json.dumps(value)}" for key, value in unread.items())
    text = f"schema_version = 2\n[published.odd]\n{rows}"
    (tmp_path / "registry.toml").write_text(text, encoding="utf-8")
    with refused(CheckpointError, "'odd' cannot be read: nobody knows what it is"):
        registry.resolve("odd", tmp_path)


def test_the_wheel_is_preferred_and_its_absence_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Any
) -> None:
    module = tmp_path / "tsm_ref" / "checkpoint" / "registry.py"
    monkeypatch.setattr(registry, "__file__", str(module))
    with refused(CheckpointError, "lacks the folder of weights"):
        registry.weights_folder()
    for folder in (tmp_path / "weights", tmp_path / "tsm_ref" / "_weights"):
        folder.mkdir(parents=True)
        write(folder, {"schema_version": 2})
        assert registry.weights_folder() == folder
