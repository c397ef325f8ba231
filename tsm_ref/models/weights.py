"""Seeded random weights with sane batch-norm statistics: for tests, benchmarks and lessons."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.graph import Graph, Node
from tsm_ref.models import mobilenet_v3, pp_lcnet
from tsm_ref.ops_table import DYNAMIC, SUMS

FIXED = {**pp_lcnet.FIXED, **mobilenet_v3.FIXED}
"""What a network does not learn, and how it is made."""


def random_weights(graph: Graph, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Weights of every parameter of a graph, the same for the same seed on every machine.

    Convolutions and linear layers are drawn with variance ``2 / fan_in`` (He et al. 2015) and
    ``1 / fan_in``; the last batch norm of a residual branch is scaled down, so that a deep network
    keeps its signal near 1. What a network does not learn (`FIXED`) is
    what it always is.

    >>> from tsm_ref.models import build_mobilenet_v2
    >>> graph = build_mobilenet_v2(num_classes=5, width=0.35)
    >>> weights = random_weights(graph, seed=3)
    >>> weights["classifier.weight"].shape, weights["classifier.weight"].dtype
    ((5, 1280), dtype('float32'))
    """
    rng = np.random.default_rng(seed)
    weights: dict[str, NDArray[Any]] = {}
    for node in graph.nodes:
        for name, role in zip(node.inputs, node.rule.inputs, strict=False):
            if name in graph.parameters and name not in weights:
                shape = graph.parameters[name]
                fixed, types = FIXED.get(name), graph.parameter_types[name]
                if types != ("float32",):
                    weights[name] = _draw_whole(rng, role, shape).astype(types[0])
                    continue
                value = fixed(shape) if fixed else _draw(rng, graph, node, role.rstrip("?"), shape)
                weights[name] = value.astype(np.float32)
    return {name: weights[name] for name in graph.parameters}


def _draw(
    rng: np.random.Generator, graph: Graph, node: Node, role: str, shape: tuple[int, ...]
) -> NDArray[np.float64]:
    if role == "weight":
        fan_in = int(np.prod(shape[1:]))
        gain = 1.0 if node.op == "Linear" else 2.0
        return rng.normal(0.0, (gain / fan_in) ** 0.5, shape)
    if role == "scale" and node.op in (*SUMS, *DYNAMIC):
        terms = math.prod(graph.parameters[node.inputs[1]][1:])
        return rng.uniform(0.5, 1.5, shape) / (127 * math.sqrt(terms))
    if role == "scale":
        ends_branch = any(reader.op == "Add" for reader in graph.consumers.get(node.name, ()))
        return rng.uniform(0.25, 0.45, shape) if ends_branch else rng.uniform(0.8, 1.2, shape)
    if role == "variance":
        return rng.uniform(0.7, 1.4, shape)
    return rng.normal(0.0, 0.1, shape)


def _draw_whole(rng: np.random.Generator, role: str, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Weights, biases and tables of quantised layers."""
    if role == "bias":
        return rng.integers(-3000, 3000, shape)
    return rng.integers(0, 256, shape) if role == "table" else rng.integers(-127, 128, shape)
