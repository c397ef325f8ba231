"""The passes that every engine runs before it plans, in their order."""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from tsm_ref.errors import GraphError
from tsm_ref.graph import Graph
from tsm_ref.passes.fold_batch_norm import fold_batch_norm
from tsm_ref.passes.fuse import fuse

Weights = Mapping[str, NDArray[Any]]


def optimize(graph: Graph, weights: Weights) -> tuple[Graph, dict[str, NDArray[Any]]]:
    """Fold batch norms into convolutions, then fuse shifts, residuals and activations into them.

    The values named by ``graph.outputs`` keep their names. Raises `GraphError` for a ``History``,
    which has a meaning in a step graph only.

    >>> from tsm_ref.models import RESNETS, build_resnet, random_weights
    >>> graph = build_resnet(RESNETS["resnet18"], num_classes=5)
    >>> fused, _ = optimize(graph, random_weights(graph))
    >>> sorted({node.op for node in fused.nodes})
    ['Consensus', 'Flatten', 'FusedConv', 'GlobalAveragePool', 'Linear', 'MaxPool']
    """
    for node in graph.select("History"):
        raise GraphError(f"node {node.name!r} (History) belongs to a step graph, not to a clip")
    return fuse(*fold_batch_norm(graph, weights))
