"""MobileOne: its published sizes and costs, its shifts, and its two forms."""

import numpy as np
import pytest

from tsm_ref.engine.oracle import run_oracle
from tsm_ref.models import MOBILEONES, MobileOneSpec, build_mobileone, random_weights
from tsm_ref.models.mobileone import reparameterized

PICTURE = {"x": (1, 3, 1, 224, 224)}
SMALL = MobileOneSpec((8, 8, 16, 24), depths=(1, 2, 2, 1), gated=(0, 0, 1, 1), stem=8)

# mmpretrain: parameters and multiply-adds (which it counts without gates) of the form that runs.
PUBLISHED = {
    "mobileone-s0": (2_078_504, 274_136_576),
    "mobileone-s1": (4_764_840, 823_839_744),
    "mobileone-s2": (7_808_168, 1_296_478_848),
    "mobileone-s3": (10_078_312, 1_893_842_944),
    "mobileone-s4": (14_838_352, 2_979_222_528),
}


@pytest.mark.parametrize("name", MOBILEONES)
def test_the_published_size_and_cost(name):
    g = build_mobileone(MOBILEONES[name], num_classes=1000)
    parameters, macs = PUBLISHED[name]
    assert g.parameter_count == parameters
    assert sum(g.multiply_adds(PICTURE).values()) == pytest.approx(macs, rel=0.004)


def test_the_size_and_cost_of_mmaction2s_tsm():
    """13.72 M parameters and 48.65 G multiply-adds of 16 frames, as trained, and with its norms."""
    g = build_mobileone(MOBILEONES["mobileone-s4"], num_classes=400, branches=1)
    assert g.parameter_count / 1e6 == pytest.approx(13.72, abs=0.005)
    macs = sum(g.multiply_adds({"x": (1, 3, 16, 224, 224)}).values())
    assert macs / 1e9 == pytest.approx(48.65, rel=0.02)


def test_every_block_is_shifted_but_for_the_stem():
    """Three channels have no eighth; depthwise and pointwise blocks are blocks alike."""
    g = build_mobileone(MOBILEONES["mobileone-s4"], num_classes=400)
    shifts = [node.name for node in g.select("TemporalShift")]
    blocks = [f"stage{s}.{i}" for s, n in enumerate((4, 16, 20, 2), start=1) for i in range(n)]
    assert shifts == [f"{block}.shift" for block in blocks]
    assert g.node["stage3.19.se.avgpool"].inputs == ("stage3.19.branch_reparam",)
    gates = {node.name[:-3] for node in g.select("Mul")}
    assert gates == {f"stage3.{i}" for i in range(10, 20)} | {"stage4.0", "stage4.1"}


@pytest.mark.parametrize("branches", [1, 3])
def test_the_sum_that_was_trained_is_the_convolution_that_runs(branches, rng):
    """In float64, but for the float32 that the weights of the convolution are rounded to."""
    trained = build_mobileone(SMALL, num_classes=5, branches=branches)
    single = build_mobileone(SMALL, num_classes=5)
    weights = random_weights(trained, seed=2)
    clip = {"x": rng.normal(size=(2, 3, 4, 40, 56))}
    wanted = run_oracle(trained, weights, clip)["consensus"]
    found = run_oracle(single, reparameterized(single, weights), clip)["consensus"]
    np.testing.assert_allclose(found, wanted, atol=2e-6 * np.abs(wanted).max())
    assert set(single.parameters) == set(reparameterized(single, weights))


def test_a_network_of_three_stages_is_none():
    with pytest.raises(ValueError, match="four stages"):
        MobileOneSpec((8, 8, 8))
