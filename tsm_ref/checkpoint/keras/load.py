"""Import of Keras files: weights of a known network, and models that carry their network.

A weight file (``.weights.h5``, or the ``.h5`` of Keras 2) holds numbers and the names of layers,
but neither the network nor what its shifts do: the network is one of
`tsm_ref.checkpoint.keras.networks`, the rest comes from the profile that the caller must give.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from tsm_ref.checkpoint.contents import (
    Array,
    Checkpoint,
    Float32,
    check_finite,
    check_names,
    check_shapes,
)
from tsm_ref.checkpoint.disk import StrPath, sha256_of
from tsm_ref.checkpoint.hdf5.guard import GuardedFile, open_hdf5, read_tensor
from tsm_ref.checkpoint.keras.graph import graph_of
from tsm_ref.checkpoint.keras.layers import PLAIN, LayerTable, layer_table, stored_shapes
from tsm_ref.checkpoint.keras.networks import network_of, rule_under
from tsm_ref.checkpoint.shift_rules import fitted
from tsm_ref.graph import Graph
from tsm_ref.ops_table import Shape
from tsm_ref.profile import PROFILES, Profile

FORMAT = "keras"


def load_keras(path: StrPath, profile: Profile) -> Checkpoint:
    """Read a weight file of Keras 2 or 3 under a profile.

    Kernels are transposed from HWIO to (Cout, Cin, 1, kH, kW) and from (in, out) to (out, in); no
    value changes. Every tensor is compared by name, shape and type before it is read.

    Raises `CheckpointError` for a file of no known network, and for missing, unexpected, mis-shaped
    or non-finite tensors.

    >>> import h5py, tempfile
    >>> from tsm_ref.profile import PROFILES
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with h5py.File(f"{folder}/x.h5", "w") as file:
    ...         file["layers/dense/vars/0"] = np.zeros((2, 1), "float32")
    ...     load_keras(f"{folder}/x.h5", PROFILES["ts-can-rlap"])
    Traceback (most recent call last):
    tsm_ref.errors.CheckpointError: no known Keras network has these layers (the first is \
'dense'); known: TS-CAN of open-rppg, TS-CAN, MTTS-CAN, ResNet, MobileNetV2
    """
    with open_hdf5(path) as file:
        return read_keras(file, path, profile)


def read_keras(file: GuardedFile, path: StrPath, profile: Profile) -> Checkpoint:
    """`load_keras` of a file that is open; `path` is where it lies."""
    table = layer_table(file)
    graph, layers = network_of(table, profile)
    keys = table.keys(graph.parameters, layers)
    weights = _read(table, graph, keys, stored_shapes(graph))
    return _checkpoint(path, table, graph, weights, profile)


def is_keras_model(file: GuardedFile) -> bool:
    """True for a whole model ``.h5``: its network and its weights in one file."""
    return file.has_attribute("model_config")


def read_keras_model(
    file: GuardedFile, path: StrPath, profile: Profile | None = None
) -> Checkpoint:
    """Read a whole model ``.h5`` of Keras 2 or 3: the network is in the file, as JSON.

    It sees single pictures, so it shifts nothing; under a profile that shifts, the network is
    known by its layers as in `load_keras`. What an optimizer left in the file is not read.

    Raises `CheckpointError` for a layer that is not supported, and for missing, unexpected,
    mis-shaped or non-finite tensors.
    """
    if profile is not None and rule_under(profile).rule != "none":
        return read_keras(file, path, profile)
    graph, variables = graph_of(file.long_text("model_config"))
    table = layer_table(file)
    keys = {name: f"{v.layer}/{PLAIN.get(v.name, v.name)}" for name, v in variables.items()}
    shapes = {name: variable.shape for name, variable in variables.items()}
    weights = _read(table, graph, keys, shapes)
    usual = replace(PROFILES["tsn"], family=FORMAT, average="probabilities")
    return _checkpoint(path, table, graph, weights, profile or fitted(usual, graph))


def _read(
    table: LayerTable, graph: Graph, keys: Mapping[str, str], shapes: Mapping[str, Shape]
) -> dict[str, Float32]:
    """Every parameter of a graph from its key, where Keras gives it a shape of its own."""
    stored = {keys[name]: shape for name, shape in shapes.items()}
    check_names(stored, table.variables)
    check_shapes(stored, {key: item.shape for key, item in table.variables.items()})
    weights = {}
    for name, shape in graph.parameters.items():
        values = read_tensor(table.variables[keys[name]], shapes[name])
        with np.errstate(over="ignore"):  # a float64 beyond float32 is refused as an infinity
            weights[name] = from_keras(values, shape)
        check_finite(keys[name], weights[name])
    return weights


def _checkpoint(
    path: StrPath,
    table: LayerTable,
    graph: Graph,
    weights: dict[str, Float32],
    profile: Profile,
) -> Checkpoint:
    return Checkpoint(
        graph=graph,
        weights=weights,
        profile=profile,
        sha256=sha256_of(path),
        storage="+".join(dict.fromkeys(item.type_name for item in table.variables.values())),
        path=Path(path),
        format=FORMAT,
        format_version=2 if table.legacy else 3,
    )


def from_keras(values: Array, shape: Shape) -> Float32:
    """A Keras tensor in our axis order, as contiguous float32.

    HWIO becomes (Cout, Cin, 1, kH, kW), and (in, out) becomes (out, in).

    >>> from_keras(np.arange(6.0).reshape(1, 1, 2, 3), (3, 2, 1, 1, 1))[:, :, 0, 0, 0]
    array([[0., 3.],
           [1., 4.],
           [2., 5.]], dtype=float32)
    """
    if len(shape) == 5 and values.shape[2] != shape[1]:  # depthwise: (H, W, channels, multiplier)
        values = values.reshape(*values.shape[:2], 1, -1)
    turned = values.transpose(3, 2, 0, 1) if len(shape) == 5 else values.T
    return np.ascontiguousarray(turned, np.float32).reshape(shape)
