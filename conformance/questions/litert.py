"""What LiteRT rounds by rules of its own, over steps that a mutant may replace.

The formulas are those of `tsm_ref.reference.litert`; its convolutions and matrix products follow
the rule of all other operations on quantised values.
"""

from typing import Any

import numpy as np

from conformance.questions.arrays import Array
from tsm_ref.reference import litert
from tsm_ref.reference.quantised import limits

OPERATIONS = (
    "litert_add",
    "litert_mean",
    "litert_average_pool",
    "litert_quantize",
    "litert_leaky_relu",
    "litert_hard_swish",
)
"""The operations of LiteRT."""

STEPS_OF = {
    "litert_add": ("litert_sum",),
    "litert_mean": ("litert_sums",),
    "litert_average_pool": ("litert_window",),
    "litert_quantize": ("litert_convert", "litert_rescale"),
    "litert_leaky_relu": ("litert_slopes",),
    "litert_hard_swish": ("litert_swish",),
}
"""What the answer to an operation is made of, by the names of the methods of `LiteRT`."""

Steps = tuple[float, int]


class LiteRT:
    """The operations; results are uint8 or int8 as ``dtype`` says."""

    litert_sum = staticmethod(litert.xnnpack_add)
    litert_sums = staticmethod(litert.xnnpack_mean)
    litert_window = staticmethod(litert.tflite_mean)
    litert_convert = staticmethod(litert.xnnpack_convert)
    litert_rescale = staticmethod(litert.tflite_rescale)
    litert_slopes = staticmethod(litert.xnnpack_leaky_relu)
    litert_swish = staticmethod(litert.tflite_hard_swish)

    def litert_add(self, x: Array, other: Array, **how: Any) -> Array:
        """The sum of two values with steps of their own (ADD)."""
        steps = (_steps(role, how) for role in ("x", "other", "y"))
        return _within(self.litert_sum(x, other, *steps), **how)

    def litert_mean(self, x: Array, **how: Any) -> Array:
        """The mean of every picture (MEAN)."""
        v = self.litert_sums(x, _steps("x", how), _steps("y", how), (1, *x.shape[3:]))
        return _within(np.rint(v)[..., 0, 0], **how)

    def litert_average_pool(
        self, x: Array, *, kernel: Any, stride: Any, padding: Any = 0, **how: Any
    ) -> Array:
        """The mean of every window, in the steps of x (AVERAGE_POOL_2D)."""
        return _within(self.litert_window(x, kernel, stride, padding), **how)

    def litert_quantize(self, x: Array, **how: Any) -> Array:
        """Values in other steps (QUANTIZE): by XNNPACK where it knows their ratio."""
        steps = _steps("x", how), _steps("y", how)
        near = litert.converts(steps[0][0], steps[1][0])
        return _within((self.litert_convert if near else self.litert_rescale)(x, *steps), **how)

    def litert_leaky_relu(self, x: Array, *, alpha: float, **how: Any) -> Array:
        """Values in other steps, times `alpha` below zero (LEAKY_RELU)."""
        return _within(self.litert_slopes(x, _steps("x", how), _steps("y", how), alpha), **how)

    def litert_hard_swish(self, x: Array, **how: Any) -> Array:
        """``x relu6(x + 3) / 6`` (HARD_SWISH)."""
        return _within(self.litert_swish(x, _steps("x", how), _steps("y", how)), **how)


def _steps(role: str, how: dict[str, Any]) -> Steps:
    return how[f"{role}_scale"], how[f"{role}_zero_point"]


def _within(v: Array, *, dtype: str, low: int = -128, high: int = 255, **how: Any) -> Array:
    """Whole numbers, with their zero point, cut to a range and to that of their type."""
    least, most = limits(dtype)
    return np.clip(v, max(low, least), min(high, most)).astype(dtype)
