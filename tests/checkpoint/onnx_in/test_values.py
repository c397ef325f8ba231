"""Numbers of elements: how a layout and a shift are read off them."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsm_ref.checkpoint.onnx_in.values import Base, View, explain, explain_state, regroup
from tsm_ref.reference import FILLS, temporal_shift


def shifted(base: Base, d: list[int], fill: str) -> np.ndarray[Any, Any]:
    """The numbers of a shifted value, by the reference: 0 is made -1 after counting from 1."""
    codes = base.codes() + 1
    return temporal_shift(codes.astype(float), np.array(d), fill).astype(np.int64) - 1


@given(
    st.tuples(*[st.integers(1, 4)] * 5),
    st.sampled_from(FILLS),
    st.data(),
)
def test_a_shift_in_rows_is_read_back(
    shape: tuple[int, ...], fill: str, data: st.DataObject
) -> None:
    """Whatever is found gives the same numbers again."""
    n, c, t, h, w = shape
    base = Base("x", shape, 7, "NCTHW")
    d = data.draw(st.lists(st.integers(-t, t), min_size=c, max_size=c))
    codes = shifted(base, d, fill)
    rows = codes.transpose(0, 2, 1, 3, 4).reshape(n * t, c, h, w)
    found = explain(rows, base)
    assert found is not None
    again = shifted(base, list(found.d), found.fill)
    if found.segment:
        assert t % found.segment == 0
        return
    np.testing.assert_array_equal(again, codes)


def test_the_shift_of_mit_is_found_as_it_is() -> None:
    base = Base("x", (2, 8, 4, 3, 3), 0, "NCTHW")
    d = [-1, -1, 1, 1, 0, 0, 0, 0]
    for fill in FILLS:
        found = explain(shifted(base, d, fill), base)
        assert found is not None
        assert (list(found.d), found.fill, found.segment) == (d, fill, 0)
        assert found.groups == (("N",), ("C",), ("T",), ("H",), ("W",))


def test_a_shift_inside_segments() -> None:
    base = Base("x", (1, 3, 6, 2, 2), 0, "NCTHW")
    parts = base.codes().reshape(1, 3, 2, 3, 2, 2) + 1
    moved = [
        temporal_shift(parts[:, :, i].astype(float), np.array([-1, 1, 0]), "zero") for i in (0, 1)
    ]
    codes = np.concatenate(moved, 2).astype(np.int64) - 1
    found = explain(codes, base)
    assert found is not None
    assert (found.d, found.segment) == ((-1, 1, 0), 3)


@pytest.mark.parametrize("how", ["channels", "clips", "places", "backwards", "twice"])
def test_what_is_no_shift_is_not_explained(how: str) -> None:
    base = Base("x", (2, 4, 5, 3, 2), 0, "NCTHW")
    codes = base.codes()
    moved = {
        "channels": codes[:, [1, 0, 2, 3]],
        "clips": codes[::-1],
        "places": codes[..., ::-1, :],
        "backwards": codes[:, :, ::-1],
        "twice": codes[:, :, [0, 0, 1, 1, 2]],
    }[how]
    assert explain(moved, base) is None


def test_a_state_takes_the_place_of_channels() -> None:
    kept = Base("x", (2, 8, 1, 3, 3), 0, "NCTHW")
    state = Base("s", (2, 2, 1, 3, 3), 144, "NCTHW")
    joined = np.concatenate([state.codes(), kept.codes()[:, 2:]], 1)[:, :, 0]
    found = explain_state(joined, kept, state)
    assert found is not None
    assert found[1] == (0, 1)
    assert explain_state(joined[:, ::-1], kept, state) is None


@pytest.mark.parametrize(
    ("shape", "groups"),
    [
        ((8, 3, 5, 5), (("N", "T"), ("C",), ("H",), ("W",))),
        ((2, 4, 75), (("N",), ("T",), ("C", "H", "W"))),
        ((2, 4, 3, 25, 1), (("N",), ("T",), ("C",), ("H", "W"), ())),
        ((24, 25), (("N", "T", "C"), ("H", "W"))),
        ((4, 2, 3, 25), None),
        ((6, 100), None),
    ],
)
def test_letters_are_folded_only_where_the_axes_are(shape: Any, groups: Any) -> None:
    assert regroup([2, 4, 3, 5, 5], "NTCHW", shape) == groups


def test_a_view_and_its_numbers_agree() -> None:
    view = View(Base("x", (2, 3, 4, 5, 5), 0, "NCTHW"), (("N", "T"), ("C",), ("H",), ("W",)))
    folded = view.reshaped((2, 4, 3, 25))
    assert folded is not None
    np.testing.assert_array_equal(folded.codes(), view.codes().reshape(2, 4, 3, 25))
    turned = view.transposed([0, 2, 3, 1])
    np.testing.assert_array_equal(turned.codes(), view.codes().transpose(0, 2, 3, 1))
