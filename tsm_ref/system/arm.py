"""Asks the operating system which instructions an ARM processor has, where LLVM may not know.

LLVM tells processors apart by their names, and knows few of the features that a name stands for.
The system says what all cores have: Linux (and Android) in the vector that it gives to every
process, macOS by name, Windows by number.
"""

import ctypes
import functools
import platform
import sys

__all__ = ["features"]

AT_HWCAP = 16
HWCAP_ASIMDDP = 1 << 20
"""Linux: `arch/arm64/include/uapi/asm/hwcap.h`."""

FEAT_DOT_PROD = b"hw.optional.arm.FEAT_DotProd"
"""macOS: a name of ``sysctl``."""

PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE = 43
"""Windows: `winnt.h`."""


POINTER_BYTES = ctypes.sizeof(ctypes.c_void_p)


def _on_linux() -> bool:
    getauxval = ctypes.CDLL(None).getauxval
    getauxval.argtypes, getauxval.restype = [ctypes.c_ulong], ctypes.c_ulong
    return bool(getauxval(AT_HWCAP) & HWCAP_ASIMDDP)


def _on_macos() -> bool:
    value, size = ctypes.c_int(0), ctypes.c_size_t(ctypes.sizeof(ctypes.c_int))
    sysctl = ctypes.CDLL(None).sysctlbyname
    sysctl.argtypes = [ctypes.c_char_p, *[ctypes.c_void_p] * 3, ctypes.c_size_t]
    failed = sysctl(FEAT_DOT_PROD, ctypes.byref(value), ctypes.byref(size), None, 0)
    return not failed and value.value == 1


def _on_windows() -> bool:
    kernel: ctypes.CDLL = getattr(ctypes, "windll").kernel32  # noqa: B009  (only there)
    return bool(kernel.IsProcessorFeaturePresent(PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE))


SYSTEMS = {"linux": _on_linux, "android": _on_linux, "darwin": _on_macos, "win32": _on_windows}


@functools.cache
def features() -> frozenset[str]:
    """What the processor is known to have, by LLVM's names: ``dotprod``, or nothing.

    Nothing where a process has 32 bits, on any other kind of processor, and where the system does
    not say.

    >>> features() <= {"dotprod"}
    True
    """
    ask = SYSTEMS.get(sys.platform)
    if ask is None or platform.machine().lower() not in ("aarch64", "arm64") or POINTER_BYTES != 8:
        return frozenset()
    try:
        return frozenset({"dotprod"} if ask() else ())
    except (OSError, AttributeError):
        return frozenset()
