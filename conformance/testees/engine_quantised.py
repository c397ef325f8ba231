"""The quantised operations of our own engines: a graph of whole numbers for each.

The inputs of a graph are real, so every quantised input is given as the reals that it stands for,
and rounded back to the same whole numbers by the first node.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from conformance.questions.arrays import Array
from conformance.questions.conventions import Conventions
from tsm_ref.graph import Graph, Input, Node
from tsm_ref.passes.whole_numbers import whole_numbers

Weights = Mapping[str, Array]
F32 = np.float32


class QuantisedOperations:
    """The operations on quantised values; an engine testee makes the engine."""

    conventions: Conventions
    make: Any

    def quantize_linear(self, x: Array, scale: Array, zero_point: Array, dtype: str) -> Array:
        """Reals to quantised values, with one scale."""
        steps = _one(scale, zero_point)
        nodes = (Node("y", "QuantizeLinear", ("x",), _made("y", steps, dtype)),)
        return self._whole(nodes, {"x": x})

    def dequantize_linear(self, x: Array, scale: Array, zero_point: Array) -> Array:
        """Quantised values to reals."""
        steps = _one(scale, zero_point)
        read, nodes = _given(x, "x", steps)
        nodes += (Node("y", "DequantizeLinear", ("x",), _read("x", steps)),)
        return self._whole(nodes, read)

    def qlinear_conv(
        self,
        x: Array,
        weight: Array,
        weight_scale: Array,
        bias: Array,
        *,
        stride: Any,
        padding: Any,
        dilation: Any,
        groups: int,
        **how: Any,
    ) -> Array:
        """A convolution."""
        where = {"strides": stride, "pads": [*padding, *padding], "dilations": dilation}
        tuples: dict[str, Any] = {name: tuple(value) for name, value in where.items()}
        layer = [weight, weight_scale, bias]
        return self._layer("QLinearConv", x, layer, how, **tuples, group=groups)

    def qlinear_matmul(
        self, x: Array, weight: Array, weight_scale: Array, bias: Array, **how: Any
    ) -> Array:
        """A fully connected layer."""
        return self._layer("QLinearMatMul", x, [weight, weight_scale, bias], how)

    def qlinear_add(
        self, x: Array, other: Array, other_scale: float, other_zero_point: int, **how: Any
    ) -> Array:
        """A sum."""
        steps = other_scale, other_zero_point
        reals, nodes = _given(other, "other", steps)
        return self._layer("QLinearAdd", x, [], how, reals, nodes, **_read("other", steps))

    def qlinear_average_pool(
        self, x: Array, kernel: Any, stride: Any, padding: Any, count_include_pad: bool, **how: Any
    ) -> Array:
        """The mean of windows."""
        where = {"kernel_shape": kernel, "strides": stride, "pads": [*padding, *padding]}
        attributes: dict[str, Any] = {name: tuple(value) for name, value in where.items()}
        attributes["count_include_pad"] = count_include_pad
        return self._layer("QLinearAveragePool", x, [], how, **attributes)

    def qlinear_global_average_pool(self, x: Array, **how: Any) -> Array:
        """The mean of the picture."""
        return np.asarray(self._layer("QLinearGlobalAveragePool", x, [], how)[..., 0, 0])

    def litert_add(
        self, x: Array, other: Array, other_scale: float, other_zero_point: int, **how: Any
    ) -> Array:
        """A sum as XNNPACK rounds it."""
        steps = other_scale, other_zero_point
        return self.qlinear_add(x, other, *steps, **how, rule="xnnpack")

    def litert_mean(self, x: Array, **how: Any) -> Array:
        """The mean of the picture as XNNPACK rounds it."""
        return self.qlinear_global_average_pool(x, **how, rule="xnnpack")

    def litert_average_pool(
        self, x: Array, kernel: Any, stride: Any, padding: Any, **how: Any
    ) -> Array:
        """The mean of windows as LiteRT rounds it."""
        return self.qlinear_average_pool(x, kernel, stride, padding, False, **how, rule="tflite")

    def litert_quantize(self, x: Array, **how: Any) -> Array:
        """Values in other steps."""
        return self._table("QUANTIZE", x, how)

    def litert_leaky_relu(self, x: Array, alpha: float, **how: Any) -> Array:
        """Values in other steps, times a number below zero."""
        return self._table("LEAKY_RELU", x, how, ("LeakyRelu", {"alpha": alpha}))

    def litert_hard_swish(self, x: Array, **how: Any) -> Array:
        """A hard swish."""
        return self._table("HARD_SWISH", x, how, ("HardSwish", {}))

    def _table(
        self, maker: str, x: Array, how: Mapping[str, Any], *function: tuple[str, dict[str, Any]]
    ) -> Array:
        """A function of one value, which reading a file of LiteRT makes a table of."""
        steps = how["x_scale"], how["x_zero_point"]
        given, nodes = _given(x, "x", steps)
        nodes += (Node("real", "DequantizeLinear", ("x",), _read("x", steps)),)
        nodes += tuple(Node("function", op, ("real",), attrs) for op, attrs in function)
        made = _made("y", (how["y_scale"], how["y_zero_point"]), how["dtype"])
        nodes += (Node("y", "QuantizeLinear", (nodes[-1].name,), made),)
        inputs = tuple(Input(name, ("N", *v.shape[1:])) for name, v in given.items())
        graph = Graph("table", inputs, nodes, ("y",), {})
        result: Array = self.make(*whole_numbers(graph, {}, makers={"y": maker})).run(given)["y"]
        return result

    def quantised_shift(self, x: Array, fold_div: int, zero_point: int) -> Array:
        """The profile's shift."""
        reals, nodes = _given(x, "x", (1.0, zero_point))
        nodes += (_shift("y", "x", self.conventions, x.shape[1], fold_div, zero_point),)
        return self._whole(nodes, reals)

    def quantised_network(self, x: Array, weights: Weights, **attributes: Any) -> Array:
        """The network of `quantised_network`."""
        graph, tensors = network(weights, attributes, self.conventions)
        result: Array = self.make(graph, tensors).run({"x": x})[graph.outputs[0]]
        return result

    def _layer(
        self,
        op: str,
        x: Array,
        layer: Sequence[Array],
        how: Mapping[str, Any],
        reals: Mapping[str, Array] | None = None,
        before: tuple[Node, ...] = (),
        **attributes: Any,
    ) -> Array:
        """A node that reads `x`, what the nodes `before` make, and the tensors of a layer."""
        read, nodes = _given(x, "x", (how["x_scale"], how["x_zero_point"]))
        tensors = {f"t{i}": tensor for i, tensor in enumerate(layer)}
        inputs = ("x", *(node.name for node in before), *tensors)
        nodes += (*before, Node("y", op, inputs, {**attributes, **how}))
        return self._whole(nodes, read | dict(reals or {}), tensors)

    def _whole(
        self, nodes: tuple[Node, ...], given: Weights, tensors: Weights | None = None
    ) -> Array:
        """The value `y` of a graph of these nodes."""
        inputs = tuple(Input(name, ("N", *v.shape[1:])) for name, v in given.items())
        tensors = tensors or {}
        shapes = {name: tensor.shape for name, tensor in tensors.items()}
        graph = Graph("whole", inputs, nodes, ("y",), shapes)
        result: Array = self.make(graph, tensors).run(given)["y"]
        return result


