"""What the calls of shifting layers tell in the JSON of a Keras model: within how many frames."""

import json
from typing import Any

from tsm_ref.errors import CheckpointError


def shifts_of(text: str) -> dict[str, int]:
    """The facts that calls of layers of the kind TSM tell; empty without such layers.

    Keras keeps the arguments of a call beside its inputs: ``n_frame`` of MTTS-CAN's layer. Raises
    `CheckpointError` where two layers say different things.

    >>> call = [["input_1", 0, 0, {"n_frame": 9}]]
    >>> layer = {"class_name": "TSM", "config": {}, "inbound_nodes": [call]}
    >>> shifts_of(json.dumps({"config": {"layers": [layer]}}))
    {'frame_depth': 9}
    """
    found: dict[str, int] = {}
    try:
        for layer in json.loads(text)["config"]["layers"]:
            if str(layer["class_name"]).rpartition(">")[2] != "TSM":
                continue
            told = layer["config"] | _arguments(layer["inbound_nodes"][0])
            for name, fact in (("n_frame", "frame_depth"), ("fold_div", "fold_div")):
                value = told.get(name)
                if type(value) is int and found.setdefault(fact, value) != value:
                    raise CheckpointError(
                        f"layers of the kind TSM have the {name} {found[fact]} and {value}"
                    )
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError):
        return {}
    return found


def _arguments(call: Any) -> dict[str, Any]:
    """What a layer is called with besides its input, in Keras 2 or 3; by position, MTTS-CAN's."""
    if not isinstance(call, dict):
        return dict(call[0][3]) if len(call[0]) > 3 else {}
    positional = dict(zip(("n_frame", "fold_div"), call["args"][1:], strict=False))
    return {**positional, **call["kwargs"]}
