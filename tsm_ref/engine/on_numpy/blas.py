"""How many threads NumPy's BLAS library takes while an engine runs.

That number belongs to the library, so to the whole process: it is set for a run and put back after
it. The package threadpoolctl knows all libraries. Without it the OpenBLAS that lies beside NumPy
is asked; any other library then goes by its own environment variable.
"""

import ctypes
import threading
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Self
from weakref import WeakSet

import numpy as np

from tsm_ref.engine.alone import is_alone
from tsm_ref.engine.forking import renew_in_children

__all__ = ["BlasThreads"]


class Library(NamedTuple):
    """A BLAS library that is loaded, by its two functions."""

    get: Callable[[], int]
    set: Callable[[int], Any]


@cache
def libraries() -> Sequence[Library]:
    """The BLAS libraries whose number of threads can be set."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return list(_beside_numpy())
    found = ThreadpoolController().select(user_api="blas").lib_controllers
    return [Library(library.get_num_threads, library.set_num_threads) for library in found]


def _beside_numpy() -> Sequence[Library]:
    """The OpenBLAS of a NumPy wheel; its functions have a prefix and a suffix of their own."""
    here = Path(np.__file__).parent
    found = []
    for folder in (here.parent / "numpy.libs", here / ".dylibs"):
        for path in sorted(folder.glob("*openblas*")):
            library = ctypes.CDLL(str(path))
            for form in (
                "scipy_openblas_{}64_",
                "openblas_{}64_",
                "scipy_openblas_{}",
                "openblas_{}",
            ):
                get, put = (form.format(f"{verb}_num_threads") for verb in ("get", "set"))
                if hasattr(library, put):
                    found.append(Library(getattr(library, get), getattr(library, put)))
                    break
    return found


class _Numbers:
    """The numbers of threads before anybody changed them, and who has changed them."""

    def __init__(self) -> None:
        self.before: list[int] = []
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """In a forked child nobody runs."""
        self.lock = threading.Lock()
        self.holders: WeakSet[BlasThreads] = WeakSet()


class BlasThreads:
    """Holds BLAS to a number of threads inside a ``with`` block.

    Blocks of several threads of Python may overlap: the number is that of the latest, and comes
    back to what it was when the last of them ends.

    >>> with BlasThreads(1):
    ...     product = np.ones((2, 3)) @ np.ones((3, 2))
    """

    def __init__(self, count: int) -> None:
        self.count = count

    def __enter__(self) -> Self:
        with _NUMBERS.lock:
            known = libraries()
            if not len(_NUMBERS.holders):
                _NUMBERS.before = [library.get() for library in known]
            _NUMBERS.holders.add(self)
            _set(known, [1 if is_alone() else self.count] * len(known))
        return self

    def __exit__(self, *error: object) -> None:
        with _NUMBERS.lock:
            _NUMBERS.holders.discard(self)
            if not len(_NUMBERS.holders):
                _set(libraries(), _NUMBERS.before)


def _set(known: Sequence[Library], counts: Sequence[int]) -> None:
    for library, count in zip(known, counts, strict=False):
        if library.get() != count:
            library.set(count)


_NUMBERS = _Numbers()
