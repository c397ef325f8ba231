"""How tests judge: within the derived bound of the oracle, and a fused graph written out again."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.graph import Graph, Node
from tsm_ref.reference.bounded import Bounded
from tsm_ref.reference.rounding import unit_roundoff

U32 = unit_roundoff(np.float32)
U64 = unit_roundoff(np.float64)


def assert_within(actual: NDArray[Any], bounded: Bounded) -> None:
    """Assert that every value is within its tolerance, and that the tolerance could fail one."""
    used = bounded.used(actual)
    assert used <= 1, f"the error is {used:.3g} of the bound"
    worth = bounded.tolerance().max() / np.abs(bounded.value).max()
    assert worth < 0.1, f"the bound is {worth:.3g} of the signal: it could not fail a wrong result"


def assert_all_within(actual: Mapping[str, NDArray[Any]], bounded: Mapping[str, Bounded]) -> None:
    """`assert_within` for every output of a graph."""
    assert actual.keys() == bounded.keys()
    for name, expected in bounded.items():
        assert_within(actual[name], expected)


def written_out(graph: Graph) -> Graph:
    """The same graph with every `FusedConv` as a shift, a convolution, a sum and an activation."""
    return graph.with_nodes(step for node in graph.nodes for step in _steps(node))


def _steps(node: Node) -> list[Node]:
    if node.op != "FusedConv":
        return [node]
    x, weight, bias, *residual = node.inputs
    steps = []
    if any(node.attrs.get("d", ())):
        steps.append(("TemporalShift", (x,), _some(node, "d", "fill", "segment")))
        x = f"{node.name}/0"
    conv = _some(node, "strides", "pads", "dilations", "group")
    steps.append(("Conv", (x, weight, bias), conv))
    if residual:
        steps.append(("Add", (f"{node.name}/{len(steps) - 1}", residual[0]), {}))
    activation = node.attrs.get("activation", "")
    if activation:
        limits = {"Clip": ("min", "max"), "LeakyRelu": ("alpha",)}.get(activation, ())
        steps.append((activation, (f"{node.name}/{len(steps) - 1}",), _some(node, *limits)))
    names = [f"{node.name}/{i}" for i in range(len(steps) - 1)] + [node.name]
    return [Node(name, *step) for name, step in zip(names, steps, strict=True)]


def _some(node: Node, *names: str) -> dict[str, Any]:
    return {name: node.attrs[name] for name in names if name in node.attrs}
