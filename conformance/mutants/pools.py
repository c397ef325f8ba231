"""Mistakes in pooling: the padding, the stride, the overhang, the divisor, the axes."""

from typing import Any

import numpy as np

from conformance.mutants.base import Catalogue
from conformance.questions.arrays import Array
from conformance.testees.reference import Reference
from tsm_ref import reference

CATALOGUE = Catalogue()
mutant = CATALOGUE.mutant


@mutant("max-pool-zero", "pooling edge rules", "max_pool", "the padding is zero and may win")
def _(
    self: Reference, x: Array, kernel: Any, stride: Any, padding: Any = (0, 0, 0), **more: Any
) -> Array:
    sides = [(0, 0), (0, 0), *((p, p) for p in padding)]
    return reference.max_pool(np.pad(x, sides), kernel, stride, 0, **more)


@mutant("max-pool-stride", "pooling edge rules", "max_pool", "strides of H and W are exchanged")
def _(self: Reference, x: Array, kernel: Any, stride: Any, *rest: Any, **more: Any) -> Array:
    return reference.max_pool(x, kernel, (stride[0], stride[2], stride[1]), *rest, **more)


@mutant("max-pool-floor", "pooling edge rules", "max_pool", "an overhanging window is dropped")
def _(self: Reference, x: Array, kernel: Any, stride: Any, padding: Any = 0, **more: Any) -> Array:
    return reference.max_pool(x, kernel, stride, padding)


@mutant("max-pool-unpadded", "pooling edge rules", "max_pool", "the window starts inside")
def _(self: Reference, x: Array, kernel: Any, stride: Any, padding: Any = 0, **more: Any) -> Array:
    return reference.max_pool(x, kernel, stride, 0, **more)


@mutant("max-pool-time", "pooling edge rules", "max_pool", "time is pooled one frame late")
def _(self: Reference, x: Array, kernel: Any, *rest: Any, **more: Any) -> Array:
    return reference.max_pool(np.roll(x, 1, 2) if kernel[0] > 1 else x, kernel, *rest, **more)


@mutant("avg-pool-padding", "pooling edge rules", "avg_pool", "padding always counts")
def _(self: Reference, x: Array, kernel: Any, stride: Any, padding: Any = 0, **more: Any) -> Array:
    return reference.avg_pool(x, kernel, stride, padding, more.get("ceil_mode", False), True)


@mutant("avg-pool-overhang", "pooling edge rules", "avg_pool", "an overhang counts in the divisor")
def _(self: Reference, x: Array, kernel: Any, stride: Any, padding: Any = 0, **more: Any) -> Array:
    if not more.get("ceil_mode"):
        return reference.avg_pool(x, kernel, stride, padding, **more)
    sides = [(0, 0)] * 2 + [(0, -n % k) for n, k in zip(x.shape[2:], kernel, strict=True)]
    return reference.avg_pool(np.pad(x, sides), kernel, stride)


@mutant("avg-pool-is-max", "pooling edge rules", "avg_pool", "the maximum stands in for the mean")
def _(self: Reference, x: Array, kernel: Any, stride: Any, padding: Any = 0, **more: Any) -> Array:
    return reference.max_pool(x, kernel, stride, padding, 1, more.get("ceil_mode", False))


@mutant("global-pool-time", "pooling edge rules", "global_avg_pool", "time is averaged too")
def _(self: Reference, x: Array) -> Array:
    y = reference.global_avg_pool(x)
    return np.broadcast_to(y.mean(axis=2, keepdims=True), y.shape).copy()


@mutant(
    "global-pool-sum", "pooling edge rules", "global_avg_pool", "the sum stands in for the mean"
)
def _(self: Reference, x: Array) -> Array:
    return np.asarray(x.sum(axis=(-2, -1)))
