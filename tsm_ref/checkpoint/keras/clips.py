"""Models of Keras that see clips: ``TimeDistributed`` applies a layer to each frame, as we do all.

A layer that is wrapped is put in the place of its wrapper; a whole model that is wrapped, or that
is a layer of another one, in pieces. What joins frames is left to `tsm_ref.checkpoint.keras.graph`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tsm_ref.checkpoint.contents import shown
from tsm_ref.errors import CheckpointError

__all__ = ["PLAIN", "unwrapped"]

Config = Mapping[str, Any]

NETWORKS = ("Functional", "Model", "Sequential")
PLAIN = ("Dense", "Activation", "ReLU", "Dropout", "Add", "Multiply", "GlobalAveragePooling1D")
"""Layers that act on each frame of a clip though nothing wraps them, and the mean over frames."""

MOST = 20
"""How deep models may be within models."""


def unwrapped(
    layers: Sequence[Config], linked: Callable[[Config], list[Config]], depth: int = 0
) -> Iterator[Config]:
    """The layers without wrappers; one that was wrapped says so under ``each_frame``.

    ``linked`` are the layers of a network in their order. A layer of a network within the network
    names that under ``within``: files of weights may know it by this name alone.

    >>> conv = {"class_name": "Conv2D", "config": {"name": "conv", "filters": 8}}
    >>> layer = {"class_name": "TimeDistributed", "config": {"name": "td", "layer": conv},
    ...          "inbound_nodes": [[["x", 0, 0, {}]]]}
    >>> for found in unwrapped([layer], list):
    ...     print(found["class_name"], found["config"], found["each_frame"])
    Conv2D {'name': 'td', 'filters': 8} True
    """
    if depth > MOST:
        raise CheckpointError(f"there are more than {MOST} models within each other")
    for layer in layers:
        name, wrapped = layer["config"]["name"], layer["class_name"] == "TimeDistributed"
        inner = layer["config"]["layer"] if wrapped else layer
        if inner["class_name"] in NETWORKS:
            for part in unwrapped(_pieces(layer, inner, linked), linked, depth + 1):
                within = part.get("within") or name
                each = wrapped or part.get("each_frame", False)
                yield {**part, "each_frame": each, "within": within}
        elif wrapped:
            config = {**inner["config"], "name": name}
            yield {**layer, "class_name": inner["class_name"], "config": config, "each_frame": True}
        else:
            yield layer


def _pieces(layer: Config, inner: Config, linked: Callable[[Config], list[Config]]) -> list[Config]:
    """The layers of a network within a network; nothing is done where it begins and ends."""
    parts = linked(inner)
    begin = [part for part in parts if part["class_name"] == "InputLayer"]
    outputs = inner["config"].get("output_layers") or [[parts[-1]["config"]["name"], 0, 0]]
    if isinstance(outputs[0], str):
        outputs = [outputs]
    name = str(layer["config"]["name"])
    if len(begin) != 1 or len(outputs) != 1:
        raise CheckpointError(
            f"the model {shown(name)} within the model has several inputs or ends"
        )
    first = _passing(str(begin[0]["config"]["name"]), layer["inbound_nodes"])
    last = _passing(name, [[[outputs[0][0], 0, 0, {}]]])
    return [first, *(part for part in parts if part is not begin[0]), last]


def _passing(name: str, calls: Any) -> Config:
    """A layer that does nothing."""
    return {"class_name": "Dropout", "config": {"name": name}, "inbound_nodes": calls}
