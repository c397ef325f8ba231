"""Inputs that must never hurt: what is refused before, and while, a decoder sees it."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tsm_ref.errors import VideoError
from tsm_ref.video import frames, probe, read_frames
from tsm_ref.video.containers import check_path, check_structure
from tsm_ref.video.sampling import uniform

av = pytest.importorskip("av")
Make = Callable[..., Path]

X264 = {"codec": "libx264", "pix_fmt": "yuv420p"}
WHOLE = {**X264, "container": {"movflags": "faststart"}, "codec_options": {"g": "12"}}


def pixels_of(path: Path, **options: object) -> list[np.ndarray]:
    with frames(path, **options) as source:  # type: ignore[arg-type]
        return [frame.pixels for frame in source]


def empty(path: Path, make: Make) -> Path:
    path.write_bytes(b"")
    return path


def text(path: Path, make: Make) -> Path:
    path.write_text("This is not a video.\n" * 99)
    return path


def noise(path: Path, make: Make) -> Path:
    path.write_bytes(np.random.default_rng(0).bytes(50_000))
    return path


def without_index(path: Path, make: Make) -> Path:
    data = make("whole.mp4", 10, **X264).read_bytes()
    path.write_bytes(data[: data.index(b"moov") - 4])
    return path


def header_only(path: Path, make: Make) -> Path:
    data = make("whole.mp4", 10, **WHOLE).read_bytes()
    path.write_bytes(data[: data.index(b"mdat") + 4])
    return path


def cut(path: Path, make: Make) -> Path:
    data = make("whole.mp4", 60, **WHOLE).read_bytes()
    media = data.index(b"mdat")
    path.write_bytes(data[: media + (len(data) - media) // 2])
    return path


def all_corrupt(path: Path, make: Make) -> Path:
    data = make("whole.mp4", 10, **WHOLE).read_bytes()
    media = data.index(b"mdat") + 4
    path.write_bytes(data[:media] + np.random.default_rng(3).bytes(len(data) - media))
    return path


def sound_only(path: Path, make: Make) -> Path:
    with av.open(str(path), "w") as output:
        stream = output.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 16000
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def folder(path: Path, make: Make) -> Path:
    path.mkdir()
    return path


def missing(path: Path, make: Make) -> Path:
    return path


def concat(path: Path, make: Make) -> Path:
    victim = make("victim.mov", 3)
    path.write_text(f"ffconcat version 1.0\nfile {victim.name}\n")
    return path


def playlist(path: Path, make: Make) -> Path:
    victim = make("victim.ts", 3, **X264)
    path.write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n" + victim.name + "\n#EXT-X-ENDLIST\n"
    )
    return path


def still_images(path: Path, make: Make) -> Path:
    np.save(path.with_name("x"), np.zeros(3))
    path.write_bytes(b"P6\n2 2\n255\n" + bytes(12))
    return path


def index_of_nothing(path: Path, make: Make) -> Path:
    data = bytearray(make("whole.mp4", 3, **X264).read_bytes())
    sizes = data.index(b"stsz") + 8
    data[sizes : sizes + 8] = (1).to_bytes(4, "big") + (2**31 - 1).to_bytes(4, "big")
    path.write_bytes(data)
    return path


HARMFUL = [
    (missing, "no such file"),
    (folder, "a folder is not a video"),
    (empty, "the file is empty"),
    (text, "not a video that can be read: a local MP4/MOV"),
    (noise, "not a video that can be read"),
    (without_index, "no index \\(moov\\)"),
    (header_only, "bytes are missing at its end"),
    (cut, "bytes are missing at its end.*allow_partial"),
    (all_corrupt, "does not decode.*allow_partial"),
    (sound_only, "no video in it, only audio: a video stream is needed"),
    (concat, "playlist or list of other files is refused"),
    (playlist, "playlist or list of other files is refused"),
    (still_images, "one picture is no video: give the folder of the frames"),
    (index_of_nothing, "index claims 2147483647 samples"),
]


@pytest.mark.parametrize(("build", "message"), HARMFUL)
def test_harmful_input_is_one_sentence(
    build: Callable[[Path, Make], Path], message: str, make_clip: Make, tmp_path: Path
) -> None:
    path = build(tmp_path / "harmful.mp4", make_clip)
    for use in (probe, pixels_of, lambda p: read_frames(p, [0])):
        with pytest.raises(VideoError, match=message) as caught:
            use(path)
        assert "harmful" not in str(caught.value)
        assert "\n" not in str(caught.value)
        assert not str(caught.value).endswith(".")


@pytest.mark.parametrize("build", [empty, text, noise, header_only, all_corrupt, concat, playlist])
def test_allow_partial_does_not_make_a_video_of_nothing(
    build: Callable[[Path, Make], Path], make_clip: Make, tmp_path: Path
) -> None:
    with pytest.raises(VideoError):
        probe(build(tmp_path / "harmful.mp4", make_clip), allow_partial=True)


def test_the_attack_would_have_worked(make_clip: Make, tmp_path: Path) -> None:
    """Without the whitelist FFmpeg opens the other file, so the refusal is what protects."""
    attack = concat(tmp_path / "harmful.mp4", make_clip)
    with av.open(str(attack)) as container:
        assert container.format.name == "concat"


def test_the_playlist_is_refused_under_its_own_name_too(make_clip: Make, tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="playlist"):
        probe(playlist(tmp_path / "harmful.m3u8", make_clip))


@pytest.mark.parametrize(
    "url", ["http://example.org/a.mp4", "https:/example.org/a.mp4", "rtsp://camera/1", "file:///a"]
)
def test_urls_are_refused(url: str) -> None:
    with pytest.raises(VideoError, match="a URL is not fetched"):
        probe(url)


@pytest.mark.parametrize("protocol", ["concat:a.mp4|b.mp4", "pipe:0", "subfile,,start,0,end,9,,:a"])
def test_other_protocols_are_only_names_of_files(protocol: str) -> None:
    with pytest.raises(VideoError, match="no such file"):
        probe(protocol)


def test_part_of_a_cut_file_may_be_used(make_clip: Make, tmp_path: Path) -> None:
    path = cut(tmp_path / "cut.mp4", make_clip)
    got = read_frames(path, lambda count: uniform(count, 4), allow_partial=True)
    decoded = len(pixels_of(path, allow_partial=True))
    assert 10 < decoded < 50
    assert got.info.frame_count == got.frames_decoded == decoded
    np.testing.assert_array_equal(got.indices, uniform(decoded, 4))
    assert any("bytes are missing" in warning for warning in got.info.warnings)


def test_a_damaged_part_in_the_middle(make_clip: Make) -> None:
    path = make_clip("a.mp4", 60, **WHOLE)
    data = bytearray(path.read_bytes())
    middle = data.index(b"mdat") + (len(data) - data.index(b"mdat")) // 2
    data[middle : middle + 400] = np.random.default_rng(5).bytes(400)
    path.write_bytes(data)
    with pytest.raises(VideoError, match="allow_partial"):
        pixels_of(path)
    got = read_frames(path, lambda count: uniform(count, 8), allow_partial=True)
    assert got.info.frame_count == len(pixels_of(path, allow_partial=True))
    assert any("what decodes is used" in warning for warning in got.info.warnings)


@pytest.mark.parametrize("name", ["a.mkv", "a.avi"])
def test_other_containers_say_that_they_were_cut(make_clip: Make, name: str) -> None:
    noise = np.random.default_rng(2).integers(0, 256, (40, 32, 48, 3), dtype=np.uint8)
    path = make_clip(name, list(noise), **X264)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(VideoError, match="bytes are missing at its end"):
        probe(path)
    assert 5 < len(pixels_of(path, allow_partial=True)) < 40


def test_a_name_that_no_file_can_have() -> None:
    with pytest.raises(VideoError, match="cannot be reached"):
        check_path("a\0b.mp4")
    with pytest.raises(VideoError, match="cannot be reached"):
        check_path("a" * 5000)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no such device on this system")
def test_a_device_is_refused() -> None:
    with pytest.raises(VideoError, match="a device or socket is not a video"):
        probe("/dev/zero")


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no such sockets on this system")
def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket may not be long
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("a.mp4")
        with pytest.raises(VideoError, match="a device or socket is not a video"):
            probe("a.mp4")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"secret")
    path.chmod(0)
    with pytest.raises(VideoError, match="may not be read"):
        probe(path)


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.webm", "a.avi", "a.ts", "a.h264"])
def test_whole_files_miss_nothing(make_clip: Make, name: str) -> None:
    codec = "libvpx" if name.endswith("webm") else "libx264"
    assert check_structure(make_clip(name, 5, codec=codec, pix_fmt="yuv420p")) == 0


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
@pytest.mark.parametrize("lost", [1, 1000])
def test_missing_bytes_are_counted(make_clip: Make, name: str, lost: int) -> None:
    path = make_clip(name, 60, **X264)
    path.write_bytes(path.read_bytes()[:-lost])
    assert check_structure(path) >= lost  # an index at the end of an AVI is a box of its own


def test_a_matroska_file_of_unknown_length_is_whole(make_clip: Make) -> None:
    path = make_clip("a.mkv", 5, **X264, container={"live": "1"})
    assert check_structure(path) == 0
    assert probe(path).frame_count == 5


def test_garbage_after_the_last_box_is_no_damage(make_clip: Make) -> None:
    path = make_clip("a.mp4", 5, **X264)
    path.write_bytes(path.read_bytes() + b"\0\0\xff\xff\0\1\2\3garbage")
    assert check_structure(path) == 0
    assert len(pixels_of(path)) == 5


def test_a_stream_that_appears_late_is_let_pass(make_clip: Make) -> None:
    """PyAV raises IndexError at the end of a file in which a stream was found on the way."""

    class Stumbling:
        def __init__(self, container: object) -> None:
            self.container, self.format = container, container.format  # type: ignore[attr-defined]

        def demux(self, stream: object) -> Iterator[object]:
            yield from self.container.demux(stream)  # type: ignore[attr-defined]
            raise IndexError("list index out of range")

        def close(self) -> None:
            self.container.close()  # type: ignore[attr-defined]

    with frames(make_clip("a.ts", 12, **X264)) as source:
        source._container = Stumbling(source._container)
        assert len(list(source)) == 12
