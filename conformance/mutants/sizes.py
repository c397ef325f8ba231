"""Mistakes that show at some sizes, or in some kinds of memory, of layers and networks."""

from collections.abc import Callable
from typing import Any

import numpy as np

from conformance.mutants.base import Catalogue, Mutant
from conformance.questions.arrays import Array
from conformance.questions.structure import Structure
from conformance.testees.reference import Reference
from tsm_ref import reference

CATALOGUE = Catalogue()
mutant = CATALOGUE.mutant


@mutant("conv-inputs-beyond-256", "layouts", "conv", "input channels behind the 256th are lost")
def _(self: Reference, x: Array, weight: Array, *rest: Any, **more: Any) -> Array:
    if weight.shape[1] > 256:
        weight = weight.copy()
        weight[:, 256:] = 0
    return reference.conv(x, weight, *rest, **more)


@mutant("conv-outputs-rest", "layouts", "conv", "output channels behind the last 64 are zero")
def _(self: Reference, x: Array, weight: Array, *rest: Any, **more: Any) -> Array:
    y = reference.conv(x, weight, *rest, **more)
    whole = y.shape[1] // 64 * 64
    if whole:
        y[:, whole:] = 0
    return y


@mutant("conv-kernel-5", "padding", "conv", "5x5 kernels lose their last column")
def _(self: Reference, x: Array, weight: Array, *rest: Any, **more: Any) -> Array:
    if weight.shape[-1] == 5 == weight.shape[-2]:
        weight = weight.copy()
        weight[..., -1] = 0
    return reference.conv(x, weight, *rest, **more)


@mutant("conv-1x1-stride", "stride position", "conv", "strided 1x1 kernels start one place late")
def _(
    self: Reference,
    x: Array,
    weight: Array,
    bias: Any = None,
    stride: Any = 1,
    *rest: Any,
    **more: Any,
) -> Array:
    if weight.shape[-1] == 1 and np.max(stride) > 1:
        x = np.roll(x, -1, axis=-1)
    return reference.conv(x, weight, bias, stride, *rest, **more)  # fmt: skip


@mutant(
    "conv-depth-multiplier", "layouts", "conv", "two outputs of one depthwise channel are swapped"
)
def _(self: Reference, x: Array, weight: Array, *rest: Any, **more: Any) -> Array:
    y = reference.conv(x, weight, *rest, **more)
    if weight.shape[1] == 1 and weight.shape[0] == 2 * x.shape[1]:
        y = y.reshape(len(y), -1, 2, *y.shape[2:])[:, :, ::-1].reshape(y.shape)
    return np.ascontiguousarray(y)


@mutant("linear-square-transposed", "layouts", "linear", "square weights are transposed")
def _(self: Reference, x: Array, weight: Array, *rest: Any, **more: Any) -> Array:
    square = weight.shape[0] == weight.shape[1]
    return reference.linear(x, weight.T if square else weight, *rest, **more)


@mutant("softmax-axis-fixed", "consensus", "softmax", "always over the second axis")
def _(self: Reference, x: Array, axis: int = 1) -> Array:
    return reference.softmax(x, 1)


@mutant("consensus-less-one", "consensus", "consensus", "the sum is divided by T - 1")
def _(self: Reference, logits: Array) -> Array:
    T = logits.shape[2]
    return np.asarray(logits.sum(axis=2) / np.float32(max(T - 1, 1)))


@mutant("consensus-of-eight", "consensus", "consensus", "only the first eight frames count")
def _(self: Reference, logits: Array) -> Array:
    return reference.consensus(logits[:, :, :8])


@mutant("relu-rest", "activations", "relu", "values behind the last whole 16 are left as they are")
def _(self: Reference, x: Array) -> Array:
    y = reference.relu(x)
    whole = x.size // 16 * 16
    y.reshape(-1)[whole:] = x.reshape(-1)[whole:]
    return y


@mutant(
    "bn-sign-folded", "batch-norm constants", "batch_norm", "the folded mean has the wrong sign"
)
def _(
    self: Reference,
    x: Array,
    mean: Array,
    variance: Array,
    scale: Array,
    shift: Array,
    eps: float = 1e-5,
) -> Array:
    return reference.batch_norm(x, -mean, variance, scale, shift, eps)


@mutant("bn-eps-fixed", "batch-norm constants", "batch_norm", "eps is always 1e-5")
def _(
    self: Reference,
    x: Array,
    mean: Array,
    variance: Array,
    scale: Array,
    shift: Array,
    eps: float = 1e-5,
) -> Array:
    return reference.batch_norm(x, mean, variance, scale, shift, 1e-5)


@mutant("max-pool-odd-time", "pooling edge rules", "max_pool", "the last of odd frames is left out")
def _(self: Reference, x: Array, kernel: Any, *rest: Any, **more: Any) -> Array:
    if kernel[0] > 1 and x.shape[2] > 1 and x.shape[2] % 2:
        x = np.concatenate([x[:, :, :-1], x[:, :, -2:-1]], axis=2)
    return reference.max_pool(x, kernel, *rest, **more)


