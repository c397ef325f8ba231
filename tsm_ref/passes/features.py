"""Cuts a graph at a value: the features in front of its head, or those of any other layer.

A new head can stand there instead.
"""

from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches

from tsm_ref.errors import UsageError
from tsm_ref.graph import SQUASHES, Graph, Node
from tsm_ref.ops_table import DYNAMIC, SUMS

__all__ = ["features", "head_input", "layers", "with_head", "with_heads"]

MOST_NAMED = 24
"""The most layers that a refusal names."""


def features(graph: Graph, layer: str | None = None) -> Graph:
    """The graph up to a layer; its only output are features per frame (N, D, T).

    ``layer`` is the name of a value, or of a block such as "layer3", which stands for its last
    value; by default it is what the head reads, see `head_input`. Maps (N, D, T, H, W) become
    their means over H and W. What the features do not need is left out, inputs too.

    Raises `UsageError` for a layer that does not exist, or that is no layer of frames.

    >>> from tsm_ref.models import RESNETS, build_resnet
    >>> graph = build_resnet(RESNETS["resnet18"], num_classes=5)
    >>> [features(graph, layer).outputs for layer in (None, "layer3")]
    [('flatten',), ('layer3.1.relu features',)]
    """
    value = head_input(graph) if layer is None else _found(graph, layer)
    nodes, known = list(graph.nodes), graph.types[value]
    if known.quantised:
        steps = {"x_scale": known.scale, "x_zero_point": known.zero_point}
        nodes.append(Node(f"{value} real", "DequantizeLinear", (value,), steps))
        value = f"{value} real"
    if _ranks(replace(graph, nodes=tuple(nodes)))[value] == 5:
        pooled, flat = f"{value} pooled", f"{value} features"
        nodes += [Node(pooled, "GlobalAveragePool", (value,)), Node(flat, "Flatten", (pooled,))]
        value = flat
    return _ending_at(replace(graph, nodes=tuple(nodes)), value)


def with_head(graph: Graph, classes: int, layer: str | None = None) -> tuple[Graph, str, str]:
    """The graph up to a layer with a new head behind it, and the names of its weight and bias.

    The head is linear, (classes, D) and (classes,), per frame; its logits are averaged over time.
    Raises `UsageError` as `features`.

    >>> from tsm_ref.models import RESNETS, build_resnet
    >>> made, weight, bias = with_head(build_resnet(RESNETS["resnet18"], num_classes=5), 2)
    >>> made.parameters[weight], made.parameters[bias], made.outputs
    ((2, 512), (2,), ('consensus',))
    """
    cut = features(graph, layer)
    taken = {*cut.parameters, *cut.node, *(entry.name for entry in cut.inputs)}
    name, output = _free("head", taken), _free("consensus", taken)
    return _headed(cut, {output: (name, classes)}), f"{name}.weight", f"{name}.bias"


def with_heads(graph: Graph, heads: Mapping[str, int], layer: str | None = None) -> Graph:
    """The graph up to a layer with several heads behind it, as verb and noun of EPIC-Kitchens.

    ``heads`` are the names of the outputs and how many classes each has; the parameters are called
    "verb.weight", "verb.bias" and so on. Raises `UsageError` for a name that is blank
    or that the graph has already.

    >>> from tsm_ref.models import RESNETS, build_resnet
    >>> graph = build_resnet(RESNETS["resnet18"], num_classes=5)
    >>> with_heads(graph, {"verb": 97, "noun": 300}).parameters["noun.weight"]
    (300, 512)
    """
    cut = features(graph, layer)
    taken = {*cut.parameters, *cut.node, *(entry.name for entry in cut.inputs)}
    for name in heads:
        if not isinstance(name, str) or not name.strip():
            raise UsageError(f"the head {name!r} must have a name, and one that is not blank")
        if {name, f"{name} per frame", f"{name}.weight", f"{name}.bias"} & taken:
            raise UsageError(f"the head {name!r} has the name of something else in the network")
    named = {name: (f"{name} per frame", classes) for name, classes in heads.items()}
    return _headed(cut, named)


