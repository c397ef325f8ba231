"""Q: quantised layers. Whole numbers of 8 bits, of which the rule determines every one.

Scales are powers of two where halves are asked for, so that a product lies on a half exactly; zero
points are odd, so that adding one before rounding to even is seen.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from conformance.catalogue._questions import fold_channels
from conformance.questions.arrays import Array
from conformance.questions.case import Call, Problem, Question, Register, Setting, case
from conformance.questions.data import normal
from conformance.questions.judges import Values
from conformance.questions.quantised import QuantisedOracle
from conformance.questions.streams import Event, outcome, steps
from tsm_ref.reference.quantised import limits

QUANTIZE = "y = saturate(round(x / scale) + zero_point), halves to the even number"
DEQUANTIZE = "y = (x - zero_point) * scale in float32"
SUMS = (
    "acc = bias[o] + sum of (x - x_zero_point) weight, in whole numbers; the padding adds nothing"
)
STEP = "y = clamp(round(float32(acc) * (x_scale weight_scale / y_scale)) + y_zero_point, low, high)"
ADD = "y = requantize((x - x_zero) x_scale / y_scale + (other - other_zero) other_scale / y_scale)"
MEAN = "y = requantize(sum of (x - x_zero_point) in the window * (x_scale / (y_scale count)))"
SHIFT = "out[n, c, t] = x[n, c, t - d[c]]; the zero point comes in where your profile fills zeros"
NETWORK = "the layers of OPERATIONS.md, one behind the other"

FORMULAS: Mapping[str, str] = {
    "quantize_linear": QUANTIZE,
    "dequantize_linear": DEQUANTIZE,
    "qlinear_conv": f"{SUMS}; {STEP}",
    "qlinear_matmul": f"{SUMS}; {STEP}",
    "qlinear_add": ADD,
    "qlinear_average_pool": MEAN,
    "qlinear_global_average_pool": MEAN,
    "quantised_shift": SHIFT,
    "quantised_network": NETWORK,
    "stream": "stream(x)[t] = y[t] of the causal form on the whole clip",
}

DEFAULTS: Mapping[str, Any] = {
    "low": -128,
    "high": 255,
    "dilation": 1,
    "groups": 1,
    "stride": 1,
    "padding": 0,
    "count_include_pad": False,
}


def quantised(id: str, operation: str, requirement: str = "MUST", *, defect: str) -> Register:
    """A case about an operation on quantised values."""
    needs = ("quantised", "streaming") if operation == "stream" else ("quantised",)
    formula = FORMULAS[operation]
    return case(
        f"Q.{id}", requirement, operation=operation, formula=formula, defect=defect, needs=needs
    )


def asked(
    s: Setting, operation: str, inputs: Mapping[str, Array], attributes: Mapping[str, Any]
) -> Question:
    """One operation by the rule."""
    call = Call(operation, inputs, attributes, DEFAULTS)
    first, named = call.arguments()
    return Question(
        call, Values(getattr(QuantisedOracle(s.conventions), operation)(*first, **named))
    )


def vector(*values: float, dtype: Any = np.float32) -> Array:
    """A few numbers as an array."""
    return np.array(values, dtype)


def steps_of(role: str, scale: float, zero_point: int) -> dict[str, Any]:
    """The attributes of a value: its scale, which float32 can hold, and its zero point."""
    return {f"{role}_scale": float(np.float32(scale)), f"{role}_zero_point": zero_point}


def made(scale: float, zero_point: int, dtype: str = "uint8", **clamp: int) -> dict[str, Any]:
    """The attributes of a result."""
    return {**steps_of("y", scale, zero_point), "dtype": dtype, "low": -128, "high": 255, **clamp}


def whole(s: Setting, shape: Sequence[int], dtype: str = "uint8", near: int = 0) -> Array:
    """Whole numbers of the entire range of a type, or no further than `near` from its middle."""
    least, most = limits(dtype)
    middle = (least + most + 1) // 2
    low, high = (middle - near, middle + near) if near else (least, most)
    return s.rng.integers(low, high + 1, tuple(shape)).astype(dtype)


def at(stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> dict[str, Any]:
    """The attributes of a window, one per axis of T, H, W."""

    def three(value: Any) -> list[int]:
        return [value] * 3 if isinstance(value, int) else list(value)

    where = {"stride": three(stride), "padding": three(padding), "dilation": three(dilation)}
    return where | {"groups": groups}


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


# Reals and whole numbers


@quantised("quantize.ties", "quantize_linear", defect="halves are not rounded to the even number")
def quantize_ties(s: Setting) -> Problem:
    """Halves, below and above zero, in both types, with an odd zero point."""
    x = (np.arange(-40, 40, dtype=np.float32) * np.float32(0.125)).reshape(2, 4, 2, 5, 1)
    inputs = {"x": x, "scale": vector(0.25).reshape(()), "zero_point": np.array(31)}
    types = ("uint8", "int8")
    return Problem(tuple(asked(s, "quantize_linear", inputs, {"dtype": t}) for t in types))


@quantised("quantize.saturates", "quantize_linear", defect="numbers beyond the range wrap around")
def quantize_saturates(s: Setting) -> Problem:
    """Numbers that lie beyond both ends of the range, near it and far from it."""
    x = np.concatenate([np.arange(-400, 400, 13), [-1e30, -7e4, 7e4, 1e30]]).astype(np.float32)
    inputs = {"x": x[:64].reshape(2, 2, 4, 2, 2), "scale": vector(1.0)[0].reshape(())}
    inputs |= {"zero_point": np.array(5)}
    far = inputs | {"x": x[-4:].reshape(1, 2, 2, 1, 1)}
    types = ("uint8", "int8")
    return Problem(
        tuple(asked(s, "quantize_linear", i, {"dtype": t}) for i in (inputs, far) for t in types)
    )


@quantised(
    "quantize.quotient", "quantize_linear", "SHOULD",
    defect="x is multiplied by the reciprocal of the scale, which is rounded",
)  # fmt: skip
def quantize_quotient(s: Setting) -> Problem:
    """Quotients that are a half in float32, where a product with the reciprocal is beside it."""
    scale = (s.rng.random(4000) + 0.1).astype(np.float32)
    x = ((s.rng.integers(-20, 20, 4000) + 0.5) * scale).astype(np.float32)
    product = x * (np.float32(1) / scale)
    differs = np.flatnonzero(np.rint(x / scale) != np.rint(product))[:8]
    questions = []
    for i in differs:
        inputs = {"x": x[i].reshape(1, 1, 1, 1, 1), "scale": np.array(scale[i])}
        inputs["zero_point"] = np.array(101)
        questions.append(asked(s, "quantize_linear", inputs, {"dtype": "uint8"}))
    return Problem(tuple(questions))


@quantised(
    "quantize.channels", "quantize_linear", "SHOULD", defect="one scale is taken for all channels"
)
def quantize_channels(s: Setting) -> Problem:
    """A scale and a zero point for every channel."""
    x = normal(s.rng, (2, 5, 3, 2, 4), 4)
    inputs = {"x": x, "scale": vector(0.5, 0.25, 0.0625, 1, 0.1)}
    inputs["zero_point"] = vector(0, 128, 101, 7, 33, dtype=np.int32)
    return Problem((asked(s, "quantize_linear", inputs, {"dtype": "uint8"}),))


@quantised(
    "dequantize.all", "dequantize_linear", defect="the zero point is ignored or scaled by itself"
)
def dequantize_all(s: Setting) -> Problem:
    """Every number of both types."""
    questions = []
    for dtype, zero in (("uint8", 131), ("int8", -77)):
        least, most = limits(dtype)
        x = np.arange(least, most + 1).astype(dtype).reshape(2, 4, 4, 2, 4)
        inputs = {"x": x, "scale": np.array(np.float32(0.1)), "zero_point": np.array(zero)}
        questions.append(asked(s, "dequantize_linear", inputs, {}))
    return Problem(tuple(questions))


@quantised(
    "dequantize.channels", "dequantize_linear", "SHOULD", defect="one scale is taken for all"
)
def dequantize_channels(s: Setting) -> Problem:
    """A scale and a zero point for every channel."""
    inputs = {"x": whole(s, (2, 3, 4, 2, 3), "int8"), "scale": vector(0.5, 0.1, 3)}
    inputs["zero_point"] = vector(3, 0, -9, dtype=np.int32)
    return Problem((asked(s, "dequantize_linear", inputs, {}),))


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


# The shift


def shifted(s: Setting, x: Array, zero_point: int) -> Question:
    """The testee's own shift of a clip."""
    attributes = {"fold_div": s.conventions.fold_div, "zero_point": zero_point}
    return asked(s, "quantised_shift", {"x": x}, attributes)


