"""Decides how the Numba engine carries out each node: which kernel, and what its inputs must have.

Every decision depends on the graph and on H and W, never on the number of frames, clips or threads:
together with kernels that sum in a fixed order, that makes the results equal bit for bit however
a clip is cut up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tsm_ref.graph import Graph, Node
from tsm_ref.kernels.depthwise import SIZES, STRIDES
from tsm_ref.kernels.machine import BLOCK
from tsm_ref.op_attributes import ACTIVATIONS
from tsm_ref.ops_table import Shape

Shapes = Mapping[str, Shape]

DIRECT, WINOGRAD, DEPTHWISE, INVERTED = "direct", "winograd", "depthwise", "inverted"
GROUPED = "grouped"
POOL, LINEAR, ALIAS, NUMPY = "pool", "linear", "alias", "numpy"
ELEMENTWISE, CONCAT, FLATTEN = "elementwise", "concat", "flatten"
HISTORY = "history"

FARTHEST = 3
"""The largest spatial shift that a convolution reads by itself: every plane has such a border."""


@dataclass(frozen=True)
class Layer:
    """One kernel call: the nodes that it carries out, the last of which makes its value."""

    kind: str
    nodes: tuple[Node, ...]
    tile: int = 0  # m of a Winograd convolution F(m x m, 3x3)

    @property
    def node(self) -> Node:
        """The node that makes the value."""
        return self.nodes[-1]

    @property
    def name(self) -> str:
        """The name of the value."""
        return self.node.name

    @property
    def x(self) -> str:
        """The value that is read."""
        return self.nodes[0].inputs[0]

    @property
    def residual(self) -> str | None:
        """The value that is added, if one is."""
        inputs = self.node.inputs
        return inputs[3] if self.node.op == "FusedConv" and len(inputs) > 3 else None

    @property
    def first(self) -> Node:
        """The node whose kernel reads the input: not a spatial shift, which is only offsets."""
        moved = len(self.nodes) > 1 and self.nodes[0].op == "SpatialShift"
        return self.nodes[1 if moved else 0]

    def reads(self, graph: Graph) -> list[str]:
        """The values that are read: parameters are not values."""
        made = {node.name for node in self.nodes}
        names = [name for node in self.nodes for name in node.inputs]
        return [n for n in dict.fromkeys(names) if n not in graph.parameters and n not in made]

    def describe(self) -> str:
        """How the nodes are carried out, in a word or two."""
        if self.kind == WINOGRAD:
            return f"winograd F({self.tile}x{self.tile}, 3x3)"
        return self.kind


def lower(graph: Graph, shapes: Shapes) -> list[Layer]:
    """Return the layers that carry out an optimised graph, in order.

    >>> from tsm_ref.models import build_mobilenet_v2, random_weights
    >>> from tsm_ref.passes import optimize
    >>> graph = build_mobilenet_v2(num_classes=5)
    >>> fused, _ = optimize(graph, random_weights(graph))
    >>> layers = lower(fused, fused.shapes({"x": (1, 3, 8, 64, 64)}))
    >>> sum(layer.kind == INVERTED for layer in layers)
    17
    """
    blocks = _inverted_residuals(graph, shapes)
    inside = {node.name for block in blocks.values() for node in block.nodes[:-1]}
    offsets = {
        node.name: node
        for node in graph.select("SpatialShift")
        if _is_offsets(node, graph, shapes) and not _reads_any(graph, node, {*inside, *blocks})
    }
    layers = []
    for node in graph.nodes:
        if node.name in blocks:
            layers.append(blocks[node.name])
        elif node.name not in inside and node.name not in offsets:
            kind, tile = _kind(node, graph, shapes)
            moved = offsets.get(node.inputs[0])
            layers.append(Layer(kind, (node,) if moved is None else (moved, node), tile))
    return layers


def _is_offsets(shift: Node, graph: Graph, shapes: Shapes) -> bool:
    """Return whether a spatial shift is only where pointwise convolutions begin to read."""
    readers = graph.consumers.get(shift.name, ())
    near = max(map(abs, (*shift.attrs["dh"], *shift.attrs["dw"]))) <= FARTHEST
    return (
        near
        and shift.attr("fill") == "zero"
        and shift.name not in graph.outputs
        and all(
            node.op == "FusedConv"
            and node.inputs[0] == shift.name
            and shift.name not in node.inputs[1:]
            and shapes[node.inputs[1]][2:] == (1, 1, 1)
            and node.attr("group") == 1
            and not any(node.attr("pads"))
            for node in readers
        )
    )


def _reads_any(graph: Graph, node: Node, names: set[str]) -> bool:
    return any(reader.name in names for reader in graph.consumers.get(node.name, ()))


def moves_of(layer: Layer) -> NDArray[np.int64] | None:
    """Return by how many rows and columns each channel was moved, (C, 2); None if by none."""
    shift = layer.nodes[0]
    if shift.op != "SpatialShift":
        return None
    return np.array([shift.attrs["dh"], shift.attrs["dw"]], np.int64).T


def _kind(node: Node, graph: Graph, shapes: Shapes) -> tuple[str, int]:
    x = shapes[node.inputs[0]]
    if node.op == "FusedConv":
        return _convolution_kind(node, shapes)
    if node.op in ("MaxPool", "AveragePool"):
        kernel, strides, pads = (node.attr(n) for n in ("kernel_shape", "strides", "pads"))
        flat = kernel[0] == 1 and strides[0] == 1 and pads[0] == pads[3] == 0
        plain = flat and tuple(node.attrs.get("dilations", (1, 1, 1))) == (1, 1, 1)
        return (POOL if plain else NUMPY), 0
    if node.op == "GlobalAveragePool":
        return POOL, 0
    if node.op == "Flatten":
        by_block = node.attr("order") == "HWC" and x[1] % BLOCK == 0
        return (ALIAS if x[3:] == (1, 1) else FLATTEN if by_block else NUMPY), 0
    if node.op == "Linear":
        return LINEAR, 0
    if _is_elementwise(node, graph, shapes):
        return ELEMENTWISE, 0
    if node.op == "Concat" and len(x) == 5 and x[1] % BLOCK == 0 and _all_values(node, graph):
        return CONCAT, 0
    return (HISTORY if node.op == "History" else NUMPY), 0


def _is_elementwise(node: Node, graph: Graph, shapes: Shapes) -> bool:
    """Return whether the kernel of `tsm_ref.kernels.elementwise` carries a node out."""
    x, y = shapes[node.inputs[0]], shapes[node.name]
    if len(x) != 5:
        return False
    if node.op in ("Add", "Mul"):
        whole = y in (shapes[name] for name in node.inputs)
        return whole and _all_values(node, graph)
    if node.op == "AttentionMask":
        return x[1] == 1
    return node.op in (*ACTIVATIONS, "BatchNormalization", "TemporalShift")


def _all_values(node: Node, graph: Graph) -> bool:
    return not any(name in graph.parameters for name in node.inputs)


def _convolution_kind(node: Node, shapes: Shapes) -> tuple[str, int]:
    x, weight = shapes[node.inputs[0]], shapes[node.inputs[1]]
    group = node.attr("group")
    if group == 1:
        tile = _winograd_tile(node, x, weight)
        return (WINOGRAD, tile) if tile else (DIRECT, 0)
    if _is_depthwise(node, x, weight):
        return DEPTHWISE, 0
    return (GROUPED if groups_together(group, weight) else NUMPY), 0


def groups_together(group: int, weight: Shape) -> int:
    """Return how many groups fill whole blocks of channels on both sides; 0 where none do.

    Together they are one convolution, whose weights are zero from group to group.

    >>> groups_together(32, (128, 4, 1, 3, 3)), groups_together(32, (512, 16, 1, 3, 3))
    (4, 1)
    """
    sizes = (weight[1], weight[0] // group)
    counts = (n for n in range(1, BLOCK + 1) if group % n == 0)
    return next((n for n in counts if all(n * size % BLOCK == 0 for size in sizes)), 0)


def _winograd_tile(node: Node, x: Shape, weight: Shape) -> int:
    """Return m, or 0 where the direct sum is better."""
    if weight[2:] != (1, 3, 3) or node.attr("strides") != (1, 1, 1):
        return 0
    if node.attr("pads") != (0, 1, 1, 0, 1, 1) or node.attr("dilations") != (1, 1, 1):
        return 0
    if min(weight[:2]) < BLOCK or min(x[3:]) < 4:
        return 0
    return _best_tile(x[3], x[4], weight[0] * weight[1])


def _best_tile(height: int, width: int, filters: int) -> int:
    """Return m by the multiplications of one frame and by the size of the transformed weights.

    Measured: F(4x4) beats F(2x2) where it saves multiplications for which its larger weights do not
    have to be fetched from far away; F(2x2) beats the direct sum where it saves two in five.
    """
    four, two = ((m + 2) ** 2 * -(-height // m) * -(-width // m) for m in (4, 2))
    megabytes = 36 * 4 * filters / 1e6
    if (four <= 0.6 * two and megabytes <= 10) or (four <= 0.75 * two and megabytes <= 2.5):
        return 4
    return 2 if two <= 0.6 * 9 * height * width else 0


def _is_depthwise(node: Node, x: Shape, weight: Shape) -> bool:
    strides, pads, size = node.attr("strides"), node.attr("pads"), weight[-1]
    return (
        weight == (x[1], 1, 1, size, size)
        and size in SIZES
        and node.attr("group") == x[1]
        and strides[0] == 1
        and strides[1] == strides[2]
        and strides[1] in STRIDES
        and pads[0] == pads[3] == 0
        and node.attr("dilations") == (1, 1, 1)
    )


def _is_middle(node: Node, x: Shape, weight: Shape) -> bool:
    """Return whether a depthwise convolution is one that the fused block knows."""
    return (
        _is_depthwise(node, x, weight)
        and weight[-1] == 3
        and node.attr("pads") == (0, 1, 1, 0, 1, 1)
        and not any(node.attr("d"))
        and len(node.inputs) < 4
    )


def _inverted_residuals(graph: Graph, shapes: Shapes) -> dict[str, Layer]:
    """Return the chains expand - depthwise - project that nothing else looks into, by their end.

    Where the end of a chain is the beginning of another, as in MobileNetV1, the first is taken.
    """
    found: dict[str, Layer] = {}
    for middle in graph.select("FusedConv"):
        first = graph.node.get(middle.inputs[0])
        readers = graph.consumers.get(middle.name, ())
        if first is None or first.op != "FusedConv" or len(readers) != 1:
            continue
        last = readers[0]
        chain = (first, middle, last)
        if (
            last.op == "FusedConv"
            and first.name not in found
            and last.inputs[0] == middle.name
            and graph.consumers[first.name] == (middle,)
            and not {first.name, middle.name} & set(graph.outputs)
            and _is_middle(middle, shapes[first.name], shapes[middle.inputs[1]])
            and _is_expand(first, shapes)
            and _is_project(last, shapes)
            and all(node.attr("activation") in ("", "Relu", "Clip") for node in chain)
            and _passes_zero(first)
        ):
            found[last.name] = Layer(INVERTED, chain)
    return found


def _passes_zero(node: Node) -> bool:
    """Return whether a hidden channel that is only there to fill a block stays zero."""
    low, high = limits_of(node)
    return low <= 0 <= high


def _is_expand(node: Node, shapes: Shapes) -> bool:
    weight = shapes[node.inputs[1]]
    size, pads, strides = weight[-1], node.attr("pads"), node.attr("strides")
    return (
        node.attr("group") == 1
        and len(node.inputs) < 4
        and weight[2:] in ((1, 1, 1), (1, 3, 3))
        and tuple(pads) == (0, size // 2, size // 2) * 2
        and node.attr("dilations") == (1, 1, 1)
        and strides[0] == 1
        and strides[1] == strides[2]
    )


def _is_project(node: Node, shapes: Shapes) -> bool:
    return (
        shapes[node.inputs[1]][2:] == (1, 1, 1)
        and node.attr("group") == 1
        and node.attr("strides") == (1, 1, 1)
        and not any(node.attr("pads"))
        and not any(node.attr("d"))
    )


def limits_of(node: Node) -> tuple[float, float]:
    """Return the clamp that a node is or applies; unlimited where its activation is none."""
    activation = node.attr("activation") if node.op == "FusedConv" else node.op
    if activation == "Relu":
        return 0.0, float("inf")
    if activation == "Clip":
        return node.attr("min"), node.attr("max")
    return -float("inf"), float("inf")


def border(layer: Layer, shapes: Shapes) -> tuple[int, int]:
    """Return how many zeros `layer` reads before (above, left of) and after its input's planes."""
    node = layer.first
    if node.op != "FusedConv":
        return 0, 0
    if (moves := moves_of(layer)) is not None:
        return max(0, int(moves.max())), max(0, -int(moves.min()))
    if layer.kind == WINOGRAD:
        height, width = shapes[layer.x][3:]
        return 1, 1 + max(-height % layer.tile, -width % layer.tile)
    kernel, strides, pads = shapes[node.inputs[1]][3:], node.attr("strides"), node.attr("pads")
    dilations, x, y = node.attr("dilations"), shapes[layer.x], shapes[node.name]
    after = [
        (y[3 + i] - 1) * strides[1 + i] + (kernel[i] - 1) * dilations[1 + i] - pads[1 + i]
        - (x[3 + i] - 1)
        for i in range(2)
    ]  # fmt: skip
    return max(pads[1], pads[2]), max(0, *after)


def readers(layers: Sequence[Layer], graph: Graph) -> dict[str, list[Layer]]:
    """Return, for every value, the layers that read it."""
    found: dict[str, list[Layer]] = {}
    for layer in layers:
        for name in layer.reads(graph):
            found.setdefault(name, []).append(layer)
    return found
