"""A block of a video file is destroyed: it is refused, or what decodes is used and that is said."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tsm_ref.errors import VideoError
from tsm_ref.video import frames, probe, read_frames
from tsm_ref.video.sampling import uniform

av = pytest.importorskip("av")
Make = Callable[..., Path]

YUV = {"pix_fmt": "yuv420p", "gop_size": 12}
FORMATS: dict[str, dict[str, object]] = {
    "h264.mp4": {"codec": "libx264", **YUV},
    "h264.mkv": {"codec": "libx264", **YUV},
    "h264.ts": {"codec": "libx264", **YUV},
    "mpeg4.avi": {"codec": "mpeg4", **YUV},
    "mpeg4.mp4": {"codec": "mpeg4", **YUV},
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "mjpeg.mov": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "mpeg2.mpg": {"codec": "mpeg2video", **YUV},
    "ffv1.mkv": {"codec": "ffv1", "pix_fmt": "bgr0"},
    "gif.gif": {"codec": "gif", "pix_fmt": "rgb8"},
    "png.mov": {"codec": "png", "pix_fmt": "rgb24"},
    "flv1.flv": {"codec": "flv", **YUV},
}


def moving(count: int = 60) -> list[np.ndarray]:
    """Pictures with much detail, so that a destroyed block is a part of few of them."""
    wide = np.random.default_rng(1).integers(0, 256, (64, 100 + 2 * count, 3), dtype=np.uint8)
    return [np.ascontiguousarray(wide[:, 2 * i : 2 * i + 96]) for i in range(count)]


def destroyed(path: Path, share: float, length: int = 3000) -> Path:
    data = bytearray(path.read_bytes())
    at = int(len(data) * share)
    data[at : at + length] = np.random.default_rng(at).bytes(length)
    hurt = path.with_name("hurt_" + path.name)
    hurt.write_bytes(data)
    return hurt


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", FORMATS)
def test_a_destroyed_block_is_told(make_clip: Make, name: str, threads: int) -> None:
    whole = make_clip(name, moving(), **FORMATS[name])
    with frames(whole, threads=threads) as source:
        count = len(list(source))
        sound = source.warnings
    assert count == 60
    for share in (0.3, 0.5, 0.7):
        path = destroyed(whole, share)
        with pytest.raises(VideoError, match="allow_partial"), frames(path, threads=threads) as s:
            list(s)
        with frames(path, allow_partial=True, threads=threads) as source:
            assert len(list(source)) > 0
            assert any("what decodes is used" in text for text in source.warnings[len(sound) :])


@pytest.mark.parametrize("name", ["vp8.webm", "vp9.webm"])
def test_frames_that_a_container_loses_are_told(make_clip: Make, name: str) -> None:
    """A block header is destroyed: WebM looks for the next cluster, and 84 frames became one."""
    codec = {"vp8.webm": "libvpx", "vp9.webm": "libvpx-vp9"}[name]
    whole = make_clip(name, moving(), codec=codec, bit_rate=400_000, **YUV)
    with av.open(str(whole)) as container:
        offsets = [packet.pos for packet in container.demux(video=0) if packet.size]
    data = bytearray(whole.read_bytes())
    data[offsets[5] - 8 : offsets[5] + 200] = np.random.default_rng(2).bytes(208)
    whole.write_bytes(data)
    with pytest.raises(VideoError):
        read_frames(whole, lambda count: uniform(count, 8))
    with frames(whole, allow_partial=True) as source:
        assert len(list(source)) < 60
        assert source.damaged


def test_an_empty_packet_shows_the_picture_before_for_longer(make_clip: Make) -> None:
    """Theora and AVI drop a frame by an empty packet: the file is sound."""
    whole = make_clip("a.avi", moving()[:20], codec="mjpeg", pix_fmt="yuvj420p")
    path = whole.with_name("dropped.avi")
    with av.open(str(whole)) as source, av.open(str(path), "w") as output:
        stream = output.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is None:
                continue
            if packet.dts == 7:
                empty = av.Packet(b"")
                empty.pts = empty.dts = 7
                empty.time_base, empty.duration = packet.time_base, packet.duration
                packet = empty
            packet.stream = stream
            output.mux(packet)
    with frames(path) as found:
        times = [frame.time for frame in found]
    assert len(times) == 19
    np.testing.assert_allclose(times, [n / 25 for n in range(20) if n != 7], atol=1e-6)
    assert probe(path).frame_count == 19


def test_what_precedes_the_first_key_picture_is_no_damage(make_clip: Make) -> None:
    """A capture begins anywhere; the pictures that it cannot show are not rubble."""
    path = make_clip("a.ts", moving(), codec="libx264", **YUV)
    packets = path.read_bytes()
    middle = len(packets) // 2 // 188 * 188
    path.write_bytes(packets[: 188 * 3] + packets[middle:])
    with frames(path) as source:
        assert 15 < len(list(source)) < 35
        assert not source.damaged
        assert any("begins in the middle" in warning for warning in source.warnings)


@pytest.mark.parametrize(
    ("codec", "few", "long"),
    [
        ("libx264", {"g": "12"}, {"g": "250"}),
        ("libx265", {"x265-params": "keyint=12:log-level=none"}, {"x265-params": "keyint=250"}),
        ("mpeg2video", {"g": "12"}, {"g": "250"}),
    ],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_capture_may_begin_anywhere(
    make_clip: Make, codec: str, few: dict[str, str], long: dict[str, str], threads: int
) -> None:
    """In open groups of pictures, and further before a key picture than FFmpeg looks ahead."""
    if codec not in av.codecs_available:
        pytest.skip(f"no {codec} in this FFmpeg")
    for count, options, least in ((80, few, 40), (400, long, 120)):
        clip = moving(count)
        path = make_clip("a.ts", clip, codec=codec, pix_fmt="yuv420p", codec_options=options)
        with frames(path) as whole:
            last = list(whole)[-1].pixels
        with av.open(str(path)) as container:
            begin = [packet.pos for packet in container.demux(video=0)][28]
        path.write_bytes(path.read_bytes()[begin:])
        with frames(path, threads=threads) as source:
            shown = list(source)
        assert least <= len(shown) < count
        np.testing.assert_array_equal(shown[-1].pixels, last)
        assert source.warnings == (
            "the video begins in the middle: what precedes a key picture is left out",
        )


@pytest.mark.parametrize("name", ["a.flv", "a.ts", "a.mkv"])
def test_what_decodes_of_a_file_that_was_cut_does_not_depend_on_the_threads(
    make_clip: Make, name: str
) -> None:
    """And is what FFmpeg decodes with one."""
    path = make_clip(name, moving(), codec="libx264", **YUV)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 5])
    expected = 0
    with av.open(str(path)) as container:
        for packet in container.demux(video=0):
            with contextlib.suppress(av.FFmpegError):
                expected += len(packet.decode())
    for threads in (1, 2, 3):
        with frames(path, allow_partial=True, threads=threads) as source:
            assert len(list(source)) == expected


def test_two_files_do_not_hear_each_other(make_clip: Make) -> None:
    sound = make_clip("sound.mkv", moving(), codec="ffv1", pix_fmt="bgr0")
    hurt = destroyed(sound, 0.5)
    with frames(sound) as one, frames(hurt, allow_partial=True) as other:
        for _ in zip(one, other, strict=False):
            pass
        assert other.damaged
        assert not one.damaged
        assert one.warnings == ()


def test_listening_to_ffmpeg_leaves_its_log_as_it_was(make_clip: Make) -> None:
    path = make_clip("a.mp4", 3, codec="libx264", pix_fmt="yuv420p")
    before = av.logging.get_level(), av.logging.get_skip_repeated()
    with frames(path) as source:
        list(source)
    with pytest.raises(VideoError):
        frames(destroyed(path, 0.0))
    assert (av.logging.get_level(), av.logging.get_skip_repeated()) == before
