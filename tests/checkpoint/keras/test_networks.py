"""Networks known by the names of their layers, against the same network told layer by layer."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.checkpoint import keras_writer
from tests.checkpoint.keras_writer import Writer, save_keras_2, save_keras_3, save_model
from tsm_ref.checkpoint import load_checkpoint
from tsm_ref.checkpoint.keras.building import keras_shape
from tsm_ref.checkpoint.keras.graph import graph_of
from tsm_ref.checkpoint.keras.networks import CREATED
from tsm_ref.engine.oracle import run_oracle
from tsm_ref.errors import CheckpointError
from tsm_ref.models import build_ts_can
from tsm_ref.profile import PROFILES, Profile

Values = dict[str, Any]
SIDES = (33, 32)


def profile_of(placement: str, sides: tuple[int, int] = SIDES) -> Profile:
    mit = PROFILES["mit"]
    return replace(mit, placement=placement, preprocess=replace(mit.preprocess, crop=sides))


def values_of(writer: Writer) -> Values:
    """Random tensors for every layer of a network."""
    rng = np.random.default_rng(4)
    _, variables = graph_of(writer.json())
    values: Values = {}
    for v in variables.values():
        if v.name in ("gamma", "moving_variance"):
            value = rng.uniform(0.5, 1.5, v.shape)
        elif v.name.endswith("kernel"):
            summed = v.shape[:-1] if v.name == "kernel" else v.shape[:2]
            value = rng.normal(size=v.shape) * np.sqrt(2 / np.prod(summed))
        else:
            value = 0.1 * rng.normal(size=v.shape)
        values[f"{v.layer}/{v.name}"] = value.astype("f4")
    return values


def run(path: Path, profile: Profile | None, sides: tuple[int, int] = SIDES) -> Any:
    """What a file computes of two clips of three frames, in float64."""
    found = load_checkpoint(path, profile)
    x = np.random.default_rng(6).normal(size=(2, 3, 3, *sides))
    doubles = {name: values.astype(np.float64) for name, values in found.weights.items()}
    entry, output = found.graph.inputs[0].name, found.graph.outputs[0]
    y = run_oracle(found.graph, doubles, {entry: x})[output]
    assert np.abs(y[0] - y[1]).max() > 1e-3, "what the clips show must reach the output"
    return found, y


LAYOUTS: dict[str, Callable[[Path, Values], Path]] = {
    "Keras 2": save_keras_2,
    "Keras 3, legacy": lambda path, values: save_keras_2(path, values, end=""),
    "Keras 3": save_keras_3,
}


# ResNet and MobileNetV2 of Keras applications


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_resnet_known_by_names_is_the_one_told_layer_by_layer(
    tmp_path: Path, layout: str, version: int
) -> None:
    writer = keras_writer.resnet((1, 2, 1, 1), 4, 5, SIDES, version)
    values = values_of(writer)
    told, wanted = run(save_model(tmp_path / "model.h5", values, writer.json()), None)
    path = LAYOUTS[layout](tmp_path / "weights.h5", values)
    found, y = run(path, profile_of("none"))
    assert (told.graph.name, found.graph.name) == ("keras", "tsn-resnet")
    np.testing.assert_allclose(y, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("sides", [(33, 32), (45, 47)], ids=str)
@pytest.mark.parametrize("width", [0.35, 0.5])
def test_a_mobilenet_known_by_names_is_the_one_told_layer_by_layer(
    tmp_path: Path, width: float, sides: tuple[int, int]
) -> None:
    """Its pads depend on the size of the frames, which the profile gives."""
    writer = keras_writer.mobilenet_v2(width, 5, sides)
    values = values_of(writer)
    _, wanted = run(save_model(tmp_path / "model.h5", values, writer.json()), None, sides)
    for name, save in LAYOUTS.items():
        path = save(tmp_path / f"{name}.h5", values)
        found, y = run(path, profile_of("none", sides), sides)
        assert found.graph.name == "tsn-mobilenetv2"
        np.testing.assert_allclose(y, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("blocks", "name"), [((3, 4, 6, 3), "resnet50"), ((3, 4, 23, 3), "resnet101")]
)
def test_the_published_depths_are_named(tmp_path: Path, blocks: Any, name: str) -> None:
    path = save_keras_2(tmp_path / "w.h5", values_of(keras_writer.resnet(blocks, 8, 5)))
    assert load_checkpoint(path, profile_of("none")).graph.name == f"tsn-{name}"
    shifted = load_checkpoint(path, profile_of("blockres")).graph
    assert shifted.name == f"tsm-{name}"
    assert len(list(shifted.select("TemporalShift"))) == {"resnet50": 16, "resnet101": 18}[name]


@pytest.mark.parametrize("network", ["resnet", "mobilenet"])
def test_the_profile_shifts_the_network(tmp_path: Path, network: str) -> None:
    writer = (
        keras_writer.resnet((1, 1, 1, 1), 8, 5)
        if network == "resnet"
        else keras_writer.mobilenet_v2(0.35, 5, SIDES)
    )
    path = save_keras_2(tmp_path / "w.h5", values_of(writer))
    plain, still = run(path, profile_of("none"))
    shifted, moved = run(path, profile_of("blockres"))
    assert not list(plain.graph.select("TemporalShift"))
    shifts = list(shifted.graph.select("TemporalShift"))
    assert len(shifts) == {"resnet": 4, "mobilenet": 10}[network]
    assert np.abs(moved - still).max() > 1e-4
    for name, values in plain.weights.items():
        np.testing.assert_array_equal(shifted.weights[name], values)


def test_a_whole_model_under_a_profile_that_shifts_is_known_by_its_names(tmp_path: Path) -> None:
    writer = keras_writer.resnet((1, 1, 1, 1), 8, 5)
    values = values_of(writer)
    path = save_model(tmp_path / "model.h5", values, writer.json())
    plain = save_keras_2(tmp_path / "weights.h5", values)
    profile = profile_of("blockres")
    assert load_checkpoint(path, profile).graph == load_checkpoint(plain, profile).graph


def test_a_mobilenet_needs_a_size_of_frames(tmp_path: Path, refused: Any) -> None:
    values = values_of(keras_writer.mobilenet_v2(0.35, 5, SIDES))
    path = save_keras_2(tmp_path / "w.h5", values)
    mit = PROFILES["mit"]
    sizeless = replace(mit, preprocess=replace(mit.preprocess, crop=None))
    with refused(CheckpointError, "depends on a size of frames"):
        load_checkpoint(path, sizeless)
    with refused(CheckpointError, "inside its blocks"):
        load_checkpoint(path, replace(mit, placement="block"))


def refused_change(
    tmp_path: Path, refused: Any, change: Callable[[Values], object], *words: str
) -> None:
    values = values_of(keras_writer.resnet((1, 1, 1, 1), 4, 5))
    change(values)
    with refused(CheckpointError, *words):
        load_checkpoint(save_keras_2(tmp_path / "w.h5", values), profile_of("none"))


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("conv2_block1_2_bn/gamma", None, "1 tensor is missing ('conv2_block1_2_bn/gamma')"),
        ("conv2_block1_2_bn/extra", np.ones(3, "f4"), "1 tensor is not expected"),
        ("conv2_block1_2_bn/gamma", np.ones(3, "f4"), "is (3,), not (4,)"),
        ("conv1_conv/kernel", None, "'conv1_conv' is missing or no convolution"),
        ("conv1_conv/kernel", np.ones((7, 7), "f4"), "2 dense layers"),
        ("predictions/kernel", None, "0 dense layers"),
        ("fc2/kernel", np.ones((3, 3), "f4"), "2 dense layers"),
        ("conv2_preact_block1_bn/gamma", np.ones(3, "f4"), "normalises before"),
        ("conv7_block1_1_conv/kernel", np.ones((1, 1, 3, 3), "f4"), "not expected"),
    ],
)
def test_a_resnet_that_does_not_fit(
    tmp_path: Path, refused: Any, key: str, value: Any, words: str
) -> None:
    def change(values: Values) -> None:
        if value is None:
            del values[key]
        else:
            values[key] = value

    refused_change(tmp_path, refused, change, words)


def test_a_missing_stage_is_counted(tmp_path: Path, refused: Any) -> None:
    def change(values: Values) -> None:
        for key in [key for key in values if key.startswith("conv3_")]:
            del values[key]

    refused_change(
        tmp_path, refused, change, "48 tensors are not expected ('conv4_block1_0_bn/beta'"
    )


@pytest.mark.parametrize(
    ("name", "count", "words"),
    [
        ("conv{}_block1_1_conv", 20, "`blocks` (=(1, 1, 1, 1, 1, 1, 1, 1))"),
        ("conv2_block{}_1_conv", 300, "100 tensors are not expected ('conv2_block201_1_conv/"),
    ],
)
def test_stages_and_blocks_without_end_are_not_counted(
    tmp_path: Path, refused: Any, name: str, count: int, words: str
) -> None:
    """Nobody's time is spent on a network that is made of names alone."""
    values = values_of(keras_writer.resnet((1, 1, 1, 1), 4, 5))
    more = {f"{name.format(i)}/kernel": np.ones((1, 1, 4, 4), "f4") for i in range(1, count + 1)}
    with refused(CheckpointError, words):
        load_checkpoint(save_keras_2(tmp_path / "w.h5", more | values), profile_of("none"))


