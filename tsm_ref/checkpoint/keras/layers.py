"""Where Keras puts the variables of a layer: its two layouts of weight files, read as one table.

Keras 2 writes ``<layer>/<scopes>/kernel:0`` and lists the layers in the attribute ``layer_names``.
Keras 3 writes ``<path>/vars/0``, ``1``, ...; the path counts layers by class, and the name of the
layer, where the file has it, is the attribute ``name`` of the group ``vars``.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tsm_ref.checkpoint.contents import shown
from tsm_ref.checkpoint.hdf5.guard import GuardedFile, Stored
from tsm_ref.checkpoint.keras.building import keras_shape
from tsm_ref.errors import CheckpointError
from tsm_ref.graph import Graph
from tsm_ref.ops_table import Shape

ROLES = {
    "weight": ("kernel", 0),
    "bias": ("bias", 1),
}
NORM_ROLES = {
    "weight": ("gamma", 0),
    "bias": ("beta", 1),
    "running_mean": ("moving_mean", 2),
    "running_var": ("moving_variance", 3),
}
"""What a parameter is called by Keras 2, and its number in Keras 3."""

NUMBERS = {
    **dict((*ROLES.values(), *NORM_ROLES.values())),
    "depthwise_kernel": 0,
}
"""The number of a variable of a layer in Keras 3, by the name that it has in the network."""

PLAIN = {"depthwise_kernel": "kernel"}
"""Names that Keras 2 has and Keras 3 has not, and what Keras 3 says instead."""

_KERAS_2 = re.compile(r"(?:(?P<scopes>.+)/)?(?P<layer>[^/]+)/(?P<role>[^/]+?)(?::0)?")
_KERAS_3 = re.compile(r"(?P<layer>.+)/vars/(?P<index>\d{1,4})")
_NAMED = re.compile(r"(?:(?:layers|_layer_checkpoint_dependencies)/([^/]+)/?)+")
_NO_WEIGHT = re.compile(r"(?:optimizer|optimizer_weights)/.+|(?:.+/)?seed_generator/vars/\d+")


@dataclass(frozen=True)
class LayerTable:
    """The variables of a file by ``layer/kernel`` (Keras 2) or ``layer/vars/0`` (Keras 3).

    What optimizers and random generators left in the file is not in the table. Where it is not
    ``named``, layers are called by their class and a number: in which order is not known.
    """

    legacy: bool
    variables: Mapping[str, Stored]
    named: bool = True

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers, each once, in the order of the file."""
        end = r"/[^/]+" if self.legacy else r"/vars/\d+"
        return tuple(dict.fromkeys(re.sub(f"{end}$", "", key) for key in self.variables))

    def kernel(self, layer: str) -> Shape:
        """The shape of the first variable of a layer; () where there is none."""
        key = f"{layer}/kernel" if self.legacy else f"{layer}/vars/0"
        return self.variables[key].shape if key in self.variables else ()

    def keys(self, parameters: Iterable[str], layers: Mapping[str, str]) -> dict[str, str]:
        """The key of each parameter of a graph, whose layers are called ``layers`` in the file.

        >>> table = LayerTable(True, {})
        >>> table.keys(["bn1.running_mean", "bn1.weight"], {"bn1": "conv1_bn"})
        {'bn1.running_mean': 'conv1_bn/moving_mean', 'bn1.weight': 'conv1_bn/gamma'}
        """
        names = list(parameters)
        norms = {name.rpartition(".")[0] for name in names if name.endswith(".running_mean")}
        keys = {}
        for name in names:
            layer, _, part = name.rpartition(".")
            role, index = (NORM_ROLES if layer in norms else ROLES)[part]
            keys[name] = f"{layers[layer]}/{role if self.legacy else f'vars/{index}'}"
        return keys


def stored_shapes(graph: Graph) -> dict[str, Shape]:
    """The shape that Keras gives each parameter of a graph; depthwise kernels are (H, W, C, 1).

    >>> from tsm_ref.models import build_mobilenet_v2
    >>> shapes = stored_shapes(build_mobilenet_v2(num_classes=5))
    >>> shapes["features.0.0.weight"], shapes["features.1.conv.0.weight"]
    ((3, 3, 3, 32), (3, 3, 32, 1))
    """
    depthwise = {node.inputs[1] for node in graph.select("Conv") if node.attrs["group"] > 1}
    shapes = {name: keras_shape(shape) for name, shape in graph.parameters.items()}
    return shapes | {name: (*shapes[name][:2], shapes[name][3], 1) for name in depthwise}


def layer_table(file: GuardedFile) -> LayerTable:
    """The variables of a file of either layout.

    Raises `CheckpointError` where two variables have the same layer and the same name.
    """
    kept = {path: item for path, item in file.datasets.items() if not _NO_WEIGHT.fullmatch(path)}
    if file.has_attribute("layer_names") or any(p.startswith("model_weights/") for p in kept):
        return LayerTable(True, _keras_2(kept))
    return _keras_3(file, kept)


def _keras_2(datasets: Mapping[str, Stored]) -> dict[str, Stored]:
    """By the group of the layer; in a model within a model, by the group next to the variable."""
    found: dict[str, tuple[str, str]] = {}
    for path in datasets:
        plain = path.removeprefix("model_weights/")
        match = _KERAS_2.fullmatch(plain)
        role = match["role"] if match else ""
        role = PLAIN.get(role, role)
        group, inner = plain.partition("/")[0], match["layer"] if match else ""
        found[path] = (f"{group}/{role}", f"{inner}/{role}")
    outer = Counter(outer for outer, _ in found.values())
    nested = {key.partition("/")[0] for key, count in outer.items() if count > 1}
    keys = {
        path: inner if outer.partition("/")[0] in nested else outer
        for path, (outer, inner) in found.items()
    }
    return _once({path: keys[path] for path in datasets}, datasets)


def _keras_3(file: GuardedFile, datasets: Mapping[str, Stored]) -> LayerTable:
    """By the name of the layer where the file tells it, else by its path."""
    keys, named = {}, True
    for path in datasets:
        match = _KERAS_3.fullmatch(path)
        if not match:
            keys[path] = path
            continue
        place = match["layer"].removesuffix("/layer")  # of a layer in TimeDistributed
        short = _NAMED.fullmatch(re.sub(r"/layer(?=/)", "", place))
        group = f"{place}/vars"
        layer = short[1] if short else match["layer"]
        if short and file.has_attribute("name", group):
            layer = file.long_text("name", group)
        elif short:
            named = False
        keys[path] = f"{layer}/vars/{match['index']}"
    return LayerTable(False, _once(keys, datasets), named)


def _once(keys: Mapping[str, str], datasets: Mapping[str, Stored]) -> dict[str, Stored]:
    made: dict[str, Stored] = {}
    for path, key in keys.items():
        if key in made:
            raise CheckpointError(
                f"{shown(made[key].name)} and {shown(path)} are both {shown(key)} of the network"
            )
        made[key] = datasets[path]
    return made
