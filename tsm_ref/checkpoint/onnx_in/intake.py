"""What a file does with pictures before its network begins, so that it is not done again.

Some files take pixels from 0 to 255, or from 0 to 1, and normalise them inside; some exchange the
first and the last channel. All of that stays in the graph. What is left to do outside, and so what
the profile has to say, is read off it here.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tsm_ref.checkpoint.contents import Float32
from tsm_ref.checkpoint.views import FileView
from tsm_ref.graph import Graph, Node
from tsm_ref.profile import Preprocess

FULL = 4.0
"""An input whose zero or whose unit lies further away than this is in steps of a byte."""


@dataclass(frozen=True)
class Intake:
    """Channel `c` of the network is ``gain[c] * x[order[c]] + offset[c]``, `x` being the input."""

    gain: Float32
    offset: Float32
    order: tuple[int, ...]

    @property
    def normalises(self) -> bool:
        """True where the values change, and not only their places."""
        return bool(np.any(self.gain != 1) or np.any(self.offset))

    @property
    def zero(self) -> Float32:
        """The value of the input that each channel of the network sees as zero: the mean."""
        return -self.offset / self.gain

    @property
    def in_bytes(self) -> bool:
        """True where the input is meant to reach from 0 to 255, False where from 0 to 1."""
        return bool(max(np.abs(self.zero).max(), (1 / np.abs(self.gain)).max()) > FULL)


def intake(graph: Graph, weights: dict[str, Float32]) -> Intake:
    """What the first nodes of a graph do with a picture, as long as they do nothing but this."""
    value, channels = graph.inputs[0].name, 3
    found = Intake(np.ones(channels, np.float32), np.zeros(channels, np.float32), (0, 1, 2))
    while len(readers := graph.consumers.get(value, ())) == 1:
        (node,) = readers
        following = _further(found, node, weights)
        if following is None:
            break
        value, found = node.name, following
    return found


def _further(before: Intake, node: Node, weights: dict[str, Float32]) -> Intake | None:
    """The same behind one more node; None where this one is part of the network."""
    if node.op == "BatchNormalization" and node.attr("epsilon") == 0:
        scale, bias, mean, variance = (weights[name] for name in node.inputs[1:])
        if scale.shape == before.gain.shape and not mean.any() and (variance == 1).all():
            if not scale.all():
                return None
            return Intake(before.gain * scale, before.offset * scale + bias, before.order)
    if node.op == "Conv" and len(node.inputs) == 2:
        weight = weights[node.inputs[1]]
        taps = weight.reshape(weight.shape[:2]) if weight.shape == (3, 3, 1, 1, 1) else None
        if taps is not None and ((taps == 1).sum(1) == 1).all() and (taps != 0).sum() == 3:
            order = taps.argmax(1)
            places = tuple(before.order[c] for c in order)
            return Intake(before.gain[order], before.offset[order], places)
    return None


def prepared(
    spec: Preprocess, graph: Graph, weights: dict[str, Float32], view: FileView
) -> tuple[Preprocess, tuple[str, ...]]:
    """The preprocessing that is left to do for a file, and what had to be assumed of it."""
    shape = graph.inputs[0].shape
    if len(graph.inputs) != 1 or len(shape) != 5 or shape[1] != 3:
        return spec, ()
    found = intake(graph, weights)
    changes: dict[str, Any] = _cropped(view)
    warnings = _aside(view)
    if found.normalises or view.dtype == "uint8":
        whole = view.dtype == "uint8" or found.in_bytes
        scale = 1.0 if whole else 1 / 255
        changes |= {"scale": scale, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    network = _colours(found, spec) if found.normalises else ""
    flipped = found.order == (2, 1, 0)
    if flipped and not network:
        network = spec.channel_order
        warnings += (
            "the file exchanges the first and the last channel and does not say which is red: "
            f"its network is taken to see {network.upper()}, so it is given "
            f"{_other(network).upper()}; a profile with another channel_order says otherwise",
        )
    if network:
        changes["channel_order"] = _other(network) if flipped else network
    return replace(spec, **changes), warnings


def _colours(found: Intake, spec: Preprocess) -> str:
    """The order of colours that the means tell: of natural pictures red is the brightest."""
    zero = found.zero * (1 if found.in_bytes else 255)
    if abs(zero[0] - zero[2]) < 2:
        return ""
    return "rgb" if zero[0] > zero[2] else "bgr"


def _other(order: str) -> str:
    return order[::-1]


def _cropped(view: FileView) -> dict[str, Any]:
    """Resize to what the file takes and cut what its crop leaves, in the middle."""
    if view.rows is None or view.columns is None:
        return {}
    height, width = (view.sizes.get(letter) for letter in "HW")
    if not height or not width:
        return {}
    crop = (view.rows[1] - view.rows[0], view.columns[1] - view.columns[0])
    return {"short_side": max(*crop, min(height, width)), "size": None, "crop": crop}


def _aside(view: FileView) -> tuple[str, ...]:
    """A crop that is not in the middle: a recognition, which cuts the middle, sees other pixels."""
    if view.rows is None or view.columns is None:
        return ()
    for letter, (start, stop) in (("H", view.rows), ("W", view.columns)):
        left = (view.sizes.get(letter) or start + stop) - stop
        if abs(start - left) > 1:
            axis = "rows" if letter == "H" else "columns"
            return (
                f"the file cuts {axis} {start} to {stop - 1} of {left + stop}, which are not those "
                "in the middle: a recognition cuts the middle, `run` does what the file does",
            )
    return ()