# TS-CAN and MTTS-CAN, whose layers have no names of their own

IN_CODE = (
    *("motion_conv1", "motion_conv2", "appearance_conv1", "appearance_conv2", "attention1"),
    *("motion_conv3", "motion_conv4", "appearance_conv3", "appearance_conv4", "attention2"),
)
HEADS = {1: ("pulse",), 2: ("pulse", "respiration")}


def ts_can(heads: int, order: tuple[str, ...] = IN_CODE, start: int = 0) -> tuple[Any, Values]:
    """Our weights, and the same as Keras names them: numbered as the layers were made."""
    rng = np.random.default_rng(3)
    graph = build_ts_can(heads=HEADS[heads], name="ts-can" if heads == 1 else "mtts-can")
    ours = {name: rng.normal(size=shape).astype("f4") for name, shape in graph.parameters.items()}
    names = {
        layer: f"conv2d_{number}" if number else "conv2d"
        for number, layer in enumerate(order, start)
    }
    if heads == 1:
        names |= {"dense1": "dense", "dense2": "dense_1"}
    else:
        names |= {"dense1": "dense", "dense1_respiration": "dense_1"}
        names |= {"dense2": "output_1", "dense2_respiration": "output_2"}
    values = {}
    for name, value in ours.items():
        layer, _, role = name.rpartition(".")
        turned = value[:, :, 0].transpose(2, 3, 1, 0) if value.ndim == 5 else value.T
        values[f"{names[layer]}/{'kernel' if role == 'weight' else 'bias'}"] = turned
    return ours, values


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("start", [0, 12])
@pytest.mark.parametrize("heads", [1, 2])
def test_ts_can_is_read_in_every_layout(
    tmp_path: Path, heads: int, start: int, layout: str
) -> None:
    """A second network made in the same process goes on counting: conv2d_12, ..."""
    ours, values = ts_can(heads, start=start)
    found = load_checkpoint(LAYOUTS[layout](tmp_path / "w.h5", values), PROFILES["mtts-can"])
    assert found.graph.name == {1: "ts-can", 2: "mtts-can"}[heads]
    assert found.graph.outputs == HEADS[heads]
    assert len(list(found.graph.select("TemporalShift"))) == 4
    for name, value in ours.items():
        np.testing.assert_array_equal(found.weights[name], value)


