"""Captures of a broadcast in one file: where each begins, and which pieces of them are damaged.

A capture may begin anywhere, and files of them are often copied one behind the other. What precedes
the first key picture of each cannot be shown.
"""

from typing import Any

__all__ = ["Captures"]

_ANEW = 1.0
"""Seconds that the time of decoding goes back by where another capture begins."""
_WRAP = 1 << 32
"""Ticks: what goes back by more is a clock of 33 bits that has come to its end."""
_LATE = 2
"""Packets by which FFmpeg's parsers are late: a joint may cause a flag so far before it."""


class Captures:
    """Told the packets of a file in their order, of a format whose clock `jumps` or of another.

    ``begun`` is True from the first packet on, ``headless`` from the beginning of a capture between
    two key pictures to the first of these, ``joint`` where the last packet begins another capture,
    and ``joined`` from the first of these on. A `tick` of the clock is so many seconds.
    """

    def __init__(self, jumps: bool, tick: float = 0.0) -> None:
        self._jumps, self._back = jumps, _ANEW / tick if tick else _ANEW
        self.forget()

    def forget(self) -> None:
        """Begin with the first packet again."""
        self.begun = self.headless = self.joint = self.joined = False
        self._last: int | None = None
        self._suspected: int | None = None  # packets since one that was flagged

    def damaged(self, packet: Any) -> bool:
        """Take the next packet, the last one empty: whether a piece before it, or it, is damaged.

        The pieces of two captures are not counted on, which FFmpeg takes for damage before the
        joint. Whether what precedes it is whole, only its decoder can tell.
        """
        key, self.joint = bool(packet.is_keyframe), self._begins_anew(packet)
        self.joined = self.joined or self.joint
        if packet.size and self._jumps and not key and (self.joint or not self.begun):
            self.headless = True
        self.headless = self.headless and not key
        self.begun = self.begun or bool(packet.size)
        self._last = self._last if packet.dts is None else packet.dts
        return self._flagged(packet)

    def _begins_anew(self, packet: Any) -> bool:
        """Whether the time of decoding goes back: by a second, or at a key picture."""
        if not self._jumps or packet.dts is None or self._last is None:
            return False
        back: int = self._last - packet.dts
        return (0 if packet.is_keyframe else self._back) < back < _WRAP

    def _flagged(self, packet: Any) -> bool:
        """Whether the flag of this packet, or of one before, is to be believed."""
        if self.joint:
            self._suspected = None
        if packet.is_corrupt and self._suspected is None:
            self._suspected = 0
        elif self._suspected is not None:
            self._suspected += 1
        late = _LATE if self._jumps and packet.size else 0
        if self._suspected is None or self._suspected < late:
            return False
        self._suspected = None
        return True
