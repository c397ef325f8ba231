"""Archives around weights: NumPy's, exported programs, TorchScript, shards, plain HDF5, others."""

import gzip
import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.checkpoint.tensors.renamed_networks import mit, resnet, tensors_of
from tests.checkpoint.torch_writer import Pickle, Raw, name, text, zip_file
from tsm_ref.checkpoint import Checkpoint, load_checkpoint
from tsm_ref.checkpoint.tensors.archives import read_npz
from tsm_ref.errors import CheckpointError
from tsm_ref.models import random_weights

GRAPH = resnet()
NAME = "TSM_x_RGB_resnet18_shift8_blockres_avg_segment8_e5"


def tensors() -> dict[str, Any]:
    found = tensors_of(GRAPH, mit(GRAPH))
    return {key.removeprefix("module."): value for key, value in found.items()}


def is_right(found: Checkpoint) -> None:
    assert found.graph.nodes == GRAPH.nodes
    assert found.warnings == ()
    for key, value in random_weights(GRAPH, seed=4).items():
        np.testing.assert_array_equal(found.weights[key], value)


# What is only a wrapper


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_of_numpy(tmp_path: Path, save: Any) -> None:
    save(tmp_path / f"{NAME}.npz", **tensors())
    found = load_checkpoint(tmp_path / f"{NAME}.npz")
    assert found.format == "MIT, npz"
    is_right(found)


def exported(values: Mapping[str, Any], **changes: Any) -> bytes:
    """A program as torch.export saves it: a table of weights, and one member for each."""
    file, config = io.BytesIO(), {}
    with zipfile.ZipFile(file, "w") as archive:
        for i, (key, value) in enumerate(values.items()):
            sizes = [{"as_int": size} for size in value.shape]
            steps = [{"as_int": step // value.itemsize} for step in value.strides]
            kind = {"float32": 7, "int64": 5}[value.dtype.name]
            meta = {"dtype": kind, "sizes": sizes, "strides": steps, "layout": 7}
            weight = {"path_name": f"weight_{i}", "use_pickle": False, "tensor_meta": meta}
            config[key] = weight | changes
            archive.writestr(f"x/data/weights/weight_{i}", np.ascontiguousarray(value).tobytes())
        table = json.dumps({"config": config})
        archive.writestr("x/data/weights/model_weights_config.json", table)
        archive.writestr("x/archive_format", "pt2")
    return file.getvalue()


def test_an_exported_program(tmp_path: Path) -> None:
    path = tmp_path / f"{NAME}.pt2"
    path.write_bytes(exported(tensors()))
    found = load_checkpoint(path)
    assert found.format == "MIT, torch export"
    is_right(found)


def test_an_exported_program_of_an_older_pytorch(tmp_path: Path, refused: Any) -> None:
    path = tmp_path / "x.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("serialized_exported_program.json", "{}")
    with refused(CheckpointError, "torch.save(torch.export.load(FILE).state_dict()"):
        load_checkpoint(path)


def described(size: int) -> dict[str, Any]:
    return {"dtype": 7, "sizes": [{"as_int": size}], "strides": [{"as_int": 1}]}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"path_name": "weight_99"}, "is not in it"),
        ({"path_name": None}, "is not in it"),
        ({"use_pickle": True}, "is not in it"),
        ({"tensor_meta": {}}, "is damaged"),
        ({"tensor_meta": described(9)}, "as long as its shape"),
        ({"tensor_meta": described(-1)}, "is not in it"),
        ({"tensor_meta": {"dtype": 99, "sizes": [], "strides": []}}, "is not in it"),
    ],
)  # fmt: skip
def test_damage_of_an_exported_program(
    tmp_path: Path, refused: Any, changes: Any, words: str
) -> None:
    path = tmp_path / "x.pt2"
    path.write_bytes(exported({"a": np.ones(2, np.float32)}, **changes))
    with refused(CheckpointError, words):
        load_checkpoint(path)


class Script(Pickle):
    """Writes modules as TorchScript does: the state of each is what it holds, by name."""

    def module(self, values: Mapping[str, Any]) -> bytes:
        inner: dict[str, Any] = {}
        for key, value in values.items():
            head, dot, rest = key.partition(".")
            if dot:
                inner.setdefault(head, {})[rest] = value
            else:
                inner[head] = value
        state = text("training") + b"\x89" + b"".join(
            text(key) + (self.module(v) if isinstance(v, dict) else self.tensor(v))
            for key, v in inner.items()
        )  # fmt: skip
        return name("__torch__.mine", "Block") + b")\x81}(" + state + b"ub"


