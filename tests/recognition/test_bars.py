"""A picture between black bars is seen as one without them."""

import numpy as np
import pytest

import tsm_ref
from tsm_ref.live import Live
from tsm_ref.recognition import bars
from tsm_ref.recognition.bars import BARRED, without_bars
from tsm_ref.video import Frame

COUNT, RATE = 32, 16


def picture(height, width):
    """Coarse noise (height, width, 3) on a ramp: textured everywhere."""
    coarse = np.random.default_rng(0).integers(40, 216, (height // 8 + 1, width // 8 + 1, 3))
    return coarse.repeat(8, 0).repeat(8, 1)[:height, :width].astype(np.uint8)


def between_bars(frames, height, width):
    """Frames (T, h, w, 3) in the middle of black ones."""
    top, left = (height - frames.shape[1]) // 2, (width - frames.shape[2]) // 2
    sides = ((0, 0), (top, top), (left, left), (0, 0))
    return np.pad(frames, sides)


@pytest.fixture(scope="module")
def portrait():
    """A tilt up (T, 180, 100, 3), one of 1.7 % of the width of a landscape frame per step."""
    high = picture(180 + 3 * COUNT, 100)
    return np.stack([high[3 * k : 3 * k + 180] for k in range(COUNT)])[::-1]


@pytest.fixture(scope="module", params=["camera-motion", "camera-motion-offline"])
def model(request):
    return tsm_ref.load(request.param, engine="numpy")


def test_a_portrait_video_in_a_landscape_frame_moves_as_without_bars(model, portrait):
    found = model.recognize(between_bars(portrait, 180, 320), fps=RATE)
    assert {segment.label for segment in found.segments} == {"tilt up"}
    assert any(BARRED in warning for warning in found.warnings)
    assert not any(BARRED in w for w in model.recognize(portrait, fps=RATE).warnings)


def test_a_stream_sees_it_as_a_file_does(portrait):
    live = Live(tsm_ref.load("camera-motion", engine="numpy"))
    barred = between_bars(portrait, 180, 320)[::2]
    found = list(live.run([Frame(k, k / 8, pixels) for k, pixels in enumerate(barred)]))
    assert {update.label for update in found[8:]} == {"tilt up"}
    assert live.notes[BARRED] == len(found)


def test_without_that_it_is_less_sure(model, portrait, monkeypatch):
    shown = between_bars(portrait, 180, 320)
    sure = model.recognize(shown, fps=RATE).predictions[0]
    monkeypatch.setattr(bars, "MOST", 0.0)
    found = {p.label: p.probability for p in model.recognize(shown, fps=RATE).predictions}
    assert found["tilt up"] < sure.probability - 0.03


@pytest.mark.parametrize(("height", "width"), [(64, 20), (64, 48), (30, 64), (30, 30)])
def test_only_the_picture_is_left(height, width):
    shown = np.stack([picture(height, width)] * 3)
    noise = np.random.default_rng(1).integers(0, 9, (3, 64, 64, 3)).astype(np.uint8)
    window = np.maximum(between_bars(shown, 64, 64), noise)[:, None]
    seen = without_bars(window)
    assert seen.shape == window.shape
    assert seen.min() >= 40


@pytest.mark.parametrize(
    "kind", ["none", "narrow", "one side", "unlike", "lively", "bright", "all"]
)
def test_other_frames_stay_as_they_are(kind):
    window = np.zeros((8, 1, 64, 64, 3), np.uint8)
    first, last = {
        "none": (0, 64), "narrow": (5, 59), "one side": (0, 30), "unlike": (10, 34), "all": (0, 0)
    }.get(kind, (22, 42))  # fmt: skip
    window[:, :, :, first:last] = picture(64, 64)[:, first:last]
    if kind == "lively":  # something happens there in one frame
        window[3, :, :, 2] = 200
    if kind == "bright":
        window[:, :, :, :22], window[:, :, :, 42:] = 99, 99
    assert without_bars(window) is window


def test_more_views_than_one_stay_apart():
    window = np.zeros((2, 2, 64, 64, 3), np.uint8)
    window[:, 0, :, 22:42], window[:, 1, :, 22:42] = 50, 150
    window[1] = np.where(window[1], window[1] + 5, 0)
    seen = without_bars(window)
    assert np.unique(seen[0, 0]).tolist() == [50]
    assert np.unique(seen[1, 1]).tolist() == [155]
