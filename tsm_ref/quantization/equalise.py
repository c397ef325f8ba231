"""Brings channels that share their steps to like ranges, without changing what is computed.

All channels of a value have one scale, so a channel that stays small has few steps. Between two
convolutions with nothing but a clamp or a shift between them, a channel may be divided by any
factor in the first and multiplied by it in the second (Nagel et al. 2019, section 4.1). A depthwise
convolution has a scale of its own for every channel, so nothing is lost in it; in a dense one the
factor goes into weights that share their scale, so the two are balanced.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.graph import Graph, Node
from tsm_ref.quantization.ranges import Seen

__all__ = ["equalised", "pairs"]

Array = NDArray[Any]
Weights = Mapping[str, Array]

BETWEEN = ("Relu", "LeakyRelu", "Clip", "TemporalShift")
"""What may stand between two convolutions; a clip must begin at zero."""
LEAST = 1 / 64
"""The smallest factor: a channel that was silent on the calibration clips may speak elsewhere."""


def pairs(graph: Graph) -> list[tuple[Node, Node, tuple[Node, ...]]]:
    """The convolutions (first, second) that are balanced, and the nodes between them."""
    found = []
    for second in graph.select("Conv"):
        between: list[Node] = []
        node = graph.node.get(second.inputs[0])
        while node is not None and node.op in BETWEEN and _private(graph, node):
            between.insert(0, node)
            node = graph.node.get(node.inputs[0])
        if node is None or node.op != "Conv" or not _private(graph, node):
            continue
        depthwise = second.attr("group") == len(graph.parameters[second.inputs[1]])
        clips = [each for each in between if each.op == "Clip"]
        # In front of a depthwise layer all channels reach the clip together; a dense one leaves
        # them at different heights, of which one clip cannot be the end.
        together = depthwise and all(clip.attrs["min"] == 0 for clip in clips)
        if together or (second.attr("group") == 1 and not clips):
            found.append((node, second, tuple(between)))
    return found


def equalised(graph: Graph, weights: Weights, seen: Mapping[str, Seen]) -> tuple[Graph, Weights]:
    """The graph and the weights with every pair balanced; ``seen`` knows what the seconds read.

    A clip above zero stands at the largest value of any channel afterwards: a channel that the
    calibration clips never brought there is clamped at what they brought it to.
    """
    made: dict[str, Array] = dict(weights)
    nodes = dict(graph.node)
    for first, second, between in pairs(graph):
        reach = seen[second.inputs[0]].largest
        factor = _factors(reach, made[second.inputs[1]], second)
        top = float(np.float32((reach / factor).max(initial=0)))
        for node in between:
            if node.op == "Clip" and top > 0:
                nodes[node.name] = replace(node, attrs={**node.attrs, "max": top})
        for name in first.inputs[1:]:
            made[name] = _times(made[name], 1 / factor, 0)
        depthwise = second.attr("group") != 1
        made[second.inputs[1]] = _times(made[second.inputs[1]], factor, 0 if depthwise else 1)
    return replace(graph, nodes=tuple(nodes.values())), made


def _factors(reach: Array, weight: Array, second: Node) -> Array:
    """What every channel is divided by, 1 at most."""
    if second.attr("group") != 1:
        share = reach / max(float(reach.max(initial=0)), 1e-30)
    else:
        by_channel = np.abs(weight).max(axis=(0, *range(2, weight.ndim)))
        ratio = np.sqrt(np.maximum(reach, 1e-30) / np.maximum(by_channel, 1e-30))
        share = ratio / max(float(ratio.max(initial=0)), 1e-30)
    return np.where(reach > 0, np.clip(share, LEAST, 1.0), 1.0)


def _times(values: Array, factor: Array, axis: int) -> Array:
    shape = [1] * values.ndim
    shape[axis] = -1
    return np.asarray((values.astype(np.float64) * factor.reshape(shape)).astype(np.float32))


def _private(graph: Graph, node: Node) -> bool:
    return len(graph.consumers.get(node.name, ())) == 1 and node.name not in graph.outputs
