"""Quantised layers without weights, ready to run: sums, tables, means, maxima, and rounding."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.engine.on_numba.whole_inputs import Maker, Packer, Work, ends, flip_of
from tsm_ref.graph import Node
from tsm_ref.kernels.integer import pool, rules, values
from tsm_ref.reference import litert, quantised

__all__ = ["MAKERS", "quantized"]

Array = NDArray[Any]


def _pair(op: int) -> Maker:
    """Two values of the same shape, added or multiplied."""

    def make(engine: Packer, node: Node, inputs: Sequence[Array], y: Array) -> Work | None:
        a, b = inputs
        if not a.shape == b.shape == y.shape:
            return None
        scales = [node.attr(name) for name in ("x_scale", "other_scale", "y_scale")]
        if op == values.ADD and node.attr("rule") == "xnnpack":
            return _add_by_shift(node, inputs, y, litert.add_factors(*scales))
        if op == values.ADD:
            factors = [quantised.combined_scale(scale, 1.0, scales[2]) for scale in scales[:2]]
        else:
            factors = [quantised.combined_scale(*scales), np.zeros((), np.float32)]
        steps = [
            (flip_of(x), node.attr(f"{role}_zero_point") + flip_of(x), np.float32(factor))
            for x, role, factor in zip((a, b), ("x", "other"), factors, strict=True)
        ]
        rows = [_bytes(v) for v in (a, b, y)]
        return Work(
            partial(values.combine, op, *rows, *steps, *ends(node).values()),
            values.CUTS,
        )

    return make


def _add_by_shift(
    node: Node, inputs: Sequence[Array], y: Array, factors: tuple[int, int, int]
) -> Work:
    rows = [v.reshape(-1) for v in (*inputs, y)]
    zeros = [node.attr(f"{role}_zero_point") for role in ("x", "other", "y")]
    steps = list(zip(zeros[:2], factors[:2], strict=True))
    how = (*rows, *steps, factors[2], zeros[2], *_limits(node))
    return Work(partial(rules.add_by_shift, *how), rules.CUTS)


def _limits(node: Node) -> tuple[int, int]:
    """What a result is clamped to."""
    least, most = quantised.limits(node.attr("dtype"))
    return max(node.attr("low"), least), min(node.attr("high"), most)


def _quantize(engine: Packer, node: Node, inputs: Sequence[Array], y: Array) -> Work | None:
    (x,) = inputs
    return quantized(node, x, y) if x.dtype == np.float32 else None


def quantized(node: Node, x: Array, y: Array) -> Work:
    """Real numbers rounded to 8 bits."""
    how = (x.reshape(-1), np.float32(node.attr("y_scale")), _bytes(y), *ends(node).values())
    return Work(partial(values.quantize, *how), values.CUTS)


def _dequantize(engine: Packer, node: Node, inputs: Sequence[Array], y: Array) -> Work | None:
    (x,) = inputs
    if y.dtype != np.float32:
        return None
    how = (np.float32(node.attr("x_scale")), node.attr("x_zero_point"), y.reshape(-1))
    return Work(partial(values.dequantize, x.reshape(-1), *how), values.CUTS)


def _look_up(engine: Packer, node: Node, inputs: Sequence[Array], y: Array) -> Work:
    x, table = inputs
    by_byte = np.roll(table.view(np.uint8), 128 if x.dtype == np.int8 else 0)
    return Work(partial(values.look_up, _bytes(x), by_byte, _bytes(y)), values.CUTS)


def _mean(engine: Packer, node: Node, inputs: Sequence[Array], y: Array) -> Work | None:
    (x,) = inputs
    places, rule = int(np.prod(x.shape[2:])), node.attr("rule")
    if rule == "tflite":
        return None
    if rule == "xnnpack":
        return _xnnpack_mean(node, x.reshape(-1, places), y.reshape(-1))
    scale = np.float32(node.attr("x_scale")) / (
        np.float32(node.attr("y_scale")) * np.float32(places)
    )
    how = (x.reshape(-1, places), node.attr("x_zero_point"), np.float32(scale), _bytes(y))
    return Work(partial(values.mean, *how, *ends(node).values()), y.size)


def _xnnpack_mean(node: Node, x: Array, y: Array) -> Work:
    steps = ((node.attr(f"{role}_scale"), node.attr(f"{role}_zero_point")) for role in ("x", "y"))
    terms = litert.mean_terms(np.array(x.shape[1]), *steps)
    return Work(partial(rules.mean, x, *map(np.float32, terms), y, *_limits(node)), y.size)


def _max_pool(engine: Packer, node: Node, inputs: Sequence[Array], y: Array) -> Work | None:
    (x,) = inputs
    kernel, strides, pads = (node.attr(n) for n in ("kernel_shape", "strides", "pads"))
    plain = kernel[0] == strides[0] == 1 and pads[0] == pads[3] == 0
    if not plain or x.dtype.kind == "f" or tuple(node.attr("dilations")) != (1, 1, 1):
        return None
    if strides[2] > 2:
        return None
    planes = [v.reshape(-1, *v.shape[2:]).view(np.uint8) for v in (x, y)]
    how = (kernel[1:], strides[1:], pads[1:3], flip_of(x))
    return Work(partial(pool.max_pool, *planes, *how), len(planes[0]))


def _bytes(x: Array) -> NDArray[np.uint8]:
    return x.reshape(-1).view(np.uint8)


MAKERS: Mapping[str, Maker] = {
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
    "QLinearAdd": _pair(values.ADD),
    "QLinearMul": _pair(values.MULTIPLY),
    "QLinearGlobalAveragePool": _mean,
    "LookUp": _look_up,
    "MaxPool": _max_pool,
}
"""The operations that have a kernel, in some cases or in all."""
