"""Quantised values of an ONNX file: read as the reals that they stand for, and what rounded them.

Wherever a file rounds a value, ``QuantizeLinear`` and ``DequantizeLinear`` come into our graph side
by side, and everything that moves whole numbers about moves the reals behind them. Where a layer
has nothing but whole numbers around it, `tsm_ref.passes.whole_numbers` lets it compute with them:
what is kept here for that is how its weights were rounded.

Ops that compute with whole numbers themselves (``QLinearConv``, ..., also those of onnxruntime) are
written out as ``dequantize - op - quantize`` first, which is what they mean.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.checkpoint.contents import shown
from tsm_ref.checkpoint.onnx_in.budget import Broken, NotUnderstood
from tsm_ref.checkpoint.onnx_in.guard import OnnxModel, OnnxNode
from tsm_ref.checkpoint.onnx_in.reading import Reading, Value
from tsm_ref.checkpoint.onnx_in.tensors import type_name
from tsm_ref.checkpoint.onnx_in.values import LookedUp, Moved, View, Whole
from tsm_ref.passes.whole_numbers import Rounded

__all__ = ["LAYERS", "tracked", "written_out"]

Array = NDArray[Any]

TYPES = ("uint8", "int8")
WIDE = (*TYPES, "int16", "int32")
"""The types of constants that stand for reals."""


@dataclass(frozen=True)
class Steps:
    """How a tensor was rounded: scales and zero points along an axis, or one for all."""

    scale: Array
    zero_point: Array
    axis: int


def quantize(reading: Reading, node: OnnxNode) -> list[Value]:
    """Round a value: the reals behind the whole numbers are a new value of our graph."""
    if node.attrs.get("block_size"):
        raise Broken(f"the node {node} rounds in blocks, which are not supported")
    if node.attrs.get("output_dtype", 2) not in (0, 2, 3):
        kind = type_name(node.attrs["output_dtype"])
        raise Broken(f"the node {node} rounds to {kind}; supported are {', '.join(TYPES)}")
    value = reading.values[node.inputs[0]]
    dtype = {3: "int8"}.get(node.attrs.get("output_dtype", 0), "uint8")
    steps = _steps(reading, node, dtype, np.ndim(value) or len(value.shape))
    if isinstance(value, np.ndarray):
        s, z = _spread(steps, value.ndim)
        info = np.iinfo(steps.zero_point.dtype)
        with np.errstate(all="ignore"):
            whole = np.clip(np.rint(value / s) + z, info.min, info.max)
        return [np.asarray(whole, steps.zero_point.dtype)]
    kind = str(steps.zero_point.dtype)
    if kind not in TYPES:
        raise Broken(f"the node {node} rounds to {kind}; supported are {', '.join(TYPES)}")
    scale, zero = _single(steps, node)
    made = _rounded(reading, node, value, (kind, scale, zero))
    return [Whole(made, kind, scale, zero)]


def _rounded(reading: Reading, node: OnnxNode, value: Value, how: tuple[str, float, int]) -> Value:
    """A value behind rounding; of moved elements, all that they are taken from is rounded."""
    if isinstance(value, View):
        return View(reading.rounded(value.base, node.outputs[0], *how), value.groups)
    if not isinstance(value, Moved):
        raise NotUnderstood(f"the node {node} cannot round what it reads")
    bases = reading.owners(value.codes)
    if reading.origin(bases) is None:  # a state beside the value that it is kept of
        view = reading.resolved(value, node.inputs[0], str(node))
        return View(reading.rounded(view.base, node.outputs[0], *how), view.groups)
    codes = value.codes.copy()
    for base in bases:
        made = reading.rounded(base, node.outputs[0], *how)
        own = (value.codes >= base.start) & (value.codes < base.start + np.prod(base.shape))
        codes[own] += made.start - base.start
    return Moved(codes)


def dequantize(reading: Reading, node: OnnxNode) -> list[Value]:
    """The reals that whole numbers stand for; of a constant it is kept how it was rounded."""
    value = reading.values[node.inputs[0]]
    if isinstance(value, Whole):
        steps = _steps(reading, node, value.dtype, len(value.shape))
        scale, zero = _single(steps, node)
        if (scale, zero) != (value.scale, value.zero_point):
            raise Broken(
                f"the node {node} reads {shown(node.inputs[0])} with the scale {scale:g} and the "
                f"zero point {zero}; it was made with {value.scale:g} and {value.zero_point}"
            )
        return [value.value]
    if isinstance(value, LookedUp) and value.table is not None:
        return [_from_table(reading, node, value.places, value.table)]
    if not isinstance(value, np.ndarray):
        raise Broken(f"the node {node} reads {shown(node.inputs[0])}, which is not quantised")
    kind = str(value.dtype)
    if node.attrs.get("block_size"):
        raise Broken(f"the node {node} has scales for blocks, which are not supported")
    if kind not in WIDE:
        raise Broken(f"the node {node} reads {kind} values; supported are {', '.join(WIDE)}")
    steps = _steps(reading, node, kind, value.ndim)
    s, z = _spread(steps, value.ndim)
    centred = value.astype(np.int64) - z
    reading.integers[node.outputs[0]] = (centred, steps.scale.reshape(-1), steps.axis)
    return [np.asarray(centred.astype(np.float32) * s, np.float32)]


def _from_table(reading: Reading, node: OnnxNode, places: Whole, table: Array) -> View:
    """The reals behind what stands in a table; negative places count from its end."""
    steps = _steps(reading, node, str(table.dtype), len(places.shape))
    scale, zero = _single(steps, node)
    view = reading.resolved(places.value, node.inputs[0], str(node))
    back = next((n for n in reading.nodes if n.name == view.base.name), None)
    if back is not None and back.op == "DequantizeLinear":
        whole = back.inputs[0]
    else:  # reals that a pool or a shift took from such ones: rounding changes none
        how = (places.dtype, places.scale, places.zero_point)
        attrs = dict(zip(("dtype", "y_scale", "y_zero_point"), how, strict=True))
        name = f"{node.inputs[0]}.places"
        whole = reading.emit("QuantizeLinear", name, [view.base.name], view.base.axes, **attrs).name
    ordered = np.concatenate([table[128:], table[:128]]) if places.dtype == "int8" else table
    name = reading.parameter(f"{node.inputs[0]}.table", ordered)
    attrs = {"dtype": str(table.dtype), "y_scale": scale, "y_zero_point": zero}
    made = reading.emit("LookUp", node.inputs[0], [whole, name], view.base.axes, **attrs)
    real = {"x_scale": scale, "x_zero_point": zero}
    base = reading.emit("DequantizeLinear", node.outputs[0], [made.name], view.base.axes, **real)
    return View(base, view.groups)


def _steps(reading: Reading, node: OnnxNode, dtype: str, rank: int) -> Steps:
    """Scale and zero point of a node, after every check; raises `Broken`."""
    scale, zero = reading.constant(node, 1), reading.constant(node, 2)
    if scale is None:
        raise Broken(f"the node {node} has no scale")
    if zero is None:
        zero = np.zeros(scale.shape, dtype)
    if scale.dtype.kind != "f" or zero.dtype.kind not in "iu":
        raise Broken(f"the node {node} has the types {scale.dtype} and {zero.dtype} as its steps")
    if node.op == "DequantizeLinear" and str(zero.dtype) != dtype:
        raise Broken(f"the node {node} reads {dtype} values with a zero point of {zero.dtype}")
    if scale.size == 0 or not (np.isfinite(scale) & (scale > 0)).all():
        bad = scale[~(np.isfinite(scale) & (scale > 0))].reshape(-1)
        shown_value = f"{bad[0]:g}" if bad.size else "empty"
        raise Broken(f"the node {node} has the scale {shown_value}; it must be positive and finite")
    if scale.shape != zero.shape and scale.size != zero.size:
        raise Broken(f"the node {node} has {scale.size} scales and {zero.size} zero points")
    axis = int(node.attrs.get("axis", 1))
    if scale.size > 1:
        if scale.ndim != 1:
            raise Broken(f"the node {node} has scales of the shape {scale.shape}; a list is needed")
        if not -rank <= axis < rank:
            raise Broken(f"the node {node} has the axis {axis} for a tensor of {rank} axes")
        shape = reading.values[node.inputs[0]].shape
        if shape[axis] != scale.size:
            raise Broken(f"the node {node} has {scale.size} scales for an axis of {shape[axis]}")
    return Steps(scale.astype(np.float32), zero, axis % max(rank, 1))


def _spread(steps: Steps, rank: int) -> tuple[Array, Array]:
    """Scale and zero point as they broadcast against a tensor."""
    if steps.scale.size == 1:
        return steps.scale.reshape(()), steps.zero_point.reshape(()).astype(np.int64)
    shape = [1] * rank
    shape[steps.axis] = -1
    return steps.scale.reshape(shape), steps.zero_point.reshape(shape).astype(np.int64)


def _single(steps: Steps, node: OnnxNode) -> tuple[float, int]:
    """The steps of a value that is computed: one for all of it."""
    if np.ptp(steps.scale) or np.ptp(steps.zero_point.astype(np.int64)):
        raise Broken(f"the node {node} has a scale for each channel of a value; one is supported")
    return float(steps.scale.reshape(-1)[0]), int(steps.zero_point.reshape(-1)[0])


def tracked(layer: Callable[[Reading, OnnxNode], list[Value]]) -> Any:
    """A layer with weights that also keeps how its tensors were rounded."""

    def with_steps(reading: Reading, node: OnnxNode) -> list[Value]:
        before = len(reading.nodes)
        result = layer(reading, node)
        made = [n for n in reading.nodes[before:] if n.op in ("Conv", "Linear")]
        if len(made) == 1 and len(node.inputs) > 1 and node.inputs[1] in reading.integers:
            _, scale, _ = reading.integers[node.inputs[1]]
            outputs = len(reading.parameters[made[0].inputs[1]])
            if scale.size in (1, outputs):
                wide = np.broadcast_to(scale, (outputs,)).copy()
                reading.steps[made[0].inputs[1]] = Rounded(wide)
            if len(made[0].inputs) > 2 and len(node.inputs) > 2:
                found = reading.integers.get(node.inputs[2])
                if found is not None and found[0].size == outputs:
                    wide = np.broadcast_to(found[1], (outputs,)).copy()
                    reading.steps[made[0].inputs[2]] = Rounded(wide, found[0].reshape(-1))
        return result

    return with_steps


def max_pool(layer: Callable[[Reading, OnnxNode], list[Value]]) -> Any:
    """A pool of maxima, of whole numbers too."""

    def of_either(reading: Reading, node: OnnxNode) -> list[Value]:
        x = reading.values[node.inputs[0]]
        if not isinstance(x, Whole):
            return layer(reading, node)
        reading.values[node.inputs[0]] = x.value
        try:
            (made,) = layer(reading, node)
        finally:
            reading.values[node.inputs[0]] = x
        return [replace(x, value=made)]

    return of_either


LAYERS: Mapping[str, Any] = {"QuantizeLinear": quantize, "DequantizeLinear": dequantize}


# Ops that compute with whole numbers, written out


@dataclass(frozen=True)
class Form:
    """Where an op has its operands: per operand (value, scale, zero point), then the result's."""

    op: str
    operands: tuple[tuple[int, int, int], ...]
    result: tuple[int, int]
    bias: int = -1
    axis: int = 0