def network(
    weights: Weights, told: Mapping[str, Any], conventions: Conventions
) -> tuple[Graph, dict[str, Array]]:
    """The network of the operation `quantised_network` as a graph, and its tensors."""
    steps = {name: (scale, zero) for name, (scale, zero) in told["steps"].items()}
    nodes = [Node("quantised", "QuantizeLinear", ("x",), _made("y", steps["x"], "uint8"))]
    tensors: dict[str, Array] = {}

    def layer(name: str, op: str, x: str, before: str, relu: bool = True, **more: Any) -> str:
        for role in ("weight", "scale", "bias"):
            value = weights[f"{name}.{role}"]
            tensors[f"{name}.{role}"] = value[:, :, None] if value.ndim == 4 else value
        pad = weights[f"{name}.weight"].shape[-1] // 2
        pads = {"pads": (0, pad, pad) * 2} if op == "QLinearConv" else {}
        how = _read("x", steps[before]) | _made("y", steps[name], "uint8", relu) | pads
        named = (x, *(f"{name}.{role}" for role in ("weight", "scale", "bias")))
        nodes.append(Node(name, op, named, {**how, **more}))
        return name

    at = layer("stem", "QLinearConv", "quantised", "x", strides=(1, 2, 2))
    block = 0
    while f"block{block}.conv1.weight" in weights:
        name = f"block{block}"
        channels = weights[f"{name}.conv1.weight"].shape[1]
        zero, div = steps[at][1], told["fold_div"]
        nodes.append(_shift(f"{name}.shift", at, conventions, channels, div, zero))
        first = layer(f"{name}.conv1", "QLinearConv", f"{name}.shift", at)
        last = layer(f"{name}.conv2", "QLinearConv", first, first, relu=False)
        how = _read("x", steps[at]) | _read("other", steps[last])
        how |= _made("y", steps[name], "uint8", relu=True)
        nodes.append(Node(name, "QLinearAdd", (at, last), how))
        at, block = name, block + 1
    pooled = _read("x", steps[at]) | _made("y", steps["pool"], "uint8")
    nodes.append(Node("pool", "QLinearGlobalAveragePool", (at,), pooled))
    nodes.append(Node("frames", "Squeeze", ("pool",), {"axes": (3, 4)}))
    logits = layer("fc", "QLinearMatMul", "frames", "pool", relu=False)
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    inputs = (Input("x", ("N", 3, "T", "H", "W")),)
    return Graph("quantised", inputs, tuple(nodes), (logits,), shapes), tensors


