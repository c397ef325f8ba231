"""The forms of the weights: made once, large ones kept once, and had back exactly."""

import numpy as np
import pytest

from tsm_ref.engine.on_numba.weights import LentWeights, PackedWeights
from tsm_ref.graph import Graph, Input, Node
from tsm_ref.kernels.conv import pack_weights

SHAPES = {"large": (256, 256, 1, 1, 1), "small": (16, 20, 1, 3, 3)}


def store(rng, again=None):
    nodes = (
        Node("a", "Conv", ("x", "small"), {}),
        Node("b", "Conv", ("y", "large"), {}),
    )
    inputs = (Input("x", ("N", 20, "T", 8, 8)), Input("y", ("N", 256, "T", 8, 8)))
    graph = Graph("g", inputs, nodes, ("a", "b"), SHAPES)
    plain = {n: rng.standard_normal(s).astype(np.float32) for n, s in SHAPES.items()}
    return PackedWeights(graph, dict(plain), again and (lambda: again(plain))), plain


@pytest.mark.parametrize("name", SHAPES)
def test_the_original_is_had_back_from_the_direct_form(name, rng):
    weights, plain = store(rng)
    packed = weights.pack(name, "direct 16", pack_weights)
    assert name not in weights.plain
    assert weights.pack(name, "direct 16", lambda _: pytest.fail("made twice")) is packed
    assert (weights.get(name) == plain[name]).all()


def test_without_a_source_the_original_is_kept(rng):
    weights, plain = store(rng)
    weights.pack("large", "F2", lambda w: w.copy())
    assert weights.plain.keys() == plain.keys()


def test_with_a_source_only_small_originals_are_kept(rng):
    reads = []

    def again(plain):
        reads.append(1)
        return plain

    weights, plain = store(rng, again)
    for name in SHAPES:
        weights.pack(name, "F2", lambda w: w.copy())
    assert list(weights.plain) == ["small"]
    assert not reads
    assert (weights.get("large") == plain["large"]).all()
    assert len(reads) == 1


def test_large_weights_are_lent_and_all_others_kept(rng):
    given = {n: rng.integers(-9, 9, s).astype(np.int8) for n, s in SHAPES.items()}
    given["made"] = given["large"].copy()
    reads = []

    def again():
        reads.append(1)
        return {name: value.copy() for name, value in given.items()}

    lent = LentWeights({**given, "made": given["made"] + 1}, given, again)
    assert list(lent) == [*SHAPES, "made"]
    assert len(lent) == 3
    assert lent["small"] is given["small"]
    assert (lent["made"] == given["made"] + 1).all()
    assert not reads
    assert (lent["large"] == given["large"]).all()
    assert lent["large"] is not lent["large"]
    assert len(reads) == 3
    with pytest.raises(KeyError):
        lent["other"]
