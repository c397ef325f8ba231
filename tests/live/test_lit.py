"""A stream is held to the light as a file is: fades, flashes and snow are no moves."""

import numpy as np
import pytest

import tsm_ref
from tsm_ref.live import Live, Pace
from tsm_ref.live.lit import Lit
from tsm_ref.recognition.light import BLANK, RELIT
from tsm_ref.video import Frame, normalize

COUNT = 40
T = np.arange(COUNT)[:, None, None, None]


@pytest.fixture(scope="module")
def model():
    return tsm_ref.load("camera-motion", engine="numpy")


@pytest.fixture(scope="module")
def picture():
    """Coarse noise (64, 64, 3): textured everywhere."""
    coarse = np.random.default_rng(0).integers(40, 216, (16, 16, 3))
    return coarse.repeat(4, 0).repeat(4, 1)


def followed(model, clip, pace=None):
    live = Live(model, pace=pace or Pace())
    clip = np.clip(clip + 0.5, 0, 255).astype(np.uint8)
    shown = [Frame(k, k / 8, pixels) for k, pixels in enumerate(clip)]
    return list(live.run(shown)), live


LIGHTS = {
    "fade in": lambda x: x * np.clip(T / 12, 0, 1),
    "fade out": lambda x: x * np.clip((30 - T) / 12, 0, 1),
    "flash": lambda x: np.where((T >= 20) & (T < 22), 250, x),
    "dip to white": lambda x: 255 - (255 - x) * np.clip(np.abs(T - 20) / 9, 0, 1),
    "black": lambda x: x * 0,
    "snow": lambda x: np.random.default_rng(1).integers(0, 256, (COUNT, *x.shape)),
}


def moves(model):
    rest = {model.profile.no_event, *model.profile.aimless, "unsure"}
    return set(model.labels) - rest


@pytest.mark.parametrize("name", LIGHTS)
def test_light_is_no_move_in_a_stream(model, picture, name):
    noise = np.random.default_rng(2).normal(0, 1, (COUNT, *picture.shape))
    found, _ = followed(model, LIGHTS[name](picture) + noise)
    assert len(found) == COUNT
    assert {update.label for update in found} & moves(model) == set()


def test_without_a_look_at_the_light_some_of_these_are_moves(model, picture, monkeypatch):
    monkeypatch.setattr(Lit, "judged", lambda self, means, coming: (None, None))
    said = set()
    still = np.zeros((COUNT, 1, 1, 1))
    for light in LIGHTS.values():
        said |= {update.label for update in followed(model, light(picture) + still)[0]}
    assert said & moves(model)


def test_a_pan_in_even_light_is_a_pan_and_nothing_is_noticed(model):
    wide = np.random.default_rng(0).integers(40, 216, (16, 80, 3)).repeat(4, 0).repeat(4, 1)
    found, live = followed(model, np.stack([wide[:, 3 * k : 3 * k + 64] for k in range(COUNT)]))
    assert {update.label for update in found[8:]} == {"pan right"}
    assert not live.notes


def test_what_was_noticed_is_counted(picture):
    """A model that takes every change of the light for a move is corrected, and that is said."""
    model = tsm_ref.load("camera-motion", engine="numpy")
    lit = Lit(model, delay=0)
    for gain in np.linspace(1, 0.2, 8):
        lit.take((picture * gain).astype(np.uint8)[None])
    pan = np.eye(len(model.labels))[1] * 9
    found, note = lit.judged(pan, coming=0)
    assert note == RELIT
    assert found.argmax() != 1
    for _ in range(8):
        lit.take(np.zeros((1, 64, 64, 3), np.uint8))
    assert lit.judged(pan, coming=0)[1] == BLANK


def test_one_picture_is_no_move(model):
    """Whatever a stream, which begins behind nothing, says of its first frame."""
    for seed in range(4):
        coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
        picture = coarse.repeat(8, 0).repeat(8, 1)
        (first,), _ = followed(model, picture[None])
        assert first.label == "static"
        still = normalize(picture[None, None].repeat(8, 0), model.profile.preprocess)
        chances = model.probabilities(model(still))[0]
        assert first.top[0][2] == pytest.approx(chances[0], abs=1e-6)


def test_a_model_that_names_no_motions_keeps_no_frames():
    model = tsm_ref.build("resnet18", num_classes=3, engine="numpy")
    lit = Lit(model, delay=2)
    lit.take(np.zeros((1, 224, 224, 3), np.uint8))
    means = np.array([0.0, 1.0, 2.0])
    assert lit.judged(means, coming=0) == (None, None)
    assert lit.state["lit.frames"].size == 0
