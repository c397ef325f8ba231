"""Rounds the factors of convolutions to bfloat16: eight bits of each number that is multiplied.

A convolution of bfloat16 reads its input rounded to nearest, and has weights that are. Its sums,
the bias, the residual, and all else stay float32. Weights are rounded once, with the batch norm
folded into them. Depthwise convolutions stay as they are: they multiply little and read much.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from tsm_ref.errors import UsageError
from tsm_ref.graph import Graph, Node
from tsm_ref.passes.fold_batch_norm import fold_batch_norm
from tsm_ref.reference.rounding import bfloat16

Weights = Mapping[str, NDArray[Any]]


def in_bfloat16(graph: Graph, weights: Weights) -> tuple[Graph, dict[str, NDArray[Any]]]:
    """The network that multiplies in bfloat16, batch norms folded.

    Raises `UsageError` for a quantised one.

    >>> from tsm_ref.models import RESNETS, build_resnet, random_weights
    >>> graph = build_resnet(RESNETS["resnet18"], num_classes=5)
    >>> rounded, _ = in_bfloat16(graph, random_weights(graph))
    >>> {node.attr("precision") for node in rounded.select("Conv")}
    {'bfloat16'}
    """
    if graph.quantised:
        raise UsageError("bfloat16 is for networks of real numbers, and this one is quantised")
    folded, made = fold_batch_norm(graph, weights)
    nodes = []
    for node in folded.nodes:
        if node.op == "Conv" and not _is_depthwise(folded, node):
            node = _rounded(node, made)
        nodes.append(node)
    result = folded.with_nodes(nodes, {name: value.shape for name, value in made.items()})
    return result, {name: made[name] for name in result.parameters}


def _is_depthwise(graph: Graph, conv: Node) -> bool:
    return conv.attr("group") > 1 and graph.parameters[conv.inputs[1]][1] == 1


def _rounded(conv: Node, made: dict[str, NDArray[Any]]) -> Node:
    x, weight, *bias = conv.inputs
    name = f"{weight}.bfloat16"
    made[name] = bfloat16(made[weight])
    inputs = (x, name, *bias)
    return replace(conv, inputs=inputs, attrs={**conv.attrs, "precision": "bfloat16"})
