"""Tells whoever wants to know that kernels are being compiled: hooks, a log, a line for people.

The first run of the Numba engine on a machine compiles for some seconds; later runs find what it
left and say nothing. A library must not print, so a caller asks: the logger ``tsm_ref.kernels`` has
one record (level INFO) for each kernel, `listen` calls a function, and `show` is what the command
lines use.
"""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TextIO

LOGGER = logging.getLogger("tsm_ref.kernels")


class Compiling(NamedTuple):
    """What a listener is told before a kernel is compiled, and after (`done`)."""

    name: str
    done: bool
    number: int  # kernels of this process so far, this one included
    depth: int  # kernels that are being compiled, each for the one before


Listener = Callable[[Compiling], None]

_listeners: list[Listener] = []
_open: list[str] = []
_count = 0


def listen(listener: Listener) -> Callable[[], None]:
    """Have a function called whenever a kernel is compiled; returns the function that ends it.

    >>> seen = []
    >>> stop = listen(seen.append)
    >>> with compiling("kernel"):
    ...     pass
    >>> stop()
    >>> [event.done for event in seen]
    [False, True]
    """
    _listeners.append(listener)
    return lambda: _listeners.remove(listener)


def begin(name: str) -> None:
    """Say that a kernel was not found and will be compiled now."""
    global _count
    _count += 1
    _open.append(name)
    LOGGER.info("compiling %s", name)
    _tell(Compiling(name, False, _count, len(_open)))


def end(name: str) -> None:
    """Say that a kernel is compiled; one that nobody began is ignored."""
    if name not in _open:
        return
    while _open.pop() != name:  # those inside failed
        pass
    _tell(Compiling(name, True, _count, len(_open)))


def _tell(event: Compiling) -> None:
    for listener in tuple(_listeners):
        listener(event)


@contextmanager
def compiling(name: str) -> Iterator[None]:
    """Begin, and end."""
    begin(name)
    try:
        yield
    finally:
        end(name)


class ProgressLine:
    """Writes "compiling kernels, once", and then one line that counts.

    On a terminal the line is written over and vanishes; elsewhere it appears every few seconds.
    """

    every = 5.0  # seconds between lines where lines stay

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.started: float | None = None
        self.said = 0.0

    def __call__(self, event: Compiling) -> None:
        """Take in an event."""
        now = time.monotonic()
        if self.started is None:
            self.started = self.said = now
            self._write("compiling kernels, once (later runs find them)\n")
        line = f"  {event.number} kernels, {now - self.started:.0f} s"
        if self.stream.isatty():
            over = event.done and event.depth == 0
            self._write("\r\x1b[K" if over else f"\r\x1b[K{line}: {event.name}")
        elif now - self.said >= self.every:
            self.said = now
            self._write(f"{line}\n")

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()


def show(
    stream: TextIO | None = None, unless: Callable[[], bool] = lambda: False
) -> Callable[[], None]:
    """Show people what is compiled, on standard error unless told otherwise.

    For command lines; returns the function that ends it. Nothing is shown while ``unless()``.
    """
    line = ProgressLine(stream or sys.stderr)
    return listen(lambda event: None if unless() else line(event))