@quantised("shift.zero-point", "quantised_shift", defect="0 comes in, and not the zero point")
def shift_zero_point(s: Setting) -> Problem:
    """A clip of which no two frames are alike, with a zero point far from 0, in both types."""
    shape = (2, s.size("channels", fold_channels(s)), s.size("frames", 5))
    x = whole(s, (*shape, s.size("height", 3), s.size("width", 2)))
    return Problem((shifted(s, x, 131), shifted(s, x.view(np.int8), -77)))


@quantised("shift.folds", "quantised_shift", defect="folds are rounded to groups of four channels")
def shift_folds(s: Setting) -> Problem:
    """Folds of 1, 3, 5 and 6 channels, which groups of four channels do not hold."""
    div = s.conventions.fold_div
    shapes = ((1, div * folds + 1, 4, 2, 3) for folds in (1, 3, 5, 6))
    return Problem(tuple(shifted(s, whole(s, shape), 97) for shape in shapes))


# Networks and streams


@quantised("network", "quantised_network", "SHOULD", defect="a layer takes the steps of another")
def network(s: Setting) -> Problem:
    """A stem, two residual blocks with a shift, the mean, and the classifier."""
    inputs, attributes = small_network(s)
    x = {"x": normal(s.rng, (2, 3, 4, 9, 8), 1.5)}
    return Problem((asked(s, "quantised_network", x | inputs, attributes),))


