"""Layouts of files: there and back again."""

from typing import Any

import numpy as np
import pytest

from tsm_ref.checkpoint.views import FileView
from tsm_ref.errors import GraphError

LAYOUTS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "rows": ((("N", "T"), ("C",), ("H",), ("W",)), (8, 3, 5, 6)),
    "rows, channels last": ((("N", "T"), ("H",), ("W",), ("C",)), (8, 5, 6, 3)),
    "clips": ((("N",), ("T",), ("C",), ("H",), ("W",)), (2, 4, 3, 5, 6)),
    "ours": ((("N",), ("C",), ("T",), ("H",), ("W",)), (2, 3, 4, 5, 6)),
    "stacked": ((("N",), ("T", "C"), ("H",), ("W",)), (2, 12, 5, 6)),
}


def view(groups: Any, shape: tuple[int, ...], **more: Any) -> FileView:
    return FileView("x", "x", shape, groups, "NCTHW", {"T": 4, "C": 3}, **more)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_goes_in_comes_out(layout: str) -> None:
    groups, shape = LAYOUTS[layout]
    array = np.arange(np.prod(shape)).reshape(shape)
    clip = view(groups, shape).to_graph(array)
    assert clip.shape == (2, 3, 4, 5, 6)
    np.testing.assert_array_equal(view(groups, shape).to_file(clip), array)


def test_every_element_is_where_its_letters_say() -> None:
    groups, shape = LAYOUTS["stacked"]
    array = np.arange(np.prod(shape)).reshape(shape)
    clip = view(groups, shape).to_graph(array)
    for (n, c, t, h, w), value in np.ndenumerate(clip):
        assert value == array[n, 3 * t + c, h, w]


def test_a_part_of_the_channels() -> None:
    groups, shape = LAYOUTS["rows"]
    array = np.arange(np.prod(shape)).reshape(shape)
    part = view(groups, shape, channels=(1, 3)).to_graph(array)
    np.testing.assert_array_equal(part, view(groups, shape).to_graph(array)[:, 1:3])


@pytest.mark.parametrize(
    ("declared", "given", "words"),
    [
        ((8, 3, 5, 6), (4, 3, 5, 6), r"has shape \(4, 3, 5, 6\); expected \(8, 3, 5, 6\)"),
        (("B", 3, 5, 6), (8, 3, 5), r"expected \(B, 3, 5, 6\)"),
        (("B", 3, 5, 6), (6, 3, 5, 6), r"has 6 along N\*T, which must be a multiple of 4"),
        (("B", "C", 5, 6), (8, 2, 5, 6), "has 2 along C"),
    ],
)
def test_other_shapes_are_refused(declared: Any, given: tuple[int, ...], words: str) -> None:
    with pytest.raises(GraphError, match=words):
        view(LAYOUTS["rows"][0], declared).to_graph(np.zeros(given))


def test_axes_of_size_one_need_not_be_in_the_file() -> None:
    flat = FileView("y", "y", (2, 3), (("N",), ("C",)), "NCTHW", {"T": 1, "H": 1, "W": 1})
    assert flat.to_graph(np.zeros((2, 3))).shape == (2, 3, 1, 1, 1)
    assert flat.to_file(np.zeros((2, 3, 1, 1, 1))).shape == (2, 3)