def test_layers_without_names_are_refused(tmp_path: Path, refused: Any) -> None:
    """Some versions of Keras 3 keep no names and number the layers by their depth.

    Which branch is the deeper one hangs on how the shift was written; the shapes are the same.
    """
    assert sorted(CREATED) == sorted(IN_CODE)
    _, values = ts_can(1)
    path = save_keras_3(tmp_path / "w.weights.h5", values, named=False)
    with refused(CheckpointError, "keeps no names of its layers", "save it again"):
        load_checkpoint(path, PROFILES["mtts-can"])


def test_heads_without_numbers_are_refused(tmp_path: Path, refused: Any) -> None:
    _, values = ts_can(2)
    names = {"output_1": "heart", "output_2": "breath"}
    for ours, theirs in names.items():
        for role in ("kernel", "bias"):
            values[f"{theirs}/{role}"] = values.pop(f"{ours}/{role}")
    with refused(CheckpointError, "'breath' and 'heart' do not tell which layer is of the pulse"):
        load_checkpoint(save_keras_2(tmp_path / "w.h5", values), PROFILES["mtts-can"])


def test_half_precision_is_recorded(tmp_path: Path) -> None:
    _, values = ts_can(2)
    halves = {key: value.astype("f2") for key, value in values.items()}
    found = load_checkpoint(save_keras_2(tmp_path / "w.h5", halves), PROFILES["mtts-can"])
    assert found.storage == "float16"
    assert all(value.dtype == np.float32 for value in found.weights.values())


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("conv2d_3/kernel", "1 tensor is missing ('conv2d_3/kernel')"),
        ("dense_1/bias", "1 tensor is missing ('dense_1/bias')"),
    ],
)
def test_a_missing_layer_of_ts_can_is_named(
    tmp_path: Path, refused: Any, key: str, words: str
) -> None:
    _, values = ts_can(2)
    del values[key]
    with refused(CheckpointError, words):
        load_checkpoint(save_keras_2(tmp_path / "w.h5", values), PROFILES["mtts-can"])


