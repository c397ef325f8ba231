"""How each op of our graph is written in ONNX, one small function each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.checkpoint.onnx_out.dynamic import dynamic_layer
from tsm_ref.checkpoint.onnx_out.in_space import spatial_shift
from tsm_ref.checkpoint.onnx_out.in_time import Validity, history, temporal_shift
from tsm_ref.checkpoint.onnx_out.quantised import (
    REALS,
    dequantized,
    layer_of_reals,
    look_up,
    quantized,
    real_of,
    say_steps,
)
from tsm_ref.checkpoint.onnx_out.writer import Writer
from tsm_ref.errors import GraphError
from tsm_ref.graph import Graph, Node, ValueType
from tsm_ref.ops_table import DYNAMIC
from tsm_ref.passes.streaming import State

Array = NDArray[Any]
Weights = Mapping[str, Array]
Types = Mapping[str, ValueType]


def write_nodes(
    writer: Writer,
    graph: Graph,
    weights: Weights,
    states: Mapping[str, State] | None = None,
    kept: dict[str, str] | None = None,
    validity: Validity | None = None,
) -> None:
    """Write every node of a graph; the frames that a step keeps go into `kept`.

    Raises `GraphError` for a node that has no form in ONNX.
    """
    types = graph.types
    for node in graph.nodes:
        if node.op == "History":
            known = {} if kept is None else kept
            if types[node.name].quantised:
                _history_of_reals(writer, node, types, states or {}, known, validity)
            else:
                history(writer, node, states or {}, known, validity)
        elif node.op in TYPED:
            TYPED[node.op](writer, node, weights, types)
            if node.op == "LookUp":
                say_steps(writer, node, types, graph.consumers.get(node.name, ()))
        elif node.op in RULES:
            RULES[node.op](writer, node, weights)
        else:
            raise GraphError(f"node {node.name!r} ({node.op}) has no form in ONNX")


def _history_of_reals(
    writer: Writer,
    node: Node,
    types: Types,
    states: Mapping[str, State],
    kept: dict[str, str],
    validity: Validity | None,
) -> None:
    """The kept frames of whole numbers: a step hands on the reals that they stand for."""
    (x,) = node.inputs
    real, made = real_of(writer, x, types), writer.unused(f"{node.name}/real")
    writer.shapes[made] = writer.shapes[node.name]
    of_real = {
        name: replace(state, value=real) if state.value == x else state
        for name, state in states.items()
    }
    if validity is not None:
        validity = replace(validity, delays={**validity.delays, real: validity.delays[x]})
    attrs = {key: value for key, value in node.attrs.items() if key != "x_zero_point"}
    history(writer, Node(made, "History", (real,), attrs), of_real, kept, validity)
    quantized(writer, node.name, made, types[x])


Rule = Callable[[Writer, Node, Weights], None]


def _float32(values: Array) -> Array:
    return np.ascontiguousarray(values, np.float32)


def _parameters(writer: Writer, names: Sequence[str], weights: Weights) -> list[str]:
    return [writer.numbers(name, weights[name]) for name in names]


def _flat_in_time(node: Node, kernel: int) -> bool:
    """True where a window sees one frame, so that frames can stand in rows."""
    pads = node.attr("pads")
    return kernel == 1 and node.attr("strides")[0] == 1 and pads[0] == pads[3] == 0


def _window_attrs(node: Node, flat: bool, *names: str) -> dict[str, Any]:
    """Attributes of a window over H and W, or over T, H and W."""
    first = int(flat)
    attrs = {name: list(node.attr(name)[first:]) for name in names}
    pads = node.attr("pads")
    return attrs | {"pads": [*pads[first:3], *pads[3 + first :]]}


def _conv(writer: Writer, node: Node, weights: Weights) -> None:
    if node.attr("precision") != "float32":
        raise GraphError(f"node {node.name!r} (Conv) of bfloat16 has no form in ONNX")
    x, name, *bias = node.inputs
    weight = weights[name]
    flat = _flat_in_time(node, weight.shape[2])
    attrs = _window_attrs(node, flat, "strides", "dilations")
    attrs |= {"group": node.attr("group"), "kernel_shape": list(weight.shape[2 + flat :])}
    tensors = [writer.numbers(name, weight[:, :, 0] if flat else weight)]
    tensors += _parameters(writer, bias, weights)
    _windowed(writer, node, flat, "Conv", [x], tensors, attrs)


def _windowed(
    writer: Writer,
    node: Node,
    flat: bool,
    op: str,
    values: Sequence[str],
    tensors: Sequence[str],
    attrs: Mapping[str, Any],
) -> None:
    """A node on rows where it sees one frame, on the layout of our graph where it sees more."""
    if flat:
        inputs = [*(writer.rows[v] for v in values), *tensors]
        writer.rows[node.name] = writer.node(op, inputs, writer.row_name(node.name), **attrs)
    else:
        inputs = [*(writer.natural(v) for v in values), *tensors]
        writer.from_natural(node.name, writer.step(op, inputs, node.name, **attrs))


def _concat(writer: Writer, node: Node, weights: Weights) -> None:
    """Rows and our layout have the channels on the same axis."""
    _windowed(writer, node, True, "Concat", node.inputs, [], {"axis": 1})


def _pool(writer: Writer, node: Node, weights: Weights) -> None:
    flat = _flat_in_time(node, node.attrs["kernel_shape"][0])
    attrs = _window_attrs(node, flat, "strides", "kernel_shape")
    attrs["ceil_mode"] = int(node.attr("ceil_mode"))
    if node.op == "AveragePool":
        attrs["count_include_pad"] = int(node.attr("count_include_pad"))
    elif "dilations" in node.attrs:
        attrs["dilations"] = list(node.attrs["dilations"][int(flat) :])
    _windowed(writer, node, flat, node.op, node.inputs, [], attrs)


def _batch_norm(writer: Writer, node: Node, weights: Weights) -> None:
    tensors = _parameters(writer, node.inputs[1:], weights)
    attrs = {"epsilon": float(node.attr("epsilon"))}
    _windowed(writer, node, True, "BatchNormalization", node.inputs[:1], tensors, attrs)


def _plain(op: str, *names: str, **fixed: Any) -> Rule:
    """An op that ONNX has under a name, with the attributes of these names."""

    def write(writer: Writer, node: Node, weights: Weights) -> None:
        attrs = {name: node.attr(name) for name in names} | fixed
        _windowed(writer, node, True, op, node.inputs, [], attrs)

    return write


def _clip(writer: Writer, node: Node, weights: Weights) -> None:
    limits = [
        writer.tensor(f"float {node.attrs[k]!r}", np.array(node.attrs[k], np.float32))
        for k in ("min", "max")
    ]
    _windowed(writer, node, True, "Clip", node.inputs, limits, {})


def _softmax(writer: Writer, node: Node, weights: Weights) -> None:
    """Softmax and LogSoftmax: in rows along C as in our layout; along another axis there."""
    axis = node.attr("axis")
    attrs = {"axis": axis}
    _windowed(writer, node, axis == 1, node.op, node.inputs, [], attrs)


def _binary(writer: Writer, node: Node, weights: Weights) -> None:
    values = [name for name in node.inputs if name in writer.rows]
    frames = {writer.shapes[name][2:3] for name in node.inputs}
    if len(values) == 2:
        _windowed(writer, node, len(frames) == 1, node.op, values, [], {})
        return
    tensors = {
        name: writer.tensor(name, _float32(weights[name]))
        for name in node.inputs
        if name not in values
    }
    inputs = [tensors.get(name) or writer.natural(name) for name in node.inputs]
    writer.from_natural(node.name, writer.step(node.op, inputs, node.name))


def _flatten(writer: Writer, node: Node, weights: Weights) -> None:
    rows = writer.rows[node.inputs[0]]
    if node.attr("order") == "HWC":
        rows = writer.step("Transpose", [rows], node.name, perm=[0, 2, 3, 1])
    writer.rows[node.name] = writer.node("Flatten", [rows], writer.row_name(node.name), axis=1)


def _linear(writer: Writer, node: Node, weights: Weights) -> None:
    tensors = _parameters(writer, node.inputs[1:], weights)
    _windowed(writer, node, True, "Gemm", node.inputs[:1], tensors, {"transB": 1})


def _dynamic(writer: Writer, node: Node, weights: Weights) -> None:
    x, *names = node.inputs
    tensors, attrs, flat = [weights[name] for name in names], {}, True
    if node.op == "DynamicQuantizeConv":
        flat = _flat_in_time(node, tensors[0].shape[2])
        attrs = _window_attrs(node, flat, "strides", "dilations")
        attrs |= {"group": node.attr("group"), "kernel_shape": list(tensors[0].shape[2 + flat :])}
        tensors[0] = tensors[0][:, :, 0] if flat else tensors[0]
    else:
        tensors[0] = tensors[0].T
    value = writer.rows[x] if flat else writer.natural(x)
    op, inputs = dynamic_layer(writer, node.name, value, tuple(tensors), attrs)
    if flat:
        writer.rows[node.name] = writer.node(op, inputs, writer.row_name(node.name))
    else:
        writer.from_natural(node.name, writer.step(op, inputs, node.name))


def _reduce(
    writer: Writer, x: str, axes: list[int], keep: int, name: str, op: str = "ReduceMean"
) -> str:
    """The mean over some axes, which are an attribute before opset 18 and an input since."""
    if writer.opset < 18:
        return writer.node(op, [x], name, axes=axes, keepdims=keep)
    return writer.node(op, [x, writer.ints(*axes)], name, keepdims=keep)


def _consensus(writer: Writer, node: Node, weights: Weights) -> None:
    x = node.inputs[0]
    clips = writer.clips(x, writer.rows[x])
    name, over = writer.row_name(node.name), node.attr("over")
    if over == "last":
        index = writer.tensor("last", np.array(-1, np.int64))
        writer.rows[node.name] = writer.node("Gather", [clips, index], name, axis=1)
        return
    op = "ReduceMax" if over == "max" else "ReduceMean"
    writer.rows[node.name] = _reduce(writer, clips, [1], 0, name, op)


def _frame_tuple(writer: Writer, node: Node, weights: Weights) -> None:
    """Frames of a clip (N, T, C), gathered and put behind each other."""
    (x,) = node.inputs
    clips = writer.clips(x, writer.rows[x])
    chosen = writer.step("Gather", [clips, writer.ints(*node.attrs["frames"])], node.name, axis=1)
    target = writer.ints(-1, *writer.row_shape(node.name))
    name = writer.row_name(node.name)
    writer.rows[node.name] = writer.node("Reshape", [chosen, target], name)


def _squeeze(writer: Writer, node: Node, weights: Weights) -> None:
    """In our layout; what is left is read by nothing but an output."""
    inputs = [writer.natural(node.inputs[0]), writer.ints(*node.attrs["axes"])]
    writer.rows[node.name] = writer.node("Squeeze", inputs, writer.row_name(node.name))
    if len(writer.shapes[node.name]) > 2:
        raise GraphError(f"node {node.name!r} (Squeeze) leaves more than two axes")


def _attention_mask(writer: Writer, node: Node, weights: Weights) -> None:
    x = writer.rows[node.inputs[0]]
    mean = _reduce(writer, x, [2, 3], 1, writer.unused(f"{node.name}/mean"))
    share = writer.step("Div", [x, mean], node.name)
    half = writer.tensor("float 0.5", np.array(0.5, np.float32))
    writer.rows[node.name] = writer.node("Mul", [share, half], writer.row_name(node.name))


def _non_local(writer: Writer, node: Node, weights: Weights) -> None:
    """softmax(theta^T phi) g^T over all places of a clip."""
    flat = []
    for value in node.inputs:
        _, channels, *places = writer.shapes[value]
        shape = writer.ints(-1, channels, int(np.prod(places)))
        flat.append(writer.step("Reshape", [writer.natural(value), shape], node.name))
    theta, phi, g = flat
    theta, g = (writer.step("Transpose", [v], node.name, perm=[0, 2, 1]) for v in (theta, g))
    scores = writer.step("MatMul", [theta, phi], node.name)
    if node.attr("mode") == "dot_product":
        count = np.prod(writer.shapes[node.inputs[1]][2:])
        places_of = writer.tensor(f"float {count}", np.array(count, np.float32))
        scores = writer.step("Div", [scores, places_of], node.name)
    else:
        scores = writer.step("Softmax", [scores], node.name, axis=2)
    seen = writer.step("MatMul", [scores, g], node.name)
    turned = writer.step("Transpose", [seen], node.name, perm=[0, 2, 1])
    target = writer.ints(-1, *writer.shapes[node.name][1:])
    writer.from_natural(node.name, writer.step("Reshape", [turned, target], node.name))


RULES: Mapping[str, Rule] = {
    "Conv": _conv,
    "BatchNormalization": _batch_norm,
    "Relu": _plain("Relu"),
    "Clip": _clip,
    "LeakyRelu": _plain("LeakyRelu", "alpha"),
    "HardSwish": _plain("HardSwish"),
    "HardSigmoid": _plain("HardSigmoid", alpha=1 / 6, beta=0.5),
    "Tanh": _plain("Tanh"),
    "Sigmoid": _plain("Sigmoid"),
    "Softmax": _softmax,
    "LogSoftmax": _softmax,
    "Add": _binary,
    "Mul": _binary,
    "Concat": _concat,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "GlobalAveragePool": _plain("GlobalAveragePool"),
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Linear": _linear,
    **dict.fromkeys(DYNAMIC, _dynamic),
    "FrameTuple": _frame_tuple,
    "Consensus": _consensus,
    "AttentionMask": _attention_mask,
    "NonLocal": _non_local,
}
"""One rule per op that a graph may hold before it is optimised."""


def _layer(writer: Writer, node: Node, weights: Weights, types: Types) -> None:
    layer_of_reals(writer, node, weights, RULES, types)


TYPED: Mapping[str, Callable[[Writer, Node, Weights, Types], None]] = {
    **dict.fromkeys(REALS, _layer),
    "QuantizeLinear": lambda writer, node, weights, types: quantized(
        writer, node.name, node.inputs[0], types[node.name]
    ),
    "DequantizeLinear": lambda writer, node, weights, types: dequantized(
        writer, node.name, node.inputs[0], types[node.inputs[0]]
    ),
    "LookUp": look_up,
    "SpatialShift": lambda writer, node, weights, types: spatial_shift(
        writer, node, types[node.name]
    ),
    "TemporalShift": lambda writer, node, weights, types: temporal_shift(
        writer, node, types[node.name]
    ),
}
"""One rule per op whose form depends on the types of its values."""
