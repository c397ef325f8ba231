"""Files and streams have one clock: each case is read by packets, by pictures and as a stream."""

import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.video.paff import field_coded
from tsm_ref.errors import VideoError
from tsm_ref.video import Mistaken, frames, probe, read_frames, survey
from tsm_ref.video.sampling import uniform

av = pytest.importorskip("av")
Make = Callable[..., Path]

X264 = {"codec": "libx264", "pix_fmt": "yuv420p"}
MPEG2 = {"codec": "mpeg2video", "pix_fmt": "yuv420p", "max_b_frames": 2, "gop_size": 12}


def joined(make: Make) -> Path:
    """Two programs, one after the other: timestamps start again."""
    path = make("joined.mpg", 60, **MPEG2)
    path.write_bytes(path.read_bytes() * 3)
    return path


def begun_in_the_middle(make: Make) -> Path:
    """A capture that begins between two key pictures."""
    path = make("cut.ts", 60, **MPEG2)
    packets = path.read_bytes()
    middle = len(packets) // 3 // 188 * 188
    path.write_bytes(packets[: 188 * 3] + packets[middle:])  # the tables, then the rest
    return path


def copied_behind_another(make: Make) -> Path:
    """Two captures, the second one begun in the middle: the counts of their pieces do not go on."""
    whole = make("whole.ts", 60, **MPEG2).read_bytes()
    path = make("both.ts", 1)
    path.write_bytes(whole + whole[len(whole) // 3 // 188 * 188 :])
    return path


def edited(make: Make) -> Path:
    """An edit list that begins ten pictures later, between two key pictures."""
    path = make("edited.mp4", 48, **X264, codec_options={"bf": "0"})
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") + 12
    length, begin = struct.unpack_from(">Ii", data, at)
    struct.pack_into(">Ii", data, at, length - 400, begin + 10 * 512)
    path.write_bytes(data)
    return path


def unstamped_between(make: Make) -> Path:
    """Every fifth picture has no timestamp."""
    source = make("whole.nut", 30, **MPEG2 | {"max_b_frames": 0})
    path = source.with_name("some.ts")
    with av.open(str(source)) as given, av.open(str(path), "w") as made:
        stream = made.add_stream_from_template(given.streams.video[0])
        for number, packet in enumerate(given.demux(video=0)):
            if packet.size:
                packet.stream = stream
                packet.pts = None if number % 5 == 4 else packet.pts
                made.mux(packet)
    return path


def wrapping(make: Make) -> Path:
    """MPEG counts 33 bits: the timestamps pass the last one."""
    first = (1 << 33) // 3600 - 20
    return make("wrap.ts", 60, **X264, times=range(first, first + 60))


def reordered_in_avi(make: Make) -> Path:
    """AVI stores no times of display, and FFmpeg's guess for H.264 with B pictures is wrong."""
    return make("b.avi", 60, **X264)


def still_pictures(make: Make) -> Path:
    return make("still.gif", 9, codec="gif", pix_fmt="rgb8", rate=100, times=DELAYS)


def animated_png(make: Make) -> Path:
    return make("still.apng", 9, codec="apng", pix_fmt="rgb24", rate=100, times=DELAYS)


def varying(make: Make) -> Path:
    return make("vfr.mkv", 9, **X264, rate=100, times=DELAYS)


DELAYS = [0, 10, 15, 40, 41, 90, 100, 104, 120]

CASES: dict[str, tuple[Callable[[Make], Path], int, float, float]] = {
    "field-coded": (lambda make: field_coded(make("a.ts", 1).parent / "paff.ts", 32), 32, 25, 1.28),
    "joined": (joined, 180, 25, 7.2),
    "wrapping": (wrapping, 60, 25, 2.4),
    "avi with B pictures": (reordered_in_avi, 60, 25, 2.4),
    "gif": (still_pictures, 9, 8 / 1.2, 1.36),
    "apng": (animated_png, 9, 8 / 1.2, 1.36),
    "varying": (varying, 9, 8 / 1.2, 1.35),
    "raw": (lambda make: make("a.h264", 20, **X264), 20, 25, 0.8),
    "raw, ten a second": (lambda make: make("a.h264", 20, **X264, rate=10), 20, 10, 2.0),
    "negative": (lambda make: make("a.mkv", 20, **X264, times=range(-5, 15)), 20, 25, 0.8),
    "one a second": (lambda make: make("a.mp4", 8, **X264, rate=1), 8, 1, 8.0),
    "240 a second": (lambda make: make("a.mp4", 48, **X264, rate=240), 48, 240, 0.2),
    "VP9": (lambda make: make("a.webm", 30, codec="libvpx-vp9", pix_fmt="yuv420p"), 30, 25, 1.2),
    "flv": (lambda make: make("a.flv", 30, **X264), 30, 25, 1.2),
    "copied behind another": (copied_behind_another, 96, 25, 3.84),
    "edited": (edited, 38, 25, 1.52),
    "NTSC": (
        lambda make: make("a.mp4", 30, **X264, rate=Fraction(30000, 1001)),
        30,
        30000 / 1001,
        1.001,
    ),
    "late": (lambda make: make("a.ts", 30, **X264, times=range(1000, 1030)), 30, 25, 1.2),
    "interlaced": (
        lambda make: make("a.mts", 30, **X264, codec_options={"flags": "+ildct+ilme"}),
        30,
        25,
        1.2,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_files_and_streams_have_one_clock(name: str, make_clip: Make) -> None:
    build, count, rate, duration = CASES[name]
    path = build(make_clip)
    with frames(path) as source:
        shown = [frame.time for frame in source]
        repairs = source.clock.repairs
    exact = survey(path, decode=True)
    np.testing.assert_array_equal(exact.times, shown)
    assert exact.info.repairs == repairs
    assert exact.info.frame_count == count
    assert exact.info.frame_rate == pytest.approx(rate, rel=0.02)
    assert exact.info.duration == pytest.approx(duration, abs=0.02)
    got = read_frames(path, lambda n: uniform(n, 8))
    np.testing.assert_allclose(got.times, exact.times[got.indices], atol=1e-6)
    assert got.info.frame_count == count
    assert got.info.duration == pytest.approx(exact.info.duration, abs=1e-3)
    found = probe(path)
    assert (found.frame_count, found.frame_rate) == (count, pytest.approx(rate, rel=0.02))


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "rate"),
    [("a.h264", "libx264", "yuv420p", 10), ("a.mjpeg", "mjpeg", "yuvj420p", 25)],
)
def test_a_rate_that_no_file_told_is_said_to_be_assumed(
    make_clip: Make, name: str, codec: str, pixels: str, rate: int
) -> None:
    """H.264 may name a rate; raw JPEG pictures have none, and FFmpeg stamps them by its own."""
    info = probe(make_clip(name, 12, codec=codec, pix_fmt=pixels, rate=10))
    assert info.warnings == (f"there are no timestamps: {rate} frames per second are assumed",)
    assert (info.frame_rate, info.duration) == (rate, pytest.approx(12 / rate))


def test_packets_of_matroska_are_believed_where_pictures_are_reordered(make_clip: Make) -> None:
    path = make_clip("a.mkv", 30, **X264, codec_options={"bf": "3", "b_strategy": "0"})
    believed, exact = survey(path, decode=False), survey(path, decode=True)
    assert not believed.decoded
    assert believed.info == exact.info
    np.testing.assert_allclose(believed.times, exact.times, atol=1e-6)


def test_time_goes_on_where_programs_are_joined(make_clip: Make) -> None:
    info = probe(joined(make_clip))
    assert [(repair.kind, repair.count, repair.first) for repair in info.repairs] == [
        ("restart", 2, 60)
    ]
    assert any("timestamps start again" in warning for warning in info.warnings)


def test_a_capture_begins_with_its_first_whole_picture(make_clip: Make) -> None:
    path = begun_in_the_middle(make_clip)
    with frames(path) as source:
        times = [frame.time for frame in source]
    info = probe(path)
    assert info.frame_count == len(times) < 45
    assert info.duration == pytest.approx(len(times) / 25)
    np.testing.assert_allclose(times, np.arange(len(times)) / 25, atol=1e-9)


def test_packets_that_promise_other_pictures_are_not_believed(make_clip: Make) -> None:
    path = field_coded(make_clip("a.ts", 1).parent / "paff.ts", 12)
    promised = survey(path, decode=False)
    assert promised.info.frame_count == 24
    assert not promised.decoded
    with frames(path) as source, pytest.raises(Mistaken):
        list(promised.checked(source.shown()))


def test_pictures_that_do_not_come_are_missed(make_clip: Make) -> None:
    path = make_clip("a.mp4", 9, **X264)
    promised = survey(path, decode=False)
    with frames(path, max_frames=8) as source, pytest.raises(Mistaken):
        list(promised.checked(source.shown()))


@pytest.mark.parametrize("decode", [False, True])
def test_too_many_frames_are_refused(
    make_clip: Make, monkeypatch: pytest.MonkeyPatch, decode: bool
) -> None:
    monkeypatch.setattr("tsm_ref.video.surveys.MAX_FRAMES", 5)
    with pytest.raises(VideoError, match="more than 5 frames"):
        survey(make_clip("a.mov", 6), decode=decode)


def test_interlacing_is_recorded(make_clip: Make) -> None:
    info = probe(field_coded(make_clip("a.ts", 1).parent / "paff.ts", 12))
    assert info.interlaced
    assert any("interlaced" in warning for warning in info.warnings)
    assert not probe(make_clip("a.mp4", 9, **X264)).interlaced


def test_the_shape_of_pixels_is_recorded(make_clip: Make) -> None:
    info = probe(make_clip("a.mp4", 3, **X264, sample_aspect_ratio=Fraction(16, 9)))
    assert info.pixel_aspect == pytest.approx(16 / 9)
    turned = make_clip(
        "b.mp4", 3, **X264, sample_aspect_ratio=Fraction(16, 9), rotation=(90, False, False)
    )
    assert probe(turned).pixel_aspect == pytest.approx(9 / 16)


def test_a_codec_has_its_own_name(make_clip: Make) -> None:
    assert probe(make_clip("a.webm", 3, codec="libvpx", pix_fmt="yuv420p")).codec == "vp8"
    assert probe(make_clip("a.mp4", 3, **X264)).codec == "h264"
