"""What every engine asks of its inputs before it looks at their shapes, and what it may lose."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.errors import GraphError


def real_arrays(inputs: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Return the inputs as arrays in their own types; `GraphError` for what is no real number.

    >>> real_arrays({"x": [1, 2]})
    {'x': array([1, 2])}
    >>> real_arrays({"x": 1j})
    Traceback (most recent call last):
    tsm_ref.errors.GraphError: input 'x' is complex128; real numbers are expected
    """
    arrays = {}
    for name, value in inputs.items():
        try:
            arrays[name] = np.asarray(value)
        except ValueError:
            raise GraphError(f"input {name!r} has rows of unequal lengths") from None
        if arrays[name].dtype.kind not in "fiub":
            raise GraphError(f"input {name!r} is {arrays[name].dtype}; real numbers are expected")
    return arrays


def warn_if_lost(inputs: Mapping[str, NDArray[Any]], outputs: Mapping[str, NDArray[Any]]) -> None:
    """Warn where finite inputs gave outputs that are not: float32 was left on the way.

    Winograd's convolutions add up to a hundred values of their input before they multiply (Lavin
    and Gray 2016, F(4x4, 3x3): rows of 4, 5 and 1), so they leave it for inputs of 3e36 and more,
    where a plain convolution stays within up to 3e38.

    >>> warn_if_lost({"x": np.ones(3)}, {"y": np.ones(2)})
    """
    lost = [name for name, value in outputs.items() if not np.isfinite(value).all()]
    if not lost or not all(np.isfinite(value).all() for value in inputs.values()):
        return
    largest = max(float(np.abs(value).max()) for value in inputs.values() if value.size)
    warnings.warn(
        f"the output {lost[0]!r} is not finite, as values too large for float32 came up on the way "
        f"(an input reaches {largest:.3g}; up to 1e30 is safe in the first layer)",
        RuntimeWarning,
        stacklevel=4,
    )
