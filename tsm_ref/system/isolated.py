"""Runs a module in a child process with limits: what a file does to it does not reach us.

``python -m tsm_ref.system.isolated LIMITS MODULE ARGUMENTS`` is the child: it limits itself, then
runs the module as ``python -m`` would. A decoder that is broken by a file ends the child, and
memory or time without end ends the child; the parent lives to say so. It is no sandbox: the child
may read and write what the user may.
"""

import contextlib
import json
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

__all__ = ["OVERHEAD", "Limits", "confine", "ended", "run"]


OVERHEAD = 2 << 30
"""Bytes of addresses that Python and the libraries take before they do anything."""


@dataclass(frozen=True)
class Limits:
    """What a child may take: bytes of memory (of addresses), and seconds of processor time."""

    memory: int = 4 << 30
    seconds: int = 3600


def run(module: str, arguments: Sequence[str], limits: Limits) -> int:
    """Run ``python -m module arguments`` under limits, with our own standard streams.

    Returns its exit code; that of a child that was ended by a signal is the signal, negative.
    """
    with subprocess.Popen(command(module, arguments, limits)) as child:
        while True:
            try:
                return child.wait()
            except KeyboardInterrupt:  # the child has it too, and says what there is to say
                continue


def command(module: str, arguments: Sequence[str], limits: Limits) -> list[str]:
    """The command line of a child."""
    made = [sys.executable, "-m", "tsm_ref.system.isolated", json.dumps(asdict(limits))]
    return [*made, module, *arguments]


def ended(code: int) -> str:
    """How a child ended that did not end by itself, in a few words; "" for one that did.

    >>> ended(0), ended(-9)
    ('', 'was ended by SIGKILL')
    """
    if code >= 0:
        return ""
    name = next((s.name for s in signal.Signals if s == -code), f"signal {-code}")
    if name == "SIGXCPU":
        return "took more time than it may"
    return f"was ended by {name}"


def confine(limits: Limits) -> None:
    """Limit this process, for good; a system without such limits has none.

    It leaves no core file, and on Linux it ends with its parent.
    """
    with contextlib.suppress(ImportError):
        import resource

        wanted = {
            resource.RLIMIT_AS: limits.memory,
            resource.RLIMIT_CPU: limits.seconds,
            resource.RLIMIT_CORE: 0,
        }
        for what, most in wanted.items():
            with contextlib.suppress(OSError, ValueError):
                _, hard = resource.getrlimit(what)
                if hard == resource.RLIM_INFINITY or most < hard:
                    resource.setrlimit(what, (most, most))
    if sys.platform == "linux":
        _end_with_parent()


def _end_with_parent() -> None:
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        pr_set_pdeathsig, pr_set_no_new_privs = 1, 38
        library = ctypes.CDLL(None)
        library.prctl(pr_set_pdeathsig, signal.SIGKILL)
        library.prctl(pr_set_no_new_privs, 1, 0, 0, 0)


def _main(arguments: Sequence[str]) -> None:
    limits: Mapping[str, int] = json.loads(arguments[0])
    confine(Limits(**limits))
    sys.argv = list(arguments[1:])
    runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main(sys.argv[1:])
