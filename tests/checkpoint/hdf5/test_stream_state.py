import h5py
import numpy as np
import pytest

from tsm_ref.checkpoint.hdf5.stream_state import load_state, save_state
from tsm_ref.errors import CheckpointError, WriteError

STATE = {
    "layer1.0/relu[0:3]": np.arange(12, dtype=np.float32).reshape(1, 3, 1, 4),
    "ticks": np.array([7], np.int64),
    "sum of fc": np.array([[1.5, -np.inf]]),
    "waiting": np.zeros((0, 2)),
}


@pytest.fixture
def path(tmp_path):
    save_state(tmp_path / "state.h5", STATE, "abc")
    return tmp_path / "state.h5"


def test_a_state_comes_back_as_it_was(path):
    like = {name: np.zeros_like(value) for name, value in STATE.items()}
    found = load_state(path, like, "abc")
    assert found.keys() == STATE.keys()
    for name, value in STATE.items():
        assert found[name].dtype == value.dtype
        assert np.array_equal(found[name], value)


def test_another_model_is_refused(path):
    with pytest.raises(CheckpointError, match="belongs to another model, or to other weights"):
        load_state(path, STATE, "abd")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ticks": np.zeros(2, np.int64)}, r"'ticks' has the shape \(1,\); expected \(2,\)"),
        ({"ticks": np.zeros(1)}, "'ticks' has the type int64; accepted: float64"),
        ({"more": np.zeros(1)}, "1 tensor is missing"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(path, change, words):
    with pytest.raises(CheckpointError, match=words):
        load_state(path, {**STATE, **change}, "abc")


def test_tensors_that_nobody_asked_for_are_refused(path):
    like = {name: value for name, value in STATE.items() if name != "ticks"}
    with pytest.raises(CheckpointError, match="1 tensor is not expected"):
        load_state(path, like, "abc")


@pytest.mark.parametrize(("name", "value"), [("format", b"other"), ("version", 1)])
def test_other_files_are_refused(path, name, value):
    with h5py.File(path, "r+") as file:
        del file.attrs[name]
        file.attrs[name] = np.bytes_(value) if isinstance(value, bytes) else np.int64(value)
    with pytest.raises(CheckpointError, match=r"does not say so|version of the state is 1; known"):
        load_state(path, STATE, "abc")


def test_damage_is_named(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match="truncated"):
        load_state(path, STATE, "abc")
    path.write_bytes(b"not HDF5 at all")
    with pytest.raises(CheckpointError, match=r"state\.h5: this is not an HDF5 file"):
        load_state(path, STATE, "abc")


@pytest.mark.parametrize("name", [name for name, value in STATE.items() if value.size])
def test_a_flipped_bit_is_found(path, name):
    data = path.read_bytes()
    at = data.index(STATE[name].tobytes())
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    with pytest.raises(CheckpointError, match="do not match their SHA-256"):
        load_state(path, STATE, "abc")


def test_a_state_that_cannot_be_written_leaves_the_old_one(path, monkeypatch):
    before = path.read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(WriteError, match=r"state\.h5: the file cannot be written"):
        save_state(path, {"ticks": np.zeros(3)}, "abc")
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["state.h5"]
