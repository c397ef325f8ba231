"""Mistakes in single layers: convolution, batch norm, activations, heads, precision."""

from collections.abc import Callable
from typing import Any

import numpy as np

from conformance.mutants.base import Catalogue
from conformance.questions.arrays import Array
from conformance.testees.reference import Reference
from tsm_ref import reference

CATALOGUE = Catalogue()
mutant = CATALOGUE.mutant


@mutant("kernel-flipped", "kernel flip", "conv", "the kernel is flipped: a true convolution")
def _(self: Reference, x: Array, weight: Array, *rest: Any, **more: Any) -> Array:
    return reference.conv(x, weight[..., ::-1, ::-1], *rest, **more)


@mutant("kernel-time-flipped", "kernel flip", "conv", "the taps over time are flipped")
def _(self: Reference, x: Array, weight: Array, *rest: Any, **more: Any) -> Array:
    return reference.conv(x, weight[:, :, ::-1], *rest, **more)


@mutant("kernel-transposed", "kernel flip", "conv", "square kernels have H and W exchanged")
def _(self: Reference, x: Array, weight: Array, *rest: Any, **more: Any) -> Array:
    square = weight.shape[-1] == weight.shape[-2]
    return reference.conv(x, weight.swapaxes(-1, -2) if square else weight, *rest, **more)


@mutant("conv-same-padding", "padding", "conv", "strided layers are padded at the end only (SAME)")
def _(
    self: Reference,
    x: Array,
    weight: Array,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    *rest: Any,
    **more: Any,
) -> Array:
    strides = [stride] * 3 if isinstance(stride, int) else list(stride)
    pads = [padding] * 3 if isinstance(padding, int) else list(padding)
    sides = [(p - 1, p + 1) if s > 1 and p else (p, p) for p, s in zip(pads, strides, strict=True)]
    return reference.conv(x, weight, bias, stride, sides, *rest, **more)


@mutant("conv-no-bias", "padding", "conv", "the bias is forgotten")
def _(self: Reference, x: Array, weight: Array, bias: Any = None, *rest: Any, **more: Any) -> Array:
    return reference.conv(x, weight, None, *rest, **more)


def strided(change: Callable[[Array, Any], tuple[Array, Any]]) -> Callable[..., Array]:
    """The convolution of an input and a stride that are changed first."""

    def conv(
        self: Reference,
        x: Array,
        weight: Array,
        bias: Any = None,
        stride: Any = 1,
        *rest: Any,
        **more: Any,
    ) -> Array:
        x, stride = change(x, stride)
        return reference.conv(x, weight, bias, stride, *rest, **more)

    return conv


@mutant("conv-stride-swapped", "stride position", "conv", "the strides of H and W are exchanged")
@strided
def _(x: Array, stride: Any) -> tuple[Array, Any]:
    return x, stride if isinstance(stride, int) else [stride[0], stride[2], stride[1]]


@mutant("conv-stride-late", "stride position", "conv", "strided windows start one place late")
@strided
def _(x: Array, stride: Any) -> tuple[Array, Any]:
    return np.roll(x, -1, axis=-1) if np.max(stride) > 1 else x, stride


@mutant("conv-time-stride-late", "stride position", "conv", "the stride over time starts one late")
@strided
def _(x: Array, stride: Any) -> tuple[Array, Any]:
    late = not isinstance(stride, int) and stride[0] > 1
    return np.roll(x, -1, axis=2) if late else x, stride


def _groups(rest: tuple[Any, ...], more: dict[str, Any]) -> int:
    return int(more.get("groups", rest[4] if len(rest) > 4 else 1))


@mutant("conv-groups-interleaved", "layouts", "conv", "groups take every g-th channel")
def _(self: Reference, x: Array, weight: Array, *rest: Any, **more: Any) -> Array:
    groups = _groups(rest, more)
    if groups > 1 and x.shape[1] % groups == 0:
        x = x.reshape(len(x), -1, groups, *x.shape[2:]).swapaxes(1, 2).reshape(x.shape)
    return reference.conv(x, weight, *rest, **more)


@mutant(
    "conv-depthwise-shuffled", "layouts", "conv", "depthwise kernels belong to the next channel"
)
def _(self: Reference, x: Array, weight: Array, *rest: Any, **more: Any) -> Array:
    groups = _groups(rest, more)
    depthwise = groups > 1 and weight.shape[1] == 1
    return reference.conv(x, np.roll(weight, 1, 0) if depthwise else weight, *rest, **more)