def test_torchscript(tmp_path: Path) -> None:
    script = Script()
    code = b"\x80\x02" + script.module(tensors()) + b"."
    members = {f"data/{i}": s.tobytes() for i, s in enumerate(script.storages)}
    path = tmp_path / f"{NAME}.pt"
    path.write_bytes(zip_file(Raw(code), members | {"constants.pkl": b"\x80\x02)."}))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/code/__torch__/mine.py", "class Block(Module): ..." * 99)
    is_right(load_checkpoint(path))


def test_shards(tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors.numpy")
    found = tensors()
    names = list(found)
    parts = {"m-1.safetensors": names[:20], "m-2.safetensors": names[20:]}
    for file, keys in parts.items():
        library.save_file({key: np.ascontiguousarray(found[key]) for key in keys}, tmp_path / file)
    places = {key: file for file, keys in parts.items() for key in keys}
    path = tmp_path / f"{NAME}.safetensors.index.json"
    path.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    loaded = load_checkpoint(path)
    assert loaded.format == "MIT, 2 shards"
    is_right(loaded)
    whole = b"".join((tmp_path / file).read_bytes() for file in (path.name, *parts))
    assert loaded.sha256 == hashlib.sha256(whole).hexdigest()


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ("{}", "no index"),
        ('{"weight_map": {"a": "../x.safetensors"}}', "other folders"),
        ('{"weight_map": {"a": "/etc/passwd"}}', "other folders"),
        ('{"weight_map": {"a": 3}}', "other folders"),
        ('{"weight_map": {"a": ["x"]}}', "no index"),
        ('{"weight_map": {"a": "gone.safetensors"}}', "the shard 'gone.safetensors': there is no"),
        ("{" * 9000, "no index"),
    ],
)
def test_an_index_of_nothing(tmp_path: Path, refused: Any, index: str, words: str) -> None:
    path = tmp_path / "x.index.json"
    path.write_text(index)
    with refused(CheckpointError, words):
        load_checkpoint(path)


@pytest.mark.parametrize("parted", [True, False])
def test_a_state_dict_in_hdf5(tmp_path: Path, parted: bool) -> None:
    path = tmp_path / f"{NAME}.h5"
    with h5py.File(path, "w") as file:
        for key, value in tensors().items():
            file[key.replace(".", "/") if parted else key] = value
    found = load_checkpoint(path)
    assert found.format == "MIT, hdf5"
    is_right(found)


# What must be unpacked first


def test_what_has_to_be_unpacked_says_how(tmp_path: Path, refused: Any) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(gzip.compress(b"x" * 999))
    with refused(CheckpointError, "compressed with gzip: unpack it with `gzip -dk FILE`"):
        load_checkpoint(path)
    with tarfile.open(path, "w") as archive:
        archive.add(__file__, "model.pth")
    with refused(CheckpointError, "a tar archive: unpack it with `tar -xf FILE`"):
        load_checkpoint(path)
    with zipfile.ZipFile(path, "w") as zipped:
        zipped.writestr("best/model.pth", b"x")
    with refused(CheckpointError, "'best/model.pth'", "python -m zipfile -e FILE FOLDER"):
        load_checkpoint(path)


# What must never hurt


def test_objects_in_numpy_arrays(tmp_path: Path, refused: Any) -> None:
    np.savez(tmp_path / "x.npz", a=np.array([{}, 1], object))
    with refused(CheckpointError, "'a' is not made of numbers"):
        read_npz(tmp_path / "x.npz")


@pytest.mark.parametrize("wrong", [b"(9,)", b"(7,)", b"(x,)", b"(-8)", b"((((", b"8,,)"])
def test_a_header_that_lies(tmp_path: Path, refused: Any, wrong: bytes) -> None:
    file = io.BytesIO()
    np.save(file, np.ones(8, np.float32))
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", file.getvalue().replace(b"(8,)", wrong))
    with refused(CheckpointError, "the array 'a"):
        read_npz(path)


def test_a_bomb_is_not_inflated(tmp_path: Path, refused: Any) -> None:
    """What inflates to a gigabyte says so, and is of no network: it stays as it is."""
    header = {"shape": (2**26,), "fortran_order": False, "descr": "<f4"}
    with (
        zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("conv1.weight.npy", "w") as file,
    ):
        np.lib.format.write_array_header_1_0(file, header)
        for _ in range(64):
            file.write(bytes(2**22))
    with refused(CheckpointError, "no known implementation"):
        load_checkpoint(tmp_path / "x.npz")