def shift_alone(channels: int, told: Mapping[str, Any], conventions: Conventions) -> Graph:
    """The shift of quantised values as a graph for a stream."""
    zero = told["zero_point"]
    nodes = (
        Node("q", "QuantizeLinear", ("x",), _made("y", (1.0, zero), "uint8")),
        _shift("y", "q", conventions, channels, told["fold_div"], zero),
    )
    return Graph("shift", (Input("x", ("N", channels, "T", "H", "W")),), nodes, ("y",), {})


def _given(
    q: Array, name: str, steps: tuple[float, int]
) -> tuple[dict[str, Array], tuple[Node, ...]]:
    """The reals that quantised values stand for, and the node that rounds them back."""
    scale, zero = steps
    reals = (q.astype(F32) - F32(zero)) * F32(scale)
    node = Node(name, "QuantizeLinear", (f"{name}.real",), _made("y", steps, str(q.dtype)))
    return {f"{name}.real": reals}, (node,)


def _one(scale: Array, zero_point: Array) -> tuple[float, int]:
    """One scale and one zero point; the graphs of the package have none per channel."""
    if np.ndim(scale):
        raise NotImplementedError("the values of a graph have one scale")
    return float(scale), int(zero_point)


def _read(role: str, steps: tuple[float, int]) -> dict[str, Any]:
    return {f"{role}_scale": steps[0], f"{role}_zero_point": steps[1]}


def _made(role: str, steps: tuple[float, int], dtype: str, relu: bool = False) -> dict[str, Any]:
    return _read(role, steps) | {"dtype": dtype} | ({"low": steps[1]} if relu else {})


def _shift(
    name: str, x: str, conventions: Conventions, channels: int, fold_div: int, zero: int
) -> Node:
    d = tuple(int(v) for v in conventions.d(channels, fold_div))
    fill = {"fill": conventions.fill, "x_zero_point": zero}
    return Node(name, "TemporalShift", (x,), {"d": d, **fill})
