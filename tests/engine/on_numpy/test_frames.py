"""Which frames a block of a shifted clip is copied from, against the definition frame by frame."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import FILLS
from tsm_ref.engine.on_numpy.frames import Fold, ShiftedFrames, copy_frames, folds


def definition(x: np.ndarray, d, fill: str, segment: int, t: int, c: int) -> float:
    """out[c, t] = x[c, t - d[c]] inside the segment of t; 0 outside the clip."""
    frames = x.shape[1]
    if not 0 <= t < frames:
        return 0
    length = segment or frames
    begin = t - t % length
    s = t - begin - (d[c] if len(d) else 0)
    if fill == "circular":
        s %= length
    elif fill == "replicate":
        s = sorted((0, s, length - 1))[1]
    return x[c, begin + s] if 0 <= s < length else 0


@st.composite
def shifted_clips(draw):
    channels, segment = draw(st.integers(1, 6)), draw(st.sampled_from([0, 1, 2, 3]))
    frames = draw(st.integers(1, 4)) * max(segment, 1)
    lengths = st.sampled_from([0, channels])
    d = draw(lengths.flatmap(lambda n: st.lists(st.integers(-5, 5), min_size=n, max_size=n)))
    x = 1.0 + np.arange(channels * frames, dtype=np.float64).reshape(channels, frames)
    start = draw(st.integers(-3, frames + 1))
    stop = draw(st.integers(start + 1, frames + 4))
    return ShiftedFrames(x, tuple(d), draw(st.sampled_from(FILLS)), segment), start, stop


@given(shifted_clips())
def test_the_copies_of_a_block_are_the_shifted_frames(drawn):
    frames, start, stop = drawn
    block = np.full((frames.x.shape[0], stop - start), np.nan)
    copy_frames(block, frames.x, frames.copies(start, stop))
    args = frames.x, frames.d, frames.fill, frames.segment
    for c, i in np.ndindex(*block.shape):
        assert block[c, i] == definition(*args, start + i, c)


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("segment", [0, 1, 2, 3])
def test_every_block_of_every_shift(fill, segment):
    d = tuple(range(-7, 8))
    x = 1.0 + np.arange(len(d) * 6, dtype=np.float64).reshape(len(d), 6)
    frames = ShiftedFrames(x, d, fill, segment)
    whole = [[definition(x, d, fill, segment, t, c) for t in range(6)] for c in range(len(d))]
    for start, stop in combinations(range(7), 2):
        block = np.full((len(d), stop - start), np.nan)
        copy_frames(block, x, frames.copies(start, stop))
        np.testing.assert_array_equal(block, np.array(whole)[:, start:stop])


def test_a_block_takes_few_copies():
    """Two folds and a rest, in the middle of a clip: one slice each; at its ends one more."""
    x = np.zeros((16, 32))
    frames = ShiftedFrames(x, (-1,) * 2 + (1,) * 2 + (0,) * 12)
    assert len(frames.copies(8, 16)) == 3
    assert len(frames.copies(0, 32)) == 5


def test_runs_are_neighbours_of_equal_shift():
    assert folds((), 4) == [Fold(0, 4, 0)]
    assert folds((1,), 1) == [Fold(0, 1, 1)]
    assert folds((0, 0, 2, 0), 4) == [Fold(0, 2, 0), Fold(2, 3, 2), Fold(3, 4, 0)]


@pytest.mark.parametrize(("d", "shifted"), [((), False), ((0, 0), False), ((0, -1), True)])
def test_a_shift_by_nothing_is_none(d, shifted):
    assert ShiftedFrames(np.zeros((2, 3)), d).shifted is shifted
