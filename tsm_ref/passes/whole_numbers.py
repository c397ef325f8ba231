"""Turns ``dequantize - layer - quantize`` into the layer of whole numbers that stands for it.

Files and the quantiser say where values are rounded to 8 bits, by ``QuantizeLinear`` and
``DequantizeLinear`` around real layers (QDQ, as ONNX calls it). What is between a pair of them is
then computed without a real number where an op of the table can. The pass belongs to reading and
making a network, not to running it: the ops that it leaves say what is computed, and all engines
compute it bit for bit.

What changes: rounding. A sum that was float32 is exact, and a result may move by one step where it
lies next to a half (`tsm_ref.reference.quantised` says by how much). Pools of maxima, shifts,
clamps, and whatever becomes a table change nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref import reference as ref
from tsm_ref.graph import Graph, Node, ValueType
from tsm_ref.op_attributes import ACTIVATIONS
from tsm_ref.ops_table import SUMS
from tsm_ref.reference import litert, quantised

__all__ = ["Rounded", "lowered", "whole_numbers"]

Array = NDArray[Any]
Weights = Mapping[str, Array]

SHIFTS = ("TemporalShift", "SpatialShift")
"""Ops that fill with zero, which whole numbers have as their zero point."""

MOVES = ("MaxPool", *SHIFTS, "Flatten", "Squeeze")
"""Ops that give some of their values, or zero: the same for whole numbers."""

CLAMPS = ("Relu", "Clip")
"""Activations that a requantised result takes in."""


WITH_WEIGHTS: Mapping[str, str] = {"Conv": "QLinearConv", "Linear": "QLinearMatMul"}
"""The layers that have weights, and what they are with whole numbers."""

PAIRS = {"Add": "QLinearAdd", "Mul": "QLinearMul"}
MEANS = {
    "AveragePool": "QLinearAveragePool",
    "GlobalAveragePool": "QLinearGlobalAveragePool",
}

LITERT_RULES = {"ADD": "xnnpack", "MEAN": "xnnpack", "AVERAGE_POOL_2D": "tflite"}
"""Who rounds a sum or a mean of TensorFlow Lite when LiteRT computes it."""


@dataclass(frozen=True)
class Rounded:
    """How a tensor of a layer was rounded: its scale per output channel, and its whole numbers.

    Those of weights are found again from their reals, ``scale * q``.
    """

    scale: Array
    whole: Array | None = None


def whole_numbers(
    graph: Graph,
    weights: Weights,
    rounded: Mapping[str, Rounded] | None = None,
    makers: Mapping[str, str] | None = None,
) -> tuple[Graph, dict[str, Array]]:
    """Let layers between quantised values compute with whole numbers; the rest stays as it is.

    ``QLinearConv`` and ``QLinearMatMul`` with a real result take in the clamp and the quantisation
    behind them; additions, products and means between quantised values become those of whole
    numbers; maxima and shifts are taken of the whole numbers; any other function of one value
    becomes a ``LookUp``. Values that are outputs, or that others read too, stay real. A ``Conv`` or
    ``Linear`` of quantised values is one of whole numbers if ``rounded`` knows how its weights and
    its bias were rounded, the bias to steps of the product of both scales. ``makers`` are the
    operations of TensorFlow Lite that are rounded in a ``QuantizeLinear``, by its name: they follow
    the rules of LiteRT (`tsm_ref.reference.litert`).

    >>> from tsm_ref.graph import Input
    >>> steps = {"y_scale": 0.5, "y_zero_point": 3, "dtype": "uint8"}
    >>> nodes = (Node("q", "QuantizeLinear", ("x",), steps),
    ...          Node("d", "DequantizeLinear", ("q",), {"x_scale": 0.5, "x_zero_point": 3}),
    ...          Node("r", "Relu", ("d",)), Node("y", "QuantizeLinear", ("r",), steps))
    >>> found, _ = whole_numbers(Graph("g", (Input("x", ("N", 2)),), nodes, ("y",), {}), {})
    >>> [node.op for node in found.nodes]
    ['QuantizeLinear', 'LookUp']
    """
    return lowered(graph, weights, rounded, makers)[:2]


def lowered(
    graph: Graph,
    weights: Weights,
    rounded: Mapping[str, Rounded] | None = None,
    makers: Mapping[str, str] | None = None,
) -> tuple[Graph, dict[str, Array], Mapping[str, tuple[str, ValueType]]]:
    """As `whole_numbers`, and the whole numbers behind each real value that has some, by name."""
    work = _Pass(graph, dict(weights), rounded or {}, makers or {})
    for node in graph.nodes:
        work.node(node)
    result = work.result()
    return result, {name: work.weights[name] for name in result.parameters}, work.whole


@dataclass
class _Pass:
    """Goes through the nodes once; `whole` knows the quantised value behind a real one."""

    graph: Graph
    weights: dict[str, Array]
    rounded: Mapping[str, Rounded]
    makers: Mapping[str, str]
    nodes: dict[str, Node] = field(default_factory=dict)
    whole: dict[str, tuple[str, ValueType]] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)

    def node(self, node: Node) -> None:
        """Take the next node."""
        node = replace(node, inputs=tuple(self.renamed.get(n, n) for n in node.inputs))
        if node.op == "QuantizeLinear":
            self._quantised(node)
            return
        if node.op in WITH_WEIGHTS and node.inputs[0] in self.whole:
            self._add(self._of_whole(node) or node)
            return
        if node.op == "DequantizeLinear":
            steps = ValueType("", node.attr("x_scale"), node.attr("x_zero_point"))
            self.whole[node.name] = (node.inputs[0], steps)
        elif node.op in MOVES and node.inputs[0] in self.whole:
            x, steps = self.whole[node.inputs[0]]
            attrs = dict(node.attrs)
            if node.op in SHIFTS:
                attrs["x_zero_point"] = steps.zero_point
            moved = Node(f"{node.name}.quantised", node.op, (x,), attrs)
            self._add(moved)
            self.whole[node.name] = (moved.name, steps)
        self._add(node)

    def result(self) -> Graph:
        """The graph without what nobody reads any more."""
        outputs = [self.renamed.get(name, name) for name in self.graph.outputs]
        needed, kept = set(outputs), []
        for node in reversed(self.nodes.values()):
            if node.name in needed:
                kept.append(node)
                needed.update(node.inputs)
        shapes = {name: value.shape for name, value in self.weights.items()}
        nodes = tuple(reversed(kept))
        used = {name for node in nodes for name in node.inputs}
        parameters = {name: shape for name, shape in shapes.items() if name in used}
        return replace(self.graph, nodes=nodes, outputs=tuple(outputs), parameters=parameters)

    def _of_whole(self, node: Node) -> Node | None:
        """A layer of whole numbers with a real result; None where it is not one, to the last bit.

        Its bias must be rounded to steps of the product of the scales.
        """
        known = self.rounded.get(node.inputs[1])
        if known is None or len(self.weights[node.inputs[1]]) != len(known.scale):
            return None
        x, steps = self.whole[node.inputs[0]]
        real = self.weights[node.inputs[1]]
        column = known.scale.reshape(-1, *[1] * (real.ndim - 1))
        whole = np.rint(real.astype(np.float64) / column)
        try:
            factor = quantised.combined_scale(steps.scale, known.scale)
        except ValueError:
            return None
        bias = np.zeros(len(real), np.int64) if len(node.inputs) < 3 else self._bias(node, factor)
        if bias is None or not np.array_equal(whole.astype(np.float32) * column, real):
            return None
        if np.abs(whole).max(initial=0) > 2**15 - 1 or np.abs(bias).max(initial=0) > 2**31 - 1:
            return None
        narrow = whole.min(initial=0) >= -128 and whole.max(initial=0) <= 127
        made = {
            "weight": whole.astype(np.int8 if narrow else np.int16),
            "scale": known.scale.astype(np.float32),
            "bias": bias.astype(np.int32),
        }
        names = [f"{node.name}.{role}.whole" for role in made]
        self.weights.update(zip(names, made.values(), strict=True))
        attrs = {"dtype": "float32", "x_scale": steps.scale, "x_zero_point": steps.zero_point}
        return Node(node.name, WITH_WEIGHTS[node.op], (x, *names), {**node.attrs, **attrs})

    def _bias(self, node: Node, factor: Array) -> Array | None:
        """The bias in steps of `factor`, if that is what it was rounded to."""
        real, known = self.weights[node.inputs[2]], self.rounded.get(node.inputs[2])
        if known is not None and known.whole is not None and np.array_equal(known.scale, factor):
            return known.whole
        whole = np.rint(real.astype(np.float64) / factor)
        fits = np.abs(whole).max(initial=0) < 2.0**31
        same = fits and np.array_equal(whole.astype(np.float32) * factor, real)
        return whole.astype(np.int64) if same else None

    def _quantised(self, node: Node) -> None:
        """Put a ``QuantizeLinear`` into what makes its input, if that can be."""
        value, chain = self._activations(node.inputs[0])
        if value in self.whole:
            self._of_one_value(node, value, chain)
            return
        maker = self.nodes.get(value) if self._private(value) else None
        clamped = all(activation.op in CLAMPS for activation in chain)
        made = self._computed(maker, node) if maker is not None and clamped else None
        if made is None:
            self._add(node)
            return
        low, high = _ends(chain, node)
        steps = {name: node.attr(name) for name in ("dtype", "y_scale", "y_zero_point")}
        attrs = {**made.attrs, **steps, **self._rule(made, node), "low": low, "high": high}
        self._add(replace(made, name=node.name, attrs=attrs))

    def _rule(self, made: Node, node: Node) -> Mapping[str, str]:
        """Who rounds a sum or a mean, if it is LiteRT."""
        rule = LITERT_RULES.get(self.makers.get(node.name, ""))
        if rule is None or made.op not in (PAIRS["Add"], *MEANS.values()):
            return {}
        scales = [made.attrs.get("x_scale"), made.attrs.get("other_scale"), node.attr("y_scale")]
        if made.op == PAIRS["Add"] and not litert.adds(*scales):
            return {}
        return {"rule": rule}

    def _computed(self, maker: Node, node: Node) -> Node | None:
        """The op of whole numbers that stands for a real one, but for its last attributes."""
        if maker.op in SUMS and maker.attr("dtype") == "float32":
            return maker
        operands = [self.whole.get(name) for name in maker.inputs]
        if maker.op not in {**PAIRS, **MEANS} or None in operands:
            return None
        names, attrs = [], dict(maker.attrs)
        for role, operand in zip(("x", "other"), operands, strict=False):
            if operand is not None:
                names.append(operand[0])
                attrs[f"{role}_scale"] = operand[1].scale
                attrs[f"{role}_zero_point"] = operand[1].zero_point
        return Node(node.name, {**PAIRS, **MEANS}[maker.op], tuple(names), attrs)

    def _of_one_value(self, node: Node, value: str, chain: Sequence[Node]) -> None:
        """A quantised value stays, or goes through a table, into another quantised one."""
        x, steps = self.whole[value]
        dtype = self._type_of(x)
        same = (dtype, steps.scale, steps.zero_point) == tuple(
            node.attr(name) for name in ("dtype", "y_scale", "y_zero_point")
        )
        if same and not chain and node.name not in self.graph.outputs:
            self.renamed[node.name] = x
            return
        table = f"{node.name}.table"
        maker = self.makers.get(node.name, "")
        found = _litert_table(dtype, steps, chain, node, maker)
        self.weights[table] = _table(dtype, steps, chain, node) if found is None else found
        self._add(Node(node.name, "LookUp", (x, table), dict(node.attrs)))

    def _type_of(self, name: str) -> str:
        """The type of a quantised value: that of the node that said it first."""
        node = self.nodes.get(name)
        while node is not None and node.op in MOVES:
            node = self.nodes.get(node.inputs[0])
        return "uint8" if node is None else str(node.attr("dtype"))

    def _activations(self, value: str) -> tuple[str, list[Node]]:
        """The value in front of the activations that only this one goes through."""
        chain: list[Node] = []
        while (node := self.nodes.get(value)) is not None and node.op in ACTIVATIONS:
            if not self._private(value):
                break
            chain.insert(0, node)
            value = node.inputs[0]
        return value, chain

    def _add(self, node: Node) -> None:
        self.nodes[node.name] = node

    def _private(self, name: str) -> bool:
        return len(self.graph.consumers.get(name, ())) == 1 and name not in self.graph.outputs


def _ends(chain: Sequence[Node], node: Node) -> tuple[int, int]:
    """The clamps of a chain on quantised values: rounding keeps their order, so it may come first.

    What is clamped to x and then quantised is clamped to what x is quantised to.
    """
    steps = (node.attr("y_scale"), node.attr("y_zero_point"), node.attr("dtype"))
    least, most = quantised.limits(node.attr("dtype"))
    low, high = -128, 255
    for activation in chain:
        clip = activation.op == "Clip"
        ends = [activation.attrs["min"], activation.attrs["max"]] if clip else [0.0, np.inf]
        a, b = quantised.quantize_linear(np.array(ends, np.float32), *steps).tolist()
        low, high = min(max(max(low, least), a), b), min(max(min(high, most), a), b)
    return low, high


_FUNCTIONS: Mapping[str, Any] = {
    "Relu": lambda node, x: ref.relu(x),
    "Clip": lambda node, x: np.clip(x, node.attrs["min"], node.attrs["max"]),
    "LeakyRelu": lambda node, x: ref.leaky_relu(x, node.attr("alpha")),
    "HardSwish": lambda node, x: ref.hard_swish(x),
    "HardSigmoid": lambda node, x: ref.hard_sigmoid(x),
    "Tanh": lambda node, x: ref.tanh(x),
    "Sigmoid": lambda node, x: ref.sigmoid(x),
}


def _every(dtype: str) -> Array:
    least, most = quantised.limits(dtype)
    return np.arange(least, most + 1).astype(dtype)


def _litert_table(
    dtype: str, steps: ValueType, chain: Sequence[Node], node: Node, maker: str
) -> Array | None:
    """As `_table`, by the formula of LiteRT for an operation; None where that is ours."""
    x, y = (steps.scale, steps.zero_point), (node.attr("y_scale"), node.attr("y_zero_point"))
    how, alpha = (_every(dtype), x, y), 1.0
    if maker == "LEAKY_RELU" and chain:
        alpha = chain[0].attr("alpha")
    if maker == "HARD_SWISH":
        found = litert.tflite_hard_swish(*how)
    elif maker in ("LEAKY_RELU", "QUANTIZE") and litert.converts(x[0], y[0], alpha):
        found = litert.xnnpack_leaky_relu(*how, alpha)
    elif maker in ("QUANTIZE", "RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1"):
        found = litert.tflite_rescale(*how)
    else:
        return None
    least, most = quantised.limits(node.attr("dtype"))
    low, high = _ends([n for n in chain if n.op in CLAMPS], node)
    return np.clip(found, max(low, least), min(high, most)).astype(node.attr("dtype"))


def _table(dtype: str, steps: ValueType, chain: Sequence[Node], node: Node) -> Array:
    """What every value of a type becomes; in float64, which no processor's exponential changes."""
    values = _every(dtype)
    real = quantised.dequantize_linear(values, steps.scale, steps.zero_point).astype(np.float64)
    for activation in chain:
        real = _FUNCTIONS[activation.op](activation, real)
    to = (node.attr("y_scale"), node.attr("y_zero_point"), node.attr("dtype"))
    return quantised.quantize_linear(real, *to)
