"""Checks of names and values."""

from typing import Any

import numpy as np
import pytest

from tsm_ref.checkpoint.contents import check_finite, check_names, shown
from tsm_ref.errors import CheckpointError


def test_equal_names_pass_in_any_order() -> None:
    check_names(["a", "b"], ["b", "a"])


def test_missing_names_are_counted_and_three_are_listed(refused: Any) -> None:
    with refused(CheckpointError, "5 tensors are missing ('a', 'b', 'c', ...)"):
        check_names("abcdef", "f")


def test_unexpected_names_are_counted_and_three_are_listed(refused: Any) -> None:
    with refused(CheckpointError, "4 tensors are not expected ('w', 'x', 'y', ...)"):
        check_names("a", "awxyz")


def test_both_are_told_at_once(refused: Any) -> None:
    with refused(CheckpointError, "1 tensor is missing ('a'); 1 tensor is not expected ('z')"):
        check_names(["a"], ["z"])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_must_be_finite(refused: Any, bad: float) -> None:
    check_finite("fine", np.zeros(3))
    with refused(CheckpointError, "'fc.bias'", "1 of 3 values"):
        check_finite("fc.bias", np.array([1.0, bad, 2.0]))


def test_a_hostile_name_cannot_write_to_the_terminal() -> None:
    text = shown("\x1b[2J\nnew line" + "x" * 10_000)
    assert text.isprintable()
    assert text.isascii()
    assert len(text) < 100
