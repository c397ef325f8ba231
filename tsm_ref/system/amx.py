"""Asks the operating system whether this process may use the tiles of AMX.

A tile holds a kilobyte, and a system that switches between processes must save it: Linux lets a
process use tiles once it has asked (``arch_prctl``, since 5.16). What it grants holds for all
threads, and for children that are forked; another program begins anew.
"""

import ctypes
import functools
import platform
import sys

__all__ = ["refusal"]

ARCH_PRCTL = 158
"""The number of the system call, on x86-64."""
ARCH_REQ_XCOMP_PERM = 0x1023
XFEATURE_XTILEDATA = 18


def _arch_prctl(code: int, value: int) -> int:
    """The system call: 0, or the number of an error."""
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = [ctypes.c_long(number) for number in (ARCH_PRCTL, code, value)]
    return ctypes.get_errno() or -1 if libc.syscall(*arguments) else 0


@functools.cache
def refusal() -> str:
    """Why this process may not use tiles, in a few words; "" where it may. Asked once.

    Whether the processor has tiles is another question (``amx-tile`` among LLVM's features).

    >>> isinstance(refusal(), str)
    True
    """
    if not sys.platform.startswith("linux") or platform.machine() not in ("x86_64", "AMD64"):
        return "only Linux on x86-64 is asked for it"
    try:
        error = _arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)
    except (OSError, AttributeError) as failed:
        return f"Linux cannot be asked for it ({failed})"
    return f"Linux refuses it (error {error})" if error else ""
