"""PyTorch and Paddle files: what is in them, and the ones that must never hurt."""

import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.checkpoint.torch_writer import Pickle, Raw, legacy_file, name, text, zip_file
from tsm_ref.checkpoint.tensors.torch import read_torch
from tsm_ref.errors import CheckpointError

RNG = np.random.default_rng(2)
STATE = {
    "a": RNG.normal(size=(4, 3)).astype(np.float32),
    "b": RNG.normal(size=5),
    "c": RNG.normal(size=(2, 1, 2)).astype(np.float16),
    "n": np.array(7),
    "empty": np.zeros((0, 3), np.float32),
}

Write = Callable[[bytes], Path]


@pytest.fixture
def written(tmp_path: Path) -> Write:
    def write(data: bytes) -> Path:
        path = tmp_path / "model.pth"
        path.write_bytes(data)
        return path

    return write


def values(path: Path) -> dict[str, Any]:
    return {key: entry.read() for key, entry in read_torch(path).entries.items()}


def same(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert list(found) == list(wanted)
    for key, array in wanted.items():
        np.testing.assert_array_equal(found[key].reshape(array.shape), array)
        assert found[key].dtype.name == array.dtype.name


# What is in them


@pytest.mark.parametrize("make", [zip_file, legacy_file])
@pytest.mark.parametrize("key", ["state_dict", "model", None])
def test_tensors_come_out_as_they_went_in(written: Write, make: Any, key: str | None) -> None:
    tree = STATE if key is None else {"epoch": 45, "arch": "resnet18", key: STATE}
    path = written(make(tree))
    same(values(path), STATE)
    assert read_torch(path).notes == ({} if key is None else {"epoch": "45", "arch": "resnet18"})


def test_paddle_writes_one_pickle_of_arrays(written: Write) -> None:
    tree = {**STATE, "StructuredToParameterName@@": {"a": "conv_0.w_0"}, "d": ("d", STATE["b"])}
    for protocol in (2, 4):
        found = values(written(pickle.dumps(tree, protocol)))
        same(found, {**STATE, "d": STATE["b"]})


def test_a_tensor_that_is_a_turned_part_of_a_storage(written: Write) -> None:
    whole = np.arange(24, dtype=np.float32)

    class Turned(Pickle):
        def value(self, value: Any) -> bytes:
            if value is whole:
                return self.tensor(whole, offset=2, shape=(3, 2), strides=(1, 6))
            return super().value(value)

    p = Turned()
    data = zip_file(Raw(p.finished({"w": whole})), {"data/0": whole.tobytes()})
    np.testing.assert_array_equal(
        values(written(data))["w"], whole[2:].reshape(-1)[[[0, 6], [1, 7], [2, 8]]]
    )


def test_the_real_checkpoints(shared_data: Path) -> None:
    (path,) = (shared_data / "onnx").glob("*.pth.tar")
    found = read_torch(path)
    assert len(found.entries) == 122
    assert found.entries["module.new_fc.weight"].shape == (7, 64)
    old = read_torch(shared_data / "checkpoints" / "cifar10_resnet20.th")
    assert old.format == "torch legacy"
    assert sum(e.read().size for k, e in old.entries.items() if "running" not in k) == 269_722


@pytest.mark.parametrize("new", [True, False])
def test_what_torch_itself_writes(tmp_path: Path, new: bool) -> None:
    torch = pytest.importorskip("torch")
    tensors = {key: torch.tensor(value) for key, value in STATE.items()}
    tensors["turned"] = torch.arange(12.0).reshape(3, 4).T
    tensors["part"] = torch.arange(12.0)[3:9:2]
    tensors["half"] = torch.tensor([1.5, -2.25], dtype=torch.bfloat16)
    tensors["learned"] = torch.nn.Parameter(torch.ones(3))
    path = tmp_path / "model.pth"
    torch.save({"state_dict": tensors}, path, _use_new_zipfile_serialization=new)
    found = values(path)
    assert list(found) == list(tensors)
    for key, value in tensors.items():
        wanted = value.detach().float().numpy() if key == "half" else value.detach().numpy()
        np.testing.assert_array_equal(found[key].reshape(wanted.shape), wanted)


# What must never hurt


@pytest.mark.parametrize("make", [zip_file, legacy_file])
def test_cut_anywhere(written: Write, refused: Any, make: Any) -> None:
    data = make({"state_dict": STATE})
    for length in range(4, len(data), 29):
        path = written(data[:length])
        with refused(CheckpointError):
            values(path)


@pytest.mark.parametrize("make", [zip_file, legacy_file])
def test_a_function_in_the_file(written: Write, refused: Any, make: Any) -> None:
    evil = Raw(name("os", "system") + b"(" + text("touch /tmp/executed") + b"tR")
    with refused(CheckpointError, "'os.system'", "never called"):
        read_torch(written(make({"state_dict": STATE, "evil": evil})))


def test_other_zip_archives(written: Write, refused: Any, tmp_path: Path) -> None:
    np.savez(tmp_path / "arrays.npz", a=STATE["a"])
    with refused(CheckpointError, "no single data.pkl"):
        read_torch(tmp_path / "arrays.npz")
    two = zip_file(STATE, {"other/data.pkl": b"\x80\x02}."})
    with refused(CheckpointError, "no single data.pkl"):
        read_torch(written(two))


def test_compressed_members(written: Write, refused: Any) -> None:
    bomb = {"w": np.zeros(2**20, np.float32)}
    with refused(CheckpointError, "is compressed; PyTorch's are not"):
        read_torch(written(zip_file(bomb, compression=zipfile.ZIP_DEFLATED)))


@pytest.mark.parametrize("member", ["../../etc/passwd", "/etc/passwd", "data/..\\0", "a/../b"])
def test_tricks_in_names(written: Write, refused: Any, member: str) -> None:
    with refused(CheckpointError, "has a member named"):
        read_torch(written(zip_file(STATE, {member: b"x"})))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name(written: Write, refused: Any, tmp_path: Path) -> None:
    path = written(zip_file(STATE))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/data/0", b"other")
    with refused(CheckpointError, "has a member named 'archive/data/0'"):
        read_torch(path)


def test_members_that_overlap(written: Write, refused: Any) -> None:
    """The directory says that two members begin at the same place."""
    data = bytearray(zip_file(STATE))
    places = []
    at = data.find(b"PK\x01\x02")
    while at >= 0:
        places.append(at)
        at = data.find(b"PK\x01\x02", at + 4)
    last = struct.unpack_from("<I", data, places[-2] + 42)[0]
    struct.pack_into("<I", data, places[-1] + 42, last)
    with refused(CheckpointError, "overlaps what follows it"):
        read_torch(written(bytes(data)))


@pytest.mark.parametrize("content", [b"", bytes(44), bytes(52)])
def test_storages_of_another_length(written: Write, refused: Any, content: bytes) -> None:
    path = written(zip_file(STATE, {"data/0": content}))
    with refused(CheckpointError, f"'0' has {len(content)} bytes; its type and length take 48"):
        values(path)


def test_a_storage_that_is_not_there(written: Write, refused: Any) -> None:
    pickle_ = Pickle().finished(STATE)
    with refused(CheckpointError, "'0' is not in the file"):
        values(written(zip_file(Raw(pickle_))))


def test_a_damaged_member(written: Write, refused: Any) -> None:
    data = bytearray(zip_file(STATE))
    at = data.find(STATE["a"].tobytes())
    data[at] ^= 1
    with refused(CheckpointError, "'archive/data/0' is damaged"):
        values(written(bytes(data)))


def test_a_tensor_beyond_its_storage(written: Write, refused: Any) -> None:
    weight = STATE["a"]
    for changes, words in (
        ({"shape": (5, 3)}, "reads number 14 of a storage of 12"),
        ({"offset": 1}, "reads number 12 of a storage of 12"),
        ({"strides": (2**40, 1)}, "of a storage of 12"),
        ({"shape": (10**6, 10**6), "strides": (0, 0)}, "repeats its 12 numbers"),
    ):
        p = Pickle()
        code = b"\x80\x02}" + text("w") + p.tensor(weight, **changes) + b"s."
        with refused(CheckpointError, "'w'", words):
            read_torch(written(zip_file(Raw(code), {"data/0": weight.tobytes()})))


def test_big_endian_files(written: Write, refused: Any) -> None:
    with refused(CheckpointError, "big-endian"):
        read_torch(written(zip_file(STATE, {"byteorder": b"big"})))
    with refused(CheckpointError, "big-endian"):
        read_torch(written(legacy_file(STATE, little=False)))


def test_storages_of_a_legacy_file_that_are_not_its_tensors(written: Write, refused: Any) -> None:
    with refused(CheckpointError, "are not those of its tensors"):
        read_torch(written(legacy_file(STATE, keys=["0", "1"])))


def test_a_storage_of_a_legacy_file_past_the_end(written: Write, refused: Any) -> None:
    data = legacy_file({"a": STATE["a"]})
    longer = data[:-56] + struct.pack("<q", 2**40) + data[-48:]
    with refused(CheckpointError, "past the end of the file"):
        read_torch(written(longer))


def test_an_archive_without_members(written: Write, refused: Any) -> None:
    data = zip_file(STATE)
    with refused(CheckpointError, "empty, or cut off"):
        read_torch(written(data[:400] + b"PK\x05\x06" + bytes(18)))


def test_keys_that_are_no_texts(written: Write, refused: Any) -> None:
    """The list of storages of a legacy file may be anything, of any depth."""
    deep = Raw(b"(" + b"]" * 50_000 + b"a" * 49_999 + b"l")
    good = Pickle().finished(["0"])
    data = legacy_file({"a": STATE["a"]}).replace(good, Pickle().finished(deep))
    with refused(CheckpointError, "are not those of its tensors"):
        read_torch(written(data))


@pytest.mark.parametrize("gigabytes", [5, 60])
def test_a_file_larger_than_memory_is_refused_by_its_size(
    tmp_path: Path, refused: Any, gigabytes: int
) -> None:
    """A hole takes no room on the disk, and would take all of the memory."""
    path = tmp_path / "large.pdparams"
    with open(path, "wb") as file:
        file.write(b"\x80\x04\x8e" + (gigabytes * 10**9 - 100).to_bytes(8, "little"))
        file.truncate(gigabytes * 10**9)
    with refused(CheckpointError, f"of {gigabytes}.0 GB is read into memory; at most"):
        read_torch(path)


def test_a_legacy_file_is_read_where_it_must_be(tmp_path: Path) -> None:
    path = tmp_path / "large.pth"
    path.write_bytes(legacy_file({"a": STATE["a"]}))
    os.truncate(path, 10**10)
    same(values(path), {"a": STATE["a"]})


@pytest.mark.parametrize("tree", [[1, 2], {"epoch": 3}, {}, "text", {"state_dict": {}}])
def test_files_without_tensors(written: Write, refused: Any, tree: Any) -> None:
    with refused(CheckpointError, "holds no"):
        read_torch(written(zip_file(tree)))
