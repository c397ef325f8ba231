"""The frames of windows: which are held, and which are made in which size."""

import weakref

import numpy as np
import pytest

from tsm_ref.recognition.cutter import WindowCutter
from tsm_ref.video import sliding_windows


def test_only_the_frames_of_open_windows_are_held() -> None:
    alive: weakref.WeakSet[np.ndarray] = weakref.WeakSet()

    class Picture(np.ndarray):
        __hash__ = object.__hash__  # type: ignore[assignment]

    def convert(frame):
        picture = frame.view(Picture)
        alive.add(picture)
        return picture

    windows = sliding_windows(np.arange(1000) / 10, 5, window=1.0, stride=0.5)
    shown = ((i, i / 10, lambda: np.zeros((1, 1))) for i in range(1000))
    most = max(len(alive) for _ in WindowCutter(shown, windows, convert))
    assert 5 <= most <= 10


@pytest.mark.parametrize("most", [0, 3, 1000])
def test_frames_of_windows_that_nobody_wants_need_not_be_made(most: int) -> None:
    made: list[int] = []

    def convert(frame: np.ndarray) -> np.ndarray:
        made.append(int(frame[0, 0]))
        return frame

    windows = sliding_windows(np.arange(100) / 10, 5, window=1.0, stride=1.0)
    sure = np.arange(len(windows)) % 2 == 1
    shown = ((i, i / 10, lambda i=i: np.full((1, 1), i)) for i in range(100))
    for row, frames in WindowCutter(shown, windows, convert, ~sure, most):
        for _ in range(2 * sure[row]):
            assert frames().ravel().tolist() == windows.indices[row].tolist()
    assert len(made) == len(set(made))
    assert set(made) >= set(windows.indices[sure].ravel())
    assert len(made) == {0: 50, 3: 25 + 5 * 2, 1000: 25}[most]


@pytest.mark.parametrize("most", [0, 3, 1000])
@pytest.mark.parametrize("asked", [True, False])
def test_a_window_is_cut_again_with_finer_frames(most: int, asked: bool) -> None:
    """The same rows twice, as the last rung of a ladder stands there; the second is made finer."""
    made: list[tuple[int, int]] = []

    def shrink(size: int):
        def convert(frame: np.ndarray) -> np.ndarray:
            made.append((int(frame[0, 0]), size))
            return frame[:size, :size]

        return convert

    once = sliding_windows(np.arange(60) / 10, 5, window=1.0, stride=1.0)
    rows = np.arange(len(once)).repeat(2)
    windows = type(once)(once.start[rows], once.end[rows], once.indices[rows])
    fine = np.arange(len(rows)) % 2 == 1
    shown = ((i, i / 10, lambda i=i: np.full((4, 4), i)) for i in range(60))
    for row, frames in WindowCutter(shown, windows, shrink(2), fine, most, shrink(4), fine):
        if asked or not fine[row]:
            size = 4 if fine[row] else 2
            assert frames().shape == (5, size, size)
            assert frames()[:, 0, 0].tolist() == windows.indices[row].tolist()
    assert len(made) == len(set(made))
    assert {i for i, size in made if size == 2} == set(windows.indices.ravel())
    finer = sum(size == 4 for _, size in made)
    assert (
        finer == 5 * len(once) if asked or most == 0 else finer <= {3: 2, 1000: 0}[most] * len(once)
    )
