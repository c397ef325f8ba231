"""The passes that both engines run before they plan, in their order."""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from tsm_ref.graph import Graph
from tsm_ref.passes.fold_batch_norm import fold_batch_norm
from tsm_ref.passes.fuse import fuse

Weights = Mapping[str, NDArray[Any]]


def optimize(graph: Graph, weights: Weights) -> tuple[Graph, dict[str, NDArray[Any]]]:
    """Fold batch norms into convolutions, then fuse shifts, residuals and activations into them.

    The values named by ``graph.outputs`` keep their names.

    >>> from tsm_ref.models import RESNETS, build_resnet, random_weights
    >>> graph = build_resnet(RESNETS["resnet18"], num_classes=5)
    >>> fused, _ = optimize(graph, random_weights(graph))
    >>> sorted({node.op for node in fused.nodes})
    ['Consensus', 'Flatten', 'FusedConv', 'GlobalAveragePool', 'Linear', 'MaxPool']
    """
    return fuse(*fold_batch_norm(graph, weights))
