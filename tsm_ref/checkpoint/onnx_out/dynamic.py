"""Layers that choose their steps at run time in ONNX, as onnxruntime's quantisation writes them.

``DynamicQuantizeLinear - ConvInteger - Cast - Mul - Add``; a linear layer has ``MatMulInteger``.
The range of a file is that of all clips that it is given at once, ours that of each: such a file is
written for one clip.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.checkpoint.onnx_out.writer import Writer
from tsm_ref.errors import UsageError

__all__ = ["dynamic_layer"]

Array = NDArray[Any]

FIRST_OPSET = 11
"""The first opset that has DynamicQuantizeLinear."""


def dynamic_layer(
    writer: Writer, of: str, x: str, tensors: tuple[Array, ...], attrs: Mapping[str, Any]
) -> tuple[str, list[str]]:
    """Write all but the last node of a layer; returns that one's op and inputs.

    ``tensors`` are the weight in the form of the file, its scales, and perhaps a bias; ``attrs``
    are those of a convolution, none for a linear layer.

    Raises `UsageError` for an old opset, an open number of clips, and a weight too wide for 8 bits.
    """
    if writer.opset < FIRST_OPSET or writer.batch != 1:
        raise UsageError(
            f"layers that are rounded at run time need the opset {FIRST_OPSET} or later, and one "
            "clip: give N = 1"
        )
    weight, *rows = tensors
    whole, zero = _in_8_bits(of, weight)
    steps = [writer.unused(f"{of}/{role}") for role in ("whole", "steps", "zero")]
    writer.nodes.append(writer.onnx.helper.make_node("DynamicQuantizeLinear", [x], steps, name=of))
    inputs = [steps[0], writer.tensor(f"{of}/weight", whole), steps[2]]
    inputs += [writer.tensor(f"{of}/weight/zero", zero)] if zero.any() else []
    sums = writer.step("ConvInteger" if attrs else "MatMulInteger", inputs, of, **attrs)
    places = [-1, *[1] * (weight.ndim - 2)] if attrs else [-1]
    scale, *bias = (values.reshape(places) for values in rows)
    scale = scale.reshape(-1)[:1].reshape(()) if np.ptp(scale) == 0 else scale
    both = writer.step("Mul", [steps[1], writer.tensor(f"{of}/weight/scale", scale)], of)
    real = [writer.step("Cast", [sums], of, to=1), both]
    if not bias:
        return "Mul", real
    made = writer.step("Mul", real, of)
    return "Add", [made, writer.tensor(f"{of}/bias", bias[0])]


def _in_8_bits(of: str, weight: Array) -> tuple[Array, Array]:
    """A weight in int8, or in uint8 with a zero point."""
    if weight.dtype == np.int8:
        return weight, np.zeros((), np.int8)
    least, most = int(weight.min(initial=0)), int(weight.max(initial=0))
    if most - least > 255:
        raise UsageError(f"the weight of {of!r} reaches from {least} to {most}: 8 bits hold less")
    return (weight - least).astype(np.uint8), np.array(-least, np.uint8)
