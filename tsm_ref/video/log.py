"""What FFmpeg only logs: the errors that it finds in one file, told from those in others.

PyAV hands a message to whoever listens in the thread that it comes from. A decoder with threads of
its own logs from those; their messages belong to the one file that is decoded so, and to nobody
where there are several (damage shows in other ways too, see `tsm_ref.video.decode`).
"""

import threading
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

__all__ = ["Log", "reason"]

T = TypeVar("T")

_HARMLESS = ("co located POCs unavailable", "mmco: unref short failure")
"""Errors of H.264 streams that refer to pictures before their beginning: nothing is lost."""

_MOST = 1000
"""The most messages of other threads that are kept until somebody asks."""


class Log:
    """Listens to FFmpeg's errors about one file, from its opening to `close`."""

    _lock: ClassVar[threading.Lock] = threading.Lock()
    _open: ClassVar[list["Log"]] = []
    _before: ClassVar[tuple[int | None, bool]] = (None, True)
    _elsewhere: ClassVar[Any] = None
    _messages: ClassVar[list[tuple[int, str, str]]] = []

    def __init__(self, av: Any, *, workers: bool) -> None:
        self._logging, self._workers, self.closed = av.logging, workers, False
        with Log._lock:
            if not Log._open:
                self._begin()
            Log._messages.clear()  # what was said before is about another file
            Log._open.append(self)

    def heard(self, call: Callable[[], T]) -> tuple[T, list[str]]:
        """What `call` returns, and the errors that are logged meanwhile."""
        with self._logging.Capture(local=True) as messages:
            result = call()
        if self._workers:
            messages = messages + self._of_workers()
        errors = [
            f"{name}: {_printable(text)}"
            for level, name, text in messages
            if level <= self._logging.ERROR and not text.startswith(_HARMLESS)
        ]
        return result, errors

    def close(self) -> None:
        """Listen no more; nothing happens the second time."""
        with Log._lock:
            if not self.closed:
                self.closed = True
                Log._open.remove(self)
                if not Log._open:
                    self._end()

    def _of_workers(self) -> list[tuple[int, str, str]]:
        with Log._lock:
            taken = Log._messages[:_MOST]
            Log._messages.clear()
            return taken if sum(log._workers for log in Log._open) == 1 else []

    def _begin(self) -> None:
        logging = self._logging
        Log._before = logging.get_level(), logging.get_skip_repeated()
        logging.set_skip_repeated(False)  # a message that another file had before is news here
        logging.set_level(logging.ERROR)
        Log._elsewhere = logging.Capture(local=False)
        Log._messages = Log._elsewhere.__enter__()

    def _end(self) -> None:
        Log._elsewhere.__exit__(None, None, None)
        level, skip = Log._before
        self._logging.set_level(level)
        self._logging.set_skip_repeated(skip)


def reason(error: Any) -> str:
    """Why FFmpeg refused, in a few words."""
    return str(error.strerror or error).lower()


def _printable(text: str) -> str:
    """A message on one line: it may quote the file."""
    return "".join(c if c.isprintable() else " " for c in text).strip()[:120]
