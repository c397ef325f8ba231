"""The clip with a panel under it: sizes, times, sound, rotation, and what is refused."""

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tsm_ref.errors import UsageError, VideoError, WriteError
from tsm_ref.show.film import PANEL, save_video
from tsm_ref.video import frames, packet_times, probe

pytest.importorskip("PIL")
av = pytest.importorskip("av")


def result(path: Path, *labels: str, rate: float = 10.0, seconds: float = 2.0) -> dict[str, Any]:
    """What a recognition would say of a clip: one label after the other, in equal parts."""
    part = seconds / len(labels)
    rows = [
        {"start": k * part, "end": (k + 1) * part, "label": label, "index": k, "probability": 0.8}
        for k, label in enumerate(labels)
    ]
    clips = [{"start": r["start"], "end": r["end"], "top": [r]} for r in rows]
    return {
        "input": {"path": str(path), "frame_rate": rate, "duration": seconds},
        "predictions": rows[:1],
        "segments": rows if len(rows) > 1 else [],
        "clips": clips,
    }


def film(
    path: Path, width: int, height: int, *, sound: str = "", count: int = 20, turn: float = 0
) -> Path:
    """A clip at ten frames a second whose pictures are red, blue in a corner, with a tone."""
    with av.open(str(path), "w") as output:
        video = output.add_stream("mpeg4", rate=10)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        if turn:
            if not hasattr(video, "set_display_rotation"):
                pytest.skip("this PyAV cannot write a display matrix")
            video.set_display_rotation(turn, False, False)
        tone = output.add_stream(sound, rate=8000) if sound else None
        for _ in range(count):
            pixels = np.full((height, width, 3), (200, 10, 10), np.uint8)
            pixels[: height // 3, : width // 3] = (10, 10, 200)
            output.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        output.mux(video.encode(None))
        if tone:
            wave = np.sin(np.arange(8000 * count // 10) / 5).astype(np.float32)[None]
            audio = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            audio.sample_rate, audio.time_base, audio.pts = 8000, Fraction(1, 8000), 0
            resampled = av.AudioResampler(tone.format.name, "mono", 8000, 1024).resample(audio)
            for piece in resampled:
                output.mux(tone.encode(piece))
            output.mux(tone.encode(None))
    return path


@pytest.mark.parametrize("size", [(320, 240), (64, 48), (402, 302), (16, 16), (720, 96), (322, 98)])
def test_every_size(tmp_path: Path, size: tuple[int, int]) -> None:
    source = film(tmp_path / "a.mp4", *size)
    assert save_video(result(source, "one", "two"), str(tmp_path / "out.mp4")) == ()
    info = probe(tmp_path / "out.mp4")
    assert (info.width, info.height) == (max(320, size[0]), size[1] + PANEL)
    assert info.frame_count == 20
    assert packet_times(tmp_path / "out.mp4") == pytest.approx(np.arange(20) / 10, abs=1e-4)
    picture = next(iter(frames(tmp_path / "out.mp4"))).pixels
    middle = picture[size[1] // 2, info.width // 2].astype(int)
    assert np.abs(middle - (200, 10, 10)).max() < 30
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "out.mp4"]


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_clip_that_is_turned_stands_upright(tmp_path: Path, turn: float) -> None:
    """As a player shows it: the picture is turned, and its turn is not told once more."""
    source = film(tmp_path / "a.mov", 400, 320, turn=turn, count=3)
    upright = next(iter(frames(source))).pixels.astype(int)
    height, width, _ = upright.shape
    assert (width, height) == ((400, 320) if turn == 180 else (320, 400))
    assert save_video(result(source, "one", seconds=0.3), str(tmp_path / "out.mp4")) == ()
    info = probe(tmp_path / "out.mp4")
    assert (info.width, info.height, info.rotation) == (width, height + PANEL, 0)
    shown = next(iter(frames(tmp_path / "out.mp4"))).pixels[:height].astype(int)
    assert np.abs(shown - upright).mean() < 8
    corners = [shown[y, x, 2] > 120 for y in (20, height - 20) for x in (20, width - 20)]
    assert sum(corners) == 1
    assert corners != [True, False, False, False]


def test_the_panel_says_what_is_known_then(tmp_path: Path) -> None:
    """The bar is as long as it is sure, and the mark of the time moves to the right."""
    source = film(tmp_path / "a.mp4", 320, 240)
    save_video(result(source, "one", "two"), str(tmp_path / "out.mp4"))
    pictures = [frame.pixels.astype(int) for frame in frames(tmp_path / "out.mp4")]
    blue = pictures[3][240 + 35, :, 2] > 180
    assert blue.sum() / (320 - 17) == pytest.approx(0.8, abs=0.03)
    marks = [np.flatnonzero(p[240 + 46].min(1) > 150) for p in pictures]
    centres = [mark.mean() for mark in marks if mark.size]
    assert len(centres) >= 18
    assert centres == sorted(centres)
    assert np.abs(pictures[3][244:268] - pictures[15][244:268]).max() > 100


@pytest.mark.parametrize(("ending", "sound"), [(".mp4", "aac"), (".mkv", "aac")])
def test_the_sound_is_kept(tmp_path: Path, ending: str, sound: str) -> None:
    source = film(tmp_path / "a.mp4", 64, 48, sound=sound)
    path = tmp_path / f"out{ending}"
    assert save_video(result(source, "one"), str(path)) == ()
    with av.open(str(source)) as before, av.open(str(path)) as after:
        kept = [bytes(p) for p in before.demux(audio=0) if p.size]
        assert [bytes(p) for p in after.demux(audio=0) if p.size] == kept
        assert len(kept) > 10


def test_sound_that_does_not_fit_is_said(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mkv", 64, 48, sound="pcm_s16le")
    notes = save_video(result(source, "one"), str(tmp_path / "out.mp4"))
    assert len(notes) == 1
    assert "pcm_s16le" in notes[0]
    assert probe(tmp_path / "out.mp4").frame_count == 20


def test_labels_of_any_kind(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mp4", 64, 48, count=3)
    for label in ("x" * 500, "\x1b[31m\n", "走る", "", "a\u202eb"):
        save_video(result(source, label or " "), str(tmp_path / "out.mp4"))


def test_what_is_refused_leaves_nothing(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mp4", 64, 48, count=3)
    before = source.read_bytes()
    (tmp_path / "folder.mp4").mkdir()
    for path, kind in (
        (source, UsageError),
        (tmp_path / "out.avi", UsageError),
        (tmp_path / "no" / "out.mp4", WriteError),
        (tmp_path / "folder.mp4", WriteError),
    ):
        with pytest.raises(kind):
            save_video(result(source, "one"), str(path))
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises((VideoError, WriteError)):
        save_video(result(tmp_path / "broken.mp4", "one"), str(tmp_path / "out.mp4"))
    assert source.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "broken.mp4", "folder.mp4"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is full")
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = film(tmp_path / "a.mp4", 64, 48, count=3)
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space")))
    with pytest.raises(WriteError, match="No space"):
        save_video(result(source, "one"), str(tmp_path / "out.mp4"))
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]
