"""A few pictures of a long video: the same pixels, and few others decoded for them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tsm_ref.errors import VideoError
from tsm_ref.video import FileClip, read_wanted, surveyed
from tsm_ref.video.decode import VideoFile
from tsm_ref.video.sparse import LONG, Marks, runs

Make = Callable[..., Path]

X264 = {"codec": "libx264", "pix_fmt": "yuv420p"}
KINDS = {
    "a.mp4": {**X264, "codec_options": {"g": "12", "bf": "2"}},
    "open.mkv": {**X264, "codec_options": {"g": "12", "bf": "2", "x264-params": "open-gop=1"}},
    "refresh.mkv": {**X264, "codec_options": {"g": "12", "x264-params": "intra-refresh=1"}},
    "a.mov": {**X264, "codec_options": {"g": "10", "bf": "3", "x264-params": "b-pyramid=normal"}},
    "every.mkv": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
}
WANTED = [3, 700, 701, 340, 340, LONG - 1]


@pytest.fixture
def pictures() -> list[np.ndarray]:
    """As many as a long video has, each another one."""
    rng = np.random.default_rng(5)
    world = rng.integers(0, 256, (32, 48 + LONG, 3), np.uint8)
    return [world[:, i : i + 48] for i in range(LONG)]


def _read(path: Path, wanted: Any = WANTED, *, decode: bool = False, **how: Any) -> Any:
    clip = FileClip(path, **how)
    if decode:
        return read_wanted(clip, clip.survey(decode=True), wanted)
    return surveyed(clip, lambda known: read_wanted(clip, known, wanted))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", KINDS)
def test_the_pixels_are_those_of_the_whole_video(
    make_clip: Make, pictures: list[np.ndarray], name: str, threads: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    path = make_clip(name, pictures, **KINDS[name])
    decoded: list[object] = []
    plain = VideoFile._decoded

    def counted(self: VideoFile, packet: Any) -> Any:
        decoded.append(packet)
        return plain(self, packet)

    monkeypatch.setattr(VideoFile, "_decoded", counted)
    few = _read(path, threads=threads)
    count = len(decoded)
    whole = _read(path, decode=True)
    np.testing.assert_array_equal(few.unique, whole.unique)
    np.testing.assert_array_equal(few.times, whole.times)
    assert few.info.frame_count == LONG
    if name != "refresh.mkv":  # whose key pictures become whole later: all of it is decoded
        assert count < LONG // 5


DIVX = {"codec": "mpeg4", "codec_options": {"g": "12", "bf": "2"}}
UNTOLD = {
    "a.avi": DIVX,  # keeps no times of display
    "a.webm": {"codec": "libvpx", "codec_options": {"g": "12", "auto-alt-ref": "1"}},
    "a.mkv": {**X264, "rate": 50, "times": [2 * i - (i > 500) for i in range(LONG)]},
}


@pytest.mark.parametrize("name", UNTOLD)
def test_where_packets_need_not_be_pictures_all_is_decoded(
    make_clip: Make, pictures: list[np.ndarray], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_clip(name, pictures, **{"pix_fmt": "yuv420p"} | UNTOLD[name])
    monkeypatch.setattr(VideoFile, "picked", lambda *_, **__: pytest.fail("packets are believed"))
    assert _read(path).frames_decoded == LONG


def test_two_packets_of_one_picture_are_noticed(
    make_clip: Make, pictures: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_clip("a.mp4", pictures, **KINDS["a.mp4"])
    plain = VideoFile._decoded
    monkeypatch.setattr(VideoFile, "_decoded", lambda self, packet: plain(self, packet)[::2])
    with VideoFile(path) as source, pytest.raises(VideoError, match="not one for each picture"):
        list(source.picked([(0, 5)]))


def test_a_short_video_is_decoded_to_its_end(
    make_clip: Make, pictures: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_clip("a.mp4", pictures[: LONG - 1], **KINDS["a.mp4"])
    monkeypatch.setattr(VideoFile, "picked", lambda *_, **__: pytest.fail("it is no long one"))
    assert _read(path, [3, 500]).frames_decoded == LONG - 1


@pytest.mark.parametrize("partial", [False, True])
def test_damage_that_is_met_is_told_as_ever(
    make_clip: Make, pictures: list[np.ndarray], partial: bool
) -> None:
    path = make_clip("a.mp4", pictures, **KINDS["a.mp4"])
    data, at = bytearray(path.read_bytes()), 60_000
    data[at : at + 3000] = bytes(3000)
    path.write_bytes(data)
    told: list[str] = []
    for decode in (False, True):
        try:
            got = _read(path, range(0, 900, 90), decode=decode, allow_partial=partial)
            told.append(" ".join(got.info.warnings).partition(" (")[0])
        except VideoError as error:
            told.append(str(error).partition(" (")[0])  # FFmpeg names repeated damage once
    assert told[0] == told[1] == "a part of the video is damaged"


def test_packets_that_do_not_tell_are_not_believed() -> None:
    keys, shown = np.arange(12) % 4 == 0, np.ones(12, bool)
    assert runs(Marks(np.zeros(12, np.int64), keys, shown), np.array([0])) is None
    assert runs(Marks(np.arange(12), keys & False, shown), np.array([3])) is None


def test_a_picture_shown_before_its_key_picture_takes_the_one_before() -> None:
    stamps = np.array([0, 3, 1, 2, 6, 4, 5, 9, 7, 8, 12, 10, 11])
    keys = np.isin(stamps, [0, 6])
    marks = Marks(stamps, keys, np.ones(13, bool))
    assert runs(marks, np.array([5])) is None  # from the first picture to the seventh
    longer = Marks(np.append(stamps, np.arange(13, 40)), np.append(keys, np.ones(27, bool)),
                   np.ones(40, bool))  # fmt: skip
    assert runs(longer, np.array([5])) == [(0, 6)]
    assert runs(longer, np.array([5, 6, 20])) == [(0, 6), (20, 20)]
