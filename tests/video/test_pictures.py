import math
import struct
from fractions import Fraction
from types import SimpleNamespace as Fake

import numpy as np
import pytest

from tsm_ref.errors import VideoError
from tsm_ref.video.pictures import Look, Orientation, Painter, picture_warnings, transparent

IMAGE = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_all_eight_ways_move_each_pixel_by_the_matrix(turn: int, mirrored: bool) -> None:
    cos, sin = round(math.cos(math.radians(turn))), round(math.sin(math.radians(turn)))
    flip = -1 if mirrored else 1
    a, b, c, d = flip * cos, flip * sin, -sin, cos  # mirrored first, then turned clockwise
    got = Orientation.from_matrix(a, b, c, d).apply(IMAGE)
    places = {}
    for y in range(2):
        for x in range(3):
            places[a * x + c * y, b * x + d * y] = IMAGE[y, x]
    left, top = min(x for x, _ in places), min(y for _, y in places)
    assert got.shape[:2] == ((2, 3) if turn % 180 == 0 else (3, 2))
    for (x, y), pixel in places.items():
        np.testing.assert_array_equal(got[y - top, x - left], pixel)
    assert got.flags.c_contiguous


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_degrees_are_clockwise(turn: int) -> None:
    angle = math.radians(turn + 3)
    slanted = Orientation.from_matrix(
        math.cos(angle), math.sin(angle), -math.sin(angle), math.cos(angle)
    )
    assert slanted.degrees == turn
    assert slanted.inexact


def test_the_matrix_comes_from_the_side_data() -> None:
    class Data(bytes):
        type = Fake(name="DISPLAYMATRIX")

    matrix = struct.pack("=9i", 0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)
    assert Orientation.of(Fake(side_data=[Data(matrix)])).degrees == 90
    assert Orientation.of(Fake(side_data=[Data(matrix[:8])])) == Orientation()
    assert Orientation.of(Fake(side_data=[])) == Orientation()


@pytest.mark.parametrize(
    ("matrix", "said"),
    [
        ((0, 0, 0, 0, 0, 0, 0, 0, 0), "leaves nothing of the picture"),
        ((0, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30), "leaves nothing of the picture"),
        ((1 << 16, 1 << 16, 0, 1 << 16, 1 << 16, 0, 0, 0, 1 << 30), "leaves nothing"),
        ((-(1 << 31),) * 9, "leaves nothing of the picture"),
        ((1 << 16, 1 << 15, 0, 0, 1 << 16, 0, 0, 0, 1 << 30), "not a multiple of 90"),
        ((1 << 16, 0, 1 << 20, 0, 1 << 16, 0, 0, 0, 1 << 30), "not a multiple of 90"),
        ((1 << 17, 0, 0, 0, 1 << 17, 0, 9 << 16, 0, 1 << 30), None),  # larger, and moved
    ],
)
def test_a_matrix_that_is_none_of_the_eight_is_said(
    matrix: tuple[int, ...], said: str | None
) -> None:
    class Data(bytes):
        type = Fake(name="DISPLAYMATRIX")

    plain = Fake(name="gray", components=[Fake(bits=8, is_alpha=False)])
    picture = Fake(
        side_data=[Data(struct.pack("=9i", *matrix))], format=plain, width=3, height=2, color_trc=1
    )
    look = Look.at(picture, None)
    assert [said in text for text in look.warnings] == ([True] if said else [])
    assert look.orientation.upright
    np.testing.assert_array_equal(look.orientation.apply(IMAGE), IMAGE)


@pytest.mark.parametrize("name", ["bgra", "rgba", "argb", "abgr", "yuva420p", "gbrap", "ya8"])
def test_transparency_is_said_where_there_is_some(name: str) -> None:
    av = pytest.importorskip("av")
    image = np.full((6, 10, 4), 255, np.uint8)
    opaque = av.VideoFrame.from_ndarray(image, format="rgba").reformat(format=name)
    image[3, 7, 3] = 0
    holed = av.VideoFrame.from_ndarray(image, format="rgba").reformat(format=name)
    assert (transparent(opaque), transparent(holed)) == (False, True)
    said: list[str] = []
    painter, look = Painter(av, said.append), Look.at(opaque, None)
    assert look.warnings == ()
    for picture in (opaque, holed, holed, opaque):
        painter.upright(picture, look)
    assert said == [f"the transparency of {name} is dropped"] == list(Look.at(holed, None).warnings)


def test_transparency_that_cannot_be_told_is_said() -> None:
    assert transparent(Fake(format=Fake(name="rgba64le")))


def test_size_follows_the_picture() -> None:
    assert Orientation(transpose=True).size(3, 2) == (2, 3)
    assert Orientation(flip_x=True, flip_y=True).size(3, 2) == (3, 2)


def test_an_hdr_picture_of_ten_bits_with_alpha_warns_three_times() -> None:
    parts = [Fake(bits=10, is_alpha=False), Fake(bits=10, is_alpha=True)]
    found = picture_warnings(Fake(format=Fake(name="yuva", components=parts), color_trc=18))
    assert len(found) == 3
    plain = [Fake(bits=8, is_alpha=False)]
    assert picture_warnings(Fake(format=Fake(name="gray", components=plain), color_trc=1)) == []


FORMATS = ["yuv420p", "yuvj420p", "yuv444p", "yuv422p10le", "nv12", "gray", "gray16le", "rgb24"]


@pytest.mark.parametrize("size", [(48, 32), (47, 33), (426, 240), (1280, 722)])
def test_the_painter_gives_what_pyav_gives_for_each_picture(size: tuple[int, int]) -> None:
    av = pytest.importorskip("av")
    painter, rng = Painter(av), np.random.default_rng(0)
    for name in [*FORMATS, *FORMATS[::-1], "bgra"]:  # the scaler is set up anew for another format
        picture = av.VideoFrame(*size, name)
        for plane in picture.planes:
            plane.update(rng.integers(0, 256, plane.buffer_size, np.uint8).tobytes())
        painted = painter.upright(picture, Look.at(picture, Fraction(1)))
        np.testing.assert_array_equal(painted, picture.to_ndarray(format="rgb24"))


def test_a_picture_of_another_size_is_painted_in_that_of_the_first() -> None:
    av = pytest.importorskip("av")
    first, other = (
        av.VideoFrame.from_ndarray(np.full((h, h, 3), h, np.uint8), format="rgb24") for h in (8, 20)
    )
    painter, look = Painter(av), Look.at(first, None)
    assert painter.upright(other, look).shape == painter.upright(first, look).shape == (8, 8, 3)


def test_a_picture_of_unknown_colours_is_a_bad_video() -> None:
    """A damaged stream named a colour space that FFmpeg's scaler does not know."""
    av = pytest.importorskip("av")

    class Scaler:
        def reformat(self, *_: object, **__: object) -> None:
            raise av.error.OSError(95, "Operation not supported")

    painter = Painter(av)
    painter._scaler = Scaler()
    look = Look((2, 2), Orientation(), "yuv420p", Fraction(1), ())
    with pytest.raises(VideoError, match="cannot be turned into RGB"):
        painter.upright(Fake(format=Fake(name="yuv420p")), look)
