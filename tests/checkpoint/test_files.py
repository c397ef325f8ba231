"""The kind of a model file is read off its content."""

import gzip
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tsm_ref.checkpoint.files import load_checkpoint
from tsm_ref.checkpoint.hdf5 import native
from tsm_ref.errors import CheckpointError
from tsm_ref.profile import PROFILES, Sampling, ShiftRule

MIT = PROFILES["mit"]


def test_our_file_is_recognised_whatever_its_name(saved: Path) -> None:
    path = saved.rename(saved.with_name("model.onnx"))
    assert load_checkpoint(path).profile == MIT


def test_a_keras_file_is_read_under_a_profile(shared_data: Path) -> None:
    path = shared_data / "checkpoints" / "TSCAN.rlap.weights.h5"
    assert load_checkpoint(path, PROFILES["ts-can-rlap"]).format == "keras"


def test_a_keras_file_needs_a_profile(h5: h5py.File, finished: Any, refused: Any) -> None:
    h5["inner/d1/layers/conv2d/vars/0"] = np.zeros((3, 3, 3, 32), "float32")
    with refused(CheckpointError, "does not say how its shift works", "ts-can-rlap"):
        load_checkpoint(finished())


def test_no_profile_is_asked_for_where_none_would_help(
    h5: h5py.File, finished: Any, refused: Any
) -> None:
    """The layers of open-rppg's EfficientPhys, which has the name of another network."""
    for layer in ("mc1", "mc2", "mc3", "mc4", "attc1", "attc2", "bn", "dense1", "dense2"):
        h5[f"{layer}/vars/0"] = np.zeros(1, "float32")
    path = finished()
    for profile in (None, PROFILES["mtts-can"]):
        with refused(CheckpointError, "this is the EfficientPhys of open-rppg", "is not read"):
            load_checkpoint(path, profile)


# A profile beside our own file


def test_sampling_may_be_changed_and_labels_stay(saved: Path, graph: Any, weights: Any) -> None:
    native.save(saved, graph, weights, MIT.with_changes(labels=("a", "b"), measured="90 %"))
    wanted = MIT.with_changes(sampling=Sampling("dense"), average="probabilities")
    profile = load_checkpoint(saved, wanted).profile
    assert profile == wanted.with_changes(labels=("a", "b"), measured="90 %")


@pytest.mark.parametrize(
    "changes", [{"shift": ShiftRule("online")}, {"placement": "block"}], ids=["shift", "placement"]
)
def test_what_the_weights_were_trained_with_may_not(
    saved: Path, refused: Any, changes: Any
) -> None:
    with refused(CheckpointError, f"the weights were trained with {next(iter(changes))}"):
        load_checkpoint(saved, MIT.with_changes(**changes))


# Other files


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (gzip.compress(b"model"), "compressed with gzip"),
        (b"\n<!DOCTYPE html><html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"some text", "no kind of model file that is known"),
        (b"x", "no kind of model file that is known"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_kinds_are_named(tmp_path: Path, refused: Any, head: bytes, words: str) -> None:
    (tmp_path / "model.h5").write_bytes(head)
    with refused(CheckpointError, words, "supported are tsm_ref HDF5 files, Keras .h5"):
        load_checkpoint(tmp_path / "model.h5")


def test_arrays_of_numpy_are_no_model(shared_data: Path, refused: Any) -> None:
    for path in (shared_data / "vectors").glob("*.npz"):
        with refused(CheckpointError, "no known implementation"):
            load_checkpoint(path)


def test_files_of_tensors_are_told_by_their_content(tmp_path: Path, refused: Any) -> None:
    for head, words in (
        (b"PK\x03\x04\0\0", "the zip archive is cut off"),
        (b"\x80\x02}q\0", "the pickle is damaged or cut off"),
    ):
        (tmp_path / "model.h5").write_bytes(head)
        with refused(CheckpointError, words):
            load_checkpoint(tmp_path / "model.h5")


def test_a_missing_file_is_named(tmp_path: Path, refused: Any) -> None:
    with refused(CheckpointError, "there is no such file"):
        load_checkpoint(tmp_path / "absent.h5")