FORMS: Mapping[str, Form] = {
    "QLinearConv": Form("Conv", ((0, 1, 2), (3, 4, 5)), (6, 7), bias=8),
    "QLinearMatMul": Form("MatMul", ((0, 1, 2), (3, 4, 5)), (6, 7), axis=-1),
    "QGemm": Form("Gemm", ((0, 1, 2), (3, 4, 5)), (7, 8), bias=6, axis=-1),
    "QLinearAdd": Form("Add", ((0, 1, 2), (3, 4, 5)), (6, 7)),
    "QLinearMul": Form("Mul", ((0, 1, 2), (3, 4, 5)), (6, 7)),
    "QLinearAveragePool": Form("AveragePool", ((0, 1, 2),), (3, 4)),
    "QLinearGlobalAveragePool": Form("GlobalAveragePool", ((0, 1, 2),), (3, 4)),
    "QLinearSigmoid": Form("Sigmoid", ((0, 1, 2),), (3, 4)),
    "QLinearLeakyRelu": Form("LeakyRelu", ((0, 1, 2),), (3, 4)),
    "QLinearReduceMean": Form("ReduceMean", ((0, 1, 2),), (3, 4)),
    "QLinearSoftmax": Form("Softmax", ((0, 1, 2),), (3, 4)),
}
"""The ops of whole numbers that are read; all but the first two are of onnxruntime."""

