"""Captures: where each begins, which flags of damage are believed, and files of them joined."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tsm_ref.errors import VideoError
from tsm_ref.video import frames
from tsm_ref.video.captures import Captures

TICK = 1 / 90_000
STEP = 3_600
MPEG2 = {"codec": "mpeg2video", "pix_fmt": "yuv420p", "max_b_frames": 2, "gop_size": 12}
X264 = {"codec": "libx264", "pix_fmt": "yuv420p", "codec_options": {"g": "12"}}
Make = Callable[..., Path]


def packets(*numbers: int, keys: tuple[int, ...] = (0,), flagged: int | None = None) -> list[Any]:
    """Packets at these steps of the time of decoding, then the empty one."""
    made = [
        SimpleNamespace(dts=n * STEP, size=9, is_keyframe=n in keys, is_corrupt=k == flagged)
        for k, n in enumerate(numbers)
    ]
    return [*made, SimpleNamespace(dts=None, size=0, is_keyframe=False, is_corrupt=False)]


def told(given: list[Any], *, jumps: bool = True) -> tuple[list[bool], list[bool]]:
    """For each packet whether a piece is damaged, and whether it precedes a key picture."""
    captures, damaged, headless = Captures(jumps, TICK), [], []
    for packet in given:
        damaged.append(captures.damaged(packet))
        headless.append(captures.headless)
    return damaged, headless


def test_a_flag_is_believed_where_nothing_is_joined() -> None:
    for at in range(6):
        damaged, _ = told(packets(*range(6), flagged=at))
        assert sum(damaged) == 1
        assert at <= damaged.index(True) <= at + 2
        immediate, _ = told(packets(*range(6), flagged=at), jumps=False)
        assert immediate == [n == at for n in range(7)]


@pytest.mark.parametrize("before", [1, 2])
def test_a_flag_just_before_a_joint_is_not_believed(before: int) -> None:
    damaged, headless = told(packets(*range(6), *range(6), flagged=6 - before))
    assert not any(damaged)
    assert not any(headless)


def test_a_flag_long_before_a_joint_is_believed() -> None:
    damaged, _ = told(packets(*range(6), *range(6), flagged=3))
    assert any(damaged)


def test_what_precedes_a_key_picture_of_each_capture_is_known() -> None:
    first, second = range(103, 110), range(43, 50)
    _, headless = told(packets(*first, *second, keys=(105, 48)))
    assert headless == [True] * 2 + [False] * 5 + [True] * 5 + [False] * 3


def test_a_clock_that_wraps_joins_nothing() -> None:
    end = (1 << 33) // STEP
    _, headless = told(packets(end - 2, end - 1, 0, 1, keys=(end - 2,)))
    assert not any(headless)


@pytest.mark.parametrize("codec", [MPEG2, X264])
@pytest.mark.parametrize("partial", [False, True])
def test_captures_may_be_copied_one_behind_the_other(
    partial: bool, codec: dict[str, Any], make_clip: Make
) -> None:
    path = make_clip("a.ts", 36, **codec)
    path.write_bytes(path.read_bytes() * 2)
    with frames(path, allow_partial=partial) as source:
        times = [frame.time for frame in source]
    np.testing.assert_allclose(times, np.arange(72) / 25, atol=1e-6)
    assert [w.partition(":")[0] for w in source.warnings] == ["the timestamps start again"]


def test_a_capture_that_is_joined_begins_with_a_key_picture(make_clip: Make) -> None:
    path = make_clip("a.ts", 60, **MPEG2)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[len(whole) // 3 // 188 * 188 :])
    with frames(path) as source:
        times = [frame.time for frame in source]
    assert len(times) == 96  # and not the two that lean on what precedes the key picture
    np.testing.assert_allclose(np.diff(times), 1 / 25, atol=1e-6)
    assert any(w.startswith("a capture that is joined to it begins") for w in source.warnings)


def test_a_piece_that_is_lost_within_a_capture_is_damage(make_clip: Make) -> None:
    path = make_clip("a.ts", 36, **MPEG2)
    whole = path.read_bytes()
    middle = len(whole) // 2 // 188 * 188
    path.write_bytes(whole[:middle] + whole[middle + 188 * 3 :])
    with pytest.raises(VideoError, match="damaged"), frames(path) as source:
        list(source)
