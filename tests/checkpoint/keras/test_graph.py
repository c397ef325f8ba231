"""Models that Keras 2 saved: the real one, and small ones written by hand; judged in plain NumPy.

The judge goes through the JSON of the file with the channels last, as Keras does, in float64.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tsm_ref.checkpoint import load_checkpoint
from tsm_ref.checkpoint.keras.graph import LAYERS, graph_of
from tsm_ref.engine.oracle import run_oracle
from tsm_ref.errors import CheckpointError
from tsm_ref.profile import PROFILES

RNG = np.random.default_rng(8)


def windows(x: Any, kernel: Any, strides: Any, padding: str, fill: float) -> Any:
    """(rows, columns, channels, kH, kW) of a picture (H, W, C); "same" pads less in front."""
    pads = [(0, 0), (0, 0), (0, 0)]
    if padding == "same":
        for axis in (0, 1):
            out = -(-x.shape[axis] // strides[axis])
            total = max((out - 1) * strides[axis] + kernel[axis] - x.shape[axis], 0)
            pads[axis] = (total // 2, total - total // 2)
    x = np.pad(x, pads, constant_values=fill)
    return np.lib.stride_tricks.sliding_window_view(x, tuple(kernel), (0, 1))[
        :: strides[0], :: strides[1]
    ]


def activated(x: Any, kind: str | None) -> Any:
    if kind == "softmax":
        e = np.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)
    return {
        None: x, "linear": x, "relu": np.maximum(x, 0), "tanh": np.tanh(x),
        "relu6": np.clip(x, 0, 6), "sigmoid": 1 / (1 + np.exp(-x)),
    }[kind]  # fmt: skip


SIMPLE: dict[str, Callable[..., Any]] = {
    "Activation": lambda config, a: activated(a, config["activation"]),
    "ReLU": lambda config, a: np.clip(a, 0, config["max_value"]),
    "ZeroPadding2D": lambda config, a: np.pad(a, [*config["padding"], (0, 0)]),
    "GlobalAveragePooling2D": lambda config, a: a.mean((0, 1)),
    "Flatten": lambda config, a: a.reshape(-1),
    "Dropout": lambda config, a: a,
    "Add": lambda config, a, b: a + b,
    "Multiply": lambda config, a, b: a * b,
}


def judge(model: Any, weights: Callable[[str, str], Any], x: Any) -> Any:
    """What a model computes of one picture (H, W, C)."""
    values: dict[str, Any] = {}
    for layer in model["config"]["layers"]:
        name, config, kind = layer["config"]["name"], layer["config"], layer["class_name"]
        if kind == "InputLayer":
            values[name] = x
            continue
        a, *rest = (values[source[0]] for source in layer["inbound_nodes"][0])
        if kind in ("Conv2D", "DepthwiseConv2D"):
            found = windows(a, config["kernel_size"], config["strides"], config["padding"], 0.0)
            if kind == "Conv2D":
                y = np.einsum("rtcij,ijco->rto", found, weights(name, "kernel"))
            else:
                y = np.einsum("rtcij,ijcm->rtcm", found, weights(name, "depthwise_kernel"))
                y = y.reshape(*y.shape[:2], -1)
            y = y + weights(name, "bias") if config["use_bias"] else y
            y = activated(y, config["activation"])
        elif kind == "BatchNormalization":
            deviation = np.sqrt(weights(name, "moving_variance") + config["epsilon"])
            y = (a - weights(name, "moving_mean")) / deviation * weights(name, "gamma")
            y = y + weights(name, "beta")
        elif kind == "Dense":
            y = a @ weights(name, "kernel") + weights(name, "bias")
            y = activated(y, config["activation"])
        elif kind in ("MaxPooling2D", "AveragePooling2D"):
            top = kind == "MaxPooling2D"
            fill = -np.inf if top else np.nan
            found = windows(a, config["pool_size"], config["strides"], config["padding"], fill)
            y = found.max((-1, -2)) if top else np.nanmean(found, (-1, -2))
        else:
            y = SIMPLE[kind](config, a, *rest)
        values[name] = y
    return y


def check(path: Path, model: Any) -> Any:
    """Our graph on two frames gives the mean of what the judge says of each."""
    found = load_checkpoint(path)
    with h5py.File(path) as file:
        group = file["model_weights"]

        def weights(layer: str, variable: str) -> Any:
            return group[f"{layer}/{layer}/{variable}:0"][()].astype(np.float64)

        (entry,) = found.graph.inputs
        _, channels, _, height, width = entry.shape
        x = RNG.normal(size=(1, channels, 2, height, width))
        each = [judge(model, weights, x[0, :, t].transpose(1, 2, 0)) for t in (0, 1)]
    doubles = {name: values.astype(np.float64) for name, values in found.weights.items()}
    y = run_oracle(found.graph, doubles, {entry.name: x})["consensus"]
    np.testing.assert_allclose(y[0], np.mean(each, 0), rtol=1e-6, atol=1e-9)
    return found


# The real file


def test_the_trained_keras_network(shared_data: Path) -> None:
    path = shared_data / "checkpoints" / "keras_cifar10_resnet.h5"
    with h5py.File(path) as file:
        model = json.loads(file.attrs["model_config"])
    found = check(path, model)
    assert (found.format, found.format_version) == ("keras", 2)
    assert found.graph.parameter_count == 78_186
    assert found.profile.shift.rule == "none"
    assert found.profile.preprocess.crop == (32, 32)


# Small ones


def layer(kind: str, name: str, *sources: str, **config: Any) -> dict[str, Any]:
    calls = [[[source, 0, 0, {}] for source in sources]] if sources else []
    return {"class_name": kind, "config": {"name": name, **config}, "inbound_nodes": calls}


def conv(name: str, source: str, filters: int, kernel: int, **config: Any) -> dict[str, Any]:
    usual = {"strides": [1, 1], "padding": "same", "use_bias": True, "activation": "linear"}
    return layer(
        "Conv2D", name, source, filters=filters, kernel_size=[kernel] * 2, **usual | config
    )


def norm(name: str, source: str, **config: Any) -> dict[str, Any]:
    usual = {"axis": [3], "epsilon": 1e-3, "center": True, "scale": True}
    return layer("BatchNormalization", name, source, **usual | config)


def mobile() -> list[dict[str, Any]]:
    """An inverted residual with a stride, in the way that Keras' applications write it."""
    return [
        layer("InputLayer", "input", batch_input_shape=[None, 15, 12, 3]),
        layer("ZeroPadding2D", "pad", "input", padding=[[0, 1], [0, 1]]),
        conv("Conv1", "pad", 8, 3, strides=[2, 2], padding="valid", use_bias=False),
        norm("bn_Conv1", "Conv1"),
        layer("ReLU", "Conv1_relu", "bn_Conv1", max_value=6.0),
        conv("expand", "Conv1_relu", 12, 1, activation="relu6"),
        layer(
            *("DepthwiseConv2D", "depthwise", "expand"),
            kernel_size=[3, 3], strides=[2, 2], padding="same", use_bias=True,
            depth_multiplier=2, activation="tanh",
        ),
        layer(
            "MaxPooling2D", "pool", "depthwise", pool_size=[2, 2], strides=[1, 1], padding="same"
        ),
        conv("project", "pool", 8, 1),
        conv("shortcut", "Conv1", 8, 1, strides=[2, 2]),
        layer("Add", "add", "project", "shortcut"),
        layer("Activation", "gate", "shortcut", activation="sigmoid"),
        layer("Multiply", "mul", "add", "gate"),
        layer(
            "AveragePooling2D", "mean", "mul", pool_size=[2, 2], strides=[1, 1], padding="same"
        ),
        layer("Dropout", "dropout", "mean"),
        layer("Flatten", "flatten", "dropout"),
        layer("Dense", "predictions", "flatten", units=5, activation="softmax", use_bias=True),
    ]  # fmt: skip


Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def write(layers: Any, kind: str = "Functional", **changes: Any) -> Path:
        path = tmp_path / "model.h5"
        model = {"class_name": kind, "config": {"name": "m", "layers": layers}}
        try:
            _, variables = graph_of(json.dumps(model))
        except CheckpointError:
            variables = {}
        with h5py.File(path, "w") as file:
            file.attrs["model_config"] = changes.get("text", json.dumps(model))
            for v in variables.values():
                values = (
                    RNG.uniform(0.5, 1.5, v.shape)
                    if "variance" in v.name
                    else RNG.normal(size=v.shape)
                )
                key = f"model_weights/{v.layer}/{v.layer}/{v.name}:0"
                file[key] = values.astype("f4")
            file["optimizer_weights/Adam/iter:0"] = 3
            for key, value in changes.get("also", {}).items():
                if key in file:
                    del file[key]
                if value is not None:
                    file[key] = value
        return path

    return write