def small_network(s: Setting) -> tuple[dict[str, Array], dict[str, Any]]:
    """The weights of a network, and its scales, which use the range of every value."""
    width = 2 * s.conventions.fold_div + 3
    shapes = {"stem": (width, 3, 3, 3), "fc": (5, width)}
    for block in range(2):
        shapes |= {f"block{block}.conv1": (width, width, 3, 3)}
        shapes |= {f"block{block}.conv2": (width, width, 1, 1)}
    steps: dict[str, list[Any]] = {"x": [0.0234375, 114], "pool": [0.01171875, 20]}
    weights: dict[str, Array] = {}
    for i, (name, shape) in enumerate(shapes.items()):
        inputs = int(np.prod(shape[1:]))
        scale = (s.rng.uniform(0.5, 1.5, shape[0]) / 50 / inputs**0.5).astype(np.float32)
        weights[f"weights/{name}.weight"] = s.rng.integers(-127, 128, shape).astype(np.int8)
        weights[f"weights/{name}.scale"] = scale
        weights[f"weights/{name}.bias"] = s.rng.integers(-3000, 3000, shape[0]).astype(np.int32)
        steps[name] = [float(np.float32(0.03 + 0.002 * i)), 128 if name == "fc" else 11 + 6 * i]
    for block in range(2):
        steps[f"block{block}.conv2"][1] = 120 + block
        steps[f"block{block}"] = [float(np.float32(0.035 + 0.003 * block)), 9 + 8 * block]
    return weights, {"steps": steps, "fold_div": s.conventions.fold_div}


def streamed(
    s: Setting,
    script: list[Event],
    clips: Array,
    weights: Mapping[str, Array],
    attributes: Mapping[str, Any],
) -> Problem:
    """A script, whose answers are those of the causal form on whole clips."""
    named = {name.removeprefix("weights/"): value for name, value in weights.items()}
    oracle = getattr(QuantisedOracle(s.conventions.streaming), attributes["subject"])
    told = {name: value for name, value in attributes.items() if name != "subject"}
    told |= {"weights": named} if weights else {}

    def join(parts: Sequence[tuple[Array, int, int]]) -> Array:
        return np.concatenate([whole[:, :, a:b] for whole, a, b in parts], axis=2)

    expected = outcome(script, lambda x: oracle(x, **told), clips, join)
    call = Call("stream", {"clips": clips, **weights}, {"script": script, **attributes})
    return Problem((Question(call, Values(expected)),))


@quantised(
    "stream.shift", "stream", "SHOULD", defect="the stream begins with 0, not the zero point"
)
def stream_shift(s: Setting) -> Problem:
    """The causal shift of whole numbers, frame by frame and in chunks, with a reset."""
    x = whole(s, (2, 2, fold_channels(s), 6, 3, 2))
    script = [*steps(0, 0, (1, 1, 3, 1)), ["reset", 0], *steps(0, 1, (2, 1))]
    attributes = {"subject": "quantised_shift", "fold_div": s.conventions.fold_div}
    return streamed(s, script, x, {}, attributes | {"zero_point": 131})


@quantised("stream.network", "stream", "SHOULD", defect="the stream differs from the whole clip")
def stream_network(s: Setting) -> Problem:
    """The network of whole numbers, frame by frame and in chunks, with a reset."""
    weights, attributes = small_network(s)
    x = normal(s.rng, (2, 2, 3, 6, 9, 8), 1.5)
    script = [*steps(0, 0, (1, 1, 1, 3)), ["reset", 0], *steps(0, 1, (2, 1, 1))]
    return streamed(s, script, x, weights, {"subject": "quantised_network", **attributes})
