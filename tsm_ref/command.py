"""What the command lines share: a parser that is brief, one line per error, and the exit codes."""

import argparse
import os
import re
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

from tsm_ref.errors import TsmError, UsageError
from tsm_ref.kernels import notice
from tsm_ref.system.memory import peak, shown
from tsm_ref.system.terminal import (
    ReaderGone,
    add_loudness,
    heed,
    is_quiet,
    is_verbose,
    printable,
    say,
    tell,
)

__all__ = [
    "INTERRUPTED",
    "Parser",
    "guarded",
    "limit_blas",
    "number",
    "positive",
    "printable",
    "say",
    "size",
    "tell",
]

BLAS_THREADS = (
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
"""The variables by which BLAS libraries take a number of threads."""

INTERRUPTED = 130
"""The exit code after Ctrl-C."""


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong, and where help is; has ``-q`` and ``-v``, and heeds them."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        add_loudness(self)

    def parse_args(self, *arguments: Any, **more: Any) -> Any:
        """As any parser; from now on as much is told as the options ask for."""
        options = super().parse_args(*arguments, **more)
        heed(options)
        return options

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError` instead of printing the usage."""
        raise UsageError(f"{message} (--help shows the options)")

    def _print_message(self, message: str, file: object = None) -> None:
        say(message.rstrip("\n"))


def positive(text: str) -> int:
    """An option that counts something.

    >>> positive("0")
    Traceback (most recent call last):
    argparse.ArgumentTypeError: '0' must be a whole number of 1 to 999999999
    """
    if not re.fullmatch("[0-9]{1,9}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text[:20]!r} must be a whole number of 1 to 999999999")
    return int(text)


def number(text: str) -> float:
    """An option that measures something: a finite number above 0, in plain digits.

    >>> number("12.5")
    12.5
    >>> number("nan")
    Traceback (most recent call last):
    argparse.ArgumentTypeError: 'nan' must be a number of 1e-9 to 1e9
    """
    plain = re.fullmatch(r"[0-9]{0,20}(?:[0-9]|\.[0-9]{1,20})(?:[eE][+-]?[0-9]{1,3})?", text)
    if plain is None or not 1e-9 <= float(text) <= 1e9:
        raise argparse.ArgumentTypeError(f"{text[:20]!r} must be a number of 1e-9 to 1e9")
    return float(text)


def size(text: str) -> int:
    """An option that is a size in bytes: plain, or with K, M, G or T behind it.

    >>> size("2G"), size("1.5M")
    (2147483648, 1572864)
    """
    found = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)([KMGT]?)i?B?", text, re.IGNORECASE)
    bytes_ = int(float(found[1]) * 1024 ** " KMGT".index(found[2].upper() or " ")) if found else 0
    if not 0 < bytes_ < 1 << 60:
        raise argparse.ArgumentTypeError(f"{text[:20]!r} must be a size such as 800M or 8G")
    return bytes_


def limit_blas(threads: int) -> None:
    """Set how many threads NumPy's BLAS library takes, which it reads when NumPy is imported.

    What the user has set stays.
    """
    for variable in BLAS_THREADS:
        os.environ.setdefault(variable, str(threads))


def guarded(run: Callable[[], int | None]) -> int:
    """What `run` returns or 0, or the exit code of its error after one line on stderr.

    ``TSM_DEBUG=1`` shows the traceback. Anything but a `TsmError` is a bug of ours, with code 1.
    Where kernels have to be compiled first, that is shown on stderr, as are warnings. Nothing is
    said where the reader of stdout went away, as other programs say nothing then.
    """
    with _command_line() as interrupted:
        begin = time.perf_counter()
        try:
            code = run() or 0
            if is_verbose():
                tell(f"took {time.perf_counter() - begin:.2f} s, at most {shown(peak())}")
            return code
        except KeyboardInterrupt:
            tell("interrupted")
            return INTERRUPTED
        except ReaderGone as error:
            return error.exit_code
        except TsmError as error:
            code, line = error.exit_code, f"error: {error}"
            problem: Exception = error
        except MemoryError as error:
            code, line = 1, f"error: there is not enough memory: {error}"
            problem = error
        except Exception as error:
            kind = type(error).__name__
            code, line = 1, f"error: a bug of ours, please report it: {kind}: {error}"
            problem = error
    if interrupted:  # an import that is interrupted fails with an error of its own
        code, line = INTERRUPTED, "interrupted"
    elif os.environ.get("TSM_DEBUG") == "1":
        for part in "".join(traceback.format_exception(problem)).splitlines():
            print(printable(part), file=sys.stderr)
    tell(line)
    return code


@contextmanager
def _command_line() -> Iterator[list[int]]:
    """Show what is compiled and, once, what is warned of; remember a Ctrl-C, the second one ends.

    The second one does not wait for what the first one has to clean up: the next run does that.
    """
    interrupts: list[int] = []
    told: set[str] = set()

    def show(message: Warning | str, *rest: Any, **more: Any) -> None:
        if str(message) not in told:
            told.add(str(message))
            tell(f"warning: {message}")

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        if interrupts:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        interrupts.append(number)
        raise KeyboardInterrupt

    show_warning, handler = warnings.showwarning, signal.getsignal(signal.SIGINT)
    heed()
    hide = notice.show(unless=is_quiet) if sys.stderr is not None else None
    warnings.showwarning = show
    ours = threading.current_thread() is threading.main_thread()
    if ours and handler is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    try:
        yield interrupts
    finally:
        if ours and handler is signal.default_int_handler:
            signal.signal(signal.SIGINT, handler)
        warnings.showwarning = show_warning
        if hide is not None:
            hide()
        heed()
