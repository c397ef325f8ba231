"""L1: convolution and the linear layer. Exact integers where possible, else the derived bound."""

import numpy as np

from conformance.catalogue._questions import at, both, layer
from conformance.questions.case import Problem, Register, Setting, case
from conformance.questions.data import normal, one_hot_taps, small_integers, sparse_12_bit

CONV = "y[n, o, p] = bias[o] + sum over c, k of w[o, c, k] x[n, c, p * stride + k * dilation - pad]"
LINEAR = "y[n, k, t] = bias[k] + sum over c of w[k, c] x[n, c, t]"


def conv_case(id: str, requirement: str = "MUST", *, defect: str) -> Register:
    """A case about the operation `conv`."""
    return case(f"L1.conv.{id}", requirement, operation="conv", formula=CONV, defect=defect)


@conv_case("taps", defect="the kernel is flipped, transposed, or H and W are swapped")
def taps(s: Setting) -> Problem:
    """One-hot kernels read back every tap of a 3x5 kernel, one output channel per tap."""
    x = {"x": small_integers(s.rng, (2, 1, 2, 6, 9)), "weight": one_hot_taps((1, 3, 5))}
    return layer(s, "conv", x, at(padding=(0, 1, 2)), exact=True)


@conv_case("impulse", defect="a tap is missing, counted twice, or reads beyond the padding")
def impulse(s: Setting) -> Problem:
    """A single 1 in the input prints the kernel into the output."""
    x = np.zeros((2, 1, 3, 7, 8), np.float32)
    x[0, 0, 1, 3, 4] = x[1, 0, 2, 0, 7] = 1
    weight = np.arange(1, 28, dtype=np.float32).reshape(3, 1, 1, 3, 3)
    return layer(s, "conv", {"x": x, "weight": weight}, at(padding=(0, 1, 1)), exact=True)


@conv_case("channels", defect="input channels are summed wrongly, or in and out are swapped")
def channels(s: Setting) -> Problem:
    """A 1x1 convolution of small integers with a bias."""
    x = {
        "x": small_integers(s.rng, (2, 5, 3, 4, 6)),
        "weight": small_integers(s.rng, (7, 5, 1, 1, 1)),
        "bias": small_integers(s.rng, (7,), 20),
    }
    return layer(s, "conv", x, at(), exact=True)


@conv_case("stride", defect="the stride starts at another place, or H and W are swapped")
def stride(s: Setting) -> Problem:
    """Strides 2 and 3 on an odd and an even side, with padding."""
    x = {
        "x": small_integers(s.rng, (2, 3, 2, 9, 8)),
        "weight": small_integers(s.rng, (4, 3, 1, 3, 3)),
    }
    return layer(s, "conv", x, at((1, 2, 3), (0, 1, 1)), exact=True)


@conv_case("stem", defect="the 7x7 stem is padded as TensorFlow's SAME: at the end only")
def stem(s: Setting) -> Problem:
    """The stem of a ResNet: 7x7, stride 2, padding 3 on both sides; no product is negative."""
    x = {
        "x": abs(small_integers(s.rng, (1, 3, 2, 14, 12), 4)),
        "weight": abs(small_integers(s.rng, (5, 3, 1, 7, 7), 4)),
    }
    return layer(s, "conv", x, at((1, 2, 2), (0, 3, 3)), exact=True)


@conv_case("depthwise", defect="groups are ignored, or the channels of a group are mixed up")
def depthwise(s: Setting) -> Problem:
    """One kernel per channel."""
    x = {
        "x": small_integers(s.rng, (2, 6, 2, 5, 7)),
        "weight": small_integers(s.rng, (6, 1, 1, 3, 3)),
    }
    return layer(s, "conv", x, at((1, 2, 2), (0, 1, 1), groups=6), exact=True)


@conv_case("groups", "SHOULD", defect="groups are interleaved instead of consecutive")
def groups(s: Setting) -> Problem:
    """Three groups of channels."""
    x = {
        "x": small_integers(s.rng, (2, 6, 2, 5, 4)),
        "weight": small_integers(s.rng, (9, 2, 1, 3, 3)),
    }
    return layer(s, "conv", x, at(padding=(0, 1, 1), groups=3), exact=True)


