"""What an engine has made ready to run, kept for the next time, and whose turn it is to run it."""

import threading
from collections.abc import Callable, Hashable
from typing import Any, Self, TypeVar

from tsm_ref.engine.forking import renew_in_children
from tsm_ref.system import memory

__all__ = ["KEPT", "PlanCache"]

Made = TypeVar("Made")

KEPT = 4
"""Shapes of one kind for which an engine keeps plans."""


class PlanCache:
    """The plans of one engine by their kind and by the shapes that they were made for.

    Of every kind the latest `KEPT` are kept. A plan has one set of buffers, so threads take turns:
    whoever makes or runs a plan holds the ``turn``.

    >>> plans = PlanCache()
    >>> [plans.get("square", n, lambda: n * n) for n in (2, 3, 2)], plans.keys("square")
    ([4, 9, 4], [2, 3])
    """

    def __init__(self) -> None:
        self._made: dict[Hashable, dict[Hashable, Any]] = {}
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """Take a new lock: in a forked child, another thread's turn would never end."""
        self.turn = threading.RLock()

    def get(self, kind: Hashable, key: Hashable, make: Callable[[], Made]) -> Made:
        """The plan for a key, made at the first call; the oldest of its kind makes room for it."""
        with self.turn:
            known: dict[Hashable, Made] = self._made.setdefault(kind, {})
            if key not in known:
                while len(known) >= KEPT:
                    del known[next(iter(known))]
                known[key] = make()
                memory.trim()  # what was needed to make it
            return known[key]

    def keys(self, kind: Hashable) -> list[Any]:
        """What there are plans for, the oldest first."""
        return list(self._made.get(kind, ()))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """An empty one: plans hold addresses of the arrays of their engine."""
        return type(self)()
