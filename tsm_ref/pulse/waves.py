"""From what a network gives per frame to a wave, and from a wave to rates with their confidence.

Everything is as the rPPG-Toolbox publishes it (Liu et al. 2023, `evaluation`): the sum over time,
because networks are trained on the change of the pulse; detrending (Tarvainen et al. 2002) with
lambda 100; a Butterworth band-pass of order 1, forwards and backwards; the highest peak of the
periodogram. The periodogram is padded with zeros, so that its steps are 0.1 a minute and not the
six a minute of ten seconds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.errors import MissingDependency

__all__ = [
    "BANDS",
    "Band",
    "Estimate",
    "check_scipy",
    "detrended",
    "estimate",
    "estimates",
    "wave_of",
]

Wave = NDArray[np.float64]

SMOOTHNESS = 100.0
"""The lambda of the detrending: at 30 values a second, what is slower than 0.5 Hz is a trend."""
STEP = 0.1 / 60
"""Hz between the values of a periodogram."""
CLEAREST = 100.0
"""dB of a wave that is nothing but its pulse."""


@dataclass(frozen=True)
class Band:
    """What a wave is looked for in: frequencies of `low` to `high` Hz.

    `unit` is that of its rate, `window` the least seconds that a rate is told of, `width` the Hz
    around a harmonic that count as part of it.
    """

    unit: str
    low: float
    high: float
    window: float
    width: float


BANDS = {
    "pulse": Band("beats/min", 0.6, 3.3, 4.0, 6 / 60),
    "respiration": Band("breaths/min", 0.08, 0.5, 20.0, 2 / 60),
}
"""By the output of a network: 36 to 198 beats a minute (Cassani et al. 2020, rPPG-Toolbox), 5 to 30
breaths a minute (MTTS-CAN). The width of a breath is ours: none is published."""


@dataclass(frozen=True)
class Estimate:
    """The rate from second `start` to `end` and its signal-to-noise ratio in dB.

    Both are None where the wave is flat.
    """

    start: float
    end: float
    rate: float | None
    snr: float | None


def detrended(signal: Wave, smoothness: float = SMOOTHNESS) -> Wave:
    """A signal (T,) without its slow trend: ``(I - (I + lambda^2 D'D)^-1) x``.

    D makes second differences, so a straight line is nothing but trend. Source: Tarvainen,
    Ranta-aho, Karjalainen 2002, equation 6. Raises `MissingDependency` without SciPy, and
    ValueError for fewer than 5 values.

    >>> bool(np.abs(detrended(np.linspace(0.0, 9.0, 50))).max() < 1e-6)
    True
    """
    linalg, _ = _scipy()
    count = len(signal)
    if count < 5:
        raise ValueError(f"`signal` has {count} values; a trend needs 5")
    bands = np.zeros((3, count))  # of D'D, from the outermost diagonal to the main one
    bands[0, 2:] = 1
    bands[1, 1:] = -4
    bands[1, [1, -1]] = -2
    bands[2] = 6
    bands[2, [1, -2]] = 5
    bands[2, [0, -1]] = 1
    bands *= smoothness**2
    bands[2] += 1
    trend: Wave = linalg.solveh_banded(bands, signal)
    return signal - trend


def wave_of(changes: NDArray[np.floating], rate: float, band: Band) -> Wave:
    """The wave (T,) of the changes (T,) that a network gives, `rate` of them a second.

    Raises `MissingDependency` without SciPy.
    """
    _, signal = _scipy()
    summed = detrended(np.cumsum(changes.astype(np.float64)))
    top = min(band.high, 0.49 * rate)
    b, a = signal.butter(1, [band.low, top], fs=rate, btype="bandpass")
    wave: Wave = signal.filtfilt(b, a, summed, padlen=min(9, len(summed) - 1))
    return wave


def estimate(wave: Wave, rate: float, band: Band, start: float = 0.0) -> Estimate:
    """The rate of a part of a wave that begins at second `start`, and its signal-to-noise ratio.

    The rate is that of the highest value of the periodogram in the band. The ratio is the power
    within `band.width` of it and of twice it, to all other power in the band, in dB (de Haan and
    Jeanne 2013; the rPPG-Toolbox takes the true rate there, which nobody knows here). At 0 dB there
    is as much beside the pulse as in it.

    >>> time = np.arange(300) / 30
    >>> found = estimate(np.sin(2 * np.pi * 1.2 * time), 30.0, BANDS["pulse"])
    >>> round(found.rate), found.snr > 10
    (72, True)
    """
    _, signal = _scipy()
    end = start + len(wave) / rate
    length = max(len(wave), round(rate / STEP))
    frequencies, power = signal.periodogram(wave, fs=rate, nfft=length, detrend=False)
    inside = (frequencies >= band.low) & (frequencies <= band.high)
    if not inside.any() or not power[inside].any():
        return Estimate(start, end, None, None)
    found = float(frequencies[inside][np.argmax(power[inside])])
    near = (abs(frequencies - found) <= band.width) | (abs(frequencies - 2 * found) <= band.width)
    own, rest = power[near].sum(), power[inside & ~near].sum()
    snr = CLEAREST if rest <= own * 10 ** (-CLEAREST / 10) else 10 * np.log10(own / rest)
    return Estimate(start, end, 60 * found, float(snr))


def estimates(
    wave: Wave, rate: float, band: Band, window: float, stride: float, start: float = 0.0
) -> Iterator[Estimate]:
    """The rates of windows of so many seconds, one every `stride` seconds, all full."""
    length, step = round(window * rate), max(1, round(stride * rate))
    for first in range(0, len(wave) - length + 1, step):
        yield estimate(wave[first : first + length], rate, band, start + first / rate)


def check_scipy() -> None:
    """Raise `MissingDependency` at once where the filters could not run at the end."""
    _scipy()


def _scipy() -> tuple[Any, Any]:
    try:
        from scipy import linalg, signal
    except ImportError:
        raise MissingDependency("scipy", "filter a pulse") from None
    return linalg, signal
