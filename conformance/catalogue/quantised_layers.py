"""Q: layers of 8-bit numbers: convolutions, linear layers, sums, means; as `quantised_values`."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from conformance.catalogue._quantised import (
    asked,
    made,
    quantised,
    steps_of,
    vector,
    whole,
)
from conformance.catalogue._questions import at
from conformance.questions.arrays import Array
from conformance.questions.case import Problem, Question, Setting


def convolution(
    s: Setting,
    x: Array,
    weight: Array,
    how: Mapping[str, Any],
    bias: Array | None = None,
    scale: Array | None = None,
) -> Question:
    """A convolution; the weights have the scale 1 and no bias if nothing is said."""
    outputs = len(weight)
    layer = {
        "x": x,
        "weight": weight.astype(np.int8),
        "weight_scale": np.ones(outputs, np.float32) if scale is None else scale,
        "bias": np.zeros(outputs, np.int32) if bias is None else bias.astype(np.int32),
    }
    return asked(s, "qlinear_conv", layer, {**at(), **how})


# Convolution


@quantised("conv.sums", "qlinear_conv", defect="products are summed wrongly, or the bias is scaled")
def conv_sums(s: Setting) -> Problem:
    """Small whole numbers in a 3x3 convolution with a bias, of which every sum can be read off."""
    x, weight = whole(s, (2, 3, 2, 5, 4), near=4), s.rng.integers(-2, 3, (5, 3, 1, 3, 3))
    how = steps_of("x", 0.5, 128) | made(0.5, 121)
    bias = s.rng.integers(-30, 31, 5)
    return Problem((convolution(s, x, weight, how, bias),))


@quantised("conv.padding", "qlinear_conv", defect="the padding holds 0 instead of the zero point")
def conv_padding(s: Setting) -> Problem:
    """A zero point far from 0, and a picture that is nearly all border."""
    x, weight = whole(s, (2, 2, 2, 3, 2)), s.rng.integers(-9, 10, (4, 2, 1, 3, 3))
    questions = []
    for dtype, zero in (("uint8", 93), ("int8", -41)):
        how = steps_of("x", 1, zero) | made(32, 101) | at(padding=(0, 1, 1))
        questions.append(convolution(s, x.view(dtype), weight, how))
    return Problem(tuple(questions))


@quantised("conv.channels", "qlinear_conv", defect="all output channels have the scale of one")
def conv_channels(s: Setting) -> Problem:
    """Every output channel has a scale of its own."""
    x, weight = whole(s, (2, 4, 2, 3, 3)), s.rng.integers(-20, 21, (6, 4, 1, 1, 1))
    scale = vector(0.01, 0.02, 0.005, 0.04, 0.007, 0.03)
    how = steps_of("x", 0.3, 120) | made(1.1, 119)
    return Problem((convolution(s, x, weight, how, s.rng.integers(-99, 99, 6), scale),))


@quantised("conv.ties", "qlinear_conv", defect="halves are not rounded to the even number")
def conv_ties(s: Setting) -> Problem:
    """Sums whose halves are the result, above and below zero, in both types."""
    x = np.arange(96, 160).astype(np.uint8).reshape(1, 1, 2, 8, 4)
    weight = vector(1, -1).reshape(2, 1, 1, 1, 1)
    results = made(0.5, 101), made(0.5, -3, "int8")
    how = steps_of("x", 0.25, 128)
    return Problem(tuple(convolution(s, x, weight, how | y) for y in results))


@quantised("conv.saturates", "qlinear_conv", defect="results beyond the range wrap around")
def conv_saturates(s: Setting) -> Problem:
    """Results beyond both ends, in both types, with a zero point that moves the range."""
    x, weight = whole(s, (2, 4, 2, 3, 5)), s.rng.integers(-30, 31, (4, 4, 1, 1, 1))
    results = made(16, 50), made(16, 23, "int8")
    return Problem(tuple(convolution(s, x, weight, steps_of("x", 1, 110) | y) for y in results))


@quantised("conv.clamp", "qlinear_conv", defect="an activation that is a clamp is left out or late")
def conv_clamp(s: Setting) -> Problem:
    """A ReLU and a ReLU6 as clamps of the result: their ends hold with the zero point in it."""
    x, weight = whole(s, (2, 4, 2, 3, 3)), s.rng.integers(-9, 10, (4, 4, 1, 1, 1))
    results = (
        made(16, 90, low=90),
        made(16, 90, low=90, high=140),
        made(16, -20, "int8", low=-20, high=70),
    )
    return Problem(tuple(convolution(s, x, weight, steps_of("x", 1, 128) | y) for y in results))


@quantised("conv.signs", "qlinear_conv", defect="unsigned numbers are read as signed, or reversed")
def conv_signs(s: Setting) -> Problem:
    """Activations of both types over their entire range, weights down to -128."""
    weight = s.rng.integers(-128, 128, (4, 3, 1, 1, 1))
    weight[0, :, 0, 0, 0] = -128, 127, 1
    questions = []
    for dtype, zero in (("uint8", 3), ("int8", -5)):
        how = steps_of("x", 1, zero) | made(512, 128)
        questions.append(convolution(s, whole(s, (2, 3, 2, 4, 3), dtype), weight, how))
    return Problem(tuple(questions))


@quantised("conv.stride", "qlinear_conv", defect="the stride starts at another place")
def conv_stride(s: Setting) -> Problem:
    """Strides 2 and 3, padded, and taps that lie apart."""
    x, weight = whole(s, (2, 2, 2, 9, 8)), s.rng.integers(-9, 10, (3, 2, 1, 3, 3))
    how = steps_of("x", 1, 77) | made(32, 125)
    strided, dilated = at((1, 2, 3), (0, 1, 1)), at(1, (0, 2, 1), (1, 2, 2))
    return Problem(tuple(convolution(s, x, weight, how | w) for w in (strided, dilated)))


@quantised("conv.depthwise", "qlinear_conv", defect="groups are ignored or mixed up")
def conv_depthwise(s: Setting) -> Problem:
    """One kernel per channel, with stride 1 and 2, and groups of two channels."""
    x = whole(s, (2, 6, 2, 5, 7))
    how = steps_of("x", 1, 60) | made(16, 127)
    single, paired = (s.rng.integers(-9, 10, (6, w, 1, 3, 3)) for w in (1, 2))
    scale = vector(1, 0.5, 2, 1, 0.25, 1.5)
    layers = (
        (single, at(1, (0, 1, 1), groups=6)),
        (single, at((1, 2, 2), (0, 1, 1), groups=6)),
        (paired, at(1, (0, 1, 1), groups=3)),
    )
    bias = s.rng.integers(-99, 99, 6)
    return Problem(tuple(convolution(s, x, w, how | a, bias, scale) for w, a in layers))


@quantised("conv.long", "qlinear_conv", defect="sums or pairs of products are kept in 16 bits")
def conv_long(s: Setting) -> Problem:
    """Sums of the largest products: every pair of them is beyond 16 bits."""
    x = s.rng.integers(230, 256, (1, 64, 2, 3, 3)).astype(np.uint8)
    weight = s.rng.integers(110, 128, (5, 64, 1, 1, 1)) * vector(1, 1, -1, 1, -1).reshape(
        -1, 1, 1, 1, 1
    )
    how = steps_of("x", 1, 0) | made(16384, 128)
    return Problem((convolution(s, x, weight, how),))


@quantised(
    "conv.cancels", "qlinear_conv", defect="sums are kept in float32, and lose whole numbers"
)
def conv_cancels(s: Setting) -> Problem:
    """Sums beyond 2^24, of which the bias leaves a small number."""
    x = np.full((1, 600, 1, 8, 7), 255, np.uint8)
    x[0, 0] = np.arange(100, 156).reshape(1, 8, 7)
    weight = s.rng.integers(120, 128, (4, 600, 1, 1, 1))
    weight[:, 0] = 1
    middle = 128 + 255 * weight[:, 1:].sum((1, 2, 3, 4))
    how = steps_of("x", 1, 0) | made(1, 128)
    return Problem((convolution(s, x, weight, how, -middle),))


@quantised(
    "conv.factor", "qlinear_conv", "SHOULD",
    defect="the scales are not combined as (x_scale * weight_scale) / y_scale",
)  # fmt: skip
def conv_factor(s: Setting) -> Problem:
    """Scales that combine to a half exactly in this order, and to its neighbour in others."""
    pairs = (s.rng.random((400, 2)) + 0.1).astype(np.float32)
    y_scale = pairs[:, 0] * pairs[:, 1] * np.float32(2)
    other = pairs[:, 0] * (pairs[:, 1] / y_scale) != 0.5
    another = (pairs[:, 0] / y_scale) * pairs[:, 1] != 0.5
    x = np.arange(96, 160).astype(np.uint8).reshape(1, 1, 2, 8, 4)
    questions = []
    kinds = other & another, other & ~another, another & ~other
    for i in np.concatenate([np.flatnonzero(kind)[:2] for kind in kinds]):
        how = steps_of("x", pairs[i, 0], 128) | made(y_scale[i], 101)
        weight = np.ones((1, 1, 1, 1, 1))
        questions.append(convolution(s, x, weight, how, scale=pairs[i, 1:]))
    return Problem(tuple(questions))


# Other layers


@quantised("linear.sums", "qlinear_matmul", defect="the weight is transposed, the bias scaled")
def linear_sums(s: Setting) -> Problem:
    """A classifier per frame, with a bias and a scale for every class."""
    layer = {
        "x": whole(s, (3, 9, 4)),
        "weight": s.rng.integers(-30, 31, (5, 9)).astype(np.int8),
        "weight_scale": vector(0.5, 1, 0.25, 0.75, 2),
        "bias": s.rng.integers(-999, 999, 5).astype(np.int32),
    }
    how = steps_of("x", 1, 113)
    results = made(48, 131), made(64, -7, "int8", high=60)
    return Problem(tuple(asked(s, "qlinear_matmul", layer, how | y) for y in results))


@quantised("add.scales", "qlinear_add", "SHOULD", defect="the scales of the operands are mixed up")
def add_scales(s: Setting) -> Problem:
    """Two values with steps of their own; a sum in whole steps of the result is rounded once."""
    pair = {"x": whole(s, (2, 3, 2, 4, 3)), "other": whole(s, (2, 3, 2, 4, 3), "int8")}
    how = steps_of("x", 0.25, 100) | steps_of("other", 0.5, -9)
    results = made(1, 101), made(0.5, 129, low=129), made(1, 3, "int8")
    return Problem(tuple(asked(s, "qlinear_add", pair, how | y) for y in results))


@quantised("average.window", "qlinear_average_pool", "SHOULD", defect="the padding is averaged too")
def average_window(s: Setting) -> Problem:
    """Windows that reach into the padding, which is not counted; then it is, as zeros."""
    x = {"x": whole(s, (2, 3, 2, 5, 6))}
    how = steps_of("x", 0.5, 60) | made(0.25, 31) | {"stride": [1, 2, 1], "kernel": [1, 2, 4]}
    how |= {"padding": [0, 1, 2]}
    return Problem(
        tuple(
            asked(s, "qlinear_average_pool", x, how | {"count_include_pad": counted})
            for counted in (False, True)
        )
    )


@quantised("average.global", "qlinear_global_average_pool", "SHOULD", defect="the mean is cut off")
def average_global(s: Setting) -> Problem:
    """The mean of pictures of eight places, whose halves are exact."""
    x = whole(s, (2, 30, 3, 2, 4))
    results = made(1, 101), made(0.5, -3, "int8")
    how = steps_of("x", 1, 120)
    return Problem(
        tuple(asked(s, "qlinear_global_average_pool", {"x": x}, how | y) for y in results)
    )
