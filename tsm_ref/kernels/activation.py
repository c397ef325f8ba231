"""Activations that are not clamps, 16 values at a time, in place.

The exponential is computed from its parts: ``exp(z) = 2^n exp(r)`` with ``|r| <= ln(2) / 2``, and
``exp(r) - 1`` by its Taylor series to the eighth power, whose remainder is far below a rounding.
"""

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from tsm_ref.kernels.blocked import PIXEL
from tsm_ref.kernels.cache import compiled
from tsm_ref.kernels.vector import INT32, Emitter, Value, address, count, generated, real

TANH, SIGMOID, LEAKY_RELU, HARD_SIGMOID, HARD_SWISH = range(5)

ACTIVATION = np.dtype(
    [
        ("kind", np.int64),
        ("x", np.int64),  # address; the values are replaced
        ("count", np.int64),  # how many times 16 values
        ("alpha", np.float32),  # the slope of LEAKY_RELU and of HARD_SIGMOID
        ("beta", np.float32),  # the offset of HARD_SIGMOID
    ],
    align=True,
)
"""A planned activation, for `run_activation`."""

_LOG2_E = math.log2(math.e)
_LN2_HIGH = 0.693145751953125  # ln(2), of which n times it is exact
_LN2_LOW = math.log(2) - _LN2_HIGH
_ROUNDING = 1.5 * 2**23
"""Added to a small number it leaves the nearest whole one in the lowest bits."""
_FARTHEST = 104.0
"""exp(-104) is less than half of the smallest number: it is 0."""


def _expm1(emit: Emitter, z: Value) -> tuple[Value, Value]:
    """Return ``exp(r) - 1`` and the bits of ``n + _ROUNDING``, for a z in ``-104 .. 0``."""
    rounding = emit.constant(_ROUNDING)
    shifted = emit.fma(z, emit.constant(_LOG2_E), rounding)
    n = emit.minus(shifted, rounding)
    r = emit.fma(n, emit.constant(-_LN2_HIGH), z)
    r = emit.fma(n, emit.constant(-_LN2_LOW), r)
    series = emit.constant(1 / math.factorial(8))
    for power in range(7, 1, -1):
        series = emit.fma(series, r, emit.constant(1 / math.factorial(power)))
    return emit.fma(emit.product(r, r), series, r), shifted


def _power_of_two(emit: Emitter, n: Value) -> Value:
    """Return 2^n of whole numbers n between -126 and 0, whose bits stand below the exponent."""
    kind = n.type
    to_exponent = emit.builder.shl(n, ir.Constant(kind, [23] * emit.lanes))
    one = ir.Constant(kind, [0x3F800000] * emit.lanes)
    return emit.builder.bitcast(emit.builder.add(to_exponent, one), emit.vector)


def _bits(emit: Emitter, value: Value) -> Value:
    return emit.builder.bitcast(value, ir.VectorType(INT32, emit.lanes))


def _negated_size(emit: Emitter, x: Value, limit: float) -> Value:
    """Return -|x|, but not below -`limit`; NaN stays NaN."""
    negated = emit.minimum(x, emit.minus(emit.constant(-0.0), x))
    return emit.maximum(negated, emit.constant(-limit))


def _tanh(emit: Emitter, x: Value, _: Value, __: Value) -> Value:
    """``-e / (2 + e)`` with ``e = exp(-2 |x|) - 1``, and the sign of x."""
    z = _negated_size(emit, emit.product(x, emit.constant(2.0)), 20.0)
    part, n = _expm1(emit, z)
    scale = _power_of_two(emit, _bits(emit, n))
    e = emit.fma(part, scale, emit.minus(scale, emit.constant(1.0)))
    size = emit.builder.fdiv(emit.minus(emit.constant(-0.0), e), emit.plus(emit.constant(2.0), e))
    name = f"llvm.copysign.v{emit.lanes}f32"
    function = emit.function(name, emit.vector, [emit.vector] * 2)
    return emit.builder.call(function, [size, x])


def _sigmoid(emit: Emitter, x: Value, _: Value, __: Value) -> Value:
    """``1 / (1 + e)`` with ``e = exp(-|x|)``, and ``e / (1 + e)`` where x is negative."""
    part, n = _expm1(emit, _negated_size(emit, x, _FARTHEST))
    bits = _bits(emit, n)
    # 2^n in two factors, as n may be below the smallest exponent
    whole = emit.builder.sub(bits, _bits(emit, emit.constant(_ROUNDING)))
    half = emit.builder.ashr(whole, ir.Constant(whole.type, [1] * emit.lanes))
    e = emit.plus(part, emit.constant(1.0))
    for n in (half, emit.builder.sub(whole, half)):
        e = emit.product(e, _power_of_two(emit, n))
    one = emit.constant(1.0)
    negative = emit.builder.fcmp_ordered("<", x, emit.constant(0.0))
    over = emit.builder.select(negative, e, one)
    return emit.builder.fdiv(over, emit.plus(one, e))


def _leaky_relu(emit: Emitter, x: Value, alpha: Value, _: Value) -> Value:
    positive = emit.builder.fcmp_ordered(">", x, emit.constant(0.0))
    return emit.builder.select(positive, x, emit.product(x, alpha))


def _hard_sigmoid(emit: Emitter, x: Value, alpha: Value, beta: Value) -> Value:
    line = emit.plus(emit.product(alpha, x), beta)
    return emit.clamp(line, emit.constant(0.0), emit.constant(1.0))


def _hard_swish(emit: Emitter, x: Value, alpha: Value, beta: Value) -> Value:
    return emit.product(x, _hard_sigmoid(emit, x, alpha, beta))


def _write(formula: Any) -> Any:
    @generated(address, count, real, real)
    def activate(emit: Emitter, x: Value, pixels: Value, alpha: Value, beta: Value) -> None:
        """Replace the values of `pixels` times 16 lanes."""
        slope, offset = emit.splat(alpha), emit.splat(beta)
        with emit.loop(pixels) as over:
            here = emit.move(emit.bytes_at(x), emit.times(over.index, PIXEL))
            for part in range(0, PIXEL, emit.bytes):
                emit.store(formula(emit, emit.load(here, part), slope, offset), here, part)

    return activate


_all_tanh, _all_sigmoid, _all_leaky_relu = _write(_tanh), _write(_sigmoid), _write(_leaky_relu)
_all_hard_sigmoid, _all_hard_swish = _write(_hard_sigmoid), _write(_hard_swish)


def run_activation(layers: NDArray[Any], index: int, first: int, last: int) -> None:
    """Replace pixels ``first .. last - 1`` of 16 values of a planned `ACTIVATION`."""
    layer = layers[index]
    if first >= last:
        return
    x, n, alpha, beta = layer.x + PIXEL * first, last - first, layer.alpha, layer.beta
    if layer.kind == TANH:
        _all_tanh(x, n, alpha, beta)
    elif layer.kind == SIGMOID:
        _all_sigmoid(x, n, alpha, beta)
    elif layer.kind == LEAKY_RELU:
        _all_leaky_relu(x, n, alpha, beta)
    elif layer.kind == HARD_SIGMOID:
        _all_hard_sigmoid(x, n, alpha, beta)
    else:
        _all_hard_swish(x, n, alpha, beta)


run_activation = compiled()(run_activation)
