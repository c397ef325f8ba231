"""The multi-scale head of TRN (Zhou et al. 2018) in the place of an average over time."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from math import comb

from tsm_ref.errors import UsageError
from tsm_ref.graph import Graph, Node
from tsm_ref.ops_table import Shape
from tsm_ref.passes.features import features

__all__ = ["relations_of", "with_relations"]

MOST = 3
"""The tuples of frames of one length that are summed."""
LONGEST = 16
"""The most frames of a clip: of 16 there are 12870 tuples of 8."""


def relations_of(segments: int) -> Iterator[tuple[int, ...]]:
    """The tuples of frames that are related: all frames, then three of each number down to two.

    The authors' code draws the three at random, at test time too; here they are spread evenly over
    all of that number in their order, as in TA3N, so that the same clip has the same answer.

    >>> list(relations_of(4))
    [(0, 1, 2, 3), (0, 1, 2), (0, 2, 3), (1, 2, 3), (0, 1), (0, 3), (1, 3)]
    """
    for size in range(segments, 1, -1):
        count = comb(segments, size)
        chosen = min(MOST, count)
        wanted = {-(-i * count // chosen) for i in range(chosen)}
        every = enumerate(combinations(range(segments), size))
        yield from (frames for i, frames in every if i in wanted)


def with_relations(
    graph: Graph, segments: int, classes: int, *, hidden: int = 256, bottleneck: int = 256
) -> Graph:
    """The graph up to its features with TRN's multi-scale head behind it, for clips of one length.

    ``sum over tuples of h_k(relu(g_k(relu(features of the k frames))))``, where the layers g and h
    are those of a number of frames k (equations 2 and 3), on ``hidden`` features per frame.
    Parameters: ``relation_features``, and ``relation8.1``, ``relation8.3`` and so on.

    Raises `UsageError` for fewer than 2 frames, or more than 16.

    >>> from tsm_ref.models import RESNETS, build_resnet
    >>> graph = build_resnet(RESNETS["resnet18"], num_classes=5, placement="none")
    >>> with_relations(graph, 8, 5).parameters["relation8.1.weight"]
    (256, 2048)
    """
    if not 2 <= segments <= LONGEST:
        raise UsageError(f"`segments` (={segments}) must be 2 to {LONGEST} for TRN's relations")
    cut = features(graph)
    (value,) = cut.outputs
    sizes = {
        entry.name: [size if isinstance(size, int) else 64 for size in entry.shape]
        for entry in cut.inputs
    }
    nodes, parameters = list(cut.nodes), dict(cut.parameters)

    def linear(name: str, x: str, layer: str, shape: tuple[int, int]) -> str:
        parameters.update(_of_layer(layer, shape))
        nodes.append(Node(name, "Linear", (x, f"{layer}.weight", f"{layer}.bias")))
        return name

    def node(name: str, op: str, *inputs: str, **attrs: object) -> str:
        nodes.append(Node(name, op, inputs, attrs))
        return name

    width = cut.shapes(sizes)[value][1]
    x = linear("relation_features", value, "relation_features", (hidden, width))
    x = node("relation_features.relu", "Relu", x)
    total = ""
    for frames in relations_of(segments):
        scale = f"relation{len(frames)}"
        name = f"{scale}({','.join(map(str, frames))})"
        y = node(f"{name}.frames", "FrameTuple", x, frames=frames)
        y = linear(f"{name}.1", y, f"{scale}.1", (bottleneck, len(frames) * hidden))
        y = linear(
            f"{name}.3", node(f"{name}.relu", "Relu", y), f"{scale}.3", (classes, bottleneck)
        )
        total = node(f"{name}.sum", "Add", total, y) if total else y
    node("consensus", "Consensus", total)
    name = graph.name.replace("tsn-", "trn-")
    return replace(
        cut, name=name, nodes=tuple(nodes), outputs=("consensus",), parameters=parameters
    )


def _of_layer(name: str, shape: tuple[int, int]) -> dict[str, Shape]:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
