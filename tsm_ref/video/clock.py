"""One clock for a video: the second at which each picture is shown, whatever its timestamps say.

A timestamp that can be true is kept: where some steps are longer than the others the video lasts
longer than its number of pictures over its rate, as a player shows it. (32 pictures at 25 a second
whose timestamps have three longer steps, in all 0.088 s, end after 1.368 s, not after 1.28 s; and
480 pictures 3,600 ticks of 1/90,000 s apart are 25 a second, however many one expects.)

Pictures are told to the clock one at a time, in the order in which they are shown, so a file that
is read to its end and a stream that is followed get the same times. Timestamps that cannot be true
are repaired, and every kind of repair is counted and said.
"""

from array import array
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from tsm_ref.video.source import ASSUMED_RATE, Repair

__all__ = ["Clock", "Timeline"]

Seconds = NDArray[np.float64]

_WRAP = 1 << 33
"""MPEG counts its ticks with 33 bits (ISO/IEC 13818-1, 2.4.3.6)."""
_BACK = 1.0
"""A timestamp so many seconds before the last one starts a new count; less is disorder."""
_REORDERED = 16
"""The most pictures by which a codec reorders (H.264, A.3.1): disorder reaches no further."""
_BEHIND = 3
"""So many pictures in a row that are behind the clock start a new count, too."""
_LONGEST_GAP = 10.0
"""The longest gap in seconds of a format whose clock may jump (as FFmpeg assumes)."""
_EVEN = 0.9
"""A rate is even, and a longer step a hole in it, where this share of the steps is alike."""
_REGULAR = 0.75
"""A rate is constant where this share of the steps is alike."""


@dataclass(frozen=True)
class Timeline:
    """When each of N pictures is shown: `times` (N,) seconds, ascending from 0, and the `end`.

    `rate` is in frames per second: that of the steps if most of them are alike, else the mean.
    """

    times: Seconds
    rate: float
    end: float

    @property
    def holes(self) -> int:
        """How many steps of an otherwise even rate are longer, by half or more."""
        steps = np.diff(self.times)
        typical = np.median(steps) if len(steps) else 0.0
        long = steps >= 1.5 * typical
        even = np.abs(steps - typical) <= 0.25 * typical
        return int(long.sum()) if len(steps) and even.mean() >= _EVEN else 0

    @property
    def varies(self) -> bool:
        """True where equal steps of the index are not equal steps in time."""
        steps = np.diff(self.times)
        return bool(len(steps) > 1 and np.ptp(steps) > 0.5 * np.median(steps))


class Clock:
    """Turns the timestamps of pictures, told in the order of display, into seconds.

    `tick` is the unit of the timestamps in seconds, `rate` the rate that the file declares, and
    `jumps` says that the format allows its clock to be set anew in mid-stream, as MPEG's do.

    >>> clock = Clock(Fraction(1, 1000), 25.0)
    >>> [round(clock.show(stamp), 3) for stamp in (5000, 5040, None, 5120, 0, 40)]
    [0.0, 0.04, 0.08, 0.12, 0.16, 0.2]
    >>> [repair.kind for repair in clock.repairs]
    ['missing', 'restart']
    """

    def __init__(
        self, tick: Fraction | None, rate: float | Fraction | None, *, jumps: bool = False
    ) -> None:
        self._tick, self._declared, self._jumps = float(tick or 0), float(rate or 0), jumps
        self._times = array("d")
        self._repairs: dict[str, Repair] = {}
        self._step = self._shortest = 1 / (self._declared or ASSUMED_RATE)
        self._anchor: tuple[int, float] | None = None  # a timestamp, and the second that it means
        self._last_stamp = self._behind = 0
        self._length: int | None = None

    @property
    def stamped(self) -> bool:
        """True once a picture had a timestamp."""
        return self._anchor is not None

    @property
    def repairs(self) -> tuple[Repair, ...]:
        """What was repaired so far; nothing for a stream that has no timestamps at all."""
        return tuple(self._repairs.values()) if self.stamped else ()

    def show(self, stamp: int | None, length: int | None = None) -> float:
        """The second at which the next picture is shown, by its timestamp and length in ticks."""
        if stamp is None or not self._tick:
            time = self._following()
            self._repaired("missing")
        else:
            time = self._at(stamp)
            self._last_stamp = stamp
        self._times.append(time)
        self._length = length
        return time

    def timeline(self) -> Timeline:
        """What was shown so far, as a whole; raises ValueError before the first picture."""
        if not self._times:
            raise ValueError("no picture was shown yet")
        times = np.array(self._times, np.float64)
        rate = self._rate(times)
        own = (self._length or 0) * self._tick
        last = own if 0.9 / rate <= own <= _LONGEST_GAP else 1 / rate
        return Timeline(times, rate, float(times[-1]) + last)

    def _following(self) -> float:
        return self._times[-1] + self._step if self._times else 0.0

    def _at(self, stamp: int) -> float:
        if self._anchor is None:
            self._anchor = stamp, self._following()
            return self._anchor[1]
        if self._jumps and self._last_stamp - stamp > _WRAP // 2:
            self._anchor = self._anchor[0] - _WRAP, self._anchor[1]
            self._repaired("wrap")
        time = self._anchor[1] + (stamp - self._anchor[0]) * self._tick
        step = time - self._times[-1]
        if step <= 0:
            return self._backwards(stamp, step)
        self._behind = 0
        if self._jumps and step > _LONGEST_GAP:
            return self._anew(stamp, "gap")
        if step <= _BACK:
            self._step, self._shortest = step, min(step, self._shortest)
        return time

    def _backwards(self, stamp: int, step: float) -> float:
        self._behind += 1
        if step < -max(_BACK, _REORDERED * self._step) or self._behind >= _BEHIND:
            return self._anew(stamp, "restart")
        self._repaired("disorder")
        return self._times[-1] + self._shortest / 2

    def _anew(self, stamp: int, kind: str) -> float:
        """Go on one step later, and count from this timestamp."""
        self._behind = 0
        self._repaired(kind)
        self._anchor = stamp, self._following()
        return self._anchor[1]

    def _repaired(self, kind: str) -> None:
        found = self._repairs.get(kind, Repair(kind, 0, len(self._times)))
        self._repairs[kind] = Repair(kind, found.count + 1, found.first)

    def _rate(self, times: Seconds) -> float:
        """Frames per second; a declared rate within 2 % is exact where a clock of ticks is not."""
        if not self.stamped or len(times) < 2:
            return self._declared or ASSUMED_RATE
        steps = np.diff(times)
        typical = float(np.median(steps))
        alike = np.abs(steps - typical) <= max(0.05 * typical, 2 * self._tick)
        constant = alike.mean() >= _REGULAR
        measured = float(1 / steps[alike].mean() if constant else len(steps) / times[-1])
        return self._declared if abs(self._declared - measured) <= 0.02 * measured else measured
