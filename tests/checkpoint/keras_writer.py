"""Keras model files without Keras: the networks of its applications as JSON, and its layouts.

The JSON is that of Keras 2 (``version=2``) or 3; what the layers do is told there, layer by layer,
so a test can compare it with a network that was recognised by nothing but names.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Layers = list[dict[str, Any]]


class Writer:
    """A functional model in the making; each method adds a layer and returns its name."""

    def __init__(self, height: int, width: int, version: int = 2) -> None:
        self.version = version
        self.layers: Layers = []
        self.add("InputLayer", "input", batch_input_shape=[None, height, width, 3])

    def add(self, kind: str, name: str, *sources: str, **config: Any) -> str:
        calls: list[Any] = []
        if sources and self.version == 2:
            calls = [[[source, 0, 0, {}] for source in sources]]
        elif sources:
            tensors = [
                {"class_name": "__keras_tensor__", "config": {"keras_history": [source, 0, 0]}}
                for source in sources
            ]
            args = [tensors] if len(tensors) > 1 else tensors
            calls = [{"args": args, "kwargs": {}}]
        self.layers.append(
            {"class_name": kind, "config": {"name": name, **config}, "inbound_nodes": calls}
        )
        return name

    def conv(self, x: str, name: str, filters: int, kernel: int, **config: Any) -> str:
        usual = {"strides": [1, 1], "padding": "same", "use_bias": True, "activation": "linear"}
        return self.add(
            *("Conv2D", name, x), filters=filters, kernel_size=[kernel] * 2, **usual | config
        )

    def depthwise(self, x: str, name: str, stride: int, padding: str) -> str:
        return self.add(
            *("DepthwiseConv2D", name, x), kernel_size=[3, 3], strides=[stride] * 2,
            padding=padding, use_bias=False, activation="linear",
        )  # fmt: skip

    def norm(self, x: str, name: str, epsilon: float) -> str:
        return self.add(
            "BatchNormalization", name, x, axis=[3], epsilon=epsilon, center=True, scale=True
        )

    def relu(self, x: str, name: str) -> str:
        return self.add("Activation", name, x, activation="relu")

    def relu6(self, x: str, name: str) -> str:
        return self.add("ReLU", name, x, max_value=6.0)

    def pad(self, x: str, name: str, padding: list[list[int]]) -> str:
        return self.add("ZeroPadding2D", name, x, padding=padding)

    def classes(self, x: str, count: int) -> None:
        x = self.add("GlobalAveragePooling2D", "avg_pool", x)
        self.add("Dense", "predictions", x, units=count, activation="linear", use_bias=True)

    def json(self) -> str:
        return json.dumps({"class_name": "Functional", "config": {"layers": self.layers}})


def resnet(
    blocks: tuple[int, ...],
    width: int,
    classes: int,
    sides: tuple[int, int] = (33, 32),
    version: int = 2,
) -> Writer:
    """A ResNet of bottlenecks as in Keras applications."""
    w = Writer(*sides, version)
    x = w.pad("input", "conv1_pad", [[3, 3], [3, 3]])
    x = w.conv(x, "conv1_conv", width, 7, strides=[2, 2], padding="valid")
    x = w.relu(w.norm(x, "conv1_bn", 1.001e-5), "conv1_relu")
    x = w.pad(x, "pool1_pad", [[1, 1], [1, 1]])
    x = w.add("MaxPooling2D", "pool1_pool", x, pool_size=[3, 3], strides=[2, 2], padding="valid")
    for stage, count in enumerate(blocks):
        filters, stride = width * 2**stage, [2 if stage else 1] * 2
        for block in range(count):
            start = f"conv{stage + 2}_block{block + 1}"
            skip, strides = x, [1, 1]
            if block == 0:
                strides = stride
                skip = w.conv(
                    x, f"{start}_0_conv", 4 * filters, 1, strides=strides, padding="valid"
                )
                skip = w.norm(skip, f"{start}_0_bn", 1.001e-5)
            x = w.conv(x, f"{start}_1_conv", filters, 1, strides=strides, padding="valid")
            x = w.relu(w.norm(x, f"{start}_1_bn", 1.001e-5), f"{start}_1_relu")
            x = w.conv(x, f"{start}_2_conv", filters, 3)
            x = w.relu(w.norm(x, f"{start}_2_bn", 1.001e-5), f"{start}_2_relu")
            x = w.conv(x, f"{start}_3_conv", 4 * filters, 1, padding="valid")
            x = w.norm(x, f"{start}_3_bn", 1.001e-5)
            x = w.relu(w.add("Add", f"{start}_add", skip, x), f"{start}_out")
    w.classes(x, classes)
    return w


def mobilenet_v2(width: float, classes: int, sides: tuple[int, int], version: int = 2) -> Writer:
    """MobileNetV2 as in Keras applications: the pads depend on whether a side is even."""
    w = Writer(*sides, version)
    bias_free: dict[str, Any] = {"use_bias": False}
    rows, columns = sides

    def scaled(channels: int) -> int:
        near = max(8, int(channels * width + 4) // 8 * 8)
        return near + 8 if near < 0.9 * channels * width else near

    x = w.conv("input", "Conv1", scaled(32), 3, strides=[2, 2], **bias_free)
    x = w.relu6(w.norm(x, "bn_Conv1", 1e-3), "Conv1_relu")
    rows, columns = -(-rows // 2), -(-columns // 2)
    channels, block = scaled(32), 0
    table = ((16, 1, 1), (24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))
    for filters, count, first in table:
        for i in range(count):
            stride, skip = first if i == 0 else 1, x
            start = f"block_{block}_" if block else "expanded_conv_"
            inner = channels * 6 if block else channels
            if block:
                x = w.conv(x, f"{start}expand", inner, 1, **bias_free)
                x = w.relu6(w.norm(x, f"{start}expand_BN", 1e-3), f"{start}expand_relu")
            if stride == 2:
                x = w.pad(x, f"{start}pad", [[rows % 2, 1], [columns % 2, 1]])
                rows, columns = -(-rows // 2), -(-columns // 2)
            x = w.depthwise(x, f"{start}depthwise", stride, "valid" if stride == 2 else "same")
            x = w.relu6(w.norm(x, f"{start}depthwise_BN", 1e-3), f"{start}depthwise_relu")
            x = w.conv(x, f"{start}project", scaled(filters), 1, **bias_free)
            x = w.norm(x, f"{start}project_BN", 1e-3)
            if stride == 1 and channels == scaled(filters):
                x = w.add("Add", f"{start}add", skip, x)
            channels, block = scaled(filters), block + 1
    x = w.conv(x, "Conv_1", max(scaled(1280), 1280), 1, **bias_free)
    w.classes(w.relu6(w.norm(x, "Conv_1_bn", 1e-3), "out_relu"), classes)
    return w


# Layouts

Values = Mapping[str, np.ndarray[Any, Any]]
"""Tensors as Keras has them, by layer and role: ``conv1_conv/kernel``."""

INDEX = {
    "kernel": 0, "depthwise_kernel": 0, "bias": 1,
    "gamma": 0, "beta": 1, "moving_mean": 2, "moving_variance": 3,
}  # fmt: skip


def save_keras_2(path: Path, values: Values, root: str = "", end: str = ":0") -> Path:
    """Weights alone, as Keras 2 (``:0``) and the legacy writer of Keras 3 (no ``:0``) save them."""
    with h5py.File(path, "w") as file:
        layers = list(dict.fromkeys(key.partition("/")[0] for key in values))
        group = file.require_group(root) if root else file
        group.attrs["layer_names"] = [layer.encode() for layer in layers]
        for key, value in values.items():
            layer, _, role = key.partition("/")
            group[f"{layer}/{layer}/{role}{end}"] = value
    return path


def save_model(path: Path, values: Values, network: str, end: str = ":0") -> Path:
    """A whole model, with what an optimizer leaves behind."""
    save_keras_2(path, values, "model_weights", end)
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = network
        file["optimizer_weights/Adam/iter:0"] = 3
    return path


def save_keras_3(path: Path, values: Values, named: bool = True) -> Path:
    """Weights of Keras 3: layers counted by class; their names are attributes of ``vars``."""
    counts: dict[str, int] = {}
    places: dict[str, str] = {}
    with h5py.File(path, "w") as file:
        file["optimizer/vars/0"] = np.int64(3)
        for key, value in values.items():
            layer, _, role = key.partition("/")
            if layer not in places:
                kind = "dense" if value.ndim == 2 else "conv2d" if value.ndim == 4 else "norm"
                number = counts[kind] = counts.get(kind, -1) + 1
                places[layer] = f"layers/{kind}_{number}" if number else f"layers/{kind}"
                group = file.create_group(f"{places[layer]}/vars")
                if named:
                    group.attrs["name"] = layer
            file[f"{places[layer]}/vars/{INDEX[role]}"] = value
    return path
