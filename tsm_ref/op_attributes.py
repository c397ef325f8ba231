"""The attributes of operations: what each may hold, in words for people and as a predicate.

A file's attributes are checked against these before a graph is made of them. Spatial ones list T, H
and W in that order; ``pads`` lists the three begins, then the three ends.
"""

from collections.abc import Callable, Mapping
from typing import Any

from tsm_ref.op_rules import RULES

ACTIVATIONS = ("Relu", "Clip", "LeakyRelu", "HardSwish", "HardSigmoid", "Tanh", "Sigmoid")
"""The ops that a `FusedConv` can apply to its output."""

INTEGERS = ("uint8", "int8")
"""The types of quantised values."""

REAL = ("float32",)
"""The type of real values."""


def _is_int(value: Any, least: int) -> bool:
    return type(value) is int and least <= value < 2**31


def _ints(length: int, least: int) -> Callable[[Any], bool]:
    """A predicate: a tuple of that many integers (0: of any length), none below `least`."""
    return lambda value: (
        isinstance(value, tuple)
        and len(value) == (length or len(value))
        and all(_is_int(v, least) for v in value)
    )


def _one_of(*choices: Any) -> tuple[str, Callable[[Any], bool]]:
    return f"one of {choices}", lambda value: type(value) is type(choices[0]) and value in choices


_LARGEST = 3.4028234663852886e38
_NUMBER = (
    "a number that float32 can hold",
    lambda v: type(v) in (int, float) and -_LARGEST <= v <= _LARGEST,
)
_FLAG = _one_of(True, False)
_SCALE = (
    "a positive number of float32, none that is subnormal",
    lambda v: type(v) is float and 1.1754943508222875e-38 <= v <= _LARGEST,
)
_BYTE = ("a whole number of uint8 or int8", lambda v: _is_int(v, -128) and v < 256)
_SIZES = ("three positive integers (T, H, W)", _ints(3, 1))

ATTRIBUTES: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "strides": _SIZES,
    "dilations": _SIZES,
    "kernel_shape": _SIZES,
    "pads": ("six integers of 0 or more (T, H, W begins, then ends)", _ints(6, 0)),
    "group": ("a positive integer", lambda v: _is_int(v, 1)),
    "segment": ("an integer of 0 or more", lambda v: _is_int(v, 0)),
    "axis": ("an axis", lambda v: _is_int(v, -5) and v < 5),
    "axes": ("a list of axes", _ints(0, 0)),
    "frames": ("a list of frames", _ints(0, 0)),
    "d": ("one integer per channel", _ints(0, -(2**31))),
    "dh": ("one integer per channel", _ints(0, -(2**31))),
    "dw": ("one integer per channel", _ints(0, -(2**31))),
    "fill": _one_of("zero", "replicate", "circular"),
    "before": ("a number of frames of 0 or more", lambda v: _is_int(v, 0)),
    "past": _one_of("zero", "replicate", "lowest"),
    "order": _one_of("CHW", "HWC"),
    "over": _one_of("mean", "max", "last"),
    "mode": _one_of("embedded_gaussian", "gaussian", "dot_product"),
    "activation": _one_of("", *ACTIVATIONS),
    "ceil_mode": _FLAG,
    "count_include_pad": _FLAG,
    "epsilon": _NUMBER,
    "alpha": _NUMBER,
    "min": _NUMBER,
    "max": _NUMBER,
    "dtype": _one_of(*INTEGERS, *REAL),
    "precision": _one_of("float32", "bfloat16"),
    "rule": _one_of(*RULES),
    **dict.fromkeys(("x_scale", "other_scale", "y_scale"), _SCALE),
    **dict.fromkeys(("x_zero_point", "other_zero_point", "y_zero_point", "low", "high"), _BYTE),
}
"""What every attribute may hold, in words and as a predicate."""
