"""The compiled resizers give the bits of the NumPy ones, which equal Pillow's and OpenCV's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsm_ref.video.resize import RESIZERS, Box

pytest.importorskip("numba")
sides = st.integers(1, 60)


@given(st.tuples(sides, sides, sides, sides), st.sampled_from(sorted(RESIZERS)), st.data())
def test_compiled_is_numpy_bit_for_bit(
    size: tuple[int, int, int, int], name: str, data: st.DataObject
) -> None:
    height, width, new_height, new_width = size
    top, left = (data.draw(st.integers(0, side - 1)) for side in size[2:])
    rows = data.draw(st.integers(1, new_height - top))
    columns = data.draw(st.integers(1, new_width - left))
    noise = np.random.default_rng(height * width).integers(0, 256, (height, width, 3), np.uint8)
    pixels = noise if width % 2 else (noise > 127).astype(np.uint8) * 255
    whole = RESIZERS[name](pixels, new_height, new_width)
    box = Box(top, left, rows, columns)
    for compiled in (False, True):
        got = RESIZERS[name](pixels, new_height, new_width, box=box, compiled=compiled)
        np.testing.assert_array_equal(got, whole[top : top + rows, left : left + columns])


@pytest.mark.parametrize("name", sorted(RESIZERS))
@pytest.mark.parametrize("size", [(720, 1280, 64, 64), (480, 854, 256, 455), (36, 36, 72, 72)])
def test_compiled_is_numpy_at_real_sizes(name: str, size: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (*size[:2], 3), np.uint8)
    np.testing.assert_array_equal(
        RESIZERS[name](pixels, *size[2:], compiled=True), RESIZERS[name](pixels, *size[2:])
    )


@pytest.mark.parametrize("box", [(0, 0, 5, 4), (-1, 0, 2, 2), (0, 0, 0, 2), (3, 3, 2, 1)])
def test_a_box_lies_inside(box: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="must lie inside 4x4 and hold a pixel"):
        RESIZERS["pil"](np.zeros((8, 8, 3), np.uint8), 4, 4, box=Box(*box))
