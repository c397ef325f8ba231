"""What a model says about itself: its shifts, its layers with their shapes and costs, as text."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tsm_ref.engine import Engine
from tsm_ref.errors import NotStreamable
from tsm_ref.graph import Graph, Node
from tsm_ref.passes import streaming
from tsm_ref.passes.streaming import FAR


@dataclass(frozen=True)
class Shift:
    """One temporal shift of a model: ``out[n, c, t] = x[n, c, t - d[c]]``.

    ``segment`` > 0 keeps it inside each run of that many frames.
    """

    name: str
    d: NDArray[np.int64]
    fill: str
    segment: int

    @property
    def streaming(self) -> bool:
        """True where no channel reads the future (as a circular fill does), so that a cache of past
        frames replaces the frames themselves.
        """
        return bool((self.d >= 0).all()) and self.fill != "circular"


def shifts_of(graph: Graph) -> list[Shift]:
    """Every temporal shift of a network, in its order.

    >>> from tsm_ref.models import build_mobilenet_v2
    >>> [shift.name for shift in shifts_of(build_mobilenet_v2(num_classes=2))][:2]
    ['features.3.shift', 'features.5.shift']
    """
    return [
        Shift(
            node.name,
            np.array(node.attrs["d"], np.int64),
            node.attr("fill"),
            node.attr("segment"),
        )
        for node in graph.select("TemporalShift")
    ]


def summary_lines(
    name: str,
    graph: Graph,
    engine: Engine,
    inputs: Mapping[str, Sequence[int]],
    measured: str = "",
) -> Iterator[str]:
    """A line per node with its shape and costs, then the shifts, streaming and the totals.

    ``inputs`` are the shapes of one batch; ``measured`` is the accuracy that a profile tells.
    """
    shapes, macs = graph.shapes(inputs), graph.multiply_adds(inputs)
    buffers = engine.memory_bytes(inputs)  # by then a plan is made, which the engine knows more of
    units = engine.units()
    yield f"{name}: {graph.name} on the {engine.name} engine"
    width = max(len(node.name) for node in graph.nodes)
    kind = max(18, *(len(node.op) for node in graph.nodes))
    types = "  computes in" if graph.quantised or units else ""
    yield (
        f"{'node':{width}}  {'op':{kind}}  {'output':20}  {'parameters':>10}  "
        f"{'multiply-adds':>14}{types}"
    )
    seen: set[str] = set()
    for node in graph.nodes:
        own = [n for n in node.inputs if n in graph.parameters and n not in seen]
        seen.update(own)
        count = sum(int(np.prod(graph.parameters[n])) for n in own if n not in graph.statistics)
        output = "x".join(str(size) for size in shapes[node.name])
        yield (
            f"{node.name:{width}}  {node.op:{kind}}  {output:20}  {count or '':>10}  "
            f"{macs[node.name] or '':>14}{f'  {_computes(graph, node, units)}' if types else ''}"
        )
    yield from _shift_lines(shifts_of(graph))
    yield f"streaming      {_streaming(graph)}"
    yield f"parameters     {graph.parameter_count:,}"
    total = sum(macs.values())
    if graph.quantised:
        whole = sum(macs[n.name] for n in graph.nodes if _precision(graph, n) == "int8")
        yield f"int8           {whole / max(total, 1):.1%} of the multiply-adds"
    given = ", ".join(f"{name} {tuple(shape)}" for name, shape in inputs.items())
    yield f"multiply-adds  {total / 1e9:.3f} G ({2 * total / 1e9:.3f} GFLOP) for {given}"
    yield f"buffers        {buffers / 1e6:.1f} MB"
    if (others := engine.fallbacks()) is not None:
        yield f"on NumPy       {', '.join(others) or 'nothing'}"
    for remark in engine.remarks():
        yield f"remark         {remark}"
    if measured:
        yield f"measured       {measured}"


def _precision(graph: Graph, node: Node) -> str:
    """What a node computes in: whole numbers of 8 bits where it reads such, float32 elsewhere."""
    whole = any(graph.types[n].quantised for n in node.inputs if n in graph.types)
    return "int8" if whole and node.op != "DequantizeLinear" else "float32"


def _computes(graph: Graph, node: Node, units: Mapping[str, str]) -> str:
    if graph.quantised:
        unit = units.get(node.name)
        return f"{_precision(graph, node)}{f' on {unit}' if unit else ''}"
    unit = _unit_of(graph, node, units) if node.op == "Conv" else None
    return f"bfloat16 on {unit}" if unit else "float32"


def _unit_of(graph: Graph, conv: Node, units: Mapping[str, str]) -> str | None:
    """The unit of a convolution that carries the name of what the engine has fused into it."""
    node, readers = conv, graph.consumers.get(conv.name, ())
    while node.name not in units:
        if len(readers) != 1 or readers[0].op == "Conv":
            return None
        node = readers[0]
        readers = graph.consumers.get(node.name, ())
    return units[node.name]


def _streaming(graph: Graph) -> str:
    """Whether a network runs frame by frame, how late, and how far back it remembers."""
    try:
        stream = streaming(graph)
    except NotStreamable as error:
        return f"no: {error}"
    delay = f"{stream.delay} frames late" if stream.delay else "no delay"
    return f"{delay}, each output depends on {stream.receptive_field} frames"


def _source(d: int) -> str:
    """The frame that a channel reads, on paper."""
    if d >= FAR:
        return "always zero"
    return f"t{-d:+d}" if d else "t"


def _shift_lines(shifts: Sequence[Shift]) -> Iterator[str]:
    """One line per shift: how many channels read which frame."""
    for shift in shifts:
        values, counts = np.unique(shift.d, return_counts=True)
        folds = ", ".join(
            f"{count} x {_source(value)}"
            for value, count in zip(values.tolist(), counts.tolist(), strict=True)
        )
        segment = f", within {shift.segment} frames" if shift.segment else ""
        kind = "causal" if shift.streaming else "bi-directional"
        yield f"shift {shift.name}: channels {folds}; fill {shift.fill}{segment}; {kind}"
