"""The threads of an engine: helpers that run a program together with whoever calls.

They meet after every step of a program, so the helpers would wait for ever for a caller that leaves
in the middle, by Ctrl-C. So a run can be abandoned: its counter becomes negative, and every thread
that sees this leaves. The next run begins when all have left the one before. Helpers are daemons:
nothing waits for them when the process ends.
"""

import atexit
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from queue import SimpleQueue
from typing import Any, NamedTuple
from weakref import WeakSet

import numpy as np
from numba.core.compiler_lock import global_compiler_lock
from numpy.typing import NDArray

from tsm_ref.engine.alone import is_alone
from tsm_ref.engine.forking import renew_in_children
from tsm_ref.kernels.program import ABANDONED, Program, meet, run

__all__ = ["Crew"]

_PATIENCE = 5.0  # seconds that the end of the process waits for helpers, who need milliseconds


class _Share(NamedTuple):
    """What a helper has to do; it keeps alive all that the program points to."""

    work: "Work"
    part: int
    parts: int
    counter: NDArray[np.int64]
    alive: object
    errors: list[BaseException]


Work = Callable[[int, int, int], None]
"""What a thread does: (its number, how many there are, the address of their counter)."""

Inbox = SimpleQueue["_Share | threading.Lock | None"]


def _help(inbox: Inbox) -> None:
    """Do one share after the other; the release of a lock tells that all before it are done."""
    while (given := inbox.get()) is not None:
        if not isinstance(given, _Share):
            given.release()
            continue
        try:
            given.work(given.part, given.parts, given.counter.ctypes.data)
        except BaseException as error:
            given.errors.append(error)
            given.counter[0] = ABANDONED
        given = None


def _dismiss(inboxes: Sequence[Inbox]) -> None:
    for inbox in inboxes:
        inbox.put(None)


class Crew:
    """The caller and ``threads - 1`` helpers, who come when they are first needed.

    One caller at a time. After an error, an interrupt or a fork it can be called again.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.renew()
        renew_in_children(self)
        _CREWS.add(self)

    def renew(self) -> None:
        """Forget the helpers: in a forked child there are none."""
        self._inboxes: list[Inbox] = []
        self._counter = np.zeros(1, np.int64)
        self._home = True  # no helper can be in the middle of a run

    def __deepcopy__(self, memo: dict[int, Any]) -> "Crew":
        """Another crew: one cannot be called by two."""
        return Crew(self.threads)

    def run(self, program: Program, alive: object = None) -> None:
        """Run a program; `alive` is what must not be freed while a helper may be at work."""
        self._together(partial(run, program), alive)

    def share(self, kernel: Callable[[int, int], None], pieces: int) -> None:
        """Call ``kernel(first, last)``, compiled code, for all pieces: each thread for some."""
        if self.threads == 1:
            kernel(0, pieces)
            return

        def work(part: int, parts: int, counter: int) -> None:
            kernel(pieces * part // parts, pieces * (part + 1) // parts)
            meet(counter, parts)

        self._together(work, kernel)

    def _together(self, work: Work, alive: object) -> None:
        self.gather()
        if self.threads == 1 or is_alone():
            work(0, 1, 0)
            return
        if not self._inboxes:
            self._hire()
        errors: list[BaseException] = []
        self._counter = counter = np.zeros(1, np.int64)
        self._home = False
        try:
            for part, inbox in enumerate(self._inboxes, 1):
                inbox.put(_Share(work, part, self.threads, counter, alive, errors))
            work(0, self.threads, counter.ctypes.data)
            if counter[0] < 0:
                raise errors[0]
            self._home = True
        except BaseException:
            self.gather()
            raise

    def gather(self, patience: float = -1) -> None:
        """Abandon what is still being run, and wait until every helper has left.

        They have nothing to wait for, so this takes no longer than a step of a program.
        """
        if self._home:
            return
        self._counter[0] = ABANDONED
        locks = [threading.Lock() for _ in self._inboxes]
        for inbox, lock in zip(self._inboxes, locks, strict=True):
            lock.acquire()
            inbox.put(lock)
        for lock in locks:
            lock.acquire(timeout=patience)
        self._home = True

    def _hire(self) -> None:
        inboxes: list[Inbox] = [SimpleQueue() for _ in range(self.threads - 1)]
        weakref.finalize(self, _dismiss, inboxes).atexit = False
        for inbox in inboxes:
            threading.Thread(target=_help, args=(inbox,), name="tsm_ref", daemon=True).start()
        self._inboxes = inboxes


_CREWS: "WeakSet[Crew]" = WeakSet()


@atexit.register
def _gather_all() -> None:
    """No thread may be inside compiled code when the interpreter is taken apart."""
    for crew in list(_CREWS):
        crew.gather(_PATIENCE)


if hasattr(os, "register_at_fork"):
    # What a thread is compiling while another one forks would never be finished in the child.
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )
