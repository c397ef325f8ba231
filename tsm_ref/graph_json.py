"""A graph as JSON text, as model files keep it, and back; what is no graph is refused."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from tsm_ref.errors import GraphError
from tsm_ref.graph import Dim, Graph, Input, Node
from tsm_ref.ops_table import Shape

__all__ = ["from_json", "to_json"]


def to_json(graph: Graph) -> str:
    """The graph as JSON text, from which `from_json` makes an equal one."""
    return json.dumps(
        {
            "name": graph.name,
            "inputs": [{"name": i.name, "shape": list(i.shape)} for i in graph.inputs],
            "nodes": [
                {
                    "name": n.name,
                    "op": n.op,
                    "inputs": list(n.inputs),
                    "attrs": dict(n.attrs),
                }
                for n in graph.nodes
            ],
            "outputs": list(graph.outputs),
            "parameters": {name: list(shape) for name, shape in graph.parameters.items()},
        }
    )


def from_json(text: str) -> Graph:
    """The graph that JSON text describes; raises `GraphError` for anything else.

    >>> graph = Graph("g", (Input("x", ("N", 2)),), (Node("y", "Relu", ("x",)),), ("y",), {})
    >>> from_json(to_json(graph)) == graph
    True
    """
    try:
        tree = json.loads(text)
        return Graph(
            name=str(tree["name"]),
            inputs=tuple(Input(str(i["name"]), _dims(i["shape"])) for i in tree["inputs"]),
            nodes=tuple(
                Node(str(n["name"]), str(n["op"]), _names(n["inputs"]), _frozen(n["attrs"]))
                for n in tree["nodes"]
            ),
            outputs=_names(tree["outputs"]),
            parameters={str(k): _sizes(v) for k, v in tree["parameters"].items()},
        )
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise GraphError(f"this is not a graph: {type(error).__name__} {error}") from None


def _names(values: Iterable[Any]) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
        raise ValueError("names must be a list of strings")
    return tuple(values)


def _sizes(values: Iterable[Any]) -> Shape:
    if not isinstance(values, list) or not all(type(v) is int and 0 < v < 2**31 for v in values):
        raise ValueError(f"a shape must be a list of positive integers, not {values!r}")
    return tuple(values)


def _dims(values: Iterable[Any]) -> tuple[Dim, ...]:
    good = isinstance(values, list) and all(
        isinstance(v, str) or (type(v) is int and 0 < v < 2**31) for v in values
    )
    if not good:
        raise ValueError(f"a dimension must be a positive integer or a name, not {values!r}")
    return tuple(values)


def _frozen(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes as nodes hold them: lists become tuples."""
    return {
        str(name): tuple(value) if isinstance(value, list) else value
        for name, value in attrs.items()
    }
