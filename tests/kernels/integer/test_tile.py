"""Tiles of whole numbers are exact on every unit that this processor can run."""

import numpy as np
import pytest
from numba import types

from tsm_ref.kernels.cache import machine_code
from tsm_ref.kernels.integer import tile
from tsm_ref.kernels.integer.conv import pack_weights, tiles_of_block
from tsm_ref.kernels.integer.tile import REAL, SUM, WHOLE, TileArguments, call_tiles
from tsm_ref.kernels.integer.units import PAIRS, PORTABLE, SIGNED, TILES, UNIT, Unit
from tsm_ref.kernels.machine import HOST

WIDE = [SIGNED, TILES] if HOST.lanes >= 8 else []
UNITS = {unit.name: unit for unit in (UNIT, PAIRS, PORTABLE, *WIDE)}


@pytest.fixture(params=UNITS)
def unit(request):
    return UNITS[request.param]


def run(unit: Unit, x, weights, bias, factor, form, zero=0, low=0.0, high=0.0):
    """The results (rows, columns) of packed inputs and weights."""
    code = machine_code(body(tile.writer(unit)), types.void(*tile._TYPES))
    tiles = weights.starts.size
    y = np.zeros(
        (tiles * unit.rows, unit.columns), {WHOLE: np.uint8, REAL: np.float32, SUM: np.int32}[form]
    )
    given = TileArguments(
        x.ctypes.data, weights.data.ctypes.data, len(x), tiles, bias.ctypes.data,
        factor.ctypes.data, y.ctypes.data, y.strides[0], form, zero, low, high,
    )  # fmt: skip
    caller()(code, *given)
    return y


def body(tiles):
    def compute(x, w, n, m, b, f, y, row, form, zero, low, high):
        tiles(x, w, n, m, b, f, y, row, form, zero, low, high)

    return compute


def caller():
    from tsm_ref.kernels.cache import compiled

    @compiled()
    def call(code, x, w, n, m, b, f, y, row, form, zero, low, high):
        call_tiles(code, x, w, n, m, b, f, y, row, form, zero, np.float32(low), np.float32(high))

    return call


def packed(unit, x, matrix):
    """Inputs (k, columns) and weights (rows, k) as a unit reads them."""
    count, size = unit.chunks(len(x))
    full = np.zeros((count * size * unit.group, unit.columns), unit.input_type)
    full[: len(x)] = x
    weights = pack_weights(matrix, 1, unit)
    steps = full[weights.order[0]].reshape(-1, unit.group, unit.columns).swapaxes(1, 2)
    return np.ascontiguousarray(steps), weights


def drawn(unit, rng, k, tiles=3, least=-255, most=255):
    x = rng.integers(least, most + 1, (k, unit.columns))
    matrix = rng.integers(-128, 128, (tiles * unit.rows, k))
    bias = rng.integers(-(2**31), 2**31, len(matrix)).astype(np.int32)
    return x, matrix, bias


@pytest.mark.parametrize("k", [1, 35, 147])
def test_sums_wrap_and_do_not_saturate(unit, rng, k):
    least, most = {"uint8": (0, 255), "int8": (-128, 127), "int16": (-255, 255)}[unit.input_type]
    x, matrix, bias = drawn(unit, rng, k, least=least, most=most)
    x[:, ::2], matrix[::2] = most, -128
    expected = (matrix @ x + bias[:, None]).astype(np.int32)
    found = run(unit, *packed(unit, x, matrix), bias, np.ones(len(bias), np.float32), SUM)
    np.testing.assert_array_equal(found, expected)


def test_results_are_rounded_once_and_halves_go_to_even(unit, rng):
    x, matrix, bias = drawn(unit, rng, 17, least=0, most=3)
    sums, bias = matrix @ x, (bias % 1000).astype(np.int32)
    x, weights = packed(unit, x, matrix)
    factor = np.where(np.arange(len(bias)) % 2, np.float32(0.5), np.float32(0.013))
    scaled = (sums + bias[:, None]).astype(np.float32) * factor[:, None]
    np.testing.assert_array_equal(run(unit, x, weights, bias, factor, REAL), scaled)
    expected = np.rint(np.clip(scaled, -40, 55)).astype(int) + 60
    found = run(unit, x, weights, bias, factor, WHOLE, 60, -40.0, 55.0)
    np.testing.assert_array_equal(found, expected)
    assert ((scaled % 1 == 0.5) & (abs(scaled) < 40)).any()


def test_a_block_has_no_more_tiles_than_there_are():
    """Room is made for the results of all tiles of a block: small weights must not ask for more."""
    for tiles in (1, 2, 32, 1024):
        for weight_bytes in (1, 1 << 10, 1 << 20, 1 << 30):
            assert 1 <= tiles_of_block(weight_bytes, 1, tiles) <= tiles
