"""Quantised ops in ONNX: every layer between a DequantizeLinear and a QuantizeLinear (QDQ).

Runtimes put such a layer together again and compute it with whole numbers; onnxruntime does so by
our rule for convolutions (see `tsm_ref.reference.quantised`). Shifts, pools of maxima and reshapes
move the whole numbers themselves. A table is a ``Gather``; where nobody makes reals of its entries,
and so nobody says their scale, they are made real and rounded back at once, which changes none.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.checkpoint.onnx_out.writer import Writer
from tsm_ref.errors import GraphError, UsageError
from tsm_ref.graph import Node, ValueType
from tsm_ref.ops_table import OPS, SUMS
from tsm_ref.passes.whole_numbers import LITERT_RULES
from tsm_ref.reference.quantised import combined_scale, limits

__all__ = ["REALS", "dequantized", "layer_of_reals", "look_up", "quantized", "say_steps"]

Array = NDArray[Any]
Weights = Mapping[str, Array]
Rules = Mapping[str, Callable[[Writer, Node, Weights], None]]
Types = Mapping[str, ValueType]

WIDE_OPSET = 21
"""The first opset in which weights of int16 can be dequantised."""

REALS: Mapping[str, str] = {
    "QLinearConv": "Conv",
    "QLinearMatMul": "Linear",
    "QLinearAdd": "Add",
    "QLinearMul": "Mul",
    "QLinearAveragePool": "AveragePool",
    "QLinearGlobalAveragePool": "GlobalAveragePool",
}
"""The ops of whole numbers, and what they are of reals."""

MAKERS = {(rule, maker == "ADD"): maker for maker, rule in LITERT_RULES.items()}
"""The operations of LiteRT by their rule, and by whether they are sums."""


def quantized(writer: Writer, name: str, real: str, steps: ValueType) -> None:
    """A value, rounded."""
    inputs = [writer.rows[real], *_steps(writer, steps)]
    writer.rows[name] = writer.node("QuantizeLinear", inputs, writer.row_name(name))


def dequantized(writer: Writer, name: str, whole: str, steps: ValueType) -> None:
    """The reals that a value of whole numbers stands for."""
    inputs = [writer.rows[whole], *_steps(writer, steps)]
    writer.rows[name] = writer.node("DequantizeLinear", inputs, writer.row_name(name))


def real_of(writer: Writer, value: str, types: Types) -> str:
    """The reals that a value stands for, made once for each; itself where it is real."""
    if not types[value].quantised:
        return value
    name = f"{value}/back"
    if name not in writer.rows:
        writer.shapes[name] = writer.shapes[value]
        dequantized(writer, name, value, types[value])
    return name


def _steps(writer: Writer, steps: ValueType) -> list[str]:
    scale = np.array(steps.scale, np.float32)
    zero = np.array(steps.zero_point, steps.dtype)
    return [
        writer.tensor(f"scale {steps.scale!r}", scale),
        writer.tensor(f"{steps.dtype} {zero}", zero),
    ]


def look_up(writer: Writer, node: Node, weights: Weights, types: Types) -> None:
    """A table; for int8 its second half comes first, as negative places count from the end."""
    table = weights[node.inputs[1]]
    if types[node.inputs[0]].dtype == "int8":
        table = np.concatenate([table[128:], table[:128]])
    name = writer.tensor(f"{node.inputs[1]}/places", table)
    place = writer.step("Cast", [writer.rows[node.inputs[0]]], node.name, to=6)
    made = writer.node("Gather", [name, place], writer.row_name(node.name), axis=0)
    writer.rows[node.name] = made


def say_steps(writer: Writer, node: Node, types: Types, readers: Sequence[Node]) -> None:
    """Say the steps of what stands in a table, where one of its readers reads no reals."""
    if all(reader.op in (*REALS, "DequantizeLinear") for reader in readers):
        return
    real = writer.unused(f"{node.name}/real")
    writer.shapes[real] = writer.shapes[node.name]
    dequantized(writer, real, node.name, types[node.name])
    again = writer.unused(f"{node.name}/again")
    writer.shapes[again] = writer.shapes[node.name]
    quantized(writer, again, real, types[node.name])
    writer.rows[node.name] = writer.rows[again]


def layer_of_reals(
    writer: Writer, node: Node, weights: Weights, rules: Rules, types: Types
) -> None:
    """A layer of whole numbers as that of reals, between what makes reals and rounds them."""
    if any(node.attrs.get("d", ())):
        raise GraphError(f"node {node.name!r} ({node.op}) has a shift inside, as engines have it")
    op = REALS[node.op]
    inputs = [real_of(writer, name, types) for name in node.inputs if name in types]
    if node.op in SUMS:
        inputs += _tensors(writer, node, weights)
    steps = types[node.name]
    name = writer.unused(f"{node.name}/real") if steps.quantised else node.name
    writer.shapes[name] = writer.shapes[node.name]
    attrs = {k: v for k, v in node.attrs.items() if k in OPS[op].attrs}
    rules[op](writer, Node(name, op, tuple(inputs), attrs), weights)
    if steps.quantised:
        quantized(writer, node.name, _clamped(writer, node, name, rules, weights), steps)
        rounded_as = MAKERS.get((node.attrs.get("rule", ""), node.op == "QLinearAdd"))
        if rounded_as:
            writer.makers[writer.rows[node.name]] = rounded_as


def _clamped(writer: Writer, node: Node, value: str, rules: Rules, weights: Weights) -> str:
    """The clamp of a layer, where its type alone does not do it."""
    scale, zero = node.attr("y_scale"), node.attr("y_zero_point")
    least, most = limits(node.attr("dtype"))
    low, high = max(node.attr("low"), least), min(node.attr("high"), most)
    if (low, high) == (least, most):
        return value
    name = writer.unused(f"{node.name}/clamped")
    writer.shapes[name] = writer.shapes[node.name]
    if (low, high) == (zero, most):
        made = Node(name, "Relu", (value,))
    else:
        ends = {"min": (low - zero) * scale, "max": (high - zero) * scale}
        made = Node(name, "Clip", (value,), ends)
    rules[made.op](writer, made, weights)
    return name


def _tensors(writer: Writer, node: Node, weights: Weights) -> list[str]:
    """The names of weight and bias; the writer is told how to dequantise them."""
    _, weight, scale, bias = node.inputs
    if weights[weight].dtype == np.int16 and writer.opset < WIDE_OPSET:
        raise UsageError(f"weights of int16 need the opset {WIDE_OPSET} or later")
    writer.scales[weight] = weights[scale]
    writer.scales[bias] = combined_scale(node.attr("x_scale"), weights[scale])
    return [weight, bias]
