"""The weights of a model as its file had them, kept without the file and nearly without memory."""

import itertools
import math
import tempfile
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping
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
        sizes = (value.nbytes + -value.nbytes % _ALIGNED for value in plain.values())
        self._offsets = dict(zip(plain, itertools.accumulate(sizes, initial=0), strict=False))
        self._file: Any = None
        if sum(value.nbytes for value in plain.values()) >= _LARGE:
            self._file = _written(plain)
        if self._file is not None:
            weakref.finalize(self, self._file.close)
        held = None if self._file is not None else {n: v.copy() for n, v in plain.items()}
        self._held = held

    def __call__(self) -> Weights:
        """One array per name, made when it is looked at, each time anew."""
        return _Reading(self._kinds, self._read)

    def _read(self, name: str) -> Array:
        if self._held is not None:
            return self._held[name].copy()
        dtype, shape = self._kinds[name]
        if not math.prod(shape):
            return np.empty(shape, dtype)
        return np.memmap(self._file, dtype, "c", self._offsets[name], shape).view(np.ndarray)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Go elsewhere with all values."""
        return KeptWeights, ({name: np.array(value) for name, value in self().items()},)


class _Reading(Mapping[str, Array]):
    """Names, and what reads the value of one; nothing is kept."""

    def __init__(self, names: Collection[str], read: Callable[[str], Array]) -> None:
        self._names, self._read = names, read

    def __getitem__(self, name: str) -> Array:
        if name not in self._names:
            raise KeyError(name)
        return self._read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


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
