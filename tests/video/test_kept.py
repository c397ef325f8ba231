from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace as Packet

import numpy as np
import pytest

from tsm_ref.video import FileClip, frames
from tsm_ref.video.decode import VideoFile
from tsm_ref.video.kept import Kept

Make = Callable[..., Path]
B_PICTURES = {"codec": "libx264", "pix_fmt": "yuv420p", "codec_options": {"bf": "2"}}
FORMATS = {
    "a.mp4": B_PICTURES,
    "a.mkv": B_PICTURES,
    "a.ts": B_PICTURES,
    "a.avi": {"codec": "mpeg4", "pix_fmt": "yuv420p"},
    "a.gif": {"codec": "gif", "pix_fmt": "rgb8"},
    "a.mov": {},
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", FORMATS)
def test_a_file_that_was_looked_through_is_read_and_decoded_once(
    make_clip: Make, name: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_clip(name, 12, **FORMATS[name])
    opened: list[object] = []
    begin = VideoFile._open
    monkeypatch.setattr(VideoFile, "_open", lambda self: opened.append(self) or begin(self))
    clip = FileClip(path, threads=threads)
    known = clip.survey(decode=False)
    with clip.open() as source:
        monkeypatch.setattr(source, "_demuxed", lambda: pytest.fail("it is read a second time"))
        got = list(known.checked((f.index, f.time, f.pixels) for f in source))
    assert len(opened) == 1
    _same(got, path)


@pytest.mark.parametrize("name", FORMATS)
def test_of_a_large_file_nothing_is_kept_and_the_frames_are_the_same(
    make_clip: Make, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_clip(name, 12, **FORMATS[name])
    monkeypatch.setattr(Kept.__init__, "__defaults__", (100,))
    clip = FileClip(path)
    known = clip.survey(decode=False)
    with clip.open() as source:
        _same(list(known.checked((f.index, f.time, f.pixels) for f in source)), path)


@pytest.mark.parametrize("sizes", [[9000, 1000], [1] * 17])  # a small packet takes room, too
def test_packets_beyond_the_most_are_let_go(sizes: list[int]) -> None:
    held = Kept(most=10_000)
    for size in sizes:
        assert held.whole
        held.keep(Packet(size=size))
        held.keep_pictures([])
    assert not held.whole
    assert list(held.packets()) == []
    assert held.pictures() is None


def _same(got: list[tuple[int, float, np.ndarray]], path: Path) -> None:
    with frames(path) as source:
        expected = list(source)
    assert [(index, time) for index, time, _ in got] == [(f.index, f.time) for f in expected]
    for (_, _, pixels), frame in zip(got, expected, strict=True):
        np.testing.assert_array_equal(pixels, frame.pixels)
