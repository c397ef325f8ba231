"""The weights of a model as its file had them, kept without the file and nearly without memory."""

import math
import tempfile
import weakref
from collections.abc import Callable, Mapping
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["KeptWeights", "plain_numbers"]

Array = NDArray[Any]
Weights = Mapping[str, Array]

_LARGE = 1 << 22  # bytes of a network that is worth a file
_ALIGNED = 64


class KeptWeights:
    """Gives the weights of a network again, as often as they are asked for.

    An engine has them in another order, and folded, so a model needs them once more to be saved.
    Large ones wait in a temporary file without a name, that nobody else can open and that is gone
    with the process: what is not looked at needs no memory. Where no such file can be written they
    are kept as they are. What is given may be changed: nobody else sees it.

    >>> kept = KeptWeights({"w": np.ones((2, 3), np.float32)})
    >>> kept()["w"].shape
    (2, 3)
    """

    def __init__(self, weights: Weights) -> None:
        plain = {name: plain_numbers(value) for name, value in weights.items()}
        self._kinds = {name: (value.dtype, value.shape) for name, value in plain.items()}
        self._file: Any = None
        if sum(value.nbytes for value in plain.values()) >= _LARGE:
            self._file = _written(plain)
        if self._file is not None:
            weakref.finalize(self, self._file.close)
        held = None if self._file is not None else {n: v.copy() for n, v in plain.items()}
        self._held = held

    def __call__(self) -> Weights:
        """One array per name; those of large networks are read when they are looked at."""
        if self._held is not None:
            return {name: value.copy() for name, value in self._held.items()}
        found, offset = {}, 0
        for name, (dtype, shape) in self._kinds.items():
            size = math.prod(shape) * dtype.itemsize
            found[name] = np.empty(shape, dtype)
            if size:
                mapped = np.memmap(self._file, dtype, "c", offset, shape)
                found[name] = mapped.view(np.ndarray)
            offset += size + -size % _ALIGNED
        return found

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Go elsewhere with all values."""
        return KeptWeights, ({name: np.array(value) for name, value in self().items()},)


def plain_numbers(values: Array) -> Array:
    """The numbers as a model has them: floats are float32, the whole ones of a layer as they are.

    >>> [plain_numbers(np.zeros(1, kind)).dtype.name for kind in ("float64", "int8")]
    ['float32', 'int8']
    """
    values = np.asarray(values)
    return values if values.dtype.kind in "iu" else values.astype(np.float32, copy=False)


def _written(weights: Weights) -> IO[bytes] | None:
    """A nameless file of the values one behind the other, or None."""
    try:
        file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        for value in weights.values():
            file.write(value.tobytes() + bytes(-value.nbytes % _ALIGNED))
        file.flush()
    except OSError:
        return None
    return file
