"""Streams of bytes hold the weights of their tile, in steps that cannot saturate."""

import numpy as np
import pytest

from tsm_ref.kernels.integer.bytes import HEAD, LIMIT, order_of, pack_tile

STEP_BYTES = 64


def steps_of(stream, rows):
    """The groups of k of all steps (n, 2), and their weights (n, 2, rows, 4)."""
    (count,) = stream[:4].view(np.int32)
    body = stream[HEAD:].reshape(count, HEAD + 8 * rows)
    groups = np.ascontiguousarray(body[:, :HEAD]).view(np.int32) // STEP_BYTES
    return groups, np.ascontiguousarray(body[:, HEAD:]).view(np.int8).reshape(-1, 2, rows, 4)


def drawn(name, rng, shape):
    if name == "worst":
        return np.full(shape, -128, np.int8)
    if name == "ends":
        return rng.choice([-128, 127], shape).astype(np.int8)
    if name == "small":
        return rng.integers(-9, 10, shape).astype(np.int8)
    return np.clip(np.rint(rng.normal(0, 30, shape)), -128, 127).astype(np.int8)


@pytest.mark.parametrize("name", ["worst", "ends", "small", "normal"])
@pytest.mark.parametrize("k", [1, 2, 37])
@pytest.mark.parametrize("rows", [1, 2])
def test_steps_stay_within_the_limit_and_add_up(name, k, rows, rng):
    tile = drawn(name, rng, (k, rows, 4))
    groups, weights = steps_of(pack_tile(tile, STEP_BYTES), rows)
    found = np.zeros(tile.shape, int)
    np.add.at(found, groups.reshape(-1), weights.reshape(-1, rows, 4))
    np.testing.assert_array_equal(found, tile)
    meet = weights.astype(int).reshape(-1, 2, rows, 2, 2)  # two of a lane of each of two groups
    assert np.maximum(meet, 0).sum(axis=(1, 4)).max() <= LIMIT
    assert np.minimum(meet, 0).sum(axis=(1, 4)).min() >= -LIMIT
    assert 255 * LIMIT < 1 << 15
    if name == "small":
        assert len(groups) == -(-k // 2)


def test_weights_like_those_of_a_network_need_few_steps_more(rng):
    groups, _ = steps_of(pack_tile(drawn("normal", rng, (256, 2, 4)), STEP_BYTES), 2)
    assert 128 <= len(groups) < 1.15 * 128


def test_an_order_of_inputs_leaves_few_groups_to_be_halved(rng):
    matrix = drawn("normal", rng, (64, 512))
    order = order_of(matrix)
    np.testing.assert_array_equal(np.sort(order), np.arange(512))
    pairs = [matrix[:, own].reshape(64, -1, 2).astype(int).sum(axis=2) for own in
             (np.arange(512), order)]  # fmt: skip
    before, after = (np.count_nonzero(np.abs(sums) > LIMIT) for sums in pairs)
    assert before > 20
    assert after < before / 10
