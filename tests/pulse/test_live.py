"""Frames as they come: the same pulse as in the file, and no more memory than a window takes."""

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np
import pytest

from tests.pulse_faces import face_video, reader
from tsm_ref.errors import VideoError
from tsm_ref.pulse import LivePulse
from tsm_ref.video import Frame

WHOLE = "0,0,36,36"


def coming(frames: Any, rate: float) -> Iterator[Frame]:
    for i, pixels in enumerate(frames):
        yield Frame(i, i / rate, pixels)


@pytest.mark.parametrize("profile", ["mtts-can", "ts-can-rlap"])
@pytest.mark.parametrize("rate", [15, 30, 60])
def test_a_stream_finds_the_pulse(rate: int, profile: str) -> None:
    for beats in (50, 110, 170):
        live = LivePulse(reader("HWC", profile), region=WHOLE, stride=1.0)
        found = list(live.run(coming(face_video(beats, rate, 13), rate)))
        assert len(found) == 3
        assert max(abs(one.rate - beats) for one in found) < 2
        assert [round(one.end - one.start, 6) for one in found] == [10.0] * 3


def test_a_segment_is_run_as_soon_as_the_frame_behind_it_has_come() -> None:
    live = LivePulse(reader(), region=WHOLE, window=4.0, stride=4.0)
    given = []

    def counted() -> Iterator[Frame]:
        for frame in coming(face_video(72, 30, 6), 30):
            given.append(frame)
            yield frame

    next(iter(live.run(counted())))
    assert len(given) == 4 * 30 + 1


def test_memory_is_that_of_a_segment() -> None:
    live = LivePulse(reader(), region=WHOLE, window=4.0)
    frames = face_video(72, 60, 5)
    list(live.run(coming(np.concatenate([frames] * 8), 60)))
    assert len(live._track._frames) < 30
    assert len(live._parts) == 12
    assert len(live._changes) == 4 * 30


def test_the_rate_is_followed_when_it_changes() -> None:
    frames = np.concatenate([face_video(60, 30, 12), face_video(130, 30, 12)])
    live = LivePulse(reader(), region=WHOLE)
    found = list(live.run(coming(frames, 30)))
    assert abs(found[0].rate - 60) < 2
    assert abs(found[-1].rate - 130) < 2


def test_a_stream_without_a_face_ends_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        import_module("tsm_ref.pulse.measure"), "detector", lambda model: lambda pixels: []
    )
    with pytest.raises(VideoError, match="no face"):
        list(LivePulse(reader()).run(coming(face_video(72, 30, 4), 30)))
