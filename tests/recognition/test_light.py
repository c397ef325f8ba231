"""Fades, flashes, black and noise are no moves, and moves in changing light are moves."""

import numpy as np
import pytest

import tsm_ref
from tsm_ref.checkpoint import weights_folder
from tsm_ref.recognition import light
from tsm_ref.recognition.light import BLANK, RELIT, evenly_lit, judged, shows_nothing
from tsm_ref.recognition.render import as_table

RATE, FRAMES = 25, 150
T = np.arange(FRAMES)[:, None, None, None]


@pytest.fixture(scope="module")
def model():
    return tsm_ref.load("camera-motion", engine="numpy")


@pytest.fixture(scope="module")
def films():
    """The frames of the samples, the first of which serve as pictures."""
    pytest.importorskip("av")
    found = {}
    for name in ("pan_left", "zoom_in", "roll_clockwise"):
        with tsm_ref.video.frames(weights_folder() / "samples" / f"{name}.mp4") as source:
            found[name] = np.stack([frame.pixels for frame in source])
    return found


def ramp(seconds, end=FRAMES):
    """1 until so many seconds before a frame, then down to 0."""
    return np.clip((end - 1 - T) / (seconds * RATE), 0, 1)


def v(seconds, middle=75):
    """A way down to 0 in the middle and up again."""
    return np.clip(np.abs(T - middle) / (seconds * RATE / 2), 0, 1)


LIGHTS = {
    "fade out": (lambda s: ramp(s), 0),
    "fade out to white": (lambda s: ramp(s), 255),
    "fade in": (lambda s: ramp(s)[::-1], 0),
    "dip": (lambda s: v(s), 0),
    "dip to white": (lambda s: v(s), 255),
}


def moves(model, clip):
    found = model.recognize(np.clip(clip + 0.5, 0, 255).astype(np.uint8), fps=RATE)
    return {s.label for s in found.segments} - {"static", "unsure"}, found


@pytest.mark.parametrize("seconds", [0.4, 1.5, 3.3, 5.0])
@pytest.mark.parametrize("name", LIGHTS)
def test_a_fade_is_no_move(model, films, name, seconds):
    share, colour = LIGHTS[name]
    noise = np.random.default_rng(1).normal(0, 1, (FRAMES, 64, 64, 3))
    for film in films.values():
        picture = film[0][:64, :64]
        clip = picture * share(seconds) + colour * (1 - share(seconds)) + noise
        assert moves(model, clip)[0] == set()


@pytest.mark.parametrize("length", [1, 2, 6])
def test_a_flash_is_no_move(model, films, length):
    hit = np.isin(T, np.arange(70, 70 + length))
    for film in films.values():
        assert moves(model, np.where(hit, 250, film[0][:64, :64]))[0] == set()


@pytest.mark.parametrize("level", [0, 16, 255])
def test_a_blank_picture_shows_no_move(model, level):
    noise = np.random.default_rng(level).normal(0, 2.0, (FRAMES, 64, 64, 3))
    assert moves(model, level + noise)[0] == set()


def test_snow_shows_no_move_and_it_is_said(model):
    snow = np.random.default_rng(0).integers(0, 256, (FRAMES, 64, 64, 1)).repeat(3, 3)
    named, found = moves(model, snow)
    assert named == set()
    assert found.predictions[0].probability == pytest.approx(1 / len(model.labels))
    assert found.labels == ("unsure",)
    assert {segment.label for segment in found.segments} == {"unsure"}
    assert as_table(found).startswith("unsure, perhaps ")
    assert "unsure, perhaps" in repr(found)
    assert any(BLANK in warning for warning in found.warnings)


def test_without_a_look_at_the_light_some_of_these_are_moves(model, monkeypatch):
    monkeypatch.setattr(light, "shows_nothing", lambda _: False)
    snow = np.random.default_rng(0).integers(0, 256, (FRAMES, 64, 64, 1)).repeat(3, 3)
    assert moves(model, snow)[0] != set()


