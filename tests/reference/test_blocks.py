"""What sets the residual shift apart from the in-place shift: the skip path."""

import numpy as np
import pytest

from tsm_ref.reference import conv, in_place_shift, relu, residual_shift

X = np.arange(1.0, 31).reshape(1, 2, 3, 5, 1) - 11
D = [1, -1]


def shifted_by_hand():
    z = np.zeros_like(X)
    z[:, 0, 1:] = X[:, 0, :-1]
    z[:, 1, :-1] = X[:, 1, 1:]
    return z


def test_only_the_branch_is_shifted():
    y = residual_shift(X, lambda z: 100 * relu(z), D)
    np.testing.assert_array_equal(y, X + 100 * np.maximum(shifted_by_hand(), 0))


def test_in_place_both_paths_are_shifted():
    y = in_place_shift(X, lambda z: 100 * relu(z), D)
    np.testing.assert_array_equal(y, shifted_by_hand() + 100 * np.maximum(shifted_by_hand(), 0))


def test_the_shortcut_of_a_residual_shift_sees_the_unshifted_input():
    w = np.array([[2.0, 3.0], [5.0, 7.0], [11.0, 13.0]]).reshape(3, 2, 1, 1, 1)

    def branch(z):
        return conv(z, -w, stride=(1, 2, 1))

    def shortcut(z):
        return conv(z, w, stride=(1, 2, 1))

    difference = shortcut(X) - shortcut(shifted_by_hand())
    np.testing.assert_array_equal(residual_shift(X, branch, D, shortcut=shortcut), difference)
    assert not in_place_shift(X, branch, D, shortcut=shortcut).any()


@pytest.mark.parametrize("block", [residual_shift, in_place_shift])
def test_refuses_paths_that_do_not_meet(block):
    with pytest.raises(ValueError, match="the skip path has shape"):
        block(X, lambda z: z[:, :, :, ::2], D)
    with pytest.raises(ValueError, match="int64"):
        block(X.astype(np.int64), lambda z: z, D)


def test_the_fill_is_passed_on():
    y = residual_shift(X, lambda z: z, D, fill="circular") - X
    np.testing.assert_array_equal(y[:, 0], np.roll(X[:, 0], 1, axis=1))
