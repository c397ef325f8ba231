"""Folds a batch norm into the convolution in front of it.

``batch_norm(conv(x, W) + b) = conv(x, W s) + (b - mean) s + shift`` with
``s = scale / sqrt(variance + epsilon)`` per output channel (Ioffe and Szegedy 2015, section 3.1).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.graph import Graph, Node
from tsm_ref.ops_table import OPS, Shape

Weights = Mapping[str, NDArray[Any]]


def fold_batch_norm(graph: Graph, weights: Weights) -> tuple[Graph, dict[str, NDArray[Any]]]:
    """Replace each convolution that only a batch norm reads, and that batch norm, by one.

    The folded numbers are computed in float64 and rounded once to the dtype of the weights. The
    new convolution carries the name of the batch norm.
    """
    made: dict[str, NDArray[Any]] = dict(weights)
    shapes: dict[str, Shape] = dict(graph.parameters)
    folded: dict[str, Node] = {}
    for norm in graph.select("BatchNormalization"):
        conv = graph.node.get(norm.inputs[0])
        if conv is None or conv.op != "Conv" or graph.only_reader(conv.name) is not norm:
            continue
        weight, bias = _fold(conv, norm, weights)
        names = (f"{norm.name}.folded_weight", f"{norm.name}.folded_bias")
        for name, value in zip(names, (weight, bias), strict=True):
            made[name], shapes[name] = value, value.shape
        folded[conv.name] = norm
        folded[norm.name] = replace(conv, name=norm.name, inputs=(conv.inputs[0], *names))
    nodes = [
        folded.get(node.name, node)
        for node in graph.nodes
        if not (node.op == "Conv" and node.name in folded)
    ]
    result = graph.with_nodes(nodes, shapes)
    return result, {name: made[name] for name in result.parameters}


def _fold(conv: Node, norm: Node, weights: Weights) -> tuple[NDArray[Any], NDArray[Any]]:
    weight = weights[conv.inputs[1]]
    scale, shift, mean, variance = (weights[name].astype(np.float64) for name in norm.inputs[1:])
    epsilon = OPS["BatchNormalization"].value(norm.attrs, "epsilon")
    factor = scale / np.sqrt(variance + epsilon)
    bias = weights[conv.inputs[2]] if len(conv.inputs) > 2 else 0.0
    folded = weight.astype(np.float64) * factor.reshape(-1, *[1] * (weight.ndim - 1))
    return folded.astype(weight.dtype), ((bias - mean) * factor + shift).astype(weight.dtype)
