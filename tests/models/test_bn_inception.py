"""BNInception: its published size, its blocks, and where the shifts stand."""

import numpy as np
import pytest

import tsm_ref
from tests.judging import U32, assert_within
from tsm_ref.engine import make_engine
from tsm_ref.engine.oracle import run_with_bound
from tsm_ref.models import build_bn_inception, random_weights
from tsm_ref.models.bn_inception import BLOCKS
from tsm_ref.profile import ShiftRule


def test_the_published_size_and_cost():
    """11,295,240 parameters with 1000 classes; 2.0 G multiply-adds."""
    g = build_bn_inception(num_classes=1000)
    assert g.parameter_count == 11_295_240
    macs = sum(g.multiply_adds({"x": (1, 3, 1, 224, 224)}).values())
    assert macs / 1e9 == pytest.approx(2.03, abs=0.01)


def test_the_channels_and_sizes_behind_every_block():
    shapes = build_bn_inception(num_classes=174).shapes({"x": (1, 3, 8, 224, 224)})
    channels = (256, 320, 576, 576, 576, 608, 608, 1056, 1024, 1024)
    sides = (28, 28, 14, 14, 14, 14, 14, 7, 7, 7)
    for block, count, side in zip(BLOCKS, channels, sides, strict=True):
        assert shapes[f"inception_{block}"] == (1, count, 8, side, side)


def test_a_shift_stands_in_front_of_every_block_but_the_first():
    g = build_bn_inception(num_classes=174)
    names = ["conv2.shift", *(f"inception_{block}.shift" for block in BLOCKS)]
    assert [node.name for node in g.select("TemporalShift")] == names
    reads = {node.name for node in g.consumers["inception_4a.shift"]}
    branches = ("1x1", "3x3_reduce", "double_3x3_reduce", "pool")
    assert reads == {f"inception_4a_{branch}" for branch in branches}


@pytest.fixture(scope="module")
def causal():
    g = build_bn_inception(num_classes=5, shift=ShiftRule("online"))
    return g, random_weights(g, seed=1)


@pytest.mark.parametrize("engine", ["numpy", "numba", "loops"])
def test_the_engines_are_within_the_bound(causal, engine, rng):
    graph, weights = causal
    x = {"x": rng.normal(size=(1, 3, 2, 64, 64)).astype(np.float32)}
    bound = run_with_bound(graph, weights, x, U32)["consensus"]
    assert_within(make_engine(graph, weights, engine).run(x)["consensus"], bound)


@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_a_causal_one_streams(engine, rng):
    model = tsm_ref.build("bninception", num_classes=5, causal=True, engine=engine)
    x = rng.normal(size=(1, 3, 3, 64, 64)).astype(np.float32)
    np.testing.assert_allclose(model.stream().steps(x), model.frame_logits(x), rtol=1e-4, atol=1e-6)
