"""The published preprocessing, written out frame by frame as it is published."""

from typing import Any

import numpy as np
import pytest

import tsm_ref
from tests.pulse_faces import reader
from tsm_ref.errors import UsageError
from tsm_ref.pulse.recipes import RECIPES, Statistics, depth_of, recipe_for, size_of


@pytest.fixture
def frames(rng: np.random.Generator) -> Any:
    return rng.integers(0, 256, (12, 16, 16, 3)).astype(np.float32)


def made(name: str, frames: Any, *, whole: bool = True, depth: int = 3) -> dict[str, Any]:
    """The inputs of all frames, or of all but the last, which is then the one behind them."""
    known = Statistics()
    known.add(frames)
    taken, behind = (frames, None) if whole else (frames[:-1], frames[-1])
    return RECIPES[name].inputs(taken, behind, known, depth)


def rows(value: Any) -> Any:
    """An input (1, C, T, H, W) as frames (T, H, W, C)."""
    return value[0].transpose(1, 2, 3, 0)


def test_open_rppg(frames: Any) -> None:
    """Each difference over its own pixels, the last one again; the mean frame; values of 0 to 1."""
    found = made("open-rppg", frames)
    x = frames.astype(np.float64) / 255
    for t in range(12):
        step = x[min(t, 10) + 1] - x[min(t, 10)]
        wanted = (step - step.mean((0, 1))) / (step.std((0, 1)) + 1e-6)
        np.testing.assert_allclose(rows(found["motion"])[t], wanted, atol=1e-4)
    np.testing.assert_allclose(rows(found["appearance"])[0], x.mean(0), atol=1e-6)
    assert found["appearance"].shape == (1, 3, 1, 16, 16)


@pytest.mark.parametrize("name", ["toolbox", "mtts-can"])
def test_what_is_standardised_over_the_clip(name: str, frames: Any) -> None:
    found = made(name, frames)
    x = frames.astype(np.float64)
    steps = np.stack([(x[t + 1] - x[t]) / (x[t + 1] + x[t] + 1e-7) for t in range(11)])
    wanted = np.concatenate([steps / steps.std(), np.zeros((1, 16, 16, 3))])
    np.testing.assert_allclose(rows(found["motion"]), wanted, atol=1e-4)
    np.testing.assert_allclose(rows(found["appearance"]), (x - x.mean()) / x.std(), atol=1e-4)


def test_efficient_phys(frames: Any) -> None:
    """What its code takes the differences of: standardised frames, the last of them twice."""
    x = frames.astype(np.float64)
    standard = (x - x.mean()) / x.std()
    wanted = np.diff(np.concatenate([standard, standard[-1:]]), axis=0)
    np.testing.assert_allclose(rows(made("efficient-phys", frames)["motion"]), wanted, atol=1e-4)


def test_big_small(frames: Any) -> None:
    cv2 = pytest.importorskip("cv2")
    found = made("big-small", frames)
    x = frames.astype(np.float64)
    steps = np.stack([(x[t + 1] - x[t]) / (x[t + 1] + x[t] + 1e-7) for t in range(11)])
    steps = np.concatenate([steps / steps.std(), np.zeros((1, 16, 16, 3))])
    assert found["small"].shape == (4, 3, 3, 1, 1)
    assert found["big"].shape == (4, 3, 1, 16, 16)
    for t in range(12):
        wanted = cv2.resize(steps[t], (1, 1), interpolation=cv2.INTER_AREA)
        np.testing.assert_allclose(
            found["small"][t // 3, :, t % 3].ravel(), wanted.ravel(), atol=1e-4
        )
    for segment in range(4):
        wanted = (x[3 * segment] - x.mean()) / x.std()
        np.testing.assert_allclose(rows(found["big"][segment : segment + 1])[0], wanted, atol=1e-4)


@pytest.mark.parametrize("name", ["open-rppg", "toolbox", "mtts-can", "efficient-phys"])
def test_a_frame_behind_makes_the_last_difference(name: str, frames: Any) -> None:
    whole, part = made(name, frames)["motion"], made(name, frames, whole=False)["motion"]
    np.testing.assert_array_equal(part, whole[:, :, :11])


def test_statistics_do_not_care_about_pieces(frames: Any) -> None:
    whole, pieces = Statistics(), Statistics()
    whole.add(frames)
    pieces.add(frames[:5], frames[5])
    last = Statistics()
    last.add(frames[5:])
    pieces = Statistics.over([pieces, last])
    assert np.isclose(whole.mean, pieces.mean)
    assert np.isclose(whole.spread, pieces.spread)
    assert np.isclose(whole.change, pieces.change)


def test_frames_without_any_change_divide_by_one() -> None:
    still = np.full((5, 2, 2, 3), 7, np.float32)
    found = made("toolbox", still, depth=1)
    assert not any(value.any() for value in found.values())


@pytest.mark.parametrize(
    ("model", "name", "why"),
    [
        (reader("CHW"), "toolbox", "by the order of its dense layers"),
        (reader("HWC"), "mtts-can", "by the order of its dense layers"),
        (reader("HWC", "ts-can-rlap"), "open-rppg", "by its profile"),
        (tsm_ref.build("efficient-phys", size=36, hidden=2), "efficient-phys", "by its inputs"),
        (tsm_ref.build("big-small", hidden=2, filters=(3, 3)), "big-small", "by its inputs"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_recipe_of_a_model(model: Any, name: str, why: str) -> None:
    assert (recipe_for(model)[0].name, recipe_for(model)[1]) == (name, why)
    assert size_of(model.graph) == (144 if name == "big-small" else 36)


def test_a_recipe_that_is_asked_for() -> None:
    assert recipe_for(reader(), "open-rppg") == (RECIPES["open-rppg"], "as asked")
    with pytest.raises(UsageError, match="must be one of open-rppg, toolbox, mtts-can for 'reader"):
        recipe_for(reader(), "big-small")
    with pytest.raises(UsageError, match="'camera-motion' finds no pulse: that do TS-CAN"):
        recipe_for(tsm_ref.load("camera-motion", engine="numpy"))


def test_the_depth_is_that_of_the_shift() -> None:
    depths = [depth_of(tsm_ref.build("ts-can", frame_depth=d, hidden=2)) for d in (10, 20)]
    assert depths == [10, 20]
    assert depth_of(tsm_ref.build("ts-can", placement="none", hidden=2)) == 1
