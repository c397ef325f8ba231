"""What the cases about quantised layers share: formulas, defaults, steps, and whole numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from conformance.questions.arrays import Array
from conformance.questions.case import Call, Question, Register, Setting, case
from conformance.questions.judges import Values
from conformance.questions.quantised import QuantisedOracle
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
LITERT_ADD = "y = y_zero + floor(((x - x_zero) m_x + (other - other_zero) m_other) / 2^s + 1/2)"
LITERT_MEAN = "y = round(float32(sum of x) factor + (y_zero - count x_zero factor)) in float32"
LITERT_AVERAGE = "y = sum of x in the window / how many of them, halves away from zero"
LITERT_CONVERT = "y = y_zero + floor(((x - x_zero) round(256 x_scale / y_scale) + 128) / 256)"
LITERT_SWISH = "y = x relu6(x + 3) / 6 in whole numbers of 16 bits"
NETWORK = "the layers of OPERATIONS.md, one behind the other"

FORMULAS: Mapping[str, str] = {
    "quantize_linear": QUANTIZE,
    "dequantize_linear": DEQUANTIZE,
    "qlinear_conv": f"{SUMS}; {STEP}",
    "qlinear_matmul": f"{SUMS}; {STEP}",
    "qlinear_add": ADD,
    "qlinear_average_pool": MEAN,
    "qlinear_global_average_pool": MEAN,
    "litert_add": LITERT_ADD,
    "litert_mean": LITERT_MEAN,
    "litert_average_pool": LITERT_AVERAGE,
    "litert_quantize": LITERT_CONVERT,
    "litert_leaky_relu": f"{LITERT_CONVERT}; below x_zero by 256 alpha x_scale / y_scale",
    "litert_hard_swish": LITERT_SWISH,
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
