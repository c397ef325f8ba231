"""Clips that are no video file: folders of numbered frames, animated WebP, arrays."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.video.conftest import picture
from tsm_ref.errors import UsageError, VideoError
from tsm_ref.live import open_source
from tsm_ref.video import open_clip, read_wanted, stills

Image = pytest.importorskip("PIL.Image")


def numbered(
    folder: Path, numbers: list[int], name: str = "img_{:05d}.png", pictures: object = picture
) -> Path:
    folder.mkdir(exist_ok=True)
    for number in numbers:
        Image.fromarray(pictures(number)).save(folder / name.format(number))  # type: ignore[operator]
    return folder


def indices_shown(clip: object) -> list[int]:
    source = clip.open()  # type: ignore[attr-defined]
    found = [int(frame.pixels[0, 0, 0]) for frame in source]
    source.close()
    return found


def test_frames_are_shown_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    folder = numbered(tmp_path / "clip", [1, 2, 3, 10, 11, 12], name="frame{}.png")
    (folder / "notes.txt").write_text("no frame")
    clip = open_clip(folder, fps=10)
    known = clip.survey()
    assert (known.info.frame_count, known.info.duration, known.info.codec) == (6, 0.6, "png")
    assert (known.info.width, known.info.height) == (48, 32)
    np.testing.assert_allclose(known.times, np.arange(6) / 10)
    assert indices_shown(clip) == [1, 2, 3, 10, 11, 12]
    assert any("1 gap, the first after 3" in warning for warning in known.info.warnings)


def test_a_pattern_names_the_frames(tmp_path: Path) -> None:
    folder = numbered(tmp_path / "clip", [1, 2, 3])
    numbered(folder, [7, 8], name="flow_x_{:05d}.png")
    clip = open_clip(folder / "img_%05d.png", fps=25)
    assert indices_shown(clip) == [1, 2, 3]
    assert clip.survey().info.warnings == ()
    source = open_source(str(folder / "img_%05d.png"))
    assert [frame.index for frame in source] == [0, 1, 2]
    assert any("25 a second are assumed" in warning for warning in source.warnings)


@pytest.mark.parametrize("name", ["none_%05d.jpg", ""])
def test_nothing_is_no_clip(tmp_path: Path, name: str) -> None:
    with pytest.raises(VideoError, match=r"no (picture|file)"):
        open_clip(tmp_path / name)


def test_frames_of_another_size_are_said_and_resized(tmp_path: Path) -> None:
    folder = numbered(tmp_path / "clip", [1, 2])
    numbered(folder, [3, 4, 5], pictures=lambda n: picture(n, 16, 24))
    clip = open_clip(folder, fps=5)
    for source in (clip.open(), clip.open()):
        assert {frame.pixels.shape for frame in source} == {(32, 48, 3)}
        said = [warning for warning in source.warnings if "and the first of 48x32" in warning]
        assert len(said) == 1
        assert "is of 24x16" in said[0]


def test_a_cut_frame_is_refused_or_the_one_before_is_shown(tmp_path: Path) -> None:
    folder = numbered(tmp_path / "clip", [1, 2, 3])
    hurt = folder / "img_00002.png"
    hurt.write_bytes(hurt.read_bytes()[:60])
    with pytest.raises(VideoError, match=r"img_00002\.png"):
        indices_shown(open_clip(folder, fps=5))
    clip = open_clip(folder, fps=5, allow_partial=True)
    source = clip.open()
    assert [int(frame.pixels[0, 0, 0]) for frame in source] == [1, 1, 3]
    assert any("the frame before is shown again" in warning for warning in source.warnings)


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    Image.fromarray(np.full((4, 4), 0x80FF, np.uint16)).save(tmp_path / "clip" / "1.png")
    source = open_clip(tmp_path / "clip", fps=1).open()
    assert [frame.pixels[0, 0].tolist() for frame in source] == [[128, 128, 128]]


def test_a_folder_has_a_digest_and_may_not_change(tmp_path: Path) -> None:
    folder = numbered(tmp_path / "clip", [1, 2])
    clip = open_clip(folder, fps=5)
    assert clip.sha256() == open_clip(folder, fps=5).sha256()
    numbered(folder, [2], pictures=lambda n: picture(n + 1))
    with pytest.raises(VideoError, match="changed while it was read"):
        clip.sha256()


def test_an_animated_webp_is_shown_by_its_delays(tmp_path: Path) -> None:
    path = tmp_path / "a.webp"
    images = [Image.fromarray(picture(i * 20)) for i in range(5)]
    delays = [40, 100, 60, 40, 200]
    images[0].save(path, save_all=True, append_images=images[1:], duration=delays, lossless=True)
    clip = open_clip(path)
    known = clip.survey()
    assert known.info.codec == "webp"
    np.testing.assert_allclose(known.times, np.array([0, 40, 140, 200, 240]) / 1000)
    assert known.info.duration == pytest.approx(0.44)
    got = read_wanted(clip, known, [0, 3])
    np.testing.assert_array_equal(got.pixels[1], picture(60))
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(VideoError):
        open_clip(path).survey()


def test_an_animated_webp_is_decoded_once_where_it_is_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.webp"
    images = [Image.fromarray(picture(i)) for i in range(4)]
    images[0].save(path, save_all=True, append_images=images[1:], duration=40, lossless=True)
    loaded: list[int] = []
    load = stills._load
    monkeypatch.setattr(stills, "_load", lambda image, at: (loaded.append(at), load(image, at)))
    for most, expected in ((stills.MOST_BYTES, [*range(4)]), (2 * 32 * 48 * 3, [*range(4), 2, 3])):
        monkeypatch.setattr(stills, "MOST_BYTES", most)
        clip = open_clip(path)
        got = read_wanted(clip, clip.survey(), range(4))
        np.testing.assert_array_equal(got.pixels, np.stack([picture(i) for i in range(4)]))
        assert loaded == expected
        loaded.clear()


@pytest.mark.parametrize(
    ("name", "holed"),
    [(name, holed) for name in ("a.webp", "a.apng", "clip") for holed in (None, 0, 2)]
    + [("a.gif", None), ("a.gif", 0)],  # Pillow writes no later one into a GIF
)
def test_transparency_is_said_where_there_is_some(
    tmp_path: Path, name: str, holed: int | None
) -> None:
    images = []
    for i in range(4):
        pixels = np.dstack([picture(i * 20), np.full((32, 48), 255, np.uint8)])
        pixels[10:20, 5:30, 3] = 0 if i == holed else 255
        images.append(Image.fromarray(pixels))
    path = tmp_path / name
    if name == "clip":
        path.mkdir()
        for i, image in enumerate(images):
            image.save(path / f"{i}.png")
    else:
        how = {"lossless": True} if name == "a.webp" else {"disposal": 2}
        kind = "PNG" if name == "a.apng" else None
        more = {"save_all": True, "append_images": images[1:], "duration": 40, **how}
        images[0].save(path, kind, **more)
    clip = open_clip(path, fps=25 if name == "clip" else None)
    said = read_wanted(clip, clip.survey(), range(4)).info.warnings
    assert ["transparency" in text for text in said] == ([] if holed is None else [True])


def test_an_array_is_a_clip() -> None:
    frames = np.stack([picture(i) for i in range(6)])
    clip = open_clip(frames, fps=2)
    known = clip.survey()
    assert (known.info.frame_count, known.info.duration) == (6, 3.0)
    assert indices_shown(clip) == list(range(6))
    assert clip.sha256() == open_clip(frames[::1].copy(), fps=2).sha256()


@pytest.mark.parametrize(
    ("make", "fps", "message"),
    [
        (lambda: np.zeros((2, 4, 4, 3), np.uint8), None, "give `fps`"),
        (lambda: np.zeros((2, 4, 4, 3), np.float32), 5, "must be uint8"),
        (lambda: np.zeros((0, 4, 4, 3), np.uint8), 5, "not empty"),
        (lambda: np.zeros((4, 4, 3), np.uint8), 5, r"\(T, H, W, 3\)"),
        (lambda: np.zeros((2, 4, 4, 3), np.uint8), 0, "must be a positive number"),
        *(
            (lambda: np.zeros((2, 4, 4, 3), np.uint8), fps, "must be a positive number")
            for fps in ("25", float("nan"), float("inf"), -1, 1e-300, 1e300)
        ),
        (lambda: "a.mp4", 5, "a video file has its own"),
    ],
)
def test_what_cannot_be_meant_is_a_mistake_of_usage(
    make: Callable[[], object], fps: object, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        open_clip(make(), fps=fps)  # type: ignore[arg-type]
