"""Renews in a forked child what it cannot use: locks that are held, threads that are not there.

A child has only the thread that forked. A lock that another thread held stays held for ever in it,
so everything that owns a lock or threads is renewed in the child before it runs.
"""

import os
from typing import Protocol
from weakref import WeakSet

__all__ = ["Renewable", "renew_in_children"]


class Renewable(Protocol):
    """Something with locks or threads."""

    def renew(self) -> None:
        """Take new locks, and forget the threads: called in a forked child."""


_KNOWN: "WeakSet[Renewable]" = WeakSet()


def renew_in_children(thing: Renewable) -> None:
    """Have a thing renewed in every forked child, as long as it lives."""
    _KNOWN.add(thing)


def _renew() -> None:
    for thing in list(_KNOWN):
        thing.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
