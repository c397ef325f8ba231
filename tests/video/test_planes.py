"""Planes in colour are FFmpeg's scaler's, and made small straight from planes they are the same."""

import platform
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tsm_ref.profile import PROFILES
from tsm_ref.video import FileClip, Small, resize_and_crop
from tsm_ref.video.planes import Planes, _tone, planes_of
from tsm_ref.video.resize import _pil_taps
from tsm_ref.video.transforms import MMACTION2

av = pytest.importorskip("av")
Make = Callable[..., Path]
MIT = PROFILES["mit"].preprocess
STRETCHED = replace(MIT, size=(64, 64), short_side=None, crop=None)
X264 = {"codec": "libx264", "pix_fmt": "yuv420p"}

on_x86 = pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64"),
    reason="the scaler gives other bits here, and is used",
)


def noise(name: str, width: int, height: int, matrix: int = 2, span: int = 0) -> Any:
    """A picture of noise, as a decoder would give it."""
    picture = av.VideoFrame(width, height, name)
    picture.colorspace, picture.color_range = matrix, span
    random = np.random.default_rng(width * height + matrix)
    for plane in picture.planes:
        plane.update(random.integers(0, 256, plane.buffer_size, np.uint8).tobytes())
    return picture


LIMITED = (9539, 128, 13075, 16525, -3209, -6660)


def made_up(
    width: int,
    height: int,
    halved: int,
    spare: int,
    seed: int,
    tone: Sequence[int] | NDArray[np.int32] = LIMITED,
) -> Planes:
    random = np.random.default_rng(seed)
    few = height // 2 if halved else height
    shapes = [(height, width + spare), *[(few, -(-width // 2) + spare)] * 2]
    planes = [random.integers(0, 256, shape, np.uint8) for shape in shapes]
    return Planes(*planes, width, halved, np.array(tone, np.int32))


@on_x86
@pytest.mark.parametrize("name", ["yuv420p", "yuvj420p", "yuv422p", "yuvj422p"])
@pytest.mark.parametrize("span", [0, 1, 2])
@pytest.mark.parametrize("matrix", [1, 2, 4, 5, 6, 7, 9])
def test_colours_are_those_of_the_scaler(name: str, matrix: int, span: int) -> None:
    for width, height in ((64, 32), (65, 4), (66, 6), (854, 10), (2, 2), (7, 2)):
        picture = noise(name, width, height, matrix, span)
        planes = planes_of(av, picture)
        assert planes is not None
        expected = picture.reformat(width, height, "rgb24", threads=1).to_ndarray()
        np.testing.assert_array_equal(planes.rgb(), expected)


@pytest.mark.parametrize(
    ("name", "height", "matrix"),
    [("yuv420p", 31, 2), ("yuv444p", 32, 2), ("nv12", 32, 2), ("rgb24", 32, 2), ("yuv420p", 32, 8)],
)
def test_what_the_scaler_does_otherwise_is_left_to_it(name: str, height: int, matrix: int) -> None:
    assert planes_of(av, noise(name, 64, height, matrix)) is None


def test_a_machine_whose_scaler_gives_other_bits_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Planes, "rgb", lambda self: np.zeros(self.shape, np.uint8))
    assert planes_of(av, noise("yuv420p", 78, 32)) is None


sides = st.integers(1, 90)


@given(sides, sides, st.integers(0, 1), st.sampled_from([0, 16, 64]), st.sampled_from([9, 40, 71]))
def test_small_from_planes_is_small_from_colours(
    width: int, half: int, halved: int, spare: int, size: int
) -> None:
    pytest.importorskip("numba")
    planes = made_up(width, 2 * half, halved, spare, width)
    spec = replace(STRETCHED, size=(size, size + 3))
    np.testing.assert_array_equal(
        resize_and_crop(planes, spec, compiled=True), resize_and_crop(planes.rgb(), spec)
    )


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [1, 2, 7, 9])
def test_the_brightest_and_the_darkest_stay_within_a_byte(matrix: int, full: bool) -> None:
    pytest.importorskip("numba")
    planes = made_up(640, 8, 1, 0, matrix, _tone(matrix, full))
    for plane in (planes.luma, planes.blue, planes.red):
        plane[:] = np.where(plane > 127, 255, 0)
        plane[:, :64] = np.arange(64) * 4  # ramps, whose means lie on every side of a half
    spec = replace(STRETCHED, size=(4, 320))
    np.testing.assert_array_equal(
        resize_and_crop(planes, spec, compiled=True), resize_and_crop(planes.rgb(), spec)
    )


def test_weights_are_split_without_loss() -> None:
    pytest.importorskip("numba")
    from tsm_ref.kernels.planes import split

    for size, target in ((1280, 64), (3840, 64), (60, 64), (2, 64), (1 << 16, 64), (65, 64)):
        first, weights = _pil_taps(size, target)
        begins, bits, parts, bounds = split(first, weights)
        upper, rest = parts.reshape(target, 2, -1).astype(np.int64).swapaxes(0, 1)
        whole = (upper << bits) + rest
        assert not (begins % 2).any()
        for begin, before, some, row in zip(begins, first, whole, weights, strict=True):
            np.testing.assert_array_equal(some[before - begin :][: len(row)], row)
            assert np.count_nonzero(some) == np.count_nonzero(row)
        assert abs(rest).max(initial=0) <= 1 << bits >> 1
        assert (bounds < 1 << 20).all()  # a fourth of what is rounded to one


@pytest.mark.parametrize("spec", [MIT, replace(MIT, crops="ten"), STRETCHED, MMACTION2])
@pytest.mark.parametrize("size", [(1280, 720), (854, 480), (340, 256), (64, 360)])
def test_small_from_planes_at_real_sizes(spec: Any, size: tuple[int, int]) -> None:
    pytest.importorskip("numba")
    planes = made_up(*size, 1, 0, 5)
    np.testing.assert_array_equal(
        resize_and_crop(planes, spec, compiled=True), resize_and_crop(planes.rgb(), spec)
    )


@pytest.mark.parametrize(
    "made",
    [
        {**X264},
        {**X264, "codec_options": {"flags": "+ildct+ilme"}},
        {**X264, "rotation": (90, False, False)},
        {"codec": "mjpeg", "pix_fmt": "yuvj422p"},
        {},
    ],
)
def test_frames_of_files_are_the_same(make_clip: Make, made: dict[str, Any]) -> None:
    pytest.importorskip("numba")
    clip = FileClip(make_clip("a.mov", 6, **made))
    info = clip.survey().info
    small = [Small(info, STRETCHED, compiled=compiled) for compiled in (True, False)]
    got = []
    for each in small:
        with clip.open() as source:
            got.append([each(pixels()) for _, _, pixels in each.shown(source)])
    assert len(got[0]) == 6
    np.testing.assert_array_equal(*got)
