"""What the command lines share: a parser that is brief, one line per error, and the exit codes."""

import argparse
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from tsm_ref.errors import TsmError, UsageError, WriteError
from tsm_ref.kernels import notice

__all__ = ["INTERRUPTED", "Parser", "guarded", "positive", "say", "tell"]

INTERRUPTED = 130
"""The exit code after Ctrl-C."""


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong, and where help is."""

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError` instead of printing the usage."""
        raise UsageError(f"{message} (--help shows the options)")


def positive(text: str) -> int:
    """An option that counts something.

    >>> positive("0")
    Traceback (most recent call last):
    argparse.ArgumentTypeError: '0' must be a whole number of at least 1
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of at least 1")
    return int(text)


def say(text: str) -> None:
    """Write a result to stdout at once; raises `WriteError` where nobody takes it."""
    try:
        if sys.stdout is None:
            raise OSError("it is closed")
        encoding = sys.stdout.encoding or "utf-8"
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except OSError as error:
        _forget_stdout()
        raise WriteError(f"cannot write to stdout: {error.strerror or error}") from None


def tell(text: str) -> None:
    """Write a message to stderr, if there is one."""
    if sys.stderr is not None:
        print(text, file=sys.stderr, flush=True)


def guarded(run: Callable[[], int | None]) -> int:
    """What `run` returns or 0, or the exit code of its error after one line on stderr.

    ``TSM_DEBUG=1`` shows the traceback. Anything but a `TsmError` is a bug of ours, with code 1.
    Where kernels have to be compiled first, that is shown on stderr.
    """
    hide = notice.show() if sys.stderr is not None else None
    try:
        return run() or 0
    except KeyboardInterrupt:
        tell("interrupted")
        return INTERRUPTED
    except TsmError as error:
        code, line = error.exit_code, f"error: {error}"
        problem: Exception = error
    except Exception as error:
        code, line = 1, f"error: a bug of ours, please report it: {type(error).__name__}: {error}"
        problem = error
    finally:
        if hide is not None:
            hide()
    if os.environ.get("TSM_DEBUG") == "1":
        raise problem
    tell(" ".join(line.split()))
    return code


def _forget_stdout() -> None:
    """Keep the interpreter from failing once more when it flushes stdout at its end."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
