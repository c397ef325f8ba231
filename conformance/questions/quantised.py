"""Quantised layers and a small network of them by the rule, over steps that a mutant may replace.

The formulas are those of `tsm_ref.reference.quantised`; here stands how an operation of the suite
is put together from them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from conformance.questions import litert
from conformance.questions.arrays import Array
from conformance.questions.conventions import Conventions
from tsm_ref.reference import quantised, temporal_shift

Steps = Mapping[str, Sequence[Any]]
"""The scale and the zero point of every value of a network, by the layer that makes it."""

OPERATIONS = (
    "quantize_linear",
    "dequantize_linear",
    "qlinear_conv",
    "qlinear_matmul",
    "qlinear_add",
    "qlinear_average_pool",
    "qlinear_global_average_pool",
    "quantised_shift",
    "quantised_network",
    *litert.OPERATIONS,
)
"""The operations on quantised values."""

STEPS_OF = {
    "qlinear_conv": ("conv_integer", "combined_scale", "scaled", "requantize"),
    "qlinear_matmul": ("matmul_integer", "combined_scale", "scaled", "requantize"),
    "qlinear_add": ("sum_in_steps", "requantize"),
    "qlinear_average_pool": ("mean_in_steps", "requantize"),
    "qlinear_global_average_pool": ("mean_in_steps", "requantize"),
    "quantised_shift": ("folds", "shift_by", "filled_with"),
    **litert.STEPS_OF,
}
"""What the answer to an operation is made of, by the names of the methods of `Quantised`."""


class Quantised(litert.LiteRT):
    """The operations on quantised values under a profile; ``folds`` and ``shift_by`` are another's.

    Results are uint8 or int8 as ``dtype`` says.
    """

    folds: Callable[..., Any]
    shift_by: Callable[..., Any]
    conventions: Conventions

    conv_integer = staticmethod(quantised.conv_integer)
    matmul_integer = staticmethod(quantised.matmul_integer)
    combined_scale = staticmethod(quantised.combined_scale)
    scaled = staticmethod(quantised.scaled)
    requantize = staticmethod(quantised.requantize)
    sum_in_steps = staticmethod(quantised.qlinear_add)
    mean_in_steps = staticmethod(quantised.qlinear_average)

    def quantize_linear(self, x: Array, scale: Array, zero_point: Array, dtype: str) -> Array:
        """Reals to quantised values, with one scale or one per channel."""
        return quantised.quantize_linear(x, scale, zero_point, dtype)

    def dequantize_linear(self, x: Array, scale: Array, zero_point: Array) -> Array:
        """Quantised values to reals."""
        return quantised.dequantize_linear(x, scale, zero_point)

    def qlinear_conv(
        self,
        x: Array,
        weight: Array,
        weight_scale: Array,
        bias: Array,
        *,
        x_scale: float,
        x_zero_point: int,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        **y: Any,
    ) -> Array:
        """A convolution of whole numbers, requantised."""
        where = (stride, padding, dilation, groups)
        acc = self.conv_integer(x, weight, bias, x_zero_point, *where)
        return self._finished(acc, x_scale, weight_scale, **y)

    def qlinear_matmul(
        self,
        x: Array,
        weight: Array,
        weight_scale: Array,
        bias: Array,
        *,
        x_scale: float,
        x_zero_point: int,
        **y: Any,
    ) -> Array:
        """A fully connected layer of every frame."""
        acc = self.matmul_integer(x, weight, bias, x_zero_point)
        return self._finished(acc, x_scale, weight_scale, **y)

    def qlinear_add(
        self,
        x: Array,
        other: Array,
        *,
        x_scale: float,
        x_zero_point: int,
        other_scale: float,
        other_zero_point: int,
        y_scale: float,
        **y: Any,
    ) -> Array:
        """The sum of two values with steps of their own."""
        steps = (x_scale, x_zero_point), (other_scale, other_zero_point)
        return self._in_steps(self.sum_in_steps(x, other, *steps, y_scale), **y)

    def qlinear_average_pool(
        self,
        x: Array,
        *,
        x_scale: float,
        x_zero_point: int,
        y_scale: float,
        kernel: Any,
        stride: Any,
        padding: Any = 0,
        count_include_pad: bool = False,
        **y: Any,
    ) -> Array:
        """The mean of every window."""
        how = (kernel, stride, padding, False, count_include_pad)
        return self._in_steps(self.mean_in_steps(x, (x_scale, x_zero_point), y_scale, *how), **y)

    def qlinear_global_average_pool(
        self, x: Array, *, x_scale: float, x_zero_point: int, y_scale: float, **y: Any
    ) -> Array:
        """The mean of every picture."""
        kernel = (1, *x.shape[3:])
        v = self.mean_in_steps(x, (x_scale, x_zero_point), y_scale, kernel)
        return self._in_steps(v[..., 0, 0], **y)

    def quantised_shift(self, x: Array, fold_div: int, zero_point: int) -> Array:
        """The profile's shift; what it fills with zeros is the zero point."""
        fill = self.filled_with(zero_point)
        d = self.folds(x.shape[1], fold_div)
        y = self.shift_by(x.astype(np.float32) - np.float32(fill), d, self.conventions.fill)
        return np.asarray(y + np.float32(fill)).astype(x.dtype)

    def filled_with(self, zero_point: int) -> int:
        """The whole number that stands for zero."""
        return zero_point

    def quantised_network(
        self, x: Array, weights: Mapping[str, Array], *, steps: Steps, fold_div: int
    ) -> Array:
        """A stem, residual blocks with a shift, the mean of the picture, and the classifier."""
        scale, zero_point = np.asarray(steps["x"][0], np.float32), np.asarray(steps["x"][1])
        y = self.quantize_linear(x, scale, zero_point, "uint8")
        y, at = self._layer(y, "stem", "x", weights, steps, stride=(1, 2, 2)), "stem"
        block = 0
        while f"block{block}.conv1.weight" in weights:
            name = f"block{block}"
            z = self.quantised_shift(y, fold_div, steps[at][1])
            z = self._layer(z, f"{name}.conv1", at, weights, steps)
            z = self._layer(z, f"{name}.conv2", f"{name}.conv1", weights, steps, relu=False)
            told = _steps("x", steps[at]) | _steps("other", steps[f"{name}.conv2"])
            y = self.qlinear_add(y, z, **told, **_result(steps[name]))
            at, block = name, block + 1
        y = self.qlinear_global_average_pool(
            y, **_steps("x", steps[at]), **_result(steps["pool"], relu=False)
        )
        named = (weights[f"fc.{role}"] for role in ("weight", "scale", "bias"))
        told = _steps("x", steps["pool"]) | _result(steps["fc"], relu=False)
        return self.qlinear_matmul(y, *named, **told)

    def _layer(
        self,
        x: Array,
        name: str,
        before: str,
        weights: Mapping[str, Array],
        steps: Steps,
        stride: Any = 1,
        relu: bool = True,
    ) -> Array:
        """A convolution that keeps the size, with a ReLU that is a clamp."""
        kernel, scale, bias = (weights[f"{name}.{role}"] for role in ("weight", "scale", "bias"))
        pad = kernel.shape[-1] // 2
        where = {"stride": stride, "padding": (0, pad, pad)}
        told = _steps("x", steps[before]) | _result(steps[name], relu)
        return self.qlinear_conv(x, kernel[:, :, None], scale, bias, **where, **told)

    def _finished(
        self, acc: Array, x_scale: float, weight_scale: Array, *, y_scale: float, **y: Any
    ) -> Array:
        return self._in_steps(
            self.scaled(acc, self.combined_scale(x_scale, weight_scale, y_scale)), **y
        )

    def _in_steps(
        self, v: Array, *, y_zero_point: int, dtype: str, low: int = -128, high: int = 255
    ) -> Array:
        return self.requantize(v, y_zero_point, dtype, low, high)


class QuantisedOracle(Quantised):
    """The operations with the shift of the reference: what every answer has to be."""

    def __init__(self, conventions: Conventions) -> None:
        self.conventions = conventions
        self.folds = conventions.d
        self.shift_by = temporal_shift


def _steps(role: str, steps: Sequence[Any]) -> dict[str, Any]:
    return {f"{role}_scale": steps[0], f"{role}_zero_point": steps[1]}


def _result(steps: Sequence[Any], relu: bool = True) -> dict[str, Any]:
    """The attributes of a result of uint8; a ReLU cuts at the zero point."""
    return _steps("y", steps) | {"dtype": "uint8", "low": steps[1] if relu else 0}
