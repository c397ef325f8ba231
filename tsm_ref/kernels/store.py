"""Compiled kernels in files: Numba's cache, with a checksum on every file.

Numba unpickles what it finds. A file that was cut short or changed would end the program at best,
so each is written behind its SHA-256 and read only if that is right; a file that is not counts as
absent, the kernel is compiled again, and its file is replaced. The checksum keeps out accidents,
not people: every file is read only from where nobody else can write, and that is looked at each
time. A file that cannot be written costs one warning.
"""

import functools
import hashlib
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llvmlite import binding as llvm
from numba.core import caching as numba_caching
from numba.core import runtime as numba_runtime

from tsm_ref.kernels import notice
from tsm_ref.system import private
from tsm_ref.system.atomic import replace_file

caching: Any = numba_caching
runtime: Any = numba_runtime

_DIGEST = 32  # bytes of a SHA-256


class _CheckedFiles(caching.IndexDataCacheFile):  # type: ignore[misc]
    """The two files of a function, an index and the code, each behind the SHA-256 of its bytes."""

    def _load_index(self) -> Any:
        try:
            index = self._checked(Path(self._index_path))
        except (OSError, ValueError):  # what is not right is not there
            return {}
        version, stamp, overloads = index
        return overloads if (version, stamp) == (self._version, self._source_stamp) else {}

    def _save_index(self, overloads: Any) -> None:
        self._write(self._index_path, (self._version, self._source_stamp, overloads))

    def _load_data(self, name: str) -> Any:
        try:
            return self._checked(Path(self._data_path(name)))
        except ValueError as error:
            raise OSError(str(error)) from None  # Numba takes this as "was removed"

    def _save_data(self, name: str, data: Any) -> None:
        self._write(self._data_path(name), data)

    def _checked(self, path: Path) -> Any:
        content = private.read_private(path)
        digest, data = content[:_DIGEST], content[_DIGEST:]
        if hashlib.sha256(data).digest() != digest:
            raise ValueError(f"{path} is damaged")
        return pickle.loads(data)

    def _write(self, path: str, value: Any) -> None:
        data: bytes = self._dump(value)
        replace_file(Path(path), hashlib.sha256(data).digest() + data, mode=0o600)


class KernelCache(caching.FunctionCache):  # type: ignore[misc]
    """Numba's cache of a function over checked files; says what it does not find."""

    _warned = False

    def __init__(self, function: Callable[..., Any], place: Path) -> None:
        below = caching._CacheLocator.get_suitable_cache_subpath(function.__code__.co_filename)
        private.make_folder(place / below)  # before Numba does it, with a mode for all
        super().__init__(function)
        self._label = _label(function)
        self._cache_file = _CheckedFiles(
            cache_path=self._cache_path,
            filename_base=self._impl.filename_base,
            source_stamp=self._impl.locator.get_source_stamp(),
        )

    def load_overload(self, signature: Any, target: Any) -> Any:
        """The compiled function, or None; then Numba compiles it.

        Numba's own method first imports whatever Numba can compile, and compiles its runtime:
        a fifth of the start of a program, and 30 MB. What is compiled needs neither.
        """
        _name_runtime()
        found = None
        if self._is_private():
            with self._guard_against_spurious_io_errors():
                found = self._load_overload(signature, target)
        if found is None:
            notice.begin(self._label)
        return found

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Keep a compiled function; a full disk is no reason to stop."""
        notice.end(self._label)
        try:
            if self._is_private():
                super().save_overload(signature, compiled)
        except OSError as error:
            self._warn(str(error))

    def _is_private(self) -> bool:
        found = private.flaw(self._cache_path)
        if found:
            self._warn(found)
        return not found

    def _warn(self, reason: str) -> None:
        if not KernelCache._warned:
            KernelCache._warned = True
            warnings.warn(f"compiled kernels cannot be kept: {reason}", stacklevel=3)


class NoCache(caching.NullCache):  # type: ignore[misc]
    """Finds and keeps nothing, but says so."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self._label = _label(function)

    def load_overload(self, signature: Any, target: Any) -> None:
        """Nothing: Numba compiles."""
        notice.begin(self._label)

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Keep nothing."""
        notice.end(self._label)


@functools.cache
def _name_runtime() -> None:
    """Tell the linker where the functions of Numba's runtime are, by which arrays are passed."""
    for name, place in runtime._nrt_python.c_helpers.items():
        llvm.add_symbol(name if name.startswith("_") else f"NRT_{name}", place)


def _label(function: Callable[..., Any]) -> str:
    return f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
