"""What every engine asks of its inputs before it looks at their shapes."""

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
