"""Where compiled kernels are kept between runs, and the decorator that compiles them.

Numba notices a change in the file of a compiled function, but not in the files of the functions
it calls. So the folder is named after a hash of all the sources of this package, of the versions
of Numba, llvmlite and NumPy, and of the processor and the units that are compiled for: another
version of anything is another folder. Each file is written under a temporary name and renamed, so
two processes may fill the folder at once. No other user can write there, nor into the folders
above.
"""

import functools
import hashlib
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from llvmlite import binding as llvm
from numba.core import config as numba_config
from numba.core.ccallback import CFunc

from tsm_ref.kernels.bfloat16 import units
from tsm_ref.kernels.integer.units import UNIT
from tsm_ref.kernels.store import KernelCache, NoCache
from tsm_ref.system import private

config: Any = numba_config
njit: Any = numba.njit
_type_of: Any = numba.typeof


def fingerprint() -> str:
    """Return a short hash of everything that the compiled kernels depend on.

    >>> len(fingerprint())
    16
    """
    digest = hashlib.sha256()
    here = Path(__file__).parent
    for source in sorted(here.rglob("*.py")):
        name = source.relative_to(here).as_posix()
        digest.update(name.encode() + b"\0" + source.read_bytes() + b"\0")
    target = (config.CPU_NAME or llvm.get_host_cpu_name(), config.CPU_FEATURES)
    versions = (numba.__version__, llvmlite.__version__, np.__version__, sys.version_info[:2])
    digest.update(repr((versions, target, UNIT.name, units.UNIT.name)).encode())
    return digest.hexdigest()[:16]


def user_folder() -> Path:
    """Return the folder for compiled kernels: ``NUMBA_CACHE_DIR``, or the user's cache folder."""
    if config.CACHE_DIR:
        return Path(config.CACHE_DIR)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tsm_ref"


@functools.cache
def folder() -> Path | None:
    """Return the folder of this version's compiled kernels, or None if there can be none.

    It must be writable for us and for nobody else (see `tsm_ref.system.private`), or others could
    give us code. Where the user's folder is not, one in the system's temporary directory serves
    instead, with one warning.
    """
    name = f"kernels-{fingerprint()}"
    user = getattr(os, "getuid", lambda: "user")()
    spare = Path(tempfile.gettempdir()) / f"tsm_ref-{user}"
    try:
        wanted = user_folder()
        reason = _unusable(wanted / name)
        if not reason:
            return wanted / name
    except RuntimeError:
        reason = "there is no home directory"
    usable = not _unusable(spare / name)
    instead = f"using {spare}" if usable else "kernels will be compiled anew in every run"
    warnings.warn(f"compiled kernels cannot be kept: {reason}; {instead}", stacklevel=2)
    return spare / name if usable else None


def _unusable(folder: Path) -> str:
    """Return why a folder cannot hold our code, or ""; it is made if it does not exist."""
    try:
        private.make_folder(folder)
        if found := private.flaw(folder):
            return found
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return f"{folder} cannot be written ({error.strerror})"


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator that compiles a kernel when it is first called, and keeps the result.

    Kernels release the interpreter's lock, divide as the hardware does and never reassociate.
    The options are Numba's.

    >>> @compiled()
    ... def double(x):
    ...     return 2 * x
    >>> double(21)
    42
    """
    settings = {"nogil": True, "error_model": "numpy", **options}

    def bind(function: Callable[..., Any]) -> Any:
        dispatcher = njit(**settings)(function)
        if dispatcher is not function:  # NUMBA_DISABLE_JIT leaves functions as they are
            dispatcher._cache = _kept(function)
        return dispatcher

    return bind


def bound(kernel: Any, *arguments: Any, more: Sequence[Any]) -> Callable[..., None]:
    """Return a compiled kernel with its first arguments, compiled now for these and `more`.

    Numba asks for the types of all arguments at every call, which takes longer than some kernels
    where one is a tuple of fifty numbers. Here they are asked for once: what follows the arguments
    must have the types of `more`.
    """
    if not hasattr(kernel, "compile"):  # NUMBA_DISABLE_JIT leaves functions as they are
        return functools.partial(kernel, *arguments)
    code = kernel.compile(tuple(_type_of(value) for value in (*arguments, *more)))
    return functools.partial(code, *arguments)


def machine_code(function: Callable[..., Any], signature: Any) -> int:
    """Compile a function now, or read it from the folder, and return the address of its code.

    The caller keeps nothing alive: the code stays for as long as the process.
    """
    code: Any = CFunc(function, (signature.args, signature.return_type), {}, {})
    code._cache = _kept(function)
    code.compile()
    _CODE.append(code)
    return int(code.address)


_CODE: list[Any] = []


def _kept(function: Callable[..., Any]) -> Any:
    """Return where the code of a function is kept: in our folder, if there is one."""
    place = folder() if Path(function.__code__.co_filename).is_file() else None
    if place is None:
        return NoCache(function)
    before = config.CACHE_DIR
    config.CACHE_DIR = str(place)
    try:
        return KernelCache(function, place)
    except OSError as error:  # the disk is full, or the folder was removed
        warnings.warn(f"compiled kernels cannot be kept: {error}", stacklevel=2)
        return NoCache(function)
    finally:
        config.CACHE_DIR = before
