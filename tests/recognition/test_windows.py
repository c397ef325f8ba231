"""Windows of several lengths: which there are, and the timeline that they give."""

from dataclasses import replace

import numpy as np
import pytest

import tsm_ref
from tsm_ref.profile import PROFILES, Profile, Sampling
from tsm_ref.recognition import sampled
from tsm_ref.recognition.windows import ladder, timeline
from tsm_ref.video import Windows, frame_times


@pytest.mark.parametrize(
    ("seconds", "lengths"),
    [(0.5, [0.5]), (1.0, [1.0]), (1.5, [1.0, 1.5]), (6.0, [1, 2, 4, 6]), (8.0, [1, 2, 4, 8]),
     (60.0, [1, 2, 4, 8])],
)  # fmt: skip
def test_the_lengths_double_up_to_the_longest_or_the_clip(seconds, lengths):
    made = ladder(frame_times(int(seconds * 20), 20.0), Sampling("windows", 4, 1.0, 0.5, 8.0))
    length = made.windows.end - made.windows.start
    assert [length[made.rung == k].mean() for k in range(len(lengths))] == pytest.approx(lengths)
    assert (np.diff(made.windows.end) >= -1e-9).all()


def test_the_last_length_is_there_again_for_finer_frames():
    times, sampling = frame_times(120, 20.0), Sampling("windows", 4, 1.0, 0.5, 8.0, finer=3)
    made, plain = ladder(times, sampling), ladder(times, replace(sampling, finer=1))
    assert made.rung.max() == plain.rung.max() + 1
    assert made.scale.tolist() == np.where(made.rung == made.rung.max(), 3, 1).tolist()
    assert set(plain.scale) == {1}
    longest = [made.windows.indices[made.rung == made.rung.max() - k].tolist() for k in (0, 1)]
    assert longest[0] == longest[1]


def test_the_slowest_motion_that_shows_is_a_matter_of_length_and_size():
    made = ladder(frame_times(120, 20.0), Sampling("windows", 4, 1.0, 0.5, 8.0, finer=2))
    found = made.slowest(frame_times(120, 20.0), 0.01)
    shortest, longest, finest = (
        found[made.rung == k] for k in (0, made.rung.max() - 1, made.rung.max())
    )
    assert shortest == pytest.approx(0.01 / 0.25, rel=0.1)
    assert longest == pytest.approx(0.01 / 1.5, rel=0.1)
    assert finest == pytest.approx(longest / 2)
    assert np.isinf(made.slowest(np.zeros(120), 0.01)).all()


def test_without_a_longest_there_is_one_length():
    made = ladder(frame_times(100, 10.0), Sampling("windows", 4, 1.0, 0.5))
    assert set(made.rung) == {0}


@pytest.mark.parametrize("sure", [0.0, 0.8])
def test_what_is_less_probable_than_asked_is_unsure(sure):
    two = Windows(np.array([0.0, 1.0]), np.array([1.0, 2.0]), np.zeros((2, 8), int))
    chances = [np.array([0.9, 0.1]), np.array([0.3, 0.7])]
    found = timeline(two, chances, ("walk", "talk").__getitem__, sure=sure)
    assert [s.label for s in found] == ["walk", "unsure" if sure else "talk"]
    assert [s.index for s in found] == [0, 1]


@pytest.mark.parametrize("stride", [0.5, 3.0])
def test_a_moment_lies_in_a_window_of_each_length(stride):
    """Also where the short ones leave gaps."""
    made = ladder(frame_times(600, 10.0), Sampling("windows", 4, 1.0, stride, 8.0))
    w = made.windows
    for middle in (made.shortest().start + made.shortest().end) / 2:
        for rung in set(made.rung.tolist()):
            row = made.rung == rung
            assert ((w.start[row] <= middle + 1e-6) & (middle <= w.end[row] + 1e-6)).any()


def test_a_window_that_is_asked_for_is_the_only_length():
    profile = tsm_ref.load("camera-motion", engine="numpy").profile
    for asked, longest, finer in ((None, 8.0, 2), (4.0, 0.0, 1)):
        sampling = sampled(profile, window=asked, stride=1.0).sampling
        assert (sampling.longest, sampling.finer) == (longest, finer)


def test_other_labels_have_no_class_for_rest_until_it_is_named():
    profile = Profile(labels=("still", "moving"), no_event="still")
    assert profile.no_event_index == 0
    assert profile.with_changes(labels=("a", "b")).no_event_index is None
    assert profile.with_changes(labels=("a", "b"), no_event="b").no_event_index == 1
    with pytest.raises(ValueError, match="no_event"):
        PROFILES["mit"].with_changes(no_event="still")


def test_own_names_for_the_classes_of_a_model_that_has_one_for_rest():
    names = [f"class {k}" for k in range(9)]
    profile = tsm_ref.load("camera-motion", engine="numpy", labels=names).profile
    assert (profile.labels, profile.no_event, profile.sure) == (tuple(names), "", 0.0)
    names[0] = "static"
    assert tsm_ref.load("camera-motion", engine="numpy", labels=names).profile.no_event_index == 0
