"""From a video to its pulse: rates that are known, and what is refused."""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tsm_ref
from tests.pulse_faces import face_video, reader, within, write_video
from tsm_ref.errors import UsageError, VideoError
from tsm_ref.model import Model
from tsm_ref.pulse import measure, regions
from tsm_ref.pulse.measure import even_rate

WHOLE = "0,0,36,36"
RATES = (15, 25, 30, 60)
BEATS = (45, 60, 75, 90, 105, 120, 135, 150, 165, 180)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("order", ["CHW", "HWC"])
def test_the_pulse_is_found_within_two_beats(rate: int, order: str) -> None:
    """45 to 180 beats a minute; the largest error that was measured is 0.2."""
    model = reader(order)
    for beats in BEATS[order == "HWC" :: 3]:
        found = measure(model, face_video(beats, rate, 12), region=WHOLE, fps=rate)
        assert within(found, beats) == {}
        assert found.pulse.snr > 3
        assert (found.mixed, found.rate) == (rate != 30, 30)


@pytest.mark.parametrize("rate", RATES)
def test_a_trained_network_finds_it_too(rate: int, shared_data: Path) -> None:
    path = shared_data / "checkpoints" / "TSCAN.rlap.weights.h5"
    model = tsm_ref.load(path, profile="ts-can-rlap")
    for beats in BEATS[::3]:
        found = measure(model, face_video(beats, rate, 12), region=WHOLE, fps=rate)
        assert within(found, beats) == {}
        assert found.recipe.name == "open-rppg"


@pytest.mark.parametrize("profile", ["mtts-can", "ts-can-rlap"])
def test_a_still_face_has_no_sure_pulse(profile: str) -> None:
    found = measure(reader("HWC", profile), face_video(0, 30, 14), region=WHOLE, fps=30)
    beating = measure(reader("HWC", profile), face_video(75, 30, 14), region=WHOLE, fps=30)
    assert found.pulse.snr < 2 < 6 < beating.pulse.snr


def test_the_face_may_be_anywhere_and_of_any_size() -> None:
    frames = np.full((360, 120, 160, 3), 90, np.uint8)
    frames[:, 15:115, 40:140] = face_video(96, 30, 12, side=100)
    assert within(measure(reader(), frames, region="40,15,100,100", fps=30), 96) == {}


def test_frames_at_uneven_times_are_mixed(tmp_path: Path) -> None:
    """A phone: 24 frames a second on average, each up to 0.4 of a step early or late."""
    rng = np.random.default_rng(5)
    times = np.sort(np.arange(300) / 24 + rng.uniform(-0.4, 0.4, 300) / 24)
    times -= times[0]
    assert even_rate(times, 24.0) == (24.0, True)
    frames = face_video(84, 240, 13)[np.rint(times * 240).astype(int)]
    write_video(tmp_path / "phone.mkv", frames, times)
    found = measure(reader(), tmp_path / "phone.mkv", region=WHOLE)
    assert (found.mixed, found.rate) == (True, 30.0)
    assert within(found, 84, most=1.0) == {}


def test_a_gap_is_told_of(tmp_path: Path) -> None:
    times = np.arange(330) / 30
    times[200:] += 0.7
    write_video(tmp_path / "gap.mkv", face_video(84, 30, 11), times)
    found = measure(reader(), tmp_path / "gap.mkv", region=WHOLE)
    assert "no frame is shown for 0.73 s at 6.63 s: the wave there is made up" in found.warnings


def test_two_heads_give_two_waves() -> None:
    found = measure(
        reader(heads=("pulse", "respiration")), face_video(72, 30, 25), region=WHOLE, fps=30
    )
    pulse, breath = found.outputs
    assert (pulse.unit, breath.unit) == ("beats/min", "breaths/min")
    assert len(pulse.wave) == len(breath.wave) == 750
    assert [round(one.end - one.start, 6) for one in breath.windows] == [20.0] * 3
    short = measure(reader(heads=("pulse", "respiration")), face_video(72, 30, 11), region=WHOLE,
                    fps=30)  # fmt: skip
    assert short.outputs[1].windows == ()
    assert short.outputs[1].rate is None


