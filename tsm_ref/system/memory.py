"""How much memory one thing may ask for: in proportion to its file, and to the machine.

Every size in a file may be within its own limit, and their product may not. So what a whole run
takes is reckoned before it begins, and refused in a sentence that says which limit it is, unless
the user allows more: ``--max-memory``, or the variable ``TSM_REF_MAX_MEMORY``, in bytes.
"""

import contextlib
import ctypes
import os
import sys
from pathlib import Path

from tsm_ref.errors import CheckpointError, TsmError

__all__ = ["allow", "allowed", "available", "check", "peak", "resident", "shown", "trim"]

VARIABLE = "TSM_REF_MAX_MEMORY"
SMALLEST = 2 << 30
"""Bytes that a model of any size may take."""
PER_BYTE = 64
"""Bytes of memory for each byte of weights on top of that: a ResNet-50 has room for 8 GB."""


def allow(size: int) -> None:
    """Let anything take up to `size` bytes, in this process and in those that it starts."""
    os.environ[VARIABLE] = str(size)


def check(
    needed: int,
    what: str,
    *,
    weights: int | None = None,
    most: int | None = None,
    error: type[TsmError] = CheckpointError,
) -> None:
    """Raise `error` where `needed` bytes are more than may be taken.

    The limit is that of ``--max-memory``; else the least of half of the memory that is free, of
    what is in proportion to a model of `weights` bytes, and of `most`.

    >>> check(1 << 20, "a small clip", weights=1000)
    >>> check(1 << 62, "a clip of 9 frames", weights=1000)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    tsm_ref.errors.CheckpointError: a clip of 9 frames takes 4.61e+09 GB of memory; at most ...
    """
    limit, reason = _limit(weights, most)
    if needed > limit:
        raise error(
            f"{what} takes {shown(needed)} of memory; at most {shown(limit)} are used ({reason}): "
            "--max-memory allows more"
        )


def shown(size: int) -> str:
    """A size for people.

    >>> shown(400_000), shown(2 << 30)
    ('0.4 MB', '2.15 GB')
    """
    return f"{size / 1e6:.3g} MB" if size < 1e9 else f"{size / 1e9:.3g} GB"


def available() -> int:
    """Bytes of memory that are free here: of the machine, of the container, or by a limit."""
    sizes = [1 << 62]
    with contextlib.suppress(ValueError, OSError, AttributeError):
        sizes.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                sizes.append(int(line.split()[1]) * 1024)
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            sizes.append(int(Path(path).read_text()))
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            sizes.append(limit)
    return min(sizes)


def resident() -> int:
    """Bytes of this process that are in memory, files that it looks into included; 0 as `peak`."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        return _status("VmRSS")
    return 0


def peak() -> int:
    """Bytes of the largest resident memory that this process has had; 0 where nobody counts."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        return _status("VmHWM")
    with contextlib.suppress(ImportError):
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return 0


def _status(name: str) -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{name}:")[1].split()[0]) * 1024


def trim() -> None:
    """Ask the C library to return freed memory to the system, where it can."""
    give_back = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if give_back is not None:
        give_back(0)


def allowed() -> int:
    """The bytes that the user allows; 0 where that was not said."""
    said = os.environ.get(VARIABLE, "")
    return int(said) if said.isascii() and said.isdecimal() and len(said) < 19 else 0


def _limit(weights: int | None, most: int | None) -> tuple[int, str]:
    if said := allowed():
        return said, "--max-memory"
    limits = [(available() // 2, "half of what is free here")]
    if weights is not None:
        room = SMALLEST + PER_BYTE * weights
        limits.append((room, f"for a model of {shown(weights)}"))
    if most is not None:
        limits.append((most, "for that"))
    return min(limits)
