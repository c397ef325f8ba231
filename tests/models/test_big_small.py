"""BigSmall: published size, shapes, and a shift that goes around."""

import numpy as np
import pytest

import tsm_ref
from tests.judging import U32, assert_within
from tsm_ref.engine.oracle import run_oracle, run_with_bound
from tsm_ref.models import build_big_small, random_weights
from tsm_ref.profile import ShiftRule

CLIPS = {"small": (2, 3, 3, 9, 9), "big": (2, 3, 1, 144, 144)}


def test_the_parameters_and_shapes_of_the_published_network():
    """2,142,478 are those of the class of the rPPG-Toolbox; 5184 = 64 * 9 * 9."""
    g = build_big_small()
    assert g.parameter_count == 2_142_478
    shapes = g.shapes(CLIPS)
    assert [shapes[f"big_pool{i}"][3] for i in (1, 2, 3)] == [72, 36, 9]
    assert shapes["flatten"] == (2, 5184, 3)
    assert [shapes[head] for head in g.outputs] == [(2, 3), (2, 3), (2, 12, 3)]


def test_a_shift_stands_before_each_small_convolution_and_before_no_big_one():
    found = list(build_big_small().select("TemporalShift"))
    assert [node.name for node in found] == [f"small_shift{i}" for i in (1, 2, 3, 4)]
    assert {(node.attrs["fill"], node.attrs["segment"]) for node in found} == {("circular", 3)}
    assert found[0].attrs["d"] == (-1, 1, 0)


def test_turning_the_segment_turns_the_answer(rng):
    """A circular shift knows no first frame: what is rotated in time comes out rotated."""
    g = build_big_small(filters=(3, 6), hidden=4)
    weights = random_weights(g, seed=1)
    clip = {name: rng.normal(size=shape) for name, shape in CLIPS.items()}
    turned = clip | {"small": np.roll(clip["small"], 1, axis=2)}
    plain, moved = run_oracle(g, weights, clip), run_oracle(g, weights, turned)
    for head in g.outputs:
        np.testing.assert_allclose(np.roll(plain[head], 1, axis=-1), moved[head], rtol=1e-12)


@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_it_is_built_by_name_with_its_own_fill_and_depth(engine, rng):
    model = tsm_ref.build("big-small", filters=(3, 6), hidden=4, engine=engine)
    assert model.profile.shift == ShiftRule("mtts_can", 3, "circular", segment=3)
    clip = {name: rng.normal(size=shape).astype(np.float32) for name, shape in CLIPS.items()}
    wanted = run_with_bound(model.graph, model.weights, clip, U32)
    for head, value in model.run(clip).items():
        assert_within(value, wanted[head])


def test_the_depth_of_a_pulse_network_is_told():
    depth = {tsm_ref.build("ts-can", frame_depth=d).shifts[0].segment for d in (10, 20)}
    assert depth == {10, 20}
