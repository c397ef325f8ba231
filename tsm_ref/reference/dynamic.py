"""Layers that choose their steps at run time: whole numbers of 8 bits, as far as a clip reaches.

Dynamic quantisation has weights of whole numbers, and reads reals. It rounds them to uint8 by the
least and the largest value of all that the layer reads (ONNX DynamicQuantizeLinear), sums whole
numbers exactly, and gives reals:

1. ``scale, zero = dynamic_steps(x)``, ``q = quantize_linear(x, scale, zero)``, all in float32.
2. ``acc = sum of (q - zero) * weight`` in whole numbers (`tsm_ref.reference.quantised`).
3. ``y = float32(acc) * (scale * weight_scale) + bias``: a product of the scales, a product and a
   sum, each rounded to float32.

That is what onnxruntime computes of a file that its ``quantize_dynamic`` wrote, where its own sums
do not saturate (see `tsm_ref.reference.quantised`). The range is that of one clip, all frames of
it: every answer depends on every frame, so such a layer has no streaming form, and each of several
clips is rounded by itself. Where a runtime is given several clips in one tensor, it takes one range
for all of them, and its answers are others.

A value that is infinite or NaN makes every result of its clip NaN.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from tsm_ref.reference._arrays import Array
from tsm_ref.reference._windows import Padding, Size
from tsm_ref.reference.quantised import conv_integer, matmul_integer, scaled

F32 = np.float32


def dynamic_steps(x: ArrayLike) -> tuple[np.float32, int]:
    """Scale and zero point of uint8 that reach from the least to the largest value, and to zero.

    With ``least = min(x, 0)`` and ``largest = max(x, 0)``: scale = (largest - least) / 255, or 1
    where both are zero, and zero = round(-least / scale), halves to even. The scale is NaN where a
    value is not finite, or the range is not.

    Source: ONNX DynamicQuantizeLinear.

    >>> dynamic_steps([-1.0, 0.0, 4.1])
    (np.float32(0.02), 50)
    """
    x = np.asarray(x, F32)
    least, largest = x.min(initial=F32(0)), x.max(initial=F32(0))
    with np.errstate(over="ignore", invalid="ignore"):
        scale = F32(largest - least) / F32(255)
    if not np.isfinite(scale):
        return F32(np.nan), 0
    if scale == 0:
        return F32(1), 0
    return scale, int(np.rint(np.clip(-least / scale, F32(0), F32(255))))


def dynamic_quantize_linear(x: ArrayLike) -> tuple[Array, np.float32, int]:
    """Values rounded to uint8 by their own range, and its scale and zero point.

    Shapes: x any -> the same. Source: ONNX DynamicQuantizeLinear.

    >>> dynamic_quantize_linear([-1.0, 0.0, 4.1])[0]
    array([  0,  50, 255], dtype=uint8)
    """
    x = np.asarray(x, F32)
    scale, zero = dynamic_steps(x)
    if np.isnan(scale):
        return np.zeros(x.shape, np.uint8), scale, zero
    steps = np.clip(x / scale, F32(-zero), F32(255 - zero))
    return np.asarray(np.rint(steps) + F32(zero)).astype(np.uint8), scale, zero


def dynamic_conv(
    x: ArrayLike,
    weight: ArrayLike,
    scale: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Array:
    """The convolution of values that are rounded by the range of their clip.

    Shapes: as `tsm_ref.reference.conv`; weight int8 (or int16), scale (Cout,) and bias (Cout,)
    float32 -> float32. Errors: ValueError as `conv_integer`.

    >>> x, weight = np.array([[[0.0, 1.0, -4.1]]]), np.array([[[1, 10]]], np.int8)
    >>> dynamic_conv(x, weight, [0.5]).round(3)
    array([[[  5., -20.]]], dtype=float32)
    """
    return _per_clip(
        lambda q, zero: conv_integer(q, weight, None, zero, stride, padding, dilation, groups),
        x, scale, bias,
    )  # fmt: skip


def dynamic_linear(
    x: ArrayLike, weight: ArrayLike, scale: ArrayLike, bias: ArrayLike | None = None
) -> Array:
    """The fully connected layer of values that are rounded by the range of their clip.

    Shapes: x (N, C, ...), weight (K, C) int8 (or int16), scale and bias (K,) -> (N, K, ...)
    float32. Errors: ValueError as `matmul_integer`.

    >>> dynamic_linear([[0.0, 255.0]], np.array([[1, 2]], np.int8), [0.5], [1.0])
    array([[256.]], dtype=float32)
    """
    return _per_clip(lambda q, zero: matmul_integer(q, weight, None, zero), x, scale, bias)


def _per_clip(
    sums: Callable[[Array, int], Array], x: ArrayLike, scale: ArrayLike, bias: ArrayLike | None
) -> Array:
    """Steps 1 to 3 for each clip."""
    found = []
    for clip in np.asarray(x, F32):
        q, step, zero = dynamic_quantize_linear(clip[None])
        made = scaled(sums(q, zero), step * np.asarray(scale, F32))
        if bias is not None:
            made = made + np.asarray(bias, F32).reshape(-1, *[1] * (made.ndim - 2))
        found.append(made)
    return np.concatenate(found)
