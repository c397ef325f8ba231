"""The weights of a model as its file had them, kept without the file and nearly without memory."""

import math
import tempfile
import weakref
from collections.abc import Callable, Mapping
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["KeptWeights"]

Weights = Mapping[str, NDArray[np.float32]]

_LARGE = 1 << 22  # bytes of a network that is worth a file


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
        plain = {name: np.asarray(value, np.float32) for name, value in weights.items()}
        self._shapes = {name: value.shape for name, value in plain.items()}
        self._file: Any = None
        if sum(value.nbytes for value in plain.values()) >= _LARGE:
            self._file = _written(plain)
        if self._file is not None:
            weakref.finalize(self, self._file.close)
        held = None if self._file is not None else {n: v.copy() for n, v in plain.items()}
        self._held = held

    def __call__(self) -> Weights:
        """One float32 array per name; those of large networks are read when they are looked at."""
        if self._held is not None:
            return {name: value.copy() for name, value in self._held.items()}
        found, offset = {}, 0
        for name, shape in self._shapes.items():
            count = math.prod(shape)
            found[name] = np.empty(shape, np.float32)
            if count:
                mapped = np.memmap(self._file, np.float32, "c", offset, shape)
                found[name] = mapped.view(np.ndarray)
            offset += 4 * count
        return found

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Go elsewhere with all values."""
        return KeptWeights, ({name: np.array(value) for name, value in self().items()},)


def _written(weights: Weights) -> IO[bytes] | None:
    """A nameless file of the values one behind the other, or None."""
    try:
        file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        for value in weights.values():
            file.write(value.tobytes())
        file.flush()
    except OSError:
        return None
    return file
