"""Import of Keras weight files: a table says which layer of the file is which of the graph.

Keras 3 (``.weights.h5``) stores the variables of a layer as ``<layer>/vars/0``, ``1``, ...: kernel,
then bias. The file holds numbers and paths, but neither the network nor what its shifts do; the
network comes from the table below, the rest from the profile that the caller must give.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tsm_ref.checkpoint.contents import Array, Checkpoint, Float32, check_finite, check_names, shown
from tsm_ref.checkpoint.disk import StrPath, sha256_of
from tsm_ref.checkpoint.hdf5 import GuardedFile, open_hdf5, read_tensor
from tsm_ref.checkpoint.keras_graph import Variable, graph_of, keras_shape
from tsm_ref.checkpoint.shift_rules import fitted
from tsm_ref.errors import CheckpointError
from tsm_ref.graph import Graph
from tsm_ref.models import build_ts_can
from tsm_ref.ops_table import Shape
from tsm_ref.profile import PROFILES, Profile

FORMAT = "keras"
VERSION = 3
VARIABLES = ("weight", "bias")
_VARIABLE = re.compile(r"(?P<layer>.+)/vars/(?P<index>\d{1,4})")


@dataclass(frozen=True)
class KerasLayout:
    """A network that people publish in Keras files.

    ``layers`` maps a layer of our graph to the path of the same layer in the file; `build` makes
    the graph under a profile.
    """

    name: str
    layers: Mapping[str, str]
    build: Callable[[Profile], Graph]


LAYOUTS = (
    KerasLayout(
        "TS-CAN of open-rppg",
        {
            "motion_conv1": "inner/d1/layers/conv2d",
            "motion_conv2": "inner/d1/layers/conv2d_1",
            "motion_conv3": "inner/d2/layers/conv2d",
            "motion_conv4": "inner/d2/layers/conv2d_1",
            "appearance_conv1": "inner/g1/layers/conv2d",
            "appearance_conv2": "inner/g1/layers/conv2d_1",
            "appearance_conv3": "inner/g2/layers/conv2d",
            "appearance_conv4": "inner/g2/layers/conv2d_1",
            "attention1": "inner/attn1/layers/conv2d",
            "attention2": "inner/attn2/layers/conv2d",
            "dense1": "inner/d/layers/dense",
            "dense2": "inner/d/layers/dense_1",
        },
        lambda profile: build_ts_can(shift=profile.shift),
    ),
)
"""The Keras files that can be read; adding one is adding a row."""


def load_keras(path: StrPath, profile: Profile) -> Checkpoint:
    """Read a Keras 3 weight file under a profile.

    Kernels are transposed from HWIO to (Cout, Cin, 1, kH, kW) and from (in, out) to (out, in); no
    value changes. Every tensor is compared by name, shape and type before it is read.

    Raises `CheckpointError` for a file of no known layout, and for missing, unexpected, mis-shaped
    or non-finite tensors.

    >>> import h5py, tempfile
    >>> from tsm_ref.profile import PROFILES
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with h5py.File(f"{folder}/x.h5", "w") as file:
    ...         file["layers/dense/vars/0"] = np.zeros((2, 1), "float32")
    ...     load_keras(f"{folder}/x.h5", PROFILES["ts-can-rlap"])
    Traceback (most recent call last):
    tsm_ref.errors.CheckpointError: no known Keras network has these layers (the first is \
'layers/dense'); known: TS-CAN of open-rppg
    """
    with open_hdf5(path) as file:
        if file.has_attribute("layer_names"):
            raise CheckpointError(
                "these are weights of Keras 2 without their network; save the whole model instead"
            )
        graph, weights, storage = _read(file, profile)
    return Checkpoint(
        graph=graph,
        weights=weights,
        profile=profile,
        sha256=sha256_of(path),
        storage=storage,
        path=Path(path),
        format=FORMAT,
        format_version=VERSION,
    )


def is_keras_model(file: GuardedFile) -> bool:
    """True for a model of Keras 2: its network and its weights in one file."""
    return file.has_attribute("model_config")


def load_keras_model(path: StrPath, profile: Profile | None = None) -> Checkpoint:
    """Read a model that Keras 2 saved as ``.h5``: the network is in the file, as JSON.

    It sees single pictures, so it shifts nothing, and ``profile`` must say so. What an optimizer
    left in the file is not read.

    Raises `CheckpointError` for a layer that is not supported, and for missing, unexpected,
    mis-shaped or non-finite tensors.
    """
    if profile is not None and profile.shift.rule != "none":
        raise CheckpointError(f"the network shifts nothing; the profile asks for {profile.shift}")
    with open_hdf5(path) as file:
        graph, variables = graph_of(file.long_text("model_config"))
        roots = [name for name in file.datasets if not name.startswith("optimizer_weights/")]
        keys = {name: _legacy_path(roots, variable) for name, variable in variables.items()}
        check_names(keys.values(), roots)
        weights = {}
        for name, shape in graph.parameters.items():
            values = read_tensor(file.datasets[keys[name]], variables[name].shape)
            with np.errstate(over="ignore"):
                weights[name] = from_keras(values, shape)
            check_finite(keys[name], weights[name])
        types = dict.fromkeys(file.datasets[key].type_name for key in keys.values())
    usual = replace(PROFILES["tsn"], family=FORMAT, average="probabilities")
    return Checkpoint(
        graph=graph,
        weights=weights,
        profile=profile or fitted(usual, graph),
        sha256=sha256_of(path),
        storage="+".join(types),
        path=Path(path),
        format=FORMAT,
        format_version=2,
    )


def _legacy_path(paths: Iterable[str], variable: Variable) -> str:
    """Where Keras 2 puts a variable: the layer, then its name scopes, then ``kernel:0``."""
    start, end = f"model_weights/{variable.layer}/", f"/{variable.name}:0"
    found = [path for path in paths if path.startswith(start) and path.endswith(end)]
    return found[0] if len(found) == 1 else f"{start}{variable.layer}{end}"


def _read(file: GuardedFile, profile: Profile) -> tuple[Graph, dict[str, Float32], str]:
    layout = recognise(file.datasets)
    graph = layout.build(profile)
    keys = variable_paths(layout, graph.parameters)
    check_names(keys.values(), file.datasets)
    weights = {}
    for name, shape in graph.parameters.items():
        stored = read_tensor(file.datasets[keys[name]], keras_shape(shape))
        with np.errstate(over="ignore"):  # a float64 beyond float32 is refused as an infinity
            weights[name] = from_keras(stored, shape)
        check_finite(keys[name], weights[name])
    types = dict.fromkeys(file.datasets[key].type_name for key in keys.values())
    return graph, weights, "+".join(types)


def recognise(paths: Iterable[str]) -> KerasLayout:
    """The layout to which most variables of a file belong; `CheckpointError` where none has any.

    >>> recognise(["inner/d1/layers/conv2d/vars/0"]).name
    'TS-CAN of open-rppg'
    """
    matches = (_VARIABLE.fullmatch(path) for path in paths)
    found = list(dict.fromkeys(match["layer"] for match in matches if match))
    best = max(LAYOUTS, key=lambda layout: len(set(found) & set(layout.layers.values())))
    if not set(found) & set(best.layers.values()):
        first = f"the first is {shown(found[0])}" if found else "there is not one `vars/0`"
        known = ", ".join(layout.name for layout in LAYOUTS)
        raise CheckpointError(f"no known Keras network has these layers ({first}); known: {known}")
    return best


def variable_paths(layout: KerasLayout, parameters: Iterable[str]) -> dict[str, str]:
    """Where in the file each parameter of the graph is.

    >>> variable_paths(LAYOUTS[0], ["motion_conv1.weight", "dense2.bias"])["dense2.bias"]
    'inner/d/layers/dense_1/vars/1'
    """
    paths = {}
    for name in parameters:
        layer, _, variable = name.rpartition(".")
        paths[name] = f"{layout.layers[layer]}/vars/{VARIABLES.index(variable)}"
    return paths


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
