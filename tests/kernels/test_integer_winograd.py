"""The transformed numbers of whole-number Winograd fit where they are kept."""

import numpy as np
import pytest

from tsm_ref.kernels import integer_winograd
from tsm_ref.kernels.integer_pack import runs_of
from tsm_ref.kernels.integer_winograd import POINTS, transformed

B = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
A = np.array([[1, 1, 1, 0], [0, 1, -1, -1]])


def test_the_identity_holds_with_four_times_the_sum(rng):
    g, d = rng.integers(-128, 128, (3, 3)), rng.integers(-255, 256, (4, 4))
    points = transformed(g[None, None].astype(np.int8)).reshape(4, 4)
    found = A @ (points * (B @ d @ B.T)) @ A.T
    expected = [[(g * d[i : i + 3, j : j + 3]).sum() for j in range(2)] for i in range(2)]
    np.testing.assert_array_equal(found, 4 * np.array(expected))


def test_products_of_the_worst_numbers_fit():
    """By the sums of absolute values of the transforms, which their ends reach."""
    g = np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]])
    weights = np.kron(np.abs(g), np.abs(g)).sum(1).reshape(POINTS) * 128
    inputs = np.kron(np.abs(B), np.abs(B)).sum(1).reshape(POINTS) * 255
    assert max(weights.max(), inputs.max()) < 1 << 15
    largest = int((weights * inputs).max())
    for channels in (1, 64, 1024, 1800, 1840, 4096):
        if integer_winograd.fits(channels):
            assert channels * largest < 1 << 31
            assert channels * 36 * 255 * 128 < 1 << 31
    if integer_winograd.UNIT.group == 2:
        assert integer_winograd.fits(1024)


@pytest.mark.parametrize("size", [4, 5])
def test_places_cover_every_output_once(size):
    outputs = (3, size, size + 2)
    grid = (3, -(-size // 2), -(-(size + 2) // 2))
    runs, begins = runs_of(grid, (1, 2, 2), 2 * grid[2] + 2, flat=False)
    seen = np.zeros(np.prod(outputs), int)
    for at, count, rows in integer_winograd.places_of(runs, begins, outputs):
        for row in range(rows):
            seen[at + row * outputs[2] : at + row * outputs[2] + count] += 1
    assert (seen == 1).all()
