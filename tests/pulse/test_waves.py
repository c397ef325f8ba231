"""The published filters written out as they are published, and rates that are known."""

import sys

import numpy as np
import pytest

from tests.pulse_faces import reader
from tsm_ref.errors import MissingDependency
from tsm_ref.pulse import measure
from tsm_ref.pulse.waves import BANDS, detrended, estimate, estimates, wave_of

PULSE = BANDS["pulse"]


def dense_detrended(signal: np.ndarray, smoothness: float) -> np.ndarray:
    """Equation 6 of Tarvainen et al. 2002, with whole matrices."""
    count = len(signal)
    second = np.diff(np.eye(count), 2, axis=0)
    inverse = np.linalg.inv(np.eye(count) + smoothness**2 * second.T @ second)
    return (np.eye(count) - inverse) @ signal


@pytest.mark.parametrize("count", [5, 6, 300])
def test_detrending_is_that_of_the_equation(count: int, rng: np.random.Generator) -> None:
    signal = np.cumsum(rng.normal(size=count))
    wanted = dense_detrended(signal, 100.0)
    np.testing.assert_allclose(detrended(signal), wanted, rtol=0, atol=1e-6)


def test_the_wave_is_summed_detrended_and_filtered(rng: np.random.Generator) -> None:
    signal = pytest.importorskip("scipy.signal")
    changes = rng.normal(size=200)
    b, a = signal.butter(1, [0.6 / 30 * 2, 3.3 / 30 * 2], btype="bandpass")
    wanted = signal.filtfilt(b, a, dense_detrended(np.cumsum(changes), 100.0))
    np.testing.assert_allclose(wave_of(changes, 30.0, PULSE), wanted, atol=1e-6)


@pytest.mark.parametrize("beats", [40, 45, 72.3, 120, 180, 195])
@pytest.mark.parametrize("rate", [14.9, 30.0, 60.0])
def test_the_rate_of_a_sine(beats: float, rate: float) -> None:
    """Ten seconds of it; a tenth of its power leaks further than a step of 0.1 Hz: 9.7 dB."""
    time = np.arange(round(10 * rate)) / rate
    found = [
        estimate(np.sin(2 * np.pi * beats / 60 * time + phase), rate, PULSE)
        for phase in (0.0, 1.0, 2.0)
    ]
    assert max(abs(one.rate - beats) for one in found) < 0.5
    assert min(one.snr for one in found) > 9


def test_the_ratio_is_that_of_the_powers(rng: np.random.Generator) -> None:
    """By Parseval's theorem 1 + 1/4 to 1/9; ``1 / (10 pi^2)`` of a sine leaks beyond ten steps."""
    time = np.arange(3000) / 30
    wave = np.sin(2 * np.pi * 1.2 * time) + np.sin(2 * np.pi * 2.4 * time) / 2
    wave += np.sin(2 * np.pi * 1.8 * time) / 3
    found = estimate(wave, 30.0, PULSE)
    assert abs(found.rate - 72) < 0.1
    leaks = 1.25 / (10 * np.pi**2)
    assert abs(found.snr - 10 * np.log10((1.25 - leaks) / (1 / 9 + leaks))) < 0.15


def test_a_flat_wave_has_no_rate() -> None:
    found = estimate(np.zeros(300), 30.0, PULSE, 4.0)
    assert (found.start, found.end, found.rate, found.snr) == (4.0, 14.0, None, None)


def test_windows_overlap_and_are_all_full() -> None:
    found = list(estimates(np.sin(np.arange(460)), 30.0, PULSE, 10.0, 2.5, start=1.0))
    assert [(one.start, one.end) for one in found] == [(1.0, 11.0), (3.5, 13.5), (6.0, 16.0)]


def test_without_scipy_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    for call in (lambda: detrended(np.zeros(10)), lambda: measure(reader(), "none.mp4")):
        with pytest.raises(MissingDependency, match="'scipy' is needed to filter a pulse"):
            call()
