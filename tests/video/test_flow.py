"""Optical flow: folders of flow images as MIT's code reads them, and what OpenCV computes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tsm_ref.errors import MissingDependency, UsageError, VideoError
from tsm_ref.profile import PROFILES
from tsm_ref.recognition import sampled
from tsm_ref.video import SAMPLERS, normalize, open_clip, open_flow, read_wanted, resize_and_crop
from tsm_ref.video.flow import as_bytes, computing

Image = pytest.importorskip("PIL.Image")
UCF, SOMETHING = "flow_{}_{:05d}.jpg", "000123-{}_{:05d}.jpg"


def folder_of(
    folder: Path, count: int = 12, name: str = UCF, size: tuple[int, int] = (340, 256)
) -> Path:
    """Smooth flow images, as different from each other as motions are."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(1)
    for number in range(1, count + 1):
        for side in "xy":
            few = rng.normal(128, 25, (6, 8)).clip(0, 255).astype(np.uint8)
            Image.fromarray(few).resize(size, Image.Resampling.BICUBIC).save(
                folder / name.format(side, number), quality=95
            )
    return folder


def mit_input(folder: Path, begins: list[int], count: int, name: str, mirrored: bool) -> Any:
    """What MIT's data code makes of it, step by step: (T, 10, 224, 224).

    Five pictures from each begin (from 1) on, the last one again behind the end; x and y in turn;
    Pillow to a short side of 256; a crop of 224; mirrored with x turned round; mean and deviation
    of flow.
    """
    planes = []
    for begin in begins:
        for step in range(5):
            for side in "xy":
                number = min(begin + step, count)
                image = Image.open(folder / name.format(side, number)).convert("L")
                width, height = image.size
                short = min(width, height)
                image = image.resize(
                    (256 * width // short, 256 * height // short), Image.Resampling.BILINEAR
                )
                width, height = image.size
                left, top = round((width - 224) / 2), round((height - 224) / 2)
                if mirrored:  # the first of five corners
                    left = top = 0
                image = image.crop((left, top, left + 224, top + 224))
                plane = np.asarray(image)
                if mirrored:
                    plane = plane[:, ::-1]
                    plane = 255 - plane if side == "x" else plane
                planes.append(plane)
    x = np.stack(planes).astype(np.float32) / np.float32(255)
    x = (x - np.float32(0.5)) / np.float32(np.mean([0.229, 0.224, 0.225]))
    return x.reshape(len(begins), 10, 224, 224)


def prepared(folder: Path, segments: int = 4, crops: int = 1) -> np.ndarray:
    """Our input (V, 10, T, 224, 224) of the first clip."""
    profile = sampled(PROFILES["mit-flow"], crops=crops)
    clip = open_flow(folder, fps=25)
    indices = SAMPLERS["uniform"](clip.survey().info.frame_count, segments)
    got = read_wanted(clip, clip.survey(), indices,
                      lambda frame: resize_and_crop(frame, profile.preprocess))  # fmt: skip
    return normalize(got.unique[got.order[0]], profile.preprocess)


@pytest.mark.parametrize("name", [UCF, SOMETHING, "{}_{:05d}.png", "Flow_{}_{:04d}.jpg"])
@pytest.mark.parametrize(("count", "begins"), [(12, [2, 4, 6, 8]), (9, [1, 2, 4, 5])])
def test_the_input_is_that_of_mits_code(tmp_path, name, count, begins) -> None:
    """Their code run on such folders gave the same array, of 1, 3 x 2 and 10 crops, bit for bit."""
    folder = folder_of(tmp_path / "clip", count, name, (300, 270))
    wanted = mit_input(folder, begins, count, name, mirrored=False)
    np.testing.assert_array_equal(prepared(folder)[0].swapaxes(0, 1), wanted)


def test_a_mirrored_motion_goes_the_other_way(tmp_path) -> None:
    folder = folder_of(tmp_path / "clip")
    wanted = mit_input(folder, [2, 4, 6, 8], 12, UCF, mirrored=True)
    np.testing.assert_array_equal(prepared(folder, crops=10)[1].swapaxes(0, 1), wanted)


def test_both_directions_in_one_picture(tmp_path) -> None:
    """As MIT's Something-Something V2: x in red, y in green."""
    pairs, packed = folder_of(tmp_path / "pairs", 6, "{}_{:05d}.png"), tmp_path / "packed"
    packed.mkdir()
    for number in range(1, 7):
        x, y = (np.asarray(Image.open(pairs / f"{side}_{number:05d}.png")) for side in "xy")
        Image.fromarray(np.stack([x, y, 0 * x], 2)).save(packed / f"{number:06d}.png")
    ours = list(open_flow(packed, "red-green", fps=5).open())
    for one, other in zip(open_flow(pairs, fps=5).open(), ours, strict=True):
        assert one.pixels.shape == (256, 340, 10)
        np.testing.assert_array_equal(one.pixels, other.pixels)


def test_what_is_known_of_a_folder(tmp_path) -> None:
    folder = folder_of(tmp_path / "clip", 12, size=(40, 30))
    info = open_flow(folder).survey().info
    assert (info.frame_count, info.duration, info.pixel_format) == (8, 12 / 25, "flow")
    assert info.warnings == ("frames in files have no times: 25 a second are assumed",)
    assert len(open_flow(folder).sha256()) == 64
    few = folder_of(tmp_path / "few", 2, size=(40, 30))
    (frame,) = open_flow(few, fps=5).open()
    np.testing.assert_array_equal(frame.pixels[:, :, 2:4], frame.pixels[:, :, 8:])
    said = open_flow(few, fps=5).survey().info.warnings
    assert said == ("there are 2 pictures of flow and the network sees 5 at once: the last one is "
                    "repeated",)  # fmt: skip


def test_flow_lies_beside_pictures(tmp_path) -> None:
    """UCF101 as MIT has it: img_00001.jpg, flow_x_00001.jpg and flow_y_00001.jpg in one folder."""
    folder = folder_of(tmp_path / "clip", 6, size=(40, 30))
    for number in range(1, 8):
        Image.new("RGB", (40, 30), (number, 0, 0)).save(folder / f"img_{number:05d}.png")
    shown = list(open_clip(folder, fps=5).open())
    assert [int(frame.pixels[0, 0, 0]) for frame in shown] == [1, 2, 3, 4, 5, 6, 7]
    assert open_flow(folder, fps=5).survey().info.frame_count == 2


def test_what_is_no_flow_is_refused(tmp_path) -> None:
    folder = folder_of(tmp_path / "clip", 6, size=(40, 30))
    with pytest.raises(VideoError, match=r"as flow_x_00001.jpg, are optical flow, and the model"):
        open_clip(folder, fps=5)
    (folder / "flow_y_00003.jpg").unlink()
    with pytest.raises(VideoError, match=r"flow_x_00003.jpg is without its y"):
        open_flow(folder)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Image.new("RGB", (40, 30)).save(pictures / "img_00001.png")
    with pytest.raises(VideoError, match=r"no flow images are in this folder: flow_x_00001\.jpg"):
        open_flow(pictures)
    with pytest.raises(UsageError, match="this is a video of pictures: give a folder of flow ima"):
        open_flow("clip.mp4")
    with pytest.raises(UsageError, match=r"`flow` \(='tvl2'\) must be one of tvl1, dis, farneback"):
        open_flow("clip.mp4", "tvl2")
    with pytest.raises(VideoError, match="cannot be read"):
        open_flow(tmp_path / "no%05d")


def test_other_values_are_told(tmp_path) -> None:
    folder = tmp_path / "clip"
    folder.mkdir()
    for number, side in ((number, side) for number in range(1, 6) for side in "xy"):
        Image.new("L", (40, 30), 3).save(folder / f"{side}_{number}.png")
    (warning,) = open_flow(folder, fps=5).survey().info.warnings
    assert "most of the first flow image is 3, and rest is 128 of 255" in warning
    Image.new("L", (41, 30), 128).save(folder / "x_4.png")
    with pytest.raises(VideoError, match=r"x_4.png and y_4.png are of two sizes"):
        list(open_flow(folder, fps=5).open())
    Image.new("L", (41, 30), 128).save(folder / "y_4.png")
    with pytest.raises(VideoError, match=r"x_4\.png is of 41x30 and the first of 40x30"):
        list(open_flow(folder, fps=5).open())


def test_a_damaged_flow_image(tmp_path) -> None:
    folder = folder_of(tmp_path / "clip", 7, size=(40, 30))
    (folder / "flow_x_00004.jpg").write_bytes(b"no picture")
    with pytest.raises(VideoError, match=r"flow_x_00004\.jpg cannot be read"):
        list(open_flow(folder, fps=5).open())
    source = open_flow(folder, fps=5, allow_partial=True).open()
    first = next(iter(source)).pixels
    np.testing.assert_array_equal(first[:, :, 4:6], first[:, :, 6:8])
    assert "the flow before is taken again" in source.warnings[0]


# What is computed here


def moving(count: int, across: int, down: int) -> np.ndarray:
    """A picture that moves by whole pixels, uint8 (T, 120, 160, 3)."""
    few = np.random.default_rng(2).integers(0, 256, (20, 24), np.uint8)
    large = np.asarray(Image.fromarray(few).resize((240, 200), Image.Resampling.BICUBIC))
    frames = [
        large[40 - t * down :, 40 - t * across :][:120, :160, None].repeat(3, 2)
        for t in range(count)
    ]
    return np.stack(frames)


@pytest.mark.parametrize("method", ["dis", "farneback", "tvl1"])
def test_a_known_motion_is_found(method) -> None:
    cv2 = pytest.importorskip("cv2")
    if method == "tvl1" and not hasattr(cv2, "optflow"):
        with pytest.raises(MissingDependency, match="opencv-contrib-python-headless"):
            computing(method)
        return
    clip = open_flow(moving(8, 3, -2), method, fps=10)
    known = clip.survey()
    assert known.info.frame_count == 3
    assert "published weights of flow were made with TV-L1" in known.info.warnings[-1]
    shown = list(clip.open())
    assert [frame.time for frame in shown] == [0, 0.1, 0.2]
    for frame in shown:
        middle = np.median(frame.pixels[30:-30, 30:-30], (0, 1))
        wanted = as_bytes(np.array([3, -2] * 5, np.float32))
        assert np.abs(middle - wanted).max() <= 1  # a sixth of a pixel
    assert len(clip.sha256()) == 64


def test_a_still_picture_is_128_and_a_large_one_is_made_smaller() -> None:
    pytest.importorskip("cv2")
    still = np.random.default_rng(3).integers(0, 256, (1, 300, 520, 3), np.uint8).repeat(6, 0)
    (frame,) = open_flow(still, "dis", fps=10).open()
    assert frame.pixels.shape == (256, 444, 10)
    assert (frame.pixels == 128).all()


def test_few_frames() -> None:
    pytest.importorskip("cv2")
    clip = open_flow(moving(3, 1, 0), "dis", fps=10)
    assert "there are 2 pictures of flow" in clip.survey().info.warnings[-1]
    (frame,) = clip.open()
    np.testing.assert_array_equal(frame.pixels[:, :, 2:4], frame.pixels[:, :, 8:])
    with pytest.raises(VideoError, match="one frame shows no motion"):
        list(open_flow(moving(1, 0, 0), "dis", fps=10).open())
