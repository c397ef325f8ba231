import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tsm_ref.errors import MissingDependency, VideoError
from tsm_ref.video import frames, packet_times, probe, read_frames
from tsm_ref.video.pictures import Painter
from tsm_ref.video.sampling import uniform
from tsm_ref.video.source import FrameSource

av = pytest.importorskip("av")
Make = Callable[..., Path]

X264 = {"codec": "libx264", "pix_fmt": "yuv420p"}
WHOLE = {**X264, "container": {"movflags": "faststart"}, "codec_options": {"g": "12"}}


def pixels_of(path: Path, **options: object) -> list[np.ndarray]:
    with frames(path, **options) as source:  # type: ignore[arg-type]
        return [frame.pixels for frame in source]


def written(count: int) -> list[np.ndarray]:
    """The pictures that `make_clip` writes, by the same rule, spelt out pixel by pixel."""
    made = []
    for index in range(count):
        image = np.zeros((32, 48, 3), np.uint8)
        for y in range(32):
            for x in range(48):
                patch = y < 8 and x < 12
                image[y, x] = (
                    (index, 255 - index, 128)
                    if patch
                    else (3 * x % 256, 5 * y % 256, (x + 2 * y + 7 * index) % 256)
                )
        made.append(image)
    return made


def test_frames_hands_out_the_pictures_that_were_written(make_clip: Make) -> None:
    path = make_clip("a.mov", 5)
    with frames(path) as source:
        shown = list(source)
    assert [frame.index for frame in shown] == [0, 1, 2, 3, 4]
    assert [frame.time for frame in shown] == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])
    for frame, image in zip(shown, written(5), strict=True):
        np.testing.assert_array_equal(frame.pixels, image)


def test_a_file_is_a_frame_source(make_clip: Make) -> None:
    source: FrameSource = frames(make_clip("a.mov", 2))
    assert [frame.index for frame in source] == [0, 1]
    source.close()
    source.close()
    assert source.warnings == ()


def test_one_frame_is_held_at_a_time(make_clip: Make) -> None:
    alive: list[weakref.ref[np.ndarray]] = []
    with frames(make_clip("a.mov", 20)) as source:
        for frame in source:
            alive.append(weakref.ref(frame.pixels))
            assert sum(ref() is not None for ref in alive) <= 2


def test_probe_of_the_real_clips(shared_data: Path) -> None:
    archery = probe(shared_data / "clips" / "archery.avi")
    assert (archery.codec, archery.width, archery.height) == ("mpeg4", 320, 240)
    assert (archery.frame_count, archery.frame_rate, archery.rotation) == (131, 25.0, 0)
    assert archery.duration == pytest.approx(5.24)
    wrestling = probe(shared_data / "clips" / "arm_wrestling.mp4")
    assert (wrestling.codec, wrestling.width, wrestling.height) == ("h264", 340, 256)
    assert (wrestling.frame_count, wrestling.frame_rate) == (280, 28.0)
    assert archery.warnings == wrestling.warnings == ()


@pytest.mark.parametrize(("name", "count"), [("archery.avi", 131), ("arm_wrestling.mp4", 280)])
def test_the_real_clips_decode_to_the_frames_that_were_counted(
    shared_data: Path, name: str, count: int
) -> None:
    path = shared_data / "clips" / name
    with frames(path) as source:
        times = [frame.time for frame in source]
    assert len(times) == count
    np.testing.assert_allclose(times, packet_times(path), atol=1e-9)


def test_read_frames_gives_any_order_with_repeats_and_converts_each_once(make_clip: Make) -> None:
    path = make_clip("a.mov", 8)
    seen: list[int] = []

    def convert(pixels: np.ndarray) -> np.ndarray:
        seen.append(int(pixels[0, 0, 0]))
        return pixels[:2, :2]

    got = read_frames(path, [[5, 1, 5], [0, 1, 1]], convert=convert)
    assert seen == [0, 1, 5]
    assert got.pixels.shape == (2, 3, 2, 2, 3)
    np.testing.assert_array_equal(got.pixels[..., 0, 0, 0], [[5, 1, 5], [0, 1, 1]])
    np.testing.assert_allclose(got.times, np.array([[5, 1, 5], [0, 1, 1]]) / 25)
    assert got.frames_decoded == 6  # and not the two after the last wanted one
    assert got.unique.base is None  # no view that keeps a whole frame alive


