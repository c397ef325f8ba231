"""The tensors of ONNX files: sizes and types that lie, half precision, values in other files."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, numpy_helper

from tests.checkpoint.onnx_in.tiny import WEIGHT, tiny
from tsm_ref.checkpoint import load_checkpoint
from tsm_ref.checkpoint.onnx_in.tensors import MAX_ELEMENTS
from tsm_ref.errors import CheckpointError

# Sizes and types


def test_negative_dimension_of_a_tensor(wrong: Any) -> None:
    model = tiny()
    model.graph.initializer[0].dims[0] = -4
    wrong(model, "a size cannot be negative")


@pytest.mark.parametrize("size", [1_000_000, 2**32])
def test_a_huge_tensor_without_data(wrong: Any, size: int) -> None:
    tensor = TensorProto(name="w", data_type=1, dims=[size, size])
    wrong(tiny(initializers=[tensor]), f"declares {size * size} values", str(MAX_ELEMENTS))


@pytest.mark.parametrize("change", [-4, 4])
def test_raw_data_of_another_length(wrong: Any, change: int) -> None:
    model = tiny()
    data = model.graph.initializer[0].raw_data
    model.graph.initializer[0].raw_data = data[:change] if change < 0 else data + bytes(change)
    wrong(model, f"has {432 + change} bytes; its shape and type take 432")


def test_typed_data_of_another_length(wrong: Any) -> None:
    tensor = TensorProto(name="w", data_type=1, dims=[4, 3, 3, 3], float_data=[1.0, 2.0])
    wrong(tiny(initializers=[tensor]), "has 2 values; its shape takes 108")


@pytest.mark.parametrize(
    ("kind", "name"), [(0, "undefined"), (8, "string"), (14, "complex64"), (99, "with the unknown")]
)
def test_unknown_type(wrong: Any, kind: int, name: str) -> None:
    model = tiny()
    model.graph.initializer[0].data_type = kind
    wrong(model, f"'w' has the type {name}")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_no_numbers(wrong: Any, bad: float) -> None:
    weight = WEIGHT.copy()
    weight[1, 2, 0, 1] = bad
    wrong(tiny(initializers=[numpy_helper.from_array(weight, "w")]), "'w' holds a NaN")


# Half precision


def test_float16_is_widened_exactly_and_recorded(written: Any) -> None:
    half = WEIGHT.astype(np.float16)
    found = load_checkpoint(written(tiny(initializers=[numpy_helper.from_array(half, "w")])))
    assert found.storage == "float16"
    np.testing.assert_array_equal(found.weights["w"][:, :, 0], half.astype(np.float32))


def test_bfloat16_is_widened_exactly_and_recorded(written: Any) -> None:
    bits = (WEIGHT.view(np.uint32) >> 16).astype(np.uint16)
    tensor = TensorProto(name="w", data_type=16, dims=WEIGHT.shape, raw_data=bits.tobytes())
    found = load_checkpoint(written(tiny(initializers=[tensor])))
    assert found.storage == "bfloat16"
    wanted = (bits.astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_array_equal(found.weights["w"][:, :, 0], wanted)


# Tensors in other files


@pytest.fixture
def outside(tmp_path: Path, written: Any) -> Callable[..., Path]:
    """A model whose weight is kept elsewhere."""

    def write(location: str, **facts: int) -> Path:
        tensor = TensorProto(name="w", data_type=1, dims=WEIGHT.shape, data_location=1)
        for key, value in {"location": location, **facts}.items():
            tensor.external_data.add(key=key, value=str(value))
        return Path(written(tiny(initializers=[tensor])))

    (tmp_path / "model.data").write_bytes(bytes(16) + WEIGHT.tobytes())
    return write


def test_a_plain_file_beside_the_model_is_read(outside: Any) -> None:
    found = load_checkpoint(outside("model.data", offset=16, length=432))
    np.testing.assert_array_equal(found.weights["w"][:, :, 0], WEIGHT)


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "a/b", "", "..", "a\\b", "."])
def test_other_places_are_refused(outside: Any, refused: Any, location: str) -> None:
    with refused(CheckpointError, "only a plain file name beside the model is read"):
        load_checkpoint(outside(location))


def test_links_folders_and_pipes_are_refused(outside: Any, refused: Any, tmp_path: Path) -> None:
    target = tmp_path / "model.data"
    (tmp_path / "soft").symlink_to(target)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("soft", "pipe", "folder", "absent"):
        with refused(CheckpointError, f"'{name}'"):
            load_checkpoint(outside(name))
    os.link(target, tmp_path / "hard")
    with refused(CheckpointError, "a link or no plain file"):
        load_checkpoint(outside("hard"))


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"offset": 17}, "past the end"),
        ({"offset": -1}, "external length"),
        ({"offset": 0, "length": 400}, "takes 432 bytes"),
        ({"offset": 2**62}, "past the end"),
    ],
)
def test_places_inside_the_other_file(
    outside: Any, refused: Any, facts: dict[str, int], words: str
) -> None:
    with refused(CheckpointError, words):
        load_checkpoint(outside("model.data", **facts))