def test_layers_compute_what_keras_says(save: Save) -> None:
    for axis in ([3], 3, -1):
        model = {"config": {"layers": changed("bn_Conv1", axis=axis)}}
        found = check(save(model["config"]["layers"]), model)
    depthwise = found.graph.node["depthwise"]
    assert found.graph.parameters[depthwise.inputs[1]] == (24, 1, 1, 3, 3)


@pytest.mark.parametrize("sides", [(12, 15), (13, 16)], ids=str)
@pytest.mark.parametrize(
    "pads",
    [([[0, 1], [0, 1]],), ([[1, 0], [2, 1]],), ([[1, 1], [0, 1]], [[0, 1], [1, 1]])],
    ids=str,
)
def test_zeros_are_part_of_the_picture_that_is_padded_on(
    save: Save, pads: tuple[list[list[int]], ...], sides: tuple[int, int]
) -> None:
    """What "same" adds hangs on the size with the zeros; zeros may be put around zeros."""
    layers = [layer("InputLayer", "input", batch_input_shape=[None, *sides, 2])]
    for number, padding in enumerate(pads):
        layers.append(
            layer("ZeroPadding2D", f"pad{number}", layers[-1]["config"]["name"], padding=padding)
        )
    last = layers[-1]["config"]["name"]
    layers += [
        conv("conv", last, 4, 3, strides=[2, 2]),
        layer("GlobalAveragePooling2D", "pool", "conv"),
        layer("Dense", "dense", "pool", units=3, activation=None, use_bias=True),
    ]
    check(save(layers), {"config": {"layers": layers}})