@conv_case("dilation", "SHOULD", defect="dilation is ignored or applied to the input")
def dilation(s: Setting) -> Problem:
    """A kernel whose taps lie 2 and 3 apart."""
    x = {
        "x": small_integers(s.rng, (2, 2, 2, 9, 10)),
        "weight": small_integers(s.rng, (3, 2, 1, 3, 3)),
    }
    return layer(s, "conv", x, at(padding=(0, 2, 1), dilation=(1, 2, 3)), exact=True)


@conv_case("temporal", "SHOULD", defect="only frame-wise kernels are possible, or time is flipped")
def temporal(s: Setting) -> Problem:
    """A 3x1x1 kernel over time, every tap read back, and a dense 3x3x3 kernel."""
    line = {"x": small_integers(s.rng, (2, 1, 5, 2, 3)), "weight": one_hot_taps((3, 1, 1))}
    cube = {
        "x": small_integers(s.rng, (2, 2, 4, 5, 3)),
        "weight": small_integers(s.rng, (3, 2, 3, 3, 3)),
    }
    return both(
        layer(s, "conv", line, at(padding=(1, 0, 0)), exact=True),
        layer(s, "conv", cube, at((2, 1, 1), (1, 1, 1)), exact=True),
    )


@conv_case("12-bit", defect="TF32 or bfloat16 multiplies where float32 is declared")
def twelve_bit(s: Setting) -> Problem:
    """Sparse integers of 12 bits times small ones: exact in float32, wrong with fewer bits."""
    x = {
        "x": sparse_12_bit(s.rng, (1, 8, 2, 6, 7)),
        "weight": small_integers(s.rng, (6, 8, 1, 3, 3), 15),
    }
    return layer(s, "conv", x, at(padding=(0, 1, 1)), exact=True)


def noise(s: Setting, channels: int) -> Problem:
    """A strided 3x3 convolution of normal numbers with a bias."""
    x = {
        "x": normal(s.rng, (2, channels, 2, 7, 6)),
        "weight": normal(s.rng, (10, channels, 1, 3, 3), 0.2),
        "bias": normal(s.rng, (10,)),
    }
    return layer(s, "conv", x, at((1, 2, 2), (0, 1, 1)))


@conv_case("bound", defect="sums are made with less precision than declared")
def bound(s: Setting) -> Problem:
    """Normal numbers, 3x3 over 4 channels: 36 products in each sum."""
    return noise(s, 4)


@conv_case("bound-long", "SHOULD", defect="rounding errors pile up instead of cancelling")
def bound_long(s: Setting) -> Problem:
    """Normal numbers, 3x3 over 40 channels: 360 products in each sum."""
    return noise(s, 40)


@conv_case("cancellation", "SHOULD", defect="a bound relative to the result is met by luck alone")
def cancellation(s: Setting) -> Problem:
    """Large products that nearly cancel: the error follows the products, not the sum."""
    x = normal(s.rng, (1, 40, 2, 5, 4)) + np.float32(30)
    weight = normal(s.rng, (6, 40, 1, 1, 1))
    weight -= weight.mean(axis=1, keepdims=True)
    return layer(s, "conv", {"x": x, "weight": weight}, at())


@case(
    "L1.linear.exact",
    operation="linear",
    formula=LINEAR,
    defect="the weight is transposed, or the bias is forgotten",
)
def linear_exact(s: Setting) -> Problem:
    """Small integers, per frame, with a bias."""
    x = {
        "x": small_integers(s.rng, (3, 9, 4)),
        "weight": small_integers(s.rng, (5, 9)),
        "bias": small_integers(s.rng, (5,), 20),
    }
    return layer(s, "linear", x, exact=True)


@case(
    "L1.linear.bound",
    operation="linear",
    formula=LINEAR,
    defect="sums are made with less precision than declared",
)
def linear_bound(s: Setting) -> Problem:
    """Normal numbers over 37 channels."""
    x = {
        "x": normal(s.rng, (2, 37, 5)),
        "weight": normal(s.rng, (11, 37), 0.2),
        "bias": normal(s.rng, (11,)),
    }
    return layer(s, "linear", x)