@pytest.mark.parametrize(
    ("name", "options", "length"),
    [
        ("efficient-phys", {"size": 36, "filters": (3, 6), "hidden": 2, "frame_depth": 10}, 150),
        ("big-small", {"filters": (3, 3), "hidden": 2}, 125),
    ],
)
def test_every_family_runs(name: str, options: dict[str, Any], length: int) -> None:
    model = tsm_ref.build(name, **options)
    rate = 25 if name == "big-small" else 30
    found = measure(model, face_video(72, rate, 5), region=WHOLE, fps=rate, window=5.0 - 0.2)
    assert len(found.pulse.wave) == length // found.depth * found.depth
    assert np.isfinite(found.pulse.wave).all()


def test_a_rest_that_fills_no_segment_is_left_out() -> None:
    found = measure(reader(), face_video(72, 30, 10.5)[:-6], region=WHOLE, fps=30)
    assert (found.info.frame_count, len(found.pulse.wave), found.depth) == (309, 300, 10)


# What is refused


def test_a_clip_that_is_shorter_than_a_window() -> None:
    with pytest.raises(VideoError, match=r"shows the face for 4.0 s, and a window .* has 10 s"):
        measure(reader(), face_video(72, 30, 4), region=WHOLE, fps=30)


@pytest.mark.parametrize(
    ("frames", "fps", "said"),
    [(1, 30, "has one frame"), (60, 5, "5 frames a second, and 8 are needed")],
)
def test_frames_in_which_no_pulse_can_be_seen(frames: int, fps: int, said: str) -> None:
    with pytest.raises(VideoError, match=said):
        measure(reader(), np.zeros((frames, 36, 36, 3), np.uint8), region=WHOLE, fps=fps)


def test_a_region_outside_the_picture() -> None:
    with pytest.raises(UsageError, match=r"\(=0,0,37,36\) reaches outside the picture of 36x36"):
        measure(reader(), face_video(72, 30, 1), region="0,0,37,36", fps=30)


@pytest.mark.parametrize(("window", "stride"), [(2.0, 1.0), (1e4, 1.0), (10.0, 11.0), (10, 0.01)])
def test_windows_that_tell_nothing(window: float, stride: float) -> None:
    with pytest.raises(UsageError, match="must be"):
        measure(reader(), face_video(72, 30, 1), region=WHOLE, fps=30, window=window, stride=stride)


def found_in(monkeypatch: pytest.MonkeyPatch, first: int | None, more: int = 0) -> Model:
    """A detector that sees a face in the frame of that number, counted from 0, and smaller ones."""
    looked = iter(range(10**6))

    def find(pixels: Any) -> list[regions.Region]:
        faces = [regions.Region(6, 6, 24, 24), *[regions.Region(0, 0, 8, 8)] * more]
        return faces if next(looked) == first else []

    monkeypatch.setattr(import_module("tsm_ref.pulse.measure"), "detector", lambda model: find)
    return reader()


def test_no_face_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    model = found_in(monkeypatch, None)
    with pytest.raises(VideoError, match="there is no face in the first frames: give its place"):
        measure(model, face_video(72, 30, 4), fps=30)


def test_of_several_faces_the_widest_is_followed_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = measure(found_in(monkeypatch, 0, more=2), face_video(72, 30, 12), fps=30)
    assert found.region == regions.Region(0, 0, 36, 36)
    assert found.found == "1.5 times the face at 0.00 s, the widest of 3"


def test_a_face_that_comes_later_is_followed_from_there(monkeypatch: pytest.MonkeyPatch) -> None:
    found = measure(found_in(monkeypatch, 15), face_video(72, 30, 12), fps=30)
    assert found.start == 0.5
    assert found.region == regions.Region(0, 0, 36, 36)
    assert found.found == "1.5 times the face at 0.50 s"
    assert found.pulse.windows[0].start == 0.5
    assert within(found, 72) == {}