@pytest.mark.parametrize("name", ["pan_left", "zoom_in", "roll_clockwise"])
def test_a_move_that_fades_is_a_move(model, films, name):
    film = films[name]
    share = np.linspace(1, 0.1, len(film))[:, None, None, None]
    named, _ = moves(model, film * share)
    assert name.replace("_", " ") in named


def test_the_network_is_asked_again_only_where_the_light_changes():
    asked = []

    def logits_of(pixels):
        asked.append(pixels)
        return np.array([[0.0, 1.0]]) if len(asked) == 1 else np.array([[1.0, 0.0]])

    y, x = np.mgrid[:64, :64]
    picture = (127 + 100 * np.sin(x / 7) * np.cos(y / 9))[None, :, :, None].repeat(3, 3)
    even = np.stack([picture.astype(np.uint8)] * 8)
    assert judged(even, logits_of, rest=0)[1] is None
    assert len(asked) == 1
    asked.clear()
    fading = np.stack([picture * g for g in np.linspace(1, 0, 8)]).astype(np.uint8)
    logits, note = judged(fading, logits_of, rest=0)
    assert (logits.tolist(), note) == ([[1.0, 0.0]], RELIT)


def test_rest_is_not_asked_again_and_said_only_where_there_is_a_picture():
    calls = []

    def logits_of(pixels):
        calls.append(1)
        return np.array([[0.0, 1.0]])

    black = np.zeros((8, 1, 64, 64, 3), np.uint8)
    lit = np.linspace(10, 250, 64, dtype=np.uint8)[:, None] + black
    assert (lit[0] == lit).all()
    for pixels, rest, logits, said in (
        (lit, 1, [0.0, 1.0], None),
        (black, 1, [0.0, 0.0], BLANK),
        (black, None, [0.0, 1.0], None),
    ):
        found, note = judged(pixels, logits_of, rest)
        assert (found.tolist(), note) == ([logits], said)
    assert len(calls) == 3


def test_what_is_black_for_a_while_is_not_said_to_move_or_to_rest(model, films):
    """Nor is it counted as more windows than there are."""
    film = films["pan_left"][:75]
    film = np.concatenate([film * 0, film])
    found = model.recognize(film, fps=RATE)
    assert [segment.label for segment in found.segments] == ["unsure", "pan left"]
    assert found.segments[0].end == pytest.approx(3.0, abs=0.51)
    assert found.labels == ("pan left",)
    black = model.recognize(film[:75], fps=RATE)
    assert black.labels == ("unsure",)
    assert any(warning.startswith("of 5 of 5 windows: ") for warning in black.warnings)
    assert "would not show" not in as_table(black)


def test_frames_without_contrast_show_the_nearest_that_has_some():
    x = np.mgrid[:32, :32][1]
    picture = (8 * x).astype(np.uint8)[None, :, :, None].repeat(3, 3)
    clip = np.stack([picture * 0, picture, picture // 2, picture * 0 + 255])
    lit = evenly_lit(clip)
    assert lit is not None
    assert np.abs(lit.astype(int) - picture).max() <= 2
    assert evenly_lit(np.stack([picture] * 4)) is None
    assert evenly_lit(np.zeros((4, 1, 32, 32, 3), np.uint8)) is None


def test_a_fast_pan_and_a_cut_have_something_in_common():
    rng = np.random.default_rng(0)
    wide = rng.normal(0, 1, (64, 400)).cumsum(0).cumsum(1)
    wide = ((wide - wide.min()) / np.ptp(wide) * 255).astype(np.uint8)
    pan = np.stack([wide[:, 12 * t : 12 * t + 64] for t in range(8)])[:, None, :, :, None]
    assert not shows_nothing(pan.repeat(3, 4))
    cut = pan.copy()
    cut[4:] = cut[:4, :, ::-1]
    assert not shows_nothing(cut.repeat(3, 4))
    assert shows_nothing(rng.integers(0, 256, (8, 1, 64, 64, 3), np.uint8))
