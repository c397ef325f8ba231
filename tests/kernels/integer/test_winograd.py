"""The transformed numbers of whole-number Winograd fit where they are kept."""

import numpy as np
import pytest

from tsm_ref.kernels.cache import compiled
from tsm_ref.kernels.integer import winograd
from tsm_ref.kernels.integer.conv import pack_tiles
from tsm_ref.kernels.integer.pack import runs_of
from tsm_ref.kernels.integer.units import UNIT
from tsm_ref.kernels.integer.winograd import FOUR, SIX, chosen
from tsm_ref.kernels.integer.winograd_weights import LANES, packed_taps

FORMS = pytest.mark.parametrize("form", [FOUR, SIX], ids=["2x2", "4x4"])


class Whole:
    """What the transforms ask of a builder, for arrays of Python's integers."""

    add, sub, mul = (staticmethod(f) for f in (np.add, np.subtract, np.multiply))


def matrix(function, size, monkeypatch):
    """The matrix of a transform of vectors."""
    monkeypatch.setattr(winograd, "_times", lambda builder, value, factor: factor * value)
    return np.array(function(Whole, list(np.eye(size, dtype=np.int64))))


@FORMS
def test_the_identity_holds_with_a_multiple_of_the_sum(form, rng, monkeypatch):
    n = form.size + 2
    b, a = (matrix(function, n, monkeypatch) for function in (form.across, form.along))
    g, d = rng.integers(-128, 128, (3, 3)), rng.integers(-255, 256, (n, n))
    points = np.array(form.g) @ g @ np.array(form.g).T
    found = a @ (points * (b @ d @ b.T)) @ a.T
    windows = np.lib.stride_tricks.sliding_window_view(d, (3, 3))
    sums = np.einsum("ijkl,kl->ij", windows, g)
    odd = 3 if form == SIX else 1
    np.testing.assert_array_equal(found, sums * np.outer(form.multiples, form.multiples) * odd**2)
    assert form.inverse * odd**2 % (1 << 32) == 1


@FORMS
def test_products_of_the_worst_numbers_fit(form, monkeypatch):
    """By the sums of absolute values of the transforms, which their ends reach."""
    b = np.abs(matrix(form.across, form.size + 2, monkeypatch))
    weights = np.kron(np.abs(form.g), np.abs(form.g)).sum(1) * 128
    inputs = np.kron(b, b).sum(1) * 255
    assert max(weights.max(), inputs.max()) < 1 << 15
    assert 2 * (weights * inputs).max() < 1 << 31


@FORMS
def test_a_layer_whose_sums_might_be_too_large_takes_another_form(form):
    per_weight = 9 * 255 * 128
    channels = form.limit // per_weight
    outputs = (8, 56, 56) if form == SIX else (8, 2, 2)
    last = np.full((1, channels, 3, 3), -128, np.int8)
    following = np.full((1, channels + 1, 3, 3), -128, np.int8)
    found = [chosen(weight, outputs) for weight in (last, following)]
    if UNIT.group == 4 and not UNIT.bytes:
        assert found == [None, None]
    else:
        assert found == [form, FOUR if form == SIX else None]


@FORMS
@pytest.mark.parametrize("size", [4, 5])
def test_places_cover_every_output_once(size, form):
    outputs = (3, size, size + 2)
    grid = (3, *form.tiles(size, size + 2))
    strides = (1, form.size, form.size)
    row_bytes, columns = form.size * grid[2] + 2, winograd.COLUMNS
    runs, begins = runs_of(grid, strides, row_bytes, flat=False, columns=columns)
    seen = np.zeros(np.prod(outputs), int)
    for at, count, rows in winograd.places_of(runs, begins, outputs, form.size):
        for row in range(rows):
            seen[at + row * outputs[2] : at + row * outputs[2] + count] += 1
    assert (seen == 1).all()


def test_few_frames_take_the_form_that_fills_their_panels():
    weight = np.ones((16, 16, 3, 3), np.int8)
    found = [chosen(weight, (frames, 7, 7)) for frames in (1, 8)]
    if UNIT.group == 4 and not UNIT.bytes:
        assert found == [None, None]
    elif winograd.COLUMNS == 16:
        assert found == [FOUR, SIX]


@compiled()
def write_weights(taps, out, size):
    trips = -(-taps[0].size // LANES)
    how = (taps.ctypes.data, taps[0].size, trips, out.ctypes.data, out.shape[1] * 2)
    if size == 2:
        winograd._weights_four(*how)
    else:
        winograd._weights_six(*how)


@FORMS
@pytest.mark.parametrize("channels", [(16, 16), (17, 18)])
def test_weights_are_transformed_to_the_matrices_that_tiles_read(form, channels, rng):
    weight = rng.integers(-128, 128, (*channels, 3, 3)).astype(np.int8)
    taps, g = packed_taps(weight), np.array(form.g)
    out = np.zeros((form.points, taps[0].size + LANES), np.int16)
    write_weights(taps, out, form.size)
    points = np.einsum("ai,ocij,bj->aboc", g, weight.astype(np.int64), g)
    for matrix, found in zip(points.reshape(form.points, *channels), out, strict=True):
        expected = pack_tiles(matrix.astype(np.int16), 1, winograd.PAIRS).reshape(-1)
        np.testing.assert_array_equal(found[: expected.size], expected)
