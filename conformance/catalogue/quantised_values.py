"""Q: reals to whole numbers of 8 bits and back, of which the rule determines every one.

Scales are powers of two where halves are asked for, so that a product lies on a half exactly; zero
points are odd, so that adding one before rounding to even is seen.
"""

import numpy as np

from conformance.catalogue._quantised import asked, quantised, vector, whole
from conformance.questions.case import Problem, Setting
from conformance.questions.data import normal
from tsm_ref.reference.quantised import limits


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