@pytest.mark.parametrize(
    ("gone", "words"),
    [
        ("conv2d_3", "2 tensors are missing ('conv2d_3/kernel', 'conv2d_3/bias')"),
        ("dense", "are not those of a TS-CAN"),
        ("dense_1", "are not those of a TS-CAN"),
    ],
)
def test_a_whole_layer_of_ts_can_that_is_missing(
    tmp_path: Path, refused: Any, gone: str, words: str
) -> None:
    _, values = ts_can(1)
    kept = {key: value for key, value in values.items() if key.partition("/")[0] != gone}
    with refused(CheckpointError, words):
        load_checkpoint(save_keras_2(tmp_path / "w.h5", kept), PROFILES["mtts-can"])


def test_convolutions_without_a_mask_are_no_ts_can(tmp_path: Path, refused: Any) -> None:
    _, values = ts_can(1)
    kept = {key: value for key, value in values.items() if value.shape[-1] != 1}
    with refused(CheckpointError, "no known Keras network has these layers"):
        load_checkpoint(save_keras_2(tmp_path / "w.h5", kept), PROFILES["mtts-can"])


def test_a_ts_can_of_another_size_is_counted(tmp_path: Path, refused: Any) -> None:
    _, values = ts_can(1)
    values["dense/kernel"] = np.ones((3136 + 64, 128), "f4")
    with refused(CheckpointError, "1 tensor has another shape", "(3200, 128), not (3136, 128)"):
        load_checkpoint(save_keras_2(tmp_path / "w.h5", values), PROFILES["mtts-can"])


# The table of layers


def test_two_layers_of_one_name_are_refused(tmp_path: Path, refused: Any) -> None:
    path = save_keras_3(tmp_path / "w.h5", {"a/kernel": np.ones((2, 2)), "b/kernel": np.ones(2)})
    with h5py.File(path, "r+") as file:
        file["layers/norm/vars"].attrs["name"] = "a"
    with refused(CheckpointError, "are both 'a/vars/0'"):
        load_checkpoint(path, PROFILES["mit"])


def test_a_model_within_a_model_is_read_by_its_own_layers(tmp_path: Path) -> None:
    """Keras 2 puts the layers of an inner model under the name of that model."""
    values = values_of(keras_writer.resnet((1, 1, 1, 1), 4, 5))
    path = save_keras_2(tmp_path / "w.h5", values)
    with h5py.File(path, "r+") as file:
        for layer in [name for name in file if name != "predictions"]:
            file[f"resnet50/{layer}"] = file[layer][layer]
            del file[layer]
    found = load_checkpoint(path, profile_of("none"))
    np.testing.assert_array_equal(
        found.weights["conv1.weight"][:, :, 0], values["conv1_conv/kernel"].transpose(3, 2, 0, 1)
    )


def test_a_layer_is_called_as_its_group_is(tmp_path: Path) -> None:
    """What Keras 2 writes inside the group is the name under which the variable was made."""
    values = values_of(keras_writer.resnet((1, 1, 1, 1), 4, 5))
    path = save_keras_2(tmp_path / "w.h5", values)
    with h5py.File(path, "r+") as file:
        for layer in list(file):
            file.move(f"{layer}/{layer}", f"{layer}/made")
    found = load_checkpoint(path, profile_of("none"))
    np.testing.assert_array_equal(found.weights["fc.bias"], values["predictions/bias"])


def test_shapes_of_the_table_are_those_of_keras() -> None:
    assert keras_shape((8, 4, 1, 3, 5)) == (3, 5, 4, 8)
