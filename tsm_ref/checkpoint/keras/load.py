"""Import of Keras files: weights of a known network, and models that carry their network.

A weight file (``.weights.h5``, or the ``.h5`` of Keras 2) holds numbers and the names of layers,
but neither the network nor what its shifts do: the network is one of
`tsm_ref.checkpoint.keras.networks`, the rest comes from the profile that the caller must give.
"""

import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from tsm_ref.checkpoint.facts import Facts, facts_of_profile
from tsm_ref.checkpoint.hdf5.guard import GuardedFile, open_hdf5, read_tensor
from tsm_ref.checkpoint.keras.building import Variable
from tsm_ref.checkpoint.keras.calls import shifts_of
from tsm_ref.checkpoint.keras.graph import counted_names, graph_of
from tsm_ref.checkpoint.keras.layers import NUMBERS, PLAIN, LayerTable, layer_table, stored_shapes
from tsm_ref.checkpoint.keras.networks import check_known, network_of, rule_under
from tsm_ref.checkpoint.shift_rules import fitted
from tsm_ref.errors import CheckpointError
from tsm_ref.graph import Graph
from tsm_ref.ops_table import Shape
from tsm_ref.profile import PROFILES, Profile

FORMAT = "keras"
MAX_CONFIG = 2**24


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
'dense'); known: TS-CAN of open-rppg, TS-CAN, MTTS-CAN, ResNet, MobileNetV2; of another one, save \
the whole model (model.save('model.keras')), which tells what its layers do
    """
    with open_hdf5(path) as file:
        return read_keras(file, path, profile)


def load_keras_archive(
    path: StrPath, profile: Profile | None = None, options: Mapping[str, Any] | None = None
) -> Checkpoint:
    """Read a ``.keras`` archive: a zip of the network as JSON, and of its weights as HDF5.

    The weights are unpacked into a temporary folder, no more of them than the archive is long, and
    read like any other file. Raises `CheckpointError` as `read_keras_model` and `read_keras`.
    """
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder, "model.weights.h5")
        text = _unpacked(path, weights)
        with open_hdf5(weights) as file:
            found = _model(file, weights, profile, text, options)
    return replace(found, path=Path(path), sha256=sha256_of(path), format="keras archive")


def _unpacked(path: StrPath, weights: Path) -> str:
    """The text of the network; its weights are written to a file."""
    try:
        with zipfile.ZipFile(path) as archive:
            for name, most in (("config.json", MAX_CONFIG), (weights.name, 2**32)):
                info = archive.getinfo(name)
                if info.file_size > min(most, 64 * (info.compress_size + 2**16)):
                    raise CheckpointError(f"{name} of the archive is larger than is accepted")
            with archive.open(weights.name) as source, open(weights, "wb") as target:
                shutil.copyfileobj(source, target)
            return archive.read("config.json").decode("utf-8")
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError, RuntimeError, OSError):
        raise CheckpointError("the .keras archive is cut off or damaged") from None


def read_keras(
    file: GuardedFile,
    path: StrPath,
    profile: Profile,
    options: Mapping[str, Any] | None = None,
    said: Mapping[str, Any] | None = None,
) -> Checkpoint:
    """`load_keras` of a file that is open; `path` is where it lies.

    Within how many frames MTTS-CAN shifts is in no file of weights: without an option it is
    assumed. ``said`` are facts that a whole model tells.
    """
    facts = Facts()
    named = profile == PROFILES["mtts-can"]
    if said and profile.shift.segment:
        facts.say("the file (model_config)", **said)
        segment = said.get("frame_depth", profile.shift.segment)
        divisor = said.get("fold_div", profile.shift.divisor)
        profile = replace(profile, shift=replace(profile.shift, segment=segment, divisor=divisor))
    table = layer_table(file)
    graph, layers = network_of(table, profile)
    keys = table.keys(graph.parameters, layers)
    weights = _read(table, graph, keys, stored_shapes(graph))
    if (depth := (options or {}).get("frame_depth")) is not None:
        facts.say("the option", frame_depth=depth)
    if named:
        facts.assume(frame_depth=profile.shift.segment)
    facts.suggest(f"the profile {profile.family}", **facts_of_profile(profile))
    found = _checkpoint(path, table, graph, weights, profile)
    return replace(found, facts=tuple(facts), warnings=facts.warnings())


def check_keras(file: GuardedFile) -> None:
    """Raise `CheckpointError` for a file of weights of a network that no profile could help."""
    check_known(layer_table(file))


def is_keras_model(file: GuardedFile) -> bool:
    """True for a whole model ``.h5``: its network and its weights in one file."""
    return file.has_attribute("model_config")


def read_keras_model(
    file: GuardedFile,
    path: StrPath,
    profile: Profile | None = None,
    options: Mapping[str, Any] | None = None,
) -> Checkpoint:
    """Read a whole model ``.h5`` of Keras 2 or 3: the network is in the file, as JSON.

    It sees single pictures, so it shifts nothing; under a profile that shifts, and where its calls
    of MTTS-CAN's layer TSM tell how many frames it shifts within, the network is known by its
    layers as in `load_keras`. What an optimizer left in the file is not read.

    Raises `CheckpointError` for a layer that is not supported, and for missing, unexpected,
    mis-shaped or non-finite tensors.
    """
    return _model(file, path, profile, file.long_text("model_config"), options)


def _model(
    file: GuardedFile,
    path: StrPath,
    profile: Profile | None,
    text: str,
    options: Mapping[str, Any] | None,
) -> Checkpoint:
    """A network that is described by a text: by its layers where it shifts, else by the text."""
    said = shifts_of(text)
    if profile is None and "frame_depth" in said:
        found = read_keras(file, path, PROFILES["mtts-can"], options, said)
        return replace(found, warnings=(*found.warnings, _TAKEN))
    if profile is not None and rule_under(profile).rule != "none":
        return read_keras(file, path, profile, options, said)
    return _whole(file, path, profile, text)


_TAKEN = (
    "the file names its layers TSM and does not hold their code: they are taken for MTTS-CAN's; "
    "a profile says otherwise"
)


def _whole(file: GuardedFile, path: StrPath, profile: Profile | None, text: str) -> Checkpoint:
    """A network that is described by a text, and its weights by the names of its layers.

    Files of Keras 3 that keep no names call a layer by its class and its number among those.
    """
    graph, variables = graph_of(text)
    table = layer_table(file)
    if table.legacy:
        keys = {name: _legacy_key(table, v) for name, v in variables.items()}
    else:
        called = {} if table.named else counted_names(text)
        keys = {
            name: f"{called.get(v.layer, v.layer)}/vars/{NUMBERS[v.name]}"
            for name, v in variables.items()
        }
    shapes = {name: variable.shape for name, variable in variables.items()}
    weights = _read(table, graph, keys, shapes)
    usual = replace(PROFILES["tsn"], family=FORMAT, average="probabilities")
    return _checkpoint(path, table, graph, weights, profile or fitted(usual, graph))


def _legacy_key(table: LayerTable, variable: Variable) -> str:
    """Where a file of Keras 2 has a variable; of a model within a model perhaps by that alone."""
    role = PLAIN.get(variable.name, variable.name)
    key = f"{variable.layer}/{role}"
    return f"{variable.within}/{role}" if variable.within and key not in table.variables else key


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
