"""What was read of a file while it was looked through, kept so that it is read and decoded once."""

from collections import deque
from collections.abc import Iterator
from typing import Any

__all__ = ["Kept"]

MOST_BYTES = 1 << 25
"""The most bytes of packets that are kept; of a larger file reading again is a small part."""
_PACKET = 600
"""Bytes that a packet takes besides its data, as measured."""


class Kept:
    """The packets of a file in order, and the pictures that the decoder gave for the first of them.

    What is taken out again is not held any longer. Beyond `most` bytes nothing is kept.
    """

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most, self._bytes = most, 0
        self._packets: deque[Any] = deque()
        self._pictures: deque[list[Any]] = deque()

    @property
    def whole(self) -> bool:
        """Whether everything was kept that it was given."""
        return self._bytes <= self._most

    def keep(self, packet: Any) -> None:
        """The next packet of the file."""
        self._bytes += packet.size + _PACKET
        if self.whole:
            self._packets.append(packet)
        else:
            self._packets.clear()
            self._pictures.clear()

    def keep_pictures(self, pictures: list[Any]) -> None:
        """What the decoder gave for the next packet; from the first on, none left out."""
        if self.whole:
            self._pictures.append(pictures)

    def packets(self) -> Iterator[Any]:
        """The packets, once."""
        while self._packets:
            yield self._packets.popleft()

    def pictures(self) -> list[Any] | None:
        """The pictures of the next packet, or None where it was not decoded yet."""
        return self._pictures.popleft() if self._pictures else None