@mutant(
    "max-pool-wide", "pooling edge rules", "max_pool", "columns behind the 32nd are not looked at"
)
def _(self: Reference, x: Array, *rest: Any, **more: Any) -> Array:
    x = x.copy()
    x[..., 32:] = x[..., 31:32]
    return reference.max_pool(x, *rest, **more)


@mutant("global-pool-square", "pooling edge rules", "global_avg_pool", "the divisor is H * H")
def _(self: Reference, x: Array) -> Array:
    return np.asarray(x.sum(axis=(-2, -1)) / x.dtype.type(x.shape[-2] ** 2))


@mutant("network-of-eight", "chunking", "frame_logits", "with 8 frames the last one is the seventh")
def _(self: Reference, x: Array, weights: Any, **a: Any) -> Array:
    y: Array = Structure.frame_logits(self, x, weights, **a)
    if y.shape[2] == 8:
        y[:, :, 7] = y[:, :, 6]
    return y


@mutant("network-beyond-eight", "chunking", "frame_logits", "frames behind the eighth are not run")
def _(self: Reference, x: Array, weights: Any, **a: Any) -> Array:
    y: Array = Structure.frame_logits(self, x, weights, **a)
    y[:, :, 8:] = y[:, :, 7:8]
    return y


@mutant(
    "network-beyond-64-frames", "chunking", "frame_logits", "frames behind the 64th are not run"
)
def _(self: Reference, x: Array, weights: Any, **a: Any) -> Array:
    y: Array = Structure.frame_logits(self, x, weights, **a)
    y[:, :, 64:] = y[:, :, 63:64]
    return y


@mutant("network-of-four-clips", "chunking", "frame_logits", "clips behind the fourth are not run")
def _(self: Reference, x: Array, weights: Any, **a: Any) -> Array:
    y: Array = Structure.frame_logits(self, x, weights, **a)
    y[4:] = y[3:4]
    return y


@mutant("network-wide", "chunking", "frame_logits", "columns behind the 80th are taken as black")
def _(self: Reference, x: Array, weights: Any, **a: Any) -> Array:
    x = x.copy()
    x[..., 80:] = 0
    return Structure.frame_logits(self, x, weights, **a)  # type: ignore[no-any-return]


ASKED = ("temporal_shift", "temporal_shift_adjoint", "conv", "linear", "batch_norm", "relu",
         "relu6", "leaky_relu", "sigmoid", "tanh", "hard_sigmoid", "hard_swish", "attention_mask",
         "non_local", "softmax", "consensus", "max_pool", "avg_pool", "global_avg_pool",
         "residual_block", "network", "frame_logits", "resize", "normalize",
         "preprocess")  # fmt: skip


def everywhere(
    name: str, mistake: str, run: Callable[[Callable[[Array], Any], Array], Any]
) -> None:
    """Every operation makes one mistake with its first input: `run` gets what is right and that."""

    def replaced(operation: str) -> Callable[..., Any]:
        def method(self: Reference, x: Array, *rest: Any, **more: Any) -> Any:
            right = getattr(super(type(self), self), operation)
            return run(lambda v: right(v, *rest, **more), x)

        return method

    CATALOGUE[name] = Mutant(name, "layouts", mistake, {op: replaced(op) for op in ASKED})


def _in_order_of_memory(x: Array) -> Array:
    if x.flags.f_contiguous and not x.flags.c_contiguous:
        return x.ravel("K").reshape(x.shape)
    return x


def _as_much_as_there_are_values(x: Array) -> Array:
    """Windows of one buffer, read on and on as if each had memory of its own."""
    steps = [stride // x.itemsize for stride in x.strides]
    length = 1 + sum((n - 1) * step for n, step in zip(x.shape, steps, strict=True))
    if min(steps, default=0) < 0 or not 0 < length < x.size:
        return x
    flat = np.lib.stride_tricks.as_strided(x, (length,), (x.itemsize,))
    return np.resize(flat, x.shape)


everywhere(
    "memory-fortran",
    "memory in Fortran order is read in C order",
    lambda right, x: right(_in_order_of_memory(x)),
)
everywhere(
    "memory-byte-order",
    "big-endian numbers are read as little-endian ones",
    lambda right, x: right(x if x.dtype.isnative else x.view(x.dtype.newbyteorder("="))),
)
everywhere(
    "memory-overlapping",
    "windows of one buffer are read as if each had memory of its own",
    lambda right, x: right(_as_much_as_there_are_values(x)),
)


def _one_at_least(right: Callable[[Array], Any], x: Array) -> Any:
    y = right(x)
    return y if len(x) else np.zeros((1, *y.shape[1:]), y.dtype)


everywhere("one-clip-at-least", "no clips at all are answered like one of zeros", _one_at_least)
