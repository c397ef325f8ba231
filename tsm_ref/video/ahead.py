"""Decoding ahead: what an iterator gives is made in another thread while the last is still used."""

import queue
import threading
from collections.abc import Iterator
from typing import Generic, Self, TypeVar

__all__ = ["Ahead"]

T = TypeVar("T")


class Ahead(Generic[T]):
    """The same items in the same order, up to `most` of them made before they are asked for.

    An error on the way is raised where its item would have been. Close it (or take all) before
    what the items come from is closed: that waits for the item that is being made. Where it is not
    `threaded` every item is made when it is asked for.

    >>> list(Ahead(iter(range(5))))
    [0, 1, 2, 3, 4]
    """

    def __init__(self, items: Iterator[T], threaded: bool = True, *, most: int = 2) -> None:
        self._items = items
        self._made: queue.Queue[tuple[T] | BaseException | None] = queue.Queue(most)
        self._unwanted, self._ended = threading.Event(), False
        self._thread: threading.Thread | None = None
        self.late = False
        """Whether the last item was not ready when it was asked for."""
        if threaded:
            self._thread = threading.Thread(target=self._make, name="decoding ahead", daemon=True)
            self._thread.start()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        if self._ended:
            raise StopIteration
        if self._thread is None:
            return next(self._items)
        self.late = self._made.empty()
        item = self._made.get()
        if isinstance(item, tuple):
            return item[0]
        self.close()
        raise item or StopIteration

    def close(self) -> None:
        """Make no more; nothing happens the second time."""
        self._ended = True
        self._unwanted.set()
        if self._thread is not None:
            self._thread.join()

    def _make(self) -> None:
        try:
            for item in self._items:
                self._put((item,))
                if self._unwanted.is_set():
                    return
            self._put(None)
        except BaseException as error:  # whatever it is, it belongs to who asks for the items
            self._put(error)

    def _put(self, item: tuple[T] | BaseException | None) -> None:
        while not self._unwanted.is_set():
            try:
                self._made.put(item, timeout=0.1)
                return
            except queue.Full:
                continue
