"""Networks that are run by one thread for a while, because other work wants the cores."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["alone", "is_alone"]

_HERE = threading.local()


@contextmanager
def alone() -> Iterator[None]:
    """Whatever this thread runs inside, it runs without the threads that would help it.

    They meet after every step of a network: where something else, as a decoder, has the cores, all
    wait for the one that has none. The results are the same bits.

    >>> with alone():
    ...     is_alone()
    True
    >>> is_alone()
    False
    """
    before, _HERE.alone = is_alone(), True
    try:
        yield
    finally:
        _HERE.alone = before


def is_alone() -> bool:
    """Whether this thread is to run networks alone."""
    return getattr(_HERE, "alone", False)
