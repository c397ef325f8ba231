"""Activations applied in place on a block of an output: the last step of a fused convolution."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.ops_table import OPS, Attrs

Array = NDArray[Any]
InPlace = Callable[[Array], None]


def activation(op: str, attrs: Attrs) -> InPlace | None:
    """The function that applies an activation in place; None where there is none to apply.

    >>> block = np.array([-1.0, 7.0])
    >>> activation("Clip", {"min": 0.0, "max": 6.0})(block)
    >>> block
    array([0., 6.])
    """
    if not op:
        return None
    if op == "Clip":
        low, high = attrs["min"], attrs["max"]
        return lambda x: _void(np.clip(x, low, high, out=x))
    if op == "LeakyRelu":
        alpha = OPS[op].value(attrs, "alpha")
        return lambda x: _void(np.multiply(x, alpha, out=x, where=x < 0))
    return _PLAIN[op]


def _void(_: object) -> None:
    """Forget a result."""


def _relu(x: Array) -> None:
    np.maximum(x, 0, out=x)


def _tanh(x: Array) -> None:
    np.tanh(x, out=x)


def _sigmoid(x: Array) -> None:
    """``1 / (1 + exp(-x))``; the exponent is kept where it cannot overflow in the dtype of x."""
    np.maximum(x, -np.floor(np.log(np.finfo(x.dtype).max)), out=x)
    np.negative(x, out=x)
    np.exp(x, out=x)
    x += 1
    np.reciprocal(x, out=x)


def _hard_sigmoid(x: Array) -> None:
    """``clip(x + 3, 0, 6) / 6``."""
    x += 3
    np.clip(x, 0, 6, out=x)
    x /= 6


def _hard_swish(x: Array) -> None:
    """``x * hard_sigmoid(x)``."""
    gate = x.copy()
    _hard_sigmoid(gate)
    x *= gate


_PLAIN: dict[str, InPlace] = {
    "Relu": _relu,
    "Tanh": _tanh,
    "Sigmoid": _sigmoid,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
}