def test_a_sequence_is_linked_one_after_another(save: Save) -> None:
    layers = [
        conv("first", "", 4, 3, batch_input_shape=[None, 8, 8, 3], activation="relu"),
        layer("GlobalAveragePooling2D", "pool"),
        layer("Dense", "dense", units=3, activation=None, use_bias=True),
    ]
    for entry in layers:
        entry["inbound_nodes"] = []
    begin = layer("InputLayer", "begin", batch_input_shape=[None, 8, 8, 3])
    for whole in (layers, [begin, *layers]):
        found = load_checkpoint(save(whole, "Sequential"))
        assert [node.op for node in found.graph.nodes] == [
            *("Conv", "Relu", "GlobalAveragePool", "Flatten", "Linear", "Consensus")
        ]


def test_every_layer_of_the_table_is_judged() -> None:
    assert set(LAYERS) == {entry["class_name"] for entry in mobile()} - {"InputLayer"} | {
        *("BatchNormalization", "GlobalAveragePooling2D", "GlobalAveragePooling1D")
    }


def test_a_profile_that_shifts_asks_for_layers_that_are_known(save: Save, refused: Any) -> None:
    path = save(mobile())
    assert load_checkpoint(path, PROFILES["tsn"]).profile == PROFILES["tsn"]
    with refused(CheckpointError, "no known Keras network has these layers"):
        load_checkpoint(path, PROFILES["mit"])


# What is refused


def changed(name: str, **config: Any) -> list[dict[str, Any]]:
    layers = mobile()
    for entry in layers:
        if entry["config"]["name"] == name:
            entry["config"].update(config)
    return layers


def padded_pool(kind: str, source: str) -> list[dict[str, Any]]:
    """A pool of a value with zeros around it; of `mobile` only "Conv1_relu" has none below 0."""
    return [
        *mobile()[:5],
        layer("ZeroPadding2D", "around", source, padding=[[1, 1], [1, 1]]),
        layer(kind, "p", "around", pool_size=[2, 2], strides=[2, 2], padding="valid"),
    ]


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([*mobile()[:1], layer("Lambda", "tsm", "input")], "'tsm' is a 'Lambda', which is not"),
        (changed("expand", activation="swish"), "the activation 'swish'"),
        (changed("expand", padding="causal"), "the padding is 'causal'"),
        (changed("expand", data_format="channels_first"), "not last"),
        (changed("expand", dilation_rate=[2, 2]), "'expand' is dilated"),
        (changed("bn_Conv1", axis=[1]), "along the axis"),
        (changed("bn_Conv1", scale=False), "lacks its scale"),
        (changed("input", batch_input_shape=[None, None, None, 3]), "must be fixed"),
        (changed("Conv1_relu", threshold=1.0), "a threshold or a slope"),
        (mobile()[:5], "ends in pictures"),
        ([*mobile()[:2], layer("Activation", "relu", "pad", activation="relu")], "no window"),
        (mobile()[1:], "not one that Keras writes"),
        (changed("expand", filters="many"), "not one that Keras writes"),
        (changed("expand", strides=[0, 0]), "the strides (0, 0)"),
        (changed("expand", strides=[np.inf, 1]), "not one that Keras writes"),
        (changed("bn_Conv1", epsilon=np.inf), "not one that Keras writes"),
        (padded_pool("MaxPooling2D", "input"), "sees zeros"),
        (padded_pool("MaxPooling2D", "Conv1"), "sees zeros"),
        (padded_pool("AveragePooling2D", "Conv1_relu"), "sees zeros"),
        (padded_pool("MaxPooling2D", "Conv1_relu"), "ends in pictures"),
    ],
)
def test_networks_that_are_not_understood(
    save: Save, refused: Any, layers: Any, words: str
) -> None:
    with refused(CheckpointError, words):
        load_checkpoint(save(layers))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"class_name": "Functional"}', "[" * 10**5])