CONCAT = "QLinearConcat"
OURS = frozenset({*FORMS, CONCAT})


def written_out(model: OnnxModel) -> OnnxModel:
    """The same model with its ops of whole numbers as dequantize - op - quantize."""
    if not any(node.op in OURS for node in model.nodes):
        return model
    constants = dict(model.constants)
    nodes = [made for node in model.nodes for made in _written(node, constants)]
    return replace(model, nodes=tuple(nodes), constants=constants)


def _written(node: OnnxNode, constants: dict[str, Array]) -> Iterator[OnnxNode]:
    if node.op not in OURS:
        yield node
        return
    form = FORMS.get(node.op) or _concat_form(node)
    given = (*node.inputs, *[""] * 10)
    if node.attrs.get("channels_last"):
        raise Broken(f"the node {node} has its channels last, as the optimiser writes it")
    names = []
    axis = {"axis": 0 if node.attrs.get("transB") else form.axis}
    for place, operand in enumerate(form.operands):
        names.append(f"{node.outputs[0]}/{place}")
        inputs = tuple(given[at] for at in operand)
        several = place and np.size(constants.get(inputs[1], 0)) > 1
        yield OnnxNode(node.name, "DequantizeLinear", inputs, (names[-1],), axis if several else {})
    if form.bias >= 0 and given[form.bias]:
        yield _bias(node, form, constants)
        names.append(f"{node.outputs[0]}/bias")
    steps = tuple(given[place] for place in form.result)
    plain = f"{node.outputs[0]}/real" if steps[0] else node.outputs[0]
    attrs = {k: v for k, v in node.attrs.items() if k != "channels_last"}
    yield OnnxNode(node.name, form.op, tuple(names), (plain,), attrs)
    if steps[0]:
        yield OnnxNode(node.name, "QuantizeLinear", (plain, *steps), node.outputs, {})


def _bias(node: OnnxNode, form: Form, constants: dict[str, Array]) -> OnnxNode:
    """A bias is in steps of the product of the two scales."""
    x, weight = (constants.get(node.inputs[place]) for _, place, _ in form.operands)
    if x is None or weight is None:
        raise Broken(f"the node {node} has a scale that is no constant")
    product = x.astype(np.float32) * weight.astype(np.float32)
    name = f"{node.outputs[0]}/bias.scale"
    constants[name] = np.asarray(product.reshape(-1) if product.size > 1 else product.reshape(()))
    inputs = (node.inputs[form.bias], name)
    attrs = {"axis": 0}
    return OnnxNode(node.name, "DequantizeLinear", inputs, (f"{node.outputs[0]}/bias",), attrs)


def _concat_form(node: OnnxNode) -> Form:
    places: Sequence[int] = range(2, len(node.inputs) - 2, 3)
    return Form("Concat", tuple((i, i + 1, i + 2) for i in places), (0, 1))
