"""Who carries out orders: worker threads with the models of this process, or processes of theirs.

A process that reads the file of a stranger may be lost: to a fault in a decoder, to memory or time
without end. It takes its one order with it, and the next order gets a new one. What it answers is
JSON and never unpickled, as a file may have made it say anything.
"""

import contextlib
import json
import multiprocessing
import signal
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

from tsm_ref.batch import Recipe
from tsm_ref.errors import CheckpointError, TsmError, UsageError, VideoError
from tsm_ref.serve.models import Served, Shelf, answer
from tsm_ref.serve.work import Order, Ticket
from tsm_ref.system import isolated, memory

__all__ = ["InProcesses", "InThreads"]

Tree = dict[str, Any]
LOOK = 0.05
MOST_ANSWER = 1 << 28
DAYS = 1 << 30
"""Seconds of processor time of a process: it lives as long as the server, which has the clock."""
KINDS: dict[int, type[TsmError]] = {2: UsageError, 3: VideoError, 4: CheckpointError}


class InThreads:
    """The models of this process, which threads share."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def start(self) -> None:
        """Nothing is needed."""

    def recognize(self, order: Order, ticket: Ticket) -> Tree:
        """The answer; it is called off after any frame or window."""
        return answer(self._shelf.get(order.model), order, ticket)

    def close(self) -> None:
        """The threads end with what they are at."""


class InProcesses:
    """A process for each worker thread, with models of its own and limits on what it may take."""

    def __init__(self, recipes: Sequence[Recipe], most_memory: int = 0) -> None:
        room = most_memory or memory.available() // 2
        self._recipes, self._room = tuple(recipes), isolated.OVERHEAD + room
        self._mine = threading.local()
        self._all: set[_Helper] = set()
        self._closed = False

    def start(self) -> None:
        """Begin the process of this thread; raises `CheckpointError` where it does not load."""
        self._begin().wait(None)

    def recognize(self, order: Order, ticket: Ticket) -> Tree:
        """The answer; raises `VideoError` where the process is lost, and ends one that is late."""
        helper: _Helper = self._mine.helper
        if not helper.alive:  # lost while it had nothing to do: that is no file's fault
            helper = self._renew(helper)
        try:
            helper.wait(ticket)
            return helper.ask(order, ticket)
        except _Lost as lost:
            raise VideoError(f"the process that read the file {lost}") from None
        finally:
            if not helper.idle:
                self._renew(helper)

    def close(self) -> None:
        """End them all."""
        self._closed = True
        for helper in list(self._all):
            helper.end()

    def _renew(self, helper: "_Helper") -> "_Helper":
        helper.end()
        self._all.discard(helper)
        return helper if self._closed else self._begin()

    def _begin(self) -> "_Helper":
        made = _Helper(self._recipes, self._room)
        self._mine.helper = made
        self._all.add(made)
        return made


class _Lost(Exception):
    """A process ended before it had answered."""


class _Helper:
    """One process: an order in, JSON out."""

    def __init__(self, recipes: Sequence[Recipe], room: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        arguments = (theirs, recipes, room)
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()
        self._loaded = self.idle = False

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def wait(self, ticket: Ticket | None) -> None:
        """Until it has loaded its models."""
        if self._loaded:
            return
        try:
            told = self._told(ticket)
        except _Lost as lost:
            raise CheckpointError(f"the process that loads the models {lost}") from None
        if "error" in told:
            raise KINDS.get(told["code"], TsmError)(told["error"])
        self._loaded = self.idle = True

    def ask(self, order: Order, ticket: Ticket) -> Tree:
        self.idle = False
        try:
            self._connection.send(order)
        except OSError:
            raise _Lost(self._ended()) from None
        told = self._told(ticket)
        self.idle = True
        if "error" in told:
            raise KINDS.get(told["code"], RuntimeError)(told["error"])
        return told

    def end(self) -> None:
        """End it, whatever it is at."""
        with contextlib.suppress(OSError, ValueError):
            self._process.kill()
            self._process.join()
        self._connection.close()

    def _told(self, ticket: Ticket | None) -> Tree:
        try:
            while not self._connection.poll(LOOK):
                if ticket is not None:
                    ticket.check()
            told: Tree = json.loads(self._connection.recv_bytes(MOST_ANSWER))
        except (EOFError, OSError, ValueError):
            raise _Lost(self._ended()) from None
        return told

    def _ended(self) -> str:
        self._process.join(5)
        code = self._process.exitcode
        return isolated.ended(0 if code is None else code) or "ended"


def _serve(connection: Connection, recipes: Sequence[Recipe], room: int) -> None:
    """What the process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which ends this one
    isolated.confine(isolated.Limits(memory=room, seconds=DAYS))
    try:
        shelf = Shelf([Served.load(recipe) for recipe in recipes])
    except TsmError as error:
        _say(connection, {"error": str(error), "code": error.exit_code})
        return
    _say(connection, {})
    ticket = Ticket(float(DAYS))
    with contextlib.suppress(EOFError):
        while True:
            order = connection.recv()
            try:
                _say(connection, answer(shelf.get(order.model), order, ticket))
            except TsmError as error:
                _say(connection, {"error": str(error), "code": error.exit_code})
            except MemoryError:
                said = "the file takes more memory than it may"
                _say(connection, {"error": said, "code": VideoError.exit_code})
            except Exception as error:
                _say(connection, {"error": f"{type(error).__name__}: {error}", "code": 1})


def _say(connection: Connection, tree: Tree) -> None:
    connection.send_bytes(json.dumps(tree, allow_nan=False).encode())
