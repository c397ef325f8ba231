"""Where the time of a recognition goes, stage by stage."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from tsm_ref.kernels import notice

T = TypeVar("T")

STAGES = ("decode", "preprocess", "compile", "run", "total")


@dataclass
class Stopwatch:
    """Seconds spent in each stage, all of them from the start.

    >>> watch = Stopwatch()
    >>> watch.timed("decode", lambda: 7), watch.spent["run"]
    (7, 0.0)
    """

    spent: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    _open: threading.local = field(default_factory=threading.local)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what happens inside to a stage."""
        outer, self._open.stage = self._stage(), name
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.spent[name] += time.perf_counter() - begin
            self._open.stage = outer

    def _stage(self) -> str:
        """The innermost stage of this thread; another thread than the caller's may be in none."""
        return getattr(self._open, "stage", "")

    @contextmanager
    def compiling(self) -> Iterator[None]:
        """Count what is compiled to a stage of its own, and not to the one that waits for it."""
        begin = 0.0

        def hear(event: notice.Compiling) -> None:
            nonlocal begin
            if not event.done and event.depth == 1:
                begin = time.perf_counter()
            elif event.done and event.depth == 0:
                spent = time.perf_counter() - begin
                self.spent["compile"] += spent
                if self._stage() not in ("", "total"):
                    self.spent[self._stage()] -= spent

        stop = notice.listen(hear)
        try:
            yield
        finally:
            stop()

    def timed(self, name: str, call: Callable[[], T]) -> T:
        """What `call` returns, its time counted to a stage."""
        with self.stage(name):
            return call()