def test_text_that_is_no_network(save: Save, refused: Any, text: str) -> None:
    with refused(CheckpointError):
        load_checkpoint(save(mobile(), text=text))


@pytest.mark.parametrize(
    ("also", "words"),
    [
        ({"model_weights/expand/expand/kernel:0": None}, "1 tensor is missing"),
        ({"model_weights/expand/expand/other:0": np.ones(3, "f4")}, "1 tensor is not expected"),
        ({"model_weights/expand/expand/bias:0": np.ones(3, "f4")}, "(3,)"),
        ({"model_weights/expand/expand/bias:0": np.full(12, np.nan, "f4")}, "NaN"),
        ({"model_weights/expand/expand/bias:0": np.ones(12, "i4")}, "int32"),
    ],
)
def test_weights_that_do_not_fit(save: Save, refused: Any, also: Any, words: str) -> None:
    with refused(CheckpointError, words):
        load_checkpoint(save(mobile(), also=also))


def named(kind: str, name: str, source: str, wrapped: bool = True, **config: Any) -> Any:
    """A layer of Keras 3, in TimeDistributed or not."""
    calls = [[[source, 0, 0, {}]]]
    inner = {"class_name": kind, "config": {"name": f"{name} inside", **config}}
    if wrapped:
        config = {"name": name, "layer": inner}
        return {"class_name": "TimeDistributed", "config": config, "inbound_nodes": calls}
    return {**inner, "config": {"name": name, **config}, "inbound_nodes": calls}


def of_clips(*layers: Any) -> str:
    start = {"class_name": "InputLayer", "config": {"name": "x", "batch_shape": [None, 4, 8, 8, 3]}}
    return json.dumps({"class_name": "Functional", "config": {"layers": [start, *layers]}})


POOL = named("GlobalAveragePooling2D", "pool", "x")
MEAN = named("GlobalAveragePooling1D", "mean", "pool", wrapped=False)


def dense(name: str, source: str, activation: str = "linear") -> Any:
    how = {"units": 5, "use_bias": True, "activation": activation}
    return named("Dense", name, source, wrapped=False, **how)


def test_a_mean_over_frames_is_taken_behind_the_linear_layer() -> None:
    graph, variables = graph_of(of_clips(POOL, MEAN, dense("end", "mean", "softmax")))
    assert [n.op for n in graph.nodes][-3:] == ["Linear", "Consensus", "Softmax"]
    assert graph.inputs[0].shape == ("N", 3, 4, 8, 8)
    assert {v.layer for v in variables.values()} == {"end"}


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ((named("Flatten", "flat", "x", wrapped=False),), "'flat' (Flatten) reads a clip"),
        ((named("LSTM", "memory", "x", wrapped=False),), "'memory' is a 'LSTM'"),
        ((named("Conv3D", "deep", "x", wrapped=False),), "'deep' is a 'Conv3D'"),
        ((POOL, MEAN, named("ReLU", "r", "mean", wrapped=False)), "'r' reads a mean over frames"),
        (
            (POOL, MEAN, dense("one", "mean", "relu"), dense("two", "one")),
            "'two' reads what is no row of features",
        ),
        ((POOL, MEAN, named("GlobalAveragePooling1D", "m", "mean", False)), "'m' is no mean of"),
        ((POOL, {**POOL}), "two layers are called 'pool'"),
    ],
)
def test_what_joins_the_frames_of_a_clip_is_refused(layers: Any, words: str) -> None:
    with pytest.raises(CheckpointError) as error:
        graph_of(of_clips(*layers))
    assert words in str(error.value)