def test_only_wanted_frames_become_pixels(make_clip: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    honest = Painter.upright

    def counted(*args: object) -> np.ndarray:
        made.append(args)
        return honest(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(Painter, "upright", counted)
    assert read_frames(make_clip("a.mov", 9), [7, 2, 7]).frames_decoded == 8
    assert len(made) == 2


def test_one_frame_is_repeated_when_eight_are_wanted(make_clip: Make) -> None:
    got = read_frames(make_clip("a.mov", 1), lambda count: uniform(count, 8))
    assert got.info.frame_count == 1
    assert got.pixels.shape == (1, 8, 32, 48, 3)
    assert len(got.unique) == 1


@pytest.mark.parametrize("wanted", [[], [-1]])
def test_read_frames_wants_possible_indices(make_clip: Make, wanted: list[int]) -> None:
    with pytest.raises(ValueError, match="at least one index, none below 0"):
        read_frames(make_clip("a.mov", 2), wanted)


def test_an_index_beyond_the_end_is_named(make_clip: Make) -> None:
    with pytest.raises(VideoError, match="frame 7 was asked for and the last is frame 2"):
        read_frames(make_clip("a.mov", 3), [0, 7])


@pytest.mark.parametrize("name", ["a.mkv", "a.avi", "a.ts", "a.mp4", "a.webm"])
def test_frames_are_counted_in_every_container(make_clip: Make, name: str) -> None:
    codec = "libvpx" if name.endswith("webm") else "libx264"
    path = make_clip(name, 31, codec=codec, pix_fmt="yuv420p", rate=30)
    info = probe(path)
    assert info.frame_count == 31
    assert info.frame_rate == pytest.approx(30, rel=1e-3)
    assert info.duration == pytest.approx(31 / 30, rel=2e-3)
    assert len(pixels_of(path)) == 31
    assert info.warnings == ()


def test_matroska_counts_though_its_header_says_nothing(make_clip: Make) -> None:
    path = make_clip("a.mkv", 9, codec="ffv1", pix_fmt="bgr0")
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 0
    assert probe(path).frame_count == 9


def test_an_edit_list_hides_frames_from_the_count_and_from_the_pictures(make_clip: Make) -> None:
    path = make_clip("a.mp4", 20, **X264, codec_options={"bf": "0"})
    data = bytearray(path.read_bytes())
    media_time = data.index(b"elst") + 16
    start = int.from_bytes(data[media_time : media_time + 4], "big")
    with av.open(str(path)) as container:
        tick = int(1 / 25 / container.streams.video[0].time_base)
    data[media_time : media_time + 4] = (start + 5 * tick).to_bytes(4, "big")
    path.write_bytes(data)
    assert probe(path).frame_count == len(pixels_of(path)) == 15


@pytest.mark.parametrize(
    ("written_as", "shown_as"),
    [
        ((0, False, False), lambda image: image),
        ((90, False, False), lambda image: np.rot90(image, 1)),
        ((180, False, False), lambda image: np.rot90(image, 2)),
        ((270, False, False), lambda image: np.rot90(image, 3)),
        ((0, True, False), lambda image: image[:, ::-1]),
        ((90, True, False), lambda image: np.rot90(image, 1)[:, ::-1]),
        ((0, False, True), lambda image: image[::-1]),
    ],
)
def test_the_display_matrix_is_applied(
    make_clip: Make,
    written_as: tuple[float, bool, bool],
    shown_as: Callable[[np.ndarray], np.ndarray],
) -> None:
    path = make_clip("a.mov", 2, rotation=written_as)
    expected = shown_as(written(1)[0])
    np.testing.assert_array_equal(pixels_of(path)[0], expected)
    info = probe(path)
    assert (info.height, info.width) == expected.shape[:2]
    assert info.mirrored == (written_as[1] != written_as[2])
    told = written(1)[0][:, ::-1] if info.mirrored else written(1)[0]
    np.testing.assert_array_equal(np.rot90(told, -info.rotation // 90), expected)
    assert info.warnings == ()


def test_a_slanted_matrix_is_said(make_clip: Make) -> None:
    path = make_clip("a.mov", 2, rotation=(40, False, False))
    assert any("not a multiple of 90" in warning for warning in probe(path).warnings)
    assert pixels_of(path)[0].shape == (32, 48, 3)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (47, 65), (3, 200), (2, 1)])
def test_odd_sizes(make_clip: Make, height: int, width: int) -> None:
    image = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    np.testing.assert_array_equal(pixels_of(make_clip("a.mov", [image] * 2))[1], image)


def test_odd_sizes_with_subsampled_colour(make_clip: Make) -> None:
    path = make_clip(
        "a.mkv", [np.full((47, 65, 3), 200, np.uint8)], codec="ffv1", pix_fmt="yuv420p"
    )
    pixels = pixels_of(path)[0]
    assert pixels.shape == (47, 65, 3)
    assert abs(pixels.astype(int) - 200).max() <= 2


def test_a_changing_size_is_resized_to_the_first_and_said(make_clip: Make) -> None:
    small = make_clip("small.h264", [np.full((32, 48, 3), 40, np.uint8)] * 3, **X264)
    large = make_clip("large.h264", [np.full((64, 96, 3), 220, np.uint8)] * 3, **X264)
    both = small.with_name("both.h264")
    both.write_bytes(small.read_bytes() + large.read_bytes())
    with frames(both) as source:
        shown = [frame.pixels for frame in source]
    assert [pixels.shape for pixels in shown] == [(32, 48, 3)] * 6
    assert [int(pixels.mean()) // 100 for pixels in shown] == [0, 0, 0, 2, 2, 2]
    assert any("from 48x32, at first to 96x64 at frame 3" in text for text in source.warnings)


@pytest.mark.parametrize(
    ("pix_fmt", "warning"),
    [
        ("gray", None),
        ("yuv420p10le", "10 bits"),
        ("gray16le", "16 bits"),
        ("yuva420p", None),
        ("bgr0", None),
    ],
)
def test_what_eight_bits_of_rgb_lose_is_said(
    make_clip: Make, pix_fmt: str, warning: str | None
) -> None:
    path = make_clip("a.mkv", [np.full((16, 16, 3), 100, np.uint8)], codec="ffv1", pix_fmt=pix_fmt)
    info = probe(path)
    assert info.pixel_format == pix_fmt
    assert [warning in text for text in info.warnings] == ([True] if warning else [])
    pixels = pixels_of(path)[0]
    assert pixels.dtype == np.uint8
    assert abs(pixels.astype(int) - 100).max() <= 2


@pytest.mark.parametrize(("curve", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_said(make_clip: Make, curve: int, name: str) -> None:
    path = make_clip("a.mkv", 2, **X264, color_trc=curve)
    assert any(f"HDR transfer curve {name}" in text for text in probe(path).warnings)


def test_a_varying_rate_is_said_and_its_times_kept(make_clip: Make) -> None:
    ticks = [0, 1, 2, 10, 11, 30]
    path = make_clip("a.mkv", 6, codec="ffv1", pix_fmt="bgr0", rate=10, times=ticks)
    got = read_frames(path, [3, 5, 0])
    np.testing.assert_allclose(got.times, [1.0, 3.0, 0.0], atol=2e-3)
    np.testing.assert_allclose(packet_times(path), np.array(ticks) / 10, atol=2e-3)
    assert any("frame rate varies" in text for text in got.info.warnings)


def test_a_stream_without_timestamps_gets_them_from_its_rate(make_clip: Make) -> None:
    path = make_clip("a.h264", 5, **X264)
    np.testing.assert_allclose(packet_times(path), np.arange(5) / 25, atol=1e-6)
    with frames(path) as source:
        np.testing.assert_allclose([f.time for f in source], np.arange(5) / 25, atol=1e-6)


def test_threads_change_nothing(make_clip: Make) -> None:
    path = make_clip("a.mp4", 20, **X264)
    for one, two in zip(pixels_of(path), pixels_of(path, threads=2), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_picture_may_have_so_many_pixels(make_clip: Make) -> None:
    path = make_clip("a.mov", 1)
    assert probe(path, max_pixels=32 * 48).width == 48
    with pytest.raises(VideoError, match=f"48x32 is too large: at most {32 * 48 - 1} pixels"):
        probe(path, max_pixels=32 * 48 - 1)


def test_a_picture_may_not_grow_beyond_the_limit_later(make_clip: Make) -> None:
    small = make_clip("small.h264", [np.zeros((32, 48, 3), np.uint8)] * 2, **X264)
    large = make_clip("large.h264", [np.zeros((320, 480, 3), np.uint8)] * 2, **X264)
    small.write_bytes(small.read_bytes() + large.read_bytes())
    with pytest.raises(VideoError, match=r"too large|does not decode"):
        pixels_of(small, max_pixels=5000)


def test_max_frames_ends_a_stream(make_clip: Make) -> None:
    path = make_clip("a.mov", 9)
    assert len(pixels_of(path, max_frames=4)) == 4
    with pytest.raises(ValueError, match=r"`max_frames` \(=0\) must be at least 1"):
        frames(path, max_frames=0)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs on this system")
def test_a_fifo_streams_but_is_not_counted(make_clip: Make, tmp_path: Path) -> None:
    data = make_clip("a.ts", 12, **X264).read_bytes()
    fifo = tmp_path / "fifo.ts"
    os.mkfifo(fifo)
    with pytest.raises(VideoError, match="read only once"):
        probe(fifo)
    writer = threading.Thread(target=fifo.write_bytes, args=(data,))
    writer.start()
    assert len(pixels_of(fifo)) == 12
    writer.join()


def test_without_pyav_the_package_is_named(
    make_clip: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_clip("a.mov", 1)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingDependency, match="'av' is needed to decode a video"):
        probe(path)


def test_importing_the_room_does_not_import_pyav() -> None:
    program = "import sys, tsm_ref.video; sys.exit('av' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
