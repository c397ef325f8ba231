"""The networks of a model's features: its graph cut at a layer, each with an engine of its own."""

from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray

from tsm_ref.engine import Engine
from tsm_ref.graph import Graph
from tsm_ref.passes.features import features

__all__ = ["FeatureNetworks"]

KEPT = 4
"""Layers whose engines are kept; each holds the weights in front of its layer."""

Weights = Mapping[str, NDArray[Any]]


class FeatureNetworks:
    """Graph and engine up to any layer, made when they are asked for and kept for the next time.

    ``make`` makes an engine of a graph and its weights, which ``weights`` gets.
    """

    def __init__(
        self, graph: Graph, weights: Callable[[], Weights], make: Callable[[Graph, Weights], Engine]
    ) -> None:
        self._graph, self._weights, self._make = graph, weights, make
        self._made: dict[str | None, tuple[Graph, Engine]] = {}

    def up_to(self, layer: str | None) -> tuple[Graph, Engine]:
        """The graph up to a layer, and its engine; raises `UsageError` as `features`."""
        made = self._made.get(layer)
        if made is None:
            graph, weights = features(self._graph, layer), self._weights()
            made = graph, self._make(graph, {name: weights[name] for name in graph.parameters})
            latest = list(self._made.items())[1 - KEPT :]  # a new table: threads may share a model
            self._made = {**dict(latest), layer: made}
        return made
