"""A bounded queue of orders, worker threads that carry them out, and work that can be called off.

Threads are enough: the decoder and the kernels of the Numba engine let go of Python's lock while
they run. So every model is in memory once, however many workers there are.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

from tsm_ref.serve.problems import Problem

__all__ = ["CalledOff", "Desk", "Hands", "Order", "Place", "Ticket"]

Tree = dict[str, Any]
LOOK = 0.25
"""Seconds between two looks at work that is waited for."""
SLACK = 1.0
"""Seconds that work which is late may take to notice it."""


@dataclass(frozen=True)
class Order:
    """A file, what it is called, and what is asked about it."""

    model: str
    path: str
    name: str
    top: int
    sampling: Mapping[str, Any] = field(default_factory=dict)


class CalledOff(Exception):
    """Nobody waits for the answer any more."""


class Ticket:
    """Until when a piece of work may go on, and whether anybody still wants it."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end: float | None = None
        self._unwanted = threading.Event()

    def begin(self) -> None:
        """Start the clock."""
        self._end = time.monotonic() + self.seconds

    def call_off(self) -> None:
        """Say that nobody wants it."""
        self._unwanted.set()

    def check(self) -> None:
        """Raise `CalledOff`, or `Problem` 422 where the time is over."""
        if self._unwanted.is_set():
            raise CalledOff
        if self.late(0.0):
            raise self.too_late()

    def late(self, by: float) -> bool:
        """Whether its time has been over for so many seconds."""
        return self._end is not None and time.monotonic() > self._end + by

    def too_late(self) -> Problem:
        """What is said then: trying again would not help."""
        return Problem(422, f"recognising it takes more than {self.seconds:g} s, the most here")


class Hands(Protocol):
    """Who carries out orders: in this process, or in others."""

    def start(self) -> None:
        """Get ready in this thread, which will carry out orders."""

    def recognize(self, order: Order, ticket: Ticket) -> Tree:
        """The JSON of a recognition; raises what `problem_of` knows, and `CalledOff`."""

    def close(self) -> None:
        """Stop everything at once."""


class Place:
    """One of a bounded number of places; given back once."""

    def __init__(self, give_back: Callable[[], None]) -> None:
        self._give_back: Callable[[], None] | None = give_back

    def leave(self) -> None:
        """Give it back; nothing happens the second time."""
        back, self._give_back = self._give_back, None
        if back is not None:
            back()


class Desk:
    """Takes orders while there is a place, and has them carried out by so many workers."""

    def __init__(self, hands: Hands, workers: int, queue: int, seconds: float) -> None:
        self._hands, self._workers, self._seconds = hands, workers, seconds
        self._lock = threading.Lock()
        self._most, self.taken, self.running = workers + queue, 0, 0
        self._mean = 1.0  # seconds that an order takes
        self._pool = ThreadPoolExecutor(workers, "tsm-serve")

    def start(self) -> None:
        """Have every worker ready; raises what its loading raises."""
        all_here = threading.Barrier(self._workers)

        def ready() -> None:  # each in a thread of its own, as none ends before all have begun
            try:
                self._hands.start()
            except BaseException:
                all_here.abort()
                raise
            with contextlib.suppress(threading.BrokenBarrierError):
                all_here.wait()

        for done in [self._pool.submit(ready) for _ in range(self._workers)]:
            done.result()

    def place(self) -> Place:
        """A place for one request; raises `Problem` 503 where there is none."""
        with self._lock:
            if self.taken >= self._most:
                wait = max(1, round(self._mean * self.taken / self._workers))
                said = f"{self.taken} files are here already, the most: try again in {wait} s"
                raise Problem(503, said, {"Retry-After": str(wait)})
            self.taken += 1
        return Place(self._leave)

    async def recognize(
        self, order: Order, place: Place, gone: "asyncio.Future[Any]", done: Callable[[], None]
    ) -> Tree:
        """The answer to an order; `done` is called when nothing reads its file any more.

        Raises what `Hands` raise, `Problem` 422 where it takes too long, and `CalledOff` where
        `gone` says that the client has hung up.
        """
        ticket = Ticket(self._seconds)
        work = self._pool.submit(self._run, order, ticket)
        work.add_done_callback(lambda _: done())
        work.add_done_callback(lambda _: place.leave())
        future = asyncio.wrap_future(work)
        try:
            while not future.done():
                waited = {future, gone}
                await asyncio.wait(waited, timeout=LOOK, return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    raise CalledOff
                if not future.done() and ticket.late(SLACK):
                    raise ticket.too_late()
            return future.result()
        finally:
            ticket.call_off()
            _forget(work, future)

    def close(self) -> None:
        """Carry out no more orders."""
        self._hands.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, order: Order, ticket: Ticket) -> Tree:
        ticket.begin()
        ticket.check()
        with self._lock:
            self.running += 1
        begin = time.monotonic()
        try:
            return self._hands.recognize(order, ticket)
        finally:
            with self._lock:
                self.running -= 1
                self._mean += 0.2 * (time.monotonic() - begin - self._mean)

    def _leave(self) -> None:
        with self._lock:
            self.taken -= 1


def _forget(work: "Future[Tree]", future: "asyncio.Future[Tree]") -> None:
    """Let work go that was not waited for to its end; its error is nobody's."""
    work.cancel()
    future.add_done_callback(lambda f: None if f.cancelled() else f.exception())
    with contextlib.suppress(asyncio.InvalidStateError):
        future.cancel()
