"""Convolution, batch norm, linear, softmax, consensus, activations and attention, by formula.

Every function takes a float array of any float dtype and returns the same dtype, computed in that
dtype; float16 alone is computed in float32 and rounded once at the end. Weights may be narrower
than the input, never wider. Axes are (N, C, ...) with any number of axes behind the channels.
"""

from collections.abc import Sequence
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from tsm_ref.reference._arrays import (
    Array,
    floats,
    integer,
    like,
    one_of,
    parameter,
    per_channel,
    working,
)
from tsm_ref.reference._windows import Padding, Size, windows

Mode = Literal["embedded_gaussian", "gaussian", "dot_product"]


def conv(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Array:
    """Cross-correlation over every axis behind the channels, zero-padded, in groups.

    y[n, o, p] = bias[o] + sum over c, k of weight[o, c, k] x[n, g(o) C / groups + c, p'] with
    p' = p * stride + k * dilation - before, and g(o) the group that output o belongs to.

    Shapes: x (N, C, T, H, W), weight (O, C / groups, kT, kH, kW), bias (O,) ->
    (N, O, T', H', W'); one, two or more axes in place of T, H, W work alike. `stride` and
    `dilation` are an integer or one per axis; `padding` too, or (before, after) per axis.
    Errors: ValueError for integers, shapes that do not match, a kernel larger than the input.
    Source: the convolution of every deep-learning framework; no kernel flip.

    >>> x = np.arange(6.0).reshape(1, 1, 6)
    >>> conv(x, np.array([[[1.0, 10.0, 100.0]]]), padding=1, stride=2)
    array([[[100., 321., 543.]]])
    """
    x = floats(x, rank=3)
    weight = floats(weight, "weight", rank=3)
    groups = integer(groups, "groups", 1)
    n, channels, *size = x.shape
    outputs, width, *kernel = weight.shape
    if channels % groups or outputs % groups:
        raise ValueError(
            f"`groups` (={groups}) must divide the {channels} input "
            f"and the {outputs} output channels"
        )
    if width * groups != channels or len(kernel) != len(size):
        raise ValueError(
            f"`weight` has shape {weight.shape}; ({outputs}, {channels // groups}) and "
            f"{len(size)} kernel axes are needed for `x` of shape {x.shape}"
        )
    weight = parameter(weight, "weight", x.dtype, weight.shape)
    where = windows(tuple(size), kernel, stride, padding, dilation)
    by_group = weight.reshape(groups, outputs // groups, width, *kernel)
    places = prod(where.out)
    y = np.zeros((n, groups, outputs // groups, places), weight.dtype)
    for tap, read in where.taps(where.pad(working(x), 0)):
        at_tap: Any = (..., *tap)
        y += by_group[at_tap] @ read.reshape(n, groups, width, places)
    y = y.reshape(n, outputs, *where.out)
    if bias is not None:
        y += per_channel(parameter(bias, "bias", x.dtype, (outputs,)), y)
    return like(y, x)


def batch_norm(
    x: ArrayLike,
    mean: ArrayLike,
    variance: ArrayLike,
    scale: ArrayLike,
    shift: ArrayLike,
    eps: float = 1e-5,
) -> Array:
    """Batch normalisation with stored statistics, as at inference.

    y[n, c] = (x[n, c] - mean[c]) / sqrt(variance[c] + eps) * scale[c] + shift[c].

    Shapes: x (N, C, ...), the four vectors (C,) -> like x.
    Errors: ValueError for integers, shapes that do not match, or variance + eps <= 0.
    Source: Ioffe, Szegedy 2015, algorithm 2.

    >>> batch_norm(np.array([[5.0], [9.0]]), [5.0], [4.0], [3.0], [1.0], eps=0.0)
    array([[1.],
           [7.]])
    """
    x = floats(x, rank=2)
    named = {"mean": mean, "variance": variance, "scale": scale, "shift": shift}
    m, v, a, b = (parameter(p, name, x.dtype, x.shape[1:2]) for name, p in named.items())
    v = v + v.dtype.type(eps)
    for channel in np.flatnonzero(~(v > 0))[:1]:
        raise ValueError(f"`variance` + eps (={v[channel]} at channel {channel}) must be positive")
    y = (working(x) - per_channel(m, x)) * per_channel(a / np.sqrt(v), x) + per_channel(b, x)
    return like(y, x)


def linear(x: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None) -> Array:
    """A fully connected layer on the channels, the same for every frame and place.

    y[n, k, ...] = bias[k] + sum over c of weight[k, c] x[n, c, ...].

    Shapes: x (N, C) or (N, C, T, ...), weight (K, C), bias (K,) -> (N, K) or (N, K, T, ...).
    Errors: ValueError for integers or shapes that do not match.

    >>> linear(np.array([[1.0, 2.0]]), [[3.0, 4.0], [5.0, 6.0], [7.0, 8.0]], [0.5, 0.0, 0.0])
    array([[11.5, 17. , 23. ]])
    """
    x = floats(x, rank=2)
    outputs = np.shape(weight)[:1]
    weight = parameter(weight, "weight", x.dtype, (*outputs, x.shape[1]))
    n, channels, *behind = x.shape
    y = weight @ working(x).reshape(n, channels, prod(behind))
    y = y.reshape(n, *outputs, *behind)
    if bias is not None:
        y = y + per_channel(parameter(bias, "bias", x.dtype, outputs), y)
    return like(y, x)


def softmax(x: ArrayLike, axis: int = 1) -> Array:
    """Positive numbers that sum to one along an axis, in the proportions of the exponentials.

    y_i = exp(x_i - max x) / sum over j of exp(x_j - max x); the maximum only prevents overflow.

    Shapes: any -> the same. Errors: ValueError for integers or an axis that x does not have.

    >>> softmax(np.array([[1000.0, 1000.0, 0.0]]))
    array([[0.5, 0.5, 0. ]])
    """
    x = floats(x)
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(f"`axis` (={axis}) does not exist in an `x` of shape {x.shape}")
    e = np.exp(working(x) - working(x).max(axis=axis, keepdims=True))
    return like(e / e.sum(axis=axis, keepdims=True), x)


def log_softmax(x: ArrayLike, axis: int = 1) -> Array:
    """The logarithm of `softmax`, which never is one of zero.

    y_i = x_i - max x - log(sum over j of exp(x_j - max x)).

    Shapes: any -> the same. Errors: ValueError for integers or an axis that x does not have.

    >>> log_softmax(np.array([[1000.0, 0.0]]))
    array([[    0., -1000.]])
    """
    x = floats(x)
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(f"`axis` (={axis}) does not exist in an `x` of shape {x.shape}")
    below = working(x) - working(x).max(axis=axis, keepdims=True)
    return like(below - np.log(np.exp(below).sum(axis=axis, keepdims=True)), x)


def consensus(logits: ArrayLike, over: str = "mean") -> Array:
    """The prediction for a clip: the mean of the predictions for its frames.

    y[n, k] = 1 / T * sum over t of logits[n, k, t]. Some networks take the largest of the frames
    instead, ``over="max"``, or the last one, ``over="last"``.

    Shapes: logits (N, K, T) -> (N, K).
    Errors: ValueError for integers, another rank, T = 0, another word.
    Source: Wang et al. 2016 (TSN), the average segmental consensus; Lin et al. 2019, section 4.

    >>> consensus(np.array([[[1.0, 2.0, 6.0], [0.0, 0.0, 3.0]]]))
    array([[3., 1.]])
    """
    logits = floats(logits, "logits")
    if logits.ndim != 3 or logits.shape[2] == 0:
        raise ValueError(f"`logits` has shape {logits.shape}; (N, K, T) with T > 0 is needed")
    if over not in ("mean", "max", "last"):
        raise ValueError(f"`over` (={over!r}) must be 'mean', 'max' or 'last'")
    if over == "last":
        return like(logits[:, :, -1], logits)
    wide = working(logits)
    return like(wide.mean(axis=2) if over == "mean" else wide.max(axis=2), logits)


def relu(x: ArrayLike) -> Array:
    """max(x, 0). Shapes: any -> the same. Errors: ValueError for integers.

    >>> relu(np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    x = floats(x)
    return like(np.maximum(x, x.dtype.type(0)), x)


def relu6(x: ArrayLike) -> Array:
    """min(max(x, 0), 6), as in MobileNetV2. Shapes: any -> the same. Errors: as `relu`.

    >>> relu6(np.array([-1.0, 2.0, 7.0]))
    array([0., 2., 6.])
    """
    x = floats(x)
    return like(np.minimum(relu(x), x.dtype.type(6)), x)


def leaky_relu(x: ArrayLike, slope: float = 0.01) -> Array:
    """Keep x where x > 0, take slope * x elsewhere. Shapes: any -> the same. Errors: as `relu`.

    >>> leaky_relu(np.array([-1.0, 2.0]), slope=0.5)
    array([-0.5,  2. ])
    """
    x = floats(x)
    w = working(x)
    return like(np.where(w > 0, w, w * w.dtype.type(slope)), x)


def hard_sigmoid(x: ArrayLike, alpha: float = 1 / 6, beta: float = 0.5) -> Array:
    """min(max(alpha x + beta, 0), 1). Shapes: any -> the same. Errors: as `relu`.

    Source: ONNX HardSigmoid; 1/6 is the slope of MobileNetV3 and PyTorch (ONNX alone means 0.2).

    >>> hard_sigmoid(np.array([-4.0, 0.0, 1.5, 3.0]))
    array([0.  , 0.5 , 0.75, 1.  ])
    """
    x = floats(x)
    w = working(x)
    number = w.dtype.type
    y = np.clip(w * number(alpha) + number(beta), number(0), number(1))
    return like(y, x)


def hard_swish(x: ArrayLike) -> Array:
    """The product x * hard_sigmoid(x), slope 1/6. Shapes: any -> the same. Errors: as `relu`.

    Source: Howard et al. 2019 (MobileNetV3), section 5.2.

    >>> hard_swish(np.array([-1.5, 1.5, 3.0]))
    array([-0.375,  1.125,  3.   ])
    """
    x = floats(x)
    return like(working(x) * hard_sigmoid(working(x)), x)


def tanh(x: ArrayLike) -> Array:
    """The hyperbolic tangent. Shapes: any -> the same. Errors: as `relu`.

    >>> tanh(np.array([0.0, 1000.0]))
    array([0., 1.])
    """
    x = floats(x)
    return like(np.tanh(working(x)), x)


def sigmoid(x: ArrayLike) -> Array:
    """1 / (1 + exp(-x)), without overflow. Shapes: any -> the same. Errors: as `relu`.

    For x < 0 the equal exp(x) / (1 + exp(x)) is computed, so that small values keep all digits.

    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    x = floats(x)
    e = np.exp(-np.abs(working(x)))
    return like(np.where(x < 0, e, e.dtype.type(1)) / (1 + e), x)


def frame_tuple(x: ArrayLike, frames: Sequence[int]) -> Array:
    """The features of some frames, one frame's behind the other's, as temporal relations take them.

    y[n, i C + c, 0] = x[n, c, frames[i]].

    Shapes: x (N, C, T) -> (N, k C, 1) for k frames. Errors: ValueError for integers, no frame, and
    frames that are not in x.
    Source: Zhou, Andonian, Oliva, Torralba 2018 (TRN), equation 1: the input of g.

    >>> frame_tuple(np.array([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]), (0, 2)).ravel()
    array([1., 4., 3., 6.])
    """
    x = floats(x, rank=3)
    if x.ndim != 3 or not frames or not all(0 <= frame < x.shape[2] for frame in frames):
        raise ValueError(f"`frames` (={tuple(frames)}) must be frames of `x`, which is {x.shape}")
    chosen = x[:, :, list(frames)].swapaxes(1, 2)
    return np.ascontiguousarray(chosen).reshape(x.shape[0], -1, 1)


def attention_mask(m: ArrayLike) -> Array:
    """The TS-CAN mask: a sigmoid map scaled so that its mean over every frame is one half.

    y = 0.5 m / mean over h, w of m.

    Shapes: m (..., H, W), for example (N, 1, T, H, W), the output of a sigmoid -> the same.
    Errors: ValueError for integers, fewer than 2 axes, or no pixels.
    Source: Chen, McDuff 2018 (DeepPhys), equation 6: H W m / (2 ||m||_1); Liu et al. 2020.

    >>> attention_mask(np.array([[0.2, 0.4], [0.6, 0.8]]))
    array([[0.2, 0.4],
           [0.6, 0.8]])
    """
    m = floats(m, "m", rank=2)
    if 0 in m.shape[-2:]:
        raise ValueError(f"`m` has shape {m.shape}; at least one pixel is needed")
    w = working(m)
    y = w / w.mean(axis=(-2, -1), keepdims=True) * w.dtype.type(0.5)
    return like(y, m)


def non_local(
    theta: ArrayLike, phi: ArrayLike, g: ArrayLike, mode: Mode = "embedded_gaussian"
) -> Array:
    """Every place of a clip as an average of all places, weighted by how alike they are.

    y_i = sum over j of w_ij g_j; w_i = softmax over j of theta_i . phi_j, without 1 / sqrt(C'), or
    w_ij = theta_i . phi_j / J for "dot_product". "gaussian" is the same formula as
    "embedded_gaussian", on the features themselves instead of their embeddings.

    Shapes: theta (N, C', T, H, W), phi (N, C', T, h, w) and g (N, C", T, h, w), possibly pooled
    -> (N, C", T, H, W). Errors: ValueError for integers, another mode, shapes that do not match.
    Source: Wang, Girshick, Gupta, He 2018, equations 1-4.

    >>> theta = np.array([[[0.0, 9.0]]]); phi = np.array([[[-99.0, 99.0]]])
    >>> non_local(theta, phi, np.array([[[2.0, 4.0]]]))
    array([[[3., 4.]]])
    """
    theta, phi, g = floats(theta, "theta", 3), floats(phi, "phi", 3), floats(g, "g", 3)
    one_of(mode, "mode", ("embedded_gaussian", "gaussian", "dot_product"))
    phi = parameter(phi, "phi", theta.dtype, (*theta.shape[:2], *phi.shape[2:]))
    g = parameter(g, "g", theta.dtype, (*theta.shape[:1], *g.shape[1:2], *phi.shape[2:]))
    scores = _places(working(theta)).swapaxes(1, 2) @ _places(phi)
    if mode == "dot_product":
        weights = scores / scores.dtype.type(scores.shape[2])
    else:
        weights = softmax(scores, axis=2)
    y = _places(g) @ weights.swapaxes(1, 2)
    return like(y.reshape(*g.shape[:2], *theta.shape[2:]), theta)


def _places(x: Array) -> Array:
    """(N, C, T, H, W) as (N, C, T * H * W): all places of a clip in a row."""
    return x.reshape(*x.shape[:2], prod(x.shape[2:]))