@mutant("conv-dilation-ignored", "padding", "conv", "taps that should lie apart are side by side")
def _(self: Reference, x: Array, weight: Array, *rest: Any, **more: Any) -> Array:
    y = reference.conv(x, weight, *rest, **more)
    if np.max(more.get("dilation", 1)) > 1:
        near = reference.conv(x, weight, *rest, **{**more, "dilation": 1})
        y = near[tuple(slice(0, n) for n in y.shape)]
    return y


@mutant("conv-last-tap", "padding", "conv", "the last tap of a kernel is left out")
def _(self: Reference, x: Array, weight: Array, *rest: Any, **more: Any) -> Array:
    if weight.shape[-1] > 1:
        weight = weight.copy()
        weight[..., -1, -1] = 0
    return reference.conv(x, weight, *rest, **more)


@mutant("conv-first-channel", "layouts", "conv", "the last input channel reads the first")
def _(self: Reference, x: Array, weight: Array, *rest: Any, **more: Any) -> Array:
    x = x.copy()
    x[:, -1] = x[:, 0]
    return reference.conv(x, weight, *rest, **more)


def truncated(x: Array, bits: int) -> Array:
    """float32 numbers with so many bits of mantissa left, rounded to nearest."""
    drop = 23 - bits
    whole = np.ascontiguousarray(x, np.float32).view(np.uint32)
    rounded = (whole + np.uint32(1 << (drop - 1))) & np.uint32(0xFFFFFFFF << drop & 0xFFFFFFFF)
    return rounded.view(np.float32)


@mutant("precision-tf32", "low precision", "conv", "products are made in TF32")
def _(self: Reference, x: Array, weight: Array, *rest: Any, **more: Any) -> Array:
    return reference.conv(truncated(x, 10), truncated(weight, 10), *rest, **more)


@mutant("precision-bfloat16", "low precision", "conv", "products are made in bfloat16")
def _(self: Reference, x: Array, weight: Array, *rest: Any, **more: Any) -> Array:
    return reference.conv(truncated(x, 7), truncated(weight, 7), *rest, **more)


@mutant("precision-sums-half", "low precision", "conv", "sums are rounded to float16")
def _(self: Reference, x: Array, weight: Array, *rest: Any, **more: Any) -> Array:
    return reference.conv(x, weight, *rest, **more).astype(np.float16).astype(x.dtype)


@mutant("precision-linear", "low precision", "linear", "the classifier runs in bfloat16")
def _(self: Reference, x: Array, weight: Array, *rest: Any, **more: Any) -> Array:
    return reference.linear(truncated(x, 7), truncated(weight, 7), *rest, **more)


@mutant("linear-no-bias", "consensus", "linear", "the bias of the classifier is forgotten")
def _(self: Reference, x: Array, weight: Array, *rest: Any, **more: Any) -> Array:
    return reference.linear(x, weight)


@mutant("linear-frames-swapped", "consensus", "linear", "frames come out in reversed order")
def _(self: Reference, x: Array, *rest: Any, **more: Any) -> Array:
    return reference.linear(x, *rest, **more)[..., ::-1].copy()


def norm(x: Array, m: Array, v: Array, a: Array, b: Array) -> Array:
    """(x - m) / v * a + b with vectors per channel."""
    shape = (-1, *[1] * (x.ndim - 2))
    m, v, a, b = (p.reshape(shape) for p in (m, v, a, b))
    y: Array = (x - m) / v * a + b
    return y.astype(x.dtype)


@mutant("bn-eps-1e-3", "batch-norm constants", "batch_norm", "eps is 1e-3, as in Keras")
def _(
    self: Reference,
    x: Array,
    mean: Array,
    variance: Array,
    scale: Array,
    shift: Array,
    eps: float = 1e-5,
) -> Array:
    return reference.batch_norm(x, mean, variance, scale, shift, 1e-3)


@mutant("bn-eps-outside", "batch-norm constants", "batch_norm", "eps is added behind the root")
def _(
    self: Reference,
    x: Array,
    mean: Array,
    variance: Array,
    scale: Array,
    shift: Array,
    eps: float = 1e-5,
) -> Array:
    return norm(x, mean, np.sqrt(variance) + np.float32(eps), scale, shift)


@mutant("bn-no-eps", "batch-norm constants", "batch_norm", "eps is left out")
def _(
    self: Reference,
    x: Array,
    mean: Array,
    variance: Array,
    scale: Array,
    shift: Array,
    eps: float = 1e-5,
) -> Array:
    return norm(x, mean, np.sqrt(variance), scale, shift)


