"""Activations, sums, products and attention as plain loops, to be read after `loops`.

As there: one scalar at a time, for any shape and any float type, unchecked.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.kernels.cache import compiled

Array = NDArray[Any]


def clamp(x: Array, low: float, high: float) -> Array:
    """Limit every value to ``low .. high``: ReLU is (0, inf), ReLU6 is (0, 6). NaN stays NaN.

    >>> clamp(np.array([-1.0, 3.0, 7.0]), 0.0, 6.0)
    array([0., 3., 6.])
    """
    y = np.empty_like(x)
    for i in range(x.size):
        value = x.flat[i]
        if value < low:
            value = low
        if value > high:
            value = high
        y.flat[i] = value
    return y


def tanh(x: Array) -> Array:
    """Take the hyperbolic tangent of every value.

    >>> tanh(np.array([0.0, 1000.0]))
    array([0., 1.])
    """
    y = np.empty_like(x)
    for i in range(x.size):
        y.flat[i] = math.tanh(x.flat[i])
    return y


def sigmoid(x: Array) -> Array:
    """Take ``1 / (1 + exp(-x))`` of every value, without overflow.

    >>> sigmoid(np.array([-1000.0, 0.0]))
    array([0. , 0.5])
    """
    y = np.empty_like(x)
    for i in range(x.size):
        e = math.exp(-abs(x.flat[i]))
        y.flat[i] = (e if x.flat[i] < 0 else 1) / (1 + e)
    return y


def leaky_relu(x: Array, alpha: float) -> Array:
    """Multiply what is negative by `alpha`.

    >>> leaky_relu(np.array([-2.0, 2.0]), 0.25)
    array([-0.5,  2. ])
    """
    y = np.empty_like(x)
    for i in range(x.size):
        y.flat[i] = x.flat[i] * alpha if x.flat[i] < 0 else x.flat[i]
    return y


def hard_sigmoid(x: Array) -> Array:
    """Take ``min(max(x + 3, 0), 6) / 6`` of every value.

    >>> hard_sigmoid(np.array([-4.0, 0.0, 9.0]))
    array([0. , 0.5, 1. ])
    """
    y = np.empty_like(x)
    for i in range(x.size):
        value = x.flat[i] + x.dtype.type(3)
        if value < 0:
            value = x.dtype.type(0)
        if value > 6:
            value = x.dtype.type(6)
        y.flat[i] = value / x.dtype.type(6)
    return y


def hard_swish(x: Array) -> Array:
    """Take ``x * hard_sigmoid(x)`` of every value.

    >>> hard_swish(np.array([-4.0, 1.5, 9.0]))
    array([-0.   ,  1.125,  9.   ])
    """
    y = hard_sigmoid(x)
    for i in range(x.size):
        y.flat[i] *= x.flat[i]
    return y


def add(a: Array, b: Array) -> Array:
    """Add value by value.

    >>> add(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    array([4., 6.])
    """
    y = np.empty_like(a)
    for i in range(a.size):
        y.flat[i] = a.flat[i] + b.flat[i]
    return y


def multiply(a: Array, b: Array) -> Array:
    """Multiply value by value.

    >>> multiply(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    array([3., 8.])
    """
    y = np.empty_like(a)
    for i in range(a.size):
        y.flat[i] = a.flat[i] * b.flat[i]
    return y


def softmax(x: Array) -> Array:
    """Take ``exp(x) / sum(exp(x))`` of every row of `x` (rows, values), without overflow.

    >>> softmax(np.array([[1000.0, 1000.0]]))
    array([[0.5, 0.5]])
    """
    y = np.empty_like(x)
    for row in range(x.shape[0]):
        largest = x[row, 0]
        for i in range(x.shape[1]):
            if not x[row, i] <= largest:  # larger, or NaN
                largest = x[row, i]
        total = x.dtype.type(0)
        for i in range(x.shape[1]):
            y[row, i] = math.exp(x[row, i] - largest)
            total += y[row, i]
        for i in range(x.shape[1]):
            y[row, i] /= total
    return y


def log_softmax(x: Array) -> Array:
    """Take ``x - log(sum(exp(x)))`` of every row of `x` (rows, values), without overflow.

    >>> log_softmax(np.array([[1000.0, 0.0]]))
    array([[    0., -1000.]])
    """
    y = np.empty_like(x)
    for row in range(x.shape[0]):
        largest = x[row, 0]
        for i in range(x.shape[1]):
            if not x[row, i] <= largest:  # larger, or NaN
                largest = x[row, i]
        total = x.dtype.type(0)
        for i in range(x.shape[1]):
            total += math.exp(x[row, i] - largest)
        for i in range(x.shape[1]):
            y[row, i] = x[row, i] - largest - math.log(total)
    return y


def attention_mask(x: Array) -> Array:
    """Scale every frame (N, C, T, H, W) so that its mean is a half (TS-CAN).

    >>> attention_mask(np.array([1.0, 3.0]).reshape(1, 1, 1, 1, 2)).ravel()
    array([0.25, 0.75])
    """
    N, C, T, H, W = x.shape
    y = np.empty_like(x)
    for n in range(N):
        for c in range(C):
            for t in range(T):
                total = x.dtype.type(0)
                for h in range(H):
                    for w in range(W):
                        total += x[n, c, t, h, w]
                factor = x.dtype.type(0.5) / (total / x.dtype.type(H * W))
                for h in range(H):
                    for w in range(W):
                        y[n, c, t, h, w] = x[n, c, t, h, w] * factor
    return y


def non_local(theta: Array, phi: Array, g: Array, dot_product: bool) -> Array:
    """Let every place attend to all places (Wang et al. 2018): (N, C, places) each.

    ``y[n, :, p] = sum over q of f(theta[n, :, p] . phi[n, :, q]) g[n, :, q]``, where `f` is the
    softmax over `q`, or with `dot_product` a division by the number of places.

    >>> one = np.ones((1, 1, 2))
    >>> non_local(one, one, np.array([[[1.0, 3.0]]]), False).ravel()
    array([2., 2.])
    """
    N, depth, places = phi.shape
    y = np.zeros((N, g.shape[1], theta.shape[2]), g.dtype)
    scores = np.empty((1, places), g.dtype)
    for n in range(N):
        for p in range(theta.shape[2]):
            for q in range(places):
                total = g.dtype.type(0)
                for c in range(depth):
                    total += theta[n, c, p] * phi[n, c, q]
                scores[0, q] = total / g.dtype.type(places) if dot_product else total
            found = scores if dot_product else softmax(scores)
            for c in range(g.shape[1]):
                for q in range(places):
                    y[n, c, p] += found[0, q] * g[n, c, q]
    return y


clamp = compiled()(clamp)
tanh = compiled()(tanh)
sigmoid = compiled()(sigmoid)
leaky_relu = compiled()(leaky_relu)
hard_sigmoid = compiled()(hard_sigmoid)
hard_swish = compiled()(hard_swish)
add = compiled()(add)
multiply = compiled()(multiply)
softmax = compiled()(softmax)
log_softmax = compiled()(log_softmax)
attention_mask = compiled()(attention_mask)
non_local = compiled()(non_local)
