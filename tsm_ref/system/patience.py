"""How long one step of a library may take: a decoder that hangs would keep its place for ever.

Nothing in this process can stop such a step, so whoever watches ends the process.
"""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["LIMIT", "STUCK", "bounded", "let", "limit", "sentence", "watch"]

T = TypeVar("T")

LIMIT = 120.0
"""Seconds that one step may take unless told otherwise: a picture needs thousandths of one."""
STUCK = 75
"""The exit code of a worker process that was ended for this."""

_waiting: dict[int, tuple[float, str]] = {}
_limit = LIMIT


def let(seconds: float) -> None:
    """From now on, let one step take so many seconds."""
    global _limit
    _limit = seconds


def limit() -> float:
    """The seconds that one step may take."""
    return _limit


def bounded(what: str, call: Callable[[], T]) -> T:
    """What `call` returns; while it runs, those who `watch` know of it as `what`.

    >>> bounded("clip.mp4", lambda: 3)
    3
    """
    thread = threading.get_ident()
    _waiting[thread] = time.monotonic(), what
    try:
        return call()
    finally:
        del _waiting[thread]


def watch(end: Callable[[str], None], every: float = 1.0) -> Callable[[], None]:
    """Call `end` with the sentence on a step that takes too long; returns what stops the watch."""
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(min(every, _limit / 4)):
            for begin, what in list(_waiting.values()):
                if time.monotonic() - begin > _limit:
                    end(f"{what}: {sentence(_limit)}")
                    return

    threading.Thread(target=look, name="patience", daemon=True).start()
    return stop.set


def sentence(seconds: float) -> str:
    """What is said of a file on which a decoder hangs.

    >>> sentence(120)
    'the decoder took more than 120 s for one step and was given up (--patience allows more)'
    """
    return (
        f"the decoder took more than {seconds:g} s for one step and was given up (--patience "
        "allows more)"
    )