@mutant("bn-no-root", "batch-norm constants", "batch_norm", "the variance is taken as deviation")
def _(
    self: Reference,
    x: Array,
    mean: Array,
    variance: Array,
    scale: Array,
    shift: Array,
    eps: float = 1e-5,
) -> Array:
    return norm(x, mean, variance + np.float32(eps), scale, shift)


@mutant("bn-scale-shift", "batch-norm constants", "batch_norm", "scale and shift are exchanged")
def _(
    self: Reference,
    x: Array,
    mean: Array,
    variance: Array,
    scale: Array,
    shift: Array,
    eps: float = 1e-5,
) -> Array:
    return reference.batch_norm(x, mean, variance, shift, scale, eps)


@mutant("bn-batch-statistics", "batch-norm constants", "batch_norm", "runs in training mode")
def _(
    self: Reference,
    x: Array,
    mean: Array,
    variance: Array,
    scale: Array,
    shift: Array,
    eps: float = 1e-5,
) -> Array:
    axes = (0, *range(2, x.ndim))
    if x.size:
        mean, variance = x.mean(axes), x.var(axes)
    return reference.batch_norm(x, mean, variance, scale, shift, eps)


@mutant("relu-leaky", "activations", "relu", "negative values leak through")
def _(self: Reference, x: Array) -> Array:
    return reference.leaky_relu(x, 0.01)


@mutant("relu-is-relu6", "activations", "relu", "the ReLU stops at 6")
def _(self: Reference, x: Array) -> Array:
    return reference.relu6(x)


@mutant("relu6-is-relu", "activations", "relu6", "ReLU6 does not stop at 6")
def _(self: Reference, x: Array) -> Array:
    return reference.relu(x)


@mutant("leaky-slope", "activations", "leaky_relu", "the slope is always 0.1")
def _(self: Reference, x: Array, slope: float) -> Array:
    return reference.leaky_relu(x, 0.1)


@mutant("hard-sigmoid-onnx", "activations", "hard_sigmoid", "the slope is 0.2 instead of 1/6")
def _(self: Reference, x: Array) -> Array:
    return reference.hard_sigmoid(x, 0.2)


@mutant("hard-swish-smooth", "activations", "hard_swish", "the smooth swish stands in")
def _(self: Reference, x: Array) -> Array:
    return x * reference.sigmoid(x)


@mutant("sigmoid-hard", "activations", "sigmoid", "the hard sigmoid stands in")
def _(self: Reference, x: Array) -> Array:
    return reference.hard_sigmoid(x)


@mutant("tanh-rational", "activations", "tanh", "a rational approximation stands in")
def _(self: Reference, x: Array) -> Array:
    y: Array = np.clip(x * (27 + x * x) / (27 + 9 * x * x), -1, 1)
    return y.astype(x.dtype)


@mutant("softmax-axis", "consensus", "softmax", "normalised over the last axis")
def _(self: Reference, x: Array, axis: int = 1) -> Array:
    return reference.softmax(x, -1 if x.ndim > 2 else 0)


@mutant("softmax-overflow", "activations", "softmax", "large logits overflow")
def _(self: Reference, x: Array, axis: int = 1) -> Array:
    e = np.exp(x)
    return np.asarray(e / e.sum(axis, keepdims=True))


@mutant("consensus-max", "consensus", "consensus", "the maximum over time stands in for the mean")
def _(self: Reference, logits: Array) -> Array:
    return np.asarray(logits.max(axis=2))


@mutant("consensus-sum", "consensus", "consensus", "the logits are summed")
def _(self: Reference, logits: Array) -> Array:
    return np.asarray(logits.sum(axis=2))


@mutant("consensus-last", "consensus", "consensus", "only the last frame counts")
def _(self: Reference, logits: Array) -> Array:
    return logits[:, :, -1].copy()


@mutant("mask-no-half", "activations", "attention_mask", "the factor 1/2 is forgotten")
def _(self: Reference, m: Array) -> Array:
    return reference.attention_mask(m) * np.float32(2)


@mutant("mask-over-clip", "activations", "attention_mask", "the mean is taken over the whole clip")
def _(self: Reference, m: Array) -> Array:
    y: Array = m / m.mean(axis=(2, 3, 4), keepdims=True) * np.float32(0.5)
    return y


@mutant("non-local-scaled", "activations", "non_local", "scores are divided by sqrt(C)")
def _(self: Reference, theta: Array, phi: Array, g: Array, mode: Any) -> Array:
    return reference.non_local(theta / np.float32(theta.shape[1] ** 0.5), phi, g, mode)