def _headed(cut: Graph, heads: Mapping[str, tuple[str, int]]) -> Graph:
    """Linear layers and their means over time: by output, the name of the layer and the classes."""
    (value,) = cut.outputs
    shapes = {
        entry.name: [size if isinstance(size, int) else 64 for size in entry.shape]
        for entry in cut.inputs
    }
    width = cut.shapes(shapes)[value][1]
    nodes, parameters = list(cut.nodes), dict(cut.parameters)
    for output, (name, classes) in heads.items():
        base = name.removesuffix(" per frame")
        weight, bias = f"{base}.weight", f"{base}.bias"
        nodes += [
            Node(name, "Linear", (value, weight, bias)),
            Node(output, "Consensus", (name,)),
        ]
        parameters |= {weight: (classes, width), bias: (classes,)}
    return replace(cut, nodes=tuple(nodes), outputs=tuple(heads), parameters=parameters)


def _free(name: str, taken: set[str]) -> str:
    """A name that nothing in the graph has, nor begins the name of its parameters."""
    while {name, f"{name}.weight", f"{name}.bias"} & taken:
        name += "_"
    return name


def head_input(graph: Graph) -> str:
    """The value that the last layer with weights reads: the features of a classifier.

    Raises `UsageError` for outputs that are made of different ones, or of none.
    """
    found = {_last_read(graph, output) for output in graph.outputs}
    if len(found) > 1:
        outputs = ", ".join(graph.outputs)
        raise UsageError(f"the outputs {outputs} are made of different features: name a layer")
    (value,) = found
    if value is None or _ranks(graph)[value] not in (3, 5):
        raise UsageError(
            "no layer with weights makes the output, so there is no head: name a layer"
        )
    return value


def layers(graph: Graph) -> tuple[str, ...]:
    """The names of all values that have features per frame, in graph order.

    What a softmax or its like makes of scores is the network's answer, and no features.
    """
    ranks = _ranks(graph)
    return tuple(
        node.name
        for node in graph.nodes
        if ranks[node.name] == 5 or (ranks[node.name] == 3 and node.op not in SQUASHES)
    )


def _last_read(graph: Graph, value: str) -> str | None:
    """What the last layer with weights on the way to a value reads."""
    while (node := graph.node.get(value)) is not None:
        value = node.inputs[0]
        if node.op in ("Linear", "Conv", *SUMS, *DYNAMIC):
            return value
    return None


def _found(graph: Graph, layer: str) -> str:
    """The value that a layer's name stands for."""
    if not isinstance(layer, str):
        raise UsageError(f"`layer` (={layer!r}) must be the name of a layer")
    known = layers(graph)
    inside = [name for name in known if name.startswith(f"{layer}.")]
    if layer in known:
        return layer
    if inside:
        return inside[-1]
    if layer in graph.node:
        raise UsageError(f"the value {layer!r} has no features per frame: it is no layer of frames")
    blocks = list(dict.fromkeys(name.partition(".")[0] for name in known))
    if len(blocks) < 6:  # all in a few, as in MobileNetV2
        blocks = list(dict.fromkeys(".".join(name.split(".")[:2]) for name in known))
    more = ", ..." if len(blocks) > MOST_NAMED else ""
    near = get_close_matches(layer, known, 3)
    nearest = f"the nearest are {', '.join(near)}; " if near else ""
    raise UsageError(
        f"there is no layer {layer!r}; {nearest}there are {', '.join(blocks[:MOST_NAMED])}{more}"
    )


def _ranks(graph: Graph) -> Mapping[str, int]:
    """How many axes every value has."""
    known = {entry.name: len(entry.shape) for entry in graph.inputs}
    for node in graph.nodes:
        rank = max(known[name] for name in node.inputs if name in known)
        if node.op == "Flatten":
            rank = 3
        elif node.op == "Consensus":
            rank = 2
        elif node.op == "Squeeze":
            rank -= len(node.attrs["axes"])
        known[node.name] = rank
    return known


def _ending_at(graph: Graph, value: str) -> Graph:
    """The nodes and inputs that a value needs, and nothing else."""
    needed, kept = {value}, []
    for node in reversed(graph.nodes):
        if node.name in needed:
            kept.append(node)
            needed.update(node.inputs)
    inputs = tuple(entry for entry in graph.inputs if entry.name in needed)
    parameters = {name: shape for name, shape in graph.parameters.items() if name in needed}
    return replace(
        graph, inputs=inputs, nodes=tuple(reversed(kept)), outputs=(value,), parameters=parameters
    )
